"""Mirror descent guided policy search (Montgomery & Levine 2016): one neural policy from many local controllers.

Each iteration, for M conditions:

    sample    the global policy π (on-policy) or the local controllers p (off-policy), with their noise
    fit       local dynamics and cost; π̄, the global policy linearised around the samples of each condition and step
    C-step    p ← argmin E_p[ℓ]  subject to  KL(p ‖ π̄) ≤ ε: trajectory optimisation's trust region, about π̄
    S-step    π ← argmin Σ_i KL(π(· | o_i) ‖ p(· | x_i)) over the samples: `gps.policies.supervised`, with a warm start

so that what a local controller learns is never farther from the policy than a step. Before the policy was trained for
the first time, the initial controllers are sampled, also on-policy, and take the place of π̄.

The step rule
-------------
The multiplier of ε follows the predicted and the actual change of the cost. Let L_j(q) be the expected cost of q under
the local dynamics and the cost expansion of iteration j (the closed form, not the mean of the samples). p_k is the
local controller with which iteration k begins (made by the C-step of iteration k − 1), π_k the global policy with
which it begins (made by the S-step of k − 1), linearised around the samples of iteration k. What iteration k − 1
predicted, and what iteration k finds:

              predicted                          actual
    classic   L_{k−1}(p_k) − L_{k−1}(p_{k−1})    L_k(p_k) − L_{k−1}(p_{k−1})
    global    L_{k−1}(p_k) − L_{k−1}(π_{k−1})    L_k(π_k) − L_{k−1}(π_{k−1})

Both predict by the new local controller in the old model. `classic` asks of the model alone whether it predicted well
what the local controllers do. `global` compares with what became of the global policy, so that a policy that imitates
badly shortens the next step as a bad model does. In on-policy sampling p_k was not run: its L_k is an extrapolation.
"""

import dataclasses
from typing import Any, Generic, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from gps.algorithms.execution import executed
from gps.algorithms.local import LocalModel, LocalState, Prior, Step, chosen, judged, recorded, sentences
from gps.algorithms.step_size import adapted
from gps.algorithms.trajopt import TrajOpt, found, indefinite, searched
from gps.backend import jax
from gps.dynamics.mixture import MixturePrior
from gps.linear_gaussian.riccati import expected_cost, forward
from gps.linear_gaussian.types import Controller, Marginals
from gps.policies.linearised import linearise, policy_points
from gps.policies.neural import Network, NeuralPolicy
from gps.policies.shared import Shared
from gps.policies.supervised import Fit, Options, Samples, Training, train
from gps.records import IterationRecord, PolicyRecord, Rollouts
from gps.sampling import Policy


@dataclasses.dataclass(frozen=True)
class GuidedState(LocalState[Prior], Generic[Prior, Network]):
    """The state of the local optimisers; the policy with all that its training goes on from; what is believed of it.

    `predicted` and `cost` are those of the step rule: `cost` is L of the last iteration's reference.
    """

    training: Training[Network]
    policy_prior: MixturePrior | None  # of [x; u]

    @property
    def trained(self) -> bool:
        """Whether there is a global policy yet."""
        return self.training.calls > 0


