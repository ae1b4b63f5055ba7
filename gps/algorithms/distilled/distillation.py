"""What the distillation of an expert needs, whoever is sampled: a policy learns to do what the expert would.

Each iteration, for M conditions:

    sample    the expert and the policy in turn, or one drawn towards the other: what `DAgger` and `PLATO` differ in
    fit       the local dynamics, for the record; an expert that learns the dynamics sees the samples
    improve   the expert is asked what it would do in each visited state, which labels the observation seen there, and

                  π ← argmin Σ_i KL(π(· | o_i) ‖ N(u_i, P_i⁻¹))

              over the labelled samples of the last iterations: `gps.policies.supervised`, with a warm start.

An expert that does not tell how firmly it means its actions is taken to mean each within a fixed share of its usual
size (`deviation`). Before the expert knows enough to be asked, the initial controllers are sampled. The exploration
noise is theirs until there is a policy, and then the policy's: the mean of its precision is the expert's.

In the record, `improved` is the expert, linearised around the samples; there is no trust region and no search.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Generic, NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Float, Int, Num, UInt8

from gps.algorithms.guided.base import (
    GuidedState,
    global_policy,
    linearised,
    mean_over_samples,
    policy_record,
)
from gps.algorithms.local.base import (
    Prior,
    Result,
    Step,
    advanced,
    chosen,
    extended,
    first_state,
    judged,
    marginals,
    recorded,
    sentences,
)
from gps.algorithms.local.execution import Execution, executed
from gps.backend import jax
from gps.costs import RewardModel, evaluate
from gps.dynamics.mixture import MixturePrior
from gps.dynamics.prior import DynamicsPrior, Transitions
from gps.dynamics.regression import fit_dynamics
from gps.experts.contract import Advice, asked, knowing
from gps.linear_gaussian.types import Controller, LinearDynamics
from gps.observations import Pixels
from gps.policies.linearised import linearise, policy_points
from gps.policies.neural import Network, NeuralPolicy
from gps.policies.supervised import Fit, Options, Samples, Training, not_trained, train
from gps.records import IterationRecord, PolicyStatus, Rollouts, Search, Status, mean_of_whole
from gps.sampling import Policy, Seen

_RIDGE = 1e-3
"""Of the linearisations for the record alone: they are to be smooth where samples are few."""


class Lesson(NamedTuple):
    """The labelled samples of an iteration, those that count."""

    observations: Num[np.ndarray, "n do"]
    actions: Float[np.ndarray, "n du"]
    precisions: Float[np.ndarray, "n du du"] | None
    episodes: Int[np.ndarray, "n"]
    images: UInt8[np.ndarray, "n H W C"] | None = None

    @property
    def observed(self) -> Num[np.ndarray, "n do"] | Pixels:
        """What the policy saw."""
        return self.observations if self.images is None else Pixels(self.images, self.observations)


class Model(NamedTuple):
    """What an iteration knows before it asks the expert."""

    dynamics: LinearDynamics
    sample_costs: Float[np.ndarray, "M N T"]
    prior: DynamicsPrior | None
    linearised: Controller  # the policy
    policy_prior: MixturePrior | None


@dataclasses.dataclass(frozen=True)
class DistillationState(GuidedState[Prior, Network], Generic[Prior, Network]):
    """The state of guided policy search, whose controllers stay the initial ones, and the samples to learn from."""

    lessons: tuple[Lesson, ...]


@dataclasses.dataclass(frozen=True)
class Played:
    """The expert alone, as a sampler plays it."""

    expert: Any
    covariance: Float[np.ndarray, "M T du du"]

    observes: ClassVar[str] = "state"
    abstains: ClassVar[str] = "the expert had no advice"

    @property
    def carries_over(self) -> bool:
        return getattr(self.expert, "carries_over", True)

    def act(self, seen: Float[np.ndarray, "M N dx"], t: int) -> Float[np.ndarray, "M N du"]:
        return asked(self.expert, seen, t, self.covariance.shape[-1]).actions

    def repeated(self, count: int) -> Self:
        return dataclasses.replace(self, covariance=np.repeat(self.covariance, count, axis=0))


@dataclasses.dataclass(frozen=True)
class PlayedTogether(Played):
    """The expert and the policy, which a sampler plays as `act` has it."""

    policy: NeuralPolicy

    observes: ClassVar[str] = "both"
    abstains: ClassVar[str] = ""  # the policy acts where the expert has no advice
    carries_over: ClassVar[bool] = False

    def advice(self, seen: Seen, t: int) -> Advice:
        """The expert's. It is asked at every step, so that one that remembers has seen the whole episode."""
        return asked(self.expert, seen.states, t, self.covariance.shape[-1])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distillation(abc.ABC):
    """The settings.

    Args:
        cost: a JAX function of (x, u, t); it is the expert's business to make it small.
        expert: any object with `act`; see `gps.experts`.
        steps: T, of an episode.
        training: of the policy, before the first step.
        options: of the supervised step.
        memory: iterations whose samples are learned from.
        deviation: standard deviation of the actions of an expert that tells none, relative to their size.
        policy_prior: of the linearisations for the record; None linearises by least squares.
        reward: where the environment's reward counts, too.
        execution, noise: what is played beside the mean actions; see `executed`.
    """

    cost: Callable = dataclasses.field(kw_only=False)
    expert: Any
    steps: int
    training: Training
    options: Options
    memory: int = 10
    deviation: float = 0.1
    policy_prior: MixturePrior | None = None
    reward: RewardModel | None = None
    execution: Execution = "max_entropy"
    noise: float = 0.1

    learns_from_observations: ClassVar[bool] = True

    @property
    def state_type(self) -> Any:
        """Of what `begin` and `improve` return."""
        prior = getattr(self.expert, "prior", None)
        return DistillationState[MixturePrior if prior is None else type(prior), type(self.training.policy.network)]

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> DistillationState:
        """The state before the first iteration."""
        unknown = np.full(len(starts), np.nan)
        state = first_state(controllers, starts, unknown, np.nan, getattr(self.expert, "prior", None))
        return extended(DistillationState, state, training=self.training, policy_prior=self.policy_prior, lessons=())

    def policy(self, state: DistillationState) -> Policy:
        """What is sampled."""
        expert = self._expert(state.prior, state.cost)
        if expert is None:
            return executed(state.controllers, state.planned, self.execution, self.noise)
        if not state.trained:
            return Played(expert, self._noise(state))
        return self.sampled(state, expert, self._noise(state))

    @abc.abstractmethod
    def sampled(self, state: DistillationState, expert: Any, noise: Float[np.ndarray, "M T du du"]) -> Policy:
        """What is sampled once there are both expert and policy."""

    def final(self, state: DistillationState) -> Policy:
        """The policy; the initial controllers before there is one."""
        if state.trained:
            return global_policy(state)
        return executed(state.controllers, state.planned, self.execution, 0.0)

    def further(self, state: DistillationState) -> dict[str, Policy]:
        """The expert, to be evaluated beside the policy."""
        expert = self._expert(state.prior, state.cost)
        return {} if expert is None else {"expert": Played(expert, self._noise(state))}

    def costs(self, rollouts: Rollouts) -> Float[np.ndarray, "M N T"]:
        """What each step cost."""
        costs = evaluate(self.cost, rollouts.states, rollouts.actions, rollouts.mask)
        return costs if self.reward is None else costs + self.reward.costs(rollouts)

    def fit(self, state: DistillationState, rollouts: Rollouts, seed: int) -> Model:
        """The local dynamics around the samples, the policy linearised there, and what the expert has learned."""
        transitions = Transitions.of(rollouts.states, rollouts.actions, rollouts.mask)
        prior = state.prior and state.prior.refit(transitions, seed)
        belief = prior and prior.at(transitions)
        dynamics = fit_dynamics(rollouts.states, rollouts.actions, rollouts.mask, belief, center="sample").numpy()
        return Model(dynamics, self.costs(rollouts), prior, *linearised(state, rollouts, seed))

    def improve(
        self, state: DistillationState, rollouts: Rollouts, model: Model
    ) -> tuple[DistillationState, IterationRecord]:
        """The expert's labels, the supervised step, and the record of the iteration. Nothing is predicted."""
        cost = mean_of_whole(model.sample_costs, rollouts.mask)
        expert = self._expert(model.prior, cost)
        advice = advised(expert, rollouts)
        missing = ~np.isfinite(advice.actions).all(axis=-1)
        status, usable = _judged(expert, model, rollouts, missing)

        lessons = (*state.lessons, lesson(rollouts, advice, usable))[-self.memory :]
        usual = usual_precision(lessons, self.deviation)
        training, fit = self._taught(state, expert, samples(lessons, usual))

        teacher = chosen(usable, around_samples(rollouts, advice.actions, inverse(advice, usual)), state.controllers)
        messages = tuple(sentences(status, rollouts, lambda m, _: _where_missing(missing[m], rollouts.mask[m])))
        result = Result(teacher, state.planned, state.predicted, _no_search(rollouts), status, usable, messages)
        around, kl = model.linearised, divergence(training.policy, advice, usual, rollouts, usable)
        policy = policy_record(state.trained, around, marginals(model, around), training, fit, kl, fit.message)
        first = self._expert(state.prior, state.cost) is None
        policy = dataclasses.replace(policy, teacher="expert", first=first)
        step = Step(cost, cost - state.cost, state.multiplier, state.multiplier)
        ran = dataclasses.replace(state, controllers=self._ran(state, rollouts))
        record = recorded(ran, rollouts, step, model, marginals(model, ran.controllers), result, policy)
        next_state = advanced(
            state, rollouts, step, result._replace(controllers=state.controllers),
            prior=model.prior,
            training=training,
            policy_prior=model.policy_prior,
            lessons=lessons,
        )  # fmt: skip
        return next_state, record

    def _expert(self, prior: DynamicsPrior | None, cost: Float[np.ndarray, "M"]) -> Any:
        """The expert that has learned from the samples; None while it knows too little."""
        known = np.abs(cost[np.isfinite(cost)]) / self.steps
        return knowing(self.expert, prior, float(known.mean()) if known.any() else 1.0)

    def _taught(self, state: DistillationState, expert: Any, lessons: Samples) -> tuple[Training, Fit]:
        """The supervised step, once there is an expert."""
        if expert is None:
            return state.training, not_trained(PolicyStatus.WARM_UP)
        return train(state.training, lessons, self.options)

    def _noise(self, state: DistillationState) -> Float[np.ndarray, "M T du du"]:
        """The covariance of the exploration."""
        first = executed(state.controllers, state.planned, self.execution, self.noise).covariance
        if not state.trained or self.execution != "max_entropy":
            return first
        return np.broadcast_to(state.training.policy.covariance, first.shape)

    def _ran(self, state: DistillationState, rollouts: Rollouts) -> Controller:
        """What was sampled, around the samples."""
        played = self.policy(state)
        if isinstance(played, Controller):
            return played
        covariance = np.broadcast_to(played.covariance[:, None], (*rollouts.actions.shape, rollouts.actions.shape[-1]))
        return around_samples(rollouts, rollouts.actions - rollouts.noise, covariance)


