"""Physics whose system differs between the conditions: a wall that stands in another place, a goal of its own."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gps.algorithms.local.imagination import imagine, linearise_along
from gps.backend import jax, jnp
from gps.builders.models import require_one_system
from gps.costs.terms import Sum
from gps.dynamics.prior import Transitions
from gps.environments.mujoco import MujocoEnv
from gps.environments.mujoco.simulator import MujocoSimulator
from gps.errors import ConfigError
from gps.linear_gaussian.types import Controller
from gps.models.calibration import calibrate
from gps.models.linear import LinearLearner
from gps.models.model import for_condition, restore_learner
from gps.models.physics.learner import PhysicsLearner
from gps.models.prior import ModelPrior, believe
from gps.models.residual import ResidualLearner
from gps.models.stored import System, read_model, save_model
from gps.problem import Problem
from gps.storage.serialization import flatten, unflatten

MODEL = """<mujoco><option timestep="0.01" gravity="0 0 0"/><worldbody>
<body name="cart"><joint name="rail" type="slide" axis="1 0 0"/><geom size=".1" mass="1"/><site name="cart"/></body>
<body name="wall" pos="1 0 0"><geom type="box" size=".1 1 1"/><site name="wall"/></body>
</worldbody><actuator><motor joint="rail" gear="2"/></actuator></mujoco>"""
STATE = ["qpos", "qvel", "site_position:cart-wall[x]"]
CONDITIONS = ({"body_offset": {"wall": [-0.85, 0, 0]}}, {"body_offset": {"wall": [0.5, 0, 0]}}, {"qvel": [0.4]})
"""The cart touches the wall, or is far from it, or runs into it."""
M, N, T, TRUTH = 3, 2, 30, 2.5


@pytest.fixture(scope="module")
def recorded():
    """Episodes of a cart of another mass than the model says, in each condition: (M, N, T, …)."""
    environment = MujocoEnv(M * N, mjcf=MODEL, state=STATE, frame_skip=2)
    conditions = [{**CONDITIONS[i // N], "body_mass": {"cart": TRUTH}} for i in range(M * N)]
    actions = np.random.default_rng(0).uniform(-1.0, 2.0, (M * N, T, 1))
    states = [environment.reset(options={"conditions": conditions})[0]]
    states += [environment.step(actions[:, t])[0] for t in range(T - 1)]
    return np.stack(states, axis=1).reshape(M, N, T, 3), actions.reshape(M, N, T, 1), np.ones((M, N, T), bool)


def make_simulator(conditions=CONDITIONS):
    environment = MujocoEnv(1, mjcf=MODEL, state=STATE, frame_skip=2)
    return MujocoSimulator(environment, {"body_mass": {"cart": [0.1, 10.0]}}, conditions, threads=1)


@pytest.fixture(scope="module")
def learner(recorded):
    return PhysicsLearner.of(make_simulator()).refit(Transitions.of(*recorded), 0)


def test_each_simulation_is_one_of_its_own_condition(recorded):
    states, actions, _ = recorded
    order = np.random.default_rng(1).permutation(M * N)
    x, u = (array.reshape(M * N, T, -1)[order] for array in (states, actions))
    simulator = make_simulator()
    for _ in range(2):  # also when a simulation had another condition before
        found = simulator.simulate(x[:, 0], u[:, :-1], np.full((M * N, 1), TRUTH), order // N)
        np.testing.assert_allclose(found, x[:, 1:], atol=1e-12)
        order, x, u = order[::-1], x[::-1], u[::-1]
    assert np.abs(states[0] - states[1]).max() > 0.1
    assert len(simulator.conditions) == M


def test_threads_that_simulate_at_the_same_time_do_not_disturb_each_other(recorded):
    states, actions, _ = recorded
    simulator, masses = make_simulator(), np.geomspace(0.2, 8.0, 24)

    def simulate(mass):
        where = np.arange(M * N) // N
        return simulator.simulate(states.reshape(M * N, T, 3)[:, 0], actions.reshape(M * N, T, 1),
                                  np.full((M * N, 1), mass), where)  # fmt: skip

    alone = [simulate(mass) for mass in masses]
    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(simulate, masses), alone, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_mass_is_found_from_episodes_of_all_conditions(learner):
    np.testing.assert_allclose(learner.values["body_mass:cart"][0], TRUTH, rtol=1e-6)
    alone = PhysicsLearner.of(make_simulator(CONDITIONS[1:2]))  # which knows the wall in one place only
    assert alone.refit(as_one(learner.data), 0).fit.noise.max() > 0.01 > 1e-6 > learner.fit.noise.max()


def as_one(data):
    """The transitions as those of one condition."""
    points = np.concatenate(data[:3], axis=1)[None, None]
    return Transitions(points, np.ones(points.shape[:3], bool))


def test_the_prior_and_the_calibration_are_those_of_each_condition(learner, recorded):
    belief = believe(learner.model, Transitions.of(*recorded), 3, 0)
    np.testing.assert_allclose(belief.values, recorded[0][:, :, 1:], atol=1e-5)
    assert calibrate(learner.model, *recorded, horizon=5).horizon_error.max() < 1e-4


def test_imagined_episodes_and_slopes_are_those_of_each_condition(learner, recorded):
    states, actions, _ = recorded
    plan = Controller(np.zeros((M, T, 1, 3)), actions[:, 0], np.zeros((M, T, 1, 1)))
    problem = Problem(cost=Sum(()), dx=3, du=1, horizon=T)
    dreamt = imagine(problem, learner.model, plan, states[:, :1, 0], seed=0)
    np.testing.assert_allclose(dreamt.states[:, 0], states[:, 0], atol=1e-3)
    slopes = np.asarray(linearise_along(problem, learner.model, dreamt).dynamics.matrix)
    at = jax.vmap(lambda m, x, u: for_condition(learner.model, m).linearise(x, u)[0])
    np.testing.assert_array_equal(slopes[:, 3], at(jnp.arange(3.0), dreamt.states[:, 0, 3], dreamt.actions[:, 0, 3]))


def test_a_residual_is_that_of_the_simulator_of_each_condition(recorded):
    learner = ResidualLearner(PhysicsLearner.of(make_simulator()), LinearLearner(3, 1))
    both = learner.refit(Transitions.of(*recorded), 0)
    left = both.residual.data.successors - both.residual.data.states
    np.testing.assert_allclose(left, 0.0, atol=1e-5)  # the simulator of each condition leaves nothing over
    x, u = recorded[0][:, 0, 5], recorded[1][:, 0, 5]
    after = jax.vmap(lambda m, x, u: for_condition(both.model, m).mean(x, u))(jnp.arange(3.0), x, u)
    np.testing.assert_allclose(after, recorded[0][:, 0, 6], atol=1e-5)


def test_a_simulator_with_a_residual_comes_back_from_a_file_and_from_the_state_of_a_run(recorded, tmp_path):
    transitions = Transitions.of(*recorded)
    empty = ResidualLearner(PhysicsLearner.of(make_simulator()), LinearLearner(3, 1))
    learner = empty.refit(transitions, 0)
    save_model(tmp_path / "model.npz", learner, System(3, 1), transitions.points[0, 0, 0, :4])
    found = read_model(tmp_path / "model.npz", lambda read: restore_learner(read, empty))
    assert found.kind == "physics + linear"
    x, u = recorded[0][0, 0, 5], recorded[1][0, 0, 5]
    np.testing.assert_array_equal(found.model.mean(x, u), learner.model.mean(x, u))
    assert found.learner.refit(transitions, 0).base.data.size == 2 * learner.base.data.size
    prior = ModelPrior(empty).refit(transitions, 0)
    again = ModelPrior(empty).restore(unflatten(prior.stored_type, flatten(prior)))
    np.testing.assert_array_equal(again.learner.model.mean(x, u), learner.model.mean(x, u))


def test_a_model_from_a_file_serves_in_conditions_that_it_was_not_fitted_in(learner, recorded, tmp_path):
    x, u = recorded[0][0, 0, 5], recorded[1][0, 0, 5]
    save_model(tmp_path / "model.npz", learner, System(3, 1), np.concatenate([x, u]))
    there = make_simulator(CONDITIONS[1:2])  # where the wall of the first condition does not stand
    found = read_model(tmp_path / "model.npz", lambda read: read.attach(there))
    np.testing.assert_array_equal(found.learner.fit.coordinates, learner.fit.coordinates)
    far = jax.jit(lambda model: model.mean(x, u))(found.model)
    assert np.abs(far - learner.model.mean(x, u)).max() > 0.1


def test_a_stored_learner_knows_its_conditions_again(learner):
    stored = unflatten(PhysicsLearner, flatten(learner))
    np.testing.assert_array_equal(stored.attach(make_simulator()).conditions, learner.conditions)
    other = stored.attach(make_simulator(({"qvel": [1.0]}, *CONDITIONS[:0:-1])))
    assert other.data.size == 2 / 3 * learner.data.size  # the first one is unknown there
    assert set(other.conditions) == {1, 2} and other.conditions[0] == 2
    np.testing.assert_array_equal(other.fit.coordinates, learner.fit.coordinates)


def test_more_conditions_than_the_simulator_knows_are_an_error(recorded):
    with pytest.raises(ConfigError, match="of 3 conditions, and the simulator knows 2"):
        PhysicsLearner.of(make_simulator(CONDITIONS[:2])).refit(Transitions.of(*recorded), 0)


def test_who_plans_in_one_model_for_all_conditions_refuses_one_that_differs():
    with pytest.raises(ConfigError, match=r"algorithm\.model: the conditions change the simulator's model"):
        require_one_system(PhysicsLearner.of(make_simulator()))
    require_one_system(PhysicsLearner.of(make_simulator(({"qvel": [0.1]}, {"qvel": [0.4]}))))  # only the start differs


def test_a_condition_that_the_environment_does_not_understand_is_an_error():
    with pytest.raises(ConfigError, match=r"condition 1: .*unknown key 'wal'"):
        make_simulator(({}, {"wal": 1}))
