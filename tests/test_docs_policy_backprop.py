"""docs/policy_backprop.md keeps its promises: its experiment is complete, and each command of the page runs."""

import re
import shlex
from pathlib import Path

from gps import cli

TEXT = (Path(__file__).parents[1] / "docs" / "policy_backprop.md").read_text(encoding="utf-8")


def test_the_commands_of_the_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ((name, content),) = re.findall(r"```toml\n# ([\w.]+)\n(.*?)```", TEXT, re.S)
    (tmp_path / "point").mkdir()
    (tmp_path / "point" / name).write_text(content)
    commands = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in block.splitlines()]
    assert len(commands) == 6 and all(command.startswith("gps ") for command in commands)
    for command in commands:
        runs = sorted((tmp_path / "runs" / "point").glob("*/iterations"))
        first = str(runs[0].parent) if runs else ""
        arguments = [first if word == "RUN" else word for word in shlex.split(command)[1:]]
        assert cli.main(arguments) == 0, (command, capsys.readouterr().err)
        shown = capsys.readouterr().out
        if "show" in arguments:
            assert "the policy, optimised through the model: ok" in shown and "gradient    " in shown
        elif "run" in arguments:
            assert "policy: cost in the model " in shown and "gradient " in shown
