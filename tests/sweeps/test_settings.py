"""Seeds and values as people type them."""

import pytest

from gps.config import parse_value
from gps.errors import SweepError
from gps.sweeps import settings


@pytest.mark.parametrize(
    ("given", "expected"),
    [("0-3", [0, 1, 2, 3]), ("0,3,5", [0, 3, 5]), ("0-2,7", [0, 1, 2, 7]), ("5", [5]), (" 1 - 2 , 1", [1, 2]), (4, [4]),
     (range(2), [0, 1]), ([3, 1, 3], [3, 1])],
)  # fmt: skip
def test_seeds(given, expected):
    assert settings.parse_seeds(given) == expected


@pytest.mark.parametrize("text", ["", "3-1", "a", "1,,2", "-1", "1-", "0-99999999999", "1.5"])
def test_seeds_that_are_none(text):
    with pytest.raises(SweepError, match="--seeds"):
        settings.parse_seeds(text)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2,5", ["1", "2", "5"]),
        ("1", ["1"]),
        ("[1,2],[3]", ["[1,2]", "[3]"]),
        ('"a,b",c', ['"a,b"', "c"]),
        ("'a,\"b',2", ["'a,\"b'", "2"]),
        (r'"a\",b",2', [r'"a\",b"', "2"]),
        ('{name="gmm", clusters=[3,4]}, {name="none"}', ['{name="gmm", clusters=[3,4]}', '{name="none"}']),
        ('["a]",{x=[1,2]}],3', ['["a]",{x=[1,2]}]', "3"]),
        ("open_loop, feedback", ["open_loop", "feedback"]),
        ("qvel[0,2],qpos", ["qvel[0,2]", "qpos"]),
    ],
)
def test_values_are_split_at_outer_commas_alone(text, values):
    assert settings.split_values(text) == values


def test_text_and_python_values_mean_the_same():
    typed = settings.collect_values(["a.b=1,2.5", "c=open_loop,feedback", 'd={x=[1,"y"]}', "e=true,1"], {})
    given = settings.collect_values(
        [], {"a.b": [1, 2.5], "c": ("open_loop", "feedback"), "d": {"x": [1, "y"]}, "e": [True, 1]}
    )
    assert typed == given
    assert list(map(type, typed["e"])) == [bool, int]
    assert settings.collect_values(["a=1,1"], {}) == {"a": [1]}


@pytest.mark.parametrize(
    ("overrides", "values", "message"),
    [
        (["a.b"], {}, "--set a.b: expected section.key=value"),
        (["a="], {}, "expected section.key=value"),
        (["a=1,"], {}, "expected section.key=value"),
        ([], {"a": []}, "expected section.key=value"),
        (["a=1", "a=2"], {}, "--set a: given twice; give all its values at once: a=1,2"),
        (["a=1"], {"a": 2}, "given twice"),
        (["seed=1,2"], {}, "use --seeds 0-9 instead"),
        ([], {"a": [None]}, "a: expected a number, a string, a list or a table, got NoneType"),
    ],
)
def test_values_that_are_none(overrides, values, message):
    with pytest.raises(SweepError, match=message):
        settings.collect_values(overrides, values)


def test_the_grid_is_the_product_the_last_key_changing_fastest():
    assert settings.make_grid({"a": [1, 2], "b": ["x", "y"]}) == [
        {"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}]  # fmt: skip
    assert settings.make_grid({}) == [{}]


@pytest.mark.parametrize(
    "value", [1, -2.5, 1e-9, True, "open_loop", 'a "quoted", \\ word', "1", [1, [2]], {"a b": [1]}]
)
def test_toml_gives_back_the_value(value):
    assert parse_value(settings.to_toml(value, "key")) == value


def test_settings_in_words():
    assert settings.describe_setting({"algorithm.kl_step": 2, "algorithm.controller.execute": "feedback"}) == (
        "kl_step=2,execute=feedback"
    )
    assert settings.describe_setting({"cost.0.weight": 1, "cost.1.weight": 2}) == "0.weight=1,1.weight=2"
    assert settings.describe_setting({"a": "1", "b": "true"}) == 'a="1",b="true"'
    assert settings.describe_setting({"a.b": 1, "b": 2}) == "a.b=1,b=2"


def test_folder_names_are_safe_and_each_is_its_own():
    assert settings.make_folder_name({}) == ""
    assert settings.make_folder_name({"algorithm.kl_step": 0.5}) == "kl_step=0.5"
    odd = [{"a": value} for value in ("x/../y", "x:y", "x y", [1, 2], [1, 3], "long" * 100, "long" * 101, "1", 1)]
    names = [settings.make_folder_name(setting) for setting in odd]
    assert len(set(names)) == len(names)
    assert not any("/" in name or " " in name or len(name) > 100 for name in names)
