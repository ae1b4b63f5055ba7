"""The folder of a sweep: its manifest, whose turn it is, the journals."""

import json

import pytest

from gps.errors import SweepError
from gps.sweeps.folder import PlannedRun, Sweep, is_turn, write_manifest


def entries(seeds=(0, 1), values=(1, 2), mark="f"):
    return [PlannedRun(seed, {"a": value}, 4, mark) for value in values for seed in seeds]


@pytest.fixture
def path(tmp_path):
    write_manifest(tmp_path / "s", "digest", entries(), {})
    return tmp_path / "s"


def test_what_is_written_is_read_back(path):
    assert Sweep(path).entries == entries()
    assert [run.state for run in Sweep(path).runs] == ["not begun"] * 4
    assert [run.label for run in Sweep(path).runs][:2] == ["a=1 seed 0", "a=1 seed 1"]
    assert not Sweep(path).finished
    assert "0 of 4 finished" in repr(Sweep(path))
    assert Sweep(path, only=["a=2-seed1"]).entries == entries()[-1:]
    assert json.loads((path / "sweep.json").read_text())["runs"][0]["folder"] == "a=1"


def test_more_seeds_and_values_are_added_in_order(path):
    write_manifest(path, "digest", entries(seeds=(3, 2), values=(2, 3)), {})
    assert [(e.setting["a"], e.seed) for e in Sweep(path).entries] == [
        (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3), (3, 2), (3, 3)]  # fmt: skip


def test_another_experiment_is_kept_out(path):
    with pytest.raises(SweepError, match="choose another --name"):
        write_manifest(path, "another", entries(), {})
    with pytest.raises(SweepError, match="a=1-seed0 differs; choose another --name"):
        write_manifest(path, "digest", entries(mark="g"), {})
    assert Sweep(path).entries == entries()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "digest": "", "runs": [{}]}'])
def test_a_manifest_that_is_none(path, text):
    (path / "sweep.json").write_text(text)
    with pytest.raises(SweepError, match=r"sweep\.json: not written by gps"):
        Sweep(path)


def test_other_folders(path):
    with pytest.raises(SweepError, match="not the folder of a sweep"):
        Sweep(path.parent)
    (path / "sweep.json").write_text('{"format": 2}')
    with pytest.raises(SweepError, match="written in format 2, and this gps reads format 1"):
        Sweep(path)


def test_one_turn_at_a_time(path):
    sweep = Sweep(path)
    with sweep.take_turn() as first:
        assert is_turn(path, first)
        with pytest.raises(SweepError, match="another process is working on this sweep"), Sweep(path).take_turn():
            raise AssertionError
        assert is_turn(path, first)
    assert not is_turn(path, first)
    with sweep.take_turn() as second:
        assert not is_turn(path, first)
        assert is_turn(path, second)
    assert not is_turn(path.parent, "")


def test_the_journal_counts_deaths(path):
    sweep, (entry, other, *_) = Sweep(path), entries()
    assert sweep.count_deaths(entry, "t") == sweep.count_begins(entry, "t") == 0
    assert sweep.find_ending(entry, "t") is None
    sweep.add_event(entry, "old", "begin")
    sweep.add_event(entry, "t", "begin")
    sweep.add_event(entry, "t", "begin")
    assert (sweep.count_begins(entry, "t"), sweep.count_deaths(entry, "t"), sweep.find_ending(entry, "t")) == (
        2,
        2,
        None,
    )
    with (path / "journal/a=1-seed0.jsonl").open("a") as file:
        file.write('{"turn": "t", "ev\n')  # torn by a kill
    sweep.add_event(entry, "t", "failed", "why", mendable=False)
    assert sweep.count_deaths(entry, "t") == 1
    assert sweep.find_ending(entry, "t").message == "why"
    assert sweep.find_ending(other, "t") is None
    run = sweep.runs[0]
    assert (run.state, run.message, run.mendable) == ("failed", "why", False)
