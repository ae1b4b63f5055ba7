"""Guided policy search through a learned model, with path integrals: MPPI (Williams et al. 2017) improves the policy's
action in each visited state, and the policy imitates the result.

It is a guided policy search whose local optimiser needs neither local models nor resets: the policy's own plan in a
global model takes the place of the local controller. Each iteration, for M conditions and N samples of each:

    sample    the policy with its noise,  u = μ(o) + e,  e ~ N(0, Σ_π), within the environment's limits
    fit       the global model learns x' = f(x, u) from all samples so far
    improve   in each visited state x_t, by rounds of S sequences of H actions in the model:
                  Ū = μ along the policy's own rollout from x_t
                  R times:  U_i = Ū + s ξ_i,  ξ_i coloured noise of variance 1, within the limits
                            w_i ∝ exp(−(S_i − λ_π log π_i) / λ),  λ such that KL(w ‖ 1/S) = ε     (`weigh_with_policy`)
                            Ū ← Σ_i w_i U_i
                  p(· | x_t) = N(ū, C),  with the first action ū of Ū, and C below
    imitate   π ← argmin Σ KL(π(· | o) ‖ p(· | x)) over the visited states: `gps.policies.supervised`, with a warm start

S_i is the expected cost of the sequence in the model, and log π_i the policy's log-probability of it:

    log π_i = −½ Σ_h (u_ih − μ(x_ih))ᵀ Σ_π⁻¹ (u_ih − μ(x_ih)) + const,   x_ih along the sequence's own rollout

At λ = λ_π they are the weights p ∝ π exp(−S / λ_π) of the optimum of E_p[S] + λ_π KL(p ‖ π), for proposals that are
equally likely. ε, in nats, bounds how far a round moves the distribution of sequences away from its proposals: it is at
most log S, where one sequence alone counts. In one round of few samples each single action moves little; with three,
the policy of a linear system was after three iterations where it was after eight with one. λ_π has the unit of a cost
per nat; the settings give it in mean absolute costs of a step. It keeps the targets where one policy can follow them:
among equally cheap sequences, those that the policy would follow itself weigh more.

The policy is sampled, and not the planner: the states to be taught in are those that the policy visits (Ross, Gordon &
Bagnell 2011), the costs of a record are the policy's own, and acting stays as cheap as a network.

The covariance C is the weighted one of the first actions u_i in the last round. So few samples decide that it is drawn
to the proposal's, as the inverse-Wishart prior of du + 1 samples does, n = 1 / Σ w²:

    C = (n Σ_i w_i δ_i δ_iᵀ + (du + 1) s² I) / (n + du + 1),   δ_i = u_i − Σ_j w_j u_j

Its inverse is the precision of the target; the policy's own noise follows, so that exploration never dies.

Before there is a policy, the first controllers are sampled, and the plans begin with the actions that the episode went
on with.
"""

import dataclasses
from typing import Any, ClassVar, Generic

import numpy as np
from jaxtyping import Bool, Float, Int

from gps.algorithms.algorithm import Needs
from gps.algorithms.guided.base import make_policy_record
from gps.algorithms.guided.lessons import flatten_samples
from gps.algorithms.local.verdict import judge
from gps.algorithms.through_models.base import PolicyThroughModel
from gps.algorithms.through_models.forecast import Forecast, compare_forecast
from gps.algorithms.through_models.learned_models import (
    FittedModels,
    L,
    ModelState,
    SeededModels,
    World,
    advance_state,
    record_iteration,
)
from gps.algorithms.through_models.policy_search import PathIntegralSearch, Setting, Targets, find_targets, forecast
from gps.backend import jax
from gps.linear_gaussian.types import Controller
from gps.models.model import find_stored_type
from gps.players import Player
from gps.policies.imitation import imitation_kl, mean_over_samples
from gps.policies.learner import Learner
from gps.policies.neural import Layered, NeuralPolicy
from gps.policies.supervised import Fit, Samples, Training, not_trained, train
from gps.records import IterationRecord, PlannerRecord, PolicyRecord, Rollouts
from gps.sampling.policy import Policy
from gps.status import PolicyStatus, Status
from gps.storage.serialization import specialise


