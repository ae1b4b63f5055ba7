"""A finding of `gps check`: what was tried, and where it failed what is wrong and how to fix it."""

from typing import NamedTuple


class Finding(NamedTuple):
    """One rule and its outcome."""

    rule: str
    problem: str = ""  # empty if nothing is wrong
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """True if nothing is wrong."""
        return not self.problem

    def __str__(self) -> str:
        return f"ok    {self.rule}" if self.ok else f"FAIL  {self.rule}: {self.problem}\n      fix: {self.remedy}"
