"""Small made-up records and configurations."""

import dataclasses
from typing import NamedTuple

import numpy as np

from gps.config import ExperimentConfig, parse
from gps.linear_gaussian.types import Controller, LinearDynamics, Marginals
from gps.players import Player
from gps.records import (
    Change,
    EvaluationRecord,
    IterationRecord,
    LocalRecord,
    PolicyRecord,
    Rollouts,
    Search,
    Seconds,
)
from gps.status import PolicyStatus, Status
from helpers.experiments import POINT_MASS, toml

EXPERIMENT = toml(
    POINT_MASS,
    environment={"horizon": 6, "conditions": [{}, {"qpos": [0.6, 0.2]}]},
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
    made, costs = rollouts(rng, M, N, T, dx, du), rng.random((M, N, T))
    local = LocalRecord(
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
        last=Change(unknown, unknown) if iteration == 0 else Change(-rng.random(M), -rng.random(M)),
        entropy=rng.normal(size=M),
        predicted=-rng.random(M),
        trust=rng.random(M),
    )
    return IterationRecord(
        iteration=iteration,
        environment_steps=(iteration + 1) * M * N * T,
        player=Player.LOCAL,
        rollouts=made,
        costs=costs,
        local=local,
        status=np.array([Status.OK] * (M - 1) + [status]),
        messages=("",) * (M - 1) + (message,),
        seconds=Seconds(*seconds),
    )


def with_policy(
    item: IterationRecord,
    sampled: bool = True,
    message: str = "",
    checks: int = 4,
    teacher: Player = Player.LOCAL,
    existed: bool = True,
) -> IterationRecord:
    """The same with a global policy, which was sampled or was not. Only local teachers have a local side."""
    rng = np.random.default_rng([item.iteration, 3])
    M, _, T, dx = item.rollouts.states.shape
    du = item.rollouts.actions.shape[-1]
    local = item.local if teacher is Player.LOCAL else None
    around = marginals = None
    if local is not None:
        known = sampled or not existed
        around = local.controllers if known else controllers(rng, M, T, dx, du)
        marginals = local.marginals if known else Marginals(rng.normal(size=(M, T, dx)), covariances(rng, M, T, dx))
    policy = PolicyRecord(
        teacher=teacher,
        existed=existed,
        trained=True,
        linearised=around,
        marginals=marginals,
        kl=rng.random((M, T)),
        deviation=0.1 + rng.random(du),
        steps=100 * checks,
        training_loss=2.0 + rng.random(checks),
        held_out_loss=3.0 - np.linspace(0.0, 1.0, checks + 1),
        mean_status=PolicyStatus.DIVERGED if message else PolicyStatus.OK,
        covariance_status=PolicyStatus.OK,
        message=message,
    )
    player = (Player.POLICY if local is not None else Player.BOTH) if sampled else teacher
    return dataclasses.replace(item, player=player, local=local, policy=policy)


def without_dynamics(item: IterationRecord) -> IterationRecord:
    """The same of an algorithm that fits no dynamics, such as PI2."""
    return dataclasses.replace(item, local=dataclasses.replace(item.local, dynamics=None), model=None)


def evaluation(
    episodes: Rollouts | None = None, cost: float = 1.0, what: str = "final", player: Player = Player.LOCAL
) -> EvaluationRecord:
    """An evaluation in which every step costs the same; by default of one episode from each of two starts."""
    made = rollouts(np.random.default_rng(0), N=1) if episodes is None else episodes
    return EvaluationRecord(what, player, made, np.full(made.mask.shape, cost))


def untold(rollouts: Rollouts) -> Rollouts:
    """The same of an environment that does not tell of success."""
    return dataclasses.replace(rollouts, success=None)


def state(iteration: int = 0, *, seed: int = 0) -> State:
    rng = np.random.default_rng([seed, iteration, 1])
    return State(
        controllers(rng), rng.random(2), tuple(rng.random((n, 3)) for n in range(iteration + 1)), None, iteration
    )
