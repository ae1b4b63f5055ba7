"""Unknown parameters of a simulator, and the coordinates in which they are fitted.

A parameter whose bounds are positive is fitted by its logarithm, as masses and gains differ by factors; any other by
its place between its bounds, 0 at the lower and 1 at the upper one. A unit of a coordinate is thus a factor of e, or
the width of the bounds.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Float

from gps.backend import Array
from gps.errors import ConfigError, nearest

_MARGIN = 0.02
"""The distance of a start from the bounds, as a share of their width: no slope is zero for being clipped."""


class Parameter(NamedTuple):
    """An unknown number of a simulator.

    Args:
        name: such as `body_mass:cup`.
        low, high: bounds, in the parameter's own unit.
        start: where the fit begins.
    """

    name: str
    low: float
    high: float
    start: float

    @property
    def logarithmic(self) -> bool:
        """True if it is fitted by its logarithm."""
        return self.low > 0.0


class Known(NamedTuple):
    """Settings of a simulation that are not fitted.

    Args:
        delay: of the commands, s; 0 where it is a parameter.
        assumed: names and values of entries that the state lacks and that do not matter.
    """

    delay: float = 0.0
    assumed: tuple[tuple[str, float], ...] = ()


def make_parameter(name: str, low: float, high: float, start: float | None = None) -> Parameter:
    """Return a checked parameter.

    Args:
        start: None for the middle of the bounds, of their logarithms where these are fitted.

    Raises:
        ConfigError: for bounds that are not finite, reversed or equal, and a start outside of them.
    """
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ConfigError(f"{name}: the bounds [{low}, {high}] must be finite numbers")
    if not low < high:
        raise ConfigError(f"{name}: the lower bound {low:g} must be below the upper bound {high:g}")
    if start is None:
        start = float(np.sqrt(low * high)) if low > 0.0 else 0.5 * (low + high)
    if not low <= start <= high:
        raise ConfigError(f"{name}: the start {start:g} must be within the bounds [{low:g}, {high:g}]")
    return Parameter(name, float(low), float(high), float(start))


class Coordinates(NamedTuple):
    """The map between dp parameters and the coordinates of their fit.

    Args:
        logarithmic: True for each that is fitted by its logarithm.
        low, high: bounds, in the parameters' own units.
    """

    logarithmic: Bool[np.ndarray, "dp"]
    low: Float[np.ndarray, "dp"]
    high: Float[np.ndarray, "dp"]

    @classmethod
    def of(cls, parameters: Sequence[Parameter]) -> Self:
        logarithmic = np.array([p.logarithmic for p in parameters], bool)
        return cls(logarithmic, np.array([p.low for p in parameters]), np.array([p.high for p in parameters]))

    @property
    def bounds(self) -> tuple[Float[np.ndarray, "dp"], Float[np.ndarray, "dp"]]:
        """The bounds of the coordinates."""
        return self.encode(self.low), self.encode(self.high)

    @property
    def widths(self) -> Float[np.ndarray, "dp"]:
        """The distance of the coordinates' bounds."""
        low, high = self.bounds
        return high - low

    def encode(self, values: Float[np.ndarray, "*B dp"]) -> Float[np.ndarray, "*B dp"]:
        """Return the coordinates of values."""
        logs = np.log(np.where(self.logarithmic, values, 1.0))
        return np.where(self.logarithmic, logs, (values - self.low) / (self.high - self.low))

    def decode(self, coordinates: Float[Array, "*B dp"], numerics: Any = np) -> Float[Array, "*B dp"]:
        """Return the values of coordinates.

        Args:
            numerics: `numpy`, or `jax.numpy` for JAX arrays.
        """
        linear = self.low + (self.high - self.low) * coordinates
        exponent = numerics.where(self.logarithmic, coordinates, 0.0)
        return numerics.where(self.logarithmic, numerics.exp(exponent), linear)

    def move_off_bounds(self, coordinates: Float[np.ndarray, "dp"]) -> Float[np.ndarray, "dp"]:
        """Return the nearest point that has a little room to either bound."""
        (low, high), room = self.bounds, _MARGIN * self.widths
        return np.clip(coordinates, low + room, high - room)


def require_distinct_names(parameters: Sequence[Parameter]) -> None:
    """ConfigError if there is no parameter, or two have one name."""
    names = [parameter.name for parameter in parameters]
    if not names:
        raise ConfigError("no parameter is to be fitted: choose at least one")
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise ConfigError(f"parameter {twice[0]!r} is declared twice")


def find_parameter(name: str, parameters: Sequence[Parameter]) -> int:
    """Return the index of a parameter.

    Raises:
        ConfigError: if there is none of that name; it names the nearest one.
    """
    names = [parameter.name for parameter in parameters]
    if name not in names:
        raise ConfigError(f"unknown parameter {name!r}{nearest(name, names)}; known: {', '.join(names)}")
    return names.index(name)
