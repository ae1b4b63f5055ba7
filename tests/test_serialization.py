"""Objects to arrays and back, bit for bit; files that are not what they should be."""

import contextlib
import dataclasses
import zipfile
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.bits import assert_same_bits
from helpers.records import State, record, rollouts, state
from jaxtyping import Array, Float

from gps.records import IterationRecord, Rollouts
from gps.status import Status
from gps.storage.serialization import CorruptFile, flatten, read_npz, unflatten, write_npz


class Module(eqx.Module):
    weight: Float[Array, "n 1"]
    name: str = eqx.field(static=True)


class Pair(NamedTuple):
    left: int
    right: float


@dataclasses.dataclass(frozen=True)
class Everything:
    module: Module
    pair: Pair
    maybe: Pair | None
    nothing: Pair | None
    scalar: Float[np.ndarray, ""]
    fortran: np.ndarray
    empty: Float[np.ndarray, "0 3"]
    texts: tuple[str, ...]
    nested: tuple[tuple[Pair, ...], ...]
    fixed: tuple[int, str]
    flag: bool
    status: Status


EVERYTHING = Everything(
    module=Module(jnp.ones((3, 1)), "a\0name\0"),
    pair=Pair(-(2**63), float("nan")),
    maybe=Pair(1, -0.0),
    nothing=None,
    scalar=np.array(0.1),
    fortran=np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    empty=np.zeros((0, 3)),
    texts=("", "η → \n", "\0"),
    nested=((), (Pair(1, 2.0),)),
    fixed=(3, "x"),
    flag=True,
    status=Status.NOT_FINITE,
)


def test_everything_survives_a_file(tmp_path):
    write_npz(tmp_path / "a.npz", flatten(EVERYTHING))
    back = unflatten(Everything, read_npz(tmp_path / "a.npz"))
    assert_same_bits(EVERYTHING, back)
    assert back.texts == EVERYTHING.texts
    assert back.fixed == (3, "x")
    assert back.module.name == "a\0name\0"
    assert back.flag is True
    assert type(back.pair.left) is int
    assert type(back.pair.right) is float
    assert back.status is Status.NOT_FINITE
    assert back.nothing is None
    assert back.scalar.shape == ()
    assert back.fortran.flags.f_contiguous
    assert back.fortran.flags.writeable


@pytest.mark.parametrize("per_step", [False, True])
def test_a_record_survives(per_step):
    original = record(3, per_step=per_step, message="said")
    assert_same_bits(original, unflatten(IterationRecord, flatten(original)))


def test_a_root_may_be_an_array_or_none():
    np.testing.assert_array_equal(unflatten(np.ndarray, flatten(np.arange(3))), np.arange(3))
    assert unflatten(State | None, flatten(None)) is None
    assert unflatten(tuple[int, ...], flatten((1, 2))) == (1, 2)


def test_equal_objects_make_equal_files(tmp_path):
    write_npz(tmp_path / "a.npz", flatten(state(2)))
    write_npz(tmp_path / "b.npz", flatten(unflatten(State, read_npz(tmp_path / "a.npz"))))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("value", [object(), [1], {"a": 1}, np.array([None]), np.array(["a"]), 2**70, print])
def test_other_things_are_refused_with_their_place(value):
    with pytest.raises((TypeError, OverflowError), match="1"):
        flatten((0, value))


def test_a_field_of_several_types_is_refused():
    with pytest.raises(TypeError, match="several types"):
        unflatten(int | str, flatten(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("eta"), "'eta' is missing"),
        (lambda arrays: arrays.update(extra=np.zeros(1)), "'extra' is not a part of State"),
        (lambda arrays: arrays.update({"pool:length": np.array(10**15)}), "has 1000000000000000 items"),
        (lambda arrays: arrays.update(steps=np.zeros(2)), "'steps' is not int"),
        (lambda arrays: arrays.update({"pool:length": np.array(0)}), "not a part"),
    ],
)
def test_arrays_of_something_else_are_refused(change, message):
    arrays = flatten(state(1))
    change(arrays)
    with pytest.raises(CorruptFile, match=message):
        unflatten(State, arrays)


def test_no_pickle_is_read(tmp_path):
    np.savez(tmp_path / "a.npz", value=np.array([{"a": 1}], dtype=object))
    with pytest.raises(CorruptFile, match="pickles are never read"):
        read_npz(tmp_path / "a.npz")


def test_absurd_sizes_are_refused_before_anything_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("value.npy", bytes(1 << 22))
    with pytest.raises(CorruptFile, match="larger than 1 MiB"):
        read_npz(tmp_path / "bomb.npz", max_bytes=1 << 20)


def test_a_header_that_promises_more_than_there_is_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("value.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with pytest.raises(CorruptFile, match="size"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("size", [0, 10, 100, -1])
def test_a_truncated_file_is_refused(tmp_path, size):
    write_npz(tmp_path / "a.npz", flatten(state(1)))
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[:size])
    with pytest.raises(CorruptFile):
        read_npz(tmp_path / "a.npz")


def test_no_altered_byte_goes_through_as_another_kind_of_error(tmp_path):
    write_npz(tmp_path / "a.npz", flatten(state(0)))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    rng = np.random.default_rng(0)
    for position in rng.choice(len(content), size=300, replace=False):
        damaged = bytearray(content)
        damaged[position] ^= int(rng.integers(1, 256))
        (tmp_path / "b.npz").write_bytes(damaged)
        with contextlib.suppress(CorruptFile):
            unflatten(State, read_npz(tmp_path / "b.npz"))


def test_what_was_written_before_a_field_with_a_default_existed_is_readable():
    @dataclasses.dataclass(frozen=True)
    class Older:
        size: int

    @dataclasses.dataclass(frozen=True)
    class Newer:
        size: int
        notes: tuple[str, ...] = ("none",)

    assert unflatten(Newer, flatten(Older(3))) == Newer(3)
    assert unflatten(Newer, flatten(Newer(3, ()))) == Newer(3, ())
    with pytest.raises(CorruptFile, match="'size' is missing"):
        unflatten(Newer, {})
    with pytest.raises(CorruptFile, match=r"'notes\.1' is missing"):
        unflatten(Newer, {"size": np.array(3), "notes:length": np.array(2), "notes.0": flatten("a")["value"]})


def test_rollouts_from_before_there_were_observations_are_readable():
    before = rollouts(np.random.default_rng(0))
    arrays = flatten(before)
    del arrays["observations:none"]
    assert unflatten(Rollouts, arrays).observations is None
    seen = dataclasses.replace(before, observations=np.full((2, 3, 6, 5), 200, np.uint8))
    again = unflatten(Rollouts, flatten(seen)).observations
    assert again.dtype == np.uint8
    np.testing.assert_array_equal(again, seen.observations)
