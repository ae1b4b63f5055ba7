"""Neural networks: the protocol, the architectures, and the loop that trains them."""

from gps.networks.convolutional import Convolutional
from gps.networks.network import Network
from gps.networks.perceptron import MLP
from gps.networks.recurrent import GRU

NETWORKS: dict[str, type[MLP] | type[Convolutional] | type[GRU]] = {
    "mlp": MLP,
    "convolutional": Convolutional,
    "gru": GRU,
}
"""Kind -> the class of the network. The kind stands in experiment files and in stored policies."""

__all__ = ["GRU", "MLP", "NETWORKS", "Convolutional", "Network"]
