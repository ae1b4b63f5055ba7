"""Build an untrained policy and the settings of its training from `[algorithm.policy]`."""

from gps.backend import jax
from gps.config.dynamics import MixturePriorConfig
from gps.config.policy import (
    BackpropPolicyConfig,
    ConvolutionalConfig,
    PerceptronConfig,
    PolicyConfig,
    RecurrentConfig,
)
from gps.dynamics.mixture import MixturePrior
from gps.errors import ConfigError, PolicyError
from gps.networks.recurrent import GRU
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


def make_untrained(settings: BackpropPolicyConfig, problem: Problem, seed: int) -> Training:
    """The policy before its first update through a model.

    Raises:
        ConfigError: if the policy observes pictures.
    """
    weights, choices = jax.random.split(jax.random.key(seed))
    if problem.sight.image_shape is not None:
        raise ConfigError("environment.observation: a policy that is trained through a model takes no pictures")
    do, du = len(problem.sight.numbers), problem.du
    match settings.network:
        case RecurrentConfig():
            if not settings.hidden:
                raise ConfigError("algorithm.policy.hidden: a gru has one hidden layer, its memory")
            network: MLP | GRU = GRU.create(do, settings.hidden[-1], du, weights)
        case PerceptronConfig():
            network = MLP.create((do, *settings.hidden, du), weights, settings.activation)
    return Training.begin(NeuralPolicy.untrained(network), choices)


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
