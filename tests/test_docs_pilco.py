"""docs/pilco.md keeps its promises: its experiment is complete, and each command of the page runs."""

import pytest
from helpers.pages import Page

from gps.config.algorithms.through_models import PILCOConfig, PolicyOptimiserConfig
from gps.config.policy import BoundedPolicyConfig

PAGE = Page("pilco.md")


@pytest.mark.slow  # it compiles for two numbers of points
def test_the_commands_of_the_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    PAGE.write_experiment(tmp_path / "pendulum")
    assert len(list(PAGE.run_commands(tmp_path / "runs" / "pendulum", capsys))) == 3
    assert (tmp_path / "policy.npz").exists()


def test_the_settings_of_the_page_exist():
    sections = {"policy": BoundedPolicyConfig, "optimiser": PolicyOptimiserConfig}
    assert list(PAGE.list_missing_keys("The terms `quadratic`", PILCOConfig, sections)) == []
