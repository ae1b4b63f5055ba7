"""Neural networks: the protocol, the architectures, and the loop that trains them."""

from gps.networks.affine import Affine
from gps.networks.bounded import Bounded
from gps.networks.bounded_perceptron import BoundedPerceptron
from gps.networks.convolutional import Convolutional
from gps.networks.network import LayeredNetwork, Network
from gps.networks.perceptron import MLP
from gps.networks.radial_basis import RadialBasis
from gps.networks.recurrent import GRU

NETWORKS: dict[str, type[Network]] = {
    "mlp": MLP,
    "convolutional": Convolutional,
    "rbf": RadialBasis,
    "affine": Affine,
    "bounded_mlp": BoundedPerceptron,
    "gru": GRU,
}
"""Kind -> the class of the network. The kind stands in experiment files and in stored policies."""

__all__ = [
    "GRU",
    "MLP",
    "NETWORKS",
    "Affine",
    "Bounded",
    "BoundedPerceptron",
    "Convolutional",
    "LayeredNetwork",
    "Network",
    "RadialBasis",
]
