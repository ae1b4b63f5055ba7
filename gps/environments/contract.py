"""The contract of a batch environment."""

from typing import NamedTuple


class Entry(NamedTuple):
    """One entry of a state or action vector."""

    name: str
    unit: str  # empty where it is unknown
