"""Functions that squash a number into -1..1: in JAX, in NumPy and in ONNX."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gps.backend import jnp
from gps.errors import PolicyError, nearest
from gps.networks.onnx_graph import OnnxGraph


class Squashing(NamedTuple):
    """One elementwise function, written three times, and its inverse on the branch through 0."""

    jax: Callable[[Any], Any]
    numpy: Callable[[np.ndarray], np.ndarray]
    onnx: Callable[[OnnxGraph, str], str]  # adds the function of a value to a graph
    invert: Callable[[np.ndarray], np.ndarray]  # finite for any number


def _add_sine(graph: OnnxGraph, h: str) -> str:
    single = graph.add_node("Mul", graph.add_node("Sin", h), graph.add_constant(np.array(1.125)))
    tripled = graph.add_node("Sin", graph.add_node("Mul", h, graph.add_constant(np.array(3.0))))
    return graph.add_node("Add", single, graph.add_node("Mul", tripled, graph.add_constant(np.array(0.125))))


def _invert_sine(values: np.ndarray) -> np.ndarray:
    """9/8 sin f + 1/8 sin 3f = (3 sin f − sin³ f) / 2, the smoothstep of sin f, whose inverse is known."""
    return np.arcsin(2.0 * np.sin(np.arcsin(np.clip(values, -1.0, 1.0)) / 3.0))


def _invert_tanh(values: np.ndarray) -> np.ndarray:
    return np.arctanh(np.clip(values, -_NEARLY_ONE, _NEARLY_ONE))


_NEARLY_ONE = 0.999
"""The largest value that the inverse of tanh is asked for."""

SQUASHINGS = {
    # The third-order Fourier series of a trapezoidal wave: steep at 0, flat at the limits, and the expectation over a
    # Gaussian is known (Deisenroth's thesis, eq. 3.46; Deisenroth, Fox & Rasmussen 2015, eq. 37).
    "sine": Squashing(
        lambda f: 1.125 * jnp.sin(f) + 0.125 * jnp.sin(3.0 * f),
        lambda f: 1.125 * np.sin(f) + 0.125 * np.sin(3.0 * f),
        _add_sine,
        _invert_sine,
    ),
    "tanh": Squashing(jnp.tanh, np.tanh, lambda graph, h: graph.add_node("Tanh", h), _invert_tanh),
    "none": Squashing(lambda f: f, lambda f: f, lambda graph, h: h, lambda values: values),
}
"""Name -> function; "none" changes nothing, and leaves the limits to the environment."""


def check_squashing(name: str, low: tuple[float, ...], high: tuple[float, ...]) -> None:
    """Raise PolicyError if there is no function of this name, or it has no finite limits to squash into."""
    if name not in SQUASHINGS:
        raise PolicyError(f"squash {name!r}: expected {', '.join(SQUASHINGS)}{nearest(name, SQUASHINGS)}")
    if name == "none":
        return
    for i, (least, most) in enumerate(zip(low, high, strict=True)):
        if not (np.isfinite(least) and np.isfinite(most) and least < most):
            raise PolicyError(
                f'squash {name!r}: action {i} has the limits {least:g} and {most:g}, and needs finite ones; take "none"'
            )
