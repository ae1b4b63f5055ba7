"""Checks that several builders share."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gps.backend import jax, jnp
from gps.errors import ConfigError, one_line


def call_factory(factory: Callable[..., Any], place: str, *arguments: Any, **options: Any) -> Any:
    """Call a factory from outside this package; its exceptions become a ConfigError that names the place."""
    try:
        return factory(*arguments, **options)
    except Exception as error:
        raise ConfigError(f"{place}: {type(error).__name__}: {one_line(error)}") from error


def per_entry(value: Any, n: int, key: str) -> jax.Array:
    """One number, or a list with one for each of n entries, as (n,)."""
    array = np.asarray(value, dtype=float)
    if array.ndim and array.shape != (n,):
        raise ConfigError(f"{key}: expected one number or {n}, got {array.size}")
    return jnp.asarray(np.broadcast_to(array, (n,)))
