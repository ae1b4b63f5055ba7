"""From `[algorithm.policy]` to a policy that nothing has trained yet, and its training."""

from typing import Any

from gps.backend import jax
from gps.config import ExperimentConfig
from gps.config.policy import ConvolutionalConfig, PerceptronConfig, PolicyConfig
from gps.dynamics.mixture import MixturePrior
from gps.errors import ConfigError, PolicyError
from gps.observations import Sight
from gps.policies import MLP, Convolutional, NeuralPolicy
from gps.policies.supervised import Options, Training


def learner(config: ExperimentConfig, sight: Sight, du: int) -> dict[str, Any]:
    """What all algorithms are made with that train a neural policy: it, how, and what is believed of it."""
    settings: PolicyConfig = config.algorithm.policy
    weights, choices = jax.random.split(jax.random.key(config.seed))
    prior = settings.prior
    own = settings.model_dump(exclude={"network", "hidden", "activation", "prior"})
    return {
        "training": Training.begin(NeuralPolicy.untrained(_network(settings, sight, du, weights)), choices),
        "options": Options(**own),
        "policy_prior": MixturePrior(**prior.model_dump(exclude={"name"})) if prior.name == "gmm" else None,
    }


def _network(settings: PolicyConfig, sight: Sight, du: int, key: jax.Array) -> MLP | Convolutional:
    """The policy's network with random weights; ConfigError if it does not fit what it is to see."""
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
                    f'{place}: "convolutional" sees, and there is no picture in environment.observation; '
                    'name one there ("image:CAMERA" of a MuJoCo model), or take "mlp"'
                )
            layers = chosen.channels, chosen.kernels, chosen.strides
            try:
                return Convolutional.create(image, numbers, du, key, *layers, settings.hidden, settings.activation)
            except PolicyError as error:
                raise ConfigError(f"{place}: {error}") from None
