"""Rollouts and exploration noise: smoothing, seeds and bits, and the actions that were applied."""

from typing import ClassVar

import numpy as np
import pytest
from helpers.problems import LinearEnv, spd

from gps.environments.tasks.peg_insertion import PegInsertion
from gps.environments.tasks.point_mass import PointMass
from gps.errors import EnvironmentFault, PolicyError
from gps.linear_gaussian.initial import zero
from gps.linear_gaussian.types import Controller
from gps.policies.played import LocalControllers
from gps.sampling import collect, draw_noise

M, N, T, DX, DU = 2, 3, 6, 3, 2
A, B = np.array([[1.0, 0.1, 0.0], [0.0, 0.9, 0.2], [0.1, 0.0, 0.8]]), np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
CONDITIONS = [{"start": [1.0, 0.0, -1.0]}, {"start": [0.0, 2.0, 0.5]}]


def controllers(seed=0, M=M, T=T, dx=DX, du=DU):
    rng = np.random.default_rng(seed)
    return Controller(rng.standard_normal((M, T, du, dx)), rng.standard_normal((M, T, du)), spd(rng, M, T, du))


# -- exploration noise -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 1.0, 3.0])
def test_smoothing_keeps_the_covariance_of_every_step(smoothing):
    """Dividing by the variance instead of the standard deviation changes the size of the noise."""
    few, n = controllers(), 40_000
    noise = draw_noise(LocalControllers(few), n, smoothing, np.random.default_rng(1))
    assert noise.shape == (M, n, T, DU)
    deviation = np.sqrt(np.diagonal(few.covariance, axis1=2, axis2=3))
    assert (np.abs(noise.mean(axis=1)) < 5 * deviation / np.sqrt(n)).all()
    covariance = np.einsum("mnti,mntj->mtij", noise, noise) / n
    error = (covariance - few.covariance) / (deviation[..., :, None] * deviation[..., None, :])
    assert np.abs(error).max() < 5 * np.sqrt(2 / n)


def test_smoothing_correlates_neighbours_in_time():
    still = zero(1, 60, DX, DU, 1.0)
    correlations = []
    for smoothing in (0.0, 1.0, 2.0, 4.0):
        noise = draw_noise(LocalControllers(still), 1000, smoothing, np.random.default_rng(2))
        inner = noise[:, :, 20:40]  # far from the ends, where the filter has less to average
        correlations.append((inner[:, :, 1:] * inner[:, :, :-1]).mean() / (inner**2).mean())
    assert abs(correlations[0]) < 0.03
    assert (np.diff(correlations) > 0.01).all()
    # White noise under a Gaussian filter of width s is correlated by exp(-1 / 4 s^2) from step to step.
    np.testing.assert_allclose(correlations[1:], np.exp(-0.25 / np.array([1.0, 2.0, 4.0]) ** 2), atol=0.01)


def test_a_covariance_of_zero_gives_no_noise():
    K, k, covariance = np.zeros((M, T, DU, DX)), np.zeros((M, T, DU)), np.zeros((M, T, DU, DU))
    assert not draw_noise(LocalControllers(Controller(K, k, covariance)), N, 0.0, np.random.default_rng(0)).any()
    assert not draw_noise(LocalControllers(Controller(K, k, covariance)), N, 2.0, np.random.default_rng(0)).any()
    covariance = covariance.copy()
    covariance[1] = np.eye(DU)  # in one condition alone
    noise = draw_noise(LocalControllers(Controller(K, k, covariance)), N, 0.0, np.random.default_rng(0))
    assert not noise[0].any()
    assert noise[1].all()


def test_noise_comes_from_the_generator_given_and_from_no_other():
    """A draw from NumPy's global generator would depend on whatever used it before."""
    results = []
    for seed in (1, 2):
        np.random.seed(seed)
        before = np.random.get_state()[1].copy()
        results.append(draw_noise(LocalControllers(controllers()), N, 1.0, np.random.default_rng(5)))
        assert (np.random.get_state()[1] == before).all()
    np.testing.assert_array_equal(*results)


# -- policies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dx", "du"), [(3, 2), (14, 7), (26, 7), (40, 10)])
def test_a_policy_has_the_same_bits_for_one_state_and_for_many(dx, du):
    """A product for a batch may differ from that for one state in the last bit, and contact amplifies this."""
    batch = controllers(0, 3, 2, dx, du)
    states = np.random.default_rng(1).standard_normal((3, 5, dx))
    together = batch.act(states, 1)
    for m in range(3):
        np.testing.assert_array_equal(batch[m].act(states[m], 1), together[m])
        for n in range(5):
            np.testing.assert_array_equal(batch[m].act(states[m, n], 1), together[m, n])
            np.testing.assert_array_equal(batch.act(states[:, n : n + 1], 1)[m, 0], together[m, n])
    expected = np.einsum("mij,mnj->mni", batch.feedback[:, 1], states) + batch.feedforward[:, None, 1]
    np.testing.assert_allclose(together, expected, rtol=1e-11, atol=1e-12)


