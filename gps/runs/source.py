"""The files that an experiment is built from, of which a run keeps copies in its folder `source`.

- *The model*: the MJCF or URDF file and all that it includes, meshes, textures and height fields too. If all of them
  are in the experiment's folder they keep their places in it. Otherwise they lie in `source/_model`, at the same places
  relative to each other.
- *The folder of `task.py`*, if there is one: modules, packages and data, since nobody knows what a program reads.
  Hidden files, compiled ones, virtual environments and runs stay out.
- *What it loads from elsewhere*: see `gps.runs.loaded`.

What the run needs and cannot keep stays where it is: what is too large, what a model names by its absolute path, and
the model of an environment in `task.py` that lies elsewhere. Such files are *outside*: the run has their checksums, and
refuses a changed one.
"""

from __future__ import annotations

import hashlib
import os
import site
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from gps.errors import RunError
from gps.extensions import task_file
from gps.storage.folders import Damage, hash_file, open_regular, verify, write, write_sums

MAX_BYTES, MAX_FILES = 64 << 20, 1000
"""The most that a run keeps of each: the model, the modules, and the other files beside `task.py`."""

_TOO_MUCH = f"more than {MAX_FILES:,} or larger than {MAX_BYTES >> 20} MiB"
_MODEL = "_model"
_MOST_SEEN = 20_000  # files, after which the search beside task.py ends
_NOT_THE_EXPERIMENTS = ("run.json", "sweep.json", "pyvenv.cfg")  # in a folder of runs or of installed packages


@dataclass(frozen=True)
class Source:
    """What a run keeps of its experiment, and what it does not.

    Attributes:
        copies: place in `source`, with slashes -> the file to copy.
        mjcf: the experiment's `environment.mjcf` for the run: a place in `source`, or an absolute path.
        outside: files that the run may read where they are.
        notes: sentences about what is not kept.
        digest: of what defines the experiment besides its settings: the modules, the model, and what is loaded.
    """

    copies: Mapping[str, Path]
    digest: str
    mjcf: str | None = None
    outside: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def find_source(
    directory: Path, mjcf: str | None, files: Sequence[Path], loaded: Mapping[str, Path] = MappingProxyType({})
) -> Source:
    """Find the files of an experiment.

    Args:
        directory: of the experiment.
        mjcf: its `environment.mjcf`.
        files: those that its environment has read; see `BatchEnvironment.files`.
        loaded: see `gps.runs.loaded.Loaded.copies`.
    """
    directory = Path(os.path.abspath(directory))
    copies: dict[str, Path] = dict(loaded)
    notes: list[str] = []
    modules: dict[str, Path] = {}
    if (directory / task_file.NAME).is_file():
        beside = _list_beside(directory)
        modules = {place: path for place, path in beside.items() if path.suffix == ".py"}
        data = {place: path for place, path in beside.items() if path.suffix != ".py"}
        for what, found in (("modules", modules), ("data", data)):
            if _fits(found.values()):
                copies |= found
            else:
                notes.append(
                    f"the {what} beside {task_file.NAME} are {_TOO_MUCH}: the run has no copies of them, and what "
                    "reads them works only where they are"
                )
    digest = _digest([*modules.values(), *files, *loaded.values()])
    if mjcf is None:
        # Nobody knows how a program names its files, so that even one in the folder may be read there.
        outside = tuple(path for path in files if not is_installed(path))
        elsewhere = [path for path in outside if not path.is_relative_to(directory)]
        notes += [
            f"{path} is not in the experiment's folder, so the run needs it where it is" for path in elsewhere[:1]
        ]
        return Source(copies, digest, None, outside, tuple(notes))
    main, root, prefix = Path(os.path.abspath(directory / mjcf)), directory, ""
    if main not in files:  # the environment did not say what it has read
        return Source(copies, digest, str(main), (), tuple(notes))
    if not all(path.is_relative_to(directory) for path in files):
        root, prefix = Path(os.path.commonpath([path.parent for path in files])), f"{_MODEL}/"
    if not _fits(files):
        notes.append(f"{main}: the model's files are {_TOO_MUCH}: the run has no copies, and needs them where they are")
        return Source(copies, digest, str(main), tuple(files), tuple(notes))
    copies |= {f"{prefix}{path.relative_to(root).as_posix()}": path for path in files}
    return Source(copies, digest, f"{prefix}{main.relative_to(root).as_posix()}", (), tuple(notes))


