"""PILCO: a policy that is optimised through a Gaussian process, by the expected cost of an episode in it.

Deisenroth & Rasmussen 2011, "PILCO: A model-based and data-efficient approach to policy search"; Deisenroth's thesis,
"Efficient reinforcement learning using Gaussian processes" (2010), chapter 3. Each iteration, for M conditions:

    sample    the policy, without noise; before there is one, the base policy (the first controllers)
    fit       the Gaussian process learns x' = f(x, u) from all samples so far
    improve   θ ← argmin (1/M) Σ_m J_m(θ),   J_m = Σ_t E c(x_t, u_t),   by L-BFGS from several starts

J_m propagates a Gaussian over the state from the start of condition m through policy and process
(`gps.algorithms.through_models.expected_cost`). What the process does not know widens the Gaussian. Under a saturating
cost a wide Gaussian is good far from the goal, where it may reach it, and bad near it: so the policy explores where it
has nothing to lose, and is careful where it has, and no other exploration is needed (Deisenroth & Rasmussen 2011,
sec. 2.3; thesis, sec. 3.7.1).

The searches start at the last policy, at one that imitates a plan in the model (`planned_start`), and at fresh ones,
drawn around the states that were seen; the first ones also at one that imitates the feedback of the first controllers,
if they have any. The best end is the next policy. As the last policy is one of the starts, the
next one is not worse in the model. The last one stays where nothing is finite.
"""

import dataclasses
from typing import Any, Generic

import numpy as np
from jaxtyping import Float
from typing_extensions import TypeVar

from gps.algorithms.through_models.base import STILL, DrawNetwork, PolicyThroughModel
from gps.algorithms.through_models.expected_cost import (
    Imagined,
    Scene,
    StartBelief,
    expect_course,
    from_vector,
    to_vector,
    value_and_gradient,
)
from gps.algorithms.through_models.forecast import Forecast, compare_forecast
from gps.algorithms.through_models.learned_models import (
    L,
    ModelState,
    SeededModels,
    World,
    advance_state,
    record_iteration,
)
from gps.algorithms.through_models.planned_start import imitate, plan_episodes
from gps.backend import jax
from gps.costs.expectations import list_expanded
from gps.errors import ConfigError
from gps.linear_gaussian.types import Controller
from gps.models.model import MomentMatching, find_stored_type
from gps.networks import Bounded
from gps.planning.sources import PlanningTask, PolicySource
from gps.policies.lbfgs import Descent, minimise
from gps.policies.neural import NeuralPolicy
from gps.protocols import list_missing
from gps.records import IterationRecord, OptimisationRecord, Rollouts
from gps.sampling.policy import Policy
from gps.status import PolicyStatus
from gps.storage.serialization import specialise

B = TypeVar("B", bound=Bounded, default=Bounded, covariant=True)

_MOST_ROUNDING = 0.01
"""The largest difference of the expected cost, computed with and without its gradient, relative to it."""


@dataclasses.dataclass(frozen=True)
class PILCOState(ModelState[L], Generic[L, B]):
    """Everything that the next iteration needs, for M conditions."""

    policy: NeuralPolicy[B]
    trained: bool  # False: the policy has not been optimised yet
    starts: Float[np.ndarray, "M n dx"]  # the states in which episodes began
    units: Float[np.ndarray, "dx"] | None  # the state's deviations in the data of the first model
    forecast: Forecast | None  # of `policy`


