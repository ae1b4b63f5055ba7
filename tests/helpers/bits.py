"""The comparison of two trees to the bit."""

from typing import Any

import numpy as np

from gps.storage.serialization import flatten


def assert_same_bits(one: Any, two: Any) -> None:
    """Fail unless two storable objects have the same keys, types, shapes and bits."""
    one, two = flatten(one), flatten(two)
    assert one.keys() == two.keys()
    for key in one:
        assert _same(one[key], two[key]), key


def same_bits(one: Any, two: Any) -> bool:
    """True if two storable objects have the same keys, types, shapes and bits."""
    one, two = flatten(one), flatten(two)
    return one.keys() == two.keys() and all(_same(one[key], two[key]) for key in one)


def _same(one: np.ndarray, two: np.ndarray) -> bool:
    return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()
