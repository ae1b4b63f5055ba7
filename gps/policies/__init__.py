"""Neural policies: networks, how they act, how they are trained, linearised and exported."""

from gps.networks.networks import MLP, Convolutional, Pixels
from gps.policies.neural import NeuralPolicy

__all__ = ["MLP", "Convolutional", "NeuralPolicy", "Pixels"]
