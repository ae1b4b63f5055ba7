"""What the tests of several algorithms read."""

import jax
import numpy as np
import pytest
from linear_system import M, cost_without_noise, optimum
from test_experiment import EXPERIMENT, SLIDER

from gps.linear_gaussian.types import Controller


@pytest.fixture(scope="session")
def best():
    """The least cost of the linear system from each start."""
    return cost_without_noise(Controller(*(np.tile(a, (M, *[1] * a.ndim)) for a in jax.tree.leaves(optimum()))))


@pytest.fixture
def slider(tmp_path):
    """The experiment of the 1-joint slider, a folder: dx = 2, du = 1, T = 12."""
    folder = tmp_path / "slider"
    folder.mkdir()
    (folder / "slider.xml").write_text(SLIDER)
    (folder / "experiment.toml").write_text(EXPERIMENT)
    return folder
