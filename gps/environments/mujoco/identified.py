"""Unknown parameters of a MuJoCo model: from a table that a user wrote to the fields of many simulations.

    { body_mass = { cup = [0.05, 0.5] }, dof_damping = { elbow = { bounds = [0, 1], start = 0.1 } }, gravity = [5, 15] }

The fields are those that a condition may change (`gps.environments.mujoco.conditions`), by named objects: masses
`body_mass`, `dof_armature`, `dof_damping`, `dof_frictionloss`, `actuator_gear[0]`, `geom_friction[0]`, `body_pos[z]`.
A field with several numbers needs the one that is meant, in brackets. Some names are not MuJoCo's: `gravity`, the
strength of gravity in its direction, m/s², and `servo_gain`, the stiffness of a position servo, which is both its
`actuator_gainprm[0]` and minus its `actuator_biasprm[1]`. `delay`, the time from a command to its effect, s, is none of
the model's: the simulator reads it (`gps.environments.mujoco.simulator`).

The inertia of a body scales with its mass, unless `body_inertia` of the same body is itself unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from gps.environments.contract import Floats
from gps.environments.mujoco.conditions import find_rows
from gps.errors import ConfigError
from gps.models.physics.parameters import Parameter, make_parameter, require_distinct_names

_INDEX = re.compile(r"(\w+)(?:\[(?:([xyz])|(\d+))\])?")

DELAY = "delay"
"""The name of the parameter that is the delay of the commands."""

_GRAVITY = "opt.gravity"

_SIGNED = {"servo_gain": (("actuator_gainprm", 0, 1.0), ("actuator_biasprm", 1, -1.0))}


class Place(NamedTuple):
    """Numbers of a model that a parameter sets.

    Args:
        field: as `mujoco.batch.Batch.expand` takes it.
        rows: the rows of the field.
        column: the entry of each row; None for a field with one number per row.
        factor: of the parameter's value.
    """

    field: str
    rows: NDArray[np.intp]
    column: int | None
    factor: float = 1.0

    def write(self, array: NDArray[Any], ids: NDArray[np.intp], values: Floats) -> None:
        """Write the values (n,) of the simulations `ids` into the field's array (B, rows, …)."""
        index = (ids[:, None], self.rows) if self.column is None else (ids[:, None], self.rows, self.column)
        array[index] = self.factor * values[:, None]

    def read(self, model: mujoco.MjModel) -> float:
        """The model's own value, of the first row."""
        if self.field == _GRAVITY:
            return float(np.linalg.norm(model.opt.gravity))
        row = getattr(model, self.field)[self.rows[0]]
        return float(row if self.column is None else row[self.column]) / self.factor


