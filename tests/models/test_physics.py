"""Physics with unknown parameters: the fit against the truth, what the data do not fix, and the model's functions."""

import dataclasses

import numpy as np
import pytest

from benchmarks.identification import ARM, TRUTH, declare, record_arm
from gps.backend import jax, jnp
from gps.dynamics.prior import Transitions
from gps.environments.mujoco import MujocoEnv
from gps.environments.mujoco.simulator import MujocoSimulator
from gps.errors import ConfigError
from gps.models.data import Dataset
from gps.models.physics.fitting import FitSettings, fit_physics
from gps.models.physics.identifiability import explain_loose, form_belief
from gps.models.physics.learner import PhysicsLearner
from gps.models.physics.parameters import Coordinates, make_parameter
from gps.models.physics.windows import Windows
from gps.status import ModelStatus
from gps.storage.serialization import flatten, unflatten

SLIDER = """<mujoco><option timestep="0.01" gravity="0 0 0"/><worldbody>
<body name="cart"><joint name="rail" type="slide" axis="1 0 0"/><geom size=".1" mass="1"/></body>
</worldbody><actuator><motor name="motor" joint="rail" gear="2"/></actuator></mujoco>"""


def make_slider(table, **options):
    return MujocoSimulator(MujocoEnv(1, mjcf=SLIDER), table, threads=1, **options)


def record(simulator, truth, noise=0.0, n=60, seed=0, episodes=1):
    """Episodes of a simulator under random actions."""
    rng = np.random.default_rng(seed)
    u = rng.normal(size=(episodes, n, simulator.du))
    x0 = np.zeros((episodes, simulator.dx))
    x = simulator.simulate(x0, u, np.tile(np.asarray(truth, float), (episodes, 1)))
    x = np.concatenate([x0[:, None], x], axis=1)
    x = x + noise * rng.normal(size=x.shape)
    flat = [array.reshape(episodes * n, -1) for array in (x[:, :-1], u, x[:, 1:])]
    return Dataset(*flat, np.repeat(np.arange(episodes), n))


@pytest.fixture(scope="module")
def arm():
    return MujocoSimulator(MujocoEnv(1, mjcf=ARM), declare(), threads=2)


@pytest.fixture(scope="module")
def fitted(arm):
    return fit_physics(arm, record_arm(arm, noise=1e-3, seed=3))


@pytest.fixture(scope="module")
def learner(arm):
    return PhysicsLearner.of(arm).refit(as_transitions(record_arm(arm, noise=1e-3, seed=0, steps=80)), 0)


def as_transitions(data):
    points = np.concatenate(data[:3], axis=1)[None, None]
    return Transitions(points, np.ones(points.shape[:3], bool))


# -- the fit -----------------------------------------------------------------------------------------------------------


def test_data_without_noise_give_the_parameters_from_starts_that_are_off_by_five_times(arm):
    found = fit_physics(arm, record_arm(arm, noise=0.0))
    values = Coordinates.of(arm.parameters).decode(found.fit.coordinates)
    np.testing.assert_allclose(values, TRUTH, rtol=1e-4)
    assert found.status is ModelStatus.OK and found.message == ""


def test_masses_are_found_to_half_a_per_cent_in_noise(arm, fitted):
    values = Coordinates.of(arm.parameters).decode(fitted.fit.coordinates)
    np.testing.assert_allclose(values[:2], TRUTH[:2], rtol=5e-3)
    np.testing.assert_allclose(fitted.fit.measurement, 1e-3, rtol=0.3)
    assert fitted.fit.loss == pytest.approx(0.5, rel=0.2)


@pytest.mark.parametrize("system", [False, True], ids=["measurements", "system"])
def test_the_stated_intervals_hold_the_truth_as_often_as_they_say(system):
    simulator = make_slider({"body_mass": {"cart": [0.1, 10.0]}, "dof_damping": {"rail": [0.01, 10.0]}})
    scale, truth = Coordinates.of(simulator.parameters), np.array([1.0, 0.5])
    settings, inside = FitSettings(evaluations=30), []
    for seed in range(20):
        data = record(simulator, truth, 0.0 if system else 1e-3, seed=seed)
        if system:
            rng, x = np.random.default_rng(seed), np.zeros((61, 2))
            for t in range(60):
                x[t + 1] = simulator.simulate(x[t][None], data.actions[None, t : t + 1], truth[None])[0, 0]
                x[t + 1] += 1e-3 * rng.normal(size=2)
            data = data._replace(states=x[:-1], successors=x[1:])
        fit = fit_physics(simulator, data, settings).fit
        deviation = np.linalg.norm(fit.factor, axis=1)
        inside.append(np.abs(fit.coordinates - scale.encode(truth)) < 1.96 * deviation)
    assert 0.85 <= np.mean(inside) <= 1.0


