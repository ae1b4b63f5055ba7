"""What algorithms of guided policy search share: a global policy beside the local controllers that teach it.

The state holds the policy with all that its training goes on from. Each iteration fits, beside the local models, the
policy around the samples of each condition and step, and trains it on what the new local controllers would do there.
"""

import dataclasses
from typing import Any, ClassVar, Generic, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from gps.algorithms.local.base import (
    LocalModel,
    LocalState,
    Prior,
    Result,
    State,
    Step,
    advanced,
    chosen,
    extended,
    marginals,
)
from gps.algorithms.local.trajopt import TrajOpt
from gps.backend import jax
from gps.dynamics.mixture import MixturePrior
from gps.linear_gaussian.riccati import expected_cost
from gps.linear_gaussian.types import Controller, Marginals
from gps.policies.linearised import linearise, policy_points
from gps.policies.neural import Network, NeuralPolicy
from gps.policies.played import Shared
from gps.policies.supervised import Fit, Options, Samples, Training, not_trained, train
from gps.records import PolicyRecord, PolicyStatus, Rollouts
from gps.sampling import Policy


@dataclasses.dataclass(frozen=True)
class GuidedState(LocalState[Prior], Generic[Prior, Network]):
    """The state of the local optimisers; the policy with all that its training goes on from; what is believed of it."""

    training: Training[Network]
    policy_prior: MixturePrior | None  # of [x; u]

    @property
    def trained(self) -> bool:
        """Whether there is a global policy yet."""
        return self.training.calls > 0


class GuidedModel(NamedTuple):
    """What an iteration knows: the local model, and the global policy around its samples."""

    local: Any  # the optimiser's: a `LocalModel`, or another with its `dynamics` and `sample_costs`
    linearised: Controller
    policy_prior: MixturePrior | None


class Limits(NamedTuple):
    """Of the actions, as the environment applies them; infinite where it has none."""

    low: Float[np.ndarray, "du"] | float = -np.inf
    high: Float[np.ndarray, "du"] | float = np.inf


UNLIMITED = Limits()


class Taught(NamedTuple):
    """What a supervised step came to."""

    training: Training
    record: PolicyRecord
    conditions: Bool[np.ndarray, "M"]  # that taught


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guided(TrajOpt):
    """The settings that they all have, and what follows from them alone.

    Args:
        training: of the policy, before the first step.
        policy_prior: of the linearisation; None linearises by least squares.
        options: of the supervised step.
        warm_up: iterations at the start that improve the local controllers alone, as trajectory optimisation does. A
            policy that imitates the first controllers, which are far from good and seen around few states, is far
            worse than they are, and holds them back.
        limits: of the actions; see `asked`.
    """

    training: Training
    options: Options
    policy_prior: MixturePrior | None = None
    warm_up: int = 0
    limits: Limits = UNLIMITED

    learns_from_observations: ClassVar[bool] = True

    @property
    def state_type(self) -> Any:
        """Of what `begin` and `improve` return."""
        return GuidedState[self._kinds]

    @property
    def _kinds(self) -> tuple[type, type]:
        prior = MixturePrior if self.prior is None else type(self.prior)
        return prior, type(self.training.policy.network)

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> GuidedState:
        """The state before the first iteration."""
        first = super().begin(controllers, starts)
        return extended(GuidedState, first, training=self.training, policy_prior=self.policy_prior)

    def final(self, state: GuidedState) -> Policy:
        """The global policy; the local controllers before there is one."""
        return global_policy(state) if state.trained else super().final(state)

    def further(self, state: GuidedState) -> dict[str, Policy]:
        """The local controllers, to be evaluated beside the policy."""
        return {"local": super().final(state)} if state.trained else {}

    def taught(
        self, state: GuidedState, rollouts: Rollouts, model: GuidedModel, result: Result, **lesson: Any
    ) -> Taught:
        """The supervised step after the controllers' update; `lesson` as of `supervised`."""
        return supervised(
            state, rollouts, model, result.controllers, result.usable, self.options, self.warm_up, self.limits, **lesson
        )

    def next_state(
        self,
        state: State,
        rollouts: Rollouts,
        step: Step,
        model: GuidedModel,
        result: Result,
        taught: Taught,
        **more: Any,
    ) -> State:
        """The state after the iteration; `more` are the fields that the algorithm has of its own."""
        prior, reward = model.local.prior, model.local.reward
        learned = {"prior": prior, "reward": reward, "training": taught.training, "policy_prior": model.policy_prior}
        return advanced(state, rollouts, step, result, **learned, **more)

    def fit(self, state: GuidedState, rollouts: Rollouts, seed: int) -> GuidedModel:
        """The local model around the samples, and the global policy linearised around them."""
        local = super().fit(state, rollouts, seed)
        return GuidedModel(local, *linearised(state, rollouts, seed))


