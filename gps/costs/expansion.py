"""Second-order expansions of a cost along sampled trajectories.

Derivatives are JAX's. Each sample's Hessian is projected to the nearest positive semi-definite matrix (trap: an
indefinite Hessian makes Quu indefinite), and the expansions of a condition's samples are averaged, in absolute
coordinates, into one quadratic per step.
"""

from functools import partial

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.sparse.csgraph import connected_components

from gps.backend import jax, jnp
from gps.errors import CostFault
from gps.linear_gaussian.types import CostExpansion


def evaluate(cost, states: Float[np.ndarray, "M N T dx"], actions, mask: Bool[np.ndarray, "M N T"]):
    """The cost of each step, (M, N, T); 0 where masked. Raises CostFault where it is not finite."""
    values = np.array(_values(cost, states, actions))
    return _checked(np.where(mask, values, 0.0), "value")


def expand(
    cost, states: Float[np.ndarray, "M N T dx"], actions: Float[np.ndarray, "M N T du"], mask: Bool[np.ndarray, "M N T"]
) -> tuple[CostExpansion, Float[np.ndarray, "M N T"]]:
    """The mean quadratic expansion of each condition's samples, and the cost of each sample's steps (0 where masked).

    A step without samples has a zero expansion. Raises CostFault, which names the place, where the cost or a
    derivative is not finite.
    """
    values, gradient, hessian = map(np.asarray, _derivatives(cost, states, actions))
    values = _checked(np.where(mask, values, 0.0), "value")
    gradient = _checked(np.where(mask[..., None], gradient, 0.0), "gradient")
    hessian = _checked(np.where(mask[..., None, None], hessian, 0.0), "Hessian")
    hessian = project_psd(hessian)
    z = np.concatenate([states, actions], axis=-1)
    return CostExpansion(*_average(z, values, gradient, hessian, mask)), values


def project_psd(matrices: Float[np.ndarray, "... n n"]) -> Float[np.ndarray, "... n n"]:
    """The nearest positive semi-definite matrices (Frobenius norm): negative eigenvalues become zero.

    Entries that are zero in all the matrices split them into blocks, and each block is projected on its own: a cost's
    Hessian usually couples only a few entries of a long state.
    """
    n = matrices.shape[-1]
    pattern = (matrices.reshape(-1, n, n) != 0).any(axis=0)
    _, labels = connected_components(pattern | pattern.T, directed=False)
    result = np.zeros_like(matrices)
    for label in np.unique(labels):
        block = np.flatnonzero(labels == label)
        index = (..., block[:, None], block[None, :])
        result[index] = _project_block(matrices[index])
    return result


def _project_block(block):
    if block.shape[-1] == 1:
        return np.maximum(block, 0.0)
    eigenvalues, vectors = np.linalg.eigh(block)
    projected = (vectors * np.maximum(eigenvalues, 0.0)[..., None, :]) @ vectors.swapaxes(-1, -2)
    # What is positive already keeps its bits.
    return np.where((eigenvalues[..., :1] >= 0)[..., None], block, projected)


def _checked(array: np.ndarray, what: str) -> np.ndarray:
    if np.isfinite(array).all():
        return array
    m, n, t = np.argwhere(~np.isfinite(array))[0][:3]
    raise CostFault(
        f"the {what} of the cost is not finite at condition {m}, sample {n}, step {t} "
        "(a square root or a logarithm at 0? add a small constant inside)"
    )


def _over_samples(function):
    """`function(x, u, t)` over all conditions, samples and steps."""
    return jax.vmap(jax.vmap(jax.vmap(function), (0, 0, None)), (0, 0, None))


@eqx.filter_jit
def _values(cost, states, actions):
    return _over_samples(cost)(states, actions, jnp.arange(states.shape[2]))


@eqx.filter_jit
def _derivatives(cost, states, actions):
    dx = states.shape[-1]

    def of_z(z, t):
        return cost(z[:dx], z[dx:], t)

    def one(x, u, t):
        z = jnp.concatenate([x, u])
        value, gradient = jax.value_and_grad(of_z)(z, t)
        return value, gradient, jax.hessian(of_z)(z, t)

    return _over_samples(one)(states, actions, jnp.arange(states.shape[2]))


@jax.jit
def _average(z, values, gradient, hessian, mask):
    """Shift each sample's expansion from its own z to absolute coordinates, and average over samples."""
    Hz = jnp.einsum("mntij,mntj->mnti", hessian, z)
    linear = gradient - Hz
    constant = values - jnp.sum(gradient * z, axis=-1) + 0.5 * jnp.sum(Hz * z, axis=-1)
    count = jnp.maximum(jnp.sum(mask, axis=1), 1)
    mean = partial(jnp.sum, axis=1)
    return (
        mean(hessian) / count[..., None, None],
        mean(linear * mask[..., None]) / count[..., None],
        mean(constant * mask) / count,
    )
