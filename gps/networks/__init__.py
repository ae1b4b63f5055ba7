"""Neural networks: the protocol, the architectures, and the loop that trains them."""

from gps.networks.convolutional import Convolutional
from gps.networks.network import Network
from gps.networks.perceptron import MLP

NETWORKS: dict[str, type[MLP] | type[Convolutional]] = {"mlp": MLP, "convolutional": Convolutional}
"""Kind -> the class of the network. The kind stands in experiment files and in stored policies."""

__all__ = ["MLP", "NETWORKS", "Convolutional", "Network"]