def advised(expert: Any, rollouts: Rollouts) -> Advice:
    """What the expert would do in each visited state, asked along the episodes; zero where masked, and for no expert.

    The actions are not finite where it has no advice.
    """
    M, N, T, du = rollouts.actions.shape
    if expert is None:
        return Advice(np.zeros((M, N, T, du)), None)
    answers = [asked(expert, rollouts.states[:, :, t], t, du) for t in range(T)]
    actions = np.stack([answer.actions for answer in answers], axis=2)
    if any(answer.precisions is None for answer in answers):
        precisions = None
    else:
        precisions = np.stack([answer.precisions for answer in answers], axis=2)
        actions = np.where(np.isfinite(precisions).all(axis=(-1, -2))[..., None], actions, np.nan)
    return Advice(np.where(rollouts.mask[..., None], actions, 0.0), precisions)


def lesson(rollouts: Rollouts, advice: Advice, usable: Bool[np.ndarray, "M"]) -> Lesson:
    """The samples of the conditions that are usable, where the expert had advice."""
    counts = rollouts.mask & usable[:, None, None] & np.isfinite(advice.actions).all(axis=-1)
    precisions = None if advice.precisions is None else advice.precisions[counts]
    m, n, _ = np.nonzero(counts)
    vectors = rollouts.states if rollouts.observations is None else rollouts.observations
    images = None if rollouts.images is None else rollouts.images[counts]
    return Lesson(vectors[counts], advice.actions[counts], precisions, m * counts.shape[1] + n, images)


