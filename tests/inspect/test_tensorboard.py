"""TensorBoard event files, read back."""

import dataclasses
import struct
import sys
from collections.abc import Iterator
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


def events(folder: Path) -> Iterator:
    """The events of a folder, file by file."""
    from tensorboardX.proto.event_pb2 import Event

    for file in sorted(folder.glob("events*"), key=lambda path: path.stat().st_mtime_ns):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)  # then 4 bytes of checksum, the record, 4 more
            yield Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length


def read(folder: Path) -> dict[str, dict[int, float]]:
    """Tag -> step -> value, as TensorBoard takes it: what a later file supersedes is gone."""
    scalars: dict[str, dict[int, float]] = {}
    for event in events(folder):
        if event.HasField("session_log"):  # a new beginning
            scalars = {tag: {k: v for k, v in line.items() if k < event.step} for tag, line in scalars.items()}
        for value in event.summary.value:
            if value.HasField("simple_value"):
                scalars.setdefault(value.tag, {})[event.step] = value.simple_value
    return scalars


def test_a_line_for_each_condition_and_one_for_all(tmp_path):
    board = TensorBoard(tmp_path)
    records = [record(k) for k in range(3)]
    for made in records:
        board.on_iteration(made)  # what is on disk must not wait for the end of the run
    for m in range(2):
        rows = [make_rows(made)[m] for made in records]
        lines = read(tmp_path / f"condition_{m}")
        for name in ("cost", "kl", "eta", "entropy", "multiplier"):
            values = [np.float32(getattr(row, name)) for row in rows]
            assert lines[name] == dict(zip((36, 72, 108), values, strict=True))
        assert set(lines["predicted"]) == {72, 108}  # there is none in iteration 0
        assert lines["success"][36] == np.float32(rows[0].successes / 3)
    shared = read(tmp_path / "all")
    assert shared["cost"][72] == np.float32(records[1].mean_cost.mean())
    assert shared["fit_seconds"][108] == np.float32(0.04)
    assert shared["environment_steps"][108] == 108 and shared["iteration"] == {36: 0, 72: 1, 108: 2}
    assert {path.name for path in tmp_path.iterdir()} == {"all", "condition_0", "condition_1"}
    board.on_end(None)


def test_one_condition_is_drawn_once(tmp_path):
    board = TensorBoard(tmp_path)
    board.on_iteration(record(0, M=1))
    board.on_evaluation(evaluation(rollouts(np.random.default_rng(0), M=1, N=1)))
    assert [path.name for path in tmp_path.iterdir()] == ["all"]
    assert {"cost", "kl", "iteration", "success", "evaluation_cost"} <= set(read(tmp_path / "all"))
    board.on_end(None)


def test_scalars_of_a_policy_and_of_an_environment_that_does_not_tell_of_success(tmp_path):
    board = TensorBoard(tmp_path)
    made = with_policy(record(0))
    board.on_iteration(dataclasses.replace(made, rollouts=untold(made.rollouts)))
    board.on_evaluation(evaluation(untold(rollouts(np.random.default_rng(0), N=1)), what="unseen"))
    of_condition, shared = read(tmp_path / "condition_1"), read(tmp_path / "all")
    assert of_condition["policy_kl_step"][36] == np.float32(made.policy.kl[1].mean())
    assert shared["policy_loss_before"][36] == 3 and shared["policy_loss_after"][36] == 2
    assert shared["policy_deviation_u1"][36] == np.float32(made.policy.deviation[1])
    assert of_condition["evaluation_unseen_cost"][36] == shared["evaluation_unseen_cost"][36] == 6
    assert not any("success" in tag for folder in tmp_path.iterdir() for tag in read(folder))
    board.on_end(None)


def test_scalars_without_local_controllers(tmp_path):
    board = TensorBoard(tmp_path)
    board.on_iteration(with_policy(record(0), teacher=Player.EXPERT))
    assert set(read(tmp_path / "condition_0")) == {"cost", "saturated", "policy_kl_step", "success"}
    assert read(tmp_path / "all")["policy_loss_after"][36] == 2
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
    costs = [float(np.float32(made.mean_cost[0])) for made in (record(0, seed=0), record(1, seed=1))]
    assert list(read(run.path / "tensorboard/condition_0")["cost"].values()) == costs
    assert read(run.path / "tensorboard/condition_1")["evaluation_cost"] == {72: 6.0}
    go_on(1, 1)  # as `gps resume` of a run with one complete iteration and no evaluation
    assert read(run.path / "tensorboard/condition_1")["evaluation_cost"] == {36: 6.0}
    run.verify()
    assert find_runs(tmp_path) == [run.path]
    run.discard_from(0)
    assert (run.path / "tensorboard").is_dir()


def test_the_hyperparameters_and_the_scores_that_rank_them(tmp_path):
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    run = create_run(tmp_path, "e", 3, config("algorithm.kl_step=0.7"), tmp_path, "")
    board = TensorBoard()
    board.on_start(run, run.config, 1)
    board.on_iteration(record(0))
    found = {value.tag: HParamsPluginData.FromString(value.metadata.plugin_data.content)
             for event in events(run.path / "tensorboard/all") for value in event.summary.value
             if value.metadata.plugin_data.plugin_name == "hparams"}  # fmt: skip
    settings = found["_hparams_/session_start_info"].session_start_info.hparams
    assert settings["algorithm.kl_step"].number_value == 0.7
    assert settings["algorithm.name"].string_value == "trajopt"
    metrics = {metric.name.tag for metric in found["_hparams_/experiment"].experiment.metric_infos}
    board.on_evaluation(evaluation(rollouts(np.random.default_rng(0), N=1)))
    assert metrics <= set(read(run.path / "tensorboard/all"))
    board.on_end(run)


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
