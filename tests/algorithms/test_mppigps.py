"""MPPI with the policy in its weights: targets in closed form, learning to near the optimum, trouble in words."""

import dataclasses
from contextlib import closing

import numpy as np
import pytest
from helpers.bits import assert_same_bits
from helpers.experiments import POINT_MASS, changed, write
from helpers.linear_system import (
    DU,
    DX,
    PROBLEM,
    STARTS,
    BlindEnv,
    M,
    T,
    advance,
    cost_without_noise,
    cut,
    make_learner,
    make_problem,
    optimum,
    roll_out,
)
from scipy.optimize import brentq

from gps.algorithms.through_models.mppigps import MPPIGPS
from gps.algorithms.through_models.policy_search import PathIntegralSearch, Setting, find_targets, forecast
from gps.backend import jax, jnp
from gps.builders.algorithms.parts import find_observed
from gps.config import load
from gps.errors import ConfigError
from gps.experiment import Experiment
from gps.linear_gaussian.initial import zero
from gps.linear_gaussian.types import pytree
from gps.models.linear import LinearLearner
from gps.players import Player
from gps.policies.observed import Observed
from gps.policies.supervised import Samples, train
from gps.status import PolicyStatus, Status

N = 4
FIRST = zero(M, T, DX, DU, 0.5)
SEARCH = PathIntegralSearch(samples=64, rounds=3, horizon=T, particles=1, propagation="mean")
STILL = zero(M, T, DX, DU, 0.0)


OBSERVED = Observed(tuple(range(DX)))


def make_algorithm(problem=PROBLEM, observed=OBSERVED, model=None, **settings):
    settings = {"search": SEARCH, "kl_step": 2.0, **settings}
    learner = make_learner(observed.size, steps=500)
    return MPPIGPS(problem, learner, model=model or LinearLearner(DX, DU), observed=observed, **settings)


def learn(algorithm, iterations, **options):
    state, records = algorithm.begin(FIRST, STARTS), []
    for i in range(iterations):
        state, record = advance(algorithm, state, seed=i, samples=N, **options)
        records.append(record)
    return state, records


@pytest.fixture(scope="module")
def learned():
    made = make_algorithm()
    return made, *learn(made, 7)


def test_on_a_linear_system_the_policy_comes_near_the_optimum(learned):
    made, state, records = learned
    best = jax.tree.map(lambda array: np.tile(array, (M, *(1,) * array.ndim)), optimum())
    first, least, reached = (cost_without_noise(policy).sum() for policy in (STILL, best, made.learned(state)))
    assert reached - least < 0.03 * (first - least)
    assert records[-1].mean_cost.sum() < 0.3 * records[0].mean_cost.sum()  # with the noise of sampling
    assert [record.player for record in records] == [Player.FIRST] + [Player.POLICY] * 6
    for record in records:
        assert record.statuses == [Status.OK] * M and record.messages == ("",) * M and record.troubles == []
        assert record.local is None and record.policy.teacher is Player.PLANNER
        assert record.model.name == "linear"
        assert (record.planner.effective_samples > 1).all() and not record.planner.fallbacks.any()


def test_the_forecast_of_the_policys_episodes_comes_true_in_a_model_that_is_right(learned):
    _, _, records = learned
    assert np.isnan(records[0].planner.predicted).all() and records[0].planner.planned_states is None
    for record in records[1:]:
        np.testing.assert_allclose(record.planner.predicted, record.planner.actual, rtol=1e-6)
        np.testing.assert_allclose(record.planner.planned_states, record.rollouts.states[:, 0], atol=1e-6)


def test_the_same_seed_gives_the_same_bits(learned):
    _, state, records = learned
    again, repeated = learn(make_algorithm(), 7)
    assert_same_bits(again, state)
    assert_same_bits(repeated[-1], records[-1])


def test_a_policy_that_observes_a_part_of_the_state_learns_too():
    made = make_algorithm(observed=Observed((0, 1)))
    state, records = learn(made, 2, environment=BlindEnv)
    assert state.training.policy.network.vector_size == 2
    np.testing.assert_allclose(records[1].planner.predicted, records[1].planner.actual, rtol=1e-6)
    assert records[1].mean_cost.sum() < records[0].mean_cost.sum()


# -- the targets -----------------------------------------------------------------------------------------------------

CURVATURE = np.array([[3.0, 1.0], [1.0, 2.0]])
CHEAPEST = np.array([0.4, -0.2])


