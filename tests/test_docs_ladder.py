"""docs/ladder.md keeps its promises: its ladder is complete, and its commands and its Python run."""

import re
import shlex
from pathlib import Path

from gps import cli

TEXT = (Path(__file__).parents[1] / "docs" / "ladder.md").read_text(encoding="utf-8")


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pendulum").mkdir()
    files = re.findall(r"```toml\n# ([\w.]+)\n(.*?)```", TEXT, re.S)
    assert [name for name, _ in files] == ["experiment.toml", "ladder.toml"]
    for name, content in files:
        (tmp_path / "pendulum" / name).write_text(content)
    commands = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in block.splitlines()]
    assert commands[0] == "gps ladder experiments/ladder_cartpole" and len(commands) == 5
    for command in commands[1:]:
        assert cli.main(shlex.split(command)[1:]) == 0, (command, capsys.readouterr().err)
        shown = capsys.readouterr().out
        if "--plan" in command:
            (table,) = re.findall(r"```text\n(.*?)```", TEXT, re.S)
            assert shown.split() == table.split()
        else:
            assert (tmp_path / "pendulum.html").stat().st_size > 1 << 20
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    exec(compile(code, "ladder.md", "exec"), {"__name__": "__main__"})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["0.5", "local"]
