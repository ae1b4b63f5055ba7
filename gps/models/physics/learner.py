"""Learn the parameters of a simulator from rollouts."""

import copy
import dataclasses
from typing import Self

import numpy as np
from jaxtyping import Float, Int

from gps.backend import Array, jax
from gps.dynamics.prior import Transitions
from gps.errors import ConfigError
from gps.models.data import Dataset, thin_rows
from gps.models.physics.fitting import DEFAULTS, FitSettings, PhysicsFit, fit_physics
from gps.models.physics.model import PhysicsModel
from gps.models.physics.parameters import Coordinates, Known, Parameter
from gps.models.physics.simulator import Simulator
from gps.records import ModelRecord
from gps.status import ModelStatus

_MOST_JUDGED = 256
"""The new transitions on which the model is judged; more are thinned."""


@dataclasses.dataclass(frozen=True)
class PhysicsLearner:
    """The parameters of a simulator, learned from all data so far. A `gps.models.model.ModelLearner`.

    It is a record of arrays, which `gps.storage.serialization` stores without the simulator. A learner that was read
    from a file gets it back by `attach`.

    Args:
        parameters: those of the simulator.
        settings: of the fit.
        data: all transitions so far; None before the first.
        conditions: the number of the condition of each of them; None before the first.
        names: those of the simulator's conditions, by which it knows them.
        known: what the simulator knows besides the parameters.
        fit: the last good one; None before it.
        status: of the last fit; None before the first.
        message: what there is to say about the last fit.
        one_step_error: of the model before the last data, on these; None without either.
        coverage: the share of these data within 1σ and 2σ of its predictions.

    Attributes:
        simulator: None in a learner that was read from a file, until it is attached.
    """

    parameters: tuple[Parameter, ...]
    settings: FitSettings = DEFAULTS
    data: Dataset | None = None
    fit: PhysicsFit | None = None
    status: ModelStatus | None = None
    message: str = ""
    one_step_error: Float[np.ndarray, "dx"] | None = None
    coverage: Float[np.ndarray, "2"] | None = None
    conditions: Int[np.ndarray, "n"] | None = None
    names: tuple[str, ...] = ()
    known: Known = Known()  # noqa: RUF009  (an immutable record)
    simulator: Simulator | None = dataclasses.field(default=None, init=False, compare=False)

    @classmethod
    def of(cls, simulator: Simulator, settings: FitSettings = DEFAULTS) -> Self:
        """The learner that has seen nothing yet.

        Raises:
            ConfigError: if the simulator has no unknown parameters, or a setting is out of range.
        """
        if not simulator.parameters:
            raise ConfigError("no parameter is to be fitted: choose at least one")
        for name, value in settings._asdict().items():
            if value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        return cls(simulator.parameters, settings, names=simulator.conditions, known=simulator.known)._with(simulator)

    def attach(self, simulator: Simulator) -> Self:
        """Return the learner with its simulator, after it was read from a file.

        Transitions of conditions that this simulator does not have are forgotten; what was fitted to them stays.

        Raises:
            ConfigError: if the simulator has other parameters, or other bounds, than the learner has learned.
        """
        if simulator.parameters != self.parameters:
            own, given = ([p.name for p in ps] for ps in (self.parameters, simulator.parameters))
            raise ConfigError(f"the stored parameters {own} are not those of the simulator, {given}, or their bounds")
        if simulator.conditions == self.names or self.data is None or self.conditions is None:
            return dataclasses.replace(self, names=simulator.conditions)._with(simulator)
        numbers = {name: i for i, name in enumerate(simulator.conditions)}
        now = np.array([numbers.get(name, -1) for name in self.names])[self.conditions]
        kept = np.flatnonzero(now >= 0)
        return dataclasses.replace(
            self, data=self.data.take(kept), conditions=now[kept], names=simulator.conditions
        )._with(simulator)

    @property
    def model(self) -> PhysicsModel | None:
        """The model of the last good fit; None before it."""
        return None if self.fit is None else PhysicsModel.of(self.fit, self._attached)

    @property
    def values(self) -> dict[str, tuple[float, float]]:
        """The estimate and the standard error of each parameter, in its own unit; empty before the first fit."""
        if self.fit is None:
            return {}
        scale = Coordinates.of(self.parameters)
        values = scale.decode(self.fit.coordinates)
        chain = np.where(scale.logarithmic, values, scale.high - scale.low)
        errors = chain * np.linalg.norm(self.fit.factor, axis=1)
        return {p.name: (float(v), float(e)) for p, v, e in zip(self.parameters, values, errors, strict=True)}

    def refit(self, transitions: Transitions, seed: int) -> Self:
        """Return the learner that has also seen `transitions`. Nothing is random, so `seed` has no effect.

        Raises:
            ConfigError: if there are transitions of more conditions than the simulator has.
        """
        simulator = self._attached
        new = Dataset.of(transitions, simulator.dx)
        where = self._number(transitions, new)
        data = new if self.data is None else self.data.add(new)
        conditions = np.concatenate([self._known_conditions, where])
        error, coverage = self._judge(new, where)
        start = None if self.fit is None else self.fit.coordinates
        found = fit_physics(simulator, data, self.settings, start, conditions)
        return dataclasses.replace(
            self,
            data=data,
            conditions=conditions,
            fit=self.fit if found.fit is None else found.fit,
            status=found.status,
            message=found.message,
            one_step_error=error,
            coverage=coverage,
        )._with(simulator)

    def make_record(self) -> ModelRecord | None:
        """The summary of the last fit, or None before the first."""
        if self.status is None:
            return None
        estimates = [f"{name} {value:.4g} ± {error:.2g}" for name, (value, error) in self.values.items()]
        return ModelRecord(
            one_step_error=self.one_step_error,
            name="physics",
            points=None if self.fit is None else self.fit.points,
            coverage=self.coverage,
            status=self.status,
            message="; ".join([*([self.message] if self.message else []), *estimates]),
        )

    @property
    def _known_conditions(self) -> Int[np.ndarray, "n"]:
        """The condition of each transition so far; the first where that is unknown."""
        if self.conditions is not None:
            return self.conditions
        return np.zeros(0 if self.data is None else self.data.size, int)

    def _number(self, transitions: Transitions, new: Dataset) -> Int[np.ndarray, "n"]:
        """Return the condition of each of the new transitions, whose episodes are numbered by condition and sample.

        A simulator with one condition is that of all.
        """
        M, N = transitions.mask.shape[:2]
        known = len(self._attached.conditions)
        if known == 1:
            return np.zeros(new.size, int)
        if known < M:
            raise ConfigError(f"transitions of {M} conditions, and the simulator knows {known}")
        return new.episodes // N

    def _judge(self, new: Dataset, where: Int[np.ndarray, "n"]) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return the one-step error of the present model on new data, and the share within 1σ and 2σ.

        Args:
            where: the condition of each.
        """
        model, data = self.model, new.thin(_MOST_JUDGED)
        if model is None or not data.size:
            return None, None
        where = where[thin_rows(new.size, _MOST_JUDGED)]
        errors = data.successors - model.predict(data.states, data.actions, where)
        deviations = np.asarray(_deviate(model, where.astype(float), data.states, data.actions))
        with np.errstate(invalid="ignore"):
            shares = [float((np.abs(errors) <= k * deviations).mean()) for k in (1, 2)]
        sound = np.isfinite(errors).all(axis=1)
        return np.sqrt((errors[sound] ** 2).mean(axis=0)) if sound.any() else None, np.array(shares)

    @property
    def _attached(self) -> Simulator:
        if self.simulator is None:
            raise ConfigError("this learner was read from a file: attach its simulator first")
        return self.simulator

    def _with(self, simulator: Simulator) -> Self:
        new = copy.copy(self)
        object.__setattr__(new, "simulator", simulator)
        return new


def _deviate(
    model: PhysicsModel, where: Float[Array, "n"], states: Float[Array, "n dx"], actions: Float[Array, "n du"]
) -> Float[Array, "n dx"]:
    """Return the deviations of the next states, each in its own condition."""

    def at(m: Array, x: Array, u: Array) -> Array:
        return model.for_condition(m).deviation(x, u)

    return jax.vmap(at)(where, states, actions)
