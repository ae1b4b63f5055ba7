"""Networks and how a policy acts: NumPy agrees with JAX, one observation with a batch, and bad input is refused."""

import numpy as np
import pytest
from helpers.policies import KEY, seeing_policy, seen, vector_policy

from gps.backend import jax
from gps.errors import PolicyError
from gps.policies import MLP, Convolutional, NeuralPolicy, Pixels
from gps.storage.serialization import flatten, unflatten


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("sizes", [(5, 33, 17, 3), (26, 64, 64, 7), (4, 2), (1, 1, 1)])
def test_an_observation_has_the_same_bits_alone_and_among_others(sizes, activation):
    policy = vector_policy(sizes, activation)
    o = np.random.default_rng(1).normal(size=(45, sizes[0]))
    alone = np.array([policy.act(one) for one in o])
    for size in (1, 2, 3, 7, 20, 32, 45):
        batches = [policy.act(o[i : i + size]) for i in range(0, 45, size)]
        assert np.concatenate(batches).tobytes() == alone.tobytes()
    assert policy.act(o.reshape(9, 5, -1)).tobytes() == alone.tobytes()
    assert policy.act(np.asfortranarray(o)).tobytes() == alone.tobytes()


def test_acting_is_the_mean():
    policy, rng = vector_policy(), np.random.default_rng(1)
    o = rng.normal(size=(2, 3, 5))
    np.testing.assert_allclose(policy.act(o), policy.mean(o), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(policy.mean(o)[1, 2], policy.mean(o[1, 2]), rtol=1e-12, atol=1e-12)
    assert policy.act(o[:0]).shape == (0, 3, 3)


def test_a_draw_has_the_policys_covariance_and_is_the_generators():
    policy = vector_policy()
    o = np.broadcast_to(np.arange(5.0), (40_000, 5))
    u = policy.act(o, rng=np.random.default_rng(2))
    np.testing.assert_array_equal(u, policy.act(o, 7, np.random.default_rng(2)))
    np.testing.assert_allclose(np.cov(u.T), policy.covariance, rtol=0.05, atol=0.1)
    np.testing.assert_allclose(u.mean(axis=0), policy.act(o[0]), atol=0.05)


@pytest.mark.parametrize("vector_size", [0, 2])
def test_the_network_that_sees_is_the_same_in_numpy(vector_size):
    policy, rng = seeing_policy(vector_size), np.random.default_rng(1)
    o = seen(rng, 2, 3, vector_size=vector_size)
    u = policy.act(o)
    assert u.shape == (2, 3, 2)
    np.testing.assert_allclose(u, policy.mean(o), atol=1e-5)
    assert np.ptp(u, axis=(0, 1)).min() > 1e-4
    alone = np.array([[policy.act(Pixels(o.image[m, n], o.vector[m, n])) for n in range(3)] for m in range(2)])
    assert alone.tobytes() == u.tobytes()
    as_float = Pixels(o.image / 255.0, o.vector)
    np.testing.assert_allclose(policy.act(as_float), u, atol=1e-6)
    if not vector_size:
        np.testing.assert_array_equal(policy.act(o.image), u)


def test_the_soft_argmax_points_at_the_brightest():
    """One convolution of one pixel, which lets the red through, and a head that lets the points through."""
    kernel = np.zeros((1, 1, 3, 1), np.float32)
    kernel[0, 0, 0] = 50
    head = MLP((np.eye(2, dtype=np.float32),), (np.zeros(2, np.float32),), "relu")
    network = Convolutional((kernel,), (np.zeros(1, np.float32),), np.float32(1), head, (1,), (64, 101, 3), "relu")
    image = np.zeros((64, 101, 3))
    image[63, 25, 0] = 1
    np.testing.assert_allclose(NeuralPolicy.untrained(network).act(image), [-0.5, 1.0], atol=1e-6)


def test_equal_keys_make_equal_networks():
    one, two = (flatten(MLP.create((3, 8, 2), jax.random.key(seed))) for seed in (1, 1))
    assert all(np.array_equal(one[key], two[key]) for key in one)
    other = flatten(MLP.create((3, 8, 2), jax.random.key(2)))
    assert not np.array_equal(one["weights.0"], other["weights.0"])


@pytest.mark.parametrize(("policy", "kind"), [(vector_policy(), MLP), (seeing_policy(), Convolutional)])
def test_a_policy_is_stored_bit_for_bit(policy, kind):
    arrays = flatten(policy)
    again = unflatten(NeuralPolicy[kind], arrays)
    assert type(again.network) is kind
    assert jax.tree.structure(again) == jax.tree.structure(policy)
    assert all(a.tobytes() == arrays[key].tobytes() for key, a in flatten(again).items())


@pytest.mark.parametrize(
    ("policy", "observation", "message"),
    [
        (vector_policy(), np.zeros(4), r"vectors of shape \(4,\); this network takes \(..., 5\)"),
        (vector_policy(), 1.0, r"shape \(\)"),
        (vector_policy(), Pixels(np.zeros((64, 64, 3)), np.zeros(2)), "this network takes vectors, not images"),
        (seeing_policy(), np.zeros((64, 70, 3)), r"vectors of shape \(0,\); this network takes \(..., 2\)"),
        (seeing_policy(), Pixels(np.zeros((70, 64, 3)), np.zeros(2)), r"\(70, 64, 3\); .* = \(64, 70, 3\)"),
        (seeing_policy(), Pixels(np.zeros((2, 64, 70, 3)), np.zeros(2)), "one of each"),
        (seeing_policy(), Pixels(np.zeros((64, 70, 3), np.int64), np.zeros(2)), "images of int64; expected uint8"),
    ],
)
def test_observations_of_another_shape_are_refused(policy, observation, message):
    for function in (policy.act, policy.mean):
        with pytest.raises(PolicyError, match=message):
            function(observation)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP.create((3,), KEY), "sizes"),
        (lambda: MLP.create((3, 0, 1), KEY), "sizes"),
        (lambda: MLP.create((3, 4, 1), KEY, "relo"), "did you mean 'relu'"),
        (lambda: Convolutional.create((4, 64, 3), 0, 1, KEY), "leave 0 x 28 of images of 4 x 64 pixels"),
        (lambda: Convolutional.create((64, 64), 0, 1, KEY), r"expected \(H, W, C\)"),
        (lambda: Convolutional.create((64, 64, 3), 0, 1, KEY, strides=(2,)), "one of each"),
        (lambda: Convolutional.create((64, 64, 3), 0, 1, KEY, strides=(32, 1)), "leave"),
    ],
)
def test_networks_that_cannot_be_are_refused(make, message):
    with pytest.raises(PolicyError, match=message):
        make()
