"""The numbers by which runs are compared: measures of an evaluation, and the scale on which larger is better."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from gps.inspect.comparison.member import Member
from gps.inspect.statistics import Curve
from gps.players import FINAL

MEASURED = {"success": "share", "cost": "cost", "return": "returns"}
"""Kind of a measure -> the attribute of `Result`."""


@dataclasses.dataclass(frozen=True)
class Measure:
    """A number of a run by which groups are compared."""

    name: str
    what: str  # the evaluation that it comes from, a key of `gps.players.EVALUATIONS`
    kind: str  # "success", "cost" or "return"

    def of(self, member: Member) -> float | None:
        """Return the number of a run; None if the run has none."""
        result = member.results.get(self.what)
        return None if result is None else getattr(result, MEASURED[self.kind])


FINAL_COST, FINAL_RETURN = Measure("final cost", FINAL, "cost"), Measure("final return", FINAL, "return")


@dataclasses.dataclass(frozen=True)
class Scale:
    """The number by which runs are ranked: larger is better."""

    name: str  # "return", or "minus the cost" where the environment gives no reward
    measure: Measure
    sign: float

    def of(self, member: Member) -> float | None:
        """The final number of a run; None before its final evaluation."""
        value = self.measure.of(member)
        return None if value is None else self.sign * value

    def curve(self, member: Member) -> Curve | None:
        """The numbers of a run's training episodes, by environment steps."""
        if self.measure is FINAL_RETURN:
            return member.returns
        return None if member.cost is None else Curve(member.cost.steps, -member.cost.values)


RETURN, MINUS_COST = Scale("return", FINAL_RETURN, 1.0), Scale("minus the cost", FINAL_COST, -1.0)


def choose_scale(members: Sequence[Member]) -> Scale:
    """Return the return if all runs have one, otherwise minus the cost."""
    rewarded = [member.returns is not None or member.final_return is not None for member in members]
    return RETURN if rewarded and all(rewarded) else MINUS_COST
