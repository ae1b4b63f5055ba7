"""No number of an experiment file may be of a size that costs memory or means nothing: every key is tried."""

import math
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.experiments import POINT_MASS, toml
from pydantic import ValidationError

from gps.config import parse
from gps.config.explaining import explain
from gps.config.section import Section
from gps.errors import ConfigError

ABSURD = [math.inf, -math.inf, math.nan, 1e300, -1e300, 1e200, 5e-324, -5e-324, 10**18, -(10**18), 10**400]
"""Absurd for every key with a number, whatever its own bounds."""


def subclasses(kind: type[Section]) -> set[type[Section]]:
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


def find_wrappers(hint: Any) -> Iterator[Any]:
    """Yield a function for each place of a number in a type: it puts a number there."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in (int, float):
        yield lambda value: value
    elif origin is tuple:
        for inner in find_wrappers(arguments[0]):
            yield lambda value, inner=inner: [inner(value)]
    elif origin not in (dict, typing.Literal):
        for argument in arguments:
            yield from find_wrappers(argument)


NUMBERS = [
    (kind, field.alias or key, wrap)
    for kind in sorted(subclasses(Section), key=lambda kind: kind.__name__)
    for key, field in kind.model_fields.items()
    for wrap in find_wrappers(field.annotation)
]


def test_there_are_many_numbers():
    assert len(NUMBERS) > 150


@pytest.mark.parametrize("value", ABSURD)
def test_an_absurd_number_is_one_line_wherever_it_is(value):
    for kind, key, wrap in NUMBERS:
        raw = {key: wrap(value)}
        with pytest.raises(ValidationError) as caught:
            kind.model_validate(raw)
        said = [message for path, message in explain(caught.value, kind, raw) if path[:1] == (key,)]
        assert said, f"{kind.__name__}.{key} takes {raw}"
        for message in said:
            assert "expected" in message and len(message) < 300 and "\n" not in message, (kind, key, message)


@pytest.mark.parametrize("key", ["environment.options", "environment.conditions.0", "algorithm.options"])
@pytest.mark.parametrize("value", ["nan", "[1, inf]", "[[{b = -inf}]]", "[" * 40 + "]" * 40])
def test_free_tables_hold_finite_numbers_and_end(key, value):
    with pytest.raises(ConfigError, match=r"expected finite numbers, got|nested too deeply"):
        parse(toml(POINT_MASS), overrides=[f"{key}.a={value}"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["environment.conditions=1000000000"], "expected at most 10000 seeds, got 1000000000"),
        (["environment.test_conditions=1000000000"], "expected at most 10000 seeds, got 1000000000"),
        (["environment.conditions=1" + "0" * 30], "got a number of about 30 digits"),
        (["environment.conditions=200", "algorithm.samples=51"], "= 51 are 10200 episodes"),
        (["algorithm.name=mdgps", "algorithm.policy.hidden=[10001]"], "<= 10000, got 10001"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_it_is_made(overrides, message):
    with pytest.raises(ConfigError) as caught:
        parse(toml(POINT_MASS), overrides=overrides)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_integer_of_thousands_of_digits_is_one_line():
    with pytest.raises(ConfigError, match="digits"):
        parse(f"seed = 1{'0' * 5000}")
    with pytest.raises(ConfigError):
        parse(toml(POINT_MASS), overrides=[f"seed=1{'0' * 5000}"])