class GuidedModel(NamedTuple):
    """What an iteration knows: the local model, and the global policy around its samples."""

    local: LocalModel
    linearised: Controller
    policy_prior: MixturePrior | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class MDGPS(TrajOpt):
    """The algorithm.

    Args:
        training: of the policy, before the first step.
        policy_prior: of the linearisation; None linearises by least squares.
        options: of the supervised step.
        sampling: whose rollouts are taken, the global policy's or the local controllers'.
        step_rule: see above.
    """

    training: Training
    policy_prior: MixturePrior | None = None
    options: Options
    sampling: Literal["on_policy", "off_policy"] = "on_policy"
    step_rule: Literal["classic", "global"] = "global"

    @property
    def state_type(self) -> Any:
        """Of what `begin` and `improve` return."""
        return GuidedState[MixturePrior if self.prior is None else type(self.prior), type(self.training.policy.network)]

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> GuidedState:
        """The state before the first iteration."""
        return with_policy(super().begin(controllers, starts), self.training, self.policy_prior)

    # -- what runs ---------------------------------------------------------------------------------------------------

    def policy(self, state: GuidedState) -> Policy:
        """What is sampled: the global policy, if it is there and the sampling is on-policy, or the controllers."""
        if self._on_policy(state):
            return global_policy(state)
        return executed(state.controllers, state.planned, self.execution, self.noise)

    def final(self, state: GuidedState) -> Policy:
        """The global policy; the initial controllers before there is one."""
        return global_policy(state) if state.trained else self._local(state)

    def further(self, state: GuidedState) -> dict[str, Policy]:
        """The local controllers, to be evaluated beside the policy."""
        return {"local": self._local(state)} if state.trained else {}

    def _local(self, state: GuidedState) -> Controller:
        return executed(state.controllers, state.planned, self.execution, 0.0)

    def _on_policy(self, state: GuidedState) -> bool:
        return self.sampling == "on_policy" and state.trained

    # -- an iteration ------------------------------------------------------------------------------------------------

    def fit(self, state: GuidedState, rollouts: Rollouts, seed: int) -> GuidedModel:
        """The local model around the samples, and the global policy linearised around them."""
        local = super().fit(state, rollouts, seed)
        return GuidedModel(local, *linearised(state, rollouts, seed))

    def improve(
        self, state: GuidedState, rollouts: Rollouts, model: GuidedModel
    ) -> tuple[GuidedState, IterationRecord]:
        """The C-step, the S-step, and the record of the iteration. The docstring above says what is predicted."""
        local, around = model.local, model.linearised
        reference = expected(local, state.controllers if self.step_rule == "classic" else around)
        step = self.rule(state, reference)
        alpha = self.alpha(local, rollouts)
        new = self.optimised(local, around, step.bound, alpha, state.eta)
        status, usable = judged(new.status, (new.controller, new.kl, local.dynamics), rollouts.mask)
        kept = chosen(usable, new.controller, state.controllers)
        training, fit = train(state.training, lessons(kept, rollouts, usable), self.options)

        sampled = self._on_policy(state)
        record = recorded(
            # What ran is, on-policy, the global policy, which the linearised one stands for.
            dataclasses.replace(state, controllers=around if sampled else state.controllers), rollouts, step,
            costs=local.sample_costs,
            dynamics=local.dynamics,
            marginals=new.previous_marginals if sampled else marginals(local, state.controllers),
            improved=kept,
            search=searched(new, step.bound, alpha, np.where(usable[:, None], new.kl, 0.0)),
            status=status,
            messages=sentences(status, rollouts, lambda m: indefinite(m, status[m], local, around, new, alpha[m])),
            policy=policy_record(sampled, around, new.previous_marginals, training.policy, kept, rollouts, fit),
        )  # fmt: skip
        next_state = dataclasses.replace(
            state,
            iteration=state.iteration + 1,
            environment_steps=record.environment_steps,
            controllers=kept,
            planned=chosen(usable, new.marginals.mean, state.planned),
            prior=local.prior,
            reward=local.reward,
            eta=found(new.eta, usable, state.eta),
            multiplier=step.multiplier,
            predicted=np.where(usable, expected(local, new.controller) - reference, np.nan),
            cost=step.cost,
            training=training,
            policy_prior=model.policy_prior,
        )
        return next_state, record

    def rule(self, state: GuidedState, reference: Float[np.ndarray, "M"]) -> Step:
        """The bound on this iteration's update; `reference` is L_k(p_k) or L_k(π_k)."""
        actual = reference - state.cost
        multiplier = adapted(state.multiplier, state.predicted, actual, self.min_multiplier, self.max_multiplier)
        return Step(reference, actual, multiplier, self.kl_step * multiplier)


# -- what guided policy search is made of ------------------------------------------------------------------------------


def with_policy(state: LocalState, training: Training, policy_prior: MixturePrior | None) -> GuidedState:
    """A local optimiser's first state, with a policy that nothing has trained yet."""
    parts = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return GuidedState(**parts, training=training, policy_prior=policy_prior)


def global_policy(state: GuidedState) -> Shared:
    """The policy as a sampler plays it."""
    M, T = state.controllers.feedforward.shape[:2]
    return Shared(state.training.policy, M, T)


def linearised(state: GuidedState, rollouts: Rollouts, seed: int) -> tuple[Controller, MixturePrior | None]:
    """The global policy around the samples of each condition and step, and the prior that has seen it there.

    The initial controllers before there is a policy.
    """
    prior = state.policy_prior
    if not state.trained:
        return state.controllers, prior
    policy = state.training.policy
    points = policy_points(rollouts.states, policy.act(rollouts.observed), rollouts.mask)
    prior = prior and prior.refit(points, seed)
    dx = rollouts.states.shape[-1]
    return linearise(points, dx, policy.covariance, prior and prior.at(points)), prior