def test_the_fit_is_the_same_on_any_number_of_threads_and_when_it_is_repeated(fitted):
    for threads in (1, 2):
        simulator = MujocoSimulator(MujocoEnv(1, mjcf=ARM), declare(), threads=threads)
        again = fit_physics(simulator, record_arm(simulator, noise=1e-3, seed=3)).fit
        np.testing.assert_array_equal(again.coordinates, fitted.fit.coordinates)
        np.testing.assert_array_equal(again.factor, fitted.fit.factor)


# -- what the data fix -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_of_mass_and_gear_of_a_free_slider_only_the_ratio_is_known(noise):
    simulator = make_slider({"body_mass": {"cart": [0.1, 10.0]}, "actuator_gear[0]": {"motor": [0.1, 20.0]}})
    found = fit_physics(simulator, record(simulator, [1.0, 2.0], noise))
    assert found.status is ModelStatus.NOT_IDENTIFIABLE
    assert found.message == "the data fix only the ratio of body_mass:cart and actuator_gear[0]:motor"
    assert found.fit.coordinates[1] - found.fit.coordinates[0] == pytest.approx(np.log(2.0), abs=0.01)
    assert np.linalg.norm(found.fit.factor, axis=1).min() > 1.0


DOUBLE_PENDULUM = """<mujoco><option timestep="0.01" integrator="RK4"/><worldbody>
<body name="upper"><joint name="shoulder" axis="0 1 0"/>
<inertial pos="0 0 -.2" mass=".5" diaginertia=".011 .011 .001"/>
<body name="lower" pos="0 0 -.2"><joint name="elbow" axis="0 1 0"/>
<inertial pos="0 0 -.25" mass=".6" diaginertia=".01 .01 .001"/></body></body>
</worldbody><actuator><motor joint="elbow" gear="6"/></actuator></mujoco>"""
INERTIAL = {
    "body_mass": {"upper": {"bounds": [0.05, 5.0], "start": 1.2}, "lower": {"bounds": [0.06, 6.0], "start": 0.25}},
    "body_inertia[1]": {"upper": [0.001, 0.1], "lower": {"bounds": [0.001, 0.1], "start": 0.03}},
    "body_ipos[2]": {"lower": {"bounds": [-0.6, -0.05], "start": -0.1}},
}


@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_five_inertial_parameters_of_a_double_pendulum_have_one_combination_that_no_motion_shows(noise):
    """A mass of the lower link at the elbow is one of the upper link there; also where the data have no noise."""
    simulator = MujocoSimulator(MujocoEnv(1, mjcf=DOUBLE_PENDULUM), INERTIAL, threads=1)
    truth = np.array([0.5, 0.6, 0.011, 0.01, -0.25])
    found = fit_physics(simulator, record(simulator, truth, noise, n=150))
    assert found.status is ModelStatus.NOT_IDENTIFIABLE and len(found.fit.loose) == 1
    coordinates = Coordinates.of(simulator.parameters)
    deviation = np.linalg.norm(found.fit.factor, axis=1)
    np.testing.assert_array_less(np.abs(found.fit.coordinates - coordinates.encode(truth)), 3 * deviation + 1e-6)

    def find_moments(values):
        upper, lower, _, inertia, r = values
        return np.array([0.2 * (upper + lower), lower * -r, inertia + lower * r**2])

    found_values = coordinates.decode(found.fit.coordinates)
    np.testing.assert_allclose(find_moments(found_values), find_moments(truth), rtol=1e-5 + 300 * noise)


def test_a_parameter_without_effect_is_named_and_stays_at_its_start():
    table = {"body_mass": {"cart": [0.1, 10.0]}, "gravity": {"bounds": [1.0, 20.0], "start": 5.0}}
    simulator = make_slider(table)
    found = fit_physics(simulator, record(simulator, [2.0, 5.0], 1e-3))
    assert found.status is ModelStatus.NOT_IDENTIFIABLE and "the data do not fix gravity" in found.message
    np.testing.assert_allclose(Coordinates.of(simulator.parameters).decode(found.fit.coordinates), [2, 5], rtol=0.02)


