"""Import a file together with the modules beside it, for itself alone.

A file `task.py` may import its siblings, `import constants` or `from tools.walls import WALL`, at its top or inside a
function. They are found beside it before anything else, as if its folder were the first entry of `sys.path`. Yet
neither the path nor the names of modules change for anyone else: the same name in another experiment of this process
is another module, and an edited file is read anew.

The mechanism: Python looks up `__import__`, which an `import` statement calls, in the built-in names of the module that
contains the statement. The modules loaded here have built-in names of their own, whose `__import__` gives a sibling a
private name, such as `gps_task_3.constants`. `importlib.import_module("constants")` is no statement and finds none.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import itertools
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

_COUNT = itertools.count(1)
_PREFIX = "gps_task_"


def load(path: Path) -> ModuleType:
    """Execute the Python file at `path` and return its module, fresh in each call, and so are the modules beside it.

    Raises what the file raises.
    """
    return _Namespace(path.parent.resolve()).load(path.stem)


def strip_names(text: str) -> str:
    """The text of an error with the modules' names as their author wrote them."""
    return re.sub(rf"\b{_PREFIX}\d+\.", "", text)


class _Namespace(MetaPathFinder):
    """The modules of one folder under a private name. They are in `sys.modules` only while some of them is imported."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, f"{_PREFIX}{next(_COUNT)}"
        parent = ModuleType(self.name)
        parent.__path__ = [str(folder)]
        self.modules: dict[str, ModuleType] = {self.name: parent}
        self.siblings: dict[str, bool] = {}  # the first part of each imported name -> True if it is beside the file
        self.builtins = {**vars(builtins), "__import__": self.import_}
        self.lock, self.depth = threading.RLock(), 0

    def load(self, name: str) -> ModuleType:
        with self._registered():
            return importlib.import_module(f"{self.name}.{name}")

    def import_(
        self,
        name: str,
        globals: dict[str, Any] | None = None,
        locals: dict[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """`builtins.__import__` for the modules of this namespace."""
        top = name.partition(".")[0]
        if level == 0:
            if not self._has(top):
                return builtins.__import__(name, globals, locals, fromlist or (), 0)
            name = f"{self.name}.{name}"
            if (known := self.modules.get(name)) and all(hasattr(known, part) for part in fromlist or ()):
                return known if fromlist else self.modules[f"{self.name}.{top}"]
        with self._registered():
            if level == 0 and not fromlist:
                importlib.import_module(name)
                return sys.modules[f"{self.name}.{top}"]
            return builtins.__import__(name, globals, locals, fromlist or (), level)

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if fullname.partition(".")[0] != self.name:
            return None
        found = (self._find(fullname, entry) for entry in path or ())
        return next((spec for spec in found if spec is not None), None)

    def _find(self, name: str, folder: str) -> ModuleSpec | None:
        own: Any = partial(_Loader, self.builtins)
        loaders = (ExtensionFileLoader, EXTENSION_SUFFIXES), (own, SOURCE_SUFFIXES)
        return FileFinder(folder, *loaders).find_spec(name)  # a new one, as it remembers the folder's content

    def _has(self, top: str) -> bool:
        """True if a sibling has this name. A folder without `__init__.py` counts only if nothing else has it."""
        if top not in self.siblings:
            spec = None if top == "gps" else self._find(top, str(self.folder))
            own = spec is not None and spec.loader is not None
            self.siblings[top] = own or (spec is not None and top not in sys.modules and find_spec(top) is None)
        return self.siblings[top]

    @contextlib.contextmanager
    def _registered(self) -> Iterator[None]:
        """Let Python's import system see this namespace. Kept there, the modules of each load would pile up."""
        with self.lock:
            if self.depth == 0:
                sys.modules.update(self.modules)
                sys.meta_path.insert(0, self)
            self.depth += 1
            try:
                yield
            finally:
                self.depth -= 1
                if self.depth == 0:
                    sys.meta_path.remove(self)
                    mine = [name for name in list(sys.modules) if name.partition(".")[0] == self.name]
                    self.modules = {name: sys.modules.pop(name) for name in mine}


class _Loader(SourceFileLoader):
    """Executes a file with other built-in names, and always from its source: a compiled one may be older."""

    def __init__(self, names: dict[str, Any], fullname: str, path: str) -> None:
        super().__init__(fullname, path)
        self._names = names

    def path_stats(self, path: Any) -> Any:
        raise OSError("no compiled file is read or written")

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = self._names
        super().exec_module(module)
