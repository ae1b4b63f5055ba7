"""The players of an episode, and the evaluations: one table of names and words for every view."""

import enum
from typing import TYPE_CHECKING, Self


class Player(enum.StrEnum):
    """The player that acts in an episode. The values are stored in run directories."""

    one: str  # the player of one condition
    all: str  # the players of all conditions
    short: str  # one word for all of them
    samples: str  # "the samples are …"
    acted: str  # a sentence about a rollout
    plural: bool  # whether `all` takes a verb in the plural

    if not TYPE_CHECKING:  # checkers would take these for the arguments of a lookup by value, `Player("local")`

        def __new__(cls, value: str, one: str, all: str, short: str, samples: str, acted: str, plural: bool) -> Self:
            member = str.__new__(cls, value)
            member._value_ = value
            member.one, member.all, member.short = one, all, short
            member.samples, member.acted, member.plural = samples, acted, plural
            return member

    LOCAL = (
        "local", "local controller", "local controllers", "controllers",
        "the local controllers'", "The local controller was sampled.", True,
    )  # fmt: skip
    POLICY = (
        "policy", "policy", "policy", "policy",
        "the policy's own", "The policy was sampled.", False,
    )  # fmt: skip
    EXPERT = (
        "expert", "expert", "expert", "expert",
        "the expert's", "The expert was sampled.", False,
    )  # fmt: skip
    BOTH = (
        "both", "expert and policy", "expert and policy", "both",
        "those of expert and policy together", "Expert and policy were sampled together.", True,
    )  # fmt: skip
    FIRST = (
        "first", "first controller", "first controllers", "first",
        "the first controllers'", "The first controller was sampled: the algorithm knew too little yet.", True,
    )  # fmt: skip
    PLANNER = (
        "planner", "planner", "planner", "planner",
        "the planner's", "The planner was sampled.", False,
    )  # fmt: skip

    @property
    def s(self) -> str:
        """The ending of a verb after `all`: "the expert solves", "the controllers solve"."""
        return "" if self.plural else "s"

    @property
    def has_policy(self) -> bool:
        """True if the global policy acts, alone or together with its teacher."""
        return self in (Player.POLICY, Player.BOTH)


FINAL, UNSEEN = "final", "unseen"
"""Evaluations of the learned policy without noise: from the training conditions, and from the test conditions."""

TEACHERS = (Player.LOCAL, Player.EXPERT, Player.PLANNER)
"""Who may teach a policy, and is then evaluated in addition to it."""

EVALUATIONS: dict[str, str] = {
    FINAL: "evaluation",
    UNSEEN: "evaluation_unseen",
    **{player.value: f"evaluation_{player.value}" for player in TEACHERS},
}
"""Evaluation without noise at the end of a run -> its folder in the run directory."""
