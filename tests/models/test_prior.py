"""A global model as the prior of local dynamics."""

import dataclasses

import numpy as np
import pytest
from helpers.bits import assert_same_bits
from helpers.global_models import AffineLearner, AffineModel, FixedLearner, SureOfSlopes
from helpers.linear_system import FIRST, PROBLEM, STARTS, advance

from gps.algorithms.local.trajopt import TrajOpt
from gps.backend import jnp
from gps.dynamics.mixture import MixturePrior
from gps.dynamics.prior import Transitions
from gps.dynamics.regression import fit_dynamics
from gps.dynamics.residual import Residuals
from gps.models.belief import slope_spread
from gps.models.prior import ModelPrior, believe, find_centers
from gps.storage.serialization import flatten, unflatten

M, S, DX, DU = 2, 12, 3, 2
DZ = DX + DU


def make_model(rng, noise=0.05, doubt=0.05, slopes=0.2, kind=SureOfSlopes):
    """A model whose belief about each slope is N(0, slopes²)."""
    F = np.hstack([0.9 * np.eye(DX), rng.normal(size=(DX, DU))])
    covariances = np.tile(slopes**2 * np.eye(DZ), (DX, 1, 1))
    return kind(F, np.zeros(DX), np.zeros(DZ), np.full(DX, noise), np.full(DX, doubt), covariances)


def make_samples(model, rng, N, wrong=0.0, offset=0.0, S=S):
    """Samples of systems that differ at each step from the model's slopes by N(0, wrong²), and the true slopes."""
    F = np.asarray(model.slopes) + wrong * rng.normal(size=(M, S, DX, DZ))
    shift = offset * rng.normal(size=(M, S, DX))
    states = rng.normal(size=(M, 1, S + 1, DX)) + 0.3 * rng.normal(size=(M, N, S + 1, DX))
    actions = 0.5 * rng.normal(size=(M, N, S + 1, DU))
    z = np.concatenate([states, actions], axis=-1)[:, :, :-1]
    after = np.einsum("msij,mnsj->mnsi", F, z) + shift[:, None]
    after += np.asarray(model.noise) * rng.normal(size=(M, N, S, DX))
    points = np.concatenate([z, after], axis=-1)
    return Transitions(points, np.ones((M, N, S), bool)), (F, shift)


def held_out_error(dynamics, truth, transitions):
    """Root mean square of the one-step error around the samples, without noise."""
    F, c = dynamics
    z = transitions.points[..., :DZ]
    predicted = np.einsum("msij,mnsj->mnsi", F, z) + c[:, None]
    return np.sqrt(((predicted - np.einsum("msij,mnsj->mnsi", truth[0], z) - truth[1][:, None]) ** 2).mean())


def measure(transitions, model):
    return Residuals.of(transitions, believe(model, transitions, DX, 0))


def test_a_model_that_is_right_is_trusted_much_and_one_that_is_wrong_little():
    rng = np.random.default_rng(0)
    model = make_model(rng)
    trusted = []
    for wrong in (0.0, 0.2, 2.0):
        transitions, _ = make_samples(model, rng, 4, wrong, offset=wrong / 4)
        trusted.append(measure(transitions, model).choose_weights().strength)
    assert trusted[0] > 100
    assert 0.3 < trusted[1] < 3.0  # the model's own belief is right
    assert trusted[2] < 0.1


@pytest.mark.parametrize("count", [1, 3, 10])
@pytest.mark.parametrize("wrong", [0.02, 0.2, 1.0])
def test_the_strength_of_the_largest_likelihood_predicts_like_the_best_one(count, wrong):
    rng = np.random.default_rng(count)
    model = make_model(rng)
    transitions, truth = make_samples(model, rng, count, wrong, offset=wrong / 4, S=60)
    near = find_centers(transitions, DZ)[:, None] + 0.3 * np.random.default_rng(100).normal(size=(M, 20, 60, DZ))
    fresh = Transitions(np.concatenate([near, near[..., :DX]], axis=-1), np.ones((M, 20, 60), bool))
    residuals = measure(transitions, model)

    def error(strength):
        return held_out_error(residuals.fit(residuals.choose_weights(strength))[:2], truth, fresh)

    best = min(error(strength) for strength in np.geomspace(1e-3, 1e4, 15))
    assert error(None) <= 1.05 * best


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_samples_make_a_usable_model(count):
    rng = np.random.default_rng(1)
    model = make_model(rng)
    transitions, truth = make_samples(model, rng, count, 0.1)
    residuals = measure(transitions, model)
    F, c, W = residuals.fit(residuals.choose_weights())
    assert np.linalg.eigvalsh(W).min() > 0
    error = held_out_error((F, c), truth, transitions)
    alone = held_out_error(residuals.fit(residuals.choose_weights(1e4))[:2], truth, transitions)
    assert error < alone


