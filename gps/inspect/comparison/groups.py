"""Groups of runs: the measures by which they are compared, and estimates over the seeds."""

from __future__ import annotations

import dataclasses
import functools
import statistics as plain_statistics

import numpy as np

from gps.inspect.comparison.member import Member
from gps.inspect.comparison.scale import FINAL_COST, FINAL_RETURN, MEASURED, Measure, Scale, choose_scale
from gps.inspect.statistics import Aligned, Estimate, align_curves, estimate, estimate_improvement
from gps.players import FINAL, TEACHERS, UNSEEN, Player

CURVES = ("cost", "success", "returns", "policy_kl", "policy_loss")
"""The names of the curves of a `Member`."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that differ only in the seed (and in settings that `--by` ignores), ordered by seed.

    Attributes:
        label: short and unique: the few settings that tell the groups apart.
        settings: all settings in which the groups differ, with the values of this one, as text.
    """

    label: str
    members: tuple[Member, ...]
    settings: str = ""

    @functools.cached_property
    def finished(self) -> list[Member]:
        """The members with a final evaluation."""
        return [member for member in self.members if member.finished]

    @property
    def source(self) -> str:
        """The file of another program that the runs were read from; empty for runs of gps."""
        return self.members[0].source

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

    def get_scores(self, scale: Scale) -> np.ndarray:
        """Return the final number of each finished run, (finished,); larger is better."""
        found = [scale.of(member) for member in self.finished]
        return np.array([value for value in found if value is not None and np.isfinite(value)])

    def beats(self, other: Group, scale: Scale) -> Estimate | None:
        """Return the probability that one of its runs is better than one of another group's; None without runs."""
        ours, theirs = self.get_scores(scale), other.get_scores(scale)
        return estimate_improvement(ours, theirs) if len(ours) and len(theirs) else None

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
    def scale(self) -> Scale:
        """The number by which all runs can be compared, larger is better."""
        return choose_scale(self.members)

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
        known = {kind: [Measure(f"{name} {kind}", what, kind) for what, name in there.items()] for kind in MEASURED}
        return {
            kind: some
            for kind, some in known.items()
            if any(m.of(member) is not None for m in some for member in self.members)
        }

    def has_teacher(self, player: Player) -> bool:
        """True if such teachers were evaluated in any run."""
        return any(player.value in member.results for member in self.members)