def global_policy(state: GuidedState) -> Shared:
    """The policy as a sampler plays it."""
    M, T = state.controllers.feedforward.shape[:2]
    return Shared(state.training.policy, M, T)


def linearised(state: GuidedState, rollouts: Rollouts, seed: int) -> tuple[Controller, MixturePrior | None]:
    """The global policy around the samples of each condition and step, and the prior that has seen it there.

    The local controllers before there is a policy, and at steps that no sample has reached.
    """
    prior = state.policy_prior
    if not state.trained:
        return state.controllers, prior
    policy = state.training.policy
    points = policy_points(rollouts.states, policy.act(rollouts.observed), rollouts.mask)
    prior = prior and prior.refit(points, seed)
    dx, seen = rollouts.states.shape[-1], rollouts.mask.any(axis=1)
    around = linearise(points, dx, policy.covariance, prior and prior.at(points))
    return chosen(seen, around, state.controllers), prior


def expected(model: LocalModel, controllers: Controller) -> Float[np.ndarray, "M"]:
    """L(controllers): the expected cost of an episode in the local model."""
    costs = expected_cost(marginals(model, controllers), model.cost, controllers)
    return np.asarray(costs).sum(axis=1)


def supervised(
    state: GuidedState,
    rollouts: Rollouts,
    model: GuidedModel,
    teachers: Controller,
    usable: Bool[np.ndarray, "M"],
    options: Options,
    warm_up: int,
    limits: Limits,
    *,
    sampled: bool = False,
    weights: Float[np.ndarray, "M #T"] | None = None,
    multipliers: Float[np.ndarray, "M T du"] | None = None,
) -> Taught:
    """The supervised step, from iteration `warm_up` on: the policy imitates the teachers at the samples.

    Args:
        usable: which teachers are new; see `teaches`.
        sampled: whether the rollouts are the policy's own.
        weights, multipliers: see `lessons`; None for equal weights.
    """
    teach = teaches(usable, rollouts)
    if state.iteration < warm_up:
        training, fit = state.training, not_trained(PolicyStatus.WARM_UP)
    else:
        masked = teach[:, None] * (np.ones((len(teach), 1)) if weights is None else weights)
        training, fit = train(state.training, lessons(teachers, rollouts, masked, multipliers, limits), options)
    around, policy = model.linearised, training.policy
    unknown = np.full(teachers.feedforward.shape[:2], np.nan)
    kl = divergence(policy, teachers, rollouts, limits) if training.calls else unknown
    silent = [] if fit.outcome == PolicyStatus.WARM_UP else np.flatnonzero(~teach)
    message = " ".join(filter(None, [fit.message, *(f"Condition {m} taught it nothing." for m in silent)]))
    record = policy_record(sampled, around, marginals(model.local, around), training, fit, kl, message)
    return Taught(training, record, teach)


def teaches(usable: Bool[np.ndarray, "M"], rollouts: Rollouts) -> Bool[np.ndarray, "M"]:
    """Which conditions teach the policy: those that have a new controller, and an episode that did not fail.

    What a controller would do where each of its episodes failed is nothing to imitate.
    """
    return usable & ~rollouts.failed


def asked(teachers: Controller, rollouts: Rollouts, limits: Limits) -> Float[np.ndarray, "M N T du"]:
    """The teachers' mean actions at the samples, as the environment would apply them.

    Where a sample has left the states that its linear controller was made for, that may ask for hundreds of times what
    a motor gives. A network that were to reproduce the figure would have no eye for anything else.
    """
    K, k = teachers.feedback, teachers.feedforward
    return np.clip(np.einsum("mtij,mntj->mnti", K, rollouts.states) + k[:, None], *limits)


