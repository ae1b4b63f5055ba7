"""Guided policy search through a learned model, with path integrals: MPPI (Williams et al. 2017) improves the policy's
action in each visited state, and the policy imitates the result.

It is a guided policy search whose local optimiser needs neither local models nor resets: the policy's own plan in a
global model takes the place of the local controller. Each iteration, for M conditions and N samples of each:

    sample    the policy with its noise,  u = μ(o) + e,  e ~ N(0, Σ_π), within the environment's limits
    fit       the global model learns x' = f(x, u) from all samples so far
    improve   in each visited state x_t, by S sequences of H actions in the model:
                  ū = μ along the policy's own rollout from x_t
                  U_i = ū + s ξ_i,  ξ_i coloured noise of variance 1, within the limits
                  w_i ∝ exp(−(S_i − λ_π log π_i) / λ),   λ such that KL(w ‖ 1/S) = ε      (`weigh_with_policy`)
                  p(· | x_t) = N(Σ_i w_i u_i, C),  with the first action u_i of U_i, and C below
    imitate   π ← argmin Σ KL(π(· | o) ‖ p(· | x)) over the visited states: `gps.policies.supervised`, with a warm start

S_i is the expected cost of the sequence in the model, and log π_i the policy's log-probability of it:

    log π_i = −½ Σ_h (u_ih − μ(x_ih))ᵀ Σ_π⁻¹ (u_ih − μ(x_ih)) + const,   x_ih along the sequence's own rollout

At λ = λ_π they are the weights p ∝ π exp(−S / λ_π) of the optimum of E_p[S] + λ_π KL(p ‖ π), for proposals that are
equally likely. ε, in nats, bounds how far a state's action distribution moves away from the proposals: it is at most
log S, where one sequence alone counts. λ_π has the unit of a cost per nat; the settings give it in mean absolute costs
of a step. It keeps the targets where one policy can follow them: among equally cheap sequences, those that the policy
would follow itself weigh more.

The policy is sampled, and not the planner: the states to be taught in are those that the policy visits (Ross, Gordon &
Bagnell 2011), the costs of a record are the policy's own, and acting stays as cheap as a network.

The covariance C is the weighted one of the first actions. So few samples decide that it is drawn to the proposal's, as
the inverse-Wishart prior of du + 1 samples does, n = 1 / Σ w²:

    C = (n Σ_i w_i δ_i δ_iᵀ + (du + 1) s² I) / (n + du + 1),   δ_i = u_i − Σ_j w_j u_j

Its inverse is the precision of the target; the policy's own noise follows, so that exploration never dies.

Before there is a policy, the first controllers are sampled, and the plans begin with the actions that the episode went
on with.
"""

import dataclasses
from typing import Any, ClassVar, Generic, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int
from typing_extensions import TypeVar

from gps.algorithms.algorithm import Needs
from gps.algorithms.guided.base import make_policy_record
from gps.algorithms.guided.lessons import flatten_samples
from gps.algorithms.local.verdict import judge, make_messages
from gps.algorithms.through_models.mbrl import FittedModels, complete_cost, learn_models
from gps.backend import Array, jax, jnp
from gps.costs.terms import Cost
from gps.linear_gaussian.types import Controller
from gps.models.model import GlobalModel, ModelLearner, restore_learner
from gps.models.reward import RewardLearner
from gps.planning.colour import draw_coloured
from gps.planning.mppi import weigh_with_policy
from gps.planning.objective import Propagation, follow_functions, follow_mean, roll_out_particles, total_costs
from gps.planning.searching import make_key
from gps.planning.sequences import ActionRange
from gps.players import Player
from gps.policies.imitation import imitation_kl, mean_over_samples
from gps.policies.learner import Learner
from gps.policies.neural import Network, NeuralPolicy, mean_of_one
from gps.policies.played import GlobalPolicy, LocalControllers
from gps.policies.supervised import Fit, Samples, Training, not_trained, train
from gps.problem import Problem
from gps.records import IterationRecord, PlannerRecord, PolicyRecord, Rollouts
from gps.sampling.policy import Policy
from gps.status import PolicyStatus, Status
from gps.storage.serialization import specialise