@pytree
class Still:
    """A system that never moves; where `broken`, from states with x₀ < 0 it goes to NaN."""

    broken: bool = dataclasses.field(default=False, metadata={"static": True})

    @property
    def deviations(self):
        return np.full(DX + DU, 0.5)  # so that the unit of an action is 1

    def mean(self, x, u):
        return jnp.where(self.broken & (x[0] < 0), jnp.nan, x)

    def deviation(self, x, u):
        return jnp.ones_like(x)


@dataclasses.dataclass(frozen=True)
class Fixed:
    """A learner whose model is always the same; None for none."""

    model: Still | None

    def refit(self, transitions, seed):
        return self

    def make_record(self):
        return None


def bowl(x, u, t):
    """½ (u − u*)ᵀ R (u − u*)."""
    return 0.5 * (u - CHEAPEST) @ CURVATURE @ (u - CHEAPEST)


def kl_of_gaussians(mean, precision, center, spread):
    """KL(N(mean, precision⁻¹) ‖ N(center, spread² I))."""
    e, du = mean - center, len(mean)
    trace = np.trace(np.linalg.inv(precision)) / spread**2
    return 0.5 * (trace - du + e @ e / spread**2 + 2 * du * np.log(spread) + np.linalg.slogdet(precision)[1])


@pytest.mark.parametrize("policy_weight", [0.0, 2.0])
def test_a_target_is_the_gaussian_of_the_bounded_update_in_closed_form(policy_weight):
    """Quadratic costs: N(ū, s² I) exp(−(S − λ_π log π) / λ) is Gaussian, and λ is where its KL to N(ū, s² I) is ε."""
    du, epsilon, spread = DU, 0.5, 0.3
    problem = make_problem(bowl, 1)
    rng = np.random.default_rng(0)
    training = make_learner(steps=50).training
    eyes = np.tile(25.0 * np.eye(du), (40, 1, 1))
    taught = Samples(rng.standard_normal((40, DX)), np.tile([-0.3, 0.1], (40, 1)), eyes, np.ones(40))
    policy = train(training, taught)[0].policy
    rollouts = cut(roll_out(make_algorithm().policy(make_algorithm().begin(FIRST, STARTS)), samples=1), 1, 1)
    arrays = {name: getattr(rollouts, name)[:, :, :1] for name in ("states", "actions", "noise", "rewards", "mask")}
    rollouts = dataclasses.replace(rollouts, **arrays)
    search = PathIntegralSearch(samples=40_000, rounds=1, horizon=1, spread=spread, particles=1, propagation="mean")
    setting = Setting.of(problem, Still(), bowl, policy, search, epsilon, OBSERVED)
    targets = find_targets(setting, rollouts, policy_weight, seed=3)
    np.testing.assert_allclose(targets.kl[:, :, 0], epsilon, rtol=1e-6)
    for m in range(M):
        center = policy.act(rollouts.states[m, 0, 0])
        pull = policy_weight * np.linalg.inv(policy.covariance)

        def posterior(temperature, center=center, pull=pull):
            precision = np.eye(du) / spread**2 + (CURVATURE + pull) / temperature
            right = center / spread**2 + (CURVATURE @ CHEAPEST + pull @ center) / temperature
            return np.linalg.solve(precision, right), precision

        log_temperature = brentq(
            lambda log, center=center: kl_of_gaussians(*posterior(np.exp(log)), center, spread) - epsilon, -8, 8
        )
        mean, precision = posterior(np.exp(log_temperature))
        np.testing.assert_allclose(targets.actions[m, 0, 0], mean, atol=0.01)
        np.testing.assert_allclose(targets.precisions[m, 0, 0], precision, rtol=0.1, atol=0.1 * precision.max())


def test_the_policy_in_the_weights_draws_the_targets_to_it(learned):
    made, state, records = learned
    rollouts, kept = records[-1].rollouts, []
    for weight in (0.0, 0.1, 10.0):
        setting = Setting.of(
            PROBLEM, state.model.model, PROBLEM.cost, state.training.policy, SEARCH, 2.0, made.observed
        )
        targets = find_targets(setting, rollouts, weight, seed=0)
        kept.append(np.linalg.norm(targets.actions - state.training.policy.act(rollouts.states)))
    assert kept[0] > 1.2 * kept[1] > 1.2 * kept[2]


