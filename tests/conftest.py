"""Lets the tests of every folder import `benchmarks` and the helpers beside this file; a run that many tests read."""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
sys.path[:0] = [str(path) for path in (TESTS, TESTS.parent) if str(path) not in sys.path]

TINY = """
[environment]
id = "gps/PointMass-v0"
horizon = 12
conditions = [{}, { qpos = [0.6, 0.2] }]

[algorithm]
iterations = 2
samples = 3

[[cost]]
name = "quadratic"
on = "qpos"
target = [1.0, 0.0]

[[cost]]
name = "quadratic"
weight = 0.01
"""


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A finished run of two iterations, to read and not to write: M = 2, N = 3, T = 12."""
    import gps

    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny").mkdir()
    (folder / "tiny" / "experiment.toml").write_text(TINY)
    return gps.run(folder / "tiny", out=folder / "runs")