def test_products_powers_and_larger_combinations_are_told_apart():
    parameters = [make_parameter(name, 0.1, 10.0) for name in "abc"]
    scale = Coordinates.of(parameters)
    product = form_belief(np.array([[1e3, 1e3, 0.0], [0.0, 0.0, 1e3]]), scale).loose
    assert explain_loose(product, parameters) == "the data fix only the product of a and b"
    power = form_belief(np.array([[1e3, 2e3, 0.0], [0.0, 0.0, 1e3]]), scale).loose
    assert explain_loose(power, parameters).startswith("of a and b the data fix only")
    one = form_belief(np.array([[1e3, 1e3, 1e3]]), scale).loose
    assert len(one) == 2
    three = form_belief(np.array([[1e3, 1e3, 1e3], [0.0, 0.0, 1e-9], [1e3, -1e3, 0.0]]), scale).loose
    assert "the combination" in explain_loose(three, parameters)


def test_the_belief_is_the_least_squares_covariance_where_the_data_fix_everything():
    J = np.random.default_rng(0).normal(size=(50, 3)) * 100.0
    scale = Coordinates.of([make_parameter(name, 0.1, 10.0) for name in "abc"])
    belief = form_belief(J, scale)
    np.testing.assert_allclose(belief.factor @ belief.factor.T, np.linalg.inv(J.T @ J), rtol=1e-9)
    assert not len(belief.loose)


def test_a_belief_widens_where_the_errors_pull_more_than_they_should():
    rng = np.random.default_rng(0)
    J = rng.normal(size=(400, 2)) * 100.0
    scale = Coordinates.of([make_parameter(name, 0.1, 10.0) for name in "ab"])
    own = form_belief(J, scale).factor
    for size, expected in ((1.0, 1.0), (5.0, 5.0)):
        scores = (J * size * rng.normal(size=(400, 1))).reshape(40, 10, 2).sum(axis=1)
        found = form_belief(J, scale, scores).factor
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), expected * np.linalg.norm(own, axis=1), rtol=0.3)


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_too_few_data_and_data_that_never_vary_have_a_status():
    simulator = make_slider({"body_mass": {"cart": [0.1, 10.0]}})
    assert fit_physics(simulator, Dataset.empty(2, 1)).status is ModelStatus.TOO_FEW_POINTS
    still = Dataset(np.zeros((9, 2)), np.zeros((9, 1)), np.zeros((9, 2)), np.zeros(9, int))
    assert fit_physics(simulator, still).status is ModelStatus.NO_VARIATION


def test_transitions_that_are_not_finite_are_left_out():
    simulator = make_slider({"body_mass": {"cart": [0.1, 10.0]}})
    data = record(simulator, [3.0])
    states = data.states.copy()
    states[17, 1] = np.nan
    found = fit_physics(simulator, data._replace(states=states)).fit
    assert found.points == 59 and np.exp(found.coordinates[0]) == pytest.approx(3.0, rel=1e-4)


def test_windows_that_diverge_are_left_out_and_counted():
    simulator = make_slider({"body_mass": {"cart": [0.1, 10.0]}})
    data = record(simulator, [3.0])
    states, actions = data.states.copy(), data.actions.copy()
    actions[12] = 1e300
    found = fit_physics(simulator, data._replace(states=states, actions=actions))
    assert found.fit.diverged == 1 and "1 of 12 windows diverge" in found.message
    assert np.exp(found.fit.coordinates[0]) == pytest.approx(3.0, rel=1e-4)


