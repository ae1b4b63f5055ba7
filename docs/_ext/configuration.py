"""The reference of `experiment.toml`, from the configuration models: each key with its type, default and meaning."""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import tomli_w
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gps.config import explaining
from gps.config.experiment import ExperimentConfig
from gps.config.section import Section

TITLES = {
    "experiment": "The file",
    "environment": "environment",
    "noise": "environment.noise",
    "algorithms": "algorithm",
    "controller": "algorithm.controller",
    "dynamics": "algorithm.dynamics",
    "policy": "algorithm.policy",
    "model": "algorithm.model",
    "planner": "algorithm.planner",
    "expert": "algorithm.expert",
    "cost": "cost",
}
"""The pages, one for each module or package of `gps.config` that has sections, in the order of the file."""


Places = dict[str, list[str]]
"""Where a section can stand: dotted tables, each with the algorithms that have it (none: it is no algorithm's)."""


def sections() -> dict[type[Section], Places]:
    """Return every section that a file can have and its places, in the order in which the file leads to them."""
    found: dict[type[Section], Places] = {}

    def visit(section: type[Section], table: str, algorithm: str) -> None:
        algorithms = found.setdefault(section, {}).setdefault(table, [])
        if algorithm and algorithm not in algorithms:
            algorithms.append(algorithm)
        for key, field in keys(section):
            for name, kind in kinds(field).items():
                visit(kind, f"{table}.{key}".lstrip("."), name if key == "algorithm" else algorithm)

    visit(ExperimentConfig, "", "")
    return found


def keys(section: type[Section]) -> Iterator[tuple[str, FieldInfo]]:
    """Yield the keys of a section as the file writes them, with their fields."""
    for name, field in section.model_fields.items():
        yield field.alias or name, field


def kinds(field: FieldInfo) -> dict[str, type[Section]]:
    """Return the sections that a key can hold, by their `name`."""
    hint, _ = explaining._strip(field.annotation)
    if get_origin(hint) is tuple:
        hint, _ = explaining._strip(get_args(hint)[0])
    return explaining._kinds(hint)


def meaning(field: FieldInfo) -> str:
    """Return what a key means: its description, or the first line of the section that it holds."""
    held = kinds(field)
    if field.description:
        return " ".join(field.description.split())
    return _first_line(next(iter(held.values()))) if len(held) == 1 else "one of these tables" if held else ""


def make_pages() -> dict[str, str]:
    """Return the pages of the reference by name, without `.md`; "index" leads to the others."""
    by_module: dict[str, list[str]] = {name: [] for name in TITLES}
    introductions = dict.fromkeys(TITLES, "")
    found = sections()
    for section, places in found.items():
        name = _page_of(section)
        by_module[name].append(_describe_section(section, places, found))
        introductions[name] = _first_line(sys.modules[f"gps.config.{name}"])
    pages = {name: "\n\n".join([f"# {title}", introductions[name], *by_module[name]]) for name, title in TITLES.items()}
    rows = [f"| [{title}]({name}.md) | {introductions[name]} |" for name, title in TITLES.items()]
    pages["index"] = _INDEX.format(rows="\n".join(rows), toctree="\n".join(TITLES))
    return pages


_INDEX = """# Configuration

Every key of `experiment.toml`, with its type, default and meaning. Where a table can be one of several kinds, `name`
selects the kind; a bare name stands for the table: `initial = "pd"` is `initial = {{ name = "pd" }}`. `gps check DIR`
names an unknown key and the nearest known one. The `experiment.toml` of a run directory has every key resolved.

| page | |
|---|---|
{rows}

```{{toctree}}
:hidden:

{toctree}
```
"""


def _describe_section(section: type[Section], places: Places, found: dict[type[Section], Places]) -> str:
    """Return the heading, the places, the docstring and the table of keys of a section."""
    name = section.model_fields["name"].default if "name" in section.model_fields else None
    (table, algorithms), *_ = places.items()
    lines = [f"({_anchor(section)})=\n## {name or table or 'experiment.toml'}"]
    if isinstance(name, str):
        lines.append(", ".join(f"`{place}`" for place in places) + f' with `name = "{name}"`.')
    elif sum(table in its and "name" not in other.model_fields for other, its in found.items()) > 1:
        lines.append(f"In {', '.join(f'`{algorithm}`' for algorithm in algorithms)}.")
    lines.append(" ".join((section.__doc__ or "").split()))
    rows = [_row(key, field) for key, field in keys(section) if key != "name"]
    lines.append(_TABLE.format(rows="\n".join(rows)) if rows else "It has no further keys.")
    return "\n\n".join(lines)


_TABLE = """```{{table}}
:class: keys
| key | type | default | meaning |
|---|---|---|---|
{rows}
```"""


def _row(key: str, field: FieldInfo) -> str:
    held = kinds(field)
    links = [f"[{label or 'table'}](#{_anchor(kind)})" for label, kind in held.items()]
    if held:
        wanted = ", ".join(links)
        wanted = f"list of {wanted}" if get_origin(explaining._strip(field.annotation)[0]) is tuple else wanted
    else:
        wanted = re.sub(r'("\w[^"]*")', r"`\1`", explaining._describe(field.annotation, field.metadata))
    return f"| `{key}` | {_cell(wanted)} | {_cell(_default(field))} | {_cell(meaning(field))} |"


def _default(field: FieldInfo) -> str:
    """Return the default of a key as TOML writes it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Section):
        return f'`"{value.name}"`' if hasattr(value, "name") else "its defaults"
    if isinstance(value, tuple) and value and isinstance(value[0], Section):
        return f'`"{value[0].name}"`'
    if value is None or value == "":
        return "none"
    return f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{}" if not value else json.dumps(value)
    return tomli_w.dumps({"_": value}).removeprefix("_ = ").strip()


def _page_of(section: type[BaseModel]) -> str:
    """The module of `gps.config`, or the package of it, that has the section."""
    return section.__module__.removeprefix("gps.config.").partition(".")[0]


def _anchor(section: type[BaseModel]) -> str:
    return f"configuration-{section.__name__.strip('_').removesuffix('Config').lower()}"


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0]


def _cell(text: str) -> str:
    """Return a text that a cell of a table can hold, in which only code and links are markup."""
    pieces = text.split("`")
    plain = [re.sub(r"([*|<$])", r"\\\1", piece) for piece in pieces[::2]]
    code = [piece.replace("|", r"\|") for piece in pieces[1::2]]
    return "`".join(text for pair in zip(plain, [*code, ""], strict=True) for text in pair).removesuffix("`")