class ModelParameters:
    """Unknown parameters of a model.

    Args:
        model: with its own values, where a fit begins if they lie within the bounds.
        table: `{field: {object: [low, high]}}`, or `{bounds = [low, high], start = value}` in place of the bounds.

    Attributes:
        parameters: in the order of the table, named `FIELD:OBJECT`.

    Raises:
        ConfigError: for an unknown field or object (it names the nearest one), bounds that are reversed or no numbers,
            and a mass whose lower bound is not positive.
    """

    def __init__(self, model: mujoco.MjModel, table: Mapping[str, Any]) -> None:
        self._model = model
        self._places: list[tuple[Place, ...]] = []
        parameters: list[Parameter] = []
        for field, objects in table.items():
            if field in ("gravity", DELAY):
                objects = {"": objects}
            if not isinstance(objects, Mapping):
                raise ConfigError(f"{field}: expected a table of objects and their bounds, got {objects!r}")
            for key, value in objects.items():
                name = f"{field}:{key}" if key else field
                places = () if field == DELAY else _find_places(model, field, key, name)
                parameters.append(_read_parameter(name, value, places[0].read(model) if places else np.nan))
                self._places.append(places)
        require_distinct_names(parameters)
        self.parameters = tuple(parameters)
        self._masses = self._find_masses()

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that they set."""
        names = [place.field for places in self._places for place in places]
        return tuple(dict.fromkeys([*names, *(["body_inertia"] if self._masses else [])]))

    @property
    def derives(self) -> bool:
        """True if MuJoCo derives constants from one of the fields."""
        return any(name in mujoco.MjModel._setconst_inputs for name in self.fields)

    def write(self, arrays: Mapping[str, NDArray[Any]], ids: NDArray[np.intp], values: Floats) -> None:
        """Write the values (n, dp) of the simulations `ids` into the arrays of the fields, (B, …) each."""
        for k, places in enumerate(self._places):
            for place in places:
                if place.field == _GRAVITY:
                    arrays[_GRAVITY][ids] = values[:, k, None] * _find_direction(self._model)
                else:
                    place.write(arrays[place.field], ids, values[:, k])
        for k, body in self._masses:
            factors = values[:, k] / self._model.body_mass[body]
            arrays["body_inertia"][ids, body] = factors[:, None] * self._model.body_inertia[body]

    def _find_masses(self) -> list[tuple[int, int]]:
        """The parameters that are masses, and the bodies whose inertia scales with them."""
        found = []
        chosen = {int(row) for places in self._places for p in places if p.field == "body_inertia" for row in p.rows}
        for k, places in enumerate(self._places):
            if places and places[0].field == "body_mass":
                body = int(places[0].rows[0])
                if not self.parameters[k].low > 0 or not self._model.body_mass[body] > 0:
                    name = self.parameters[k].name
                    raise ConfigError(f"{name}: a mass must be positive, in the bounds and the model")
                if body not in chosen:
                    found.append((k, body))
        return found


def _find_places(model: mujoco.MjModel, field: str, key: str, name: str) -> tuple[Place, ...]:
    """Find the numbers of the model that a parameter sets."""
    if field == "gravity":
        return (Place(_GRAVITY, np.array([0]), None),)
    match = _INDEX.fullmatch(field)
    base, letter, digits = match.groups() if match else (field, None, None)
    try:
        if base in _SIGNED:
            rows = find_rows(model, "actuator_gainprm", key)
            return tuple(Place(place, rows, column, sign) for place, column, sign in _SIGNED[base])
        rows = find_rows(model, base, key)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None
    if key == "*":
        raise ConfigError(f"{name}: name one object; a parameter is one number")
    width = int(np.prod(getattr(model, base).shape[1:]))
    column = "xyz".index(letter) if letter else int(digits) if digits else None
    if width == 1:
        if column not in (None, 0):
            raise ConfigError(f"{name}: {base} has one number for each object, counted from 0")
        return (Place(base, rows, None if getattr(model, base).ndim == 1 else 0),)
    if column is None:
        raise ConfigError(f"{name}: {base} has {width} numbers for each object; choose one, as in {base}[0]")
    if column >= width:
        raise ConfigError(f"{name}: {base} has {width} numbers for each object, counted from 0")
    return (Place(base, rows, column),)


def _read_parameter(name: str, value: Any, own: float) -> Parameter:
    """Read the bounds and the start of a parameter; the start is the model's `own` value if it is within the bounds."""
    bounds, start = value, None
    if isinstance(value, Mapping):
        if unknown := [key for key in value if key not in ("bounds", "start")]:
            raise ConfigError(f"{name}: unknown key {unknown[0]!r}; known: 'bounds', 'start'")
        bounds, start = value.get("bounds"), value.get("start")
    if not isinstance(bounds, Sequence) or isinstance(bounds, str) or len(bounds) != 2:
        raise ConfigError(f"{name}: expected the bounds [low, high], got {bounds!r}")
    try:
        low, high = float(bounds[0]), float(bounds[1])
        start = None if start is None else float(start)
    except (TypeError, ValueError):
        raise ConfigError(f"{name}: expected numbers, got {value!r}") from None
    if start is None and low <= own <= high:
        start = own
    return make_parameter(name, low, high, start)


def _find_direction(model: mujoco.MjModel) -> Floats:
    """The direction of gravity; down in a model without any."""
    pull = np.linalg.norm(model.opt.gravity)
    return np.array(model.opt.gravity) / pull if pull > 0 else np.array([0.0, 0.0, -1.0])
