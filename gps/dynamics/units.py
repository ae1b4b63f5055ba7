"""Units of length taken from the data, so that a fit depends neither on units nor on the origin."""

import numpy as np
from jaxtyping import Float

_ROUNDING = 1e-10
"""A deviation below this share of a dimension's size may be rounding."""


def positive_deviation(points: Float[np.ndarray, "n d"], at_rest: float = 1.0) -> Float[np.ndarray, "d"]:
    """Return each dimension's standard deviation; `at_rest` times its size (or 1, if it is zero) where it never varies.

    Rounding must not become a unit: what is divided by it would be noise of order one.
    """
    size = np.abs(points).max(axis=0, initial=0.0)
    deviation = (points - points.mean(axis=0)).std(axis=0) if len(points) else np.zeros_like(size)
    return np.where(deviation > _ROUNDING * size, deviation, at_rest * np.where(size > 0, size, 1.0))