def digest_files(directory: Path, mjcf: str | None, loaded: Mapping[str, Path] = MappingProxyType({})) -> str:
    """`Source.digest` of an experiment whose environment is not built."""
    if mjcf is None:
        return find_source(directory, None, (), loaded).digest
    from gps.environments.mujoco.files import list_files

    return find_source(directory, mjcf, list_files(directory / mjcf), loaded).digest


@dataclass(frozen=True)
class Kept:
    """What a run says of its copies, in `run.json`.

    Attributes:
        copies: True if there are some.
        digest: `Source.digest`.
        outside: path of a file that the run may read there -> its checksum.
        notes: sentences about what is not kept.
        origins: see `gps.runs.loaded.Loaded`.
    """

    copies: bool = False
    digest: str = ""
    outside: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    origins: Mapping[str, str] = field(default_factory=dict)


def write_source(folder: Path, source: Source, origins: Mapping[str, str] = MappingProxyType({})) -> Kept:
    """Copy an experiment's files.

    Args:
        folder: the run's `source`, which is made if there is something to copy.
        origins: see `gps.runs.loaded.Loaded`.

    Raises:
        RunError: if a file cannot be read.
        OSError: if a copy cannot be written.
    """
    for place, original in source.copies.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        try:
            with open_regular(original) as file:
                content = file.read()
        except OSError as error:
            raise RunError(f"{original}: cannot be read: {error.strerror}; a run keeps a copy of it") from None
        write(folder / place, content)
    if source.copies:
        write_sums(folder, source.copies)
    outside, notes = list(source.outside), list(source.notes)
    if source.mjcf is not None and source.mjcf in source.copies:
        from gps.environments.mujoco.files import list_files

        there = Path(os.path.abspath(folder))
        named = [path for path in list_files(there / source.mjcf) if not path.is_relative_to(there)]
        outside += named
        notes += [f"the model names {path} by its absolute path, so the run needs it there" for path in named]
    sums = {str(path): hash_file(path) for path in outside}
    return Kept(bool(source.copies), source.digest, sums, notes, dict(origins))


def check_copies(folder: Path, kept: Kept) -> None:
    """Check the copies in a folder.

    Raises:
        RunError: names one that is missing or damaged.
    """
    try:
        if kept.copies:
            verify(folder, ())
    except Damage as damage:
        raise RunError(f"{damage.file}: {damage.what}; put it back, or start the experiment anew") from None


def check_outside(folder: Path, kept: Kept, files: Sequence[Path]) -> None:
    """Check that the files which an environment, built again, has read are copies or have not changed.

    Args:
        folder: with the copies.
        files: see `BatchEnvironment.files`.

    Raises:
        RunError: names one that has changed.
    """
    there = Path(os.path.abspath(folder))
    for path in files:
        if path.is_relative_to(there) or is_installed(path):
            continue
        if hash_file(path) != kept.outside.get(str(path)):
            raise RunError(
                f"{path}: it has changed since the run began, and the run has no copy of it; put the old file back, or "
                "start the experiment anew"
            )


def _list_beside(directory: Path) -> dict[str, Path]:
    """The files in a folder and in those within it, by their places; links are followed."""
    found: dict[str, Path] = {}
    seen: set[str] = set()
    for base, folders, names in os.walk(directory, followlinks=True):
        here = Path(base)
        if (real := os.path.realpath(base)) in seen or len(found) > _MOST_SEEN:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if _is_the_experiments(here / name))
        for name in sorted(names):
            if name.isprintable() and not name.startswith(".") and (here / name).is_file():
                found[(here / name).relative_to(directory).as_posix()] = here / name
    return found


def _is_the_experiments(folder: Path) -> bool:
    if folder.name.startswith(".") or folder.name == "__pycache__" or not folder.name.isprintable():
        return False
    return not any((folder / name).exists() for name in _NOT_THE_EXPERIMENTS)


def _digest(files: Iterable[Path]) -> str:
    return hashlib.sha256("\n".join(hash_file(path) for path in files).encode()).hexdigest()


def _fits(files: Iterable[Path]) -> bool:
    sizes = [path.stat().st_size for path in files]
    return len(sizes) <= MAX_FILES and sum(sizes) <= MAX_BYTES


def is_installed(path: Path) -> bool:
    """True for a file of an installed package, which the recorded version stands for."""
    folders = [*map(Path, site.getsitepackages()), Path(site.getusersitepackages()), Path(__file__).parents[1]]
    return any(path.is_relative_to(folder) for folder in folders)
