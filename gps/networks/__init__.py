"""Neural networks: the protocol, the architectures, and the loop that trains them."""

from gps.networks.networks import MLP, Convolutional

__all__ = ["MLP", "Convolutional"]
