"""What cannot fit in a file or in memory is refused by its numbers, before it is made."""

import numpy as np
import pytest
from helpers.experiments import POINT_MASS, toml, write_slider

import gps
from gps.builders import room
from gps.config import parse
from gps.errors import ConfigError
from gps.evaluation import evaluate
from gps.problem import Problem
from gps.storage.serialization import flatten

GIB = 2**30


def problem(dx=4, du=2, horizon=100):
    return Problem(cost=lambda x, u, t: x @ x, dx=dx, du=du, horizon=horizon)


def complaint(*overrides, dx=4, du=2, horizon=100):
    with pytest.raises(ConfigError) as caught:
        room.require_memory(parse(toml(POINT_MASS), overrides=overrides), problem(dx, du, horizon))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(autouse=True)
def _memory(monkeypatch):
    monkeypatch.setattr(room, "find_memory", lambda: 16 * GIB)


def test_what_is_usual_fits():
    room.require_memory(parse(toml(POINT_MASS)), problem())
    room.require_memory(
        parse(toml(POINT_MASS), overrides=["algorithm.samples=1000"]), problem(dx=20, du=7, horizon=100)
    )
    room.require_memory(parse(toml(POINT_MASS), overrides=["cost=reward"]), problem(dx=111, du=8, horizon=200))


@pytest.mark.parametrize(
    ("overrides", "sizes", "named"),
    [
        (["algorithm.samples=5000"], {"horizon": 10_000}, "the rollouts would take"),
        ([], {"dx": 900, "horizon": 1000}, "the local models would take"),
        (["algorithm.dynamics.prior.memory=1000", "algorithm.iterations=500"], {"dx": 30, "horizon": 3000},
         "the remembered samples would take"),
        (["algorithm.samples=400"], {"dx": 300, "horizon": 200}, "the second derivatives of the cost"),
        (["cost=reward"], {"dx": 376, "du": 17}, "the quadratic features of the reward's model"),
        (["algorithm.dynamics.prior={clusters=9000, points_per_cluster=1, max_points=1000000, memory=9}",
          "algorithm.samples=200"], {"horizon": 1000}, "the clusters of a mixture"),
        (["algorithm.controller.smoothing=3"], {"horizon": 100_000}, "the weights of the noise's smoothing"),
        (["algorithm.name=mdgps", "algorithm.policy={steps=1000000, batch=100000}"], {}, "mini-batches"),
        (["algorithm.name=dagger", "algorithm.expert={guesses=10000, horizon=1000}", "algorithm.samples=1000"],
         {"horizon": 50}, "the plans"),
    ],
)  # fmt: skip
def test_each_size_that_cannot_be_is_named_with_its_limit(overrides, sizes, named):
    said = complaint(*overrides, **sizes)
    assert named in said and f"environment.horizon = {sizes.get('horizon', 100)}" in said
    assert "holds at most 1 GiB" in said or "this machine has 16 GiB" in said


def test_noise_is_smoothed_over_an_episode_at_most():
    room.require_memory(parse(toml(POINT_MASS), overrides=["algorithm.controller.smoothing=100"]), problem())
    assert "are more than an episode has: 100" in complaint("algorithm.controller.smoothing=1e6")


@pytest.mark.parametrize(
    "weights", ["hidden=[10000, 10000, 10000]", "network={channels=[1024, 1024], kernels=[9, 99]}"]
)
def test_a_network_has_a_largest_size(weights):
    with pytest.raises(ConfigError, match="expected at most 100000000 weights in these layers, got"):
        parse(toml(POINT_MASS), overrides=["algorithm.name=mdgps", f"algorithm.policy.{weights}"])


def test_the_sizes_of_files_are_those_that_are_written(tiny_run):
    config, iteration = tiny_run.config, tiny_run.iterations[1]
    counted = room.count_stored(config, problem(horizon=12))
    arrays = {"the rollouts": (iteration.rollouts, iteration.costs), "the local models": iteration.local}
    for what, record in arrays.items():
        size = sum(array.nbytes for array in flatten(record).values() if array.dtype == np.float64)
        assert 0.5 * size <= counted[what] <= size, what


def test_a_run_and_a_check_refuse_before_they_begin(tmp_path):
    slider = write_slider(tmp_path / "big", environment={"horizon": 1_000_000}, algorithm={"samples": 500})
    for action in (lambda: gps.run(slider, out=tmp_path), lambda: gps.check(slider)):
        with pytest.raises(ConfigError, match=r"environment.horizon = 1000000, .* the rollouts would take"):
            action()
    assert [entry.name for entry in tmp_path.iterdir()] == ["big"]


def test_an_evaluation_refuses_what_does_not_fit(tiny_run):
    with pytest.raises(ConfigError, match=r"1000000000 episodes of 12 steps from 2 starts would take .* run fewer"):
        evaluate(tiny_run, episodes=10**9)


def test_a_container_limits_the_memory(tmp_path, monkeypatch):
    monkeypatch.undo()
    whole = room.find_memory()
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(room, "_CGROUP", (limit, tmp_path / "no such file"))
    for text, expected in (("1000000", 1_000_000), ("max", whole), ("", whole)):
        limit.write_text(text)
        assert room.find_memory() == expected
