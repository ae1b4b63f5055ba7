"""Closed-loop sampling of the peg insertion, compared with the bare physics.

Two rows show costs that no loop can avoid: the bare physics with a pause between the steps, in which the threads of the
batch fall asleep and must be woken, and the whole loop with a policy that does nothing.
"""

import time

import numpy as np

from benchmarks.timing import print_table

SIMULATIONS, T, ROUNDS, PAUSE = 20, 100, 20, 70e-6
CONDITIONS = [{"slot": slot} for slot in ([-0.08, -0.08], [-0.08, 0.08], [0.08, 0.08], [0.08, -0.08])]


class TimedPolicy:
    """A policy that records the times of its calls."""

    def __init__(self, policy):
        self.policy, self.observes, self.abstains, self.times = policy, policy.observes, policy.abstains, []

    def act(self, seen, t):
        self.times.append(time.perf_counter())
        return self.policy.act(seen, t)


class ZeroPolicy:
    """A policy that does nothing."""

    observes, abstains = "state", ""

    def __init__(self, du: int):
        self.actions = np.zeros((len(CONDITIONS), SIMULATIONS // len(CONDITIONS), du))

    def act(self, seen, t):
        return self.actions


def main() -> None:
    rows = [(threads, *row) for threads in (1, 2) for row in measure(threads)]
    print_table(
        f"Sampling, peg insertion, {SIMULATIONS} simulations x {T} steps",
        ["threads", "", "ms", "share of the bare rate (medians)", "a step at least, µs", "share of it"],
        rows,
    )


def measure(threads: int) -> list[tuple[str, float, float, float, float]]:
    """Return the rows of the table. All step the same motion, since the mean action is always zero."""
    from gps.backend import jax
    from gps.environments.tasks.peg_insertion import PegInsertion
    from gps.linear_gaussian.initial import zero
    from gps.policies import MLP, NeuralPolicy
    from gps.policies.played import GlobalPolicy, LocalControllers
    from gps.sampling import collect

    environment = PegInsertion(SIMULATIONS, threads=threads)
    dx, du = environment.single_observation_space.shape[0], environment.single_action_space.shape[0]
    M, N = len(CONDITIONS), SIMULATIONS // len(CONDITIONS)
    noise = 0.2 * np.random.default_rng(0).standard_normal((M, N, T, du))
    actions = np.clip(noise.reshape(SIMULATIONS, T, du).swapaxes(0, 1), -1, 1).copy()
    starts = [condition for condition in CONDITIONS for _ in range(N)]
    batch, control = environment.batch, environment.batch.bind("ctrl")

    def bare(pause):
        """Run the same episodes with `Batch.step` alone."""
        environment.reset(options={"conditions": starts})
        times = []
        for action in actions:
            times.append(time.perf_counter())
            while time.perf_counter() < times[-1] + pause:
                pass
            control[...] = action
            batch.step(nstep=environment.nsubsteps)
        return times

    def closed(policy):
        timed = TimedPolicy(policy)
        collect(environment, timed, CONDITIONS, noise, 0)
        return timed.times

    network = MLP.create((dx, 64, 64, du), jax.random.key(0), gain=0.0)
    ways = {
        "Batch, open loop, bare": (bare, 0.0),
        f"the same, {1e6 * PAUSE:.0f} µs between the steps": (bare, PAUSE),
        "a policy that does nothing": (closed, ZeroPolicy(du)),
        "linear-Gaussian": (closed, LocalControllers(zero(M, T, dx, du, 0.2))),
        "neural, 2 x 64": (closed, GlobalPolicy(NeuralPolicy.untrained(network), M, T)),
    }
    steps = {name: np.empty((ROUNDS + 1, T - 1)) for name in ways}
    for k in range(ROUNDS + 1):  # in turn, so that the machine's drift affects all equally
        for name, (function, argument) in ways.items():
            steps[name][k] = np.diff(function(argument))
    environment.close()
    whole = {name: seconds[1:].sum(axis=1) for name, seconds in steps.items()}  # the first round warms up
    least = {name: seconds[1:].min(axis=0).mean() for name, seconds in steps.items()}
    first = next(iter(ways))
    return [
        (name, 1e3 * np.median(whole[name]), np.median(whole[first] / whole[name]),
         1e6 * least[name], least[first] / least[name])
        for name in ways
    ]  # fmt: skip
