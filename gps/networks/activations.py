"""The activation functions of hidden layers: in JAX, in NumPy and in ONNX."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gps.backend import jax, jnp
from gps.errors import PolicyError, nearest


class Activation(NamedTuple):
    """One elementwise function, written three times."""

    jax: Callable[[Any], Any]
    numpy: Callable[[np.ndarray], np.ndarray]  # works in place
    onnx: str  # the operator's name


ACTIVATIONS = {
    "relu": Activation(jax.nn.relu, lambda h: np.maximum(h, 0, out=h), "Relu"),
    "tanh": Activation(jnp.tanh, lambda h: np.tanh(h, out=h), "Tanh"),
}
"""Name -> activation function."""


def check_activation(name: str) -> None:
    """Raise PolicyError if there is no activation function of this name."""
    if name not in ACTIVATIONS:
        raise PolicyError(f"activation {name!r}: expected {' or '.join(ACTIVATIONS)}{nearest(name, ACTIVATIONS)}")
