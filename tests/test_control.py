"""Pause, resume and stop: what the file asks for is what the run does, also from another process."""

import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.processes import python, wait_until

from gps.errors import RunError
from gps.runs import control
from gps.runs.control import Control, Stopped, read_pause, read_request, request

LOOP = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from gps.runs.control import Control, Stopped
said = []
try:
    with Control(lambda text: print(text, flush=True)) as watch:
        watch.on_start(SimpleNamespace(path=Path(sys.argv[1])), None, 1000)
        print("started", flush=True)
        for k in range(1000):
            for stage in ("sample", "fit"):
                watch.on_stage(k, stage)
                time.sleep(0.01)
            watch.on_iteration(None)
            Path(sys.argv[1], "done").write_text(str(k))
except Stopped:
    print("stopped", flush=True)
"""


def begun(folder: Path, **kwargs) -> Control:
    watch = Control(**kwargs)
    watch.on_start(SimpleNamespace(path=folder), None, 10)
    return watch


def test_pause_resume_and_stop_across_processes(tmp_path):
    with python("-c", LOOP, tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "started\n"
        request(tmp_path, "pause")
        wait_until(lambda: read_pause(tmp_path))
        done = (tmp_path / "done").read_text() if (tmp_path / "done").exists() else ""
        time.sleep(0.3)
        assert done == ((tmp_path / "done").read_text() if (tmp_path / "done").exists() else "")
        request(tmp_path, "resume")
        wait_until(lambda: (tmp_path / "done").exists() and (tmp_path / "done").read_text() not in ("", done))
        assert read_pause(tmp_path) is None
        request(tmp_path, "stop")
        assert process.wait(20) == 0
        lines = process.stdout.read().splitlines()
    assert lines[0].startswith("paused before iteration ")
    assert lines[1:] == ["resumed", "stopped"]
    assert {path.name for path in tmp_path.iterdir()} == {"done"}  # no request outlives the run


def test_a_stop_throws_no_sample_away(tmp_path):
    watch = begun(tmp_path)
    watch.on_stage(0, "sample")
    request(tmp_path, "stop")
    watch.on_stage(0, "fit")
    watch.on_stage(0, "improve")
    with pytest.raises(Stopped):
        watch.on_iteration(None)
    with pytest.raises(KeyboardInterrupt):
        watch.on_stage(1, "sample")


def test_a_paused_run_can_be_stopped(tmp_path):
    said = []

    def announce(text):
        said.append(text)
        request(tmp_path, "stop")

    watch = begun(tmp_path, announce=announce)
    request(tmp_path, "pause")
    with pytest.raises(Stopped):
        watch.on_stage(3, "sample")
    assert said == ["paused before iteration 3, sample"]
    assert read_pause(tmp_path) is None


def test_before_the_first_episode_and_the_evaluation_a_run_can_be_paused_and_stopped(tmp_path):
    said = []

    def announce(text):
        said.append(text)
        request(tmp_path, "stop")

    for iteration, stage in ((0, "begin"), (10, "evaluate")):
        watch = begun(tmp_path, announce=announce)
        request(tmp_path, "pause")
        with pytest.raises(Stopped):
            watch.on_stage(iteration, stage)
    assert said == ["paused before the first episodes", "paused before the evaluation"]


def test_requests_from_before_the_start_are_forgotten(tmp_path):
    request(tmp_path, "stop")
    watch = begun(tmp_path)
    assert read_request(tmp_path) is None
    watch.on_stage(0, "sample")
    watch.on_iteration(None)


@pytest.mark.parametrize("content", ["", "[1]", '{"request": "fly"}', '{"request": ["stop"]}', "\x00\xff", "[" * 900])
def test_a_file_that_says_something_else_asks_for_nothing(tmp_path, content):
    (tmp_path / "control.json").write_text(content)
    (tmp_path / "paused.json").write_text(content)
    assert read_request(tmp_path) is None and read_pause(tmp_path) is None
    begun(tmp_path).on_stage(0, "sample")


def test_a_wrong_request_is_refused(tmp_path):
    with pytest.raises(RunError, match="did you mean 'pause'"):
        request(tmp_path, "pauze")
    with pytest.raises(RunError, match="cannot be written"):
        request(tmp_path / "nowhere", "stop")
    assert not list(tmp_path.iterdir())
    assert control.REQUESTS == ("pause", "resume", "stop")
