"""The numbers of a ladder's page: curves, final returns, time, and which rung beats which."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from gps.errors import GpsError, one_line
from gps.inspect.comparison.groups import Group
from gps.inspect.comparison.member import Member, read_member
from gps.inspect.comparison.scale import Scale, choose_scale
from gps.inspect.statistics import Aligned, Curve, Estimate, align_curves, estimate
from gps.ladder.climbing import RungRuns
from gps.ladder.rungs import Rung
from gps.runs import Run

STAGES = ("sample", "fit", "improve")


@dataclasses.dataclass(frozen=True)
class RungResult:
    """A rung and what its runs came to.

    Attributes:
        members: its runs that have an iteration, ordered by seed.
        seconds: of each member, after each iteration: sampling, fitting and improving up to there, (iterations, 3).
        faults: why runs are missing, a sentence each.
    """

    rung: Rung
    scale: Scale
    members: tuple[Member, ...]
    seconds: tuple[Float[np.ndarray, "iterations 3"], ...]
    faults: tuple[str, ...]

    @functools.cached_property
    def group(self) -> Group:
        return Group(self.rung.name, self.members)

    @functools.cached_property
    def values(self) -> Float[np.ndarray, "finished"]:
        """The final number of each finished run."""
        return self.group.get_scores(self.scale)

    @functools.cached_property
    def final(self) -> Estimate | None:
        """The interquartile mean of `values` with its interval; None without any."""
        return estimate(self.values) if len(self.values) else None

    @property
    def solved(self) -> tuple[int, int] | None:
        """The solved starts and all starts, of all finished runs; None where the environment tells no success."""
        flags = [flag for member in self.group.finished for flag in member.solved]
        return (sum(flags), len(flags)) if flags else None

    @property
    def steps(self) -> tuple[int, ...]:
        """The environment steps of each finished run, the probe included."""
        return tuple(member.steps for member in self.group.finished)

    @functools.cached_property
    def by_steps(self) -> tuple[Aligned, Estimate] | None:
        """The training episodes by environment steps, aligned and aggregated over the seeds; None without any."""
        return _aggregate([self.scale.curve(member) for member in self.members])

    @property
    def by_seconds(self) -> tuple[Float[np.ndarray, "k"], Estimate] | None:
        """The same by iteration, with the wall time of the median run after each; None without a finished run."""
        curves = [self.scale.curve(member) for member in self.group.finished]
        known = [curve.values for curve in curves if curve is not None]
        if not known or len(known) < len(curves) or len({len(values) for values in known}) > 1:
            return None
        values = np.array(known)
        there = np.isfinite(values).all(axis=0)
        return self._clock.sum(axis=1)[there], estimate(values[:, there])

    @property
    def stages(self) -> Float[np.ndarray, "3"]:
        """Seconds of the median run in each stage; NaN without a finished run."""
        return self._clock[-1] if self.group.finished else np.full(3, np.nan)

    @property
    def _clock(self) -> Float[np.ndarray, "iterations 3"]:
        """The seconds of the finished run that is the median by its time, the faster of two: others may compile."""
        ends = [seconds for member, seconds in zip(self.members, self.seconds, strict=True) if member.finished]
        return sorted(ends, key=lambda seconds: float(seconds[-1].sum()))[(len(ends) - 1) // 2]

    def beats(self, other: "RungResult") -> Estimate | None:
        """The probability that one of its runs is better than one of another rung's; None where runs are missing."""
        return self.group.beats(other.group, self.scale)


def collect_results(rungs: Sequence[RungRuns]) -> list[RungResult]:
    """Read the runs of each rung. A run that cannot be read is a fault of its rung."""
    read = [_read_rung(item) for item in rungs]
    scale = choose_scale([member for _, members, _, _ in read for member in members])
    return [
        RungResult(rung, scale, tuple(members), tuple(seconds), tuple(faults))
        for rung, members, seconds, faults in read
    ]


def _read_rung(item: RungRuns) -> tuple[Rung, list[Member], list[np.ndarray], list[str]]:
    members, seconds, faults = [], [], list(item.faults)
    for found in item.runs:
        if found.path is None or not found.iterations:
            continue
        try:
            run = Run.open(found.path)
            members.append(read_member(run))
            seconds.append(_read_seconds(run))
        except GpsError as error:
            faults.append(f"seed {found.seed}: {one_line(error)}")
    return item.rung, members, seconds, faults


def _read_seconds(run: Run) -> Float[np.ndarray, "iterations 3"]:
    """The seconds in each stage up to the end of each iteration."""
    rows = [run.rows(k)[0] for k in range(len(run.iterations))]
    return np.cumsum([[row.sample_seconds, row.fit_seconds, row.improve_seconds] for row in rows], axis=0)


def _aggregate(curves: Sequence[Curve | None]) -> tuple[Aligned, Estimate] | None:
    known = [curve for curve in curves if curve is not None]
    if not known or len(known) < len(curves):
        return None
    together = align_curves(known)
    return (together, estimate(together.values)) if together.steps.size else None
