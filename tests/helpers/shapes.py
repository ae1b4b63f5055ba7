"""Checks the shapes in the annotations of gps while the tests run.

`tests/conftest.py` installs it before the first import of gps. Every function and dataclass of the package then
compares its arrays with their annotations; a letter such as M means the same number within a call. Only arrays are
checked here: the type checker covers the rest.
"""

import functools
import inspect
import types
import typing
from typing import Any

import jaxtyping
import numpy as np
from jaxtyping import install_import_hook

enabled = True
"""False in tests that hand over arrays of a wrong shape on purpose (the marker `wrong_shapes`)."""


def install() -> None:
    """Check all of gps from its first import on.

    jaxtyping's import hook decorates each function with its `jaxtyped`, which binds the arguments of every call and
    took a seventh of the time of all tests. Here `check` alone decorates the functions; classes are as ever.
    """
    jaxtyped = jaxtyping.jaxtyped

    def decorate(*args, **options):
        if args or options.get("typechecker") is None:  # other packages use it too
            return jaxtyped(*args, **options)
        return lambda thing: jaxtyped(**options)(thing) if isinstance(thing, type) else check(thing)

    jaxtyping.jaxtyped = decorate
    install_import_hook("gps", "helpers.shapes.check")


def check(function):
    """The function, with its arrays checked against the annotations; TypeError where one does not fit."""
    names = list(inspect.signature(function).parameters)
    known: dict[str, Any] = {}

    def hints() -> dict[str, Any]:
        if not known:
            try:
                found = typing.get_type_hints(function)
            except (NameError, TypeError):  # a name that is imported for the type checker alone
                found = {}
            known.update({name: hint for name, hint in found.items() if mentions_arrays(hint)}, __resolved__=None)
        return known

    passed = set()  # the shapes that were found to fit: they are not checked again

    def check_arguments(values: dict[str, Any]) -> None:
        for name, value in values.items():
            if not fits(value, known[name]):
                raise TypeError(f"{function.__qualname__}: {name} is {shown(value)}; expected {known[name]}")

    @functools.wraps(function)
    def checked(*args, **kwargs):
        expected = hints()
        if len(expected) == 1 or not enabled:
            return function(*args, **kwargs)
        given = (*zip(names, args, strict=False), *kwargs.items())
        values = {name: value for name, value in given if name in expected}
        shapes = tuple((name, shape_of(value)) for name, value in values.items())
        if shapes not in passed:
            with jaxtyping.jaxtyped("context"):
                check_arguments(values)
            passed.add(shapes)
        result = function(*args, **kwargs)
        if "return" in expected and (both := (shapes, shape_of(result))) not in passed:
            with jaxtyping.jaxtyped("context"):
                check_arguments(values)  # this gives the letters their numbers
                if not fits(result, expected["return"]):
                    raise TypeError(f"{function.__qualname__} returned {shown(result)}; expected {expected['return']}")
            passed.add(both)
        return result

    return checked


def is_array_hint(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray)


def mentions_arrays(hint: Any) -> bool:
    return is_array_hint(hint) or any(map(mentions_arrays, typing.get_args(hint)))


def fits(value: Any, hint: Any) -> bool:
    """Whether the arrays in a value have the shapes in a hint; what is no array is not looked at."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        arrays = [member for member in typing.get_args(hint) if mentions_arrays(member)]
        others = len(arrays) < len([member for member in typing.get_args(hint) if member is not type(None)])
        return others or any(fits(value, member) for member in arrays)
    if origin is tuple and isinstance(value, tuple):
        members = typing.get_args(hint)
        if members[-1] is Ellipsis:  # layers of a network: the letters of each are its own
            return True
        return len(members) == len(value) and all(map(fits, value, members))
    if not enabled or not is_array_hint(hint) or not is_array(value):
        return True
    try:
        return isinstance(value, hint)
    except jaxtyping.AnnotationError:  # an axis such as T-1 before T is known
        return True


def shape_of(value: Any) -> Any:
    """The shapes of the arrays in a value: all that a check depends on."""
    if isinstance(value, tuple):
        return tuple(map(shape_of, value))
    return (value.shape, value.dtype, isinstance(value, np.ndarray)) if is_array(value) else None


def is_array(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype != object
    from jax import Array

    return isinstance(value, Array)


def shown(value: Any) -> str:
    return f"{value.dtype}{list(value.shape)}" if hasattr(value, "dtype") else repr(value)[:80]