def test_a_drawn_action_has_the_controllers_covariance():
    one, n = controllers()[0], 40_000
    states = np.ones((n, DX))
    draws = one.act(states, 2, np.random.default_rng(0)) - one.act(states, 2)
    deviation = np.sqrt(np.diag(one.covariance[2]))
    error = (draws.T @ draws / n - one.covariance[2]) / np.outer(deviation, deviation)
    assert np.abs(error).max() < 5 * np.sqrt(2 / n)


# -- rollouts --------------------------------------------------------------------------------------------------------


def test_rollouts_are_those_of_the_system_and_belong_to_their_conditions():
    few = controllers()
    noise = draw_noise(LocalControllers(few), N, 0.0, np.random.default_rng(3))
    rollouts = collect(LinearEnv(M * N, A, B), LocalControllers(few), CONDITIONS, noise, seed=0)
    for m in range(M):
        for n in range(N):
            x = np.array(CONDITIONS[m]["start"])
            for t in range(T):
                u = few.feedback[m, t] @ x + few.feedforward[m, t] + noise[m, n, t]
                np.testing.assert_allclose(rollouts.states[m, n, t], x, rtol=1e-9, atol=1e-9)
                np.testing.assert_allclose(rollouts.actions[m, n, t], u, rtol=1e-9, atol=1e-9)
                x = A @ x + B @ u
    assert rollouts.mask.all()
    assert rollouts.steps == M * N * T
    assert (rollouts.saturated == 0).all()


def test_recorded_actions_are_the_applied_ones():
    """The limits change the actions; the recorded ones explain the next states to the last digit."""
    few, limit = controllers(), 0.7
    noise = draw_noise(LocalControllers(few), N, 0.0, np.random.default_rng(4))
    environment = LinearEnv(M * N, A, B, limit)
    rollouts = collect(environment, LocalControllers(few), CONDITIONS, noise, seed=0)
    applied = np.array(environment.applied).swapaxes(0, 1).reshape(M, N, T, DU)
    np.testing.assert_array_equal(rollouts.actions, applied)
    predicted = rollouts.states[:, :, :-1] @ A.T + rollouts.actions[:, :, :-1] @ B.T
    np.testing.assert_allclose(rollouts.states[:, :, 1:], predicted, rtol=1e-12, atol=1e-12)
    at_limit = (np.abs(rollouts.actions) == limit).mean(axis=(1, 2, 3))
    assert (at_limit > 0).all()
    np.testing.assert_allclose(rollouts.saturated, at_limit, rtol=1e-12)


def test_mujoco_records_its_limits_too():
    loud = zero(1, 10, 4, 2, noise=2.0)
    noise = draw_noise(LocalControllers(loud), 4, 0.0, np.random.default_rng(0))
    environment = PointMass(4, threads=1)
    rollouts = collect(environment, LocalControllers(loud), [{}], noise, seed=0)
    environment.close()
    np.testing.assert_array_equal(rollouts.actions, np.clip(noise, -1.0, 1.0))
    assert rollouts.saturated[0] == pytest.approx((np.abs(noise) > 1.0).mean())


def test_an_episode_that_ends_is_masked_and_the_others_go_on():
    few = controllers()
    noise = np.zeros((M, N, T, DU))
    ends = [99, 2, 99, 99, 4, 99]
    rollouts = collect(LinearEnv(M * N, A, B, ends=ends), LocalControllers(few), CONDITIONS, noise, seed=0)
    whole = collect(LinearEnv(M * N, A, B), LocalControllers(few), CONDITIONS, noise, seed=0)
    lengths = rollouts.mask.sum(axis=2)
    assert lengths.tolist() == [[T, 2, T], [T, 4, T]]
    expected = np.where(rollouts.mask[..., None], whole.states, 0.0)
    np.testing.assert_array_equal(rollouts.states, expected)
    assert rollouts.steps == 4 * T + 6


def test_a_state_that_is_not_finite_is_a_fault_with_its_place():
    blown = np.full((DX, DX), 1e200)  # condition 0 starts where its rows are zero
    with pytest.raises(EnvironmentFault, match=r"condition 1, sample 0, step 2, entry 0"), np.errstate(all="ignore"):
        collect(
            LinearEnv(M * N, blown, B),
            LocalControllers(zero(M, T, DX, DU, 1.0)),
            CONDITIONS,
            np.zeros((M, N, T, DU)),
            seed=0,
        )


