"""Another package adds an environment, a cost, a prior and an algorithm by its entry points."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.experiments import write

import gps
from gps.errors import ConfigError

METADATA = "Metadata-Version: 2.1\nName: robots-of-mine\nVersion: 1.0\n"

ENTRY_POINTS = """
[gps.environments]
hovering = robots_of_mine:Hover
slider = robots_of_mine:Slider

[gps.costs]
huber = robots_of_mine:huber

[gps.dynamics]
broad = robots_of_mine:BroadPrior

[gps.algorithms]
patient = robots_of_mine:patient

[gps.unrelated]
nothing = robots_of_mine:nothing
"""

MODULE = '''
import dataclasses
import gymnasium
import jax.numpy as jnp
import numpy as np
from gps.algorithms.local.trajopt import TrajOpt
from gps.dynamics.prior import NormalInverseWishart
from gps.environments.mujoco import MujocoEnv


class Hover(gymnasium.Env):
    """A plain environment."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))

    def __init__(self, height=1.0):
        self.height = height

    def reset(self, *, seed=None, options=None):
        self.x = np.array([self.height, 0.0])
        return self.x, {}

    def step(self, action):
        self.x = self.x + 0.1 * np.array([self.x[1], action[0]])
        return self.x, -abs(self.x[0]), False, False, {}


class Slider(MujocoEnv):
    """A batch environment."""

    def __init__(self, num_envs, **options):
        xml = """<mujoco><worldbody><body><joint name="x" type="slide"/><geom size="1"/></body></worldbody>
                 <actuator><motor joint="x" gear="1000"/></actuator></mujoco>"""
        super().__init__(num_envs, mjcf=xml, **{"state": ["qpos", "qvel"], "frame_skip": 10, **options})


def huber(layout, horizon, *, on, width=1.0):
    def cost(x, u, t):
        way = x[layout[on]]
        return jnp.sum(width**2 * (jnp.sqrt(1 + (way / width) ** 2) - 1)) * (t + 1) / horizon

    return cost


@dataclasses.dataclass(frozen=True)
class BroadPrior:
    """What it has seen in all, at every step alike."""

    strength: float = 1.0
    seen: np.ndarray | None = None

    def refit(self, transitions, seed):
        return dataclasses.replace(self, seen=transitions.points[transitions.mask])

    def at(self, transitions):
        M, _, steps, d = transitions.points.shape
        count = np.full((M, steps), self.strength)
        mean, covariance = self.seen.mean(axis=0), np.cov(self.seen.T)
        return NormalInverseWishart(
            np.broadcast_to(mean, (M, steps, d)), count[..., None, None] * covariance, count, count
        )


def patient(config, cost):
    return TrajOpt(cost, kl_step=config.algorithm.options["kl_step"])
'''

EXPERIMENT = {
    "environment": {"id": "hovering", "horizon": 8, "threads": 1, "options": {"height": 2.0}},
    "algorithm": {"iterations": 2, "samples": 4, "dynamics": {"prior": {"name": "broad", "strength": 2.0}}},
    "cost": [{"name": "huber", "on": "observation", "width": 0.5, "weight": 3.0, "ramp": "linear"}],
}


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    site, folder = tmp_path / "site", tmp_path / "hover"
    (site / "robots_of_mine-1.0.dist-info").mkdir(parents=True)
    (site / "robots_of_mine-1.0.dist-info/METADATA").write_text(METADATA)
    (site / "robots_of_mine-1.0.dist-info/entry_points.txt").write_text(ENTRY_POINTS)
    (site / "robots_of_mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    yield write(folder, EXPERIMENT)
    sys.modules.pop("robots_of_mine", None)


def test_environment_cost_and_prior(experiment):
    assert gps.check(experiment).ok
    run = gps.run(experiment, out=experiment.parent / "runs")
    first = run.iterations[0]
    assert (first.rollouts.states[:, :, 0] == [2.0, 0.0]).all()
    way = first.rollouts.states[0, 0]
    huber = (0.25 * (np.sqrt(1 + (way / 0.5) ** 2) - 1)).sum(axis=1) * np.arange(1, 9) / 8
    ramp = np.arange(1, 9) / 8
    np.testing.assert_allclose(first.costs[0, 0], 3.0 * ramp * huber, rtol=1e-9)
    assert 'plugin = "broad"' in (run.path / "experiment.toml").read_text()


def test_a_prior_of_another_package_is_resumed_to_the_bit(experiment):
    out = experiment.parent / "runs"
    whole = gps.run(experiment, iterations=3, out=out)
    part = gps.resume(gps.run(experiment, iterations=2, out=out).path, iterations=1)
    np.testing.assert_array_equal(whole.iterations[2].improved.feedback, part.iterations[2].improved.feedback)


def test_a_batch_environment_and_an_algorithm(experiment):
    overrides = ["environment={id='slider', horizon=6}", "cost.0.on=qpos", "algorithm.name=patient"]
    run = gps.run(experiment, overrides=[*overrides, "algorithm.options.kl_step=0.125"], out=experiment.parent / "runs")
    np.testing.assert_allclose(run.iterations[0].kl_bound, 0.125 * 6)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("environment.id=hoverng", "no environment 'hoverng' is registered with Gymnasium"),
        ("cost.0.name=hubr", "cost.0.name: expected"),
        ("cost.0.wdth=1", "cost.0: huber: TypeError: huber() got an unexpected keyword argument 'wdth'"),
        ("algorithm.dynamics.prior.sterngth=1", "algorithm.dynamics.prior: broad: TypeError"),
        ("algorithm.name=impatient", '"plato" or "patient", got "impatient"; did you mean \'patient\'?'),
        ("algorithm.options.zeal=1", "algorithm.options: trajopt has none, got zeal"),
        ("cost=[{name='plugin', plugin='hubr'}]", "no entry point 'hubr' in the group gps.costs; did you mean"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(experiment, override, message):
    with pytest.raises(ConfigError) as caught:
        gps.run(experiment, overrides=[override], out=experiment.parent / "runs")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