def usual_precision(lessons: tuple[Lesson, ...], deviation: float) -> Float[np.ndarray, "du du"]:
    """Of actions that are meant within `deviation` of their usual size."""
    actions = np.concatenate([one.actions for one in lessons])
    size = np.sqrt((actions**2).mean(axis=0)) if len(actions) else np.zeros(actions.shape[1])
    return np.diag((deviation * np.where(size > 0, size, 1.0)) ** -2)


def precisions_of(advice: Advice | Lesson, usual: Float[np.ndarray, "du du"]) -> Float[np.ndarray, "... du du"]:
    """How firmly the expert means its actions: as it says, or as usual."""
    if advice.precisions is not None:
        return advice.precisions
    return np.broadcast_to(usual, (*advice.actions.shape, len(usual)))


def samples(lessons: tuple[Lesson, ...], usual: Float[np.ndarray, "du du"]) -> Samples:
    """All that there is to imitate."""
    parts = [(one.observed, one.actions, precisions_of(one, usual)) for one in lessons]
    observations, actions, precisions = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
    firsts = np.cumsum([0, *(1 + one.episodes.max(initial=-1) for one in lessons)])
    episodes = np.concatenate([first + one.episodes for first, one in zip(firsts, lessons, strict=False)])
    return Samples(observations, actions, precisions, np.ones(len(actions)), None, episodes)


