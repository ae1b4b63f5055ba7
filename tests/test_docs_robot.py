"""docs/robot.md keeps its promises: from the model to the program on the robot's computer, every block runs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np

from gps import cli

TEXT = (Path(__file__).parents[1] / "docs/robot.md").read_text(encoding="utf-8")


def test_the_page_leads_to_a_policy_that_runs_without_gps(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "arm").mkdir()
    files = dict(re.findall(r"```(?:toml|xml|python)\n(?:# |<!-- )([\w.]+)(?: -->)?\n(.*?)```", TEXT, re.S))
    program = files.pop("robot.py")
    assert set(files) == {"arm.xml", "experiment.toml"}
    for name, content in files.items():
        (tmp_path / "arm" / name).write_text(content)
    commands = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in block.splitlines()]
    assert len(commands) == 8
    for command in commands:
        command, _, target = command.partition(" > ")
        assert cli.main(shlex.split(command)[1:]) == 0, (command, capsys.readouterr().err)
        shown = capsys.readouterr().out
        if target:
            (tmp_path / target).write_text(shown)
        if command == "gps run arm":
            assert "solved 2/2" in shown
    (tmp_path / "robot.py").write_text(program)
    done = subprocess.run([sys.executable, "-S", "-c", PLAIN], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names, *actions = done.stdout.splitlines()
    assert "qpos:shoulder" in names and "0.05" in names and len(actions) == 3


# NumPy alone: the program runs without the packages of gps.
PLAIN = f"""
import sys
sys.path[:0] = [".", {str(Path(np.__file__).parents[1])!r}]
sys.modules["gps"] = sys.modules["jax"] = None
exec(compile(open("robot.py").read(), "robot.py", "exec"))
"""
