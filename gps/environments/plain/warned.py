"""Warnings of the environments' processes: each is shown once, however many processes give it."""

from __future__ import annotations

import sys
import warnings
from typing import Any, NamedTuple


class Warned(NamedTuple):
    """A warning, in plain JSON."""

    category: str
    message: str
    file: str
    line: int
    text: str  # to print


def collect_warnings() -> list[Warned]:
    """Collect this process's warnings, from now on, in the list that is returned, in place of printing them."""
    heard: list[Warned] = []

    def hear(message: Any, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any) -> None:
        text = warnings.formatwarning(message, category, filename, lineno)
        heard.append(Warned(category.__name__, str(message), filename, lineno, text))

    warnings.showwarning = hear
    return heard


_SHOWN: set[tuple[str, str, str, int]] = set()


def show_once(warned: Warned) -> None:
    """Print a warning of another process, unless it, or this process, has given the same one at the same place."""
    key = warned[:4]
    if key not in _SHOWN and not _was_given_here(warned):
        print(warned.text, end="", file=sys.stderr)
    _SHOWN.add(key)


def _was_given_here(warned: Warned) -> bool:
    """True if a module of this process remembers the warning."""
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == warned.file:
            for known in getattr(module, "__warningregistry__", {}):
                if isinstance(known, tuple) and known[0] == warned.message and known[1].__name__ == warned.category:
                    return True
    return False
