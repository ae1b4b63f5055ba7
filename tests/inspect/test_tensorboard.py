"""TensorBoard event files, read back."""

import dataclasses
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.records import config, evaluation, record, rollouts, state, untold, with_policy

from gps import cli
from gps.errors import ConfigError, RunError
from gps.inspect.tensorboard import TensorBoard
from gps.metrics import make_rows
from gps.players import Player
from gps.runs import find_runs
from gps.runs.creating import create_run

pytest.importorskip("tensorboardX")


def read(folder: Path) -> dict[str, dict[int, float]]:
    """Tag -> step -> value, as TensorBoard takes it: what a later file supersedes is gone."""
    from tensorboardX.proto.event_pb2 import Event

    scalars: dict[str, dict[int, float]] = {}
    for file in sorted(folder.glob("events*"), key=lambda path: path.stat().st_mtime_ns):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)  # then 4 bytes of checksum, the record, 4 more
            event = Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length
            if event.HasField("session_log"):  # a new beginning
                scalars = {tag: {k: v for k, v in line.items() if k < event.step} for tag, line in scalars.items()}
            for value in event.summary.value:
                scalars.setdefault(value.tag, {})[event.step] = value.simple_value
    return scalars


def test_scalars_against_iterations_and_steps(tmp_path):
    board = TensorBoard(tmp_path)
    records = [record(k) for k in range(3)]
    for made in records:
        board.on_iteration(made)  # what is on disk must not wait for the end of the run
    for m in range(2):
        rows = [make_rows(made)[m] for made in records]
        by_iteration = read(tmp_path / "by_iteration" / f"condition_{m}")
        by_steps = read(tmp_path / "by_environment_steps" / f"condition_{m}")
        for name in ("cost", "kl", "eta", "entropy", "multiplier"):
            values = [np.float32(getattr(row, name)) for row in rows]
            assert by_iteration[f"by_iteration/{name}"] == dict(zip(range(3), values, strict=True))
            assert by_steps[f"by_environment_steps/{name}"] == dict(zip((36, 72, 108), values, strict=True))
        assert set(by_iteration["by_iteration/predicted"]) == {1, 2}  # there is none in iteration 0
        assert by_iteration["by_iteration/success"][0] == np.float32(rows[0].successes / 3)
    shared = read(tmp_path / "by_iteration" / "all")
    assert shared["by_iteration/cost"][1] == np.float32(records[1].mean_cost.mean())
    assert shared["by_iteration/fit_seconds"][2] == np.float32(0.04)
    assert shared["by_iteration/environment_steps"][2] == 108
    board.on_end(None)


def test_scalars_of_a_policy_and_of_an_environment_that_does_not_tell_of_success(tmp_path):
    board = TensorBoard(tmp_path)
    made = with_policy(record(0))
    board.on_iteration(dataclasses.replace(made, rollouts=untold(made.rollouts)))
    board.on_evaluation(evaluation(untold(rollouts(np.random.default_rng(0), N=1)), what="unseen"))
    of_condition, shared = read(tmp_path / "by_iteration/condition_1"), read(tmp_path / "by_iteration/all")
    assert of_condition["by_iteration/policy_kl_step"][0] == np.float32(made.policy.kl[1].mean())
    assert shared["by_iteration/policy_loss_before"][0] == 3 and shared["by_iteration/policy_loss_after"][0] == 2
    assert shared["by_iteration/policy_deviation_u1"][0] == np.float32(made.policy.deviation[1])
    assert read(tmp_path / "by_environment_steps/condition_1")["by_environment_steps/evaluation_unseen_cost"][36] == 6
    assert not any("success" in tag for folder in tmp_path.glob("*/*") for tag in read(folder))
    board.on_end(None)


def test_scalars_without_local_controllers(tmp_path):
    board = TensorBoard(tmp_path)
    made = with_policy(record(0), teacher=Player.EXPERT)
    board.on_iteration(made)
    tags = {tag.partition("/")[2] for tag in read(tmp_path / "by_iteration/condition_0")}
    assert tags == {"cost", "saturated", "policy_kl_step", "success"}
    assert read(tmp_path / "by_iteration/all")["by_iteration/policy_loss_after"][0] == 2
    board.on_end(None)


def test_in_a_run_directory_and_after_an_interruption(tmp_path):
    run = create_run(tmp_path, "e", 0, config(), tmp_path, "")

    def go_on(first, last):
        board = TensorBoard()
        board.on_start(run, run.config, last)
        for k in range(first, last):
            board.on_iteration(record(k, seed=first))
        board.on_evaluation(evaluation(rollouts(np.random.default_rng(0), N=1)))
        board.on_end(run)

    run.write(record(0), state(0))
    go_on(0, 3)
    go_on(1, 2)  # as `gps resume --from 1`
    line = read(run.path / "tensorboard/by_iteration/condition_0")["by_iteration/cost"]
    expected = [float(np.float32(made.mean_cost[0])) for made in (record(0, seed=0), record(1, seed=1))]
    assert list(line.values()) == expected
    line = read(run.path / "tensorboard/by_environment_steps/condition_1")["by_environment_steps/evaluation_cost"]
    assert line == {72: 6.0}
    run.verify()
    assert find_runs(tmp_path) == [run.path]
    run.discard_from(0)
    assert (run.path / "tensorboard").is_dir()


def test_the_flag(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("gps.experiment.run", lambda *_, callbacks, **__: seen.extend(callbacks))
    monkeypatch.setattr("gps.experiment.resume", lambda *_, callbacks, **__: seen.extend(callbacks))
    assert cli.main(["run", "e", "--quiet"]) == 0
    assert not any(isinstance(callback, TensorBoard) for callback in seen)
    assert cli.main(["run", "e", "--quiet", "--tensorboard"]) == 0
    assert cli.main(["resume", "e", "--quiet", "--tensorboard"]) == 0
    assert sum(isinstance(callback, TensorBoard) for callback in seen) == 2


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ConfigError, match=r'pip install "guided-policy-search\[tensorboard\]"'):
        TensorBoard()


def test_without_a_folder():
    with pytest.raises(ConfigError, match="no folder; give one"):
        TensorBoard().on_iteration(record(0))


def test_a_full_disk_is_said_in_one_line(tmp_path, monkeypatch):
    import errno
    import os

    from tensorboardX.event_file_writer import EventsWriter

    def full(writer):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    board = TensorBoard(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(EventsWriter, "flush", full)
        with pytest.raises(
            RunError, match=r"cannot be written: No space left on device; the iteration itself is on disk"
        ):
            board.on_iteration(record(0))
    board.on_end(None)
