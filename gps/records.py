"""The records of iterations and evaluations. They are immutable and hold plain NumPy arrays.

An `IterationRecord` has a core that every algorithm fills in, and optional sides: local
controllers, a global policy, a global model, a planner. Each view draws the sides that are there.

Axes are ordered condition M, sample N, time T, then features.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num, UInt8

from gps.linear_gaussian.types import Controller, LinearDynamics, Marginals
from gps.observations import Pixels
from gps.players import Player
from gps.status import ModelStatus, PolicyStatus, Severity, Status


class Abort(NamedTuple):
    """An episode that was ended from outside: to keep a robot from harm, or by a time limit below the horizon."""

    condition: int
    sample: int
    step: int  # the last that was taken
    reason: str


@dataclasses.dataclass(frozen=True)
class Rollouts:
    """N episodes of T steps for each of M conditions.

    Row t holds the state at step t and the action that was applied there (after the environment's limits). `mask` is
    False from the step on at which an episode had ended; the arrays are zero there. An episode that finished (it ended
    with a success) is whole: its remaining steps cost nothing. `observations` is None where a policy sees the state
    itself, and `images` where it sees no pictures: see `observed`. Under sensor noise, `states` and observations are
    measured, and `truth` has the states without it; under action noise or a delay, `actions` are the commands.
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
    distance: Float[np.ndarray, "M N"] | None = None  # to the goal at the end, m; None where the environment says none
    truth: Float[np.ndarray, "M N T dx"] | None = None  # the states without sensor noise; None where there is none
    finished: Bool[np.ndarray, "M N"] | None = None  # ended before T, yet whole; None where none did

    @property
    def true(self) -> "Rollouts":
        """The same episodes with their states as they were, not as they were measured."""
        return self if self.truth is None else dataclasses.replace(self, states=self.truth, truth=None)

    @property
    def whole(self) -> Bool[np.ndarray, "M N"]:
        """True for each episode whose cost is known: it took all T steps, or it finished early."""
        whole = np.asarray(self.mask.all(axis=2))
        return whole if self.finished is None else whole | self.finished

    @property
    def counted(self) -> Bool[np.ndarray, "M N T"]:
        """True where the cost is known: at each step taken, and after the end of a whole episode, where it is zero."""
        return self.mask if self.finished is None else self.mask | self.finished[..., None]

    @property
    def observed(self) -> Num[np.ndarray, "M N T do"] | Pixels:
        """The input of a policy that acts on observations: the states where no observations were recorded."""
        if self.observations is None:
            return self.states
        return self.observations if self.images is None else Pixels(self.images, self.observations)

    def regroup(self, conditions: int) -> "Rollouts":
        """The same episodes, in order, distributed over another number of conditions."""
        count = self.mask.shape[0] * self.mask.shape[1] // conditions

        def group(array: Any) -> Any:
            return None if array is None else array.reshape(conditions, count, *array.shape[2:])

        arrays = {name: group(getattr(self, name)) for name in _PER_EPISODE}
        of_samples = np.repeat(self.saturated, self.mask.shape[1])
        numbers = [abort.condition * self.mask.shape[1] + abort.sample for abort in self.aborts]
        aborts = tuple(
            abort._replace(condition=number // count, sample=number % count)
            for number, abort in zip(numbers, self.aborts, strict=True)
        )
        return Rollouts(**arrays, saturated=of_samples.reshape(conditions, count).mean(axis=1), aborts=aborts)

    @property
    def steps(self) -> int:
        """The number of environment steps of all episodes."""
        return int(self.mask.sum())

    @property
    def succeeded(self) -> Bool[np.ndarray, "M N"]:
        """True for each episode whose last step was a success; all False where the environment has no success flag."""
        if self.success is None:
            return np.zeros(self.mask.shape[:2], dtype=bool)
        last = np.maximum(self.mask.sum(axis=2) - 1, 0)
        return np.take_along_axis(self.success, last[..., None], axis=2)[..., 0] & self.mask[..., 0]

    @property
    def failed(self) -> Bool[np.ndarray, "M"]:
        """True for each condition whose episodes all ended early: none is whole, and none a success."""
        return ~np.any(self.whole | self.succeeded, axis=1)


_PER_EPISODE = (
    "states", "actions", "noise", "rewards", "success", "mask", "observations", "images", "distance", "truth",
    "finished",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Search:
    """The search for η in one update, and the KL that it used."""

    bound: Float[np.ndarray, "M"]  # ε times the step multiplier, nats per time step
    eta: Float[np.ndarray, "M ..."]  # (M,), or (M, T) where each step has a bound of its own
    kl: Float[np.ndarray, "M T"]  # nats
    alpha: Float[np.ndarray, "M"]  # temperature of the entropy, cost per nat
    evaluations: Int[np.ndarray, "M"]
    trace_log_eta: Float[np.ndarray, "M evaluations"]
    trace_kl: Float[np.ndarray, "M evaluations"]


class Change(NamedTuple):
    """The change of the expected cost of an episode by one update: as the model predicted it, and as it came.

    NaN where nothing is known, such as in iteration 0.
    """

    predicted: Float[np.ndarray, "M"]
    actual: Float[np.ndarray, "M"]


@dataclasses.dataclass(frozen=True)
class LocalRecord:
    """The local controllers' side of an iteration: what ran, the models fitted to it, and the update.

    `last` judges the update that made `controllers`: the change that the last iteration predicted, and the change
    that this iteration's samples show. `predicted` is the forecast of this iteration's update, which the next one
    judges. An algorithm that predicts in another way says so in its `improve`.
    """

    controllers: Controller  # the sampled ones; if the policy was sampled, its linearisation
    improved: Controller  # the next iteration's
    dynamics: LinearDynamics | None  # None where the algorithm fits none
    marginals: Marginals  # of the state, under `controllers`: in the fitted dynamics, or else of the samples
    search: Search
    multiplier: Float[np.ndarray, "M"]  # of the KL bound
    last: Change
    predicted: Float[np.ndarray, "M"]  # change of the expected cost by this update
    trust: Float[np.ndarray, "M"]  # |L̂ − J| / |J|: how far the model's cost of the samples is from their own; NaN: none
    entropy: Float[np.ndarray, "M"]  # of the controllers that were sampled, nats, mean over time

    @property
    def kl(self) -> Float[np.ndarray, "M"]:
        """The KL divergence of the update, summed over the trajectory, nats."""
        return self.search.kl.sum(axis=1)

    @property
    def kl_bound(self) -> Float[np.ndarray, "M"]:
        """The bound on `kl`, nats."""
        return self.search.bound * self.search.kl.shape[1]


@dataclasses.dataclass(frozen=True)
class PolicyRecord:
    """The global policy's side of an iteration: how it was trained.

    Losses are those of the supervised step, in nats: see `gps.policies.supervised`.
    """

    teacher: Player
    existed: bool  # whether there was a trained policy before this iteration's training
    trained: bool  # whether there is a trained policy after it
    linearised: Controller | None  # the policy before the training, around the samples; None where none was needed
    marginals: Marginals | None  # of the state, under `linearised` and the fitted dynamics
    kl: Float[np.ndarray, "M T"]  # KL(policy ‖ teacher) after training, nats, mean over the samples
    deviation: Float[np.ndarray, "du"]  # standard deviations of its noise after training; NaN before the first
    steps: int
    training_loss: Float[np.ndarray, "checks"]
    held_out_loss: Float[np.ndarray, "looks"]  # before the first step, and at each check
    mean_status: PolicyStatus  # of the training of the mean
    covariance_status: PolicyStatus
    message: str  # a sentence for each status that is not ok, and which conditions taught nothing

    @property
    def status(self) -> PolicyStatus:
        """The status of the mean; that of the covariance if only the covariance went wrong."""
        mean, covariance = self.mean_status, self.covariance_status
        return covariance if mean.ok and not covariance.ok else mean

    @property
    def loss(self) -> tuple[float, float]:
        """The held-out loss before and after; NaN where nothing was trained."""
        known = self.held_out_loss[np.isfinite(self.held_out_loss)]
        return (float(known[0]), float(known.min())) if known.size else (np.nan, np.nan)

    @property
    def kl_step(self) -> Float[np.ndarray, "M"]:
        """`kl` in nats per time step: the mean over the steps that have one, for each condition."""
        known = np.isfinite(self.kl)
        return np.where(known, self.kl, 0.0).sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan)


class MixtureRecord(NamedTuple):
    """A Gaussian mixture over [x; u; x']."""

    weights: Float[np.ndarray, "K"]
    means: Float[np.ndarray, "K d"]
    covariances: Float[np.ndarray, "K d d"]


@dataclasses.dataclass(frozen=True)
class ModelRecord:
    """The global model's side of an iteration, after it has learned from the samples.

    The prior of local dynamics is a global model too.
    """

    mixture: MixtureRecord | None = None  # where the model is one
    training_loss: Float[np.ndarray, "checks"] | None = None
    held_out_loss: Float[np.ndarray, "looks"] | None = None  # before the first step, and at each check
    one_step_error: Float[np.ndarray, "dx"] | None = None  # root mean square on the new samples, units of the state
    horizon_error: Float[np.ndarray, "H dx"] | None = None  # the same of predictions H steps ahead
    name: str = ""  # the kind of model, in words; empty for the mixture
    points: int | None = None  # transitions that it was fitted to
    coverage: Float[np.ndarray, "2"] | None = None  # share of the new samples within 1σ and 2σ of the prediction
    status: ModelStatus = ModelStatus.OK  # how the fit ended
    message: str = ""  # a sentence, where there is more to say than the status


@dataclasses.dataclass(frozen=True)
class PlannerRecord:
    """The planner's side of an iteration: what it planned against what happened. None where nothing is known."""

    predicted: Float[np.ndarray, "M"]  # cost as planned at the start of the episodes, mean over the samples
    actual: Float[np.ndarray, "M"]  # cost of the same steps of these episodes
    planned_states: Float[np.ndarray, "M T dx"] | None = None  # expected in the first sample; NaN: no plan
    planned_deviations: Float[np.ndarray, "M T dx"] | None = None  # the model's doubt of `planned_states`
    effective_samples: Float[np.ndarray, "M T"] | None = None  # candidates that weigh in a plan; NaN: no plan
    steps: int | None = None  # that the plan of the start had; None: a whole episode
    fallbacks: Int[np.ndarray, "M"] | None = None  # actions for which there was no plan in time, or none that is finite


@dataclasses.dataclass(frozen=True)
class OptimisationRecord:
    """The side of an algorithm that optimises a policy through a model: how the optimisation went.

    What the model promised, against what happened, is the `planner` side.
    """

    existed: bool  # whether there was a policy before this iteration's optimisation
    trained: bool  # whether there is one after it
    losses: Float[np.ndarray, "steps"]  # the objective in the model after each step from the best start
    starts: Float[np.ndarray, "starts"]  # the objective at the end of each start; NaN: it failed
    gradient_norms: Float[np.ndarray, "H"] | None = None  # |∂ (cost h steps ahead) / ∂ (first action)|, mean; cost
    kl: float = float("nan")  # of the policy from the last one, nats, mean over states; NaN: it was not bounded
    status: PolicyStatus = PolicyStatus.OK
    message: str = ""  # a sentence, where there is more to say than the status

    @property
    def loss(self) -> tuple[float, float]:
        """The objective before, and the least after it; NaN where nothing was optimised."""
        known = self.losses[np.isfinite(self.losses)]
        return (float(known[0]), float(known.min())) if known.size else (np.nan, np.nan)


@dataclasses.dataclass(frozen=True)
class Seconds:
    """Wall-clock time of the stages of an iteration."""

    sample: float
    fit: float
    improve: float
    plan: float = float("nan")  # of one plan, mean; NaN where nothing was planned


@dataclasses.dataclass(frozen=True, kw_only=True)
class IterationRecord:
    """Everything that one iteration did: the core, and the sides that the algorithm has."""

    iteration: int
    environment_steps: int  # in total, this iteration's included
    player: Player  # who acted in the rollouts
    rollouts: Rollouts
    costs: Float[np.ndarray, "M N T"]
    status: Int[np.ndarray, "M"]  # codes of `gps.status.Status`
    messages: tuple[str, ...]  # one for each condition; empty where there is nothing to say
    seconds: Seconds = Seconds(0.0, 0.0, 0.0)
    local: LocalRecord | None = None
    policy: PolicyRecord | None = None
    model: ModelRecord | None = None
    planner: PlannerRecord | None = None
    optimisation: OptimisationRecord | None = None

    def __repr__(self) -> str:
        from gps.inspect.notebook import outline_iteration

        return outline_iteration(self)

    def _repr_html_(self) -> str:
        from gps.inspect.notebook import tabulate_iteration

        return tabulate_iteration(self)

    @property
    def statuses(self) -> list[Status]:
        """The status of each condition."""
        return [Status(int(code)) for code in self.status]

    @property
    def troubles(self) -> list[str]:
        """The problems of the iteration, in words.

        Conditions without a new controller, or of which every episode failed; a policy that was not trained, or only
        in part; a global model that could not be fitted.
        """
        troubles = [
            f"condition {m}: {self.messages[m] or status.sentence}"
            for m, status in enumerate(self.statuses)
            if status.failed or self.rollouts.failed[m]
        ]
        if self.policy is not None and not self.policy.status.ok:
            troubles.append(f"policy: {self.policy.message or self.policy.status.sentence}")
        if self.optimisation is not None and not self.optimisation.status.ok:
            troubles.append(f"policy: {self.optimisation.message or self.optimisation.status.sentence}")
        if self.model is not None and self.model.status.severity is Severity.ERROR:
            troubles.append(f"model: {self.model.message or self.model.status.sentence}")
        return troubles

    @property
    def mean_cost(self) -> Float[np.ndarray, "M"]:
        """Mean cost of each condition's whole episodes; NaN where none is whole."""
        return mean_of_whole(self.costs, self.rollouts.counted)

    @property
    def successes(self) -> Int[np.ndarray, "M"]:
        """The number of each condition's samples that succeeded."""
        return self.rollouts.succeeded.sum(axis=1)

    @property
    def episodes(self) -> int:
        """The number of episodes up to the end of this iteration."""
        M, N = self.rollouts.mask.shape[:2]
        return (self.iteration + 1) * M * N


@dataclasses.dataclass(frozen=True)
class EvaluationRecord:
    """Episodes without exploration at the end of a run: one for each start, or several where the environment is noisy.

    `costs` are those of the true states.

    `what` is a key of `gps.players.EVALUATIONS`: "final", what was learned, from the conditions; "unseen", the same
    from the test conditions; or the value of a `Player` who taught a policy, such as "local" or "expert".
    """

    what: str
    player: Player  # who acted
    rollouts: Rollouts
    costs: Float[np.ndarray, "M N T"]
    seconds: float = float("nan")  # of an action, wall clock; NaN where it is unknown


def mean_of_whole(costs: Float[np.ndarray, "M N T"], counted: Bool[np.ndarray, "M N T"]) -> Float[np.ndarray, "M"]:
    """The mean over each condition's whole episodes of the cost of an episode; NaN where none is whole.

    Args:
        counted: see `Rollouts.counted`.
    """
    whole = np.asarray(counted.all(axis=2))
    total = np.where(whole, costs.sum(axis=2), 0.0).sum(axis=1)
    return np.where(whole.any(axis=1), total / np.maximum(whole.sum(axis=1), 1), np.nan)
