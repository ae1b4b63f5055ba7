"""What those are called that teach a policy, and those whose samples it learns from: the words of every view."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gps.records import PolicyRecord


class Teacher(NamedTuple):
    """A teacher in words."""

    one: str  # that of one condition
    all: str  # those of all conditions
    short: str
    s: str  # what a verb ends in after `all`


TEACHERS = {
    "local": Teacher("local controller", "local controllers", "controllers", ""),
    "expert": Teacher("expert", "expert", "expert", "s"),
}
"""`PolicyRecord.teacher`, which is also the name under which a teacher is evaluated (`gps.runs.EVALUATIONS`)."""

_PLAYERS = {
    "policy": ("policy", "the policy's own"),
    "local": ("local", "those of the local controllers"),
    "expert": ("expert", "the expert's"),
    "both": ("both", "those of expert and policy together"),
    "first": ("first", "those of the first controllers: the expert knew too little"),
}
"""`PolicyRecord.player` -> in a word, and in a sentence that begins with "samples"."""


def teacher(policy: PolicyRecord) -> Teacher:
    """Who taught this policy."""
    return TEACHERS[policy.teacher]


def whose(policy: PolicyRecord) -> str:
    """Whose the samples of an iteration are, in a word."""
    return _PLAYERS[policy.player][0]


def whose_samples(policy: PolicyRecord) -> str:
    """The same in a few words."""
    return _PLAYERS[policy.player][1]
