"""The types of the linear-Gaussian maths: controllers, dynamics, costs, marginals. All are immutable JAX pytrees.

Time is the first axis of every array. An object with a leading axis M (conditions) is a batch of M, and `batch[m]` is
one of them. Names of fields are words; equations use the letters of the control literature, with z = [x; u]. Each class
says which field is which letter.
"""

import dataclasses
from typing import Self, dataclass_transform

import numpy as np
from jaxtyping import Float

from gps.backend import Array, jax, jnp


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def pytree(cls):
    """Make a frozen dataclass that is a JAX pytree; fields with the metadata `static` are not leaves.

    The class is part of the tree's structure. With `jax.tree_util.register_dataclass` of JAX 0.10 the structures of two
    classes with equally many leaves are equal, and a compiled function may run the code of the wrong class.
    """
    cls = dataclasses.dataclass(frozen=True, eq=False)(cls)
    fields = dataclasses.fields(cls)
    leaves = tuple(field.name for field in fields if not field.metadata.get("static"))
    static = tuple(field.name for field in fields if field.metadata.get("static"))
    keys = tuple(map(jax.tree_util.GetAttrKey, leaves))

    def flatten(tree):
        return [getattr(tree, name) for name in leaves], (cls, *(getattr(tree, name) for name in static))

    def flatten_with_keys(tree):
        children, structure = flatten(tree)
        return list(zip(keys, children, strict=True)), structure

    def unflatten(structure, children):
        tree = object.__new__(cls)
        for name, value in zip((*leaves, *static), (*children, *structure[1:]), strict=True):
            object.__setattr__(tree, name, value)
        return tree

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


class _Batched:
    def __getitem__(self, index) -> Self:
        """Return the object at `index` of the leading axis of every array (a condition of a batch)."""
        return jax.tree.map(lambda array: array[index], self)

    def numpy(self) -> Self:
        """Return the same object with NumPy arrays."""
        return jax.tree.map(np.asarray, self)


@pytree
class Controller(_Batched):
    """A time-varying linear-Gaussian controller, `u ~ N(K x + k, Σ)`.

    Args:
        feedback: K, the gains.
        feedforward: k.
        covariance: Σ, of the action.
    """

    feedback: Float[Array, "*M T du dx"]
    feedforward: Float[Array, "*M T du"]
    covariance: Float[Array, "*M T du du"]

    def __repr__(self) -> str:
        from gps.inspect.notebook import outline_controller

        return outline_controller(self)

    def _repr_html_(self) -> str:
        from gps.inspect.notebook import tabulate_controller

        return tabulate_controller(self)

    @property
    def horizon(self) -> int:
        return self.feedforward.shape[-2]

    def act(self, state: np.ndarray, t: int, rng: np.random.Generator | None = None) -> np.ndarray:
        """Return the action (..., du) at step `t` in `state` (..., dx): the mean, or a draw if `rng` is given.

        A batch of M controllers takes states (M, N, dx), N for each.

        The product is NumPy's own loop rather than BLAS's: its rounding does not depend on the number of states, so a
        rollout has the same bits alone and in a batch.
        """
        K, k = np.asarray(self.feedback)[..., t, :, :], np.asarray(self.feedforward)[..., t, :]
        if K.ndim > 2:
            mean = np.einsum("mij,mnj->mni", K, state) + k[:, None]
        else:
            mean = np.einsum("ij,...j->...i", K, state) + k
        if rng is None:
            return mean
        factor = np.linalg.cholesky(np.asarray(self.covariance[..., t, :, :]))
        factor = factor[..., None, :, :] if factor.ndim > 2 else factor
        return mean + (factor * rng.standard_normal(mean.shape)[..., None, :]).sum(-1)

    def means(self, states: Float[np.ndarray, "M N T dx"]) -> Float[np.ndarray, "M N T du"]:
        """Return the mean actions K x + k of M controllers along N trajectories each (NumPy)."""
        return np.einsum("mtij,mntj->mnti", self.feedback, states) + np.asarray(self.feedforward)[:, None]

    def entropy(self) -> Float[Array, "*M T"]:
        """Return the differential entropy of the action at each step, in nats."""
        du = self.feedforward.shape[-1]
        _, logdet = np.linalg.slogdet(np.asarray(self.covariance))
        return 0.5 * (logdet + du * np.log(2 * np.pi * np.e))


@pytree
class LinearDynamics(_Batched):
    """Local dynamics `x' = F z + c + w`, `w ~ N(0, W)`, with z = [x; u], and the Gaussian of the first state.

    Args:
        matrix: F = [A B].
        offset: c.
        covariance: W, of the noise w.
        initial_mean, initial_covariance: of the first state.
    """

    matrix: Float[Array, "*M T-1 dx dz"]
    offset: Float[Array, "*M T-1 dx"]
    covariance: Float[Array, "*M T-1 dx dx"]
    initial_mean: Float[Array, "*M dx"]
    initial_covariance: Float[Array, "*M dx dx"]


@pytree
class CostExpansion(_Batched):
    """A quadratic cost `½ zᵀ C z + gᵀ z + const` for each step, in absolute coordinates z = [x; u].

    Args:
        hessian: C, symmetric.
        gradient: g, at z = 0.
        constant: const, the cost at z = 0.
    """

    hessian: Float[Array, "*M T dz dz"]
    gradient: Float[Array, "*M T dz"]
    constant: Float[Array, "*M T"]

    def __add__(self, other: "CostExpansion") -> "CostExpansion":
        """Return the expansion of the sum of two costs."""
        return jax.tree.map(lambda one, two: one + two, self, other)

    def scale(self, factor: Float[Array, "*M T"]) -> "CostExpansion":
        """Return the expansion of the cost of each step times a factor."""
        hessian, gradient = factor[..., None, None] * self.hessian, factor[..., None] * self.gradient
        return CostExpansion(hessian, gradient, factor * self.constant)


@pytree
class Marginals(_Batched):
    """The Gaussian N(m, P) of the state at each step.

    Args:
        mean: m.
        covariance: P.
    """

    mean: Float[Array, "*M T dx"]
    covariance: Float[Array, "*M T dx dx"]

    def joint(self, controller: Controller) -> tuple[Float[Array, "*M T dz"], Float[Array, "*M T dz dz"]]:
        """Return the mean and covariance of z = [x; u] under `controller`."""
        K, k, S = controller.feedback, controller.feedforward, controller.covariance
        m, P = self.mean, self.covariance
        KP = K @ P
        mean = jnp.concatenate([m, jnp.einsum("...ij,...j->...i", K, m) + k], axis=-1)
        top = jnp.concatenate([P, jnp.swapaxes(KP, -1, -2)], axis=-1)
        bottom = jnp.concatenate([KP, KP @ jnp.swapaxes(K, -1, -2) + S], axis=-1)
        return mean, jnp.concatenate([top, bottom], axis=-2)
