"""docs/mc_pilco.md keeps its promises: its experiment is complete, each command runs, and each setting exists."""

import re
import shlex
from pathlib import Path

import pytest

from gps import cli
from gps.config.algorithms.through_models import (
    MCPILCOConfig,
    ParticleOptimiserConfig,
    ParticlePolicyConfig,
    PolicyParticlesConfig,
)

TEXT = (Path(__file__).parents[1] / "docs" / "mc_pilco.md").read_text(encoding="utf-8")


@pytest.mark.slow  # it compiles for several numbers of points
def test_the_commands_of_the_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ((name, content),) = re.findall(r"```toml\n# ([\w.]+)\n(.*?)```", TEXT, re.S)
    (tmp_path / "pendulum").mkdir()
    (tmp_path / "pendulum" / name).write_text(content)
    commands = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in block.splitlines()]
    assert len(commands) == 4 and all(command.startswith("gps ") for command in commands)
    for command in commands:
        runs = sorted((tmp_path / "runs" / "pendulum").glob("*"))
        arguments = [str(runs[0]) if word == "RUN" else word for word in shlex.split(command)[1:]]
        assert cli.main(arguments) == 0, (command, capsys.readouterr().err)
    assert (tmp_path / "policy.npz").exists()


def test_the_settings_of_the_page_exist():
    table = TEXT[TEXT.index("| key |") : TEXT.index("## When it fails")]
    sections = {
        "policy": ParticlePolicyConfig,
        "particles": PolicyParticlesConfig,
        "optimiser": ParticleOptimiserConfig,
    }
    for row in table.splitlines()[2:]:
        for key in re.findall(r"`([\w.]+)`", row.split("|")[1] if row else ""):
            section, _, rest = key.rpartition(".")
            assert (rest or key) in (sections[section] if section else MCPILCOConfig).model_fields, key
