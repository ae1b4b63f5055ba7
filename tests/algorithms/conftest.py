"""What the tests of several algorithms read."""

import jax
import numpy as np
import pytest
from helpers.linear_system import M, cost_without_noise, optimum

from gps.linear_gaussian.types import Controller


@pytest.fixture(scope="session")
def best():
    """The least cost of the linear system from each start."""
    return cost_without_noise(Controller(*(np.tile(a, (M, *[1] * a.ndim)) for a in jax.tree.leaves(optimum()))))