L = TypeVar("L", bound=ModelLearner, default=ModelLearner, covariant=True)

_INDIFFERENT = 1e-6
"""Weights whose divergence from equal ones is below it say nothing, nats."""


@dataclasses.dataclass(frozen=True)
class MPPIGPSState(Generic[L, Network]):
    """Everything that the next iteration needs, for M conditions."""

    iteration: int
    environment_steps: int
    first: Controller
    model: L  # the learner of the dynamics, with all data so far
    reward: RewardLearner | None  # where the cost has no formula
    training: Training[Network]


class Fitted(NamedTuple):
    """The result of `fit`."""

    models: FittedModels
    seed: int  # of the search


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """The settings of the search in a visited state.

    Args:
        samples: S, sequences; the policy's own plan is one of them.
        horizon: H, steps of a sequence.
        spread: s, the standard deviation of the noise, in units of `gps.planning.sequences.ActionRange`.
        beta: the exponent of the noise's spectrum; 0 for white noise.
        particles, propagation: of a sequence, see `gps.planning.objective`.
    """

    samples: int = 128
    horizon: int = 20
    spread: float = 0.3
    beta: float = 1.0
    particles: int = 3
    propagation: Propagation = "ts1"


class Targets(NamedTuple):
    """The improved action distributions in the visited states. NaN where no sequence has a finite cost."""

    actions: Float[np.ndarray, "M N T du"]
    precisions: Float[np.ndarray, "M N T du du"]
    kl: Float[np.ndarray, "M N T"]  # KL(w ‖ equal weights), nats
    effective: Float[np.ndarray, "M N T"]  # 1 / Σ w²

    @property
    def known(self) -> Bool[np.ndarray, "M N T"]:
        """True where there is an action."""
        return np.isfinite(self.actions).all(axis=-1) & np.isfinite(self.precisions).all(axis=(-1, -2))

    @property
    def informed(self) -> Bool[np.ndarray, "M N T"]:
        """True where the weights prefer some sequences to others."""
        return self.known & (self.kl > _INDIFFERENT)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MPPIGPS:
    """The algorithm.

    Args:
        problem: see `Problem`.
        learner: the policy and its training.
        model: learner of the dynamics, before the first samples; it may have learned from recorded data.
        search: see `Search`.
        kl_step: ε, nats.
        policy_weight: λ_π, in mean absolute costs of a step per nat; 0 ignores the policy.
        observed: the entry of the state that each entry of the policy's observation is, so that the policy can be
            rolled out in the model.
        horizon: steps ahead of the model's recorded error.
        reward: learner of the reward where it is part of the cost.
    """

    problem: Problem = dataclasses.field(kw_only=False)
    learner: Learner = dataclasses.field(kw_only=False)
    model: ModelLearner
    search: Search = Search()
    kl_step: float = 1.0
    policy_weight: float = 0.01
    observed: tuple[int, ...]
    horizon: int = 20
    reward: RewardLearner | None = None

    needs: ClassVar[Needs] = Needs(observations=True, derivatives=False)

    @property
    def state_type(self) -> Any:
        return specialise(MPPIGPSState, type(self.model), self.learner.network_type)

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> MPPIGPSState:
        return MPPIGPSState(0, 0, controllers.numpy(), self.model, self.reward, self.learner.training)

    def policy(self, state: MPPIGPSState) -> Policy:
        """The policy to sample: the global policy, once there is one."""
        return self._policy(state) or LocalControllers(state.first, Player.FIRST)

    def learned(self, state: MPPIGPSState) -> Policy:
        """The global policy; the first controllers without their noise before there is one."""
        first = dataclasses.replace(state.first, covariance=np.zeros_like(state.first.covariance))
        return self._policy(state) or LocalControllers(first, Player.FIRST)

    def teachers(self, state: MPPIGPSState) -> tuple[Policy, ...]:
        return ()

    def fit(self, state: MPPIGPSState, rollouts: Rollouts, seed: int) -> Fitted:
        """Judge the old model by the new samples, and let the models learn from them."""
        before = restore_learner(state.model, self.model)
        learned = learn_models(before, state.reward, rollouts, seed, self.horizon)
        return Fitted(FittedModels(*learned, self.problem.costs(rollouts)), seed)

    def improve(
        self, state: MPPIGPSState, sampled: Policy, rollouts: Rollouts, fitted: Fitted
    ) -> tuple[MPPIGPSState, IterationRecord]:
        """Improve the action distribution in each visited state, and let the policy imitate the results."""
        models, mask = fitted.models, rollouts.mask
        targets = self._find_targets(state, rollouts, fitted)
        status, usable = _judge_targets(targets, rollouts)
        training, fit = self._teach(state, rollouts, targets, usable)

        steps = state.environment_steps + rollouts.steps
        record = IterationRecord(
            iteration=state.iteration,
            environment_steps=steps,
            player=sampled.player,
            rollouts=rollouts,
            costs=models.sample_costs,
            status=status,
            messages=tuple(make_messages(status, rollouts, lambda m, _: _describe_targets(targets, mask, m))),
            policy=_make_policy_record(state, training, fit, targets, rollouts, usable),
            model=models.record,
            planner=None if targets is None else self._make_planner_record(state, sampled, rollouts, models, targets),
        )
        after = dataclasses.replace(
            state,
            iteration=state.iteration + 1,
            environment_steps=steps,
            model=models.learner,
            reward=models.reward,
            training=training,
        )
        return after, record

    def _policy(self, state: MPPIGPSState) -> GlobalPolicy | None:
        M, T = state.first.feedforward.shape[:2]
        return GlobalPolicy(state.training.policy, M, T) if state.training.trained else None

    def _find_targets(self, state: MPPIGPSState, rollouts: Rollouts, fitted: Fitted) -> Targets | None:
        """The improved actions in all visited states; None while there is no model to plan in."""
        models, (M, N, T) = fitted.models, rollouts.mask.shape
        setting = self._make_setting(state, models.learner, models.reward, fitted.seed)
        if setting is None:
            return None
        size = np.abs(models.sample_costs[rollouts.mask])
        unit = float(size.mean()) if size.any() else 1.0
        followed = np.minimum(np.arange(T)[:, None] + np.arange(self._steps), T - 1)  # the rest of each episode
        where = _Where(
            flatten_samples(rollouts.states),
            np.tile(np.arange(T, dtype=np.int32), M * N),
            np.repeat(np.arange(M * N, dtype=np.int32), T),
            flatten_samples(rollouts.actions[:, :, followed]),
        )
        found = _search_all(setting._replace(policy_weight=np.asarray(self.policy_weight * unit)), where)
        targets = Targets(*(np.asarray(array).reshape(M, N, T, *array.shape[1:]) for array in found))
        return targets._replace(actions=np.where(rollouts.mask[..., None], targets.actions, 0.0))

    @property
    def _steps(self) -> int:
        """H, at most an episode."""
        return min(self.search.horizon, self.problem.horizon)

    def _make_setting(
        self, state: MPPIGPSState, learner: ModelLearner, reward: RewardLearner | None, seed: int
    ) -> "_Setting | None":
        """What is to be compiled; None while there is no model or no cost."""
        model, cost = learner.model, complete_cost(self.problem.cost, reward)
        if model is None or cost is None:
            return None
        policy = state.training.policy if state.training.trained else None
        return _Setting(
            model=model,
            cost=cost,
            policy=policy,
            range=ActionRange.of(*self.problem.limits, np.asarray(model.deviations)[-self.problem.du :]),
            end=np.int32(self.problem.horizon),
            seed=np.uint32(seed % 2**32),
            kl_step=np.asarray(self.kl_step),
            policy_weight=np.zeros(()),
            observed=np.array(self.observed, int),
            search=dataclasses.replace(self.search, horizon=self._steps),
            kinds=str(jax.tree.structure((model, cost, policy))),
        )

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
        """How the search went, and what the model before these samples said that the policy would do."""
        mask = rollouts.mask
        predicted, planned = np.full(len(mask), np.nan), None
        old = self._make_setting(state, restore_learner(state.model, self.model), state.reward, 0)
        if old is not None and sampled.player is Player.POLICY:
            costs, states = (np.asarray(array) for array in _forecast(old, rollouts.states[:, :, 0], rollouts.noise))
            predicted = np.where(mask, costs, 0.0).sum(axis=2).mean(axis=1)
            predicted = np.where(np.isfinite(predicted), predicted, np.nan)
            planned = np.where(np.isfinite(states[:, 0]), states[:, 0], np.nan)
        return PlannerRecord(
            predicted,
            models.sample_costs.sum(axis=2).mean(axis=1),
            planned_states=planned,
            effective_samples=mean_over_samples(targets.effective, mask & targets.known),
            fallbacks=(mask & ~targets.known).sum(axis=(1, 2)),
        )