def test_a_forecast_is_the_rollout_step_by_step(learned):
    made, state, _ = learned
    policy, model = state.training.policy, state.model.model
    setting = Setting.of(PROBLEM, model, PROBLEM.cost, policy, SEARCH, 2.0, made.observed)
    noise = 0.1 * np.random.default_rng(1).standard_normal((M, 1, T, DU))
    costs, states = forecast(setting, STARTS[:, None], noise)
    for m, x in enumerate(STARTS):
        for t in range(T):
            u = policy.act(x) + noise[m, 0, t]
            np.testing.assert_allclose(states[m, 0, t], x, atol=1e-9)
            np.testing.assert_allclose(costs[m, 0, t], PROBLEM.cost(x, u, t), rtol=1e-9)
            x = np.asarray(model.mean(x, u))


# -- trouble ---------------------------------------------------------------------------------------------------------


def test_while_there_is_no_model_the_first_controllers_go_on():
    made = make_algorithm(model=Fixed(None))
    state, (record,) = learn(made, 1)
    assert record.statuses == [Status.NO_MODEL] * M
    assert record.policy.mean_status is PolicyStatus.WARM_UP and record.planner is None
    assert made.policy(state).player is made.learned(state).player is Player.FIRST
    assert made.policy(state).covariance.any() and not made.learned(state).covariance.any()


def test_where_the_model_explodes_a_condition_teaches_nothing():
    made = make_algorithm(model=Fixed(Still(broken=True)))
    state = made.begin(FIRST, STARTS)

    def split(rollouts):
        """Condition 0 is where the model breaks; condition 1 is there at step 2 alone."""
        states = np.abs(rollouts.states) + 0.1
        states[0] *= -1.0
        states[1, :, 2] *= -1.0
        return dataclasses.replace(rollouts, states=states)

    state, record = advance(made, state, split, samples=N)
    assert record.statuses == [Status.NOT_FINITE, Status.SAMPLES_DROPPED]
    assert f"In {N * T} of {N * T} states no sequence of actions had a finite cost" in record.messages[0]
    assert f"In {N} of {N * T} states no sequence of actions had a finite cost" in record.messages[1]
    assert record.planner.fallbacks.tolist() == [N * T, N]
    assert np.isnan(record.planner.effective_samples[0]).all()
    assert "Condition 0 taught it nothing." in record.policy.message
    assert np.isnan(record.policy.kl[0]).all() and np.isfinite(record.policy.kl[1, 3:]).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.training.policy))


def test_a_cost_that_is_the_same_everywhere_teaches_nothing():
    made = make_algorithm(make_problem(lambda x, u, t: jnp.ones(())), model=Fixed(Still()))
    state, (record,) = learn(made, 1)
    assert record.statuses == [Status.NO_PREFERENCE] * M
    assert "all sequences cost the same" in record.messages[0]
    assert record.policy.mean_status is PolicyStatus.NO_SAMPLES
    assert not state.training.trained


def test_a_condition_without_samples_leaves_the_other_to_teach():
    made = make_algorithm()
    state, record = advance(made, made.begin(FIRST, STARTS), lambda rollouts: cut(rollouts, T, 0), samples=N)
    assert record.statuses == [Status.OK, Status.NO_VALID_SAMPLES]
    assert state.training.trained and "Condition 1 taught it nothing." in record.policy.message


# -- the configuration -----------------------------------------------------------------------------------------------

MPPIGPS_ON_POINTS = changed(
    POINT_MASS, algorithm={"name": "mppigps", "model": "linear", "policy": {"hidden": [4], "steps": 20}}
)


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        (
            {"kl_step": 5.0, "search": {"samples": 100}},
            r"kl_step = 5 is not below the logarithm of search.samples, 4.61",
        ),
        ({"kl_step": 0.0}, "kl_step"),
        ({"policy_weight": -1.0}, "policy_weight"),
        ({"search": {"propagation": "ts2"}}, "propagation"),
    ],
)
def test_a_bad_setting_is_named(tmp_path, keys, match):
    with pytest.raises(ConfigError, match=match):
        load(write(tmp_path, MPPIGPS_ON_POINTS, algorithm=keys))


def test_a_policy_may_observe_parts_of_the_state_and_nothing_else(tmp_path):
    folder = write(tmp_path, MPPIGPS_ON_POINTS, environment={"observation": ["qvel", "qpos[1]"]})
    with closing(Experiment(load(folder), folder)) as built:
        assert find_observed(built.problem, built.environment).entries == (2, 3, 1)
    folder = write(tmp_path, MPPIGPS_ON_POINTS, environment={"state": ["qpos"], "observation": ["qpos", "qvel"]})
    with pytest.raises(ConfigError, match="qvel is no part of the state"):
        Experiment(load(folder), folder)
