"""Explain pydantic's errors: what was expected at a key, what was found, and the nearest known key.

Pydantic locates an error; the words come from the type hint of the key at that place, so that a key is described in the
same way for every error in its value.
"""

import dataclasses
import json
import math
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic_core import ErrorDetails

from gps.errors import nearest

KeyPath = tuple[str | int, ...]
"""Keys of tables and indices of lists, from the top of a file."""


def explain(error: ValidationError, model: type[BaseModel], raw: Any) -> list[tuple[KeyPath, str]]:
    """Return the place and the message of each error, without duplicates.

    Args:
        error: raised by validating `raw` as `model`.
    """
    found = dict.fromkeys(_explain_one(details, model, raw) for details in error.errors(include_url=False))
    # Pydantic also reports a list with wrong items as too short; the errors of the items say more.
    return [item for item in found if not any(other[: len(item[0])] == item[0] != other for other, _ in found)]


def kinds_at(model: type[BaseModel], path: KeyPath) -> dict[str, type[BaseModel]]:
    """Return the sections that are allowed at a place of a file, by their `name`."""
    return _kinds(_locate(model, path).hint)


def has_kinds(model: type[BaseModel], path: KeyPath) -> bool:
    """True if a place of a file holds a section of one of several kinds, which a bare name can stand for."""
    at = _locate(model, path)
    return at.path == list(path) and len(_kinds(at.hint)) > 1


def usual_at(model: type[BaseModel], path: KeyPath) -> str | None:
    """Return the `name` that a section at this place has if none is given; None if it must be given."""
    return next((mark.usual for mark in _locate(model, path).constraints if isinstance(mark, UsualName)), None)


@dataclasses.dataclass(frozen=True, slots=True)
class UsualName(BeforeValidator):
    """Insert the usual `name` into a table without one."""

    usual: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class PluggedNames(BeforeValidator):
    """Rewrite a table whose `name` is an entry point of another package as a table of the kind `plugin`."""

    names: Callable[[], Sequence[str]] = tuple


class _Located:
    """The type hints of a place in the file."""

    def __init__(self, hint: Any) -> None:
        self.path: list[str | int] = []
        self.hint, self.constraints = _strip(hint)
        self.parent: type[BaseModel] | None = None  # the section of the last key
        self.kinds: dict[str, type[BaseModel]] = {}  # all sections allowed at its place


def _locate(model: type[BaseModel], location: Sequence[str | int]) -> _Located:
    """Follow pydantic's location, which mixes tags and types with the keys and indices of the file, or a path of keys.

    Without the tag of a section, the first kind that has the next key counts.
    """
    at = _Located(model)
    family: dict[str, type[BaseModel]] = {}
    for part in location:
        kinds = _kinds(at.hint)
        extra: Sequence[Any] = ()
        if isinstance(part, int) and get_origin(at.hint) is tuple:
            hint, at.parent = get_args(at.hint)[0], None
        elif len(kinds) > 1 and part in kinds:
            at.hint, family = kinds[str(part)], kinds
            continue
        elif owner := next((kind for kind in kinds.values() if len(kinds) == 1 or part in kind.model_fields), None):
            at.parent = owner
            at.kinds, family = family, {}
            field = _list_fields(at.parent).get(str(part))
            hint, extra = (field.annotation, field.metadata) if field else (None, ())
        else:
            break  # inside a value: the type of the whole key says more than that of a part
        at.path.append(part)
        at.hint, constraints = _strip(hint)
        at.constraints = (*extra, *constraints)
    return at


