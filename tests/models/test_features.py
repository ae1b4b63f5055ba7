"""The inputs and targets of learned models."""

import numpy as np
import pytest

from gps.backend import jax, jnp
from gps.dynamics.prior import Transitions
from gps.models.data import Dataset, pool_transitions
from gps.models.ensemble_learner import EnsembleLearner
from gps.models.features import Differences, Encoding, StateTransforms
from gps.models.gaussian_process_learner import GaussianProcessLearner
from gps.models.linear import LinearLearner
from gps.models.members import EnsembleOptions
from gps.models.mixture_learner import MixtureLearner


def quaternions(rng, n):
    q = rng.normal(size=(n, 4))
    return q / np.linalg.norm(q, axis=1, keepdims=True)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(50, 3)), rng.normal(size=(50, 2)) * 5.0 + 2.0
    return Dataset(x, u, x + 0.1 * rng.normal(size=x.shape), np.repeat(np.arange(5), 10))


def test_inputs_and_targets_have_mean_zero_and_deviation_one(data):
    for encoded in (Encoding.of(data).encode_all(data), Differences.of(data).encode_all(data)):
        np.testing.assert_allclose(encoded.mean(axis=0), 0.0, atol=1e-12)
        np.testing.assert_allclose(encoded.std(axis=0), 1.0, rtol=1e-12)


def test_decoding_a_target_gives_the_successor(data):
    differences = Differences.of(data)
    targets = differences.encode_all(data)
    np.testing.assert_allclose(jax.vmap(differences.decode)(data.states, targets), data.successors, atol=1e-12)


def test_constant_entries_are_left_out_wherever_they_stand():
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=40), np.full(40, 1e6 + 1 / 3)])
    data = Dataset(x, np.full((40, 1), 0.1), x + [0.3, 0.0], np.zeros(40, int))
    encoding, differences = Encoding.of(data), Differences.of(data)
    assert (encoding.weight > 0).tolist() == [True, False, False]
    assert differences.varies.tolist() == [False, False]
    after = differences.decode(jnp.asarray(x[0]), jnp.zeros(2))
    np.testing.assert_allclose(after, x[0] + [0.3, 0.0], rtol=1e-12)


def test_an_angle_enters_without_its_turns_and_differs_by_the_shortest_way():
    transforms, turn = StateTransforms(angles=(0,)), 2 * np.pi
    x = np.array([[3.1, 1.0], [-3.1, -1.0], [0.2, 0.5]])
    after = np.array([[-3.1, 1.0], [3.1, -1.0], [0.3, 0.5]])
    data = Dataset(x, np.array([[0.0], [1.0], [2.0]]), after, np.zeros(3, int))
    encoding = Encoding.of(data, transforms)
    turned = data._replace(states=x + np.array([turn, 0.0]))
    np.testing.assert_allclose(encoding.encode_all(data), encoding.encode_all(turned), atol=1e-12)
    np.testing.assert_allclose(encoding(x[0], data.actions[0]), encoding.encode_all(data)[0], atol=1e-12)
    differences = Differences.of(data, transforms)
    raw = differences.encode_all(data) * differences.deviation + differences.mean
    np.testing.assert_allclose(raw[:, 0], [turn - 6.2, 6.2 - turn, 0.1], atol=1e-12)


def test_what_is_ignored_is_no_input_but_its_change_is_learned():
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(40, 7)), rng.normal(size=(40, 2))
    data = Dataset(x, u, x + rng.normal(size=x.shape), np.zeros(40, int))
    transforms = StateTransforms(angles=(1,), quaternions=(3,), ignored=(2, 3, 4, 5, 6))
    encoding, all_in = Encoding.of(data, transforms), Encoding.of(data, transforms._replace(ignored=()))
    moved = x.copy()
    moved[:, 2:] = rng.normal(size=(40, 5))
    inputs = encoding.encode_all(data)
    np.testing.assert_array_equal(encoding.encode_all(data._replace(states=moved)), inputs)
    used = (inputs != 0).any(axis=0)
    assert used.sum() == 5  # one plain entry, a sine, a cosine, two actions
    np.testing.assert_allclose(inputs[:, used], all_in.encode_all(data)[:, used])
    assert Differences.of(data, transforms).varies.all()


