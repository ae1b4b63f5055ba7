"""Store records as flat dictionaries of NumPy arrays, and these as `.npz` files without pickles. Every bit survives.

`flatten` walks an object by its values, `unflatten` rebuilds it by its type hints. They support arrays, numbers,
strings, enumerations, and, made of these: frozen dataclasses (also generic ones and Equinox modules), named tuples,
tuples of any length, and None where a hint allows it. No class needs to be registered, and the data contains no class
names:

    Search(bound=b, trace=(x, y), note=None)   ->   {"bound": b, "trace.0": x, "trace.1": y,
                                                     "trace:length": 2, "note:none": True}
"""

import dataclasses
import enum
import functools
import io
import math
import os
import types
import typing
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Annotated, Any, TypeVar, Union

import numpy as np

MAX_BYTES = 1 << 30
"""The largest total size of an `.npz` file's members; a larger file is refused before any member is read."""

T = TypeVar("T")
Arrays = dict[str, np.ndarray]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # date of every member, so that equal arrays make equal files
_WORTH_COMPRESSING = 1 << 16  # size above which an array of bytes is compressed: it holds pictures
_ROOT = "value"  # the key of an object that is itself one array


class CorruptFile(Exception):
    """A file is not an `.npz` of plain arrays, or does not hold what a type needs. The file is not named."""


# -- objects and dictionaries ----------------------------------------------------------------------------------------


def flatten(value: Any) -> Arrays:
    """Return the arrays of `value` under dotted keys.

    Raises:
        TypeError: if a part is of an unsupported kind; the message has its key.
    """
    arrays: Arrays = {}
    _flatten(value, "", arrays)
    return arrays


def unflatten(hint: type[T], arrays: Mapping[str, np.ndarray]) -> T:
    """Rebuild the object of type `hint` from the arrays of `flatten`. `hint` may be any annotation of a field.

    Raises:
        CorruptFile: if the arrays do not match the type.
    """
    unused = set(arrays)
    value = _unflatten(hint, "", arrays, unused)
    if unused:
        raise CorruptFile(f"{min(unused)!r} is not a part of {_get_name(hint)}")
    return value


def specialise(kind: Any, *arguments: Any) -> Any:
    """Return the generic record `kind` with type arguments known only at run time, as a hint for `unflatten`."""
    return kind[arguments]


def _join_key(key: str, part: str) -> str:
    return f"{key}.{part}" if key else part


@functools.lru_cache(256)
def _list_fields(kind: Any) -> list[str] | None:
    """Return the field names of a dataclass or named tuple; None for other types."""
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind) if field.init]
    return list(kind._fields) if issubclass(kind, tuple) and hasattr(kind, "_fields") else None


def _is_absent_default(kind: Any, name: str, key: str, arrays: Mapping[str, np.ndarray]) -> bool:
    """True if a field with a default is absent: files written before the field existed stay readable."""
    if dataclasses.is_dataclass(kind):
        optional = kind.__dataclass_fields__[name].default is not dataclasses.MISSING
    else:
        optional = name in kind._field_defaults
    if not optional:
        return False
    return not any(stored == key or stored.startswith((f"{key}.", f"{key}:")) for stored in arrays)


def _flatten(value: Any, key: str, arrays: Arrays) -> None:
    fields = _list_fields(type(value))  # type: ignore[arg-type]  # a class is hashable
    if fields is not None:
        for name in fields:
            _flatten(getattr(value, name), _join_key(key, name), arrays)
    elif value is None:
        arrays[f"{key}:none"] = np.array(True)
    elif isinstance(value, tuple):
        arrays[f"{key}:length"] = np.array(len(value))
        for i, item in enumerate(value):
            _flatten(item, _join_key(key, str(i)), arrays)
    elif isinstance(value, str):  # as bytes: NumPy's own strings lose trailing NULs
        arrays[key or _ROOT] = np.frombuffer(value.encode("utf-8", "surrogatepass"), np.uint8)
    elif isinstance(value, bool | int | float) or hasattr(value, "__array__"):
        arrays[key or _ROOT] = _require_plain(np.asarray(value), key)
    else:
        raise TypeError(f"{key or 'the object'}: a {type(value).__name__} cannot be stored")


def _require_plain(array: np.ndarray, key: str) -> np.ndarray:
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{key or 'the object'}: an array of {array.dtype} cannot be stored")
    return array