def _explain_one(error: ErrorDetails, model: type[BaseModel], raw: Any) -> tuple[KeyPath, str]:
    """Return the place and the message of an error."""
    at = _locate(model, error["loc"])
    path, value = tuple(at.path), raw
    for part in path:
        if isinstance(value, str):  # a bare name, which stands for a table
            value = {"name": value}
        value = value[part] if isinstance(part, int) else value.get(part)
    match error["type"]:
        case "extra_forbidden":
            if owners := [name for name, kind in at.kinds.items() if path[-1] in kind.model_fields]:
                own = next(name for name, kind in at.kinds.items() if kind is at.parent)
                return path, f"{_quote([own])} has no such key; it is one of {_quote(owners, 'and')}"
            known = list(_list_fields(at.parent)) if at.parent else []
            guess = nearest(str(path[-1]), known) or f"; known are {', '.join(known)}"
            return path, f"unknown key{guess}"
        case "missing":
            field = at.parent.model_fields[str(path[-1])] if at.parent else None
            meaning = f" ({field.description})" if field and field.description else ""
            return path, f"missing; expected {_describe(at.hint, at.constraints)}{meaning}"
        case "value_error":
            return path, str(error["ctx"]["error"])
        case "union_tag_not_found":
            return (*path, "name"), f"missing; expected {_quote(_allowed_names(at))}"
        case "union_tag_invalid":
            kinds = _allowed_names(at)
            name, path = (value, path) if isinstance(value, str) else (value["name"], (*path, "name"))
            return path, f"expected {_quote(kinds)}, got {_show(name)}{nearest(str(name), kinds)}"
    expected = _describe(at.hint, at.constraints)
    if isinstance(value, float) and not math.isfinite(value):
        expected = expected.replace("a number", "a finite number", 1)
    guess = nearest(str(value), get_args(at.hint)) if get_origin(at.hint) is Literal else ""
    return path, f"expected {expected}, got {_show(value)}{guess}"


def _list_fields(section: type[BaseModel]) -> dict[str, Any]:
    """The fields of a section by their keys in the file."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _strip(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a type without its `Annotated` and its None, and the constraints on it."""
    constraints: tuple[Any, ...] = ()
    while True:
        if get_origin(hint) is Annotated:
            hint, *metadata = get_args(hint)
            constraints += tuple(metadata)
        elif _is_union(hint) and type(None) in get_args(hint):
            hint = Union[tuple(member for member in get_args(hint) if member is not type(None))]  # noqa: UP007
        else:
            return hint, constraints


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _kinds(hint: Any) -> dict[str, type[BaseModel]]:
    """Return the sections that a type hint allows, by their `name`."""
    members = get_args(hint) if _is_union(hint) else (hint,)
    sections = [member for member in members if isinstance(member, type) and issubclass(member, BaseModel)]
    if len(sections) == 1:
        return {"": sections[0]}
    return {section.model_fields["name"].default: section for section in sections}


_WORDS = {int: ("an integer", "integers"), float: ("a number", "numbers"), str: ("a string", "strings"),
          bool: ("true or false", "booleans"), dict: ("a table", "tables")}  # fmt: skip

_BOUNDS = [(Ge, ">=", "ge"), (Gt, ">", "gt"), (Le, "<=", "le")]


def _describe(hint: Any, constraints: Sequence[Any] = (), plural: bool = False) -> str:
    """Describe the values of a type in words."""
    hint, more = _strip(hint)
    constraints = (*constraints, *more)
    origin = get_origin(hint) or hint
    if origin is Literal:
        return _quote(get_args(hint))
    if _is_union(hint) and not _kinds(hint):
        return " or ".join(_describe(member) for member in get_args(hint))
    if origin is tuple:
        least = next((c.min_length for c in constraints if isinstance(c, MinLen)), 0)
        most = next((f", at most {c.max_length}" for c in constraints if isinstance(c, MaxLen)), "")
        items = _describe(get_args(hint)[0], plural=True)
        return f"a list of {items}{', at least one' if least else ''}{most}"
    word = _WORDS.get(origin, _WORDS[dict])[plural]
    bounds = [
        f"{sign} {_bound(getattr(c, name))}" for c in constraints for kind, sign, name in _BOUNDS if isinstance(c, kind)
    ]
    if any(isinstance(c, MinLen) for c in constraints):
        word += " that is not empty"
    if longest := next((c.max_length for c in constraints if isinstance(c, MaxLen)), 0):
        word += f" of at most {longest:,} characters"
    return f"{word} {' and '.join(bounds)}".rstrip()


def _bound(number: Any) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)


def _allowed_names(at: _Located) -> list[str]:
    """Return the allowed names of a table: those of its kinds and the installed plug-ins."""
    installed = [name for mark in at.constraints if isinstance(mark, PluggedNames) for name in mark.names()]
    return [*(name for name in _kinds(at.hint) if name != "plugin"), *installed]


def _quote(names: Iterable[str], conjunction: str = "or") -> str:
    *first, last = [f'"{name}"' for name in names]
    return f"{', '.join(first)} {conjunction} {last}" if first else last


def _show(value: Any) -> str:
    """Return a value roughly as TOML writes it, cut to 60 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