def lessons(
    teachers: Controller,
    rollouts: Rollouts,
    weights: Float[np.ndarray, "M #T"],
    multipliers: Float[np.ndarray, "M T du"] | None = None,
    limits: Limits = UNLIMITED,
) -> Samples:
    """What the policy is to imitate: what the teachers would do at the sampled observations, with their precisions.

    Args:
        weights: of each step; 0 where a condition is to teach nothing.
        multipliers: λ of the mean actions, in the same unit as the weights times nats.
        limits: of the actions; see `asked`.
    """
    M, N, T = rollouts.mask.shape
    actions = asked(teachers, rollouts, limits)
    precisions = np.broadcast_to(precision(teachers)[:, None], (*actions.shape, actions.shape[-1]))
    masked = rollouts.mask * np.nan_to_num(weights)[:, None]
    linear = None
    if multipliers is not None:  # the supervised step has the weight before both terms
        heard = weights[..., None] > 0
        ratio = np.where(heard, multipliers / np.where(heard, weights[..., None], 1.0), 0.0)
        linear = flat(np.broadcast_to(ratio[:, None], actions.shape))
    episodes = np.broadcast_to(np.arange(M * N).reshape(M, N, 1), (M, N, T))
    parts = (rollouts.observed, actions, precisions, masked)
    return Samples(*(jax.tree.map(flat, part) for part in parts), linear, flat(episodes))


def flat(array: Float[np.ndarray, "M N T *rest"]) -> Float[np.ndarray, "MNT *rest"]:
    """All samples in one row, which may be of no numbers where there are pictures."""
    return array.reshape(np.prod(array.shape[:3]), *array.shape[3:])


def precision(controllers: Controller) -> Float[np.ndarray, "M T du du"]:
    """Of the actions; NaN where the covariance has no inverse."""
    covariance = np.asarray(controllers.covariance)
    one = np.eye(covariance.shape[-1])
    regular = np.isfinite(covariance).all(axis=(-1, -2))[..., None, None]
    regular &= np.isfinite(np.linalg.slogdet(np.where(regular, covariance, one))[1])[..., None, None]
    return np.where(regular, np.linalg.inv(np.where(regular, covariance, one)), np.nan)


def policy_record(
    sampled: bool,
    around: Controller,
    there: Marginals,
    training: Training,
    fit: Fit,
    kl: Float[np.ndarray, "M T"],
    message: str,
) -> PolicyRecord:
    """The policy's side of the iteration's record, after its training; the arguments are those of `PolicyRecord`."""
    return PolicyRecord(
        sampled=sampled,
        linearised=around,
        marginals=there,
        kl=kl,
        deviation=training.deviation,
        steps=fit.steps,
        training_loss=fit.training_loss,
        held_out_loss=fit.held_out_loss,
        outcome=fit.outcome.name,
        covariance_outcome=fit.covariance_outcome.name,
        message=message,
    )


def divergence(
    policy: NeuralPolicy, teachers: Controller, rollouts: Rollouts, limits: Limits = UNLIMITED
) -> Float[np.ndarray, "M T"]:
    """KL(π(· | o) ‖ p(· | x)) at each step, nats, mean over the samples; NaN at a step without any.

    ½ [tr(PΣ) − du + log det P⁻¹ − log det Σ + eᵀPe], P the teachers' precision and e what the mean actions differ by,
    the teachers' within the limits: as the policy is taught.
    """
    P, covariance = precision(teachers), np.asarray(policy.covariance)
    e = differences(policy, teachers, rollouts, limits)
    squares = np.einsum("mnti,mtij,mntj->mnt", e, P, e)
    mean = mean_over_samples(squares[..., None], rollouts)[..., 0]
    spread = np.einsum("mtij,ji->mt", P, covariance) - len(covariance)
    logdets = np.linalg.slogdet(teachers.covariance)[1] - np.linalg.slogdet(covariance)[1]
    return 0.5 * (spread + logdets + mean)


def differences(
    policy: NeuralPolicy, teachers: Controller, rollouts: Rollouts, limits: Limits = UNLIMITED
) -> Float[np.ndarray, "M N T du"]:
    """The policy's mean actions at the samples minus what it is taught."""
    return policy.act(rollouts.observed) - asked(teachers, rollouts, limits)


def mean_difference(
    policy: NeuralPolicy, teachers: Controller, rollouts: Rollouts, limits: Limits = UNLIMITED
) -> Float[np.ndarray, "M T du"]:
    """The mean of `differences` over the samples; NaN at a step without any."""
    return mean_over_samples(differences(policy, teachers, rollouts, limits), rollouts)


def mean_over_samples(values: Float[np.ndarray, "M N T d"], rollouts: Rollouts) -> Float[np.ndarray, "M T d"]:
    """The mean over the samples that happened; NaN at a step without any."""
    count = rollouts.mask.sum(axis=1)
    total = np.where(rollouts.mask[..., None], values, 0.0).sum(axis=1)
    return total / np.where(count > 0, count, np.nan)[..., None]
