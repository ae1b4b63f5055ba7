"""One KL-constrained controller update: T = 100, bound 1 nat per step, from η = 1 to 0.1 %."""

import warnings

import numpy as np

from benchmarks import eigen, numpy_update
from benchmarks.problems import LQRProblem, make_lqr_problem
from benchmarks.timing import print_table, time_in_turn

SIZES = ((6, 2), (14, 7), (26, 7), (40, 10))
ALPHA = 1e-3


def make_update(problem: LQRProblem, conditions: int):
    """Return a function that runs our update on `conditions` copies of the problem and returns the result."""
    from gps.backend import jax, jnp
    from gps.linear_gaussian.trust_region import update
    from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics

    p = problem
    objects = (
        LinearDynamics(p.F, p.c, p.W, p.initial_mean, p.initial_cov),
        CostExpansion(p.C, p.g, np.broadcast_to(p.const, (p.T,))),
        Controller(p.K, p.k, p.Sigma),
        np.ones(()),
        np.full((), ALPHA),
        np.ones(()),
    )
    batch = jax.tree.map(lambda array: jnp.stack([jnp.asarray(array)] * conditions), objects)
    return lambda: jax.block_until_ready(update(*batch))


def main() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        library = eigen.build()
    for warning in caught:
        print(f"no compiled reference: {warning.message}")

    rows = []
    for dx, du in SIZES:
        problem = make_lqr_problem(dx, du)
        arguments = dict(bound=float(problem.T), alpha=ALPHA)
        one, sixteen = make_update(problem, 1), make_update(problem, 16)
        functions = {"one": one, "sixteen": sixteen, "numpy": lambda: numpy_update.update(problem, **arguments)}  # noqa: B023
        if library:
            functions["eigen"] = lambda: library.update(problem, **arguments)  # noqa: B023
            functions["eigen, any size"] = lambda: library.update(problem, fixed_sizes=False, **arguments)  # noqa: B023
        ms = {name: 1e3 * seconds for name, seconds in time_in_turn(functions).items()}
        result = one()
        floor, general = ms.get("eigen", np.nan), ms.get("eigen, any size", np.nan)
        rows.append((
            f"({dx}, {du})", ms["one"], int(result.evaluations[0]), ms["sixteen"] / 16, ms["numpy"], floor, general,
            ms["one"] / general, ms["sixteen"] / 16 / general, ms["one"] / floor, ms["one"] / ms["numpy"],
        ))  # fmt: skip
    print_table(
        "One KL-constrained update, T = 100, 1 nat per step, ms",
        ["(dx, du)", "gps", "evaluations", "gps, 16 conditions, each", "NumPy", "Eigen, compiled for the size", "Eigen",
         "gps / Eigen", "16: gps / Eigen", "gps / Eigen for the size", "gps / NumPy"],
        rows,
    )  # fmt: skip