@dataclasses.dataclass(frozen=True, kw_only=True)
class PILCO(PolicyThroughModel[PILCOState]):
    """The algorithm. Its model must match moments.

    Args:
        draw_network: makes the networks that searches start at.
        iterations: the most iterations of each search.
        restarts: searches from fresh networks, besides the one from the last policy.
        planner: makes the plan that one more search begins at, as its imitation; None for no such search.
        start_deviation: standard deviation of the start, in deviations of each entry of the state in the data of the
            first model; a larger one that is seen in the starts of a condition takes its place. The data spread while
            the policy learns, and the start does not.
        threads: searches at the same time; None: one for each core.
    """

    draw_network: DrawNetwork
    iterations: int = 150
    restarts: int = 1
    planner: PolicySource | None = None
    start_deviation: float = 0.1
    threads: int | None = None

    @property
    def state_type(self) -> Any:
        network = self.draw_network(0, np.empty((0, self.observed.size)))
        return specialise(PILCOState, find_stored_type(self.model), type(network))

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> PILCOState:
        network = self.draw_network(0, np.asarray(self.observed(np.asarray(starts), 0)))
        policy = NeuralPolicy.untrained(network, STILL).numpy()
        seen = np.asarray(starts, float)[:, None]
        return PILCOState(0, 0, controllers.numpy(), self.model, self.reward, policy, False, seen, None, None)

    def find_policy(self, state: PILCOState) -> NeuralPolicy[Bounded] | None:
        return state.policy if state.trained else None

    def improve(
        self, state: PILCOState, sampled: Policy, rollouts: Rollouts, fitted: SeededModels
    ) -> tuple[PILCOState, IterationRecord]:
        """Optimise the policy in the model, and compare the last forecast with what happened."""
        models = fitted.models
        starts = np.concatenate([state.starts, rollouts.states[:, :, 0]], axis=1)
        world, units = self.new_world(models), state.units
        if world is not None and units is None:
            units = np.asarray(world.model.deviations)[: self.problem.dx]
        scene = None if world is None or units is None else self._make_scene(world, starts, units)
        policy, expected, optimisation = self._optimise(state, scene, rollouts, fitted.seed)

        planner = compare_forecast(state.forecast, sampled, models.sample_costs)
        record = record_iteration(state, sampled, rollouts, models, planner=planner, optimisation=optimisation)
        after = advance_state(
            state,
            rollouts,
            models,
            policy=policy,
            trained=optimisation.trained,
            starts=starts,
            units=units,
            forecast=expected,
        )
        return after, record

    def _make_scene(self, world: World, starts: Float[np.ndarray, "M n dx"], units: Float[np.ndarray, "dx"]) -> Scene:
        """Collect the model, the cost and the starts for the optimisation.

        Raises:
            ConfigError: if the model cannot propagate a Gaussian.
        """
        model, cost = world
        if list_missing(model, MomentMatching):
            raise ConfigError('algorithm.model: pilco propagates a Gaussian through it: take "gp" or "linear"')
        variance = np.maximum(starts.var(axis=1), (self.start_deviation * units) ** 2)
        belief = StartBelief(starts.mean(axis=1), variance[:, :, None] * np.eye(starts.shape[2]))
        kinds = str(jax.tree.structure((model, cost)))
        return Scene(jax.tree.map(np.asarray, model), cost, belief, self.problem.horizon, self.observed, kinds)

    def _optimise(
        self, state: PILCOState, scene: Scene | None, rollouts: Rollouts, seed: int
    ) -> tuple[NeuralPolicy[Bounded], Forecast | None, OptimisationRecord]:
        """Return the best policy that the searches found, or the last one, and what the model expects of it."""
        if scene is None:
            none = OptimisationRecord(False, False, np.empty(0), np.empty(0), status=PolicyStatus.WARM_UP)
            return state.policy, None, none
        last = state.policy.network
        seen = rollouts.observed[rollouts.mask] if rollouts.mask.any() else np.empty((0, last.vector_size))
        seeds = np.random.default_rng([seed, 7]).integers(2**31, size=self.restarts + 1)
        fresh = [self.draw_network(int(one), seen) for one in seeds]
        networks = [last, *fresh[:-1]] if state.trained else fresh
        networks += self._imitate_plan(scene, seed)
        held = None if state.trained else self.recall_feedback(state.first, rollouts)
        if held is not None:
            networks.append(imitate(self.draw_network(int(seeds[-1]), held[0]), *held))
        found = self._search(state.policy, scene, networks)
        if found.parameters is None:
            return self._keep(state, scene, found, PolicyStatus.NOT_FINITE)
        policy = dataclasses.replace(state.policy, network=from_vector(last, found.parameters))
        expected = _expect(scene, policy)
        if expected is None:
            return self._keep(state, scene, found, PolicyStatus.NOT_FINITE)
        rounded = abs(expected.costs.mean() - found.value) > _MOST_ROUNDING * abs(found.value)
        status = PolicyStatus.DIGITS_LOST if rounded else found.status
        record = OptimisationRecord(
            existed=state.trained,
            trained=True,
            losses=found.trace,
            starts=found.starts,
            status=status,
            message=_describe(found, status, scene),
        )
        return policy, expected, record

    def _imitate_plan(self, scene: Scene, seed: int) -> list[Bounded]:
        """The network that imitates plans from the starts; none where there is no planner, or it finds no plan."""
        if self.planner is None:
            return []
        starts = np.asarray(scene.start.mean)
        lesson = plan_episodes(
            self.planner, PlanningTask(self.problem, scene.model, scene.cost, len(starts)), starts, seed
        )
        if lesson is None:
            return []
        inputs = np.asarray(self.observed(lesson.states, lesson.steps))
        return [imitate(self.draw_network(seed, inputs), inputs, lesson.actions)]

    def _search(self, policy: NeuralPolicy[Bounded], scene: Scene, networks: list[Bounded]) -> Descent:
        like = policy.network
        units = np.mean([to_vector(network.units) for network in networks], axis=0)

        def evaluate(vector: Float[np.ndarray, "p"]) -> tuple[float, np.ndarray]:
            network = from_vector(like, units * vector)
            value, gradient = value_and_gradient(scene, dataclasses.replace(policy, network=network))
            return float(value), units * to_vector(gradient)

        starts = [to_vector(network) / units for network in networks]
        low, high = (to_vector(limit) / units for limit in like.bounds)
        middle = np.mean(starts, axis=0)
        found = minimise(
            evaluate,
            starts,
            iterations=self.iterations,
            threads=self.threads,
            bounds=(low + np.where(np.isfinite(low), middle, 0.0), high + np.where(np.isfinite(high), middle, 0.0)),
        )
        return found if found.parameters is None else found._replace(parameters=units * found.parameters)

    def _keep(
        self, state: PILCOState, scene: Scene, found: Descent, status: PolicyStatus
    ) -> tuple[NeuralPolicy[Bounded], Forecast | None, OptimisationRecord]:
        """The last policy stays."""
        record = OptimisationRecord(
            existed=state.trained,
            trained=state.trained,
            losses=found.trace,
            starts=found.starts,
            status=status,
            message=_describe(found, status, scene),
        )
        return state.policy, _expect(scene, state.policy) if state.trained else None, record


def _expect(scene: Scene, policy: NeuralPolicy[Bounded]) -> Forecast | None:
    """Predict the episodes of a policy; None where the prediction is not finite."""
    imagined: Imagined = jax.tree.map(np.asarray, expect_course(scene, policy))
    if not all(np.isfinite(array).all() for array in imagined):
        return None
    return Forecast(imagined.costs.sum(axis=1), imagined.means, imagined.deviations)


def _describe(found: Descent, status: PolicyStatus, scene: Scene) -> str:
    """A sentence for a status that is not ok, and what else is to be said."""
    said = [] if status.ok else [status.sentence, found.message]
    expanded = list_expanded(scene.cost)
    if expanded:
        said.append(f"The expected cost of {', '.join(expanded)} is a second-order expansion.")
    return " ".join(filter(None, said))
