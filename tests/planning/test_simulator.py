"""Planning on the true simulator: it foresees exactly, and the live episode does not feel it."""

import hashlib

import numpy as np
import pytest

from gps.backend import jnp
from gps.environments.gymnasium_mujoco.half_cheetah import HalfCheetah
from gps.environments.tasks.peg_insertion import PegInsertion
from gps.environments.tasks.pendulum import PendulumSwingUp
from gps.planning.fallback import Trouble
from gps.planning.icem import ICEM
from gps.planning.mppi import MPPI
from gps.planning.sequences import ActionRange
from gps.planning.simulator import Copies, SimulatorPlanner

SYSTEMS = {
    "cheetah": (HalfCheetah, [{"seed": 0}, {"seed": 1}]),
    "peg": (PegInsertion, [{"slot": [-0.08, -0.08]}, {"slot": [0.08, 0.08]}]),
    "pendulum": (PendulumSwingUp, [{}, {"qpos": [1.0]}]),
}


def nothing(x, u, t):
    return jnp.zeros(())


def make_planner(cls, live, **settings) -> SimulatorPlanner:
    space = live.single_action_space
    given = {"cost": nothing, "optimiser": MPPI(samples=6), "end": 50, "horizon": 5, "reward_weight": 1.0}
    return SimulatorPlanner(
        live=live, copies=Copies(lambda count: cls(count, threads=1)),
        range=ActionRange.of(space.low, space.high, np.ones(space.shape[0])),
        **(given | settings),
    )  # fmt: skip


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_live_episode_is_the_same_with_and_without_planning(name):
    cls, conditions = SYSTEMS[name]

    def run(planning: bool) -> str:
        live, digest = cls(2), hashlib.sha256()
        planner, rng, plans = make_planner(cls, live), np.random.default_rng(0), None
        states, _ = live.reset(options={"conditions": conditions})
        for t in range(6):
            if planning:
                plans = planner.plan(states, t, plans)
            states, rewards, *_ = live.step(rng.uniform(-1, 1, (2, *live.single_action_space.shape)))
            for array in (states, rewards, live.batch.state):
                digest.update(np.ascontiguousarray(array).tobytes())
        planner.copies.close()
        live.close()
        return digest.hexdigest()

    assert run(True) == run(False)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_plan_that_is_followed_goes_as_foreseen_bit_for_bit(name):
    cls, conditions = SYSTEMS[name]
    live = cls(2)
    planner = make_planner(cls, live)
    states, _ = live.reset(options={"conditions": conditions})
    for _ in range(3):  # somewhere on the way, with a warm start of the solver
        states, *_ = live.step(np.full((2, *live.single_action_space.shape), 0.1))
    plans = planner.plan(states, 3, None)
    np.testing.assert_array_equal(plans.states[:, 0], states)
    for h in range(5):
        states, rewards, *_ = live.step(plans.actions[:, h])
        np.testing.assert_array_equal(plans.states[:, h + 1], states)
        np.testing.assert_array_equal(plans.costs[:, h], -rewards)
    assert (plans.troubles == Trouble.NONE).all()
    planner.copies.close()
    live.close()


def upright(x, u, t):
    angle = (x[0] + jnp.pi) % (2 * jnp.pi) - jnp.pi
    return angle**2 + 0.1 * x[1] ** 2 + 0.001 * (2 * u[0]) ** 2


def test_it_swings_the_pendulum_up():
    live = PendulumSwingUp(1)
    optimiser = ICEM(samples=30, elites=5, rounds=2)
    planner = make_planner(
        PendulumSwingUp, live, cost=upright, reward_weight=0.0, optimiser=optimiser, end=100, horizon=30
    )
    states, _ = live.reset(options={"condition": {}})
    plans = None
    for t in range(70):
        plans = planner.plan(states, t, plans)
        states, *_ = live.step(plans.actions[:, 0])
    assert live.at_goal(states).all()
    planner.copies.close()
    live.close()


def test_episodes_that_run_in_groups_share_the_plans_of_the_live_simulations():
    live = PendulumSwingUp(1)
    states, _ = live.reset()
    planner = make_planner(PendulumSwingUp, live)
    alone, both = planner.plan(states, 0, None), planner.plan(np.repeat(states, 2, axis=0), 0, None)
    np.testing.assert_array_equal(both.actions, np.repeat(alone.actions, 2, axis=0))
    planner.copies.close()
    live.close()


def test_a_cost_that_is_not_finite_leaves_the_fallback():
    live = PendulumSwingUp(1)
    states, _ = live.reset()
    planner = make_planner(PendulumSwingUp, live, cost=lambda x, u, t: jnp.nan * x[0])
    plans = planner.plan(states, 0, None)
    assert (plans.troubles == Trouble.NOT_FINITE).all()
    assert (plans.actions == 0).all()
    planner.copies.close()
    live.close()
