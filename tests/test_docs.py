"""The guides keep their promises: each block that begins with a file name is written to it, and what is whole runs."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gps

TESTS = Path(__file__).parent
BLOCK = re.compile(r"```(?:toml|python|xml)\n(?:# |<!-- )([\w.]+)(?: -->)?\n(.*?)```", re.S)


def experiments(guide: str) -> list[dict[str, str]]:
    """The files of each experiment of a guide; one ends with its experiment.toml."""
    found: list[dict[str, str]] = [{}]
    for name, content in BLOCK.findall((TESTS.parent / "docs" / guide).read_text(encoding="utf-8")):
        found[-1][name] = content
        if name == "experiment.toml":
            found.append({})
    assert found.pop() == {}
    return found


ENVIRONMENTS = experiments("environments.md")


@pytest.fixture
def rail(tmp_path):
    """The port of the robot that the guide speaks to."""
    port_file = tmp_path / "port"
    process = subprocess.Popen([sys.executable, TESTS / "robot_server.py", port_file])
    deadline = time.monotonic() + 60
    while not port_file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield int(port_file.read_text())
    process.kill()
    process.wait()


def test_all_four_ways_are_shown():
    assert len(ENVIRONMENTS) == 5
    for key in ("id = ", "mjcf = ", "sampling = "):
        assert any(key in files["experiment.toml"] for files in ENVIRONMENTS)


@pytest.mark.parametrize("files", ENVIRONMENTS, ids=lambda files: re.search(r'"(.*?)"', files["experiment.toml"])[1])
def test_an_experiment_of_the_guide_checks(files, tmp_path, request):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    overrides = []
    if "confirm_reset" in files["experiment.toml"]:  # nobody is there to be asked, and the robot is another one
        overrides = ["environment.confirm_reset=false", f"environment.options.port={request.getfixturevalue('rail')}"]
    assert gps.check(tmp_path, overrides).ok
