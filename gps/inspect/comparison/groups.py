"""Groups of runs: the measures by which they are compared, and estimates over the seeds."""

from __future__ import annotations

import dataclasses
import functools
import statistics as plain_statistics

import numpy as np

from gps.inspect.comparison.member import Member
from gps.inspect.statistics import Aligned, Estimate, align_curves, estimate
from gps.players import FINAL, TEACHERS, UNSEEN, Player


@dataclasses.dataclass(frozen=True)
class Measure:
    """A number of a run by which groups are compared."""

    name: str
    what: str  # the evaluation that it comes from, a key of `gps.players.EVALUATIONS`
    kind: str  # "success", "cost" or "return"

    def of(self, member: Member) -> float | None:
        """Return the number of a run; None if the run has none."""
        result = member.results.get(self.what)
        return None if result is None else getattr(result, _KINDS[self.kind])


_KINDS = {"success": "share", "cost": "cost", "return": "returns"}  # -> the attribute of `Result`
FINAL_COST, FINAL_RETURN = Measure("final cost", FINAL, "cost"), Measure("final return", FINAL, "return")
CURVES = ("cost", "success", "returns", "policy_kl", "policy_loss")
"""The names of the curves of a `Member`."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that differ only in the seed (and in settings that `--by` ignores), ordered by seed."""

    label: str
    members: tuple[Member, ...]

    @functools.cached_property
    def finished(self) -> list[Member]:
        """The members with a final evaluation."""
        return [member for member in self.members if member.final_cost is not None]

    @property
    def final_cost(self) -> Estimate | None:
        return self.estimate(FINAL_COST)

    @property
    def final_return(self) -> Estimate | None:
        return self.estimate(FINAL_RETURN)

    def estimate(self, measure: Measure) -> Estimate | None:
        """Return the estimate over the finished seeds; None if one of them has no such number."""
        values = [measure.of(member) for member in self.finished]
        known = np.array([value for value in values if value is not None])
        return estimate(known) if len(known) and len(known) == len(values) else None

    @property
    def steps_until_solved(self) -> float:
        """Median over the seeds; infinite if half of them were never solved."""
        return plain_statistics.median_high(member.steps_until_solved for member in self.members)

    @functools.cached_property
    def curves(self) -> dict[str, tuple[Aligned, Estimate]]:
        """The curves named in `CURVES` that every seed has, aligned and aggregated over the seeds."""
        result = {}
        for name in CURVES:
            curves = [getattr(member, name) for member in self.members]
            if all(curve is not None for curve in curves) and (together := align_curves(curves)).steps.size:
                result[name] = together, estimate(together.values)
        return result


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Groups of runs, and notes on them."""

    title: str
    groups: tuple[Group, ...]
    notes: tuple[str, ...]

    @property
    def members(self) -> list[Member]:
        return [member for group in self.groups for member in group.members]

    @property
    def rewarded(self) -> bool:
        """True if any run has rewards."""
        return any(member.returns is not None for member in self.members)

    @property
    def reports_success(self) -> bool:
        """True if the environment of any run reports success."""
        return any(member.success is not None or member.solved for member in self.members)

    @property
    def apart(self) -> dict[str, list[Measure]]:
        """The separate measures of policies, teachers and unseen starts, by kind: "success", "cost" and "return"."""
        if not any(member.apart for member in self.members):
            return {}
        teachers = {player.value: player.value for player in TEACHERS if self.has_teacher(player)}
        there = {FINAL: "trained", UNSEEN: "unseen", **teachers}
        known = {kind: [Measure(f"{name} {kind}", what, kind) for what, name in there.items()] for kind in _KINDS}
        return {
            kind: some
            for kind, some in known.items()
            if any(m.of(member) is not None for m in some for member in self.members)
        }

    def has_teacher(self, player: Player) -> bool:
        """True if such teachers were evaluated in any run."""
        return any(player.value in member.results for member in self.members)
