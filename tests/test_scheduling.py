"""The tests of a group run on one worker of pytest-xdist."""

import os
from pathlib import Path

import pytest
from helpers.processes import run_python

pytest.importorskip("xdist")

from helpers.scheduling import SPLIT, find_group

TESTS_FOLDER = Path(__file__).parent

CONFTEST = """
def pytest_xdist_make_scheduler(config, log):
    from helpers.scheduling import ByFile

    return ByFile(config, log)
"""

TESTS = """
import os

import pytest


@pytest.mark.parametrize("number", range(6))
def test_which_worker(number):
    with open("ran", "a") as file:
        print(os.path.basename(__file__), os.environ["PYTEST_XDIST_WORKER"], file=file)
"""


def test_a_file_is_a_group():
    names = ["test_a", "test_b[1]", "test_b[x-y]", "TestC::test_d"]
    assert {find_group(f"tests/test_cli.py::{name}") for name in names} == {"tests/test_cli.py"}


@pytest.mark.parametrize("file", SPLIT)
def test_in_a_file_that_is_split_a_parameter_is_a_group(file):
    one = {find_group(f"{file}::{name}") for name in ("test_a[pi2]", "test_b[pi2]", "test_c[pi2-show --json]")}
    others = {find_group(f"{file}::{name}") for name in ("test_a[mdgps on_policy]", "test_a[cheetah/backprop.toml]")}
    assert len(one) == 1 and len(one | others) == 3


def test_the_tests_of_a_file_run_on_one_worker(tmp_path):
    """Two files, two workers: each worker runs one file. A file is named as pytest names it, whatever its version."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for file in ("test_one.py", "test_two.py"):
        (tmp_path / file).write_text(TESTS)
    command = ["-m", "pytest", "-n", "2", "-q", "-p", "no:cacheprovider", tmp_path]
    done = run_python(*command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(TESTS_FOLDER)})
    assert done.returncode == 0, done.stdout
    workers = [line.split() for line in (tmp_path / "ran").read_text().splitlines()]
    assert len(workers) == 12 and len({tuple(line) for line in workers}) == 2