def test_the_belief_of_the_drawn_functions_is_the_one_that_the_model_states():
    rng = np.random.default_rng(2)
    stated = make_model(rng)
    drawn = AffineModel(**{f.name: getattr(stated, f.name) for f in dataclasses.fields(stated)})
    transitions, _ = make_samples(stated, rng, 3)
    one, two = (believe(model, transitions, DX, 0) for model in (stated, drawn))
    np.testing.assert_array_equal(one.slopes, two.slopes)
    np.testing.assert_allclose(np.sqrt(one.noise.mean()), 0.05, rtol=0.05)
    spread = np.linalg.norm(one.points, axis=-1)[..., None] ** 2 * 0.2**2 + 0.05**2
    np.testing.assert_allclose((one.doubt / spread).mean(), 1.0, rtol=0.3)
    variances = np.diagonal(two.slope_covariances, axis1=-2, axis2=-1)
    np.testing.assert_allclose(variances.mean(), 0.2**2, rtol=0.2)


def test_a_model_without_doubt_or_noise_is_given_that_of_one_sample():
    rng = np.random.default_rng(3)
    sure = make_model(rng, noise=0.0, doubt=0.0, slopes=0.0)
    noisy = dataclasses.replace(sure, noise=np.full(DX, 0.05))
    transitions, truth = make_samples(noisy, rng, 8, 0.3)
    belief = believe(sure, transitions, DX, 0)
    assert (belief.noise > 0).all()
    np.testing.assert_array_equal(belief.doubt, belief.noise)
    residuals = measure(transitions, sure)
    weights = residuals.choose_weights()
    F, c, _ = residuals.fit(weights)
    alone = held_out_error((belief.slopes, np.zeros((M, S, DX))), truth, transitions)
    assert held_out_error((F, c), truth, transitions) < 0.5 * alone
    assert weights.strength < 10


def test_the_spread_of_an_ensembles_slopes_is_positive_definite_with_few_members():
    slopes = np.random.default_rng(0).normal(size=(3, DX, DZ))
    spread = np.asarray(slope_spread(jnp.asarray(slopes)))
    assert np.linalg.eigvalsh(spread).min() > 0
    np.testing.assert_allclose(np.diagonal(spread, axis1=1, axis2=2), slopes.var(axis=0, ddof=1), rtol=1e-12)


def split(transitions):
    """States, actions and mask of T = S + 1 steps whose transitions these are, as far as they can be."""
    points, mask = transitions
    states = np.concatenate([points[..., :DX], points[:, :, -1:, DZ:]], axis=2)
    actions = np.concatenate([points[..., DX:DZ], points[:, :, -1:, DX:DZ]], axis=2)
    return states, actions, np.concatenate([mask, mask[:, :, -1:]], axis=2)


@pytest.mark.parametrize("before", [None, MixturePrior(points_per_cluster=10)], ids=["least squares", "mixture"])
def test_before_there_is_a_model_the_fit_is_that_of_another_prior(before):
    rng = np.random.default_rng(4)
    samples = split(make_samples(make_model(rng), rng, 6)[0])
    dynamics, prior = ModelPrior(AffineLearner(), before).fit(*samples, seed=3)
    other = fit_dynamics(*samples) if before is None else before.fit(*samples, seed=3).dynamics
    assert_same_bits(dynamics.numpy(), other.numpy())
    assert prior.learner.model is not None
    assert "There is no model yet" in prior.make_record().message


def test_the_model_has_not_seen_the_samples_that_it_is_a_prior_of():
    rng = np.random.default_rng(5)
    model = make_model(rng)
    first, second = (split(make_samples(model, rng, 6)[0]) for _ in range(2))
    prior = ModelPrior(AffineLearner()).fit(*first, seed=0).prior
    dynamics, after = prior.fit(*second, seed=1)
    assert after.learner.data.size == 2 * prior.learner.data.size
    fixed = ModelPrior(FixedLearner(prior.learner.model)).fit(*second, seed=1)
    assert_same_bits(dynamics, fixed.dynamics)
    assert fixed.prior.learner.seen == second[2][:, :, 1:].sum()


def test_a_regression_alone_teaches_the_model_nothing():
    model = make_model(np.random.default_rng(0))
    first, second = (split(make_samples(model, np.random.default_rng(k), 4)[0]) for k in (1, 2))
    prior = ModelPrior(AffineLearner()).fit(*first, seed=0).prior
    dynamics, after = prior.regress(*second, seed=1)
    assert_same_bits(dynamics, prior.fit(*second, seed=1).dynamics)
    assert_same_bits(after.learner.model, prior.learner.model)