def sampled(threads, samples=3, global_seed=0):
    np.random.seed(global_seed)
    before = np.random.get_state()[1].copy()
    environment = PegInsertion(2 * samples, threads=threads)
    try:
        dx, du = environment.single_observation_space.shape[0], environment.single_action_space.shape[0]
        random = zero(2, 30, dx, du, 0.5)
        rng = np.random.default_rng(6)
        K = 0.05 * rng.standard_normal(random.feedback.shape)
        random = Controller(K, random.feedforward, random.covariance)
        noise = draw_noise(LocalControllers(random), 3, 1.0, np.random.default_rng(7))[:, :samples]
        rollouts = collect(
            environment, LocalControllers(random), [{"slot": [-0.08, -0.08]}, {"slot": [0.08, 0.08]}], noise, seed=1
        )
    finally:
        environment.close()
    assert (np.random.get_state()[1] == before).all()
    return rollouts


def test_bits_do_not_depend_on_threads_batch_or_the_global_generator():
    """Through the physics of a task with contacts."""
    base = sampled(threads=1)
    for other in (sampled(threads=2), sampled(threads=2, global_seed=9)):
        np.testing.assert_array_equal(base.states, other.states)
        np.testing.assert_array_equal(base.actions, other.actions)
    alone = sampled(threads=1, samples=1)
    np.testing.assert_array_equal(base.states[:, :1], alone.states)


# -- observations ------------------------------------------------------------------------------------------------------


class Half(LinearEnv):
    """Shows a policy the last entries of the state, doubled. `trouble` is what an observation of step 3 is instead."""

    observation_layout: ClassVar = {"end": slice(0, 1), "middle": slice(1, 2)}

    def __init__(self, *arguments, trouble=None, **options):
        super().__init__(*arguments, **options)
        self.trouble = trouble

    def shown(self, info):
        if not self.observing:
            return info
        strange = len(self.applied) == 3 and self.trouble is not None
        return {**info, "observation": self.trouble if strange else 2.0 * self.state[:, :0:-1]}

    def reset(self, *, seed=None, options=None):
        self.observing = options.get("observe", True)
        state, info = super().reset(seed=seed, options=options)
        return state, self.shown(info)

    def step(self, actions):
        *results, info = super().step(actions)
        return *results, self.shown(info)


class Watcher:
    """A policy that keeps what it sees."""

    observes = "observation"
    abstains = ""

    def __init__(self):
        self.seen = []

    def act(self, seen, t):
        self.seen.append(seen.copy())
        return seen[..., ::-1] + t


@pytest.mark.parametrize("simulations", [M * N, 1, 4])
def test_a_policy_that_acts_on_observations_is_given_them(simulations):
    policy, noise = Watcher(), np.random.default_rng(0).standard_normal((M, N, T, DU))
    rollouts = collect(Half(simulations, A, B), policy, CONDITIONS, noise, seed=0, observe=False)
    np.testing.assert_array_equal(rollouts.observations, 2.0 * rollouts.states[..., :0:-1])
    assert rollouts.observed is rollouts.observations
    wanted = rollouts.observations[..., ::-1] + np.arange(T)[:, None] + noise
    np.testing.assert_array_equal(rollouts.actions, wanted)
    if simulations == M * N:
        np.testing.assert_array_equal(np.stack(policy.seen, axis=2), rollouts.observations)
    whole = collect(Half(M * N, A, B), Watcher(), CONDITIONS, noise, seed=0)
    np.testing.assert_array_equal(rollouts.observations, whole.observations)


def test_a_controller_acts_on_the_state_and_the_observations_are_recorded_unless_nobody_wants_them():
    few, noise = controllers(), np.zeros((M, N, T, DU))
    ends = [99, 2, 99, 99, 4, 99]
    recorded = collect(Half(M * N, A, B, ends=ends), LocalControllers(few), CONDITIONS, noise, seed=0)
    np.testing.assert_array_equal(recorded.observations, 2.0 * recorded.states[..., :0:-1])
    assert not recorded.observations[~recorded.mask].any()
    np.testing.assert_array_equal(recorded.regroup(3).observations, recorded.observations.reshape(3, 2, T, 2))
    without = collect(Half(M * N, A, B, ends=ends), LocalControllers(few), CONDITIONS, noise, seed=0, observe=False)
    plain = collect(LinearEnv(M * N, A, B, ends=ends), LocalControllers(few), CONDITIONS, noise, seed=0)
    assert without.observations is None and plain.observations is None
    assert plain.observed is plain.states
    for other in (without, plain):
        np.testing.assert_array_equal(recorded.states, other.states)


def test_where_there_is_no_difference_the_observation_is_the_state():
    policy = Watcher()
    policy.act = lambda seen, t: seen[..., :DU]
    rollouts = collect(LinearEnv(M * N, A, B), policy, CONDITIONS, np.zeros((M, N, T, DU)), seed=0)
    np.testing.assert_array_equal(rollouts.actions, rollouts.states[..., :DU])


