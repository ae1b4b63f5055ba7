"""Small made-up records and configurations."""

import dataclasses
from typing import NamedTuple

import numpy as np

from gps.config import ExperimentConfig, parse
from gps.linear_gaussian.types import Controller, LinearDynamics, Marginals
from gps.records import IterationRecord, PolicyRecord, Rollouts, Search, Seconds, Status
from helpers.experiments import POINT_MASS, toml

EXPERIMENT = toml(
    POINT_MASS,
    environment={"horizon": 6, "conditions": [{}, {}]},
    algorithm={"iterations": 4},
    cost=[{"name": "quadratic"}],
)


class State(NamedTuple):
    """Stands for the state of an algorithm."""

    controllers: Controller
    eta: np.ndarray
    pool: tuple[np.ndarray, ...]
    prior: Controller | None
    steps: int


def config(*overrides: str) -> ExperimentConfig:
    return parse(EXPERIMENT, "experiment.toml", overrides)


def covariances(rng: np.random.Generator, *shape: int) -> np.ndarray:
    root = rng.normal(size=(*shape, shape[-1]))
    return root @ np.swapaxes(root, -1, -2) + 0.1 * np.eye(shape[-1])


def controllers(rng: np.random.Generator, M: int = 2, T: int = 6, dx: int = 4, du: int = 2) -> Controller:
    return Controller(rng.normal(size=(M, T, du, dx)), rng.normal(size=(M, T, du)), covariances(rng, M, T, du))


def rollouts(rng: np.random.Generator, M: int = 2, N: int = 3, T: int = 6, dx: int = 4, du: int = 2) -> Rollouts:
    return Rollouts(
        states=rng.normal(size=(M, N, T, dx)),
        actions=rng.normal(size=(M, N, T, du)),
        noise=rng.normal(size=(M, N, T, du)),
        rewards=rng.normal(size=(M, N, T)),
        success=rng.random((M, N, T)) < 0.5,
        mask=np.ones((M, N, T), dtype=bool),
        saturated=rng.random(M),
    )


def record(
    iteration: int = 0,
    *,
    seed: int = 0,
    status: Status = Status.OK,
    message: str = "",
    per_step: bool = False,
    seconds: tuple[float, float, float] = (0.11, 0.04, 0.01),
    M: int = 2,
    N: int = 3,
    T: int = 6,
    dx: int = 4,
    du: int = 2,
) -> IterationRecord:
    """M conditions of N samples; `status` and `message` are those of the last condition."""
    rng = np.random.default_rng([seed, iteration])
    trace = np.full((M, 50), np.nan)
    trace[:, :3] = rng.normal(size=(M, 3))
    unknown = np.full(M, np.nan)
    return IterationRecord(
        iteration=iteration,
        environment_steps=(iteration + 1) * M * N * T,
        rollouts=rollouts(rng, M, N, T, dx, du),
        costs=rng.random((M, N, T)),
        controllers=controllers(rng, M, T, dx, du),
        dynamics=LinearDynamics(
            rng.normal(size=(M, T - 1, dx, dx + du)),
            rng.normal(size=(M, T - 1, dx)),
            covariances(rng, M, T - 1, dx),
            rng.normal(size=(M, dx)),
            covariances(rng, M, dx),
        ),
        marginals=Marginals(rng.normal(size=(M, T, dx)), covariances(rng, M, T, dx)),
        improved=controllers(rng, M, T, dx, du),
        search=Search(
            bound=np.ones(M),
            eta=rng.random((M, T) if per_step else M),
            kl=rng.random((M, T)),
            alpha=np.full(M, 1e-3),
            evaluations=np.full(M, 3),
            trace_log_eta=trace,
            trace_kl=np.exp(trace),
        ),
        multiplier=np.ones(M),
        predicted=unknown if iteration == 0 else -rng.random(M),
        actual=unknown if iteration == 0 else -rng.random(M),
        entropy=rng.normal(size=M),
        status=np.array([Status.OK] * (M - 1) + [status]),
        messages=("",) * (M - 1) + (message,),
        seconds=Seconds(*seconds),
    )


def with_policy(
    item: IterationRecord, sampled: bool = True, message: str = "", checks: int = 4, teacher: str = "local"
) -> IterationRecord:
    """The same with a global policy, which was sampled or was not."""
    rng = np.random.default_rng([item.iteration, 3])
    M, _, T, dx = item.rollouts.states.shape
    du = item.rollouts.actions.shape[-1]
    around = item.controllers if sampled else controllers(rng, M, T, dx, du)
    marginals = item.marginals if sampled else Marginals(rng.normal(size=(M, T, dx)), covariances(rng, M, T, dx))
    policy = PolicyRecord(
        sampled=sampled,
        linearised=around,
        marginals=marginals,
        kl=rng.random((M, T)),
        deviation=0.1 + rng.random(du),
        steps=100 * checks,
        training_loss=2.0 + rng.random(checks),
        held_out_loss=3.0 - np.linspace(0.0, 1.0, checks + 1),
        outcome="OK" if not message else "DIVERGED",
        covariance_outcome="OK",
        message=message,
        teacher=teacher,
    )
    return dataclasses.replace(item, policy=policy)


def untold(rollouts: Rollouts) -> Rollouts:
    """The same of an environment that does not tell of success."""
    return dataclasses.replace(rollouts, success=None)


def state(iteration: int = 0, *, seed: int = 0) -> State:
    rng = np.random.default_rng([seed, iteration, 1])
    return State(
        controllers(rng), rng.random(2), tuple(rng.random((n, 3)) for n in range(iteration + 1)), None, iteration
    )
