"""DAgger and PLATO as a whole: they reach the expert of a linear system; samples, memory, and trouble."""

import dataclasses
from functools import partial

import numpy as np
import pytest
from helpers import linear_system
from helpers.linear_system import (
    DU,
    DX,
    PROBLEM,
    STARTS,
    BlindEnv,
    M,
    N,
    T,
    advance,
    cost_without_noise,
    make_learner,
    optimum,
    roll_out,
)
from helpers.problems import spd

from gps.algorithms.distilled.advice import label, usual_precision
from gps.algorithms.distilled.dagger import Alternating, DAgger
from gps.algorithms.distilled.plato import PLATO, AdaptedTeacher, pool
from gps.algorithms.distilled.played import ExpertPolicy
from gps.backend import jax
from gps.errors import ExpertFault
from gps.experts.contract import FixedExpert, adapt_expert
from gps.linear_gaussian.initial import zero
from gps.players import Player
from gps.policies import MLP, NeuralPolicy
from gps.sampling import StatesAndObservations
from gps.status import PolicyStatus, Status

BEST = optimum()
FIRST = zero(M, T, DX, DU, 0.5)
learn = partial(linear_system.learn, first=FIRST)


class Expert:
    """Plays the optimum; counts the calls."""

    def __init__(self, bias=0.0):
        self.calls, self.bias = 0, bias

    def act(self, states, t):
        self.calls += 1
        return states @ BEST.feedback[t].T + BEST.feedforward[t] + self.bias


class Stationary:
    """A linear policy that does not depend on time, so that a network without hidden layers can play it."""

    def act(self, states, t):
        return states @ BEST.feedback[0].T + BEST.feedforward[0]


class Firm(Stationary):
    precision = np.array([[4.0, 1.0], [1.0, 3.0]])

    def advise(self, states, t):
        return self.act(states, t), np.tile(self.precision, (len(states), 1, 1))


def algorithm(kind=DAgger, expert=None, hidden=(), do=DX, options=None, **settings):
    options = {"steps": 1500, "learning_rate": 1e-2, "patience": 100, **(options or {})}
    return kind(PROBLEM, make_learner(do, hidden, **options), expert=source(expert or Stationary()), **settings)


def source(expert):
    return FixedExpert(adapt_expert(expert))


@pytest.mark.parametrize("kind", [DAgger, PLATO])
@pytest.mark.parametrize("expert", [Stationary, Firm])
def test_on_a_linear_system_the_policy_reaches_its_expert(kind, expert):
    made = algorithm(kind, expert())
    state, records = learn(made, 3)
    theirs = cost_without_noise(made.teachers(state)[0])
    np.testing.assert_allclose(cost_without_noise(made.learned(state)), theirs, rtol=1e-3)
    for record in records:
        assert record.statuses == [Status.TAUGHT] * M
        assert record.messages == ("",) * M
        assert record.policy.mean_status in (PolicyStatus.OK, PolicyStatus.STOPPED_EARLY)
        assert record.local is None
        assert record.policy.teacher is Player.EXPERT
        assert record.policy.linearised is None and record.policy.marginals is None
    assert [record.player for record in records] == [Player.EXPERT, Player.BOTH, Player.BOTH]
    slope = jax.vmap(jax.jacobian(state.training.policy.mean))(records[-1].rollouts.states[:, 0, 3])
    np.testing.assert_allclose(slope, np.tile(BEST.feedback[0], (M, 1, 1)), atol=0.05)
    assert np.median(records[-1].policy.kl) < (0.1 if expert is Firm else 1.0)


def test_a_policy_without_time_nearly_reaches_an_expert_that_depends_on_time(best):
    made = algorithm(DAgger, Expert(), hidden=(16,))
    state, _ = learn(made, 3)
    np.testing.assert_allclose(cost_without_noise(made.teachers(state)[0]), best, rtol=1e-9)
    cost = cost_without_noise(made.learned(state))
    assert (cost >= best * (1 - 1e-9)).all()
    assert (cost <= 1.1 * best).all()


def test_the_covariance_is_the_inverse_of_the_experts_precision():
    state, _ = learn(algorithm(DAgger, Firm()), 1)
    np.testing.assert_allclose(np.linalg.inv(state.training.policy.covariance), Firm.precision, rtol=1e-6)


def test_without_a_precision_the_deviation_is_a_share_of_the_actions_size():
    made = algorithm(deviation=0.2)
    state, record = advance(made, made.begin(FIRST, STARTS))
    labels = label(made.expert.expert, record.rollouts).actions.reshape(-1, DU)
    size = np.sqrt((labels**2).mean(axis=0))
    np.testing.assert_allclose(np.sqrt(np.diagonal(state.training.policy.covariance)), 0.2 * size, rtol=1e-6)
    np.testing.assert_allclose(usual_precision(state.lessons, 0.2), np.diag((0.2 * size) ** -2))


