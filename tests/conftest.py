"""A run that many tests read."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy: the workers already take every core

import gc
from pathlib import Path

import gymnasium
import helpers.shapes
import pytest

helpers.shapes.install()  # before the first import of gps

from helpers.experiments import POINT_MASS, write, write_slider  # noqa: E402

import gps  # noqa: E402
from gps.backend import jax  # noqa: E402

MOST_MEMORY = 2 << 30
"""Bytes of a worker beyond which it forgets its compiled functions."""


@pytest.fixture(autouse=True)
def _shapes(request, monkeypatch):
    """Shapes are not checked in tests with the marker `wrong_shapes`."""
    if request.node.get_closest_marker("wrong_shapes"):
        monkeypatch.setattr(helpers.shapes, "enabled", False)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """The tests of a file run on one worker, where they share fixtures and compiled functions."""
    from helpers.scheduling import ByFile

    return ByFile(config, log)


@pytest.fixture(scope="module", autouse=True)
def _forget_compiled_code():
    """Compiled functions are forgotten between modules where they take much memory; the disk keeps them."""
    yield
    if _read_memory() > MOST_MEMORY:
        jax.clear_caches()
        gc.collect()


def _read_memory() -> int:
    """The memory of this process in bytes; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A finished run of two iterations, to read and not to write: M = 2, N = 3, T = 12."""
    folder = tmp_path_factory.mktemp("tiny")
    return gps.run(write(folder / "tiny", POINT_MASS), out=folder / "runs")


@pytest.fixture
def slider(tmp_path):
    """The experiment of the 1-joint slider, a folder: dx = 2, du = 1, T = 12."""
    return write_slider(tmp_path / "slider")


@pytest.fixture
def registry():
    """Gymnasium's registry; what the test registers is forgotten afterwards."""
    before = dict(gymnasium.registry)
    yield gymnasium.registry
    gymnasium.registry.clear()
    gymnasium.registry.update(before)
