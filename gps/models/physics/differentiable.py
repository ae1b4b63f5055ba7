"""A simulator as a JAX function of state, action and parameters, with slopes by central differences.

JAX calls the simulator on the host. Under `vmap` a call is one batch of simulations, also for the perturbations of its
slopes. There are first derivatives, forward and backward, and no second ones.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Float

from gps.backend import Array, jax, jnp
from gps.models.physics.simulator import Simulator

STEP = 1e-5
"""Of an entry of the state or action, or of a parameter, as a share of its size or of 1."""


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def simulate_step(
    simulator: Simulator,
    x: Float[Array, "dx"],
    u: Float[Array, "du"],
    values: Float[Array, "dp"],
    condition: Float[Array, ""],
) -> Float[Array, "dx"]:
    """Return the next state (JAX); NaN where the simulation diverges.

    Args:
        values: of the simulator's parameters, in their own units.
        condition: the number of the simulator's condition.
    """
    return _call(functools.partial(_simulate, simulator), (simulator.dx,), x, u, values, condition)


def _differentiate(simulator: Simulator, primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    x, u, values, condition = primals
    tx, tu, tv, _ = tangents
    after = simulate_step(simulator, x, u, values, condition)
    change = jnp.zeros_like(after)
    if not (isinstance(tx, SymbolicZero) and isinstance(tu, SymbolicZero)):
        F = find_slopes(simulator, x, u, values, condition)
        dx = x.shape[-1]
        change = change + F[:, :dx] @ _dense(tx) + F[:, dx:] @ _dense(tu)
    if not isinstance(tv, SymbolicZero):
        change = change + find_parameter_slopes(simulator, x, u, values, condition) @ tv
    return after, change


simulate_step.defjvp(_differentiate, symbolic_zeros=True)


def find_slopes(
    simulator: Simulator,
    x: Float[Array, "dx"],
    u: Float[Array, "du"],
    values: Float[Array, "dp"],
    condition: Float[Array, ""],
) -> Float[Array, "dx dz"]:
    """Return the slope of the next state in z = [x; u] (JAX). Computed entries of the state have the slope zero."""
    return linearise_step(simulator, x, u, values, condition)[0]


def linearise_step(
    simulator: Simulator,
    x: Float[Array, "dx"],
    u: Float[Array, "du"],
    values: Float[Array, "dp"],
    condition: Float[Array, ""],
) -> tuple[Float[Array, "dx dz"], Float[Array, "dx"]]:
    """Return the slope of the next state, as `find_slopes` does, and the next state, by one call of the simulator."""
    shape = simulator.dx, simulator.dx + simulator.du + 1
    both = _call(functools.partial(_linearise, simulator), shape, x, u, values, condition)
    return both[..., :-1], both[..., -1]


def find_parameter_slopes(
    simulator: Simulator,
    x: Float[Array, "dx"],
    u: Float[Array, "du"],
    values: Float[Array, "dp"],
    condition: Float[Array, ""],
) -> Float[Array, "dx dp"]:
    """Return the slope of the next state in the parameters, in their own units (JAX)."""
    shape = simulator.dx, len(simulator.parameters)
    return _call(functools.partial(_find_parameter_slopes, simulator), shape, x, u, values, condition)


def _dense(tangent: Any) -> Array:
    return jnp.zeros(tangent.shape, tangent.dtype) if isinstance(tangent, SymbolicZero) else tangent


def _call(function: Callable[..., np.ndarray], shape: tuple[int, ...], *arguments: Array) -> Array:
    result = jax.ShapeDtypeStruct(shape, jnp.float64)  # type: ignore[no-untyped-call]
    return jax.pure_callback(function, result, *arguments, vmap_method="expand_dims")


def _flatten(*arguments: Any) -> tuple[tuple[int, ...], list[np.ndarray]]:
    """Broadcast vectors over their leading axes and flatten these; return the axes and the (B, width) arrays.

    The last argument is a number, that of the condition.
    """
    arrays = [np.asarray(argument, np.float64) for argument in arguments]
    arrays[-1] = arrays[-1][..., None]
    batch = np.broadcast_shapes(*(array.shape[:-1] for array in arrays))
    return batch, [np.broadcast_to(a, (*batch, a.shape[-1])).reshape(math.prod(batch), a.shape[-1]) for a in arrays]


def _simulate(simulator: Simulator, *arguments: Any) -> np.ndarray:
    batch, (x, u, values, condition) = _flatten(*arguments)
    return simulator.simulate(x, u[:, None], values, _count(condition))[:, 0].reshape(*batch, -1)


def _linearise(simulator: Simulator, *arguments: Any) -> np.ndarray:
    """Return the slopes with the next states as the last column, (..., dx, dz + 1)."""
    batch, (x, u, values, condition) = _flatten(*arguments)
    dx = x.shape[1]
    columns = np.array([*simulator.determining, *simulator.remembered, *range(dx, dx + u.shape[1])])
    z = np.concatenate([x, u], axis=1)
    ahead, behind, steps = _perturb(z, columns)
    points = np.concatenate([ahead, behind, z[None]])  # (2 k + 1, B, dz)
    flat = points.reshape(-1, z.shape[1])
    same = [np.tile(array, (len(points), 1)) for array in (values, condition)]
    after = simulator.simulate(flat[:, :dx], flat[:, None, dx:], same[0], _count(same[1]))[:, 0]
    after = after.reshape(len(points), len(x), -1)
    result = np.zeros((len(x), dx, z.shape[1] + 1))
    result[:, :, columns] = _difference(after[:-1], steps)
    result[:, :, -1] = after[-1]
    return result.reshape(*batch, *result.shape[1:])


def _find_parameter_slopes(simulator: Simulator, *arguments: Any) -> np.ndarray:
    batch, (x, u, values, condition) = _flatten(*arguments)
    ahead, behind, steps = _perturb(values, np.arange(values.shape[1]))
    both = np.concatenate([ahead, behind])
    count = len(both)
    same = [np.tile(array, (count, 1)) for array in (x, u, condition)]
    after = simulator.simulate(same[0], same[1][:, None], both.reshape(-1, both.shape[2]), _count(same[2]))
    result = _difference(after[:, 0].reshape(count, len(x), -1), steps)
    return result.reshape(*batch, *result.shape[1:])


def _count(condition: np.ndarray) -> np.ndarray:
    """Return the numbers of conditions, (B,), from a column."""
    return condition[:, 0].astype(int)


def _perturb(points: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return copies of the points (B, d) with one column moved forward, and back, (k, B, d), and the distances."""
    steps = STEP * np.maximum(np.abs(points[:, columns].T), 1.0)  # (k, B)
    ahead, behind = (np.repeat(points[None], len(columns), axis=0) for _ in range(2))
    index = np.arange(len(columns))
    ahead[index, :, columns] += steps
    behind[index, :, columns] -= steps
    return ahead, behind, ahead[index, :, columns] - behind[index, :, columns]


def _difference(after: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the slopes (B, dx, k) from the states after 2 k perturbations, (2 k, B, dx)."""
    k = len(steps)
    return ((after[:k] - after[k:]) / steps[..., None]).transpose(1, 2, 0)