# -- sampling -------------------------------------------------------------------------------------------------------


def test_the_share_of_the_expert_falls_by_a_factor():
    made = algorithm(decay=0.3, options={"steps": 100})
    state = made.begin(FIRST, STARTS)
    assert isinstance(made.policy(state), ExpertPolicy)
    for i in range(3):
        assert made.beta(state) == pytest.approx(0.3**i)
        state, _ = advance(made, state, seed=i)
    assert made.policy(state).beta == pytest.approx(0.3**3)
    assert algorithm(decay=0.0).beta(state) == 0.0
    assert algorithm(decay=0.0).beta(made.begin(FIRST, STARTS)) == 1.0


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_the_expert_acts_with_its_share_and_equal_keys_make_equal_choices(beta):
    policy = NeuralPolicy.untrained(MLP.create((DX, DU), jax.random.key(0)))
    expert, states = Expert(bias=100.0), np.random.default_rng(0).normal(size=(20, 50, DX))
    both = Alternating(adapt_expert(expert), np.zeros((20, T, DU, DU)), policy, beta, np.array([1, 2], np.uint32))
    actions = np.stack([both.act(StatesAndObservations(states, states), t) for t in range(T)])
    theirs = actions[..., 0] > 50
    assert theirs.mean() == pytest.approx(beta, abs=0.02)
    assert (expert.calls > 0) == (beta > 0)
    np.testing.assert_array_equal(actions[3], both.act(StatesAndObservations(states, states), 3))
    if beta == 0.3:
        assert np.corrcoef(theirs[0].ravel(), theirs[1].ravel())[0, 1] < 0.1
        other = dataclasses.replace(both, key=np.array([1, 3], np.uint32))
        assert (other.act(StatesAndObservations(states, states), 3) != actions[3]).any()


def test_the_noise_is_the_first_controllers_and_then_the_policys():
    made = algorithm(options={"steps": 100})
    state = made.begin(FIRST, STARTS)
    np.testing.assert_array_equal(made.policy(state).covariance, FIRST.covariance)
    state, _ = advance(made, state)
    np.testing.assert_array_equal(made.policy(state).covariance[1, 2], state.training.policy.covariance)
    still = dataclasses.replace(made, execution="feedback")
    assert not still.policy(state).covariance.any()
    fixed = dataclasses.replace(made, execution="fixed_noise", noise=0.2)
    np.testing.assert_allclose(fixed.policy(state).covariance[0, 0], 0.04 * np.eye(DU))


# -- PLATO -----------------------------------------------------------------------------------------------------------


def test_the_adapted_teacher_is_the_minimiser():
    """The closed form against a numerical minimisation over mean and covariance."""
    from scipy.optimize import minimize

    rng = np.random.default_rng(0)
    Quu, covariance = spd(rng, DU), spd(rng, DU)
    best_action, mean = rng.normal(size=DU), rng.normal(size=DU)
    alpha, weight = 0.3, 0.7

    def objective(parameters):
        m, L = parameters[:DU], np.zeros((DU, DU))
        L[np.tril_indices(DU)] = parameters[DU:]
        S = L @ L.T
        logdet = np.linalg.slogdet(S)[1]
        away = m - best_action
        expected_cost = 0.5 * away @ Quu @ away + 0.5 * np.trace(Quu @ S)
        entropy = 0.5 * logdet
        precision = np.linalg.inv(covariance)
        kl = 0.5 * (np.trace(precision @ S) + (m - mean) @ precision @ (m - mean) - logdet)
        return expected_cost - alpha * entropy + weight * kl

    found = minimize(objective, [*np.zeros(DU), 1.0, 0.0, 1.0], method="BFGS", options={"gtol": 1e-9}).x
    L = np.array([[found[2], 0.0], [found[3], found[4]]])
    m, precision = pool(best_action, Quu / alpha, mean, covariance, weight / alpha)
    np.testing.assert_allclose(m, found[:DU], rtol=1e-5)
    np.testing.assert_allclose(np.linalg.inv(precision), L @ L.T, rtol=1e-5)


