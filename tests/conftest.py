"""A run that many tests read."""

import pytest
from helpers.experiments import POINT_MASS, write, write_slider

import gps


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A finished run of two iterations, to read and not to write: M = 2, N = 3, T = 12."""
    folder = tmp_path_factory.mktemp("tiny")
    return gps.run(write(folder / "tiny", POINT_MASS), out=folder / "runs")


@pytest.fixture
def slider(tmp_path):
    """The experiment of the 1-joint slider, a folder: dx = 2, du = 1, T = 12."""
    return write_slider(tmp_path / "slider")
