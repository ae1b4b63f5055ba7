"""Build the controllers of the first iteration from `[algorithm.controller.initial]`."""

from pathlib import Path

import numpy as np

from gps.builders.checks import per_entry
from gps.config import ExperimentConfig
from gps.config.controller import (
    FileInitialConfig,
    InitialConfig,
    LQRInitialConfig,
    PDInitialConfig,
    ZeroInitialConfig,
)
from gps.errors import ConfigError
from gps.linear_gaussian import initial
from gps.linear_gaussian.types import Controller
from gps.problem import Limits, Problem


def make_first_controllers(
    config: ExperimentConfig, directory: Path, problem: Problem, starts: np.ndarray
) -> Controller:
    """The controllers of iteration 0, for the M conditions that start in `starts` (M, dx).

    Raises:
        ConfigError: if the chosen kind needs to know more of the environment than there is.
    """
    mechanics, T, du = problem.mechanics, problem.horizon, problem.du
    choice = find_initial(config, problem)
    M, dx = starts.shape
    match choice:
        case ZeroInitialConfig():
            return initial.zero(M, T, dx, du, _quarter_of(problem.limits) if choice.noise is None else choice.noise)
        case FileInitialConfig():
            return _stored_controllers(choice, directory, (M, T, du, dx))
        case LQRInitialConfig() | PDInitialConfig():
            if mechanics is None:
                raise ConfigError(
                    f"algorithm.controller.initial: {choice.name!r} needs the whole qpos and qvel in the state "
                    '(environment.state), one position for each velocity; or choose name = "zero"'
                )
            if isinstance(choice, PDInitialConfig):
                return initial.pd(starts, T, mechanics, choice.stiffness, choice.damping, choice.noise)
            gain = np.asarray(per_entry(choice.gain, du, "algorithm.controller.initial.gain"))
            return initial.lqr(starts, T, mechanics, choice.stiffness, choice.damping, gain, choice.noise)


def find_initial(config: ExperimentConfig, problem: Problem) -> InitialConfig:
    """The section of the first controllers: the experiment's, or its default for the problem."""
    usual = ZeroInitialConfig() if problem.mechanics is None else LQRInitialConfig()
    return config.algorithm.controller.initial or usual


def _quarter_of(limits: Limits) -> np.ndarray:
    """A quarter of the range of each action that has limits, 1 of the others, (du,)."""
    width = np.asarray(limits.high) - np.asarray(limits.low)
    return np.where(np.isfinite(width), width / 4, 1.0)


def _stored_controllers(choice: FileInitialConfig, directory: Path, shape: tuple[int, ...]) -> Controller:
    from gps.runs import load_run

    run = load_run(directory / choice.path)
    iteration = run.iterations.resolve(choice.iteration)
    local = run.iterations[iteration].local
    if local is None:
        raise ConfigError(f"algorithm.controller.initial.path: {run.path} has no local controllers")
    stored = local.improved.numpy()
    if stored.feedback.shape != shape:
        raise ConfigError(
            f"algorithm.controller.initial.path: {run.path} has controllers of shape (M, T, du, dx) = "
            f"{stored.feedback.shape}, and this experiment needs {shape}"
        )
    return stored