@pytest.mark.parametrize(
    ("trouble", "ended", "why"),
    [
        (np.zeros((M * N, 3)), range(M * N), "the observations have the shape (6, 3) in place of (6, 2)"),
        (np.where(np.eye(M * N, 2, k=-4), np.nan, 1.0), [4, 5], "the observation is not finite"),
    ],
)
def test_an_observation_nobody_can_go_on_with_ends_its_episode(trouble, ended, why):
    noise = np.random.default_rng(0).standard_normal((M, N, T, DU))
    rollouts = collect(Half(M * N, A, B, trouble=trouble), LocalControllers(controllers()), CONDITIONS, noise, seed=0)
    assert rollouts.aborts == tuple((i // N, i % N, 2, why) for i in ended)
    lengths = np.where(np.isin(np.arange(M * N), ended), 3, T)
    np.testing.assert_array_equal(rollouts.mask.sum(axis=2).ravel(), lengths)
    whole = collect(Half(M * N, A, B), LocalControllers(controllers()), CONDITIONS, noise, seed=0)
    for name in ("states", "actions"):
        kept = np.where(rollouts.mask[..., None], getattr(whole, name), 0.0)
        np.testing.assert_array_equal(getattr(rollouts, name), kept)


def test_a_first_observation_nobody_can_go_on_with_is_a_fault_with_its_place():
    environment = Half(M * N, A, B)
    environment.observation_layout = {"end": slice(0, 1), "rest": slice(1, 3)}
    message = r"observations of shape \(6, 2\) at step 0, expected \(6, 3\)"
    with pytest.raises(EnvironmentFault, match=message):
        collect(environment, LocalControllers(controllers()), CONDITIONS, np.zeros((M, N, T, DU)), seed=0)


def test_observations_that_were_promised_and_are_not_there_are_a_fault():
    environment = LinearEnv(M * N, A, B)
    environment.observation_layout = {"all": slice(0, 3)}
    with pytest.raises(EnvironmentFault, match=r'observation_layout, but no info\["observation"\] at step 0'):
        collect(environment, LocalControllers(controllers()), CONDITIONS, np.zeros((M, N, T, DU)), seed=0)


def test_a_blind_pegs_observations_have_the_same_bits_on_any_number_of_threads():
    results = []
    for threads in (1, 2):
        environment = PegInsertion(2, observation=["qpos", "site_velocity:peg_tip"], threads=threads)
        noise = np.random.default_rng(0).standard_normal((2, 1, 20, 7))
        results.append(
            collect(
                environment, LocalControllers(zero(2, 20, 26 - 6, 7, 1.0)), [{}, {"slot": [0.05, 0.05]}], noise, seed=0
            )
        )
        environment.close()
    np.testing.assert_array_equal(results[0].observations, results[1].observations)
    assert results[0].observations.shape == (2, 1, 20, 10)


# -- a policy that has no action ---------------------------------------------------------------------------------------


class Silent(Watcher):
    """Has no action in the second condition's second sample at step 2."""

    observes: ClassVar[str] = "state"

    def act(self, seen, t):
        actions = np.zeros((*seen.shape[:2], DU))
        actions[1, 1] = np.nan if t == 2 else 0.0
        return actions


@pytest.mark.parametrize("simulations", [1, 4, M * N])
def test_where_a_policy_abstains_the_episode_ends_and_the_others_go_on(simulations):
    noise = np.zeros((M, N, T, DU))
    with pytest.raises(PolicyError, match="the policy's action is not finite: condition 1, sample 1, step 2, entry 0"):
        collect(LinearEnv(simulations, A, B), Silent(), CONDITIONS, noise, seed=0)
    silent = Silent()
    silent.abstains = "it did not know"
    rollouts = collect(LinearEnv(simulations, A, B), silent, CONDITIONS, noise, seed=0)
    np.testing.assert_array_equal(rollouts.mask.sum(axis=2), [[T, T, T], [T, 2, T]])
    assert rollouts.aborts == ((1, 1, 1, "it did not know"),)
    assert np.isfinite(rollouts.actions).all() and not rollouts.actions[1, 1, 2:].any()


def test_what_a_policy_raises_is_said_of_the_policy():
    class Torn(Watcher):
        observes: ClassVar[str] = "state"

        def act(self, seen, t):
            raise ValueError("shapes (8,1) and (2,2)\nnot aligned")

    message = r"^the policy raised at step 0: ValueError: shapes \(8,1\) and \(2,2\) not aligned$"
    with pytest.raises(PolicyError, match=message):
        collect(LinearEnv(M * N, A, B), Torn(), CONDITIONS, np.zeros((M, N, T, DU)), seed=0)
