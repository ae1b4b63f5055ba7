"""Bounds on the numbers of an experiment file: beyond them a number is a slip that costs memory or means nothing.

Every number of every section keeps to them by itself (see `gps.config.section.Section`); a key with bounds of its own
keeps to those as well.
"""

import math
from typing import Any

MOST_COUNT = 1_000_000
"""The largest integer, unless a key has an upper bound of its own."""
LEAST_SIZE, MOST_SIZE = 1e-30, 1e12
"""The sizes of a number that is not zero: squares and products of them stay in the range of a float."""
MOST_EPISODES = 10_000
"""The most episodes in an iteration, over all conditions together."""
MOST_WEIGHTS = 100_000_000
"""The most weights of the layers of a network."""

_DEEPEST = 32


def require_sane(value: Any, bounded: bool) -> None:
    """ValueError if a number in `value`, or in its lists, is too large or too small.

    Args:
        bounded: True if the key has an upper bound of its own, which is then the only one for integers.
    """
    match value:
        case tuple():
            for item in value:
                require_sane(item, bounded)
        case bool():
            pass
        case int() if not bounded and abs(value) > MOST_COUNT:
            raise ValueError(f"expected an integer of at most {MOST_COUNT}, got {show_integer(value)}")
        case float() if value != 0 and not LEAST_SIZE <= abs(value) <= MOST_SIZE:
            raise ValueError(f"expected 0 or a number from {LEAST_SIZE:g} to {MOST_SIZE:g} in size, got {value:g}")


def require_weights(count: int) -> None:
    """ValueError if a network has too many weights."""
    if count > MOST_WEIGHTS:
        raise ValueError(f"expected at most {MOST_WEIGHTS} weights in these layers, got {show_integer(count)}")


def require_finite(table: Any) -> None:
    """ValueError if a number somewhere in a table of free keys is NaN or infinite, or if it is nested very deeply."""
    layer = [table]
    for _ in range(_DEEPEST):
        if any(isinstance(item, float) and not math.isfinite(item) for item in layer):
            bad = next(item for item in layer if isinstance(item, float) and not math.isfinite(item))
            raise ValueError(f"expected finite numbers, got {bad}")
        layer = [inner for item in layer for inner in _open(item)]
        if not layer:
            return
    raise ValueError(f"nested too deeply: more than {_DEEPEST} levels")


def _open(item: Any) -> Any:
    """The items of a table or a list."""
    return item.values() if isinstance(item, dict) else item if isinstance(item, list | tuple) else ()


def show_integer(number: int) -> str:
    """Return an integer as text, without the digits of a very long one."""
    return str(number) if abs(number) < 10**24 else f"a number of about {int(math.log10(abs(number)))} digits"
