"""Rules for costs: finite, with the right derivatives."""

from collections.abc import Iterator

import numpy as np

from gps.backend import jax
from gps.conformance.finding import Finding
from gps.errors import CostFault
from gps.experiment import Experiment
from gps.records import Rollouts

_POINTS = 20  # at which the cost is differentiated


def check_cost(rollouts: Rollouts, built: Experiment) -> Iterator[Finding]:
    """Compare the derivatives of the cost's formula with central differences, at steps that happened."""
    rule = "the cost is finite where the rollouts went"
    try:
        built.problem.costs(rollouts)
    except CostFault as fault:
        yield Finding(rule, str(fault), "keep square roots, logarithms and quotients away from 0")
        return
    yield Finding(rule)
    if not built.algorithm.needs.derivatives:
        return
    z = np.concatenate([rollouts.states, rollouts.actions], axis=-1)
    where = np.argwhere(rollouts.mask)
    where = where[np.random.default_rng(0).permutation(len(where))[:_POINTS]]
    points, times = z[tuple(where.T)], where[:, 2]
    dx = rollouts.states.shape[-1]
    scale = np.maximum(np.abs(z).max(axis=(0, 1, 2)), 1e-2)

    def of_z(z, t):
        return built.problem.cost(z[:dx], z[dx:], t)

    gradient = jax.jit(jax.vmap(jax.grad(of_z)))
    value, hessian = jax.jit(jax.vmap(of_z)), jax.jit(jax.vmap(jax.hessian(of_z)))
    yield _check_derivative("the cost's gradient agrees with differences", value, gradient, points, times, scale, dx)
    rule = "the cost's Hessian agrees with differences, or lies above them"
    yield _check_derivative(rule, gradient, hessian, points, times, scale, dx, above=True)


def _check_derivative(rule: str, function, derivative, points, times, scale, dx: int, above: bool = False) -> Finding:
    """Compare `derivative` with central differences of `function`.

    Args:
        above: accept a larger Hessian too, one whose difference is positive semi-definite. It underestimates the gain,
            and a cost with too little curvature may well be written that way.
    """
    step = 1e-5 * scale
    claimed = np.asarray(derivative(points, times)) * scale
    measured = np.stack(
        [
            (np.asarray(function(points + move, times)) - np.asarray(function(points - move, times))) / 2e-5
            for move in np.diag(step)
        ],
        axis=-1,
    )
    size = np.abs(claimed).max() + np.abs(measured).max() + np.abs(np.asarray(function(points, times))).max()
    wrong = np.abs(claimed - measured) > 1e-4 * size
    if above:
        excess = (claimed - measured) * scale[:, None]
        lowest = np.linalg.eigvalsh(0.5 * (excess + np.swapaxes(excess, -1, -2)))[:, 0]
        wrong &= (lowest < -1e-4 * size * scale.max())[:, None, None]
    if not wrong.any():
        return Finding(rule)
    point, *_, entry = np.argwhere(wrong)[0]
    name = f"entry {entry} of the state" if entry < dx else f"entry {entry - dx} of the action"
    return Finding(
        rule,
        f"with respect to {name} at step {times[point]}, it is off by {np.abs(claimed - measured).max() / size:.1%}",
        "write the cost with jax.numpy alone, without stop_gradient, rounding or a kink where it matters",
    )
