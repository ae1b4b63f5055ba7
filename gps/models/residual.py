"""A global model plus a learned model of what it leaves over: x' = f(z) + g(z), with g fitted to r = x' − f(z).

Most of a simulator's error is structure that it lacks, such as friction in a gear, or the play of a joint; any learner
can take that up. Learners predict successors, and many of them by their difference from x, so g is learned from the
successors x + r: a learner that knows nothing predicts no residual, and the model falls back to f.
"""

import dataclasses
from typing import Any, Generic, Self, TypeVar

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.dynamics.prior import Transitions
from gps.linear_gaussian.types import pytree
from gps.models.model import (
    Function,
    GlobalModel,
    ModelLearner,
    SimulatorLearner,
    find_stored_type,
    for_condition,
    varies,
)
from gps.records import ModelRecord
from gps.storage.serialization import specialise

F = TypeVar("F", bound=GlobalModel)
G = TypeVar("G", bound=GlobalModel)


@pytree
class ResidualModel(Generic[F, G]):
    """x' = f(z) + g(z). A `gps.models.model.GlobalModel`.

    The base is held at its mean: the residual was learned for that one, and its deviation holds the noise and what is
    left to doubt.

    Args:
        base: f.
        residual: a model of x + g(z).
    """

    base: F
    residual: G

    @property
    def varies(self) -> bool:
        """True if the system differs between the conditions."""
        return varies(self.base) or varies(self.residual)

    def for_condition(self, number: Float[Array, ""]) -> Self:
        """The model of the system in another condition."""
        return dataclasses.replace(
            self, base=for_condition(self.base, number), residual=for_condition(self.residual, number)
        )

    @property
    def deviations(self) -> Float[Array, "dz"]:
        """The deviation of each entry of z in the data."""
        return self.residual.deviations

    def mean(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the expected next state (JAX)."""
        return self.base.mean(x, u) + self.residual.mean(x, u) - x

    def deviation(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the deviation of the next state (JAX)."""
        return self.residual.deviation(x, u)

    def linearise(
        self, x: Float[Array, "dx"], u: Float[Array, "du"]
    ) -> tuple[Float[Array, "dx dz"], Float[Array, "dx"]]:
        """Return the slope and the offset of x' around z = [x; u] (JAX): those of both parts together."""
        (slope, offset), (more, rest) = self.base.linearise(x, u), self.residual.linearise(x, u)
        return slope + more - jnp.eye(*slope.shape), offset + rest

    def sample(self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray) -> Float[Array, "dx"]:
        """Return a draw of the next state (JAX)."""
        return self.base.mean(x, u) + self.residual.sample(x, u, key) - x

    def draw(self, key: PRNGKeyArray, count: int) -> "ResidualFunction":
        """Return `count` systems with drawn residuals (JAX)."""
        base = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *jnp.shape(leaf))), self.base)
        return ResidualFunction(base, self.residual.draw(key, count))


@pytree
class ResidualFunction:
    """One system drawn from a `ResidualModel`. A `gps.models.model.Function`."""

    base: GlobalModel
    residual: Function

    @property
    def varies(self) -> bool:
        """True if the system differs between the conditions."""
        return varies(self.base) or varies(self.residual)

    def for_condition(self, number: Float[Array, ""]) -> Self:
        """The same system in another condition."""
        return dataclasses.replace(
            self, base=for_condition(self.base, number), residual=for_condition(self.residual, number)
        )

    def __call__(
        self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "dx"]:
        """Return the next state, with the residual's noise if there is a `key` (JAX)."""
        return self.base.mean(x, u) + self.residual(x, u, key) - x


B = TypeVar("B", bound=ModelLearner)
R = TypeVar("R", bound=ModelLearner)


