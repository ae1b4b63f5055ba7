"""`python -m benchmarks.pilco`: the expected cost of a policy in a Gaussian process, and its gradient.

40 steps, 4 outputs, 50 radial basis functions, a saturating cost of a pole's tip; one core, compiled; CPU time, so that
other work on the machine does not count. TorchRL 0.14.1, the only other toolbox with a PILCO that is maintained, was
measured at 39.5 s and 2.7 s for 300 and 100 points, on another machine.
"""

import time

import numpy as np

from benchmarks.gaussian_process import DU, DX, T, make_transitions, measure
from benchmarks.timing import print_table

FEATURES = 50
TORCHRL = {100: 2.7, 300: 39.5}
"""Seconds of TorchRL 0.14.1 for a value and a gradient."""


def make_scene(points: int):
    """A process of so many points, and what a policy is optimised for in it."""
    from gps.algorithms.through_models.expected_cost import Scene, StartBelief
    from gps.backend import jax, jnp
    from gps.costs import Ramp, Saturating, Sum
    from gps.models.features import StateTransforms
    from gps.models.gaussian_process_learner import GaussianProcessLearner
    from gps.policies.observed import Observed

    learner = GaussianProcessLearner(DX, StateTransforms((1,)), restarts=1, max_points=points, iterations=30)
    model = jax.tree.map(jnp.asarray, learner.refit(make_transitions(points), 0).model)
    tip = jnp.array([[1.0, 0.6, 0.0], [0.0, 0.0, 0.6]]) / 0.25
    kinds = ("plain", "sin", "cos")
    cost = Sum((Saturating((0, 1, 1), kinds, jnp.array([0.0, 0.0, 1.0]), tip, jnp.asarray(1.0), Ramp(T)),))
    start = StartBelief(jnp.array([[0.0, np.pi, 0.0, 0.0]]), 0.01 * jnp.eye(DX)[None])
    return Scene(model, cost, start, T, Observed(tuple(range(DX))), "benchmark")


def main() -> None:
    from gps.algorithms.through_models.expected_cost import expect_course, value_and_gradient
    from gps.backend import jax
    from gps.networks import RadialBasis
    from gps.policies import NeuralPolicy

    network = RadialBasis.create(DX, [-10.0] * DU, [10.0] * DU, jax.random.key(0), FEATURES, (1,))
    policy, rows = NeuralPolicy.untrained(network, 1e-6), []
    for points in (100, 200, 300):
        scene = make_scene(points)
        start = time.process_time()
        jax.block_until_ready(value_and_gradient(scene, policy))
        first = time.process_time() - start
        both = measure(lambda: jax.block_until_ready(value_and_gradient(scene, policy)), 7)  # noqa: B023
        jax.block_until_ready(expect_course(scene, policy))
        value = measure(lambda: jax.block_until_ready(expect_course(scene, policy)), 7)  # noqa: B023
        peer = TORCHRL.get(points)
        rows.append((points, first, 1e3 * value, 1e3 * both, f"{peer / both:.0f} x" if peer else "-"))
    print_table(
        f"PILCO: {T} steps, {DX} outputs, {FEATURES} basis functions",
        ["points", "first call, s", "value, ms", "value and gradient, ms", "TorchRL's reported time"],
        rows,
    )


if __name__ == "__main__":
    main()
