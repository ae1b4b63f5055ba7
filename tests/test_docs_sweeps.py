"""docs/sweeps.md keeps its promises: its Python runs, and its commands exist with these arguments."""

import os
import re
import shlex
from pathlib import Path

from gps import cli
from gps.sweeps.settings import collect_values
from gps.tuning.file import read_space

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")


def test_the_python_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"<!-- tested.*?-->\n```python\n(.*?)```", TEXT, re.S)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    os.symlink(ROOT / "experiments", tmp_path / "experiments")
    exec(compile(code, "sweeps.md", "exec"), {"__name__": "__main__"})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:4] for line in lines] == [
        [f"kl_step={step}", "seed", str(seed), "finished"] for step in (0.5, 2.0) for seed in (0, 1)
    ]
    assert all(Path(line[-1], "evaluation").is_dir() for line in lines)


def test_the_commands_can_be_typed_so():
    commands = re.findall(r"^gps .*$", "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.S)), re.M)
    assert len(commands) == 8
    for command in commands:
        cli._parser().parse_args(shlex.split(command, comments=True)[1:])
    (override,) = re.findall(r"--set '(.*?)'", TEXT)
    assert [len(values) for values in collect_values([override], {}).values()] == [2]


def test_the_space_is_valid(tmp_path):
    (space,) = re.findall(r"```toml\n(trials = .*?)```", TEXT, re.S)
    (tmp_path / "tune.toml").write_text(space)
    assert [item.key for item in read_space(tmp_path / "tune.toml").parameter] == [
        "algorithm.kl_step",
        "algorithm.samples",
    ]