# -- the search in the visited states --------------------------------------------------------------------------------


class _Setting(NamedTuple):
    """What the compiled functions need: a pytree whose other leaves are static."""

    model: GlobalModel
    cost: Cost
    policy: NeuralPolicy | None
    range: ActionRange
    end: Int[Any, ""]  # T
    seed: Any
    kl_step: Float[Any, ""]
    policy_weight: Float[Any, ""]  # λ_π, cost per nat
    observed: Int[Any, "do"]
    search: Search
    kinds: str  # the classes in model, cost and policy, which JAX does not tell apart if they have equally many fields


class _Where(NamedTuple):
    """Visited states: with a leading axis of B, or one of them."""

    x: Any  # (dx,)
    t: Any
    row: Any  # the number of the episode
    followed: Any  # (H, du), the actions that the episode went on with


@eqx.filter_jit
def _search_all(setting: _Setting, where: _Where) -> tuple[Array, Array, Array, Array]:
    """Return `Targets` for B visited states, one after another."""
    return jax.lax.map(lambda one: _search(setting, one), where)


def _search(setting: _Setting, where: _Where) -> tuple[Array, Array, Array, Array]:
    """Return the mean, precision, divergence and effective size of the weighted first actions in one state."""
    search, units = setting.search, setting.range
    to_draw, to_propose, to_evaluate = jax.random.split(make_key(setting.seed, where.t, where.row), 3)
    mean = search.propagation == "mean"
    particles = 1 if mean else search.particles
    advance = (
        follow_mean(setting.model.mean)
        if mean
        else follow_functions(setting.model.draw(to_draw, particles), search.propagation == "ts1")
    )
    plan = where.followed if setting.policy is None else _roll_out_policy(setting, where.x)
    noise = draw_coloured(to_propose, search.samples, plan.shape, search.beta).at[0].set(0.0)
    actions = units.to_actions(units.to_units(plan) + search.spread * noise)
    costs, states = roll_out_particles(
        advance, particles, setting.cost, where.x, actions, units.idle, where.t, setting.end, to_evaluate
    )
    likely = _log_probability(setting, actions, states[:-1], where.t)
    soft = weigh_with_policy(total_costs(costs, states), likely, setting.policy_weight, setting.kl_step)
    return *_summarise(setting, actions[:, 0], soft.weights, soft.effective), soft.kl, soft.effective


