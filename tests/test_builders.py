"""From configuration to objects: the parts of a state that a cost names, and the experiments that ship."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import gps
from gps.backend import jnp
from gps.builders.costs import make_cost
from gps.config import load, parse
from gps.environments.mujoco import MujocoEnv
from gps.errors import ConfigError, DrawingError
from gps.experiment import Experiment

EXPERIMENTS = sorted(
    path for path in (Path(__file__).parents[1] / "experiments").glob("*/*.toml") if path.name != "ladder.toml"
)
LAYOUT = {"qpos": slice(0, 2), "site_position:tip-goal": slice(2, 5)}


def weighed(on: str, layout=LAYOUT, names: tuple[str, ...] = ()) -> list[int]:
    """The entries of the state that a quadratic cost on `on` looks at."""
    config = parse(f'[environment]\nid = "x"\n[[cost]]\nname = "quadratic"\non = {on!r}\n')
    dx = max(where.stop for where in layout.values())
    total = make_cost(config, Path(), layout, dx, 1, 3, names)
    return [i for i in range(dx) if total(jnp.eye(dx)[i], jnp.zeros(1), 0) > 0]


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


CABINET = """
<mujoco>
  <worldbody>
    <body><joint name="hinge"/><geom size="0.1"/><body><joint type="slide"/><geom size="0.1"/></body></body>
    <body pos="1 0 0"><freejoint name="box"/><geom size="0.1"/></body>
  </worldbody>
  <actuator><motor joint="hinge"/></actuator>