@dataclasses.dataclass(frozen=True)
class MPPIGPSState(ModelState[L], Generic[L, Layered]):
    """Everything that the next iteration needs, for M conditions."""

    training: Training[Layered]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MPPIGPS(PolicyThroughModel[MPPIGPSState]):
    """The algorithm.

    Args:
        learner: the policy and its training.
        search: see `PathIntegralSearch`.
        kl_step: ε, nats; below log S.
        policy_weight: λ_π, in mean absolute costs of a step per nat; 0 ignores the policy.
    """

    learner: Learner = dataclasses.field(kw_only=False)
    search: PathIntegralSearch
    kl_step: float = 3.0
    policy_weight: float = 0.01

    needs: ClassVar[Needs] = Needs(observations=True, derivatives=False)

    @property
    def state_type(self) -> Any:
        return specialise(MPPIGPSState, find_stored_type(self.model), self.learner.network_type)

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> MPPIGPSState:
        return MPPIGPSState(0, 0, controllers.numpy(), self.model, self.reward, self.learner.training)

    def find_policy(self, state: MPPIGPSState) -> NeuralPolicy | None:
        return state.training.policy if state.training.trained else None

    def improve(
        self, state: MPPIGPSState, sampled: Policy, rollouts: Rollouts, fitted: SeededModels
    ) -> tuple[MPPIGPSState, IterationRecord]:
        """Improve the action distribution in each visited state, and let the policy imitate the results."""
        models, mask = fitted.models, rollouts.mask
        targets = self._find_targets(state, rollouts, fitted)
        status, usable = _judge_targets(targets, rollouts, models.status)
        training, fit = self._teach(state, rollouts, targets, usable)

        record = record_iteration(
            state,
            sampled,
            rollouts,
            models,
            status,
            lambda m, _: _describe_targets(targets, mask, m),
            policy=_make_policy_record(state, training, fit, targets, rollouts, usable),
            planner=None if targets is None else self._make_planner_record(state, sampled, rollouts, models, targets),
        )
        return advance_state(state, rollouts, models, training=training), record

    def _find_targets(self, state: MPPIGPSState, rollouts: Rollouts, fitted: SeededModels) -> Targets | None:
        """The improved actions in all visited states; None while there is no model to plan in."""
        models = fitted.models
        setting = self._make_setting(state, self.new_world(models))
        if setting is None:
            return None
        sizes = np.abs(models.sample_costs[rollouts.mask])
        unit = float(sizes.mean()) if sizes.any() else 1.0
        return find_targets(setting, rollouts, self.policy_weight * unit, fitted.seed)

    def _make_setting(self, state: MPPIGPSState, world: World | None) -> Setting | None:
        """The setting of the search; None while there is no model or no cost."""
        if world is None:
            return None
        return Setting.of(self.problem, *world, self.find_policy(state), self.search, self.kl_step, self.observed)

    def _teach(
        self, state: MPPIGPSState, rollouts: Rollouts, targets: Targets | None, usable: Bool[np.ndarray, "M"]
    ) -> tuple[Training, Fit]:
        """Take the supervised step, once there are targets."""
        if targets is None:
            return state.training, not_trained(PolicyStatus.WARM_UP)
        M, N, T = rollouts.mask.shape
        weights = (rollouts.mask & targets.informed & usable[:, None, None]).astype(float)
        episodes = np.broadcast_to(np.arange(M * N).reshape(M, N, 1), (M, N, T))
        parts = (rollouts.observed, targets.actions, targets.precisions, weights, episodes)
        observed, actions, precisions, weights, episodes = jax.tree.map(flatten_samples, parts)
        samples = Samples(observed, actions, precisions, weights, None, episodes)
        return train(state.training, samples, self.learner.options)

    def _make_planner_record(
        self, state: MPPIGPSState, sampled: Policy, rollouts: Rollouts, models: FittedModels, targets: Targets
    ) -> PlannerRecord:
        """Summarise the search, and compare the last model's forecast of the policy with these samples."""
        mask, costs = rollouts.mask, models.sample_costs
        unknown = PlannerRecord(np.full(len(mask), np.nan), costs.sum(axis=2).mean(axis=1))
        return dataclasses.replace(
            compare_forecast(self._forecast(state, rollouts), sampled, costs) or unknown,
            effective_samples=mean_over_samples(targets.effective, mask & targets.known),
            fallbacks=(mask & ~targets.known).sum(axis=(1, 2)),
        )

    def _forecast(self, state: MPPIGPSState, rollouts: Rollouts) -> Forecast | None:
        """The last model's forecast of the policy in the episodes that were sampled; None where it knows nothing."""
        setting = self._make_setting(state, self.last_world(state))
        if setting is None or setting.policy is None:
            return None
        costs, states = map(np.asarray, forecast(setting, rollouts.states[:, :, 0], rollouts.noise))
        return Forecast.of_samples(costs, states, rollouts)


