"""Neural policies: act, train, linearise, store and export them."""

from gps.networks import MLP, Convolutional
from gps.observations import Pixels
from gps.policies.neural import NeuralPolicy

__all__ = ["MLP", "Convolutional", "NeuralPolicy", "Pixels"]
