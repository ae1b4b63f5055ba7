"""Model-based reinforcement learning, version 2.0: the policy is trained by backpropagation through the learned model
(Sergey Levine, CS 294-112 Deep Reinforcement Learning, Fall 2017, lecture 11, "Model-Based Planning and Control").

Each iteration, for M conditions and N samples of each:

    sample    the base policy (the first controllers), and once there is one the policy with its noise
    fit       the model learns x' = f(x, u) from all samples so far; the new samples judge the old model first
    improve   R rounds of
                  V ← the value of the policy in the model, where imagined episodes are cut: `value`
                  K updates of θ along ∂(−J)/∂θ, each through new imagined episodes: `imagining`, `ascent`
              and of the policies after each update, and the one before, that of the least J in held-out episodes stays

J is the expected cost of imagined episodes, which begin in starts and in visited states, follow functions drawn from
the model's belief with noise that is drawn beforehand, and end with the real episode, or after H steps with V. So the
gradient exists for stochastic models and policies too; for a deterministic one it is the chain rule.

An update is the natural gradient's step within a KL bound (`optimiser = "natural"`): in a new model, whose errors
nobody knows, the policy goes no further than its noise, per state of the imagined episodes. Or it is Adam's step.

Gradients through many steps of a network vanish or explode (Bengio et al. 1994; Parmas et al. 2018): the record has
their size against the number of steps. The lecture's remedy is a network with a memory; the others are cutting the
episodes (H and V), and limiting what flows back through a state.
"""

import dataclasses
from typing import Any, ClassVar, Generic, Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from typing_extensions import TypeVar

from gps.algorithms.algorithm import Needs
from gps.algorithms.local.verdict import make_messages
from gps.algorithms.through_models.ascent import Ascent, PolicyInTraining
from gps.algorithms.through_models.imagining import (
    Box,
    ImaginedSetting,
    ImaginedStarts,
    Sequences,
    evaluate_policy,
    forecast_episodes,
    imagine_returns,
    measure_gradients,
    measure_kl,
)
from gps.algorithms.through_models.mbrl import FittedModels, SeededModels, complete_cost, judge_samples, learn_models
from gps.algorithms.through_models.value import TerminalValue, ValueOptions, begin_value, count_inputs, fit_value
from gps.algorithms.through_models.visited import Visited
from gps.backend import jax
from gps.costs.terms import Cost
from gps.linear_gaussian.types import Controller
from gps.models.model import GlobalModel, ModelLearner, find_stored_type, restore_learner
from gps.models.reward import RewardLearner
from gps.planning.sequences import ActionRange
from gps.players import Player
from gps.policies.neural import Network, NeuralPolicy
from gps.policies.played import LocalControllers
from gps.policies.remembering import memory_size, play, recall
from gps.problem import Problem
from gps.records import IterationRecord, OptimisationRecord, PlannerRecord, Rollouts
from gps.sampling.policy import Policy
from gps.status import PolicyStatus
from gps.storage.serialization import specialise

_SHOWN = 16
"""Imagined episodes along which the size of the gradients is measured."""

_CONSTANT = 1e-6
"""An input with a smaller deviation, relative to its mean, is constant."""

_MOST_EXPLODED = 0.1
"""Share of imagined episodes that may explode without a word."""

L = TypeVar("L", bound=ModelLearner, default=ModelLearner, covariant=True)