def test_a_search_that_spends_its_iterations_says_so(arm):
    found = fit_physics(arm, record_arm(arm, noise=1e-3), FitSettings(evaluations=1))
    assert found.status in (ModelStatus.NOT_CONVERGED, ModelStatus.NOT_IDENTIFIABLE)
    assert "the search spent its iterations" in found.message


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"body_mas": {"cart": [1, 2]}}, "did you mean 'body_mass'"),
        ({"body_mass": {"cat": [1, 2]}}, "did you mean 'cart'"),
        ({"body_mass": {"cart": [2, 1]}}, "the lower bound 2 must be below the upper bound 1"),
        ({"body_mass": {"cart": [0, 1]}}, "a mass must be positive"),
        ({"body_mass": {"cart": [0.5, float("inf")]}}, "must be finite"),
        ({"body_mass": {"cart": ["a", 2]}}, "expected numbers"),
        ({"body_mass": {"cart": {"bounds": [1, 2], "start": 3}}}, "must be within the bounds"),
        ({"body_mass": {"cart": {"bound": [1, 2]}}}, "unknown key 'bound'"),
        ({"body_mass": {"*": [1, 2]}}, "name one object"),
        ({"body_mass": [1, 2]}, "expected a table of objects"),
        ({"actuator_gear": {"motor": [1, 2]}}, "choose one, as in actuator_gear[0]"),
        ({"actuator_gear[9]": {"motor": [1, 2]}}, "counted from 0"),
        ({"gravity": 9.81}, "expected the bounds"),
    ],
)
def test_a_bad_table_names_the_cause(table, said):
    with pytest.raises(ConfigError) as caught:
        make_slider(table)
    assert said in str(caught.value)


def test_bounds_of_the_settings_are_checked(arm):
    with pytest.raises(ConfigError, match="length must be at least 1"):
        PhysicsLearner.of(arm, FitSettings(length=0))
    with pytest.raises(ConfigError, match="choose at least one"):
        PhysicsLearner.of(make_slider({}))


# -- windows -----------------------------------------------------------------------------------------------------------


def test_windows_do_not_cross_the_ends_of_episodes_or_gaps():
    simulator = make_slider({"body_mass": {"cart": [0.1, 10.0]}})
    data = record(simulator, [1.0], n=12, episodes=2)
    windows = Windows.cut(data, 5)
    assert windows.mask.sum(axis=1).tolist() == [5, 5, 2, 5, 5, 2]
    assert windows.follows.tolist() == [False, True, True, False, True, True]
    gap = Windows.cut(data.take(np.delete(np.arange(24), 6)), 5)
    assert gap.mask.sum(axis=1).tolist() == [5, 1, 5, 5, 5, 2]
    assert not gap.follows[2]
    np.testing.assert_array_equal(windows.states[1, 0], windows.successors[0, 4])


# -- the model ---------------------------------------------------------------------------------------------------------


X, U = jnp.array([0.3, -0.2, 1.0, 2.0]), jnp.array([0.5, 0.1])


def test_the_mean_is_the_simulation_also_in_batches(learner, arm):
    model, values = learner.model, np.asarray(learner.model.values)[None]
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(3, 4, 4)), rng.normal(size=(3, 4, 2))
    found = jax.jit(jax.vmap(jax.vmap(model.mean)))(x, u)
    expected = arm.simulate(x.reshape(12, 4), u.reshape(12, 1, 2), np.tile(values, (12, 1)))[:, 0]
    np.testing.assert_allclose(np.asarray(found).reshape(12, 4), expected, rtol=1e-12)
    np.testing.assert_allclose(model.predict(x[0], u[0]), found[0], rtol=1e-12)


def test_slopes_forward_and_backward_are_finite_differences(learner):
    model, h = learner.model, 1e-6
    F, c = model.linearise(X, U)
    for differentiate in (jax.jacfwd, jax.jacrev):
        np.testing.assert_allclose(np.concatenate(differentiate(model.mean, (0, 1))(X, U), axis=1), F, atol=1e-12)
    z = np.concatenate([X, U])
    for i in range(6):
        ahead, behind = z + h * np.eye(6)[i], z - h * np.eye(6)[i]
        slope = (model.mean(ahead[:4], ahead[4:]) - model.mean(behind[:4], behind[4:])) / (2 * h)
        np.testing.assert_allclose(F[:, i], slope, atol=1e-6)
    np.testing.assert_allclose(F @ z + c, model.mean(X, U), atol=1e-12)


def test_slopes_go_through_scans_and_maps(learner):
    model = learner.model

    def end(u):
        return jax.lax.scan(lambda x, u: (model.mean(x, u), None), X, u)[0].sum()

    u, h = jnp.full((4, 2), 0.3), 1e-5
    slope = jax.jit(jax.grad(end))(u)
    moved = u.at[1, 0].add(h), u.at[1, 0].add(-h)
    assert slope[1, 0] == pytest.approx(float(end(moved[0]) - end(moved[1])) / (2 * h), rel=1e-5)
    many = jax.vmap(jax.grad(end))(jnp.stack([u, 2 * u]))
    np.testing.assert_allclose(many[0], slope, rtol=1e-9)


