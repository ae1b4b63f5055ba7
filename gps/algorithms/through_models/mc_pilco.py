"""MC-PILCO: a policy optimised through a learned model by particles (Amadio, Dalla Libera, Antonello, Nikovski, Carli &
Romeres 2022, "Model-based policy search using Monte Carlo gradient estimation with real systems application").

Each iteration, for M conditions:

    sample    the policy (the first controllers, before there is one)
    fit       the model learns x' = f(x, u) from all samples so far
    improve   repeat: draw P functions from the model, and all other random numbers
                      lower J(θ) = 1/P Σ_p Σ_t c(x_t, u_t, t)   (`particles`)
              take the new policy if it costs less than the last one under functions that neither was optimised for

With a draw that is fixed, J is one smooth function of θ. L-BFGS minimises it in rounds of some iterations, with a new
draw in each round, so that the policy does not fit one draw. Adam takes one step for each draw, as MC-PILCO's own
program does. Both start from the last policy and from new random ones, one on each core. The former suits systems that
are benign. Where the policy must balance something, L-BFGS is seen to stop early: from two starts in one model of a
cart-pole it ended at costs of 20 and 31, and Adam, which took longer, at 14 and 17.

Where the sensors are noisy, particles act on what the sensors would show; where velocities are estimated by a filter,
through the filter (MC-PILCO4PMS: Amadio, Dalla Libera, Nikovski, Carli & Romeres 2022, "Learning control from raw
position measurements"), while the model learns from positions and velocities that are smoothed after the episode.

With a planner, the first samples after a model exists are those of its plans, and the first policy begins as an
imitation of a plan: iterative LQR in the model explores where the task lies, and finds the first swing (EB-MC-PILCO).
Where the first controllers feed back, as PD control does, the first policy also begins as the imitation of that.

Any `GlobalModel` will do: its `draw` gives the functions. It must be smooth, and so must the cost.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, Literal

import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from gps.algorithms.through_models.base import STILL, DrawNetwork, PolicyThroughModel
from gps.algorithms.through_models.forecast import Forecast, compare_forecast
from gps.algorithms.through_models.learned_models import (
    L,
    ModelState,
    SeededModels,
    World,
    advance_state,
    record_iteration,
)
from gps.algorithms.through_models.mbrl import make_planner_record
from gps.algorithms.through_models.particles import (
    Episodes,
    ParticleObjective,
    Particles,
    ParticleSetting,
    draw,
    find_units,
)
from gps.algorithms.through_models.planned_start import imitate, plan_episodes
from gps.backend import jax
from gps.dynamics.motion import smooth_motions
from gps.linear_gaussian.types import Controller
from gps.models.model import GlobalModel, find_stored_type
from gps.planning.played import find_planned
from gps.planning.sources import PlanningTask, PolicySource
from gps.policies.lbfgs import Descent, minimise
from gps.policies.neural import Network, NeuralPolicy
from gps.policies.stochastic import minimise_mean
from gps.records import IterationRecord, OptimisationRecord, PlannerRecord, Rollouts
from gps.sampling.policy import Policy
from gps.status import PolicyStatus
from gps.storage.serialization import specialise

_MOST_LOST = 0.5
"""A policy under which a greater share of the particles is lost is not judged by the others."""


@dataclasses.dataclass(frozen=True)
class MCPILCOState(ModelState[L], Generic[L, Network]):
    """Everything that the next iteration needs, for M conditions."""

    starts: Float[np.ndarray, "M dx"]
    policy: NeuralPolicy[Network]
    trained: bool  # False before there is a policy that was optimised
    forecast: Forecast | None  # of `policy`


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimisation:
    """The settings of the optimisation.

    Args:
        method: "adam", with a new draw in each step, or "lbfgs", with a new draw in each round.
        steps, learning_rate: of Adam.
        rounds: R, each with a draw of its own.
        iterations: of L-BFGS in a round.
        first_starts: new random policies in the first round, while there is no policy yet.
        starts: the same later, beside the last policy.
        threads: searches at the same time; None: one for each core.
    """

    method: Literal["adam", "lbfgs"] = "adam"
    steps: int = 300
    learning_rate: float = 0.05
    rounds: int = 8
    iterations: int = 20
    first_starts: int = 2
    starts: int = 0
    threads: int | None = None

    @property
    def draws(self) -> int:
        """The number of draws that a search takes."""
        return self.steps if self.method == "adam" else self.rounds

    def search(self, draw: Callable[[int], ParticleObjective], starts: list[Float[np.ndarray, "p"]]) -> list[Descent]:
        """Search from these starts; `draw` gives the objective of each step or round."""
        if self.method == "adam":
            rate, threads = self.learning_rate, self.threads
            return [minimise_mean(draw, starts, steps=self.steps, learning_rate=rate, threads=threads)]
        descents: list[Descent] = []
        for number in range(self.rounds):
            descents.append(minimise(draw(number), starts, iterations=self.iterations, threads=self.threads))
            if descents[-1].parameters is None:
                break
            starts = [descents[-1].parameters]
        return descents


@dataclasses.dataclass(frozen=True, kw_only=True)
class MCPILCO(PolicyThroughModel[MCPILCOState]):
    """The algorithm.

    Args:
        draw_network: see `DrawNetwork`.
        particles, optimisation: see there.
        planner: makes the policy that plans, and the first policy begins as its imitation; None for neither.
        planned_iterations: iterations that sample the planner, before the policy.
    """

    draw_network: DrawNetwork
    particles: Particles = dataclasses.field(default_factory=Particles)
    optimisation: Optimisation = Optimisation()
    planner: PolicySource | None = None
    planned_iterations: int = 0

    @property
    def state_type(self) -> Any:
        return specialise(MCPILCOState, find_stored_type(self.model), type(self._make_policy(0).network))

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> MCPILCOState:
        first, policy = controllers.numpy(), self._make_policy(0)
        return MCPILCOState(0, 0, first, self.model, self.reward, starts, policy, False, None)

    def find_policy(self, state: MCPILCOState) -> NeuralPolicy | None:
        return state.policy if state.trained else None

    def explore(self, state: MCPILCOState) -> Policy:
        """The planner in the last model while it explores, else the first controllers."""
        return self._plan(state) or super().explore(state)

    def clean(self, rollouts: Rollouts) -> Rollouts:
        """The samples with smoothed motions where a filter estimates the velocities."""
        sense, mechanics = self.problem.filter, self.problem.mechanics
        if sense is None or mechanics is None:
            return rollouts
        measured = sense.recover(rollouts.states)
        motions = smooth_motions(measured, rollouts.actions, rollouts.mask, mechanics, sense.noise)
        return dataclasses.replace(rollouts, states=motions)

    def improve(
        self, state: MCPILCOState, sampled: Policy, rollouts: Rollouts, fitted: SeededModels
    ) -> tuple[MCPILCOState, IterationRecord]:
        """Optimise the policy in the new model."""
        models = fitted.models
        after, optimised, world = advance_state(state, rollouts, models), None, self.new_world(models)
        if world is not None and (state.iteration >= self.planned_iterations or state.trained):
            after, optimised = self._optimise(after, world, rollouts, fitted.seed)
        record = record_iteration(
            state,
            sampled,
            rollouts,
            models,
            planner=self._compare(state, sampled, models.sample_costs),
            optimisation=optimised,
        )
        return after, record

    def _optimise(
        self, state: MCPILCOState, world: World, rollouts: Rollouts, seed: int
    ) -> tuple[MCPILCOState, OptimisationRecord]:
        """The state with the optimised policy, and the record of the optimisation."""
        options, (model, cost) = self.optimisation, world
        if not state.trained:
            state = dataclasses.replace(state, policy=self._scale(state.policy, model))
        last = state.policy
        setting = ParticleSetting.of(self.problem, model, cost, last, self.observed, self.particles.dropout)
        starts = [flatten_network(network) for network in self._propose(state, world, rollouts, seed)]
        objective = partial(self._draw, setting, state, model, seed)
        descents = options.search(partial(objective, dropout=True), starts)
        found = next((d.parameters for d in reversed(descents) if d.parameters is not None), None)

        judge_by = objective(options.draws, dropout=False)
        status, said = descents[-1].status, [d.message for d in descents]
        before = judge_by.imagine(flatten_network(last.network)) if state.trained else None
        best = None if found is None else judge_by.imagine(found)
        better = best is not None and _expect(best) < (np.inf if before is None else _expect(before))
        if best is not None and not better:
            status = _explain_loss(best)
        judged = best if better or before is None else before
        if judged is not None and judged.lost.any():
            said.append(f"{int(judged.lost.sum())} of {len(judged.lost)} imagined episodes were lost.")
            status = PolicyStatus.PARTICLES_LOST if status.ok else status
        record = OptimisationRecord(
            existed=state.trained,
            trained=state.trained or better,
            losses=np.concatenate([d.trace for d in descents]),
            starts=descents[0].starts,
            status=status,
            message=" ".join(filter(None, [status.sentence if not status.ok else "", *said])),
        )
        if better and found is not None:
            network = jax.tree.map(np.asarray, ravel_pytree(last.network)[1](found))
            state = dataclasses.replace(state, policy=dataclasses.replace(last, network=network), trained=True)
        kept = best if better else before
        if kept is None:
            return state, record
        return dataclasses.replace(state, forecast=_forecast(kept, len(state.starts))), record

    def _scale(self, policy: NeuralPolicy, model: GlobalModel) -> NeuralPolicy:
        """The policy whose inputs are in units of the data, so that all of its parameters are of order 1."""
        units = self.observed.find_units(find_units(model)[: self.problem.dx])
        network: Any = policy.network
        units[list(network.angles)] = 1.0
        return dataclasses.replace(policy, input_scale=units)

    def _propose(self, state: MCPILCOState, world: World, rollouts: Rollouts, seed: int) -> list[Any]:
        """Return the networks to start from: the last, random ones, imitations of a plan and of the first feedback."""
        options, scale = self.optimisation, np.asarray(state.policy.input_scale)
        seen = rollouts.observed[rollouts.mask] / scale
        fresh = options.starts if state.trained else options.first_starts
        networks = [self.draw_network(seed + number, seen) for number in range(fresh)]
        if self.planner is not None:
            task = PlanningTask(self.problem, *world, len(state.starts))
            lesson = plan_episodes(self.planner, task, state.starts, seed)
            if lesson is not None:
                inputs = np.asarray(self.observed(lesson.states, lesson.steps)) / scale
                networks.append(imitate(self.draw_network(seed + fresh, seen), inputs, lesson.actions))
        held = None if state.trained else self.recall_feedback(state.first, rollouts)
        if held is not None:
            networks.append(imitate(self.draw_network(seed + fresh + 1, seen), held[0] / scale, held[1]))
        if state.trained:
            return [state.policy.network, *networks]
        return networks or [self.draw_network(seed, seen)]

    def _draw(
        self, setting: ParticleSetting, state: MCPILCOState, model: GlobalModel, seed: int, number: int, dropout: bool
    ) -> ParticleObjective:
        """The objective of a round."""
        particles = self.particles if dropout else dataclasses.replace(self.particles, dropout=0.0)
        network: Any = setting.policy.network
        features = network.features if particles.dropout else 0
        draws = draw(model, particles, state.starts, self.problem.horizon, features, (seed, number))
        return ParticleObjective(setting, draws)

    def _make_policy(self, seed: int) -> NeuralPolicy:
        """A policy that nobody has optimised, without noise of its own."""
        nothing = np.zeros((0, self.observed.size))
        return NeuralPolicy.untrained(self.draw_network(seed, nothing), STILL).numpy()

    def _plan(self, state: MCPILCOState) -> Policy | None:
        """The planner in the last model, while it explores; None before there is a model."""
        world = self.last_world(state)
        if self.planner is None or world is None or not 1 <= state.iteration <= self.planned_iterations:
            return None
        return self.planner.make_policy(PlanningTask(self.problem, *world, len(state.starts), replans=False))

    def _compare(self, state: MCPILCOState, sampled: Policy, costs: Float[np.ndarray, "M N T"]) -> PlannerRecord | None:
        """The forecast of the sampled policy beside what happened."""
        if find_planned(sampled) is not None:
            return make_planner_record(sampled, costs)
        return compare_forecast(state.forecast, sampled, costs)


def flatten_network(network: Any) -> Float[np.ndarray, "p"]:
    """The vector of a network's parameters."""
    return np.asarray(ravel_pytree(network)[0])


def _expect(episodes: Episodes) -> float:
    """The expected cost of an episode; +inf where it is not finite, or most particles were lost."""
    cost = float(episodes.costs.sum()) / episodes.costs.shape[1]
    return cost if np.isfinite(cost) and episodes.lost.mean() <= _MOST_LOST else np.inf


def _explain_loss(episodes: Episodes) -> PolicyStatus:
    """Why a policy with these episodes does not take the last one's place."""
    if not np.isfinite(episodes.costs.sum()):
        return PolicyStatus.NOT_FINITE
    return PolicyStatus.MOST_LOST if episodes.lost.mean() > _MOST_LOST else PolicyStatus.NO_GAIN


def _forecast(episodes: Episodes, conditions: int) -> Forecast:
    """The mean cost and the mean states of each condition's particles."""
    T, P = episodes.costs.shape
    costs = episodes.costs.reshape(T, P // conditions, conditions)
    states = episodes.states.reshape(T, P // conditions, conditions, -1)
    return Forecast(costs.sum(axis=0).mean(axis=0), np.moveaxis(states.mean(axis=1), 0, 1))
