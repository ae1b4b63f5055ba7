"""Build an untrained policy and the settings of its training from `[algorithm.policy]`."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from gps.backend import jax
from gps.config.dynamics import MixturePriorConfig
from gps.config.policy import BoundedPolicyConfig, ConvolutionalConfig, PerceptronConfig, PolicyConfig
from gps.dynamics.mixture import MixturePrior
from gps.errors import ConfigError, PolicyError
from gps.networks import GRU, Affine, Bounded, BoundedPerceptron, RadialBasis
from gps.observations import Sight
from gps.policies import MLP, Convolutional, NeuralPolicy
from gps.policies.learner import Learner
from gps.policies.supervised import Options, Training
from gps.problem import Problem


def make_learner(settings: PolicyConfig, problem: Problem, seed: int) -> Learner:
    """The policy before its first training step, with the settings of its training.

    Raises:
        ConfigError: if the network does not fit what the policy observes.
    """
    weights, choices = jax.random.split(jax.random.key(seed))
    prior = settings.prior
    own = settings.model_dump(exclude={"network", "hidden", "activation", "prior"})
    network = _make_network(settings, problem.sight, problem.du, weights)
    return Learner(
        Training.begin(NeuralPolicy.untrained(network), choices),
        Options(**own),
        MixturePrior(**prior.model_dump(exclude={"name"})) if isinstance(prior, MixturePriorConfig) else None,
    )


def make_bounded_network(
    settings: BoundedPolicyConfig,
    problem: Problem,
    seed: int,
    angles: Sequence[int] = (),
    seen: Float[np.ndarray, "n do"] | None = None,
    spread: float = 0.1,
) -> Bounded:
    """The network of a policy that is optimised through a model, with random weights.

    Args:
        angles: entries of the policy's observation that are angles in rad.
        seen: observations around which the centres of radial basis functions are drawn.
        spread: standard deviation of the weights of radial basis functions.

    Raises:
        ConfigError: if the network does not fit what the policy observes, or the limits of the actions.
    """
    place, sight, du = "algorithm.policy", problem.sight, problem.du
    if sight.image_shape is not None:
        raise ConfigError(f"{place}: a policy through a model takes numbers, and environment.observation has pictures")
    low, high = (np.broadcast_to(np.asarray(limit, float), (du,)).tolist() for limit in problem.limits)
    limited = bool(np.isfinite([low, high]).all())
    squash = settings.squash or (settings.usual_squash if limited else "none")
    size, key, turns = len(sight.numbers), jax.random.key(seed), tuple(map(int, angles))
    try:
        match settings.network:
            case "rbf":
                return RadialBasis.create(size, low, high, key, settings.features, turns, squash, spread, seen)
            case "affine":
                return Affine.create(size, low, high, key, turns, squash)
            case "gru":
                return GRU.create(size, low, high, key, settings.hidden[-1], turns, squash)
            case _:
                hidden, activation = settings.hidden, settings.activation
                return BoundedPerceptron.create(size, low, high, key, hidden, activation, turns, squash)
    except PolicyError as error:
        raise ConfigError(f"{place}: {error}") from None


def _make_network(settings: PolicyConfig, sight: Sight, du: int, key: jax.Array) -> MLP | Convolutional:
    """The policy's network with random weights; ConfigError if it does not fit what the policy observes."""
    place, image, numbers = "algorithm.policy.network", sight.image_shape, len(sight.numbers)
    match settings.network or (PerceptronConfig() if image is None else ConvolutionalConfig()):
        case PerceptronConfig():
            if image is not None:
                raise ConfigError(
                    f'{place}: "mlp" takes numbers, and there are pictures in environment.observation; '
                    'take "convolutional"'
                )
            return MLP.create((numbers, *settings.hidden, du), key, settings.activation)
        case ConvolutionalConfig() as chosen:
            if image is None:
                raise ConfigError(
                    f'{place}: "convolutional" takes pictures, and there is none in environment.observation; '
                    'name one there ("image:CAMERA" of a MuJoCo model), or take "mlp"'
                )
            layers = chosen.channels, chosen.kernels, chosen.strides
            try:
                return Convolutional.create(image, numbers, du, key, *layers, settings.hidden, settings.activation)
            except PolicyError as error:
                raise ConfigError(f"{place}: {error}") from None