@pytest.mark.parametrize(("adaptation", "towards"), [(0.0, "expert"), (1e12, "policy")])
def test_the_adapted_teacher_lies_between_the_expert_and_the_policy(adaptation, towards):
    rng = np.random.default_rng(1)
    P, covariance, u, mean = spd(rng, 4, DU), spd(rng, DU), rng.normal(size=(4, DU)), rng.normal(size=(4, DU))
    m, precision = pool(u, P, mean, covariance, adaptation)
    np.testing.assert_allclose(m, u if towards == "expert" else mean, rtol=1e-9)
    expected = P if towards == "expert" else np.tile(np.linalg.inv(covariance), (4, 1, 1))
    np.testing.assert_allclose(precision, expected, rtol=1e-9)


def test_without_adaptation_plato_plays_the_expert_even_in_actions_of_zero_precision():
    class Careless(Stationary):
        def advise(self, states, t):
            return self.act(states, t), np.tile(np.diag([1.0, 0.0]), (len(states), 1, 1))

    policy = NeuralPolicy.untrained(MLP.create((DX, DU), jax.random.key(0)))
    states = np.random.default_rng(0).normal(size=(M, N, DX))
    for adaptation in (0.0, 1e-6):
        played = AdaptedTeacher(adapt_expert(Careless()), np.zeros((M, T, DU, DU)), policy, adaptation, np.eye(DU))
        actions = played.act(StatesAndObservations(states, states), 0)
        expected = Careless().act(states, 0)
        if adaptation:  # the policy decides what the expert gives no weight
            expected[..., 1] = policy.act(states)[..., 1]
        np.testing.assert_allclose(actions, expected, atol=1e-4)


def test_plato_plays_between_expert_and_policy_and_teaches_the_expert():
    made = algorithm(PLATO, Firm(), options={"steps": 100}, adaptation=1.0)
    state, _ = learn(made, 1)
    playing = made.policy(state)
    assert isinstance(playing, AdaptedTeacher)
    states = np.random.default_rng(0).normal(size=(M, 5, DX))
    theirs, own = Firm().act(states, 0), state.training.policy.act(states)
    np.testing.assert_allclose(playing.act(StatesAndObservations(states, states), 0), 0.5 * (theirs + own), rtol=1e-7)
    rollouts = roll_out(made.policy(state))
    _, record = advance(made, state)
    np.testing.assert_array_equal(record.rollouts.states, rollouts.states)
    after, _ = advance(made, state)
    np.testing.assert_allclose(after.lessons[-1].actions, Firm().act(rollouts.states.reshape(-1, DX), 0), rtol=1e-12)


# -- memory ----------------------------------------------------------------------------------------------------------


def test_samples_are_aggregated_and_the_oldest_forgotten():
    made = algorithm(memory=2, options={"steps": 100})
    state, seen = made.begin(FIRST, STARTS), []
    for i in range(4):
        state, record = advance(made, state, seed=i)
        seen.append(record.rollouts.states.reshape(-1, DX))
        assert len(state.lessons) == min(i + 1, 2)
        for lesson, expected in zip(state.lessons, seen[-2:], strict=len(seen) > 1):
            np.testing.assert_array_equal(lesson.observations, expected)
            assert len(np.unique(lesson.episodes)) == M * N


def test_an_indefinite_precision_is_reported_and_harms_no_other_iteration():
    class Odd(Firm):
        """Its precision at one state is indefinite, once."""

        odd = True

        def advise(self, states, t):
            actions, precisions = super().advise(states, t)
            if t == 3 and self.odd:
                precisions[0] = np.diag([1.0, -1.0])
            return actions, precisions

    expert = Odd()
    made = algorithm(expert=expert, options={"steps": 100})
    state, record = advance(made, made.begin(FIRST, STARTS))
    assert record.statuses == [Status.ADVICE_MISSING, Status.TAUGHT]
    assert f"They are 1 of {N * T}, the first at sample 0, step 3: " in record.messages[0]
    assert "or the precision has an eigenvalue below zero" in record.messages[0]
    assert record.rollouts.mask.all()
    assert record.policy.mean_status is PolicyStatus.OK
    expert.odd = False
    state, record = advance(made, state, seed=1)
    assert record.statuses == [Status.TAUGHT] * M
    assert record.policy.mean_status is PolicyStatus.OK
    assert len(state.lessons[0].actions) == M * N * T - 1


def test_a_policy_that_observes_less_learns_from_an_expert_that_observes_the_state():
    made = algorithm(do=DX - 1, options={"steps": 100})
    state = made.begin(FIRST, STARTS)
    for i in range(2):
        state, record = advance(made, state, seed=i, environment=BlindEnv)
    assert record.player is Player.BOTH
    assert state.lessons[-1].observations.shape == (M * N * T, DX - 1)
    expected = Stationary().act(record.rollouts.states.reshape(-1, DX), 0)
    np.testing.assert_allclose(state.lessons[-1].actions, expected, rtol=1e-12)


