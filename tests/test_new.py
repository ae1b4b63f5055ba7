"""`gps new` makes an experiment that is sound and learns as it is."""

import subprocess
import sys
from pathlib import Path

import pytest

import gps
from gps.commands.new import KINDS


def new(*args: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "gps.cli", "new", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_experiment_passes_its_check_and_learns(tmp_path: Path, kind: str):
    made = new(str(tmp_path / "mine"), "--kind", kind)
    assert made.returncode == 0, made.stderr
    assert "mine" in (tmp_path / "mine/README.md").read_text()
    assert gps.check(tmp_path / "mine").ok
    run = gps.run(tmp_path / "mine", iterations=4, out=tmp_path / "runs")
    first, last = run.iterations[0].mean_cost, run.iterations[-1].mean_cost
    assert (last < 0.6 * first).all()


def test_what_is_there_is_not_overwritten(tmp_path: Path):
    (tmp_path / "task.py").write_text("precious")
    made = new(str(tmp_path))
    assert made.returncode == 2
    assert made.stderr == f"gps: error: {tmp_path}: exists and is not empty; choose another name\n"
    assert [file.name for file in tmp_path.iterdir()] == ["task.py"]
