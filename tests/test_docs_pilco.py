"""docs/pilco.md keeps its promises: its experiment is complete, and each command of the page runs."""

import re
import shlex
from pathlib import Path

import pytest

from gps import cli
from gps.config.algorithms.through_models import PILCOConfig, PolicyOptimiserConfig
from gps.config.policy import BoundedPolicyConfig

TEXT = (Path(__file__).parents[1] / "docs" / "pilco.md").read_text(encoding="utf-8")


@pytest.mark.slow  # it compiles for two numbers of points
def test_the_commands_of_the_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ((name, content),) = re.findall(r"```toml\n# ([\w.]+)\n(.*?)```", TEXT, re.S)
    (tmp_path / "pendulum").mkdir()
    (tmp_path / "pendulum" / name).write_text(content)
    commands = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in block.splitlines()]
    assert len(commands) == 3 and all(command.startswith("gps ") for command in commands)
    for command in commands:
        runs = sorted((tmp_path / "runs" / "pendulum").glob("*"))
        arguments = [str(runs[0]) if word == "RUN" else word for word in shlex.split(command)[1:]]
        assert cli.main(arguments) == 0, (command, capsys.readouterr().err)
    assert (tmp_path / "policy.npz").exists()


def test_the_settings_of_the_page_exist():
    table = TEXT[TEXT.index("| key |") : TEXT.index("The terms `quadratic`")]
    sections = {"policy": BoundedPolicyConfig, "optimiser": PolicyOptimiserConfig}
    for row in table.splitlines()[2:]:
        section = PILCOConfig
        for key in re.findall(r"`([\w.]+)`", row.split("|")[1] if row else ""):
            first, _, rest = key.rpartition(".")
            section = sections[first] if first else section
            assert (rest or key) in section.model_fields, key
