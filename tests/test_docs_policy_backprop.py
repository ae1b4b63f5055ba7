"""docs/policy_backprop.md keeps its promises: its experiment is complete, and each command of the page runs."""

import itertools
import re
import shlex
from pathlib import Path

import pytest

from gps import cli
from gps.config import load

TEXT = (Path(__file__).parents[1] / "docs" / "policy_backprop.md").read_text(encoding="utf-8")
BLOCKS = [block.splitlines() for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S)]
VARIANTS = BLOCKS.pop()
"""Commands that train other policies and values."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with the page's experiment."""
    monkeypatch.chdir(tmp_path)
    ((name, content),) = re.findall(r"```toml\n# ([\w.]+)\n(.*?)```", TEXT, re.S)
    (tmp_path / "point").mkdir()
    (tmp_path / "point" / name).write_text(content)
    return tmp_path


@pytest.mark.parametrize(
    ("blocks", "count"), [(BLOCKS, 4), pytest.param([VARIANTS], 2, marks=pytest.mark.slow)], ids=["first", "variants"]
)  # the variants compile everything anew
def test_the_commands_of_the_page_run(folder, capsys, blocks, count):
    commands = [line for block in blocks for line in block]
    assert len(commands) == count and all(command.startswith("gps ") for command in commands)
    for command in commands:
        runs = sorted((folder / "runs" / "point").glob("*/iterations"))
        first = str(runs[0].parent) if runs else ""
        arguments = [first if word == "RUN" else word for word in shlex.split(command)[1:]]
        assert cli.main(arguments) == 0, (command, capsys.readouterr().err)
        shown = capsys.readouterr().out
        if "show" in arguments:
            assert "the policy, optimised through the model: ok" in shown and "gradient    " in shown
        elif "run" in arguments:
            assert "policy: cost in the model " in shown and "gradient " in shown


@pytest.mark.parametrize("command", VARIANTS, ids=["value", "memory"])
def test_the_settings_of_the_variants_exist(folder, command):
    words = shlex.split(command)
    overrides = [value for key, value in itertools.pairwise(words) if key == "--set"]
    assert words[:3] == ["gps", "run", "point"] and len(words) == 3 + 2 * len(overrides)
    assert load(folder / "point", overrides) != load(folder / "point")
