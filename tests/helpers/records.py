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
    MixtureRecord,
    ModelRecord,
    PolicyRecord,
    Rollouts,
    Search,
    Seconds,
)
from gps.status import PolicyStatus, Status
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
    """A record of local controllers, M conditions of N samples; `status` and `message` are the last condition's."""
    rng = np.random.default_rng([seed, iteration])
    trace = np.full((M, 50), np.nan)
    trace[:, :3] = rng.normal(size=(M, 3))
    unknown = np.full(M, np.nan)
    samples, costs = rollouts(rng, M, N, T, dx, du), rng.random((M, N, T))
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
        last=Change(*(unknown if iteration == 0 else -rng.random(M) for _ in range(2))),
        entropy=rng.normal(size=M),
        predicted=-rng.random(M),
    )
    return IterationRecord(
        iteration=iteration,
        environment_steps=(iteration + 1) * M * N * T,
        player=Player.LOCAL,
        rollouts=samples,
        costs=costs,
        status=np.array([Status.OK] * (M - 1) + [status]),
        messages=("",) * (M - 1) + (message,),
        seconds=Seconds(*seconds),
        local=local,
    )


def with_policy(
    item: IterationRecord,
    player: Player = Player.POLICY,
    message: str = "",
    checks: int = 4,
    teacher: Player = Player.LOCAL,
) -> IterationRecord:
    """The same with a global policy; `player` acted in the rollouts. An expert teaches without local controllers."""
    rng = np.random.default_rng([item.iteration, 3])
    M, _, T, dx = item.rollouts.states.shape
    du = item.rollouts.actions.shape[-1]
    local = item.local if teacher is Player.LOCAL else None
    around, there = controllers(rng, M, T, dx, du), Marginals(rng.normal(size=(M, T, dx)), covariances(rng, M, T, dx))
    if local is not None and player is Player.POLICY:
        around, there = local.controllers, local.marginals
    policy = PolicyRecord(
        teacher=teacher,
        existed=player.has_policy,
        trained=True,
        linearised=None if local is None else around,
        marginals=None if local is None else there,
        kl=rng.random((M, T)),
        deviation=0.1 + rng.random(du),
        steps=100 * checks,
        training_loss=2.0 + rng.random(checks),
        held_out_loss=3.0 - np.linspace(0.0, 1.0, checks + 1),
        mean_status=PolicyStatus.DIVERGED if message else PolicyStatus.OK,
        covariance_status=PolicyStatus.OK,
        message=message,
    )
    return dataclasses.replace(item, player=player, local=local, policy=policy)


def with_mixture(item: IterationRecord, clusters: int = 3) -> IterationRecord:
    """The same with a mixture of `clusters` as the global model."""
    rng = np.random.default_rng([item.iteration, 2])
    dx, du = item.rollouts.states.shape[-1], item.rollouts.actions.shape[-1]
    d = 2 * dx + du
    weights = np.full(clusters, 1 / clusters)
    mixture = MixtureRecord(weights, rng.normal(size=(clusters, d)), covariances(rng, clusters, d))
    return dataclasses.replace(item, model=ModelRecord(mixture))


def evaluation(
    what: str = "final", player: Player = Player.LOCAL, *, cost: float = 1.0, seed: int = 0, **sizes: int
) -> EvaluationRecord:
    """One made-up episode of each start, of which each step costs `cost`; `sizes` are those of `rollouts`."""
    episodes = rollouts(np.random.default_rng(seed), **{"N": 1, **sizes})
    return EvaluationRecord(what, player, episodes, np.full(episodes.mask.shape, cost))


def untold(rollouts: Rollouts) -> Rollouts:
    """The same from an environment without a success flag."""
    return dataclasses.replace(rollouts, success=None)


def state(iteration: int = 0, *, seed: int = 0) -> State:
    rng = np.random.default_rng([seed, iteration, 1])
    return State(
        controllers(rng), rng.random(2), tuple(rng.random((n, 3)) for n in range(iteration + 1)), None, iteration
    )
