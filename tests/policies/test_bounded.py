"""Networks that are optimised through a model: two languages agree, limits hold, angles wrap, files act the same."""

import dataclasses

import numpy as np
import pytest
from helpers.onnx_file import run_onnx
from helpers.policies import KEY, bounded_network, bounded_policy

from gps.backend import jax
from gps.builders.policies import make_bounded_network
from gps.config.policy import BoundedPolicyConfig
from gps.costs import Quadratic, Ramp
from gps.errors import ConfigError, PolicyError
from gps.networks import Affine, BoundedPerceptron, RadialBasis, squashing
from gps.policies import NeuralPolicy
from gps.policies.export import export_npz, export_onnx, read_loader
from gps.problem import Limits, Problem

KINDS = ("rbf", "affine", "bounded_mlp")
WIDE = np.array([[30.0, -30.0]] * 3 + [[-30.0, 30.0]] * 4)
SQUASHINGS = ("sine", "tanh", "none")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("squash", SQUASHINGS)
@pytest.mark.parametrize("angles", [(), (0,), (1, 3)])
def test_acting_is_the_mean_with_the_same_bits_in_any_batch(kind, squash, angles):
    policy = bounded_policy(kind, squash, angles)
    o = 3.0 * np.random.default_rng(1).normal(size=(45, 5))
    alone = np.array([policy.act(one) for one in o])
    np.testing.assert_allclose(alone, policy.mean(o), rtol=1e-12, atol=1e-12)
    for size in (1, 2, 7, 32, 45):
        batches = [policy.act(o[i : i + size]) for i in range(0, 45, size)]
        assert np.concatenate(batches).tobytes() == alone.tobytes()
    assert policy.act(np.asfortranarray(o)).tobytes() == alone.tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("squash", ["sine", "tanh"])
def test_the_actions_reach_their_limits_and_stay_within(kind, squash):
    policy = bounded_policy(kind, squash)
    if kind != "rbf":
        policy = dataclasses.replace(policy, network=jax.tree.map(lambda array: 10.0 * array, policy.network))
    else:
        policy = dataclasses.replace(policy, network=dataclasses.replace(policy.network, weights=WIDE))
    u = policy.act(np.random.default_rng(0).normal(size=(4000, 5)))
    low, high = np.array([-1.0, -2.0]), np.array([3.0, 0.5])
    assert (u >= low - 1e-12).all() and (u <= high + 1e-12).all()
    if squash == "sine":
        np.testing.assert_allclose(u.min(axis=0), low, atol=0.01)
        np.testing.assert_allclose(u.max(axis=0), high, atol=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_turn_changes_nothing(kind):
    policy, o = bounded_policy(kind), np.random.default_rng(0).normal(size=5)
    turned = o + 2 * np.pi * np.array([0, 1, 0, -2, 0])
    np.testing.assert_allclose(policy.act(turned), policy.act(o), atol=1e-12)
    assert np.abs(policy.act(o + 0.1) - policy.act(o)).max() > 1e-6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("squash", SQUASHINGS)
@pytest.mark.parametrize("angles", [(), (1, 3), (0, 1, 2, 3, 4)])
def test_exported_files_act_the_same(tmp_path, kind, squash, angles):
    policy = bounded_policy(kind, squash, angles)
    policy = dataclasses.replace(policy, input_mean=np.arange(5.0), output_scale=np.array([2.0, 3.0]))
    o = np.random.default_rng(0).normal(size=(7, 5))
    export_npz(policy, tmp_path / "policy.npz")
    namespace: dict = {}
    exec(compile(read_loader(), "load_policy.py", "exec"), namespace)
    act = namespace["load"](tmp_path / "policy.npz")
    for one in o:
        np.testing.assert_allclose(act(one), policy.act(one), atol=1e-12)
    pytest.importorskip("onnx")
    export_onnx(policy, tmp_path / "policy.onnx")
    for rows in (o, o[:1]):
        np.testing.assert_allclose(run_onnx(tmp_path / "policy.onnx", observation=rows), policy.act(rows), atol=1e-12)


def test_centres_are_drawn_around_what_was_seen():
    seen = np.random.default_rng(0).normal([5.0, 0.0], [0.1, 0.3], size=(100, 2))
    network = RadialBasis.create(2, [-1.0], [1.0], KEY, 30, (1,), seen=seen)
    assert network.centres.shape == (30, 3)  # the plain entry, the sine, the cosine
    np.testing.assert_allclose(network.centres.mean(axis=0)[:2], [5.0, 0.0], atol=0.2)
    np.testing.assert_allclose(np.exp(network.log_lengthscales[:2]), [0.1, 0.3], rtol=0.3)
    alike = RadialBasis.create(2, [-1.0], [1.0], KEY, 3, seen=np.ones((4, 2)))
    assert np.isfinite(alike.centres).all() and np.isfinite(alike.log_lengthscales).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bounded_network("affine", "sin"), "expected sine, tanh, none; did you mean 'sine'"),
        (lambda: bounded_network("affine", angles=(5,)), "expected different entries from 0 to 4"),
        (lambda: Affine.create(2, [-np.inf], [1.0], KEY), 'action 0 has the limits -inf and 1, .*; take "none"'),
        (lambda: RadialBasis.create(2, [-1.0], [1.0], KEY, features=0), "at least one"),
    ],
)
def test_networks_that_cannot_be_are_refused(make, message):
    with pytest.raises(PolicyError, match=message):
        make()