def test_the_sign_of_a_quaternion_does_not_matter():
    rng = np.random.default_rng(1)
    q, after = quaternions(rng, 30), quaternions(rng, 30)
    after = np.where((q * after).sum(axis=1, keepdims=True) < 0, -after, after)
    transforms = StateTransforms(quaternions=(0,))
    data = Dataset(q, np.zeros((30, 1)), after, np.zeros(30, int))
    flipped = data._replace(successors=-after)
    differences = Differences.of(data, transforms)
    np.testing.assert_allclose(differences.encode_all(data), differences.encode_all(flipped), atol=1e-12)
    encoding = Encoding.of(data, transforms)
    np.testing.assert_allclose(encoding.encode_all(data), encoding.encode_all(data._replace(states=-q)), atol=1e-12)
    decoded = np.asarray(jax.vmap(differences.decode)(q, differences.encode_all(data) * 1.3))
    np.testing.assert_allclose(np.linalg.norm(decoded, axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(jax.vmap(differences.decode)(q, differences.encode_all(data)), after, atol=1e-12)


def test_a_rotation_matrix_is_one_of_the_quaternion():
    from scipy.spatial.transform import Rotation

    from gps.models.features import _rotation

    q = quaternions(np.random.default_rng(2), 1)[0]
    expected = Rotation.from_quat(q, scalar_first=True).as_matrix()
    np.testing.assert_allclose(_rotation(jnp.asarray(q)), expected, atol=1e-12)


def test_the_pool_keeps_what_is_finite_and_numbers_its_episodes():
    points = np.arange(2 * 1 * 3 * 5, dtype=float).reshape(2, 1, 3, 5)
    points[0, 0, 1, 0] = np.nan
    mask = np.ones((2, 1, 3), bool)
    mask[1, 0, 2] = False
    data = Dataset.of(Transitions(points, mask), 2)
    assert data.size == 4 and data.episodes.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(data.successors[0], points[0, 0, 0, 3:])
    both = Dataset.empty(2, 1).add(data).add(data)
    assert both.episodes.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert both.thin(4).size == 4 and both.thin(100).size == 8


def make_transitions(rng, scale=1.0, absurd=None):
    """Transitions of 2 states and an action; an absurd number stands in one state, which is a successor too."""
    z = scale * rng.normal(size=(1, 3, 20, 3))
    points = np.concatenate([z, z[..., :2] + 0.1 * z[..., 1:]], axis=-1)
    if absurd is not None:
        points[0, 1, 4, 1] = points[0, 1, 3, 4] = absurd
    return Transitions(points, np.ones((1, 3, 20), bool))


@pytest.mark.parametrize("first", [True, False], ids=["among the first", "later"])
def test_an_absurd_transition_is_left_out_and_named(first):
    rng = np.random.default_rng(0)
    before = None if first else Dataset.of(make_transitions(rng), 2)
    new = Dataset.of(make_transitions(rng, absurd=-1e8), 2)
    data, kept, said = pool_transitions(before, new)
    assert kept.size == 58 and data.size == 58 + (0 if first else 60)
    assert said == "2 transitions were left out: a number as large as 1e+08 is not of the scale of the others."
    assert Encoding.of(data).weight.min() > 0.1 and kept.episodes.tolist() == [0] * 20 + [1] * 18 + [2] * 20


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e7])
def test_sane_transitions_stay_as_they_are_whatever_their_units(scale):
    rng = np.random.default_rng(0)
    before, new = (Dataset.of(make_transitions(rng, scale), 2) for _ in range(2))
    data, kept, said = pool_transitions(before, new)
    assert kept is new and not said
    for found, expected in zip(data, before.add(new), strict=True):
        np.testing.assert_array_equal(found, expected)
    still = new._replace(states=np.where(np.arange(60)[:, None] < 3, new.states, 0.0))  # it moved once, from a rest
    assert pool_transitions(None, still).new is still


LEARNERS = {
    "linear": lambda: LinearLearner(2, 1),
    "gmm": lambda: MixtureLearner(2, 1),
    "gp": lambda: GaussianProcessLearner(dx=2, restarts=1, iterations=10),
    "neural": lambda: EnsembleLearner(2, EnsembleOptions(members=2, hidden=(8,), steps=50, check_every=50)),
}


@pytest.mark.parametrize("kind", LEARNERS)
def test_no_model_is_spoilt_by_an_absurd_transition(kind):
    good, bad = (make_transitions(np.random.default_rng(0), absurd=number) for number in (None, 1e8))
    spared = Transitions(good.points, good.mask & np.isin(bad.points, 1e8, invert=True).all(axis=-1))
    expected, found = (LEARNERS[kind]().refit(transitions, 0) for transitions in (spared, bad))
    at = jnp.array([0.3, -0.2]), jnp.array([0.1])
    np.testing.assert_array_equal(found.model.mean(*at), expected.model.mean(*at))
    assert "2 transitions were left out" in found.make_record().message
    assert "left out" not in expected.make_record().message