def inverse(advice: Advice, usual: Float[np.ndarray, "du du"]) -> Float[np.ndarray, "M N T du du"]:
    """The covariances of the expert's actions; zero where there is none."""
    P = precisions_of(advice, usual)
    regular = (np.isfinite(P).all(axis=(-1, -2)) & (np.linalg.slogdet(np.nan_to_num(P))[0] > 0))[..., None, None]
    return np.where(regular, np.linalg.inv(np.where(regular, P, np.eye(len(usual)))), 0.0)


def around_samples(
    rollouts: Rollouts, actions: Float[np.ndarray, "M N T du"], covariance: Float[np.ndarray, "M N T du du"]
) -> Controller:
    """What took these mean actions, as a controller for each condition; zero where they are not finite."""
    known = rollouts.mask & np.isfinite(actions).all(axis=-1)
    points = policy_points(rollouts.states, np.where(known[..., None], actions, 0.0), known)
    return linearise(points, rollouts.states.shape[-1], covariance, ridge=_RIDGE)


def divergence(
    policy: NeuralPolicy, advice: Advice, usual: Float[np.ndarray, "du du"], rollouts: Rollouts, usable: np.ndarray
) -> Float[np.ndarray, "M T"]:
    """KL(π(· | o) ‖ expert(· | x)) at each step, nats, mean over the samples; NaN where nothing was taught.

    ½ [tr(PΣ) − du − log det P − log det Σ + eᵀPe], P the expert's precision and e what the mean actions differ by.
    """
    P, covariance = precisions_of(advice, usual), np.asarray(policy.covariance)
    P = np.where(np.isfinite(P).all(axis=(-1, -2))[..., None, None], P, usual)
    e = policy.act(rollouts.observed) - advice.actions
    squares = np.einsum("mnti,mntij,mntj->mnt", e, P, e)
    spread = np.einsum("mntij,ji->mnt", P, covariance) - len(covariance)
    kl = 0.5 * (spread - np.linalg.slogdet(P)[1] - np.linalg.slogdet(covariance)[1] + squares)
    known = dataclasses.replace(rollouts, mask=rollouts.mask & np.isfinite(advice.actions).all(axis=-1))
    return np.where(usable[:, None], mean_over_samples(kl[..., None], known)[..., 0], np.nan)


def _no_search(rollouts: Rollouts) -> Search:
    """The record of a trust region that is not there."""
    M, _, T = rollouts.mask.shape
    unknown = np.full(M, np.nan)
    return Search(
        bound=unknown,
        eta=unknown,
        kl=np.full((M, T), np.nan),
        alpha=unknown,
        evaluations=np.zeros(M, dtype=int),
        trace_log_eta=np.zeros((M, 0)),
        trace_kl=np.zeros((M, 0)),
    )


def _judged(
    expert: Any, model: Model, rollouts: Rollouts, missing: Bool[np.ndarray, "M N T"]
) -> tuple[Int[np.ndarray, "M"], Bool[np.ndarray, "M"]]:
    """The status of each condition, and whether its samples can teach; `missing` is where there is no advice."""
    M = len(missing)
    if expert is None:
        return np.full(M, Status.NO_EXPERT), np.zeros(M, dtype=bool)
    status, usable = judged(np.full(M, Status.OK), model.dynamics, rollouts.mask)
    some, none = missing.any(axis=(1, 2)), ~(rollouts.mask & ~missing).any(axis=(1, 2))
    status = np.where(status == Status.OK, Status.TAUGHT, status)
    status = np.where(usable & some, np.where(none, Status.NO_ADVICE, Status.ADVICE_MISSING), status)
    return status, usable & ~none


def _where_missing(missing: Bool[np.ndarray, "N T"], mask: Bool[np.ndarray, "N T"]) -> str:
    """Where the expert had no advice, if it had not."""
    if not missing.any():
        return ""
    n, t = np.argwhere(missing)[0]
    return (
        f" They are {missing.sum()} of {mask.sum()}, the first at sample {n}, step {t}: its action or precision is not "
        "finite there, or the precision has an eigenvalue below zero."
    )