def _roll_out_policy(setting: _Setting, x: Float[Array, "dx"]) -> Float[Array, "H du"]:
    """Return the policy's actions, within the limits, along its own rollout in the model's mean."""

    def step(x: Array, _: None) -> tuple[Array, Array]:
        u = _act(setting, x)
        return setting.model.mean(x, u).astype(x.dtype), u

    return jax.lax.scan(step, x, None, setting.search.horizon)[1]


def _act(setting: _Setting, x: Float[Array, "dx"], noise: Float[Array, "du"] | float = 0.0) -> Float[Array, "du"]:
    assert setting.policy is not None
    return jnp.clip(mean_of_one(setting.policy, x[setting.observed]) + noise, setting.range.low, setting.range.high)


def _log_probability(
    setting: _Setting, actions: Float[Array, "S H du"], states: Float[Array, "H P S dx"], t: Int[Array, ""]
) -> Float[Array, "S"]:
    """Return log π of each sequence up to a constant, mean over the particles; 0 before there is a policy."""
    if setting.policy is None:
        return jnp.zeros(len(actions))
    act = jax.vmap(jax.vmap(jax.vmap(lambda x: _act(setting, x))))
    errors = actions.swapaxes(0, 1)[:, None] - act(states)
    factor = jnp.linalg.cholesky(jnp.asarray(setting.policy.covariance))
    white = jax.scipy.linalg.solve_triangular(factor, errors.reshape(-1, errors.shape[-1]).T, lower=True)
    squares = jnp.sum(white**2, axis=0).reshape(errors.shape[:-1])
    counts = t + jnp.arange(len(squares)) < setting.end
    return -0.5 * jnp.mean(jnp.sum(jnp.where(counts[:, None, None], squares, 0.0), axis=0), axis=0)


