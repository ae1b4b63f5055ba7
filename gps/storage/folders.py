"""Folders that are written atomically and whose files have checksums.

A folder is created under a hidden name, flushed to the disk, and renamed: a kill at any moment leaves either the whole
folder or a leftover with a hidden name, which `remove_leftovers` deletes.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path

SUMS = "SHA256SUMS"
"""The name of the file of checksums in a folder."""

MAX_BYTES = 2 << 30
"""The largest file that is read; a larger one is reported as damaged."""

_NEW, _OLD = ".new-", ".old-"
_MAX_SUMS_BYTES = 1 << 20
_SUM = re.compile(r"([0-9a-f]{64})  ((?!/)(?!(?:.*/)?\.\.(?:/|$)).+)")  # a path that stays within its folder


# -- checksums -------------------------------------------------------------------------------------------------------


class Damage(Exception):
    """A file is missing or differs from what was written."""

    def __init__(self, file: Path, what: str) -> None:
        super().__init__(file, what)
        self.file, self.what = file, what

    @classmethod
    def of(cls, error: OSError, file: Path) -> "Damage":
        """Return the damage that an error while reading `file` means."""
        missing = isinstance(error, FileNotFoundError)
        return cls(file, "missing" if missing else f"cannot be read: {error.strerror}")


def open_regular(path: Path) -> BufferedReader:
    """Open a file to read it. A pipe or a device in its place, which could block for ever, is an OSError."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # to open a folder is an error anyway
        raise OSError(errno.EINVAL, "not a regular file")
    return path.open("rb")


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(folder: Path, names: Iterable[str] | None = None) -> None:
    """Write the checksums of files, by their paths relative to the folder, in the format of `sha256sum --check`.

    Args:
        names: None for the files that are directly in the folder.
    """
    if names is None:
        names = [path.name for path in folder.iterdir() if path.is_file()]
    write(folder / SUMS, "".join(f"{hash_file(folder / name)}  {name}\n" for name in sorted(names)))


def _read_sums(folder: Path) -> dict[str, str]:
    """The checksums in a folder, by the file's path relative to it; raise Damage if there is no such list."""
    try:
        if not folder.is_dir():
            raise Damage(folder, "missing")
        with open_regular(folder / SUMS) as file:
            text = file.read(_MAX_SUMS_BYTES).decode()
        matches = [_SUM.fullmatch(line) for line in text.split("\n")[:-1]]
        sums = {match[2]: match[1] for match in matches if match}
        if not sums or len(sums) != len(matches) or not text.endswith("\n"):
            raise Damage(folder / SUMS, "altered or truncated: not a list of checksums")
    except OSError as error:
        raise Damage.of(error, folder / SUMS) from None
    except UnicodeDecodeError:
        raise Damage(folder / SUMS, "altered: not a list of checksums") from None
    return sums


def check_file(folder: Path, name: str, max_bytes: int = MAX_BYTES) -> Path:
    """Return the path of a file after checking its size and checksum; raise Damage if they are wrong."""
    return _check(folder, name, _read_sums(folder), max_bytes)


def _check(folder: Path, name: str, sums: Mapping[str, str], max_bytes: int) -> Path:
    path = folder / name
    if name not in sums:
        raise Damage(folder / SUMS, f"altered: no checksum of {name}")
    try:
        if path.stat().st_size > max_bytes:
            raise Damage(path, f"larger than {max_bytes >> 20} MiB, which gps never writes")
        if hash_file(path) != sums[name]:
            raise Damage(path, "does not match its checksum: altered or truncated")
    except OSError as error:
        raise Damage.of(error, path) from None
    return path


def has_sum(folder: Path, name: str) -> bool:
    """True if a file has a checksum in its folder, and so was written there."""
    return name in list_summed(folder)


def list_summed(folder: Path) -> list[str]:
    """The files that have a checksum in their folder, and so were written there; raise Damage if there is no list."""
    return list(_read_sums(folder))


def verify(folder: Path, expected: Sequence[str]) -> None:
    """Check every file that has a checksum, and that each expected file has one."""
    sums = _read_sums(folder)
    for name in dict.fromkeys([*expected, *sums]):
        _check(folder, name, sums, MAX_BYTES)


# -- files -----------------------------------------------------------------------------------------------------------


def read_text(path: Path) -> str:
    """The content of a regular file; see `open_regular`."""
    with open_regular(path) as file:
        return file.read().decode()


def write(path: Path, content: bytes | str) -> None:
    """Write a file and flush it to the disk."""
    with path.open("wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
        file.flush()
        os.fsync(file.fileno())


def append(path: Path, content: str) -> None:
    """Write more to a file and flush it to the disk. A kill may leave a part of it."""
    with path.open("ab") as file:
        file.write(content.encode())
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, content: bytes | str) -> None:
    """Write a file atomically, in place of an earlier one."""
    with replace_file(path) as temporary:
        write(temporary, content)


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a hidden path, and rename what was written there to `path`, atomically; delete it after an error."""
    temporary = path.with_name(f"{_NEW}{path.name}-{secrets.token_hex(4)}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Flush a folder's directory entries to the disk, where the system supports it."""
    with contextlib.suppress(PermissionError, IsADirectoryError):  # raised on Windows
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def new_folder(parent: Path) -> Iterator[Path]:
    """Create a hidden folder and yield it; delete it afterwards unless it was published."""
    folder = parent / f"{_NEW}{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, names: Iterable[Path]) -> Path:
    """Rename a finished folder to the first free one of the names, atomically; return the name."""
    for path in [folder, *(path for path in folder.iterdir() if path.is_dir())]:
        _sync(path)
    for name in names:
        try:
            folder.rename(name)  # fails if a non-empty folder has the name
        except OSError:
            if not name.exists():
                raise
        else:
            _sync(name.parent)
            return name
    raise FileExistsError(errno.EEXIST, "it exists already; another process may be writing this run")


def remove(folders: Sequence[Path]) -> None:
    """Delete folders; all are renamed to hidden names before the first one is deleted."""
    hidden = []
    for folder in folders:
        if folder.exists():
            hidden.append(folder.with_name(f"{_OLD}{folder.name}-{secrets.token_hex(4)}"))
            folder.rename(hidden[-1])
            _sync(folder.parent)
    for folder in hidden:
        shutil.rmtree(folder)


def remove_leftovers(folder: Path) -> None:
    """Delete the hidden files and folders that killed processes left in a folder."""
    for path in [*folder.glob(f"{_NEW}*"), *folder.glob(f"{_OLD}*")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def try_lock(descriptor: int) -> bool:
    """Lock a file until it is closed; False if another process holds it. True on systems without file locks."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
