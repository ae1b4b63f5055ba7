"""What a controller is connected to: the names, order and units of its numbers, limits, control period, horizon."""

from __future__ import annotations

import json
import math
from typing import NamedTuple

from gps.environments.contract import BatchEnvironment, Entry


class Interface(NamedTuple):
    """The inputs and outputs of an experiment's controllers and policies.

    Attributes:
        state: the entries of the state in order, dx of them: what a local controller is given.
        observation: the numbers of the observation in order, dv of them, without pictures: what a policy is given.
        action: the entries of the action in order, du of them.
        low, high: limits of the action, du of them; infinite where it has none.
        dt: control period in seconds; NaN where it is unknown.
        horizon: steps of an episode.
    """

    state: tuple[Entry, ...]
    observation: tuple[Entry, ...]
    action: tuple[Entry, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    dt: float
    horizon: int

    @classmethod
    def of(cls, environment: BatchEnvironment, horizon: int) -> Interface:
        """The interface of an environment."""
        space = environment.single_action_space
        return cls(
            environment.state_entries,
            environment.observation_entries,
            environment.action_entries,
            tuple(map(float, space.low)),
            tuple(map(float, space.high)),
            float(environment.dt),
            horizon,
        )

    def to_json(self) -> str:
        """The interface as JSON; a number that is not finite becomes null."""
        finite = {
            "low": [_finite(x) for x in self.low],
            "high": [_finite(x) for x in self.high],
            "dt": _finite(self.dt),
        }
        named = {kind: [entry[:2] for entry in getattr(self, kind)] for kind in _ENTRIES}
        return json.dumps({**self._asdict(), **named, **finite}, indent=2, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Interface:
        """Read what `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: if it is something else.
        """
        table = json.loads(text)
        entries = {kind: tuple(Entry(str(name), str(unit)) for name, unit in table[kind]) for kind in _ENTRIES}
        low, high = (
            tuple(missing if x is None else float(x) for x in table[name])
            for name, missing in (("low", -math.inf), ("high", math.inf))
        )
        dt = math.nan if table["dt"] is None else float(table["dt"])
        return cls(**entries, low=low, high=high, dt=dt, horizon=int(table["horizon"]))


_ENTRIES = ("state", "observation", "action")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