def _summarise(
    setting: _Setting, first: Float[Array, "S du"], weights: Float[Array, "S"], effective: Float[Array, ""]
) -> tuple[Float[Array, "du"], Float[Array, "du du"]]:
    """Return the weighted mean of the first actions and the inverse of C; NaN where all weights are 0."""
    units, du = setting.range, first.shape[1]
    action = jnp.where(effective > 0, weights @ first, jnp.nan)
    deviations = (first - action) / units.width
    prior = setting.search.spread**2 * jnp.eye(du)
    scatter = effective * (weights[:, None] * deviations).T @ deviations
    covariance = (scatter + (du + 1) * prior) / (effective + du + 1)
    half = jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(covariance), jnp.eye(du), lower=True)
    return action, half.T @ half / (units.width[:, None] * units.width)


@eqx.filter_jit
def _forecast(
    setting: _Setting, starts: Float[Array, "M N dx"], noise: Float[Array, "M N T du"]
) -> tuple[Array, Array]:
    """Return the costs (M, N, T) and the states of the policy's episodes in the model's mean, with their noise."""

    def step(x: Array, now: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        e, t = now
        u = _act(setting, x, e)
        return setting.model.mean(x, u).astype(x.dtype), (setting.cost(x, u, t), x)

    def follow(x: Array, e: Array) -> tuple[Array, Array]:
        return jax.lax.scan(step, x, (e, jnp.arange(len(e))))[1]

    return jax.vmap(jax.vmap(follow))(starts, noise)


# -- the record ------------------------------------------------------------------------------------------------------


def _judge_targets(targets: Targets | None, rollouts: Rollouts) -> tuple[Int[np.ndarray, "M"], Bool[np.ndarray, "M"]]:
    """The status of each condition, and True where its samples can teach."""
    mask = rollouts.mask
    status, usable = judge(np.full(len(mask), Status.OK), (), rollouts.counted)
    if targets is None:
        return np.where(status == Status.OK, Status.NO_MODEL, status), np.zeros(len(mask), dtype=bool)
    missing = (mask & ~targets.known).any(axis=(1, 2))
    none, blind = (~(mask & there).any(axis=(1, 2)) for there in (targets.known, targets.informed))
    trouble = np.where(none, Status.NOT_FINITE, np.where(blind, Status.NO_PREFERENCE, Status.SAMPLES_DROPPED))
    status = np.where(usable & (missing | blind), trouble, status)
    return status, usable & ~blind


def _describe_targets(targets: Targets | None, mask: Bool[np.ndarray, "M N T"], m: int) -> str:
    """How many states of condition m have no target; empty if all have one."""
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