def _unflatten(hint: Any, key: str, arrays: Mapping[str, np.ndarray], unused: set[str]) -> Any:
    def take(name: str) -> np.ndarray:
        if name not in arrays:
            raise CorruptFile(f"{name!r} is missing")
        unused.discard(name)
        return arrays[name]

    origin = typing.get_origin(hint)
    if origin is Annotated:
        return _unflatten(typing.get_args(hint)[0], key, arrays, unused)
    if _is_array(hint):
        return take(key or _ROOT)
    if origin in (Union, types.UnionType):
        members = [member for member in typing.get_args(hint) if member is not type(None)]
        if len(members) != 1:
            raise TypeError(f"{key}: {hint} has several types; a field must have one, or one and None")
        if f"{key}:none" in arrays:
            take(f"{key}:none")
            return None
        return _unflatten(members[0], key, arrays, unused)
    if origin is tuple:
        kinds = typing.get_args(hint)
        length = _read_scalar(int, f"{key}:length", take(f"{key}:length"))
        if kinds[-1] is Ellipsis:
            kinds = (kinds[0],) * min(length, len(arrays) + 1)  # a false length ends as a missing item
        if length != len(kinds):
            raise CorruptFile(f"{key!r} has {length} items, not {len(kinds)}")
        return tuple(_unflatten(kind, _join_key(key, str(i)), arrays, unused) for i, kind in enumerate(kinds))
    record = origin or hint
    fields = _list_fields(record) if isinstance(record, type) else None
    if fields is not None:
        hints = _resolve_hints(record, typing.get_args(hint))
        stored = [name for name in fields if not _is_absent_default(record, name, _join_key(key, name), arrays)]
        return record(**{name: _unflatten(hints[name], _join_key(key, name), arrays, unused) for name in stored})
    if isinstance(hint, type) and issubclass(hint, str | bool | int | float):
        return _read_scalar(hint, key, take(key or _ROOT))
    raise TypeError(f"{key}: cannot tell what to build from the hint {hint}")


def _resolve_hints(record: Any, arguments: tuple[Any, ...]) -> dict[str, Any]:
    """Return the hints of a record's fields; for a generic record, `State[Prior]`, with its arguments substituted."""
    hints = _read_hints(record)
    if not arguments:
        return hints
    bound = dict(zip(record.__parameters__, arguments, strict=True))
    return {name: _substitute(hint, bound) for name, hint in hints.items()}


@functools.lru_cache(256)
def _read_hints(record: Any) -> dict[str, Any]:
    return typing.get_type_hints(record)


def _substitute(hint: Any, bound: Mapping[Any, Any]) -> Any:
    if isinstance(hint, TypeVar):
        return bound[hint]
    free = () if isinstance(hint, type) else getattr(hint, "__parameters__", ())
    return hint[tuple(bound[variable] for variable in free)] if free else hint


def _read_scalar(kind: Any, key: str, array: np.ndarray) -> Any:
    """Return the Python string, number or member of an enumeration that an array holds."""
    try:
        if issubclass(kind, str):
            return kind(array.tobytes().decode("utf-8", "surrogatepass"))
        return kind(array.item()) if issubclass(kind, enum.Enum) or kind is not bool else bool(array.item())
    except ValueError:
        raise CorruptFile(f"{key!r} is not {_get_name(kind)}") from None


@functools.lru_cache(1024)
def _is_array(hint: Any) -> bool:
    """True if a hint means a NumPy or JAX array, or either, bare or annotated by jaxtyping or `numpy.typing`."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        return all(map(_is_array, typing.get_args(hint)))
    kind = getattr(hint, "array_type", typing.get_origin(hint) or hint)
    return isinstance(kind, type) and (
        issubclass(kind, np.ndarray) or kind.__module__.partition(".")[0] in ("jax", "jaxlib")
    )


def _get_name(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint))


# -- files -----------------------------------------------------------------------------------------------------------


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays without a time stamp and flush them to the disk. Only pictures are compressed."""
    with path.open("wb") as stream:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, array in arrays.items():
                info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
                if array.dtype == np.uint8 and array.nbytes >= _WORTH_COMPRESSING:
                    info.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(info, "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        stream.flush()
        os.fsync(stream.fileno())


def read_npz(path: Path, max_bytes: int = MAX_BYTES, text: bool = False) -> Arrays:
    """Read arrays of numbers, each with its memory layout.

    The sizes are checked before memory is allocated, and pickles are never read.

    Args:
        text: True to read arrays of strings too.

    Raises:
        CorruptFile: if the file is too large, damaged, or holds anything except arrays of numbers.
        OSError: if the file cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > max_bytes:
                raise CorruptFile(f"its arrays are larger than {max_bytes >> 20} MiB together")
            arrays: Arrays = {}
            for member in members:
                with archive.open(member) as stream:
                    arrays[member.filename.removesuffix(".npy")] = _read_array(stream, member.file_size, text)
            return arrays
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise CorruptFile(f"not a file of arrays: {error}") from None


def _read_array(stream: IO[bytes], size: int, text: bool) -> np.ndarray:
    content = stream.read()
    if len(content) > size:
        raise CorruptFile("an array whose size does not match its shape")
    wide = content[6:7] != b"\x01"  # from the format 2.0 on, the length of the header takes four bytes
    start = (12 if wide else 10) + int.from_bytes(content[8 : 12 if wide else 10], "little")
    shape, fortran, dtype = _read_header(content[:start])
    if dtype.kind not in ("biufcU" if text else "biufc"):
        raise CorruptFile(f"an array of {dtype}, not of numbers (pickles are never read)")
    content = content[start:]
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise CorruptFile("an array whose size does not match its shape")
    return np.ndarray(shape, dtype, bytearray(content), order="F" if fortran else "C")


@functools.lru_cache(1024)  # NumPy parses a header as Python, and the files of a run have few different ones
def _read_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """The shape, the order and the type of an array, from the beginning of its file."""
    stream = io.BytesIO(header)
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise CorruptFile(f"an array of the format {version}")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(stream)
    return shape, fortran, dtype
