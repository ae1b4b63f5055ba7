"""From configuration to objects: the parts of a state that a cost names, and the experiments that ship."""

from pathlib import Path

import numpy as np
import pytest

import gps
from gps.backend import jnp
from gps.builders.costs import make_cost
from gps.config import parse
from gps.errors import ConfigError, DrawingError

EXPERIMENTS = sorted(path.parent for path in (Path(__file__).parents[1] / "experiments").glob("*/experiment.toml"))
LAYOUT = {"qpos": slice(0, 2), "site_position:tip-goal": slice(2, 5)}


def weighed(on: str) -> list[int]:
    """The entries of a 5-dimensional state that a quadratic cost on `on` looks at."""
    config = parse(f'[environment]\nid = "x"\n[[cost]]\nname = "quadratic"\non = {on!r}\n')
    total = make_cost(config, Path(), LAYOUT, 5, 1, 3)
    return [i for i in range(5) if total(jnp.eye(5)[i], jnp.zeros(1), 0) > 0]


@pytest.mark.parametrize(
    ("on", "entries"),
    [
        ("qpos", [0, 1]),
        ("qpos[1]", [1]),
        ("site_position:tip-goal", [2, 3, 4]),
        ("site_position:tip-goal[xy]", [2, 3]),
        ("site_position:tip-goal[z]", [4]),
        ("site_position:tip-goal[0,2]", [2, 4]),
    ],
)
def test_a_cost_may_name_some_entries_of_a_part(on, entries):
    assert weighed(on) == entries


@pytest.mark.parametrize(
    ("on", "message"), [("qpos[z]", "has 2 entries"), ("site_positoin:tip-goal[x]", "did you mean")]
)
def test_entries_that_are_not_there(on, message):
    with pytest.raises(ConfigError, match=message):
        weighed(on)


def test_a_distance_without_parts_is_that_of_all_relative_sites():
    config = parse('[environment]\nid = "x"\n[[cost]]\nname = "distance"\n')
    total = make_cost(config, Path(), LAYOUT, 5, 1, 3)
    flat = total(jnp.array([1.0, 2.0, 0, 0, 0]), jnp.zeros(1), 0)
    assert flat == total(jnp.zeros(5), jnp.zeros(1), 0)
    np.testing.assert_array_less(flat, total(jnp.array([0, 0, 0, 0, 1.0]), jnp.zeros(1), 0))


@pytest.mark.parametrize(
    "experiment",
    [
        pytest.param(path, id=path.name, marks=[pytest.mark.slow] if "pixels" in path.name else [])
        for path in EXPERIMENTS
    ],
)
def test_every_shipped_experiment_builds_and_makes_one_update(experiment):
    try:
        assert gps.check(experiment).ok
    except DrawingError as error:
        pytest.skip(str(error))