def test_a_prediction_that_is_not_finite_is_not_used():
    rng = np.random.default_rng(6)
    broken = dataclasses.replace(make_model(rng), value=np.array([0.0, np.nan, 0.0]))
    samples = split(make_samples(make_model(rng), rng, 6)[0])
    dynamics, prior = ModelPrior(FixedLearner(broken), None).fit(*samples, seed=0)
    assert_same_bits(dynamics.numpy(), fit_dynamics(*samples).numpy())
    assert "not finite" in prior.make_record().message


def test_without_samples_the_dynamics_are_finite_and_the_models_own():
    rng = np.random.default_rng(7)
    model = make_model(rng)
    states, actions, mask = split(make_samples(model, rng, 3)[0])
    mask[1] = False
    dynamics, _ = ModelPrior(FixedLearner(model)).fit(states, actions, mask, seed=0)
    np.testing.assert_array_equal(dynamics.matrix[1], np.broadcast_to(model.slopes, (S, DX, DZ)))
    assert all(np.isfinite(array).all() for array in dataclasses.astuple(dynamics))
    nothing, prior = ModelPrior(FixedLearner(model)).fit(states, actions, mask & False, seed=0)
    assert all(np.isfinite(array).all() for array in dataclasses.astuple(nothing))
    assert "no samples" in prior.make_record().message


def test_the_centre_of_a_step_without_samples_is_that_of_the_nearest_step():
    points = np.arange(5.0)[None, None, :, None] * np.ones((2, 1, 1, 3))
    mask = np.array([[[False, True, False, False, True]], [[False] * 5]])
    centers = find_centers(Transitions(points, mask), 1)
    np.testing.assert_array_equal(centers[0, :, 0], [1, 1, 1, 4, 4])
    np.testing.assert_array_equal(centers[1, :, 0], 2.5)


def test_the_record_says_how_far_the_model_was_trusted():
    rng = np.random.default_rng(8)
    model = make_model(rng)
    samples = split(make_samples(model, rng, 40, 0.2, S=1)[0])
    record = ModelPrior(FixedLearner(model)).fit(*samples, seed=0).prior.make_record()
    assert record.message.startswith("The model was trusted like ")
    assert "samples, and its noise like " in record.message
    assert record.one_step_error.shape == (DX,)
    assert 0.3 < record.coverage[0] < record.coverage[1] <= 1.0


def test_a_stored_prior_goes_on_to_the_bit():
    optimiser = TrajOpt(PROBLEM, prior=ModelPrior(AffineLearner(), MixturePrior(points_per_cluster=10)))
    state = optimiser.begin(FIRST, STARTS)
    for i in range(2):
        state, _ = advance(optimiser, state, seed=i, samples=4)
    restored = unflatten(optimiser.state_type, flatten(state))
    assert_same_bits(restored, state)
    ends = [advance(optimiser, each, seed=2, samples=4)[0] for each in (state, restored)]
    assert_same_bits(*ends)


def test_two_samples_are_enough_to_learn_on_under_a_model():
    """On a linear system, whose model needs no more than the samples of one iteration."""
    costs = []
    for prior in (ModelPrior(AffineLearner(1e-3)), None):
        optimiser = TrajOpt(PROBLEM, kl_step=2.0, prior=prior)
        state = optimiser.begin(FIRST, STARTS)
        for i in range(8):
            state, record = advance(optimiser, state, seed=i, samples=2)
        costs.append(record.mean_cost.mean())
    assert costs[0] < 0.8 * costs[1]


@dataclasses.dataclass(frozen=True)
class Simulated(FixedLearner):
    """A learner with a simulator that is not stored."""

    simulator: str | None = dataclasses.field(default=None, init=False)

    def attach(self, simulator):
        new = dataclasses.replace(self)
        object.__setattr__(new, "simulator", simulator)
        return new


def test_a_prior_that_was_read_gets_the_simulator_of_the_configured_one_back():
    learner = Simulated(make_model(np.random.default_rng(9))).attach("a simulator")
    configured = ModelPrior(learner)
    read = unflatten(configured.stored_type, flatten(ModelPrior(learner, strength=2.0)))
    assert read.learner.simulator is None
    restored = configured.restore(read)
    assert restored.learner.simulator == "a simulator" and restored.strength == 2.0
    plain = ModelPrior(AffineLearner())
    assert ModelPrior(AffineLearner(0.5)).restore(plain) is plain
