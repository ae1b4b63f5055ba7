"""docs/policy_backprop.md keeps its promises: its experiment is complete, and each command of the page runs."""

import itertools
import shlex

import pytest
from helpers.pages import Page

from gps.config import load

PAGE = Page("policy_backprop.md")
FIRST, VARIANTS = PAGE.commands[:4], PAGE.commands[4:]
"""The last ones train other policies and values."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with the page's experiment."""
    monkeypatch.chdir(tmp_path)
    PAGE.write_experiment(tmp_path / "point")
    return tmp_path


@pytest.mark.parametrize(
    "commands", [FIRST, pytest.param(VARIANTS, marks=pytest.mark.slow)], ids=["first", "variants"]
)  # the variants compile everything anew
def test_the_commands_of_the_page_run(folder, capsys, commands):
    assert len(PAGE.commands) == 6
    for arguments, shown in PAGE.run_commands(folder / "runs" / "point", capsys, commands=commands):
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
