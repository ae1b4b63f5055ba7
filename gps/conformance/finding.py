"""A finding of `gps check`: what was tried, and where it failed what is wrong and how to fix it."""

from typing import NamedTuple


class Finding(NamedTuple):
    """One rule and its outcome."""

    rule: str
    problem: str = ""  # empty if nothing is wrong
    remedy: str = ""
    warning: bool = False  # the experiment runs all the same

    @property
    def ok(self) -> bool:
        """True if nothing is wrong, or it is only a warning."""
        return not self.problem or self.warning

    def __str__(self) -> str:
        if not self.problem:
            return f"ok    {self.rule}"
        return f"{'warn' if self.warning else 'FAIL'}  {self.rule}: {self.problem}\n      fix: {self.remedy}"
