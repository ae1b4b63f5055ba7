"""Version 2.0: gradients against finite differences and closed forms, LQR's gain, the KL bound, trouble in words."""

import dataclasses
from contextlib import closing

import equinox as eqx
import numpy as np
import pytest
import scipy.linalg
from helpers.bits import assert_same_bits
from helpers.experiments import POINT_MASS, changed, write
from helpers.linear_system import (
    COST,
    DU,
    DX,
    PROBLEM,
    STARTS,
    A,
    B,
    M,
    T,
    advance,
    cost_without_noise,
    cut,
    make_problem,
    optimum,
    roll_out,
)

from gps.algorithms.through_models.ascent import AdamAscent, NaturalAscent, PolicyInTraining
from gps.algorithms.through_models.imagination import Imagination
from gps.algorithms.through_models.imagining import (
    Box,
    ExpectedCost,
    ImaginedSetting,
    ImaginedStarts,
    evaluate_policy,
    find_means_along,
    imagine_observations,
    imagine_returns,
    measure_gradients,
)
from gps.algorithms.through_models.policy_backprop import PolicyBackprop
from gps.algorithms.through_models.value import (
    TerminalValue,
    ValueOptions,
    begin_value,
    count_inputs,
    find_returns,
    fit_value,
)
from gps.algorithms.through_models.visited import Visited
from gps.backend import jax, jnp
from gps.config import load
from gps.errors import ConfigError
from gps.experiment import Experiment
from gps.linear_gaussian.initial import zero
from gps.linear_gaussian.types import pytree
from gps.models.linear import LinearLearner
from gps.networks import GRU, Affine, BoundedPerceptron
from gps.networks.fitting import FitOptions
from gps.planning.sequences import ActionRange
from gps.players import Player
from gps.policies import NeuralPolicy
from gps.policies.natural_gradient import mean_kl
from gps.policies.observed import Observed
from gps.status import PolicyStatus, Status

N = 4
KEY = jax.random.key(0)
FIRST = zero(M, T, DX, DU, 0.5)
STILL = zero(M, T, DX, DU, 0.0)
FREE = [-np.inf] * DU, [np.inf] * DU
MEAN = Imagination(episodes=20, propagation="mean")


def make_network(kind="mlp", limits=FREE, squash="none"):
    match kind:
        case "mlp":
            return BoundedPerceptron.create(DX, *limits, KEY, (16,), squash=squash)
        case "gru":
            return GRU.create(DX, *limits, KEY, 8, squash=squash)
        case _:
            return Affine.create(DX, *limits, KEY, squash=squash, spread=0.1)


def make_algorithm(kind="mlp", problem=PROBLEM, model=None, **settings):
    settings = {"imagination": MEAN, "updates": 10, "ascent": NaturalAscent(0.3), **settings}
    training = PolicyInTraining.begin(NeuralPolicy.untrained(make_network(kind)))
    model = model or LinearLearner(DX, DU)
    return PolicyBackprop(problem, training, model=model, observed=Observed(tuple(range(DX))), **settings)


def learn(algorithm, iterations):
    state, records = algorithm.begin(FIRST, STARTS), []
    for i in range(iterations):
        state, record = advance(algorithm, state, seed=i, samples=N)
        records.append(record)
    return state, records


@pytree
class Known:
    """A known system x' = A x + B u with the noise 0.1 and two beliefs about B."""

    matrix: np.ndarray
    entry: np.ndarray

    @property
    def deviations(self):
        return np.ones(DX + DU)

    def mean(self, x, u):
        return self.matrix @ x + self.entry @ u

    def draw(self, key, count):
        factors = 1.0 + 0.3 * jax.random.normal(key, (count, 1, 1))
        return Drawn(jnp.broadcast_to(self.matrix, (count, DX, DX)), factors * self.entry)


@pytree
class Drawn:
    """A system drawn from the belief of `Known`."""

    matrix: np.ndarray
    entry: np.ndarray

    def __call__(self, x, u, key=None):
        noise = 0.0 if key is None else 0.1 * jax.random.normal(key, x.shape)
        return self.matrix @ x + self.entry @ u + noise


