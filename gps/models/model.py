"""The protocols of a global model of the dynamics, a model of x' given z = [x; u] that holds everywhere.

A *model* predicts. It is an immutable JAX pytree, and its methods are JAX functions of one state and one action, to be
used under `vmap`, `scan` and `jit`: a planner, a policy trained through the model and a rollout all map them as they
need. A *learner* holds the settings, the data and the model that was fitted to them; it is an immutable record of
NumPy arrays that `gps.storage.serialization` can store.

Most models are of one system. One that knows how the system differs between the conditions of an experiment is a
`ConditionalModel`; whoever predicts for several conditions asks for the model of each by `for_condition`.

What a model does not know has two parts: the noise of the system, and its own doubt. `draw` separates them: a drawn
function is one belief about the system, and each call of it adds the system's noise.
"""

from typing import Any, Protocol, Self, runtime_checkable

from jaxtyping import Float, PRNGKeyArray
from typing_extensions import TypeVar

from gps.backend import Array
from gps.dynamics.prior import Transitions
from gps.records import ModelRecord


class PlanningModel(Protocol):
    """The part of a model that a planner by linearisation needs."""

    @property
    def deviations(self) -> Float[Array, "dz"]:
        """Standard deviation of each entry of z in the data: the planner's unit of length."""

    def linearise(
        self, x: Float[Array, "dx"], u: Float[Array, "du"]
    ) -> tuple[Float[Array, "dx dz"], Float[Array, "dx"]]:
        """Return the slope F and the offset c of x' = F [x; u] + c around [x; u].

        The planner takes F [x; u] + c for the prediction at [x; u].
        """


class Function(Protocol):
    """One system drawn from a model's belief; a JAX pytree. `draw` returns a batch, with a leading axis."""

    def __call__(
        self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "dx"]:
        """Return the next state, with a draw of the system's noise if there is a `key`, without noise otherwise."""


class GlobalModel(PlanningModel, Protocol):
    """A model of the dynamics that predicts the next state anywhere, and says how sure it is."""

    def mean(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the expected next state."""

    def deviation(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the standard deviation of each entry of the next state: noise and doubt together."""

    def sample(self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray) -> Float[Array, "dx"]:
        """Return a draw of the next state, with the system's noise and the model's doubt."""

    def draw(self, key: PRNGKeyArray, count: int) -> Any:
        """Return a batch of `count` drawn functions, a `Function` whose arrays have a leading axis."""


class MomentMatching(Protocol):
    """A model that propagates a Gaussian over z analytically."""

    def moments(
        self, mean: Float[Array, "dz"], covariance: Float[Array, "dz dz"]
    ) -> tuple[Float[Array, "dx"], Float[Array, "dx dx"], Float[Array, "dz dx"]]:
        """Return the mean of x', its covariance, and the covariance of z with x', for z ~ N(mean, covariance)."""


@runtime_checkable
class ConditionalModel(Protocol):
    """A model, or a function drawn from it, whose system differs between conditions in what the model knows.

    A simulator knows where the slot of each condition is, for one. By itself it is that of the first condition.
    """

    @property
    def varies(self) -> bool:
        """True if the system does differ between the conditions of this experiment."""

    def for_condition(self, number: Float[Array, ""]) -> Self:
        """Return the one of another condition, counted from 0 (JAX)."""


def varies(model: object) -> bool:
    """Return True if a model, or a drawn function, is another one in each condition."""
    return isinstance(model, ConditionalModel) and model.varies


Predictor = TypeVar("Predictor")


def for_condition(model: Predictor, number: Float[Array, ""]) -> Predictor:
    """Return a model, or a drawn function, of a condition: itself where it knows of no difference (JAX)."""
    return model.for_condition(number) if isinstance(model, ConditionalModel) else model


M = TypeVar("M", bound=GlobalModel, default=GlobalModel, covariant=True)


class ModelLearner(Protocol[M]):
    """The settings of a kind of model, the data so far, and the model that was fitted to them."""

    @property
    def model(self) -> M | None:
        """The model; None while the data are too few for any."""

    def refit(self, transitions: Transitions, seed: int) -> Self:
        """Return the learner that has also seen `transitions`. It is deterministic in `seed`.

        Where the new fit fails, the last good model stays, and the record's status says so.
        """

    def make_record(self) -> ModelRecord | None:
        """The summary of the last fit for the records and views, or None before the first."""


@runtime_checkable
class SimulatorLearner(Protocol):
    """A learner whose simulator is not stored with it, as that of `gps.models.physics`."""

    @property
    def simulator(self) -> Any:
        """The simulator; None in a learner that was read from a file, until it is attached."""

    def attach(self, simulator: Any) -> Self:
        """Return the learner with a simulator, after it was read from a file."""


@runtime_checkable
class GenericLearner(Protocol):
    """A learner that is made of others, whose types a file does not know, as that of `gps.models.residual`."""

    @property
    def stored_type(self) -> Any:
        """The type by which it is read from a file, with its type arguments."""


def find_stored_type(learner: ModelLearner) -> Any:
    """Return the type by which a learner is read from a file."""
    return learner.stored_type if isinstance(learner, GenericLearner) else type(learner)


L = TypeVar("L", bound=ModelLearner)


def restore_learner(stored: L, original: L) -> L:
    """Return a learner that was read from a file, with the simulator of the original if it has one."""
    if not isinstance(original, SimulatorLearner) or original.simulator is None:
        return stored
    return stored.attach(original.simulator)
