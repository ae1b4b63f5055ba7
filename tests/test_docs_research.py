"""docs/research.md keeps its promises: its commands, its scripts for a cluster and its figure."""

import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gps import cli

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/research.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.S)
SCRIPTS = {name: block for block in BLOCKS for name in re.findall(r"^# (\w+\.sh):", block, re.M)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the experiments, in which `gps` is a command that makes one iteration."""
    shutil.copytree(ROOT / "experiments/pendulum_swingup", tmp_path / "experiments/pendulum_swingup")
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "bin" / "gps"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m gps.cli "$@" --iterations 1\n')
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def test_a_task_of_the_array_is_one_seed(folder, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    (folder / "seeds.sh").write_text(SCRIPTS["seeds.sh"])
    done = subprocess.run(["bash", "-eu", "seeds.sh"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (run,) = folder.glob("runs/pendulum_swingup/*")
    assert run.name.endswith("-seed3")


def test_the_sweep_of_the_cluster_can_be_typed_so():
    script = SCRIPTS["cluster.sh"]
    assert subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True).returncode == 0
    (command,) = re.findall(r"^gps .*$", script, re.M)
    args = cli._parser().parse_args(shlex.split(command.replace("$(hostname)", "node1"))[1:])
    assert (args.backend, args.address) == ("dask", "node1:8786")
    dask = pytest.importorskip("distributed.cli.dask_worker")
    known = {option for parameter in dask.main.params for option in parameter.opts}
    assert {"--nworkers", "--nthreads"} <= known


def test_the_figure_and_the_table_are_made(folder, capsys):
    pytest.importorskip("matplotlib")
    for command in BLOCKS[0].splitlines():
        arguments = shlex.split(command)[1:]
        short = [word.replace("0-4", "0-1") for word in arguments]
        more = ["--iterations", "1", "--jobs", "1"] if arguments[0] == "sweep" else []
        assert cli.main([*short, *more]) == 0, capsys.readouterr().err
    (code,) = re.findall(r"```python\n# figure.py\n(.*?)```", TEXT, re.S)
    environment = {**os.environ, "MPLBACKEND": "agg"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert (folder / "cost.pdf").read_bytes().startswith(b"%PDF")
    assert [line.split(" & ")[:2] for line in done.stdout.splitlines()[1:]] == [
        [rf"kl\_step={step}", "2"] for step in ("0.5", "2")
    ]
