"""Second-order expansions of a cost along sampled trajectories.

JAX computes the derivatives. Each sample's Hessian is projected to the nearest positive semi-definite matrix, because
an indefinite Hessian can make Quu indefinite. The expansions of a condition's samples are averaged, in absolute
coordinates, into one quadratic per step.
"""

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import connected_components

from gps.backend import jax, jnp
from gps.errors import CostFault
from gps.linear_gaussian.types import CostExpansion


def evaluate_cost(cost, states: Float[np.ndarray, "M N T dx"], actions, mask: Bool[np.ndarray, "M N T"]):
    """Return the cost of each step, (M, N, T); 0 where masked. Raises CostFault if it is not finite."""
    values = np.asarray(_values(cost, states, actions, mask))
    _require_finite(values, "value")
    return values


def expand(
    cost, states: Float[np.ndarray, "M N T dx"], actions: Float[np.ndarray, "M N T du"], mask: Bool[np.ndarray, "M N T"]
) -> tuple[CostExpansion, Float[np.ndarray, "M N T"]]:
    """Return the mean quadratic expansion of each condition's samples, and the cost of their steps (0 where masked).

    A step without samples has a zero expansion. Raises CostFault, which names the place, if the cost or a derivative is
    not finite.
    """
    values, gradient, hessian = map(np.asarray, _derivatives(cost, states, actions, mask))
    for array, what in ((values, "value"), (gradient, "gradient"), (hessian, "Hessian")):
        _require_finite(array, what)
    z = np.concatenate([states, actions], axis=-1)
    count = np.maximum(mask.sum(axis=1), 1)

    # Each sample's expansion about its own z, shifted to absolute coordinates and averaged over samples.
    mean_hessian = np.zeros((*count.shape, *hessian.shape[-2:]))
    Hz = np.zeros_like(gradient)
    for block in _blocks(hessian):
        projected = _project_block(hessian[..., block[:, :, None], block[:, None, :]])
        mean_hessian[..., block[:, :, None], block[:, None, :]] = projected.sum(axis=1) / count[..., None, None, None]
        Hz[..., block] = np.einsum("...ij,...j->...i", projected, z[..., block])
    constant = values - (gradient * z).sum(axis=-1) + 0.5 * (Hz * z).sum(axis=-1)
    mean_gradient = (gradient - Hz).sum(axis=1) / count[..., None]
    return CostExpansion(mean_hessian, mean_gradient, constant.sum(axis=1) / count), values


def project_psd(matrices: Float[np.ndarray, "... n n"]) -> Float[np.ndarray, "... n n"]:
    """Return the nearest positive semi-definite matrices (Frobenius norm): negative eigenvalues become zero.

    Entries that are zero in all the matrices split them into blocks, and each block is projected on its own: a cost's
    Hessian usually couples only a few entries of a long state.
    """
    result = np.zeros_like(matrices)
    for block in _blocks(matrices):
        index = (..., block[:, :, None], block[:, None, :])
        result[index] = _project_block(matrices[index])
    return result


def _blocks(matrices: Float[np.ndarray, "... n n"]) -> list[Int[np.ndarray, "blocks size"]]:
    """Return the index sets of the diagonal blocks that all the matrices have, grouped by size."""
    pattern = (matrices != 0).any(axis=tuple(range(matrices.ndim - 2)))
    _, labels = connected_components(pattern | pattern.T, directed=False)
    touched = pattern.any(axis=0) | pattern.any(axis=1)
    members = [np.flatnonzero((labels == label) & touched) for label in np.unique(labels[touched])]
    return [np.array([block for block in members if len(block) == size]) for size in sorted({*map(len, members)})]


def _project_block(block):
    if block.shape[-1] == 1:
        return np.maximum(block, 0.0)
    scale = np.einsum("...ii->...", np.abs(block))[..., None, None]
    try:  # a block with a Cholesky factor is positive (to rounding) and keeps its bits
        np.linalg.cholesky(block + (1e-14 * scale + 1e-300) * np.eye(block.shape[-1]))
        return block
    except np.linalg.LinAlgError:
        eigenvalues, vectors = np.linalg.eigh(block)
    projected = (vectors * np.maximum(eigenvalues, 0.0)[..., None, :]) @ vectors.swapaxes(-1, -2)
    return np.where((eigenvalues[..., :1] >= 0)[..., None], block, projected)


def _require_finite(array: np.ndarray, what: str) -> None:
    if np.isfinite(array).all():
        return
    m, n, t = np.argwhere(~np.isfinite(array))[0][:3]
    raise CostFault(
        f"the {what} of the cost is not finite at condition {m}, sample {n}, step {t} "
        "(a square root or a logarithm at 0? add a small constant inside)"
    )


def _over_samples(function):
    """Map `function(x, u, t)` over all conditions, samples and steps."""
    return jax.vmap(jax.vmap(jax.vmap(function), (0, 0, None)), (0, 0, None))


@eqx.filter_jit
def _values(cost, states, actions, mask):
    return jnp.where(mask, _over_samples(cost)(states, actions, jnp.arange(states.shape[2])), 0.0)


@eqx.filter_jit
def _derivatives(cost, states, actions, mask):
    """Return the value, gradient and Hessian in z of each step, zero where masked."""
    dx = states.shape[-1]

    def of_z(z, t):
        return cost(z[:dx], z[dx:], t)

    def one(x, u, t):
        z = jnp.concatenate([x, u])
        value, gradient = jax.value_and_grad(of_z)(z, t)
        return value, gradient, jax.hessian(of_z)(z, t)

    value, gradient, hessian = _over_samples(one)(states, actions, jnp.arange(states.shape[2]))
    value, gradient = jnp.where(mask, value, 0.0), jnp.where(mask[..., None], gradient, 0.0)
    return value, gradient, jnp.where(mask[..., None, None], hessian, 0.0)