@jax.jit
def _marginals(dynamics, controllers) -> Marginals:
    return jax.vmap(forward)(dynamics, controllers)


def marginals(model: LocalModel, controllers: Controller) -> Marginals:
    """Of the state, under the controllers and the fitted dynamics."""
    return _marginals(model.dynamics, controllers).numpy()


def expected(model: LocalModel, controllers: Controller) -> Float[np.ndarray, "M"]:
    """L(controllers): the expected cost of an episode in the local model."""
    costs = expected_cost(_marginals(model.dynamics, controllers), model.cost, controllers)
    return np.asarray(costs).sum(axis=1)


def lessons(teachers: Controller, rollouts: Rollouts, usable: Bool[np.ndarray, "M"]) -> Samples:
    """What the policy is to imitate: the teachers' mean actions at the sampled observations, with their precisions.

    A condition whose update failed teaches nothing.
    """
    M, N, T = rollouts.mask.shape
    K, k = teachers.feedback, teachers.feedforward
    actions = np.einsum("mtij,mntj->mnti", K, rollouts.states) + k[:, None]
    precisions = np.broadcast_to(precision(teachers)[:, None], (*actions.shape, actions.shape[-1]))
    weights = rollouts.mask & usable[:, None, None]
    episodes = np.broadcast_to(np.arange(M * N).reshape(M, N, 1), (M, N, T))
    return Samples(*(flat(array) for array in (rollouts.observed, actions, precisions, weights)), None, flat(episodes))


def flat(array: Float[np.ndarray, "M N T *rest"]) -> Float[np.ndarray, "MNT *rest"]:
    """All samples in one row."""
    return array.reshape(-1, *array.shape[3:])


def precision(controllers: Controller) -> Float[np.ndarray, "M T du du"]:
    """Of the actions; NaN where the covariance has no inverse."""
    covariance = np.asarray(controllers.covariance)
    regular = np.isfinite(np.linalg.slogdet(covariance)[1])[..., None, None]
    return np.where(regular, np.linalg.inv(np.where(regular, covariance, np.eye(covariance.shape[-1]))), np.nan)


def policy_record(
    sampled: bool,
    around: Controller,
    around_marginals: Marginals,
    policy: NeuralPolicy,
    teachers: Controller,
    rollouts: Rollouts,
    fit: Fit,
) -> PolicyRecord:
    """The policy's side of the iteration's record."""
    return PolicyRecord(
        sampled=sampled,
        linearised=around,
        marginals=around_marginals,
        kl=divergence(policy, teachers, rollouts),
        deviation=np.sqrt(np.diagonal(np.asarray(policy.covariance))),
        steps=fit.steps,
        training_loss=fit.training_loss,
        held_out_loss=fit.held_out_loss,
        outcome=fit.outcome.name,
        covariance_outcome=fit.covariance_outcome.name,
        message=fit.message,
    )


def divergence(policy: NeuralPolicy, teachers: Controller, rollouts: Rollouts) -> Float[np.ndarray, "M T"]:
    """KL(π(· | o) ‖ p(· | x)) at each step, nats, mean over the samples; NaN at a step without any.

    ½ [tr(PΣ) − du + log det P⁻¹ − log det Σ + eᵀPe], P the teachers' precision and e what the mean actions differ by.
    """
    K, k, P = teachers.feedback, teachers.feedforward, precision(teachers)
    covariance = np.asarray(policy.covariance)
    e = policy.act(rollouts.observed) - np.einsum("mtij,mntj->mnti", K, rollouts.states) - k[:, None]
    squares = np.einsum("mnti,mtij,mntj->mnt", e, P, e)
    count = rollouts.mask.sum(axis=1)
    mean = np.where(rollouts.mask, squares, 0.0).sum(axis=1) / np.where(count > 0, count, np.nan)
    spread = np.einsum("mtij,ji->mt", P, covariance) - len(covariance)
    logdets = np.linalg.slogdet(teachers.covariance)[1] - np.linalg.slogdet(covariance)[1]
    return 0.5 * (spread + logdets + mean)
