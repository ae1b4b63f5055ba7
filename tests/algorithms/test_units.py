"""A cost, or actions and their effects, written in another unit: no algorithm makes a difference."""

import dataclasses
from functools import cache, partial

import numpy as np
import pytest
from helpers import linear_system
from helpers.linear_system import DU, DX, STARTS, M, advance, make_learner
from helpers.problems import LinearEnv

from gps.algorithms.distilled.dagger import DAgger
from gps.algorithms.distilled.plato import PLATO
from gps.algorithms.guided.badmm import BADMM
from gps.algorithms.guided.mdgps import MDGPS
from gps.algorithms.guided.pigps import PIGPS
from gps.algorithms.local import trajopt
from gps.algorithms.local.pi2 import PI2
from gps.algorithms.local.pilqr import PILQR
from gps.algorithms.local.trajopt import TrajOpt
from gps.backend import jnp
from gps.experts.contract import FixedExpert, adapt_expert
from gps.linear_gaussian.initial import zero

T = 6


@dataclasses.dataclass(frozen=True)
class Cost:
    """Neither quadratic nor without a corner that matters."""

    price: float
    unit: float

    def __call__(self, x, u, t):
        far = x - jnp.array([0.3, 0.0, 0.0])
        return self.price * (far @ far + 0.1 * jnp.sum((u / self.unit) ** 2) + 0.3 * jnp.sqrt(x @ x + 0.1))


@dataclasses.dataclass(frozen=True)
class Expert:
    """Pulls to the origin; it knows the unit."""

    unit: float

    def act(self, states, t):
        return -self.unit * states[:, :DU]


def learner():
    return make_learner(hidden=(8,), steps=100, learning_rate=1e-3)


def guided(kind, problem, local=TrajOpt, **settings):
    return kind(local(problem, kl_step=0.3), learner(), **settings)


def distilled(kind, problem):
    return kind(problem, learner(), expert=FixedExpert(adapt_expert(Expert(problem.cost.unit))))


ALGORITHMS = {
    "trajopt": partial(TrajOpt, kl_step=0.3),
    "mdgps": partial(guided, MDGPS),
    "mdgps, global rule off-policy": partial(guided, MDGPS, on_policy=False, step_rule="global"),
    "badmm": partial(guided, BADMM, dual_rate=1.0),
    "pi2": partial(PI2, kl_step=0.3),
    "pilqr": partial(PILQR, kl_step=0.3),
    "pigps": partial(guided, PIGPS, local=PI2),
    "dagger": partial(distilled, DAgger),
    "plato": partial(distilled, PLATO),
}


class InUnit(LinearEnv):
    """The same system, with its actions in another unit."""

    def __init__(self, unit, num_envs, A, B, **options):
        super().__init__(num_envs, A, B / unit, **options)


@cache
def learned(name, price, unit):
    """Actions, costs, controllers or policy of three iterations, in the units of price 1 and unit 1."""
    algorithm = ALGORITHMS[name](linear_system.make_problem(Cost(price, unit), T))
    state, numbers = algorithm.begin(zero(M, T, DX, DU, unit), STARTS), []
    for i in range(3):
        state, record = advance(algorithm, state, seed=i, environment=partial(InUnit, unit))
        parts, ratios = [record.rollouts.actions], [record.mean_cost / price]
        if record.local is None:
            policy = state.training.policy
            parts += [policy.act(record.rollouts.observed), policy.covariance / unit]
        else:
            new = record.local.improved
            parts += [new.feedback, new.feedforward, new.covariance / unit]
            ratios += [record.local.multiplier, record.local.last.actual / price]
        numbers += [part / unit for part in parts] + ratios
    return numbers


@pytest.mark.parametrize(("price", "unit"), [(1e6, 1.0), (1.0, 1e3)], ids=["cost", "action"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_unit_makes_no_difference(name, price, unit, monkeypatch):
    monkeypatch.setattr(trajopt, "KL_TOLERANCE", 1e-9)  # the search for η begins at 1, in units of cost
    for one, other in zip(learned(name, 1.0, 1.0), learned(name, price, unit), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4 * np.nanmax(np.abs(one), initial=1e-9))