def problem(**changes) -> Problem:
    cost = Quadratic((0,), np.zeros(1), np.ones(1), Ramp(5))
    return Problem(**{"cost": cost, "dx": 3, "du": 1, "horizon": 5, "limits": Limits(-2.0, 2.0), **changes})


@pytest.mark.parametrize(("name", "kind"), [("rbf", RadialBasis), ("affine", Affine), ("mlp", BoundedPerceptron)])
def test_they_are_built_from_their_section(name, kind):
    network = make_bounded_network(BoundedPolicyConfig(network=name, features=9), problem(), 0, (1,))
    assert type(network) is kind and network.angles == (1,) and network.squash == "sine"
    assert "3 observations, 1 of them angles" in network.description
    assert NeuralPolicy.untrained(network).act(np.zeros(3)).shape == (1,)
    free = make_bounded_network(BoundedPolicyConfig(network=name), problem(limits=Limits()), 0)
    assert free.squash == "none"
    with pytest.raises(ConfigError, match=r"algorithm\.policy: squash 'tanh': action 0"):
        make_bounded_network(BoundedPolicyConfig(squash="tanh"), problem(limits=Limits()), 0)


@pytest.mark.parametrize("squash", SQUASHINGS)
def test_the_inverse_of_a_squashing_is_its_inverse(squash):
    function, f = squashing.SQUASHINGS[squash], np.linspace(-1.5, 1.5, 31)
    np.testing.assert_allclose(function.invert(function.numpy(f)), f, atol=1e-12)
    assert np.isfinite(function.invert(np.array([-2.0, -1.0, 1.0, 2.0]))).all()


def test_radial_bases_imitate_another_network_around_a_trajectory():
    teacher = Affine.create(3, (-1.0, 0.0), (1.0, 4.0), jax.random.key(1), (2,), "tanh", spread=0.5)
    student = RadialBasis.create(3, (-1.0, 0.0), (1.0, 4.0), jax.random.key(2), 80, (2,), "tanh")
    t = np.linspace(0.0, 3.0, 400)
    path = np.stack([np.sin(t), np.cos(2.0 * t), t], axis=1)
    inputs = path + 0.03 * np.random.default_rng(0).normal(size=(2, 400, 3))
    student = student.fit_weights(inputs[0], teacher.evaluate(inputs[0]))
    error = student.evaluate(inputs[1]) - teacher.evaluate(inputs[1])
    spread = teacher.evaluate(inputs[1]).std(axis=0)
    assert (np.sqrt(np.mean(error**2, axis=0)) < 0.1 * spread).all()


@pytest.mark.parametrize("squash", SQUASHINGS)
def test_an_affine_network_that_imitates_another_one_is_that_one(squash):
    """An entry that has no effect, and one that does not vary, get no weight."""
    teacher = Affine.create(4, (-1.0, 0.0), (1.0, 4.0), jax.random.key(1), (2,), squash, spread=0.2)
    weights = np.array(teacher.weights)
    weights[[1, 2]] = 0.0
    teacher = dataclasses.replace(teacher, weights=weights)
    inputs = np.random.default_rng(0).normal(size=(200, 4)) * [1.0, 0.1, 1.0, 0.0] + [0.0, 1.0, 0.3, 2.0]
    student = Affine.create(4, (-1.0, 0.0), (1.0, 4.0), jax.random.key(2), (2,), squash)
    student = student.fit_weights(inputs, teacher.evaluate(inputs))
    np.testing.assert_allclose(student.evaluate(inputs), teacher.evaluate(inputs), atol=1e-4)
    np.testing.assert_allclose(student.weights[weights == 0], 0.0, atol=1e-4)
