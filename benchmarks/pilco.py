"""`python -m benchmarks.pilco`: the expected cost of a policy in a Gaussian process, and its gradient.

40 steps, 4 outputs, 50 radial basis functions, a saturating cost of a pole's tip; one core, compiled; CPU time, so that
other work on the machine does not count. Where TorchRL is installed, the only other toolbox with a PILCO that is
maintained, a second table compares both on one problem: TorchRL knows no angles and squashes actions by another
function, so there the pole's angle is a plain number and the action has no limits, for both. TorchRL's gradient at 300
points takes 7 GB and most of a minute.
"""

import dataclasses
import time

import numpy as np

from benchmarks import torchrl_pilco
from benchmarks.gaussian_process import DU, DX, T, make_transitions, measure
from benchmarks.timing import print_table

FEATURES = 50


def make_scene(points: int):
    """A process of so many points, and what a policy is optimised for in it."""
    from gps.backend import jnp
    from gps.costs import Ramp, Saturating

    tip = jnp.array([[1.0, 0.6, 0.0], [0.0, 0.0, 0.6]]) / 0.25
    kinds = ("plain", "sin", "cos")
    cost = Saturating((0, 1, 1), kinds, jnp.array([0.0, 0.0, 1.0]), tip, jnp.asarray(1.0), Ramp(T))
    return _make_scene(points, (1,), cost)


def make_plain_scene(points: int):
    """The same without angles, and of a process whose prior mean is zero: a problem that TorchRL can state."""
    from gps.backend import jnp
    from gps.costs import Ramp, Saturating

    cost = Saturating((0, 1), ("plain",) * 2, jnp.zeros(2), jnp.diag(jnp.array([1.0, 0.5])), jnp.asarray(1.0), Ramp(T))
    scene = _make_scene(points, (), cost)
    differences = dataclasses.replace(scene.model.differences, mean=jnp.zeros(DX))
    return scene._replace(model=dataclasses.replace(scene.model, differences=differences))


def _make_scene(points: int, angles: tuple[int, ...], cost):
    from gps.algorithms.through_models.expected_cost import Scene, StartBelief
    from gps.backend import jax, jnp
    from gps.costs import Sum
    from gps.models.features import StateTransforms
    from gps.models.gaussian_process_learner import GaussianProcessLearner
    from gps.policies.observed import Observed

    learner = GaussianProcessLearner(DX, StateTransforms(angles), restarts=1, max_points=points, iterations=30)
    model = jax.tree.map(jnp.asarray, learner.refit(make_transitions(points), 0).model)
    start = StartBelief(jnp.array([[0.0, np.pi, 0.0, 0.0]]), 0.01 * jnp.eye(DX)[None])
    return Scene(model, Sum((cost,)), start, T, Observed(tuple(range(DX))), "benchmark")


def make_policy(angles: tuple[int, ...], squash: str):
    """A policy of random basis functions."""
    from gps.backend import jax
    from gps.networks import RadialBasis
    from gps.policies import NeuralPolicy

    network = RadialBasis.create(DX, [-10.0] * DU, [10.0] * DU, jax.random.key(0), FEATURES, angles, squash)
    return NeuralPolicy.untrained(network, 1e-6)


def time_gradient() -> None:
    """Print the time of a value, and of a value with its gradient."""
    from gps.algorithms.through_models.expected_cost import expect_course, value_and_gradient
    from gps.backend import jax

    policy, rows = make_policy((1,), "sine"), []
    for points in (100, 200, 300):
        scene = make_scene(points)
        start = time.process_time()
        jax.block_until_ready(value_and_gradient(scene, policy))
        first = time.process_time() - start
        both = measure(lambda: jax.block_until_ready(value_and_gradient(scene, policy)), 7)  # noqa: B023
        jax.block_until_ready(expect_course(scene, policy))
        value = measure(lambda: jax.block_until_ready(expect_course(scene, policy)), 7)  # noqa: B023
        rows.append((points, first, 1e3 * value, 1e3 * both))
    print_table(
        f"PILCO: {T} steps, {DX} outputs, {FEATURES} basis functions",
        ["points", "first call, s", "value, ms", "value and gradient, ms"],
        rows,
    )


def compare_with_torchrl() -> None:
    """Print the time of a value with its gradient beside TorchRL's, and how far the numbers are from each other."""
    from gps.algorithms.through_models.expected_cost import value_and_gradient
    from gps.backend import jax

    policy, rows = make_policy((), "none"), []
    for points in (100, 300):
        scene = make_plain_scene(points)
        value, gradient = jax.block_until_ready(value_and_gradient(scene, policy))
        ours = measure(lambda: jax.block_until_ready(value_and_gradient(scene, policy)), 7)  # noqa: B023
        torchrl_pilco.make_objective(scene._replace(horizon=2), policy)()  # warms up
        evaluate = torchrl_pilco.make_objective(scene, policy)
        start = time.process_time()
        its_value, its_gradient = evaluate()
        theirs = time.process_time() - start
        distances = [np.linalg.norm(its_gradient[name] - getattr(gradient, name)) for name in its_gradient]
        size = np.linalg.norm([np.linalg.norm(getattr(gradient, name)) for name in its_gradient])
        far = float(abs(its_value - value) / value), float(np.linalg.norm(distances) / size)
        rows.append((points, 1e3 * ours, 1e3 * theirs, f"{theirs / ours:.0f} x", f"{far[0]:.0e}", f"{far[1]:.0e}"))
    print_table(
        "Beside TorchRL: value and gradient, without angles and squashing",
        ["points", "gps, ms", "TorchRL, ms", "ratio", "values differ by", "gradients differ by"],
        rows,
    )
    print("\nThe differences are relative: TorchRL adds more to the variances (`benchmarks/torchrl_pilco.py`).")


def main() -> None:
    time_gradient()
    if torchrl_pilco.is_installed():
        compare_with_torchrl()
    else:
        print("\nTorchRL is not beside: `pip install torchrl botorch`, then run again.")


if __name__ == "__main__":
    main()
