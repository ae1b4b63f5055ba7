"""Version 2.0 through a model with a memory: gradients, where the memory begins, and a resumed run."""

import dataclasses

import numpy as np
import pytest
from helpers.bits import assert_same_bits
from helpers.lagging import SMALL, record_lagging
from helpers.linear_system import DU, DX, PROBLEM, STARTS, M, T, advance

from gps.algorithms.through_models.ascent import NaturalAscent, PolicyInTraining
from gps.algorithms.through_models.imagination import Imagination
from gps.algorithms.through_models.imagining import Box, ExpectedCost, ImaginedSetting, ImaginedStarts
from gps.algorithms.through_models.policy_backprop import PolicyBackprop
from gps.algorithms.through_models.visited import Visited
from gps.backend import jax, jnp
from gps.dynamics.prior import Transitions
from gps.linear_gaussian.initial import zero
from gps.models.recurrent_learner import RecurrentLearner
from gps.models.remembering import recall_episodes
from gps.networks import Affine, BoundedPerceptron
from gps.planning.sequences import ActionRange
from gps.policies import NeuralPolicy
from gps.policies.observed import Observed
from gps.status import PolicyStatus
from gps.storage.serialization import flatten, unflatten

KEY = jax.random.key(0)
DATA = record_lagging(20, 40, seed=0)
FREE = [-np.inf], [np.inf]


@pytest.fixture(scope="module")
def model():
    """The model in float64, so that finite differences are exact."""
    found = RecurrentLearner(2, SMALL).refit(Transitions.of(*DATA), seed=0).model
    return dataclasses.replace(found, members=jax.tree.map(lambda array: array.astype(float), found.members))


def make_setting(model, drawn):
    return ImaginedSetting(
        model=model,
        cost=lambda x, u, t: jnp.sum((x - 1.0) ** 2) + 0.1 * jnp.sum(u**2),
        value=None,
        range=ActionRange.of(*map(np.array, FREE), np.ones(1)),
        box=Box(np.full(2, -1e6), np.full(2, 1e6), np.ones(2)),
        observed=Observed((0, 1)),
        end=np.int32(8),
        clip=np.asarray(np.inf),
        steps=8,
        drawn=drawn,
        kinds="",
    )


def visit():
    states, actions, _ = DATA
    return Visited(states[0], actions[0], np.full(20, 40))


@pytest.mark.parametrize("drawn", [False, True], ids=["mean", "drawn"])
def test_the_gradient_through_the_memory_is_that_of_finite_differences(model, drawn):
    policy = NeuralPolicy.untrained(Affine.create(2, *FREE, KEY, squash="none", spread=0.1), 0.1)
    memories = 0.3 * np.random.default_rng(0).normal(size=(2, 3, *model.begin().shape))
    states = np.random.default_rng(1).normal(size=(2, 3, 2))
    starts = ImaginedStarts(states, np.zeros((2, 3), np.int32), np.zeros((2, 3, 0)), memories, np.uint32(0))
    flat, unravel = jax.flatten_util.ravel_pytree(policy.network)

    @jax.jit
    def value(vector, memories):
        moved = dataclasses.replace(policy, network=unravel(vector))
        return ExpectedCost(make_setting(model, drawn), starts._replace(model_memories=memories))(moved)

    slopes = jax.jit(jax.grad(value, (0, 1)))(flat, memories)
    rng = np.random.default_rng(2)
    for _ in range(3):
        ways = rng.normal(size=flat.shape), rng.normal(size=memories.shape)
        for i, (slope, way) in enumerate(zip(slopes, ways, strict=True)):
            step = [1e-5 * way if j == i else 0.0 for j in range(2)]
            above, below = value(flat + step[0], memories + step[1]), value(flat - step[0], memories - step[1])
            np.testing.assert_allclose(np.sum(slope * way), (above - below) / 2e-5, rtol=1e-5)


def test_an_episode_from_a_visited_state_begins_with_the_memory_of_what_happened_there(model):
    policy = NeuralPolicy.untrained(Affine.create(2, *FREE, KEY, squash="none"))
    imagination = Imagination(episodes=12, functions=2, visited=0.5)
    starts = imagination.draw_starts(policy, make_setting(model, True), visit(), np.random.default_rng(0))
    states, actions, _ = DATA
    recalled = recall_episodes(model, states[0], actions[0])
    for x, t, memory in zip(
        starts.states.reshape(-1, 2), starts.steps.ravel(), starts.model_memories.reshape(12, -1), strict=True
    ):
        episode = np.flatnonzero((states[0, :, t] == x).all(axis=1))[0]
        np.testing.assert_allclose(memory, recalled[episode, t].ravel(), atol=1e-12)
        assert memory.any() == (t > 0)


def test_a_learning_run_can_be_stored_and_resumed_to_the_bit():
    network = BoundedPerceptron.create(DX, [-np.inf] * DU, [np.inf] * DU, KEY, (8,), squash="none")
    made = PolicyBackprop(
        PROBLEM,
        PolicyInTraining.begin(NeuralPolicy.untrained(network)),
        model=RecurrentLearner(DX, dataclasses.replace(SMALL, steps=100, sequence=8, burn_in=2)),
        observed=Observed(tuple(range(DX))),
        ascent=NaturalAscent(0.1),
        imagination=Imagination(episodes=8, functions=2),
        updates=2,
    )
    state = made.begin(zero(M, T, DX, DU, 0.5), STARTS)
    state, _ = advance(made, state, seed=0, samples=4)
    whole, record = advance(made, state, seed=1, samples=4)
    resumed, again = advance(made, unflatten(made.state_type, flatten(state)), seed=1, samples=4)
    assert_same_bits(resumed, whole)
    assert_same_bits(again, record)
    assert record.optimisation.status in (PolicyStatus.OK, PolicyStatus.NOT_IMPROVED)
    assert np.isfinite(record.optimisation.losses).all() and np.isfinite(record.model.horizon_error).all()
