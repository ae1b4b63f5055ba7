"""Another package adds an environment, a cost, a prior and an algorithm by its entry points."""

from pathlib import Path

import numpy as np
import pytest
from helpers.experiments import write
from helpers.packages import install

import gps
from gps.errors import ConfigError
from gps.evaluation import restore

ENTRY_POINTS = {
    "gps.environments": {"hovering": "robots_of_mine:Hover", "slider": "robots_of_mine:Slider"},
    "gps.costs": {"huber": "robots_of_mine:huber"},
    "gps.dynamics": {"broad": "robots_of_mine:make_broad"},
    "gps.algorithms": {"patient": "robots_of_mine:make_patient"},
    "gps.unrelated": {"nothing": "robots_of_mine:nothing"},
}

MODULE = '''
import dataclasses
import gymnasium
import jax.numpy as jnp
import numpy as np
from gps.algorithms.local.trajopt import TrajOpt
from gps.dynamics.prior import DynamicsPrior, NormalInverseWishart
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
class BroadPrior(DynamicsPrior):
    """All that it has seen, at every step alike, and actions within the limits."""

    strength: float
    variance: np.ndarray  # of the points [x; u; x'], from the limits of the actions
    seen: np.ndarray | None = None

    def refit(self, transitions, seed):
        return dataclasses.replace(self, seen=transitions.points[transitions.mask])

    def at(self, transitions):
        M, _, steps, d = transitions.points.shape
        count = np.full((M, steps), self.strength)
        mean, covariance = self.seen.mean(axis=0), np.cov(self.seen.T) + np.diag(self.variance)
        return NormalInverseWishart(
            np.broadcast_to(mean, (M, steps, d)), count[..., None, None] * covariance, count, count
        )


def make_broad(problem, strength=1.0):
    width = np.broadcast_to(problem.limits.high - problem.limits.low, problem.du)
    still = np.zeros(problem.dx)
    return BroadPrior(strength, np.concatenate([still, (width / 4) ** 2, still]))


def make_patient(problem, config):
    return TrajOpt(problem, kl_step=config.algorithm.options["kl_step"])
'''

EXPERIMENT = {
    "environment": {"id": "hovering", "horizon": 8, "threads": 1, "options": {"height": 2.0}},
    "algorithm": {"iterations": 2, "samples": 4, "dynamics": {"prior": {"name": "broad", "strength": 2.0}}},
    "cost": [{"name": "huber", "on": "observation", "width": 0.5, "weight": 3.0, "ramp": "linear"}],
}


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(monkeypatch, tmp_path / "site", {"robots_of_mine": MODULE}, ENTRY_POINTS)
    return write(tmp_path / "hover", EXPERIMENT)


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
    assert first.model is None  # a prior need not record anything


def test_a_prior_is_given_the_problem(experiment):
    run = gps.run(experiment, iterations=1, out=experiment.parent / "runs")
    with restore(run) as (built, state):
        assert type(state.prior).__name__ == "BroadPrior"
        assert state.prior.strength == 2.0
        np.testing.assert_array_equal(state.prior.variance, [0.0, 0.0, 0.25, 0.0, 0.0])
        assert len(state.prior.seen) == 4 * 7
        assert built.problem.limits.high == 1.0


def test_a_prior_of_another_package_is_resumed_to_the_bit(experiment):
    out = experiment.parent / "runs"
    whole = gps.run(experiment, iterations=3, out=out)
    part = gps.resume(gps.run(experiment, iterations=2, out=out).path, iterations=1)
    np.testing.assert_array_equal(
        whole.iterations[2].local.improved.feedback, part.iterations[2].local.improved.feedback
    )


def test_a_batch_environment_and_an_algorithm(experiment):
    overrides = ["environment={id='slider', horizon=6}", "cost.0.on=qpos", "algorithm.name=patient"]
    run = gps.run(experiment, overrides=[*overrides, "algorithm.options.kl_step=0.125"], out=experiment.parent / "runs")
    np.testing.assert_allclose(run.iterations[0].local.kl_bound, 0.125 * 6)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("environment.id=hoverng", "no environment 'hoverng' is registered with Gymnasium"),
        ("cost.0.name=hubr", "cost.0.name: expected"),
        ("cost.0.wdth=1", "cost.0: huber: TypeError: huber() got an unexpected keyword argument 'wdth'"),
        ("algorithm.dynamics.prior.sterngth=1", "algorithm.dynamics.prior: broad: TypeError"),
        ("algorithm.name=impatient", '"mppigps" or "patient", got "impatient"; did you mean \'patient\'?'),
        ("algorithm.options.zeal=1", "algorithm.options: trajopt has none, got zeal"),
        ("cost=[{name='plugin', plugin='hubr'}]", "no entry point 'hubr' in the group gps.costs; did you mean"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(experiment, override, message):
    with pytest.raises(ConfigError) as caught:
        gps.run(experiment, overrides=[override], out=experiment.parent / "runs")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
