"""Policies as flat arrays: every bit comes back, and damaged arrays are refused."""

import dataclasses

import numpy as np
import pytest
from helpers.policies import bounded_policy, seeing_policy, vector_policy
from helpers.records import controllers

from gps.backend import jax
from gps.linear_gaussian.types import Controller
from gps.networks import NETWORKS
from gps.policies import NeuralPolicy
from gps.policies.neural import find_fault
from gps.policies.stored import flatten_policy, read_policy
from gps.storage.serialization import CorruptFile, read_npz, write_npz

BATCH = controllers(np.random.default_rng(0), M=3)
BOUNDED = ("rbf", "affine", "bounded_mlp", "gru")
POLICIES = {"mlp": vector_policy(), "convolutional": seeing_policy(), "controllers": BATCH, "one": BATCH[1].numpy()}
POLICIES |= {kind: bounded_policy(kind) for kind in BOUNDED}


def test_every_network_is_covered():
    assert set(NETWORKS) <= set(POLICIES)


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_comes_back_bit_for_bit(tmp_path, name):
    policy = POLICIES[name]
    write_npz(tmp_path / "policy.npz", flatten_policy(policy))
    again = read_policy(read_npz(tmp_path / "policy.npz"))
    assert type(again) is type(policy)
    assert jax.tree.structure(again) == jax.tree.structure(policy)
    for new, old in zip(jax.tree.leaves(again), jax.tree.leaves(policy), strict=True):
        assert (new.dtype, new.shape, new.tobytes()) == (old.dtype, old.shape, np.asarray(old).tobytes())
    if not isinstance(policy, Controller):
        assert type(again.network) is type(policy.network) is NETWORKS[name]
        assert find_fault(again) == ""


def kind(name: str) -> dict[str, np.ndarray]:
    return {"kind": np.frombuffer(name.encode(), np.uint8)}


@pytest.mark.wrong_shapes
@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("mlp", lambda a: a.pop("kind"), "'kind' is missing"),
        (
            "mlp",
            lambda a: a.update(kind("fourier")),
            "the kind 'fourier' is unknown; expected controllers, mlp",
        ),
        ("mlp", lambda a: a.update(kind=np.frombuffer(b"\xff\xfe", np.uint8)), "'kind' is not str"),
        ("mlp", lambda a: a.update(kind=np.array(3.0)), "'kind' is not str|the kind .* is unknown"),
        ("mlp", lambda a: a.update(kind("convolutional")), "'network.kernels:length' is missing"),
        ("mlp", lambda a: a.update(kind("controllers")), "'feedback' is missing"),
        ("mlp", lambda a: a.pop("network.weights.1"), "'network.weights.1' is missing"),
        ("mlp", lambda a: a.update(extra=np.zeros(2)), "'extra' is not a part of NeuralPolicy"),
        ("convolutional", lambda a: a.update(kind("mlp")), "'network.weights:length' is missing"),
        ("controllers", lambda a: a.pop("feedforward"), "'feedforward' is missing"),
        ("controllers", lambda a: a.update(feedforward=np.zeros((3, 5, 2))), "do not fit together"),
        ("controllers", lambda a: a.update(feedforward=np.zeros(())), "do not fit together"),
        ("controllers", lambda a: a.update(covariance=a["covariance"][..., :1]), "do not fit together"),
        ("controllers", lambda a: a.update(feedback=a["feedback"] * 1j), "not all of real numbers"),
    ],
)
def test_arrays_that_are_no_policy_are_refused(name, change, message):
    arrays = flatten_policy(POLICIES[name])
    change(arrays)
    with pytest.raises(CorruptFile, match=message):
        read_policy(arrays)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda a: a.update({"network.weights.0": a["network.weights.0"][:, :1]}), "its arrays do not fit together"),
        (
            lambda a: a.update({"network.activation": np.frombuffer(b"relo", np.uint8)}),
            "its activation function",
        ),
        (lambda a: a.update(covariance=-a["covariance"]), "covariance is not positive definite"),
        (lambda a: a.update(input_mean=np.full_like(a["input_mean"], np.inf)), "not all finite"),
    ],
)
def test_the_faults_of_a_policy_that_was_read_are_found(change, why):
    arrays = flatten_policy(vector_policy())
    change(arrays)
    policy = read_policy(arrays)
    assert isinstance(policy, NeuralPolicy)
    assert why in find_fault(policy)


def test_a_network_that_has_no_kind_cannot_be_stored():
    @dataclasses.dataclass(frozen=True)
    class Other:
        pass

    policy = dataclasses.replace(vector_policy(), network=Other())
    with pytest.raises(TypeError, match="network Other cannot be stored"):
        flatten_policy(policy)