# -- trouble ---------------------------------------------------------------------------------------------------------


class Broken(Stationary):
    """Gives NaN in the states that the second condition starts from."""

    def act(self, states, t):
        actions = super().act(states, t)
        actions[len(states) // 2 :] = np.where(t == 4, np.nan, actions[len(states) // 2 :])
        return actions


@pytest.mark.parametrize("kind", [DAgger, PLATO])
def test_without_advice_the_policy_acts_and_without_a_policy_the_episode_ends(kind):
    made = algorithm(kind, expert=Broken(), options={"steps": 20})
    state, record = advance(made, made.begin(FIRST, STARTS))
    np.testing.assert_array_equal(record.rollouts.mask[1, 0], np.arange(T) < 4)
    assert record.rollouts.mask[0].all()
    assert record.statuses == [Status.TAUGHT, Status.NONE_WHOLE]
    assert "were aborted after step 3: the expert had no advice" in record.messages[1]
    _, record = advance(made, state)
    assert record.rollouts.mask.all() and np.isfinite(record.rollouts.actions).all()
    learned = np.asarray(state.training.policy.act(record.rollouts.observed))[1, :, 4] + record.rollouts.noise[1, :, 4]
    np.testing.assert_allclose(record.rollouts.actions[1, :, 4], learned, rtol=1e-6)


@pytest.mark.parametrize("firm", [False, True])
def test_a_state_without_advice_teaches_nothing_and_the_others_do(firm):
    class Unsure(Stationary):
        """Has no finite precision in the second condition at one step."""

        def advise(self, states, t):
            precisions = np.tile(np.eye(DU), (len(states), 1, 1))
            precisions[len(states) // 2 :] *= np.nan if t == 4 else 1.0
            return self.act(states, t), precisions

    good = algorithm(options={"steps": 100}, decay=0.0)
    state, _ = advance(good, good.begin(FIRST, STARTS))
    bad = dataclasses.replace(good, expert=source(Unsure() if firm else Broken()))
    after, record = advance(bad, state)
    assert record.statuses == [Status.TAUGHT, Status.ADVICE_MISSING]
    assert f"They are {N} of {N * T}, the first at sample 0, step 4: " in record.messages[1]
    assert record.troubles == []
    assert len(after.lessons[-1].actions) == 2 * N * T - N
    np.testing.assert_array_equal(np.isnan(record.policy.kl[1]), np.arange(T) == 4)
    assert np.isfinite(after.training.policy.act(record.rollouts.observed)).all()
    assert np.isfinite(cost_without_noise(bad.learned(after))).all()

    class Nothing(Stationary):
        def act(self, states, t):
            return np.full((len(states), DU), np.nan)

    none = dataclasses.replace(good, expert=source(Nothing()), memory=1)
    after, record = advance(none, state)
    assert record.statuses == [Status.NO_ADVICE] * 2 and len(record.troubles) == 3
    assert record.policy.mean_status is PolicyStatus.NO_SAMPLES
    jax.tree.map(np.testing.assert_array_equal, after.training, state.training)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda states, t: states, r"actions at step 0 have the shape \(24, 3\); expected \(24, 2\)"),
        (lambda states, t: np.zeros(DU), r"the shape \(2,\); expected \(24, 2\) for states of shape \(24, 3\)"),
        (lambda states, t: states[99], "the expert raised at step 0: IndexError: index 99 is out of bounds"),
        (lambda states, t: "left", "the expert raised at step 0: ValueError: could not convert"),
    ],
)
def test_an_impossible_answer_gives_a_message_of_one_line(act, message):
    expert = Stationary()
    expert.act = act
    made = algorithm(expert=expert)
    with pytest.raises(ExpertFault, match=message) as error:
        roll_out(made.policy(made.begin(FIRST, STARTS)))
    assert "\n" not in str(error.value)


def test_a_condition_without_samples_teaches_nothing_and_short_episodes_teach_their_steps():
    made = algorithm(options={"steps": 100})

    def cut(rollouts):
        mask = rollouts.mask.copy()
        mask[0], mask[1, 0, 5:] = False, False
        return dataclasses.replace(rollouts, mask=mask)

    state, record = advance(made, made.begin(FIRST, STARTS), change=cut)
    assert record.statuses == [Status.NO_VALID_SAMPLES, Status.SAMPLES_DROPPED]
    assert len(state.lessons[0].actions) == N * T - (T - 5)
    assert record.policy.mean_status in (PolicyStatus.OK, PolicyStatus.STOPPED_EARLY)
