"""The settings of imagined episodes: how they are drawn from visited states, and what is measured along them."""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float

from gps.algorithms.through_models.imagining import (
    Box,
    ImaginedSetting,
    ImaginedStarts,
    Sequences,
    evaluate_policy,
    imagine_returns,
    measure_gradients,
    measure_kl,
)
from gps.algorithms.through_models.learned_models import World
from gps.algorithms.through_models.value import TerminalValue, ValueOptions, begin_value, count_inputs, fit_value
from gps.algorithms.through_models.visited import Visited
from gps.backend import jax
from gps.models.remembering import recall_episodes
from gps.planning.sequences import ActionRange
from gps.policies.neural import NeuralPolicy
from gps.policies.observed import Observed
from gps.policies.remembering import memory_size, recall
from gps.problem import Problem

_SHOWN = 16
"""Imagined episodes along which the size of the gradients is measured."""


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

    def make_setting(
        self,
        problem: Problem,
        world: World,
        visited: Visited,
        costs: Float[np.ndarray, "M N T"],
        observed: Observed,
    ) -> ImaginedSetting:
        """The setting of episodes in a world, without a value.

        Args:
            costs: of the samples, the unit of `clip`.
            observed: what the policy observes of a state.
        """
        T = problem.horizon
        steps = min(self.truncation or T, T)
        unit = float(np.abs(costs).mean()) or 1.0
        return ImaginedSetting(
            model=world.model,
            cost=world.cost,
            value=None,
            range=ActionRange.of(*problem.limits, np.asarray(world.model.deviations)[-problem.du :]),
            box=Box.around(visited.all_states),
            observed=observed,
            end=np.int32(T),
            clip=np.asarray(self.clip * unit * steps),
            steps=steps,
            drawn=self.propagation != "mean",
            kinds=str(jax.tree.structure(tuple(world))),
        )

    def draw_batches(
        self,
        policy: NeuralPolicy,
        setting: ImaginedSetting,
        visited: Visited,
        rng: np.random.Generator,
        batches: int,
        share: float | None = None,
        shape: tuple[int, int] | None = None,
    ) -> ImaginedStarts:
        """Draw where the episodes of some batches (leading axis) begin.

        Args:
            share: of the episodes that begin in any visited state; None for the setting's.
            shape: (P, S); None for the setting's.
        """
        share = self.visited if share is None else share
        episodes, steps = visited.draw((batches, *(shape or self.shape)), share, rng)
        padded, memories = visited.pad(), np.zeros((*episodes.shape, 0))
        if memory_size(policy):
            memories = np.asarray(recall(policy, _observe(setting, padded)))[episodes, steps]
        of_model = recall_episodes(setting.model, padded.states, padded.actions)[episodes, steps]
        seeds = rng.integers(2**32, size=batches, dtype=np.uint32)
        return ImaginedStarts(visited.states[episodes, steps], steps.astype(np.int32), memories, of_model, seeds)

    def draw_starts(
        self,
        policy: NeuralPolicy,
        setting: ImaginedSetting,
        visited: Visited,
        rng: np.random.Generator,
        share: float | None = None,
        shape: tuple[int, int] | None = None,
    ) -> ImaginedStarts:
        """Draw where the episodes of one batch begin."""
        batches = self.draw_batches(policy, setting, visited, rng, 1, share, shape)
        return jax.tree.map(lambda array: array[0], batches)

    def draw_held_out(
        self, policy: NeuralPolicy, setting: ImaginedSetting, visited: Visited, rng: np.random.Generator
    ) -> ImaginedStarts:
        """Draw where the episodes begin by which policies are compared: twice as many as those of a gradient."""
        P, S = self.shape
        return self.draw_starts(policy, setting, visited, rng, shape=(P, 2 * S))

    def show_gradients(
        self, policy: NeuralPolicy, setting: ImaginedSetting, visited: Visited, rng: np.random.Generator
    ) -> Float[np.ndarray, "T"]:
        """Measure the gradient against the steps ahead, from starts to the end of the episode."""
        P = self.shape[0]
        starts = self.draw_starts(policy, setting, visited, rng, share=0.0, shape=(P, -(-_SHOWN // P)))
        return np.asarray(measure_gradients(policy, setting._replace(steps=int(setting.end), value=None), starts))


def learn_value(
    policy: NeuralPolicy,
    setting: ImaginedSetting,
    starts: ImaginedStarts,
    value: TerminalValue | None,
    options: ValueOptions,
) -> TerminalValue:
    """Learn the policy's value along imagined episodes; the last one stays if that fails."""
    T = int(setting.end)
    steps = min(options.steps or T, T)
    if value is None:
        mean_cost = np.asarray(evaluate_policy(policy, setting._replace(value=None), starts)[0]) / setting.steps
        inputs = count_inputs(starts.states.shape[-1], options.transforms)
        value = begin_value(float(mean_cost), inputs, T, options)
    found = imagine_returns(policy, setting._replace(steps=steps, value=value), starts, options.decay)
    states, at, returns = (np.asarray(array).reshape(-1, *array.shape[3:]) for array in found)
    groups = np.tile(np.arange(starts.steps.size), steps)
    return fit_value(states, at, returns, groups, T, options, int(starts.seed)) or value


def measure_visited_kl(new: NeuralPolicy, old: NeuralPolicy, setting: ImaginedSetting, visited: Visited) -> float:
    """The mean of KL(new ‖ old) over the visited states, nats."""
    padded = visited.pad()
    E, T, _ = padded.states.shape
    along = Sequences(np.zeros((E, memory_size(new))), _observe(setting, padded))
    there = (np.arange(T) < padded.lengths[:, None]).astype(float)
    return float(measure_kl(new, old, along, there))


def _observe(setting: ImaginedSetting, visited: Visited) -> Float[np.ndarray, "E T do"]:
    """Return the policy's observations in visited episodes."""
    return np.asarray(setting.observed(visited.states, np.arange(visited.states.shape[1])))