@dataclasses.dataclass(frozen=True)
class Fixed:
    """A learner whose model is always the same; None for none."""

    model: Known | None

    def refit(self, transitions, seed):
        return self

    def make_record(self):
        return None


def make_setting(matrix=A, steps=6, drawn=False, clip=np.inf, cost=COST, value=None, end=T, limits=(-np.inf, np.inf)):
    return ImaginedSetting(
        model=Known(matrix, B),
        cost=cost,
        value=value,
        range=ActionRange.of(*limits, np.full(DU, 0.5)),
        box=Box(np.full(DX, -1e6), np.full(DX, 1e6), np.ones(DX)),
        observed=Observed(tuple(range(DX))),
        end=np.int32(end),
        clip=np.asarray(clip),
        steps=steps,
        drawn=drawn,
        kinds="",
    )


def make_starts(P=2, S=3, memory=0, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    steps = rng.integers(0, 3, (P, S)).astype(np.int32)
    states, nothing = spread * rng.normal(size=(P, S, DX)), np.zeros((P, S, 0))
    return ImaginedStarts(states, steps, np.zeros((P, S, memory)), nothing, np.uint32(seed))


def make_policy(kind="mlp", deviation=0.1, **options):
    return NeuralPolicy.untrained(make_network(kind, **options), deviation)


def find_slope(policy, setting, starts):
    """The gradient of the objective in the network's parameters, as a vector, and the function of such a vector."""
    flat, unravel = jax.flatten_util.ravel_pytree(policy.network)

    def value(vector):
        return ExpectedCost(setting, starts)(dataclasses.replace(policy, network=unravel(vector)))

    return np.asarray(jax.jit(jax.grad(value))(flat)), jax.jit(value), np.asarray(flat)


# -- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mlp", "gru", "affine"])
@pytest.mark.parametrize("drawn", [False, True], ids=["mean", "drawn"])
def test_the_gradient_is_that_of_finite_differences(kind, drawn):
    """Drawn functions, noise of the system and noise of the policy are all fixed: the cost is a smooth function."""
    policy = make_policy(kind)
    starts = make_starts(memory=8 if kind == "gru" else 0)
    slope, value, flat = find_slope(policy, make_setting(drawn=drawn), starts)
    rng = np.random.default_rng(1)
    for _ in range(5):
        way = rng.normal(size=flat.shape)
        step = 1e-5
        difference = (value(flat + step * way) - value(flat - step * way)) / (2 * step)
        np.testing.assert_allclose(slope @ way, difference, rtol=1e-6)


def test_the_size_of_the_gradient_is_that_of_the_product_of_slopes():
    """ℓ_h = ½ x_hᵀ C x_h + … along x' = (A + B K) x: ∂ℓ_h/∂u_0 = C (x_h − x*) (A + B K)^{h−1} B."""
    policy = make_policy("affine", deviation=1e-8)
    K = np.asarray(policy.mean(np.eye(DX)) - policy.mean(np.zeros(DX))).T
    starts = make_starts(1, 1)._replace(steps=np.zeros((1, 1), np.int32))
    setting = make_setting(steps=T)
    found = np.asarray(measure_gradients(policy, setting, starts))
    x, slope = starts.states[0, 0], np.eye(DX)
    width = setting.range.width
    for h in range(T):
        u = policy.act(x)
        if h:
            along_u = jax.grad(COST, 1)(x, u, h) @ K
            expected = (np.asarray(jax.grad(COST)(x, u, h)) + along_u) @ slope @ B
        else:
            expected = np.asarray(jax.grad(COST, 1)(x, u, h))
        np.testing.assert_allclose(found[h], np.linalg.norm(expected * width), rtol=1e-4)
        slope = slope if h == 0 else (A + B @ K) @ slope
        x = A @ x + B @ u


def test_what_flows_back_through_a_state_is_limited():
    unstable = 3.0 * np.eye(DX)
    policy, starts = make_policy("affine"), make_starts()
    free, limited = (
        find_slope(policy, make_setting(unstable, steps=10, clip=clip), starts)[0] for clip in (np.inf, 10.0)
    )
    assert np.linalg.norm(free) > 10 * np.linalg.norm(limited) > 0  # the observations themselves explode, too
    wide = find_slope(policy, make_setting(steps=6, clip=1e9), starts)[0]
    np.testing.assert_array_equal(wide, find_slope(policy, make_setting(steps=6), starts)[0])


def test_a_gradient_that_is_not_finite_stops_at_its_state():
    @eqx.filter_jit
    def root(x, u, t):
        return jnp.sqrt(jnp.sum(x**2)) + jnp.sum(u**2)  # its slope at 0 is NaN

    starts = make_starts(1, 2)
    starts.states[0, 0] = 0.0
    slope, _, _ = find_slope(make_policy("mlp"), make_setting(cost=root, clip=100.0), starts)
    assert np.isfinite(slope).all() and slope.any()


def test_a_policy_beyond_a_limit_comes_back_and_does_not_go_further():
    limits = (-1.0, 1.0)

    def slope_of_bias(target):
        cost = lambda x, u, t: jnp.sum((u - target) ** 2)  # noqa: E731
        network = Affine.create(DX, *FREE, KEY, squash="none", spread=0.0)
        policy = NeuralPolicy.untrained(dataclasses.replace(network, bias=np.full(DU, 3.0)), 1e-6)
        setting = make_setting(steps=1, cost=cost, limits=limits)
        return jax.grad(lambda p: ExpectedCost(setting, make_starts())(p))(policy).network.bias

    assert (slope_of_bias(0.5) < -0.1).all()  # the action 1 is too large: down
    assert (slope_of_bias(2.0) == 0.0).all()  # larger would be better, and cannot be


def test_a_memory_carries_the_gradient_further_than_the_system_does():
    """The system forgets x_0 at once. A policy without a memory then has no gradient; a memory that keeps has one."""
    forgetful = np.zeros((DX, DX))
    network = GRU.create(DX, *FREE, KEY, 8, squash="none", gain=1.0)
    keeping = dataclasses.replace(network, offset=np.where(np.arange(24) // 8 == 1, 6.0, network.offset))
    setting, starts = make_setting(forgetful, steps=T), make_starts(memory=8)._replace(steps=np.zeros((2, 3), np.int32))
    plain = measure_gradients(make_policy("mlp", 1e-6), setting, starts._replace(memories=np.zeros((2, 3, 0))))
    with_memory = measure_gradients(NeuralPolicy.untrained(keeping, 1e-6), setting, starts)
    assert plain[1] > 0 and with_memory[T - 1] > 1e3 * plain[T - 1]
    assert with_memory[T - 1] > 0.2 * with_memory[3]


# -- linear systems with quadratic costs -------------------------------------------------------------------------------

Q, R = np.diag([2.0, 1.0, 0.5]), 0.3 * np.eye(DU)


def quadratic(x, u, t):
    return 0.5 * x @ Q @ x + 0.5 * u @ R @ u


def test_an_affine_policy_learns_the_gain_of_lqr():
    """x' = A x + B u over many steps: the optimum is nearly the constant gain of the algebraic Riccati equation."""
    P = scipy.linalg.solve_discrete_are(A, B, Q, R)
    gain = -np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A)
    setting = make_setting(steps=60, cost=quadratic, end=60, clip=1e9)
    policy = make_policy("affine", 0.3)
    training = PolicyInTraining.begin(dataclasses.replace(policy, network=jax.tree.map(np.zeros_like, policy.network)))
    batches = [make_starts(1, 300, seed=i)._replace(steps=np.zeros((1, 300), np.int32)) for i in range(16)]
    stacked = jax.tree.map(lambda *arrays: np.stack(arrays), *batches)
    ended = NaturalAscent(3.0).advance(training, setting, stacked)
    policy = ended.training.policy
    K = np.asarray(policy.mean(np.eye(DX)) - policy.mean(np.zeros(DX))).T
    np.testing.assert_allclose(K, gain, atol=0.03 * np.abs(gain).max())
    assert ended.updates >= 10 and ended.lost == 0


@pytest.fixture(scope="module")
def learned():
    made = make_algorithm()
    return made, *learn(made, 4)


@pytest.mark.parametrize(
    ("kind", "ascent", "updates"),
    [("gru", NaturalAscent(0.3), 15), ("mlp", AdamAscent(1e-2), 200)],
    ids=["gru", "adam"],
)
def test_each_kind_of_update_and_a_memory_come_near_the_optimum(kind, ascent, updates):
    made = make_algorithm(kind, ascent=ascent, updates=updates)
    state, _ = learn(made, 2)
    assert _share_of_the_way(made, state) > 0.96


def test_on_a_linear_system_the_policy_comes_near_the_optimum(learned):
    made, state, records = learned
    assert _share_of_the_way(made, state) > 0.97
    assert [record.player for record in records] == [Player.FIRST] + [Player.POLICY] * 3
    for record in records:
        assert record.statuses == [Status.LEARNED] * M and record.troubles == []
        side = record.optimisation
        before, after = side.loss
        assert side.trained and after < before and side.status is PolicyStatus.OK
        assert side.gradient_norms.shape == (T,) and (side.gradient_norms > 0).all()
    assert not records[0].optimisation.existed and np.isnan(records[0].optimisation.kl)
    assert records[1].optimisation.existed and records[1].optimisation.kl > 0


def _share_of_the_way(made, state):
    """How far the policy is from doing nothing to the optimum."""
    best = jax.tree.map(lambda array: np.tile(array, (M, *(1,) * array.ndim)), optimum())
    first, least, reached = (cost_without_noise(policy).sum() for policy in (STILL, best, made.learned(state)))
    return (first - reached) / (first - least)


def test_the_forecast_of_the_policys_episodes_comes_true_in_a_model_that_is_right(learned):
    _, _, records = learned
    assert records[0].planner is None
    for record in records[1:]:
        np.testing.assert_allclose(record.planner.predicted, record.planner.actual, rtol=1e-6)
        np.testing.assert_allclose(record.planner.planned_states, record.rollouts.states[:, 0], atol=1e-6)


def test_the_same_seed_gives_the_same_bits(learned):
    made, state, records = learned
    again, repeated = learn(made, 4)
    assert_same_bits(again, state)
    assert_same_bits(repeated[-1], records[-1])


@pytest.mark.parametrize("kind", ["mlp", "gru"])
def test_each_update_keeps_the_bound(kind):
    policy, setting, bound = make_policy(kind), make_setting(drawn=True), 0.05
    training = PolicyInTraining.begin(policy)
    for i in range(4):
        starts = make_starts(memory=8 if kind == "gru" else 0, seed=i)
        batch = jax.tree.map(lambda array: np.asarray(array)[None], starts)
        ended = NaturalAscent(bound).advance(training, setting, batch)
        assert ended.updates == 1
        sequences, weights = imagine_observations(training.policy, setting, starts)
        kl = mean_kl(ended.training.policy, training.policy, sequences, weights, find_means_along)
        assert 0.3 * bound < kl <= bound * (1 + 1e-6)
        training = ended.training


# -- the value at the end ----------------------------------------------------------------------------------------------


def test_returns_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    costs, values = rng.normal(size=(7, 4)), rng.normal(size=(7, 4))
    costs_to_go = np.cumsum(costs[::-1], axis=0)[::-1] + values[-1]
    np.testing.assert_allclose(find_returns(costs, values, 1.0), costs_to_go)  # Monte Carlo
    np.testing.assert_allclose(find_returns(costs, values, 0.0), costs + values)  # one step
    decay, found = 0.7, find_returns(costs, values, 0.7)
    for h in range(7):  # the mean of the n-step returns with weights (1 − λ) λ^{n−1}, the rest on the longest
        steps = [costs[h : h + n].sum(axis=0) + values[h + n - 1] for n in range(1, 8 - h)]
        weights = [(1 - decay) * decay**n for n in range(len(steps) - 1)] + [decay ** (len(steps) - 1)]
        np.testing.assert_allclose(found[h], np.average(steps, axis=0, weights=weights))


def test_with_a_value_short_episodes_have_the_gradient_of_long_ones():
    """The gradient of an episode is the sum over its states of the gradients of one action and the value behind it."""
    policy, end = make_policy("affine", 1e-3), 12
    whole = make_setting(steps=end, cost=quadratic, end=end)
    options = ValueOptions(decay=1.0, fit=FitOptions(steps=4000, batch=256, learning_rate=5e-3))
    wide = make_starts(1, 400, spread=1.5)
    wide = wide._replace(steps=np.random.default_rng(0).integers(0, end, (1, 400)).astype(np.int32))
    before = begin_value(0.0, count_inputs(DX, options.transforms), end, options)
    states, steps, returns = imagine_returns(policy, whole._replace(value=before), wide, 1.0)
    groups = np.tile(np.arange(400), end)
    flat = (np.asarray(array).reshape(-1, *array.shape[3:]) for array in (states, steps, returns))
    value = fit_value(*flat, groups, end, options, seed=0)
    assert isinstance(value, TerminalValue) and float(value(np.ones(DX), np.int32(end))) == 0.0
    starts = make_starts(1, 60, seed=3)._replace(steps=np.zeros((1, 60), np.int32))
    true = find_slope(policy, whole, starts)[0]
    along, at, _ = imagine_returns(policy, whole._replace(value=before), starts, 1.0)
    everywhere = starts._replace(
        states=np.asarray(along).reshape(1, -1, DX),
        steps=np.asarray(at, np.int32).reshape(1, -1),
        memories=np.zeros((1, end * 60, 0)),
        model_memories=np.zeros((1, end * 60, 0)),
    )
    short, blind = (
        end * find_slope(policy, whole._replace(steps=1, value=worth), everywhere)[0] for worth in (value, None)
    )
    cosine = true @ short / np.linalg.norm(true) / np.linalg.norm(short)
    assert cosine > 0.98 and abs(np.linalg.norm(short) / np.linalg.norm(true) - 1) < 0.15
    assert np.linalg.norm(blind - true) > 0.5 * np.linalg.norm(true)


def test_truncated_episodes_learn_too():
    made = make_algorithm(
        imagination=dataclasses.replace(MEAN, truncation=4), ascent=NaturalAscent(0.1), rounds=4, updates=2
    )
    state, records = learn(made, 2)
    assert state.value is not None and _share_of_the_way(made, state) > 0.6
    assert len(records[-1].optimisation.losses) >= 8


# -- where imagined episodes begin -------------------------------------------------------------------------------------


def test_visited_states_end_where_an_episode_does():
    rollouts = cut(roll_out(make_algorithm().policy(make_algorithm().begin(FIRST, STARTS)), samples=2), T, 3)
    visited = Visited.of(rollouts)
    assert visited.lengths.tolist() == [T, T, 3, 3] and len(visited.all_states) == 2 * T + 6
    episodes, steps = visited.draw((5, 8), 0.5, np.random.default_rng(0))
    assert (steps[:, 4:] == 0).all() and (steps < visited.lengths[episodes]).all() and (steps[:, :4] > 0).any()
    more = visited.add(visited, 6)
    assert len(more.lengths) == 6 and more.pad().lengths.tolist() == [*more.lengths, 0, 0]


# -- trouble ---------------------------------------------------------------------------------------------------------


def test_while_there_is_no_model_the_first_controllers_go_on():
    made = make_algorithm(model=Fixed(None))
    state, (record,) = learn(made, 1)
    assert record.statuses == [Status.NO_MODEL] * M and record.planner is None
    assert record.optimisation.status is PolicyStatus.NO_MODEL and not record.optimisation.trained
    assert made.policy(state).player is made.learned(state).player is Player.FIRST
    assert made.policy(state).covariance.any() and not made.learned(state).covariance.any()


def test_a_cost_that_is_not_finite_leaves_the_policy_as_it_was(learned):
    made, state, _ = learned
    broken = dataclasses.replace(made, problem=make_problem(lambda x, u, t: COST(x, u, t) / jnp.where(x[0] > 9, 0, 1)))
    nan = make_problem(lambda x, u, t: jnp.nan * COST(x, u, t))
    for problem, status in ((nan, PolicyStatus.EXPLODED), (broken.problem, PolicyStatus.OK)):
        other = dataclasses.replace(made, problem=problem)
        rollouts = roll_out(made.policy(state), samples=N)
        models = made.fit(state, rollouts, 0)
        after, record = other.improve(state, made.policy(state), rollouts, models)
        assert record.optimisation.status is status
        if status is PolicyStatus.EXPLODED:
            assert_same_bits(after.training, state.training)
            assert "10 of 10 updates were not finite" in record.optimisation.message
            assert record.optimisation.trained and "policy: " in record.troubles[0]


def test_updates_that_raise_the_cost_are_taken_back(learned):
    """The held-out episodes decide. At the optimum Adam with a large rate only spoils the policy."""
    made, state, _ = learned
    careless = dataclasses.replace(made, ascent=AdamAscent(0.5), updates=20)
    after, record = advance(careless, state, samples=N)
    side = record.optimisation
    assert side.status is PolicyStatus.NOT_IMPROVED and side.kl == 0.0
    assert min(side.losses) == side.losses[0] < side.losses[-1]
    assert_same_bits(after.training, state.training)
    assert record.troubles == []


def test_a_cost_that_is_the_same_everywhere_teaches_nothing():
    made = make_algorithm(problem=make_problem(lambda x, u, t: jnp.ones(())))
    state, (record,) = learn(made, 1)
    assert record.optimisation.status is PolicyStatus.NOT_IMPROVED and not record.optimisation.trained
    assert made.policy(state).player is Player.FIRST


def test_episodes_that_leave_the_data_are_told():
    made = make_algorithm(model=Fixed(Known(5.0 * np.eye(DX), B)))
    _, (record,) = learn(made, 1)
    side = record.optimisation
    assert side.status in (PolicyStatus.LEFT_MODEL, PolicyStatus.NOT_IMPROVED)
    assert np.isfinite(side.losses).all()
    if side.status is PolicyStatus.LEFT_MODEL:
        assert "% of the imagined episodes left what the model knows" in side.message


def test_an_episode_that_explodes_stays_in_the_box_and_goes_on_to_cost():
    setting = make_setting(1e3 * np.eye(DX), steps=8)
    loss, exploded = evaluate_policy(make_policy("mlp"), setting, make_starts())
    assert np.isfinite(loss) and exploded == 1.0


# -- the configuration -------------------------------------------------------------------------------------------------

ON_POINTS = changed(
    POINT_MASS,
    algorithm={
        "name": "policy_backprop", "iterations": 2, "samples": 2, "model": "linear", "episodes": 10, "updates": 2,
        "policy": {"hidden": [8]},
    },
)  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"policy": {"network": "gru", "hidden": []}}, "one hidden layer, its memory"),
        ({"policy": {"network": "lstm"}}, "network"),
        ({"kl_step": 0.0}, "kl_step"),
        ({"clip": 0.0}, "clip"),
        ({"truncation": 0}, "truncation"),
        ({"optimiser": "sgd"}, "optimiser"),
        ({"visited": 1.5}, "visited"),
    ],
)
def test_a_bad_setting_is_named(tmp_path, keys, match):
    with pytest.raises(ConfigError, match=match):
        load(write(tmp_path, ON_POINTS, algorithm=keys))


def test_a_network_may_be_named_on_the_command_line(tmp_path):
    config = load(write(tmp_path, ON_POINTS), ["algorithm.policy.network=gru"])
    assert config.algorithm.policy.network == "gru"


def test_what_the_policy_observes_must_be_in_the_state(tmp_path):
    folder = write(tmp_path, ON_POINTS, environment={"state": ["qpos"], "observation": ["qpos", "qvel"]})
    with pytest.raises(ConfigError, match="qvel is no part of the state"):
        Experiment(load(folder), folder)


def test_a_policy_squashes_where_the_actions_have_limits(tmp_path):
    folder = write(tmp_path, ON_POINTS)
    with closing(Experiment(load(folder), folder)) as built:
        assert built.begin().training.policy.network.squash == "tanh"
