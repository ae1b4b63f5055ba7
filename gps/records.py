"""What one iteration leaves behind: rollouts, a record, a status. All immutable, all plain NumPy.

Axes are ordered condition M, sample N, time T, then features.
"""

import dataclasses
import enum
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num, UInt8

from gps.linear_gaussian.types import Controller, LinearDynamics, Marginals
from gps.observations import Pixels


class Sentences(enum.IntEnum):
    """An enumeration whose members are written `NAME = number, sentence`; `sentence` says in words what one means."""

    sentence: str

    def __new__(cls, value: int, sentence: str):
        member = int.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member


class Status(Sentences):
    """How the update of one condition ended."""

    OK = 0, "The update ended at the bound of the trust region."
    BOUND_INACTIVE = 1, "The optimum lies inside the trust region, whose bound does not matter."
    SEARCH_EXHAUSTED = 2, "The search for eta spent its evaluations; the best controller within the bound was kept."
    NO_FEASIBLE_ETA = 3, "No eta gave a positive definite Quu; the controller was left as it was."
    NO_VALID_SAMPLES = 4, "No usable sample was left; the controller was left as it was."
    SAMPLES_DROPPED = 5, "Some samples ended early or were not finite; what they lack was left out of the fit."
    NOT_FINITE = 6, "The fit or the update was not finite; the controller was left as it was."
    NO_PREFERENCE = 7, "All samples cost the same, or there is but one; the controller was left as it was."
    NONE_WHOLE = 8, "Every sample ended early; what they lack was left out of the fit."
    TAUGHT = 9, "The expert was asked at every step of the samples; there is no trust region."
    NO_EXPERT = 10, "The expert knows too little to be asked yet; the samples have taught it alone."
    NO_ADVICE = 11, "The expert had no advice in any state of the samples; they teach nothing."
    ADVICE_MISSING = 12, "The expert had no advice in some states; they teach nothing."

    @property
    def ok(self) -> bool:
        return self in (Status.OK, Status.BOUND_INACTIVE, Status.TAUGHT)

    @property
    def improved(self) -> bool:
        """Whether there is a new controller, or advice."""
        return not self.failed and self is not Status.NO_EXPERT

    @property
    def failed(self) -> bool:
        """Whether there should have been one. An expert that is still learning has not failed: it was not asked."""
        left = (Status.NO_FEASIBLE_ETA, Status.NO_VALID_SAMPLES, Status.NOT_FINITE, Status.NO_PREFERENCE)
        return self in (*left, Status.NO_ADVICE)


class PolicyStatus(Sentences):
    """How the training of the global policy ended: of its mean, or of its covariance."""

    OK = 0, "All steps were done; the policy of the lowest held-out loss was kept."
    STOPPED_EARLY = 1, "The held-out loss fell no more; the policy of the lowest one was kept."
    DIVERGED = 2, "The training loss exploded or was not finite; the last good policy was kept."
    NO_SAMPLES = 3, "No sample has a positive weight; the policy was left as it was."
    BAD_SAMPLES = 4, "An observation, action or weight is not finite; the policy was left as it was."
    BAD_PRECISION = 5, "A precision is not finite or not positive semi-definite; the policy was left as it was."
    SINGULAR_PRECISION = 6, "The mean precision is singular; the covariance was limited from above."
    COLLAPSED_COVARIANCE = 7, "The covariance collapses; it was limited from below."
    WARM_UP = 8, "Those who are to teach it learn alone at first; the policy was not trained."

    @property
    def ok(self) -> bool:
        return self in (PolicyStatus.OK, PolicyStatus.STOPPED_EARLY, PolicyStatus.WARM_UP)


class Abort(NamedTuple):
    """An episode that was ended from outside, to keep a robot from harm, and why."""

    condition: int
    sample: int
    step: int  # the last that was taken
    reason: str


