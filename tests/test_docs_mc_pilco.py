"""docs/mc_pilco.md keeps its promises: its experiment is complete, each command runs, and each setting exists."""

import pytest
from helpers.pages import Page

from gps.config.algorithms.through_models import (
    MCPILCOConfig,
    ParticleOptimiserConfig,
    ParticlePolicyConfig,
    PolicyParticlesConfig,
)

PAGE = Page("mc_pilco.md")


@pytest.mark.slow  # it compiles for several numbers of points
def test_the_commands_of_the_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    PAGE.write_experiment(tmp_path / "pendulum")
    assert len(list(PAGE.run_commands(tmp_path / "runs" / "pendulum", capsys))) == 4
    assert (tmp_path / "policy.npz").exists()


def test_the_settings_of_the_page_exist():
    sections = {
        "policy": ParticlePolicyConfig,
        "particles": PolicyParticlesConfig,
        "optimiser": ParticleOptimiserConfig,
    }
    assert list(PAGE.list_missing_keys("## When it fails", MCPILCOConfig, sections)) == []