def test_the_doubt_is_that_of_drawn_functions(learner):
    model = dataclasses.replace(learner.model, factor=5.0 * learner.model.factor)
    drawn = model.draw(jax.random.key(0), 500)
    after = jax.vmap(lambda function: function(X, U))(drawn)
    doubt = np.linalg.norm(model.parameter_slopes(X, U) @ model.factor, axis=1)
    np.testing.assert_allclose(after.std(axis=0), doubt, rtol=0.15)
    np.testing.assert_allclose(model.deviation(X, U) ** 2, model.noise**2 + doubt**2, rtol=1e-12)
    noisy = jax.vmap(lambda function, key: function(X, U, key))(drawn, jax.random.split(jax.random.key(1), 500))
    np.testing.assert_allclose(noisy.std(axis=0), model.deviation(X, U), rtol=0.15)
    samples = jax.vmap(lambda key: model.sample(X, U, key))(jax.random.split(jax.random.key(2), 500))
    np.testing.assert_allclose(samples.std(axis=0), model.deviation(X, U), rtol=0.15)


def test_the_covariance_of_slopes_is_that_of_drawn_functions(learner):
    model = dataclasses.replace(learner.model, factor=5.0 * learner.model.factor)
    drawn = model.draw(jax.random.key(0), 500)
    slopes = np.asarray(jax.vmap(lambda function: jnp.concatenate(jax.jacfwd(function, (0, 1))(X, U), axis=1))(drawn))
    covariances = np.einsum("nij,nil->ijl", *[slopes - slopes.mean(axis=0)] * 2) / len(slopes)
    found = np.asarray(model.slope_covariance(X, U))
    for row in (2, 3):
        np.testing.assert_allclose(found[row], covariances[row], atol=0.25 * np.abs(covariances[row]).max())


def test_draws_stay_within_the_bounds(arm, learner):
    model = dataclasses.replace(learner.model, factor=np.eye(6) * 100.0)
    values = np.asarray(model.draw(jax.random.key(0), 50).values)
    scale = Coordinates.of(arm.parameters)
    assert (values >= scale.low * (1 - 1e-12)).all() and (values <= scale.high * (1 + 1e-12)).all()


# -- the learner -------------------------------------------------------------------------------------------------------


def test_a_stored_learner_goes_on_as_if_it_had_never_been_stored(arm, learner):
    stored = unflatten(PhysicsLearner, flatten(learner))
    with pytest.raises(ConfigError, match="attach its simulator"):
        _ = stored.model
    more = as_transitions(record_arm(arm, noise=1e-3, seed=7, steps=40))
    one, other = (item.refit(more, 0) for item in (learner, stored.attach(arm)))
    for key, array in flatten(one).items():
        np.testing.assert_array_equal(array, flatten(other)[key])
    with pytest.raises(ConfigError, match="are not those of the simulator"):
        stored.attach(make_slider({"body_mass": {"cart": [0.1, 10.0]}}))


def test_the_record_has_the_estimates_and_the_error_on_new_data(arm, learner):
    assert PhysicsLearner.of(arm).make_record() is None and PhysicsLearner.of(arm).model is None
    record = learner.make_record()
    assert record.name == "physics" and record.points == 80 and record.one_step_error is None
    assert record.message.startswith("body_mass:upper ") and "±" in record.message
    later = learner.refit(as_transitions(record_arm(arm, noise=1e-3, seed=7, steps=60)), 0).make_record()
    assert later.points == 140
    np.testing.assert_allclose(later.one_step_error, 1.4e-3, rtol=0.4)
    np.testing.assert_allclose(later.coverage, [0.68, 0.95], atol=0.1)


def test_a_failed_fit_keeps_the_last_good_model(arm, learner):
    broken = dataclasses.replace(learner, data=None)._with(arm)
    bad = as_transitions(Dataset(np.zeros((1, 4)), np.zeros((1, 2)), np.zeros((1, 4)), np.zeros(1, int)))
    kept = broken.refit(bad, 0)
    assert kept.status is ModelStatus.TOO_FEW_POINTS
    np.testing.assert_array_equal(kept.fit.coordinates, learner.fit.coordinates)