@dataclasses.dataclass(frozen=True)
class Rollouts:
    """N episodes of T steps for each of M conditions.

    Row t holds the state that the action saw and the action that was applied (after the environment's limits).
    `mask` is False from the step on at which an episode had ended; the arrays are zero there. `observations` are there
    where a policy is to see something else than the state, and `images` where pictures are among it: see `observed`.
    """

    states: Float[np.ndarray, "M N T dx"]
    actions: Float[np.ndarray, "M N T du"]
    noise: Float[np.ndarray, "M N T du"]  # the exploration noise within the actions, before the limits
    rewards: Float[np.ndarray, "M N T"]
    success: Bool[np.ndarray, "M N T"] | None  # the environment's flag after step t; None where it gives none
    mask: Bool[np.ndarray, "M N T"]
    saturated: Float[np.ndarray, "M"]  # share of action entries that the limits changed
    aborts: tuple[Abort, ...] = ()
    observations: Num[np.ndarray, "M N T do"] | None = None  # without the pictures
    images: UInt8[np.ndarray, "M N T H W C"] | None = None

    @property
    def observed(self) -> Num[np.ndarray, "M N T do"] | Pixels:
        """What a policy that acts on observations saw: the states where nothing else was recorded."""
        if self.observations is None:
            return self.states
        return self.observations if self.images is None else Pixels(self.images, self.observations)

    def regrouped(self, conditions: int) -> "Rollouts":
        """The same episodes, in order, as those of another number of conditions."""
        count = self.mask.shape[0] * self.mask.shape[1] // conditions

        def grouped(array):
            return None if array is None else array.reshape(conditions, count, *array.shape[2:])

        arrays = {name: grouped(getattr(self, name)) for name in _PER_EPISODE}
        of_samples = np.repeat(self.saturated, self.mask.shape[1])
        numbers = [abort.condition * self.mask.shape[1] + abort.sample for abort in self.aborts]
        aborts = tuple(
            abort._replace(condition=number // count, sample=number % count)
            for number, abort in zip(numbers, self.aborts, strict=True)
        )
        return Rollouts(**arrays, saturated=of_samples.reshape(conditions, count).mean(axis=1), aborts=aborts)

    @property
    def steps(self) -> int:
        """How many environment steps they took."""
        return int(self.mask.sum())

    @property
    def succeeded(self) -> Bool[np.ndarray, "M N"]:
        """Whether each episode's last step was a success; of none where the environment does not tell."""
        if self.success is None:
            return np.zeros(self.mask.shape[:2], dtype=bool)
        last = np.maximum(self.mask.sum(axis=2) - 1, 0)
        return np.take_along_axis(self.success, last[..., None], axis=2)[..., 0] & self.mask[..., 0]

    @property
    def failed(self) -> Bool[np.ndarray, "M"]:
        """Whether each of a condition's episodes ended early, and none with a success."""
        return ~(self.mask.all(axis=2) | self.succeeded).any(axis=1)


_PER_EPISODE = ("states", "actions", "noise", "rewards", "success", "mask", "observations", "images")


@dataclasses.dataclass(frozen=True)
class Search:
    """How the update found η, and what it cost in KL."""

    bound: Float[np.ndarray, "M"]  # ε times the multiplier, nats per time step
    eta: Float[np.ndarray, "M ..."]  # (M,), or (M, T) with the bound per step
    kl: Float[np.ndarray, "M T"]
    alpha: Float[np.ndarray, "M"]
    evaluations: Int[np.ndarray, "M"]
    trace_log_eta: Float[np.ndarray, "M evaluations"]
    trace_kl: Float[np.ndarray, "M evaluations"]


@dataclasses.dataclass(frozen=True)
class PolicyRecord:
    """The side of the global policy in an iteration of guided policy search.

    Losses are the supervised step's, in nats: see `gps.policies.supervised`.
    """

    sampled: bool  # whether the policy acted in the rollouts, alone or with its teacher
    linearised: Controller  # the policy before this iteration's training, around the samples
    marginals: Marginals  # of the state, under `linearised` and the fitted dynamics
    kl: Float[np.ndarray, "M T"]  # KL(policy ‖ improved controllers) after training, nats, mean over the samples
    deviation: Float[np.ndarray, "du"]  # standard deviations of its noise after training; NaN before the first
    steps: int
    training_loss: Float[np.ndarray, "checks"]
    held_out_loss: Float[np.ndarray, "checks+1"]  # before the first step, and at each look
    outcome: str  # the name of the PolicyStatus of the mean's training
    covariance_outcome: str  # and of the covariance
    message: str  # a sentence for each that is not as it should be, and which conditions taught nothing
    teacher: str = "local"  # who teaches it: its "local" controllers, or an "expert"
    first: bool = False  # whether the first controllers were sampled, in place of an expert that knew too little

    @property
    def player(self) -> str:
        """Whose the rollouts are: of the "policy", its "local" controllers, the "expert", "both", or "first"."""
        if self.first:
            return "first"
        return self.teacher if not self.sampled else "both" if self.teacher == "expert" else "policy"

    @property
    def status(self) -> PolicyStatus:
        """That of the mean's training, or of the covariance where it alone is not as it should be."""
        mean, covariance = PolicyStatus[self.outcome], PolicyStatus[self.covariance_outcome]
        return covariance if mean.ok and not covariance.ok else mean

    @property
    def trained(self) -> bool:
        """Whether there is a policy after the iteration."""
        return bool(np.isfinite(self.deviation).any())

    @property
    def loss(self) -> tuple[float, float]:
        """The held-out loss before and after; NaN where nothing was trained."""
        known = self.held_out_loss[np.isfinite(self.held_out_loss)]
        return (float(known[0]), float(known.min())) if known.size else (np.nan, np.nan)


@dataclasses.dataclass(frozen=True)
class Seconds:
    """Wall-clock time of the parts of an iteration."""

    sample: float
    fit: float
    improve: float


@dataclasses.dataclass(frozen=True)
class IterationRecord:
    """Everything that one iteration did: the controllers it ran, what it saw, the model it fitted, its update.

    `predicted` and `actual` speak of the update that made this iteration's controllers: the change of expected cost
    that the last iteration's local model (its dynamics and its cost expansion) predicted between the last
    controllers and these, and the change of the mean cost of the samples. NaN in iteration 0. An algorithm that
    predicts in another way says so in its `improve`.
    """

    iteration: int
    environment_steps: int  # in total, this iteration's included
    rollouts: Rollouts
    costs: Float[np.ndarray, "M N T"]
    controllers: Controller  # that were run
    dynamics: LinearDynamics
    marginals: Marginals  # of the state, under the controllers that were run and the fitted dynamics
    improved: Controller  # the next iteration's
    search: Search
    multiplier: Float[np.ndarray, "M"]  # of the KL bound
    predicted: Float[np.ndarray, "M"]
    actual: Float[np.ndarray, "M"]
    entropy: Float[np.ndarray, "M"]  # of the controllers that were run, nats, mean over time
    status: Int[np.ndarray, "M"]
    messages: tuple[str, ...]  # one for each condition; empty where there is nothing to say
    seconds: Seconds
    policy: PolicyRecord | None = None  # where there is a global policy beside the local controllers

    @property
    def statuses(self) -> list[Status]:
        return [Status(int(code)) for code in self.status]

    @property
    def troubles(self) -> list[str]:
        """What went wrong, in words: conditions without a new controller or of which every episode failed; a policy
        that was not trained, or only in part."""
        troubles = [
            f"condition {m}: {self.messages[m] or status.sentence}"
            for m, status in enumerate(self.statuses)
            if status.failed or self.rollouts.failed[m]
        ]
        if self.policy is not None and not self.policy.status.ok:
            troubles.append(f"policy: {self.policy.message or self.policy.status.sentence}")
        return troubles

    @property
    def mean_cost(self) -> Float[np.ndarray, "M"]:
        """Mean cost of a condition's episodes that were not cut short; NaN without one."""
        return mean_of_whole(self.costs, self.rollouts.mask)

    @property
    def successes(self) -> Int[np.ndarray, "M"]:
        """How many of each condition's samples succeeded."""
        return self.rollouts.succeeded.sum(axis=1)

    @property
    def kl(self) -> Float[np.ndarray, "M"]:
        """KL of the update over the whole trajectory, nats."""
        return self.search.kl.sum(axis=1)

    @property
    def kl_bound(self) -> Float[np.ndarray, "M"]:
        """The bound on `kl`, nats."""
        return self.search.bound * self.search.kl.shape[1]


def mean_of_whole(costs: Float[np.ndarray, "M N T"], mask: Bool[np.ndarray, "M N T"]) -> Float[np.ndarray, "M"]:
    """Mean over a condition's whole episodes of the cost of an episode; NaN where none is whole."""
    whole = mask.all(axis=2)
    total = np.where(whole, costs.sum(axis=2), 0.0).sum(axis=1)
    return np.where(whole.any(axis=1), total / np.maximum(whole.sum(axis=1), 1), np.nan)
