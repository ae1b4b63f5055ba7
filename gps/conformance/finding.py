"""A finding of `gps check`: what was tried, and where something is wrong what it is and how to fix it."""

import enum
from typing import NamedTuple


class Level(enum.IntEnum):
    """The weight of a finding."""

    OK = 0
    NOTE = 1  # worth knowing; nothing needs to be done
    WARNING = 2  # it runs, but may learn badly
    FAILURE = 3  # a rule is broken


_LABELS = {Level.OK: "ok", Level.NOTE: "note", Level.WARNING: "warn", Level.FAILURE: "FAIL"}


class Finding(NamedTuple):
    """One rule and its outcome."""

    rule: str
    problem: str = ""  # empty if nothing is wrong
    remedy: str = ""
    weight: Level = Level.FAILURE  # of the problem

    @property
    def level(self) -> Level:
        """The weight of the problem; OK without one."""
        return self.weight if self.problem else Level.OK

    @property
    def ok(self) -> bool:
        """True if the rule is kept; a note or a warning breaks none."""
        return self.level < Level.FAILURE

    def __str__(self) -> str:
        said = f"{self.rule}: {self.problem}" if self.problem else self.rule
        fix = f"\n      fix: {self.remedy}" if self.problem and self.remedy else ""
        return f"{_LABELS[self.level]:<6}{said}{fix}"