# -- the record ------------------------------------------------------------------------------------------------------


def _judge_targets(
    targets: Targets | None, rollouts: Rollouts, without: Status
) -> tuple[Int[np.ndarray, "M"], Bool[np.ndarray, "M"]]:
    """The status of each condition, and True where its samples can teach.

    Args:
        without: the status of good samples where there are no targets.
    """
    mask = rollouts.mask
    status, usable = judge(np.full(len(mask), Status.OK), (), rollouts.counted)
    if targets is None:
        return np.where(status == Status.OK, without, status), np.zeros(len(mask), dtype=bool)
    missing = (mask & ~targets.known).any(axis=(1, 2))
    none, blind = (~(mask & there).any(axis=(1, 2)) for there in (targets.known, targets.informed))
    trouble = np.where(none, Status.NOT_FINITE, np.where(blind, Status.NO_PREFERENCE, Status.SAMPLES_DROPPED))
    status = np.where(usable & (missing | blind), trouble, status)
    return status, usable & ~blind


def _describe_targets(targets: Targets | None, mask: Bool[np.ndarray, "M N T"], m: int) -> str:
    """Say how many states of condition m have no target; empty if all have one."""
    if targets is None:
        return ""
    missing, silent = (int((mask & there)[m].sum()) for there in (~targets.known, targets.known & ~targets.informed))
    states = f"of {int(mask[m].sum())} states"
    text = f" In {missing} {states} no sequence of actions had a finite cost in the model." if missing else ""
    return text + (f" In {silent} {states} all sequences cost the same." if silent else "")


def _make_policy_record(
    state: MPPIGPSState,
    training: Training,
    fit: Fit,
    targets: Targets | None,
    rollouts: Rollouts,
    usable: Bool[np.ndarray, "M"],
) -> PolicyRecord:
    """The policy's side of the record."""
    M, _, T = rollouts.mask.shape
    kl, message = np.full((M, T), np.nan), fit.message
    if targets is not None:
        silent = [f"Condition {m} taught it nothing." for m in np.flatnonzero(~usable)]
        message = " ".join(filter(None, [fit.message, *silent]))
    if targets is not None and training.trained:
        taught = rollouts.mask & targets.informed & usable[:, None, None]
        P = np.where(taught[..., None, None], targets.precisions, np.eye(targets.actions.shape[-1]))
        differences = training.policy.act(rollouts.observed) - targets.actions
        kl = imitation_kl(np.asarray(training.policy.covariance), P, -np.linalg.slogdet(P)[1], differences, taught)
    return make_policy_record(Player.PLANNER, state.training, training, fit, kl, message)