@dataclasses.dataclass(frozen=True)
class ResidualLearner(Generic[B, R]):
    """Learns a base model, and then what it leaves over. A `gps.models.model.ModelLearner`.

    As the base changes, so do all the residuals: each time the second learner begins anew, with all transitions.

    Args:
        base: the learner of the base model.
        fresh: the learner of the residual before it has seen anything.
        residual: the same after the last fit; None before it.
        seen: all transitions so far, as episodes of each condition; None before the first.
    """

    base: B
    fresh: R
    residual: R | None = None
    seen: Transitions | None = None

    @property
    def stored_type(self) -> Any:
        """The type with the parts' own, by which it is read from a file."""
        return specialise(ResidualLearner, find_stored_type(self.base), find_stored_type(self.fresh))

    @property
    def simulator(self) -> Any:
        """That of the base; None if it has none, or none yet."""
        return self.base.simulator if isinstance(self.base, SimulatorLearner) else None

    def attach(self, simulator: Any) -> Self:
        """Return the learner whose base has its simulator, after it was read from a file."""
        assert isinstance(self.base, SimulatorLearner)
        return dataclasses.replace(self, base=self.base.attach(simulator))

    @property
    def model(self) -> ResidualModel[GlobalModel, GlobalModel] | None:
        """The model; None while either part has none."""
        base, residual = self.base.model, None if self.residual is None else self.residual.model
        return None if base is None or residual is None else ResidualModel(base, residual)

    def refit(self, transitions: Transitions, seed: int) -> Self:
        """Return the learner that has also seen `transitions`. It is as deterministic as its parts."""
        base, residual = self.base.refit(transitions, seed), self.residual
        seen = _pool([transitions] if self.seen is None else [self.seen, transitions])
        if base.model is not None:
            residual = self.fresh.refit(_subtract(base.model, seen), seed)
        return dataclasses.replace(self, base=base, residual=residual, seen=seen)

    def make_record(self) -> ModelRecord | None:
        """The summary of the base's last fit, with that of the residual in words; the worse status of the two."""
        base = self.base.make_record()
        residual = None if self.residual is None else self.residual.make_record()
        if base is None or residual is None:
            return base
        worse = max(base, residual, key=lambda record: record.status.severity)
        said = [f"{record.name}: {record.message}" for record in (base, residual) if record.message]
        return dataclasses.replace(
            base,
            training_loss=residual.training_loss,
            held_out_loss=residual.held_out_loss,
            name=f"{base.name} + {residual.name}",
            status=worse.status,
            message="; ".join(said),
        )


def _subtract(base: GlobalModel, transitions: Transitions) -> Transitions:
    """Return the transitions with the successors x + r; those whose prediction is not finite are masked."""
    points, mask = transitions
    dx = points.shape[-1] - len(np.asarray(base.deviations))
    flat = points.reshape(-1, points.shape[-1])
    x, u, after = flat[:, :dx], flat[:, dx : flat.shape[1] - dx], flat[:, flat.shape[1] - dx :]
    where = np.repeat(np.arange(float(len(points))), flat.shape[0] // len(points))

    def predict(m: Array, x: Array, u: Array) -> Array:
        return for_condition(base, m).mean(x, u)

    predicted = np.asarray(jax.vmap(predict)(where, jnp.asarray(x), jnp.asarray(u)))
    new = np.concatenate([x, u, x + after - predicted], axis=1).reshape(points.shape)
    sound = mask & np.isfinite(new).all(axis=-1)
    return Transitions(np.where(sound[..., None], new, 0.0), sound)


def _pool(parts: list[Transitions]) -> Transitions:
    """Return the episodes of all parts by condition; fewer conditions and shorter episodes are padded, and masked."""
    most, steps = (max(part.points.shape[axis] for part in parts) for axis in (0, 2))

    def pad(array: np.ndarray) -> np.ndarray:
        widths = [(0, most - array.shape[0]), (0, 0), (0, steps - array.shape[2]), *[(0, 0)] * (array.ndim - 3)]
        return np.pad(array, widths)

    return Transitions(
        np.concatenate([pad(part.points) for part in parts], axis=1),
        np.concatenate([pad(part.mask) for part in parts], axis=1),
    )