</mujoco>
"""


@pytest.mark.parametrize(
    ("state", "on", "entries"),
    [
        (["qpos", "qvel"], "qpos:hinge", [0]),
        (["qpos", "qvel"], "qvel:hinge", [9]),
        (["qpos", "qvel"], "qpos:box", [2, 3, 4, 5, 6, 7, 8]),
        (["qpos", "qvel"], "qpos:box[2]", [4]),
        (["qpos", "qvel"], "qvel:box[xz]", [11, 13]),
        (["qvel", "qpos:hinge"], "qpos:hinge", [8]),
        (["qpos", "qpos:hinge"], "qpos:hinge", [9]),  # the part of the state itself
    ],
)
def test_a_cost_may_name_a_joint_where_all_joints_are_in_the_state(state, on, entries):
    env = MujocoEnv(1, mjcf=CABINET, state=state)
    assert weighed(on, env.state_layout, [entry.name for entry in env.state_entries]) == entries


@pytest.mark.parametrize("state", [["qvel"], ["qpos[2,3]"]])
def test_a_joint_that_is_not_whole_in_the_state_is_unknown(state):
    env = MujocoEnv(1, mjcf=CABINET, state=state)
    with pytest.raises(ConfigError, match=r"cost\.0\.on: unknown part 'qpos:box'"):
        weighed("qpos:box", env.state_layout, [entry.name for entry in env.state_entries])


def test_the_nearest_joint_is_suggested():
    env = MujocoEnv(1, mjcf=CABINET)
    with pytest.raises(ConfigError, match=r"unknown part 'qpos:hing' of the state; did you mean 'qpos:hinge'"):
        weighed("qpos:hing", env.state_layout, [entry.name for entry in env.state_entries])


def test_a_distance_without_parts_is_that_of_all_relative_sites():
    config = parse('[environment]\nid = "x"\n[[cost]]\nname = "distance"\n')
    total = make_cost(config, Path(), LAYOUT, 5, 1, 3)
    flat = total(jnp.array([1.0, 2.0, 0, 0, 0]), jnp.zeros(1), 0)
    assert flat == total(jnp.zeros(5), jnp.zeros(1), 0)
    np.testing.assert_array_less(flat, total(jnp.array([0, 0, 0, 0, 1.0]), jnp.zeros(1), 0))


def priced(cost: str, half_ranges=None):
    """The cost of a state of qpos (2) and last_action (2 steps of 2 actions), as a function."""
    config = parse(f'[environment]\nid = "x"\n[[cost]]\n{cost}\n')
    layout = {"qpos": slice(0, 2), "last_action": slice(2, 6)}
    return make_cost(config, Path(), layout, 6, 2, 3, half_ranges=half_ranges)


def test_a_rate_is_that_of_the_newest_command():
    x, u = jnp.array([9.0, 9.0, 1.0, 2.0, 7.0, 7.0]), jnp.array([1.5, 4.0])
    assert priced('name = "rate"\nweight = [2.0, 1.0]')(x, u, 0) == pytest.approx(0.5 * (2 * 0.5**2 + 2.0**2))
    relative = priced('name = "rate"\nrelative = true', np.array([0.5, 4.0]))
    assert relative(x, u, 0) == pytest.approx(0.5 * (1.0**2 + 0.5**2))


def test_a_weight_relative_to_the_range_does_not_depend_on_the_unit():
    cost = priced('name = "quadratic"\nweight = 0.3\ntarget = [1.0, -20.0]\nrelative = true', np.array([2.0, 40.0]))
    assert cost(jnp.zeros(6), jnp.array([3.0, 20.0]), 0) == pytest.approx(0.5 * 0.3 * (1.0 + 1.0))


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        ('name = "quadratic"\nrelative = true', "cost.0.relative: action 1 has no limits, so no range"),
        ('name = "quadratic"\non = "qpos"\nrelative = true', r"relative: only an action has a range"),
        ('name = "rate"\nweight = [1.0, 2.0, 3.0]', "cost.0.weight: expected one number or 2, got 3"),
    ],
)
def test_weights_that_cannot_be(cost, message):
    with pytest.raises(ConfigError, match=message):
        priced(cost, np.array([1.0, np.nan]))


def test_a_rate_without_the_last_action_says_what_to_add():
    config = parse('[environment]\nid = "x"\n[[cost]]\nname = "rate"\n')
    with pytest.raises(ConfigError, match=r'add "last_action" to environment.state .now qpos, site_position:tip-goal'):
        make_cost(config, Path(), LAYOUT, 5, 1, 3)


def name_experiment(file: Path) -> str:
    """What `gps run experiments/…` calls it."""
    return file.parent.name if file.name == "experiment.toml" else f"{file.parent.name}/{file.name}"


UPDATED = (
    "cart_double_pendulum/mc_pilco.toml", "cartpole_backprop", "cartpole_gp", "cartpole_mc_pilco", "cartpole_physics",
    "cartpole_swingup", "double_pendulum/true_model.toml", "peg_insertion/neural.toml",
    "peg_insertion_nine/unseen.toml", "pendulum_hanging", "pendulum_pilco", "pets_cart_pole/fitted_physics.toml",
    "pointmass", "pusher_distilled", "reacher_distilled", "reacher_goals", "suite_cup/fitted_physics.toml",
    "suite_pendulum",
)  # fmt: skip
"""An experiment of each kind; the updates of all others are slow tests."""

SLOW = (
    "cart_double_pendulum/mc_pilco.toml", "cartpole_backprop", "cartpole_gp", "double_pendulum/true_model.toml",
    "peg_insertion/neural.toml", "peg_insertion_nine/unseen.toml", "pendulum_pilco", "suite_cup/fitted_physics.toml",
)  # fmt: skip
"""Of these, the ones whose update takes half a minute; the tests of their algorithms make smaller ones."""

ELSEWHERE = {
    "expert": ["algorithm=pi2", "algorithm.samples=3"],
    "dynamics.prior": ["algorithm.dynamics.prior=linear", "algorithm.imagined=1"],
}
"""Section of `[algorithm]` that names a run or a model that is not here -> overrides in its place."""

LITTLE = {
    "imagined": 1, "updates": 1, "rounds": 1, "episodes": 4, "base_iterations": 1, "truncation": 5, "policy.steps": 20,
    "optimiser.iterations": 2, "optimiser.restarts": 0, "optimiser.steps": 2, "particles.count": 4,
    "planner.samples": 8, "planner.elites": 2, "planner.rounds": 1, "planner.first_rounds": 2,
    "planner.guesses": 4, "planner.first_guesses": 4, "value.fit_steps": 10,
    "model.steps": 20, "model.warm_steps": 20, "model.batch": 16, "model.members": 2, "model.iterations": 2,
    "model.restarts": 1,
}  # fmt: skip
"""Key of `[algorithm]` -> a number by which an update is soon done."""


FEW_POINTS = 16
"""Transitions after the first update of a policy in a Gaussian process: twice as many are padded to the same size."""


def find_section(settings: dict, key: str) -> object:
    """The section of that name, with dots between its parts; None where there is none."""
    found: object = settings
    for name in filter(None, key.split(".")):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def shorten(settings: dict) -> list[str]:
    """Overrides that shorten an update, for the keys that an algorithm has and uses."""
    overrides = {}
    if settings["name"] in ("pilco", "mc_pilco"):
        overrides |= {"algorithm.samples": 1, "environment.horizon": FEW_POINTS + 1}
    for key, value in LITTLE.items():
        *sections, name = key.split(".")
        found = find_section(settings, ".".join(sections))
        if isinstance(found, dict) and found.get(name):
            if "name" in found:  # keys are those of this kind of model, which the file need not name
                overrides[".".join(["algorithm", *sections, "name"])] = found["name"]
            overrides[f"algorithm.{key}"] = value
    return [f"{key}={value}" for key, value in overrides.items()]


def override(experiment: Path) -> list[str]:
    """Overrides by which an experiment can be built here, and makes one update soon."""
    settings = load(experiment).algorithm.model_dump()
    for key, others in ELSEWHERE.items():
        section = find_section(settings, key)
        if isinstance(section, dict) and section.get("name") in ("run", "stored"):
            return others
    return shorten(settings)


def find_kind(experiment: Path) -> tuple:
    """The names of the algorithm, and of its model, planner, expert and prior."""
    settings = load(experiment).algorithm.model_dump()
    sections = [find_section(settings, key) for key in ("model", "planner", "expert", "dynamics.prior")]
    return settings["name"], *(section.get("name") if isinstance(section, dict) else None for section in sections)


def shipped(slow=lambda name: False) -> pytest.MarkDecorator:
    """A parameter: the shipped experiments."""
    named = zip(EXPERIMENTS, map(name_experiment, EXPERIMENTS), strict=True)
    files = [pytest.param(file, id=name, marks=[pytest.mark.slow] * slow(name)) for file, name in named]
    return pytest.mark.parametrize("experiment", files)


@shipped()
def test_every_shipped_experiment_builds(experiment):
    with closing(Experiment(load(experiment, override(experiment)), experiment.parent)) as built:
        assert np.isfinite(built.starts.states).all()


@shipped(slow=lambda name: "/" in name)
def test_the_simulator_and_the_cost_of_every_experiment_keep_the_rules(experiment):
    assert_ok(experiment, ["algorithm=pi2", "algorithm.samples=3"])


@shipped(slow=lambda name: name in SLOW or name not in UPDATED)
def test_an_experiment_of_each_kind_makes_one_update(experiment):
    assert_ok(experiment, override(experiment))


def assert_ok(experiment: Path, overrides: list[str]) -> None:
    try:
        assert gps.check(experiment, overrides).ok
    except DrawingError as error:
        pytest.skip(str(error))


def test_no_kind_of_experiment_is_without_an_update():
    named = dict(zip(map(name_experiment, EXPERIMENTS), EXPERIMENTS, strict=True))
    assert {find_kind(named[name]) for name in UPDATED} == set(map(find_kind, EXPERIMENTS))
