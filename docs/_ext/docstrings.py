"""Docstrings are plain text with Google's sections: tell autodoc that only code is markup in them."""

import re
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


def _process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = mark_up(lines)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", _process, priority=400)  # before napoleon
    return {"parallel_read_safe": True}
