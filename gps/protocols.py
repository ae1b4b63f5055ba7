"""Which members of a protocol an object lacks: the check behind "your plug-in has no method `improve`"."""

import inspect
from typing import Any


def list_members(protocol: type) -> list[str]:
    """The names of a protocol's members, in order of definition."""
    bases = [base for base in reversed(protocol.__mro__) if getattr(base, "_is_protocol", False)]
    names = [name for base in bases for name in (*inspect.get_annotations(base), *vars(base))]
    return list(dict.fromkeys(name for name in names if not name.startswith("_")))


def list_missing(value: Any, protocol: type) -> list[str]:
    """The members of a protocol that an object lacks; empty if it has them all."""
    there = set(dir(value))  # it finds a property without evaluating it
    return [name for name in list_members(protocol) if name not in there and not hasattr(value, name)]
