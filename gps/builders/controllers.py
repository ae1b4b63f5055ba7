"""Build the controllers of the first iteration from `[algorithm.controller.initial]`."""

from pathlib import Path

import numpy as np

from gps.backend import jax
from gps.builders.checks import per_entry
from gps.config import ExperimentConfig
from gps.config.controller import (
    FileInitialConfig,
    HoldInitialConfig,
    LQRInitialConfig,
    PDInitialConfig,
    ZeroInitialConfig,
)
from gps.environments.contract import BatchEnvironment
from gps.errors import ConfigError
from gps.first_controllers import FirstControllers, Holding, make_holding_controllers
from gps.linear_gaussian import initial
from gps.linear_gaussian.riccati import forward
from gps.linear_gaussian.types import Controller
from gps.policies.export import read_controllers
from gps.problem import Limits, Problem
from gps.sampling.collecting import Starts


def make_first_controllers(
    config: ExperimentConfig,
    directory: Path,
    problem: Problem,
    environment: BatchEnvironment,
    starts: Starts,
) -> FirstControllers:
    """Make the controllers of iteration 0 for M conditions. Controllers that hold the start may need a probe.

    Raises:
        ConfigError: if the chosen kind needs to know more of the environment than there is.
    """
    choice, du = config.algorithm.controller.initial, problem.du
    if not isinstance(choice, HoldInitialConfig):
        plays_plan = config.algorithm.controller.execute == "open_loop"
        return FirstControllers.of(
            _make_given_controllers(choice, directory, problem, starts.states, plays_plan), problem
        )
    where = "algorithm.controller.initial"
    settings = Holding(
        hold=None if choice.hold is None else np.asarray(per_entry(choice.hold, du, f"{where}.hold"), float),
        spread=choice.spread,
        noise=None if choice.noise is None else np.broadcast_to(per_entry(choice.noise, du, f"{where}.noise"), du),
        feedback=choice.feedback,
    )
    smoothing = config.algorithm.controller.smooth(probed=True)
    conditions = config.environment.conditions
    return make_holding_controllers(
        environment, problem, conditions, starts.states, starts.holds, settings, smoothing, config.seed
    )


def _make_given_controllers(
    choice: LQRInitialConfig | PDInitialConfig | ZeroInitialConfig | FileInitialConfig,
    directory: Path,
    problem: Problem,
    starts: np.ndarray,
    plays_plan: bool,
) -> Controller:
    """Controllers that need no probe; with `plays_plan` stored ones are their planned actions alone."""
    mechanics, T, du = problem.mechanics, problem.horizon, problem.du
    M, dx = starts.shape
    match choice:
        case ZeroInitialConfig():
            return initial.zero(M, T, dx, du, _quarter_of(problem.limits) if choice.noise is None else choice.noise)
        case FileInitialConfig():
            return _stored_controllers(choice, directory, (M, T, du, dx), plays_plan)
        case LQRInitialConfig() | PDInitialConfig():
            if mechanics is None:
                raise ConfigError(
                    f"algorithm.controller.initial: {choice.name!r} needs the whole qpos and qvel in the state "
                    '(environment.state), one position for each velocity; or choose name = "hold"'
                )
            if isinstance(choice, PDInitialConfig):
                return initial.pd(starts, T, mechanics, choice.stiffness, choice.damping, choice.noise)
            gain = np.asarray(per_entry(choice.gain, du, "algorithm.controller.initial.gain"))
            return initial.lqr(starts, T, mechanics, choice.stiffness, choice.damping, gain, choice.noise)


def _quarter_of(limits: Limits) -> np.ndarray:
    """A quarter of the range of each action that has limits, 1 of the others, (du,)."""
    width = np.asarray(limits.high) - np.asarray(limits.low)
    return np.where(np.isfinite(width), width / 4, 1.0)


def _stored_controllers(
    choice: FileInitialConfig, directory: Path, shape: tuple[int, ...], plays_plan: bool
) -> Controller:
    from gps.runs import load_run

    if (directory / choice.path).is_file():
        return _exported_controllers(choice, directory, shape, plays_plan)
    run = load_run(directory / choice.path)
    iteration = run.iterations.resolve(choice.iteration)
    local = run.iterations[iteration].local
    if local is None:
        raise ConfigError(f"algorithm.controller.initial.path: {run.path} has no local controllers")
    stored = local.improved.numpy()
    _require_shape(stored, run.path, shape)
    if not plays_plan:
        return stored
    if local.dynamics is None:
        raise ConfigError(
            f'algorithm.controller.initial.path: {run.path} has no model, and so no plan for execute = "open_loop"'
        )
    expected = jax.vmap(forward)(local.dynamics, stored).numpy().mean
    actions = np.einsum("mtij,mtj->mti", stored.feedback, expected) + stored.feedforward
    return Controller(np.zeros_like(stored.feedback), actions, stored.covariance)


def _exported_controllers(
    choice: FileInitialConfig, directory: Path, shape: tuple[int, ...], plays_plan: bool
) -> Controller:
    path = directory / choice.path
    if choice.iteration is not None:
        raise ConfigError(f"algorithm.controller.initial.iteration: {path} is a file, which has no iterations")
    stored = read_controllers(path)
    _require_shape(stored, path, shape)
    if plays_plan and stored.feedback.any():
        raise ConfigError(
            f"algorithm.controller.initial.path: {path} has no model, and so no plan for "
            'execute = "open_loop"; give the run directory'
        )
    return stored


def _require_shape(stored: Controller, path: Path, shape: tuple[int, ...]) -> None:
    if stored.feedback.shape != shape:
        raise ConfigError(
            f"algorithm.controller.initial.path: {path} has controllers of shape (M, T, du, dx) = "
            f"{stored.feedback.shape}, and this experiment needs {shape}"
        )
