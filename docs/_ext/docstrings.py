"""Docstrings are plain text with Google's sections: tell autodoc that only code is markup in them.

The comment on the line of a field, such as its unit, is the field's docstring.
"""

import ast
import functools
import inspect
import re
import sys
from typing import Any

from sphinx.application import Sphinx

_CODE = re.compile(r"(``.+?``|`[^`]+`)")
_SECTION = re.compile(r"(Args|Returns|Raises|Yields|Attributes|Example|Examples|Note|Notes):$")


def mark_up(lines: list[str]) -> list[str]:
    """Return a docstring as reStructuredText: `code` and indented blocks are literal, nothing else is markup."""
    result: list[str] = []
    section = literal = False
    for line in lines:
        if line.strip() and not line.startswith(" "):
            if literal:
                result.append("")
            section, literal = bool(_SECTION.match(line)), False
        elif line.startswith("    ") and not section and not literal and (not result or not result[-1].strip()):
            result += ["::", ""]
            literal = True
        result.append(line if literal else _escape(line))
    return result


def _escape(line: str) -> str:
    parts = _CODE.split(line)
    plain = [re.sub(r"([*|\\])|(?<=\w)(_)(?=\W|$)", r"\\\1\2", part) for part in parts[::2]]
    code = [f"``{part.strip('`')}``" for part in parts[1::2]]
    return "".join(text for pair in zip(plain, [*code, ""], strict=True) for text in pair)


@functools.cache
def read_comments(module: str) -> dict[str, str]:
    """Return the comments on the lines of the fields of a module's classes, by "Class.field"."""
    source = inspect.getsource(sys.modules[module])
    lines, comments = source.splitlines(), {}
    for node in ast.walk(ast.parse(source)):
        for field in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                _, _, comment = lines[field.end_lineno - 1][field.end_col_offset :].partition("# ")
                comments[f"{node.name}.{field.target.id}"] = comment.strip()
    return comments


def _process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if what in ("attribute", "property"):
        _process_field(name, lines)
    elif what == "class" and not hasattr(obj, "_fields") and obj.__module__ in sys.modules:
        prefix, comments = f"{obj.__name__}.", read_comments(obj.__module__)
        fields = {key.removeprefix(prefix): text for key, text in comments.items() if key.startswith(prefix) and text}
        lines += ["", *(f"- `{field}`: {text}" for field, text in fields.items())]
    lines[:] = mark_up(lines)
    if what in ("attribute", "property"):
        lines[:0] = ["..", ""]  # or else napoleon takes what stands before a colon for a type


def _process_field(name: str, lines: list[str]) -> None:
    module, *path = name.rsplit(".", 2)
    if lines and lines[0].startswith("Alias for field number"):  # of a NamedTuple
        lines[:] = [read_comments(module).get(".".join(path), "")] if module in sys.modules else []


def _skip(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    return True if name in ("__new__", "__init__") else None


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", _process, priority=400)  # before napoleon
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True}
