"""Small policies for tests that do not depend on the policy."""

import dataclasses

import numpy as np

from gps.backend import jax
from gps.networks import GRU, Affine, Bounded, BoundedPerceptron, RadialBasis
from gps.policies import MLP, Convolutional, NeuralPolicy, Pixels

KEY = jax.random.key(3)


def vector_policy(sizes=(5, 33, 17, 3), activation="tanh") -> NeuralPolicy:
    rng = np.random.default_rng(0)
    do, du = sizes[0], sizes[-1]
    root = rng.normal(size=(du, du))
    network = MLP.create(sizes, KEY, activation, gain=1.0)
    return NeuralPolicy(
        network, rng.normal(size=do), rng.uniform(0.5, 2, do), rng.uniform(1, 9, du), root @ root.T + np.eye(du)
    )


def seeing_policy(vector_size=2) -> NeuralPolicy:
    network = Convolutional.create((64, 70, 3), vector_size, 2, KEY, channels=(4, 5), kernels=(7, 3), strides=(3, 2))
    policy = NeuralPolicy.untrained(network)
    return dataclasses.replace(policy, input_mean=np.full(vector_size, 0.3), input_scale=np.full(vector_size, 2.0))


def seen(rng, *lead, vector_size=2) -> Pixels:
    image = rng.integers(0, 256, (*lead, 64, 70, 3), dtype=np.uint8)
    return Pixels(image, rng.normal(size=(*lead, vector_size)))


def bounded_policy(kind="rbf", squash="sine", angles=(1, 3), size=5) -> NeuralPolicy:
    """A policy as algorithms optimise it through a model; its limits are not symmetric."""
    return NeuralPolicy.untrained(bounded_network(kind, squash, angles, size), 0.1)


def bounded_network(kind="rbf", squash="sine", angles=(1, 3), size=5) -> Bounded:
    limits = (-1.0, -2.0), (3.0, 0.5)
    match kind:
        case "rbf":
            return RadialBasis.create(size, *limits, KEY, 7, angles, squash, spread=1.0)
        case "affine":
            return Affine.create(size, *limits, KEY, angles, squash, spread=1.0)
        case "gru":
            return GRU.create(size, *limits, KEY, 7, angles, squash, gain=1.0)
        case _:
            return BoundedPerceptron.create(size, *limits, KEY, (6, 4), "tanh", angles, squash)
