"""ARCHITECTURE.md tells the truth: the tree is the package, and imports point downwards."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```text\n(.*?)```", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), re.S)
TREE = next(block for block in BLOCKS if block.startswith("gps/"))
FLOORS = {
    room: int(line.split()[0])
    for line in next(block for block in BLOCKS if "cli commands" in block).splitlines()
    for room in line.split()[1:]
}


def listed() -> set[str]:
    """The paths in the tree: every package, and the modules of the top level."""
    paths, above = set(), []
    for line in TREE.splitlines()[1:]:
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[: depth - 1], name.rstrip("/")]
        paths.add("/".join(above))
    return paths


def present() -> set[str]:
    gps = ROOT / "gps"
    packages = {path for path in gps.rglob("*") if path.is_dir() and list(path.glob("*.*"))}
    packages = {str(path.relative_to(gps)) for path in packages if "__pycache__" not in path.parts}
    shown = {path for path in packages if not path.startswith("inspect/report/assets")}
    return shown | {path.name for path in gps.glob("*.py") if path.name != "__init__.py"}


def test_the_tree_is_the_package():
    assert listed() == present()


def room(module: list[str]) -> str | None:
    return module[1] if len(module) > 1 else None


def imports(tree: ast.AST) -> Iterator[list[str]]:
    """The modules of gps that are imported when a module is loaded: not for types alone, nor within a function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "gps":
            base = node.module.split(".")
            yield from ([*base, alias.name] if len(base) == 1 else base for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names if alias.name.split(".")[0] == "gps")
        yield from imports(node)


MODULES = [path for path in (ROOT / "gps").rglob("*.py") if "templates" not in path.parts]


def test_every_room_has_a_floor():
    rooms = {path.relative_to(ROOT / "gps").parts[0].removesuffix(".py") for path in MODULES}
    assert rooms - {"__init__"} == FLOORS.keys()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path):
    own = path.relative_to(ROOT / "gps").parts[0].removesuffix(".py")
    if own == "__init__":
        return
    for module in imports(ast.parse(path.read_text(encoding="utf-8"))):
        other = room(module)
        if other is not None and other in FLOORS:
            assert FLOORS[other] <= FLOORS[own], f"{own} imports {'.'.join(module)}, which is above it"


# -- habits of the code (CONTRIBUTING.md) ------------------------------------------------------------------------------

SHARED_NAMES = {"add_arguments", "main"}  # of every command
SHARED_NAMES |= {"load", "find"}  # read with their module: plugins.load, task_file.find
SHARED_NAMES |= {"Reacher"}  # our task, and Gymnasium's
MODULES = sorted(path for path in (ROOT / "gps").rglob("*.py") if "templates" not in path.parts)


def test_no_two_public_things_share_a_name():
    homes: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    doubled = {name: places for name, places in homes.items() if len(places) > 1 and name not in SHARED_NAMES}
    assert doubled == {}


def test_no_contract_is_guessed_by_a_name():
    """`getattr(x, "name", default)` in place of a protocol; `protocols.py` itself looks for members by name."""
    guesses = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("getattr", "hasattr")
            ):
                name = node.args[1]
                if isinstance(name, ast.Constant) and not str(name.value).startswith("_"):
                    guesses.append(f"{path.relative_to(ROOT)}:{node.lineno} {name.value}")
    assert [guess for guess in guesses if guess.split()[-1] not in ("sched_getaffinity", "array_type")] == []


def test_no_test_imports_a_test():
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found = [name for name in modules if any(part.startswith("test_") for part in name.split("."))]
            assert not found, f"{path.relative_to(ROOT)} imports {found[0]}"
