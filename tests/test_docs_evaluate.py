"""docs/evaluate.md keeps its promises: its Python runs, and the commands it names exist with these arguments."""

import os
import re
import shlex
from pathlib import Path

import pytest

from gps import cli
from gps.environments.mujoco import offscreen
from gps.errors import DrawingError

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "evaluate.md").read_text(encoding="utf-8")


def test_the_python_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("PIL")
    pytest.importorskip("tensorboardX")
    try:
        offscreen.backend()
    except DrawingError as error:
        pytest.skip(str(error))
    (code,) = re.findall(r"<!-- tested.*?-->\n```python\n(.*?)```", TEXT, re.S)
    monkeypatch.chdir(tmp_path)
    os.symlink(ROOT / "experiments", tmp_path / "experiments")
    exec(compile(code, "evaluate.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("pendulum_swingup Estimate(")
    assert lines[2] == "pendulum_swingup-seed0-iter001.webp"
    assert Path(lines[2]).stat().st_size > 1000
    assert list(tmp_path.glob("runs/*/*/tensorboard/*/events*"))


def test_the_commands_can_be_typed_so():
    parser = cli._parser()
    commands = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in block.splitlines()]
    commands = [
        shlex.split(line.replace("$seed", "0"), comments=True)[1:]
        for line in commands
        if line.strip().startswith("gps ")
    ]
    assert len(commands) >= 10
    for command in commands:
        parser.parse_args(command)


def test_the_table_is_that_of_the_command():
    from gps.inspect.comparison import Comparison, make_header

    head = make_header(Comparison("", (), ()))
    printed = re.search(r"^group .*$", TEXT, re.M).group()
    assert all(name in printed for name in head)