@dataclasses.dataclass(frozen=True)
class BackpropState(Generic[L, Network]):
    """Everything that the next iteration needs, for M conditions."""

    iteration: int
    environment_steps: int
    first: Controller
    model: L  # the learner of the dynamics, with all data so far
    reward: RewardLearner | None  # where the cost has no formula
    training: PolicyInTraining[Network]
    visited: Visited | None  # None before the first samples
    value: TerminalValue | None  # None where imagined episodes are not cut


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imagination:
    """The settings of imagined episodes.

    Args:
        episodes: of each gradient.
        functions: drawn from the model's belief, which share the episodes evenly; for `mean` it does not matter.
        propagation: whether an episode keeps a drawn function, or all follow the model's mean.
        truncation: H, steps of an episode, after which the value counts; None to go on to the end T.
        visited: share of the episodes that begin in any visited state; the others begin in starts.
        memory: the last iterations whose states are kept.
        clip: largest adjoint of a state, in costs of a whole imagined episode per standard deviation of the state.
    """

    episodes: int = 50
    functions: int = 5
    propagation: Literal["ts_infinity", "mean"] = "ts_infinity"
    truncation: int | None = None
    visited: float = 0.5
    memory: int = 10
    clip: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """(P, S): the functions, and the episodes that share one."""
        P = 1 if self.propagation == "mean" else min(self.functions, self.episodes)
        return P, -(-self.episodes // P)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolicyBackprop:
    """The algorithm.

    Args:
        problem: see `Problem`.
        training: the policy before its first update; its network is a `gps.networks.Bounded` one.
        model: learner of the dynamics, before the first samples; it may have learned from recorded data.
        ascent: how an update follows the gradient.
        imagination: see `Imagination`.
        value: how the value is learned; it does not matter unless the episodes are truncated.
        rounds: R.
        updates: K.
        noise: standard deviation of the policy's noise, relative to half the range of each action (two standard
            deviations of the data where it has no limits).
        base_iterations: iterations that sample the base policy; more than these only while there is no policy.
        observed: the entry of the state that each entry of the policy's observation is.
        horizon: steps ahead of the model's recorded error.
        reward: learner of the reward where it is part of the cost.
    """

    problem: Problem = dataclasses.field(kw_only=False)
    training: PolicyInTraining = dataclasses.field(kw_only=False)
    model: ModelLearner
    ascent: Ascent
    imagination: Imagination = Imagination()
    value: ValueOptions = dataclasses.field(default_factory=ValueOptions)
    rounds: int = 1
    updates: int = 20
    noise: float = 0.2
    base_iterations: int = 1
    observed: tuple[int, ...]
    horizon: int = 20
    reward: RewardLearner | None = None

    needs: ClassVar[Needs] = Needs(observations=True)

    @property
    def state_type(self) -> Any:
        return specialise(BackpropState, find_stored_type(self.model), type(self.training.policy.network))

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> BackpropState:
        return BackpropState(0, 0, controllers.numpy(), self.model, self.reward, self.training, None, None)

    def policy(self, state: BackpropState) -> Policy:
        """The policy to sample: the global policy, once there is one."""
        if state.iteration < self.base_iterations or not state.training.trained:
            return LocalControllers(state.first, Player.FIRST)
        return self._play(state)

    def learned(self, state: BackpropState) -> Policy:
        """The global policy; the first controllers without their noise before there is one."""
        if state.training.trained:
            return self._play(state)
        return LocalControllers(
            dataclasses.replace(state.first, covariance=np.zeros_like(state.first.covariance)), Player.FIRST
        )

    def teachers(self, state: BackpropState) -> tuple[Policy, ...]:
        return ()

    def fit(self, state: BackpropState, rollouts: Rollouts, seed: int) -> SeededModels:
        """Judge the old model by the new samples, and let the models learn from them."""
        before = restore_learner(state.model, self.model)
        learned = learn_models(before, state.reward, rollouts, seed, self.horizon)
        return SeededModels(FittedModels(*learned, self.problem.costs(rollouts)), seed)

    def improve(
        self, state: BackpropState, sampled: Policy, rollouts: Rollouts, fitted: SeededModels
    ) -> tuple[BackpropState, IterationRecord]:
        """Improve the policy in the new model."""
        models = fitted.models
        visited = self._remember(state, rollouts)
        improved = self._improve_policy(state, visited, fitted)
        steps = state.environment_steps + rollouts.steps
        status = judge_samples(models.learner, rollouts)
        record = IterationRecord(
            iteration=state.iteration,
            environment_steps=steps,
            player=sampled.player,
            rollouts=rollouts,
            costs=models.sample_costs,
            status=status,
            messages=tuple(make_messages(status, rollouts, lambda m, code: "")),
            model=models.record,
            planner=self._compare(state, sampled, rollouts, models),
            optimisation=improved.record,
        )
        after = dataclasses.replace(
            state,
            iteration=state.iteration + 1,
            environment_steps=steps,
            model=models.learner,
            reward=models.reward,
            training=improved.training,
            visited=visited,
            value=improved.value,
        )
        return after, record

    def _play(self, state: BackpropState) -> Policy:
        M, T = state.first.feedforward.shape[:2]
        return play(state.training.policy, M, T)

    def _remember(self, state: BackpropState, rollouts: Rollouts) -> Visited:
        new = Visited.of(rollouts)
        M, N = rollouts.mask.shape[:2]
        return new if state.visited is None else state.visited.add(new, self.imagination.memory * M * N)

    # -- the improvement ---------------------------------------------------------------------------------------------

    def _improve_policy(self, state: BackpropState, visited: Visited, fitted: SeededModels) -> "_Improved":
        """Improve the policy in the model, and say how it went."""
        learner, cost = fitted.models.learner, complete_cost(self.problem.cost, fitted.models.reward)
        if learner.model is None or cost is None or not len(visited.lengths):
            return _Improved(state.training, state.value, _say_nothing(state))
        rng = np.random.default_rng([fitted.seed, 1])
        setting = self._make_setting(learner.model, cost, visited, fitted.models.sample_costs)
        begun = self._prepare(state.training, visited, setting.range)
        held = jax.tree.map(lambda array: array[0], self._draw_starts(begun.policy, visited, rng, 1, 2))
        training, value, rounds = begun, state.value, []
        for _ in range(self.rounds):
            if setting.steps < self.problem.horizon:
                value = self._learn_value(training.policy, setting, visited, value, rng)
                setting = setting._replace(value=value)
            training, course = self._ascend(training, setting, visited, held, rng)
            rounds.append(course)
        gained = training is not begun
        training = training if gained else state.training
        shown = self._show_gradients(training if gained else begun, setting, visited, rng)
        kl = self._measure_kl(training.policy, state.training.policy, visited) if state.training.trained else np.nan
        status, message = _judge_rounds(rounds, gained)
        losses = np.concatenate([course.losses for course in rounds])
        record = OptimisationRecord(
            existed=state.training.trained,
            trained=training.trained,
            losses=losses,
            starts=np.array([min(rounds[-1].losses)]),
            gradient_norms=shown,
            kl=kl,
            status=status,
            message=message,
        )
        return _Improved(training, value, record)

    def _ascend(
        self,
        training: PolicyInTraining,
        setting: ImaginedSetting,
        visited: Visited,
        held: ImaginedStarts,
        rng: np.random.Generator,
    ) -> tuple[PolicyInTraining, "_Round"]:
        """Return the best of the policies after each update, and the one before, in held-out episodes."""
        every = self.ascent.check_every
        best = current = training
        least, exploded = map(float, evaluate_policy(best.policy, setting, held))
        losses, updates, lost = [least], 0, 0
        for _ in range(-(-self.updates // every)):
            batches = self._draw_starts(current.policy, visited, rng, every)
            ascended = self.ascent.advance(current, setting, batches)
            updates, lost = updates + ascended.updates, lost + ascended.lost
            if not ascended.updates:
                continue
            current = ascended.training
            loss, share = map(float, evaluate_policy(current.policy, setting, held))
            losses.append(loss)
            if not np.isfinite(loss):
                lost, current = lost + 1, best
            elif not least <= loss:
                best, least, exploded = current, loss, share
        return best, _Round(np.array(losses), updates, lost, exploded)

    def _prepare(self, training: PolicyInTraining, visited: Visited, limits: ActionRange) -> PolicyInTraining:
        """The policy with the scales of its inputs and its noise, which it keeps from its first update on."""
        if training.trained:
            return training
        policy, width = training.policy, np.asarray(limits.width)
        observations = visited.all_states[:, list(self.observed)]
        mean, scale = observations.mean(axis=0), observations.std(axis=0)
        network: Any = policy.network
        varies = scale > _CONSTANT * np.maximum(np.abs(mean), _CONSTANT)
        plain = varies & ~np.isin(np.arange(len(mean)), network.angles)  # a sine takes the angle itself
        scaled = dataclasses.replace(
            policy,
            input_mean=np.where(plain, mean, 0.0),
            input_scale=np.where(plain, scale, 1.0),
            output_scale=width if network.squash == "none" else np.ones_like(width),
            covariance=np.diag((self.noise * width) ** 2),
        )
        return dataclasses.replace(training, policy=scaled)

    def _make_setting(
        self,
        model: GlobalModel,
        cost: Cost,
        visited: Visited,
        costs: Float[np.ndarray, "M N T"],
    ) -> ImaginedSetting:
        T = self.problem.horizon
        steps = min(self.imagination.truncation or T, T)
        unit = float(np.abs(costs).mean()) or 1.0
        return ImaginedSetting(
            model=model,
            cost=cost,
            value=None,
            range=ActionRange.of(*self.problem.limits, np.asarray(model.deviations)[-self.problem.du :]),
            box=Box.around(visited.all_states),
            observed=np.array(self.observed, int),
            end=np.int32(T),
            clip=np.asarray(self.imagination.clip * unit * steps),
            steps=steps,
            drawn=self.imagination.propagation != "mean",
            kinds=str(jax.tree.structure((model, cost))),
        )

    def _draw_starts(
        self,
        policy: NeuralPolicy,
        visited: Visited,
        rng: np.random.Generator,
        batches: int,
        factor: int = 1,
        share: float | None = None,
        shape: tuple[int, int] | None = None,
    ) -> ImaginedStarts:
        """Draw where the episodes of some batches (leading axis) begin.

        Args:
            factor: on the number of episodes of a function.
            share: of the episodes that begin in any visited state; None for the setting's.
            shape: (P, S); None for the setting's.
        """
        P, S = shape or self.imagination.shape
        share = self.imagination.visited if share is None else share
        episodes, steps = visited.draw((batches, P, S * factor), share, rng)
        memories = np.zeros((*episodes.shape, 0))
        if memory_size(policy):
            memories = np.asarray(recall(policy, visited.pad().states[..., list(self.observed)]))[episodes, steps]
        seeds = rng.integers(2**32, size=batches, dtype=np.uint32)
        return ImaginedStarts(visited.states[episodes, steps], steps.astype(np.int32), memories, seeds)

    def _learn_value(
        self,
        policy: NeuralPolicy,
        setting: ImaginedSetting,
        visited: Visited,
        value: TerminalValue | None,
        rng: np.random.Generator,
    ) -> TerminalValue:
        """Learn the policy's value along imagined episodes; the last one stays if that fails."""
        T, options = self.problem.horizon, self.value
        steps = min(options.steps or T, T)
        starts = jax.tree.map(lambda array: array[0], self._draw_starts(policy, visited, rng, 1))
        seed = int(starts.seed)
        if value is None:
            mean_cost = np.asarray(evaluate_policy(policy, setting._replace(value=None), starts)[0]) / setting.steps
            value = begin_value(float(mean_cost), count_inputs(self.problem.dx, options.transforms), T, options)
        found = imagine_returns(policy, setting._replace(steps=steps, value=value), starts, options.decay)
        states, at, returns = (np.asarray(array).reshape(-1, *array.shape[3:]) for array in found)
        groups = np.tile(np.arange(starts.steps.size), steps)
        return fit_value(states, at, returns, groups, T, options, seed) or value

    def _show_gradients(
        self, training: PolicyInTraining, setting: ImaginedSetting, visited: Visited, rng: np.random.Generator
    ) -> Float[np.ndarray, "H"]:
        """The size of the gradient against the steps ahead, from starts to the end of the episode."""
        P = self.imagination.shape[0]
        shape = (P, -(-_SHOWN // P))
        starts = self._draw_starts(training.policy, visited, rng, 1, share=0.0, shape=shape)
        whole = setting._replace(steps=self.problem.horizon, value=None)
        one = jax.tree.map(lambda array: array[0], starts)
        return np.asarray(measure_gradients(training.policy, whole, one))

    def _measure_kl(self, new: NeuralPolicy, old: NeuralPolicy, visited: Visited) -> float:
        """The mean KL divergence over the visited states, nats."""
        padded = visited.pad()
        E, T, _ = padded.states.shape
        along = Sequences(np.zeros((E, memory_size(new))), padded.states[..., list(self.observed)])
        there = (np.arange(T) < padded.lengths[:, None]).astype(float)
        return float(measure_kl(new, old, along, there))

    # -- the record --------------------------------------------------------------------------------------------------

    def _compare(
        self, state: BackpropState, sampled: Policy, rollouts: Rollouts, models: FittedModels
    ) -> PlannerRecord | None:
        """Compare the last model's forecast of the policy with these samples; None where there was none."""
        model, cost = restore_learner(state.model, self.model).model, complete_cost(self.problem.cost, state.reward)
        if model is None or cost is None or state.visited is None or sampled.player is not Player.POLICY:
            return None
        setting = self._make_setting(model, cost, state.visited, models.sample_costs)
        courses = forecast_episodes(state.training.policy, setting, rollouts.states[:, :, 0], rollouts.noise)
        costs, states = (np.asarray(array) for array in courses)
        predicted = np.where(rollouts.mask, costs, 0.0).sum(axis=2).mean(axis=1)
        return PlannerRecord(
            np.where(np.isfinite(predicted), predicted, np.nan),
            models.sample_costs.sum(axis=2).mean(axis=1),
            planned_states=np.where(np.isfinite(states[:, 0]), states[:, 0], np.nan),
        )


class _Improved(NamedTuple):
    """The result of an improvement."""

    training: PolicyInTraining
    value: TerminalValue | None
    record: OptimisationRecord


class _Round(NamedTuple):
    """The result of the updates of one round."""

    losses: Float[np.ndarray, "looks"]  # J in held-out episodes, before the first update and after each look
    updates: int  # that changed the policy
    lost: int  # that were not finite
    exploded: float  # share of the held-out episodes under the best policy


def _say_nothing(state: BackpropState) -> OptimisationRecord:
    """The record of an iteration without a model."""
    trained = state.training.trained
    return OptimisationRecord(trained, trained, np.zeros(0), np.zeros(0), status=PolicyStatus.NO_MODEL)


def _judge_rounds(rounds: list[_Round], gained: bool) -> tuple[PolicyStatus, str]:
    """The status of the improvement, and a sentence where the status does not say all."""
    updates, lost = sum(course.updates for course in rounds), sum(course.lost for course in rounds)
    count = f"{lost} of {updates + lost} updates were not finite." if lost else ""
    if not gained:
        if lost or not np.isfinite(rounds[0].losses[0]):
            return PolicyStatus.EXPLODED, " ".join(filter(None, [PolicyStatus.EXPLODED.sentence, count]))
        return PolicyStatus.NOT_IMPROVED, PolicyStatus.NOT_IMPROVED.sentence
    if rounds[-1].exploded > _MOST_EXPLODED:
        share = f"{100 * rounds[-1].exploded:.0f} % of the imagined episodes left what the model knows."
        return PolicyStatus.LEFT_MODEL, " ".join(filter(None, [share, count]))
    return PolicyStatus.OK, count
