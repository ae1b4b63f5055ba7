"""The configuration and the classes have the same defaults: an algorithm built by hand is the configured one."""

import dataclasses
from pathlib import Path

import pytest
from helpers.algorithms import SECTIONS
from helpers.experiments import POINT_MASS, toml

from gps.algorithms.local.trajopt import TrajOpt
from gps.builders import make_algorithm
from gps.config import parse
from gps.dynamics.mixture import MixturePrior
from gps.problem import Problem

PARTS = ("local", "learner", "options", "expert", "planner", "optimiser", "model", "search", "ascent")
"""Fields without a default that hold settings of their own."""

MEMORY = {"prior": 2, "learner.prior": 1, "expert.prior": 10}
"""The configured memory of each mixture, in iterations. Only the first is that of the class."""

LONGEST = {"max_multiplier": 2.0, "local.max_multiplier": 1.0}
"""The configured longest step. Only the first is that of the class: a policy that follows needs shorter ones."""


def find_differences(settings, place=""):
    """Yield each field whose value is not the default of its class, and that is not a part of the problem."""
    for field in dataclasses.fields(settings):
        value, name = getattr(settings, field.name), place + field.name
        if field.name == "prior":  # by hand there is none unless it is given; configured, there is a mixture
            assert value == MixturePrior(memory=MEMORY[name.removeprefix("local.")]), name
        elif name in LONGEST and isinstance(settings, TrajOpt):
            assert value == LONGEST[name], name
        elif field.name in PARTS and dataclasses.is_dataclass(value):
            yield from find_differences(value, name + ".")
        elif field.default is not dataclasses.MISSING:
            if value != field.default:
                yield f"{name} is {value!r}, and by default {field.default!r}"
        elif field.default_factory is not dataclasses.MISSING:
            if value != field.default_factory():
                yield f"{name} is {value!r}, and by default {field.default_factory()!r}"
        else:
            assert field.name in ("problem", "training", "dx", "observed", "draw_network"), name


@pytest.mark.parametrize("name", SECTIONS)
def test_an_algorithm_has_the_same_defaults_in_the_configuration_and_by_hand(name):
    config = parse(toml(POINT_MASS, algorithm=None), overrides=[f"algorithm.name={name}"])
    problem = Problem(cost=lambda x, u, t: x @ x + u @ u, dx=4, du=2, horizon=12)
    assert list(find_differences(make_algorithm(config, Path(), problem))) == []
    assert TrajOpt(problem).max_multiplier == LONGEST["max_multiplier"]
