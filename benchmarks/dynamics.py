"""The prior and the fits: 20 samples of T = 100, a mixture of 20 clusters over [x, u, x']."""

import numpy as np

from benchmarks.problems import make_rollouts
from benchmarks.timing import print_table, time_in_turn

SIZES = ((6, 2), (14, 7), (26, 7), (40, 10))


def main() -> None:
    from gps.backend import jax
    from gps.dynamics.mixture import MixturePrior
    from gps.dynamics.prior import Transitions
    from gps.dynamics.regression import fit_dynamics

    rows = []
    for dx, du in SIZES:
        states, actions = (array[None] for array in make_rollouts(20, 100, dx, du))
        mask = np.ones(states.shape[:3], dtype=bool)
        transitions = Transitions.of(states, actions, mask)
        cold = MixturePrior(memory=1, em_steps=100)
        warm = MixturePrior(memory=1, em_steps=2, mixture=cold.refit(transitions, 0).mixture)
        belief = warm.at(transitions)
        seconds = time_in_turn(
            {
                "cold": lambda: cold.refit(transitions, 0),  # noqa: B023
                "warm": lambda: warm.refit(transitions, 0),  # noqa: B023
                "at": lambda: warm.at(transitions),  # noqa: B023
                "fit": lambda: jax.block_until_ready(fit_dynamics(states, actions, mask, belief)),  # noqa: B023
            },
            rounds=5,
        )
        rows.append((f"({dx}, {du})", *(1e3 * seconds[name] for name in ("cold", "warm", "at", "fit"))))
    print_table(
        "Local dynamics with the mixture prior, N = 20, T = 100, ms",
        ["(dx, du)", "mixture, cold, to convergence", "mixture, warm, 2 steps", "prior at each step", "all fits"],
        rows,
    )
