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
from typing import Any, Generic, NamedTuple

import numpy as np
from jaxtyping import Float

from gps.algorithms.through_models.ascent import Ascent, PolicyInTraining
from gps.algorithms.through_models.base import PolicyThroughModel
from gps.algorithms.through_models.forecast import Forecast, compare_forecast
from gps.algorithms.through_models.imagination import Imagination, learn_value, measure_visited_kl
from gps.algorithms.through_models.imagining import (
    ImaginedSetting,
    ImaginedStarts,
    evaluate_policy,
    forecast_episodes,
)
from gps.algorithms.through_models.learned_models import (
    FittedModels,
    L,
    ModelState,
    SeededModels,
    advance_state,
    record_iteration,
)
from gps.algorithms.through_models.value import TerminalValue, ValueOptions
from gps.algorithms.through_models.visited import Visited
from gps.linear_gaussian.types import Controller
from gps.models.model import find_stored_type
from gps.planning.sequences import ActionRange
from gps.players import Player
from gps.policies.neural import Network, NeuralPolicy
from gps.records import IterationRecord, OptimisationRecord, Rollouts
from gps.sampling.policy import Policy
from gps.status import PolicyStatus
from gps.storage.serialization import specialise

_CONSTANT = 1e-6
"""An input with a smaller deviation, relative to its mean, is constant."""

_MOST_EXPLODED = 0.1
"""Share of imagined episodes that may explode without a word."""


@dataclasses.dataclass(frozen=True)
class BackpropState(ModelState[L], Generic[L, Network]):
    """Everything that the next iteration needs, for M conditions."""

    training: PolicyInTraining[Network]
    visited: Visited | None  # None before the first samples
    value: TerminalValue | None  # None where imagined episodes are not cut


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolicyBackprop(PolicyThroughModel[BackpropState]):
    """The algorithm.

    Args:
        training: the policy before its first update; its network is a `gps.networks.Bounded` one.
        ascent: how an update follows the gradient.
        imagination: see `Imagination`.
        value: how the value is learned; it does not matter unless the episodes are truncated.
        rounds: R.
        updates: K.
        noise: standard deviation of the policy's noise, relative to half the range of each action (two standard
            deviations of the data where it has no limits).
        base_iterations: iterations that sample the base policy; more than these only while there is no policy.
    """

    training: PolicyInTraining = dataclasses.field(kw_only=False)
    ascent: Ascent
    imagination: Imagination = dataclasses.field(default_factory=Imagination)
    value: ValueOptions = dataclasses.field(default_factory=ValueOptions)
    rounds: int = 1
    updates: int = 20
    noise: float = 0.2
    base_iterations: int = 1

    @property
    def state_type(self) -> Any:
        return specialise(BackpropState, find_stored_type(self.model), type(self.training.policy.network))

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> BackpropState:
        return BackpropState(0, 0, controllers.numpy(), self.model, self.reward, self.training, None, None)

    def find_policy(self, state: BackpropState) -> NeuralPolicy | None:
        return state.training.policy if state.training.trained else None

    def policy(self, state: BackpropState) -> Policy:
        """The policy to sample: the first controllers in the base iterations, then the trained policy."""
        return self.explore(state) if state.iteration < self.base_iterations else super().policy(state)

    def improve(
        self, state: BackpropState, sampled: Policy, rollouts: Rollouts, fitted: SeededModels
    ) -> tuple[BackpropState, IterationRecord]:
        """Improve the policy in the new model."""
        models = fitted.models
        visited = self._remember(state, rollouts)
        training, value, optimisation = self._improve_policy(state, visited, fitted)
        record = record_iteration(
            state,
            sampled,
            rollouts,
            models,
            planner=compare_forecast(self._forecast(state, sampled, rollouts, models), sampled, models.sample_costs),
            optimisation=optimisation,
        )
        return advance_state(state, rollouts, models, training=training, visited=visited, value=value), record

    def _remember(self, state: BackpropState, rollouts: Rollouts) -> Visited:
        new = Visited.of(rollouts)
        M, N = rollouts.mask.shape[:2]
        return new if state.visited is None else state.visited.add(new, self.imagination.memory * M * N)

    def _improve_policy(
        self, state: BackpropState, visited: Visited, fitted: SeededModels
    ) -> tuple[PolicyInTraining, TerminalValue | None, OptimisationRecord]:
        """Improve the policy in the new model, and say how it went."""
        world, imagination = self.new_world(fitted.models), self.imagination
        if world is None or not len(visited.lengths):
            return state.training, state.value, _say_nothing(state)
        rng = np.random.default_rng([fitted.seed, 1])
        setting = imagination.make_setting(self.problem, world, visited, fitted.models.sample_costs, self.observed)
        begun = self._prepare(state.training, visited, setting.range)
        held = imagination.draw_held_out(begun.policy, setting, visited, rng)
        training, value, rounds = begun, state.value, []
        for _ in range(self.rounds):
            if setting.steps < self.problem.horizon:
                starts = imagination.draw_starts(training.policy, setting, visited, rng)
                value = learn_value(training.policy, setting, starts, value, self.value)
                setting = setting._replace(value=value)
            training, course = self._ascend(training, setting, visited, held, rng)
            rounds.append(course)
        gained, last = training is not begun, state.training
        shown = imagination.show_gradients(training.policy, setting, visited, rng)
        training = training if gained else last
        kl = measure_visited_kl(training.policy, last.policy, setting, visited) if last.trained else np.nan
        status, message = _judge_rounds(rounds, gained)
        record = OptimisationRecord(
            existed=last.trained,
            trained=training.trained,
            losses=np.concatenate([course.losses for course in rounds]),
            starts=np.array([min(rounds[-1].losses)]),
            gradient_norms=shown,
            kl=kl,
            status=status,
            message=message,
        )
        return training, value, record

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
            batches = self.imagination.draw_batches(current.policy, setting, visited, rng, every)
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
        observations = np.asarray(self.observed(visited.all_states, visited.all_steps))
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

    def _forecast(
        self, state: BackpropState, sampled: Policy, rollouts: Rollouts, models: FittedModels
    ) -> Forecast | None:
        """The last model's forecast of the policy in the episodes that were sampled; None where it knows nothing."""
        world = self.last_world(state)
        if world is None or state.visited is None or sampled.player is not Player.POLICY:
            return None
        setting = self.imagination.make_setting(self.problem, world, state.visited, models.sample_costs, self.observed)
        starts = rollouts.states[:, :, 0]
        costs, states = map(np.asarray, forecast_episodes(state.training.policy, setting, starts, rollouts.noise))
        return Forecast.of_samples(costs, states, rollouts)


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
