"""From `[algorithm.controller.initial]` to the controllers of the first iteration."""

from pathlib import Path

import gymnasium
import numpy as np

from gps.builders.checks import per_entry
from gps.config import ExperimentConfig
from gps.config.controller import FileInitialConfig, LQRInitialConfig, PDInitialConfig, ZeroInitialConfig
from gps.environments.contract import BatchEnvironment
from gps.errors import ConfigError
from gps.linear_gaussian import initial
from gps.linear_gaussian.types import Controller


def first_controllers(
    config: ExperimentConfig, directory: Path, environment: BatchEnvironment, starts: np.ndarray, T: int
) -> Controller:
    """The controllers of iteration 0, for the M conditions that start in `starts` (M, dx).

    Raises:
        ConfigError: if the environment does not tell what the chosen kind needs to know.
    """
    mechanics = environment.mechanics
    choice = config.algorithm.controller.initial or (ZeroInitialConfig() if mechanics is None else LQRInitialConfig())
    M, dx = starts.shape
    space = environment.single_action_space
    du = space.shape[0]
    match choice:
        case ZeroInitialConfig():
            return initial.zero(M, T, dx, du, _quarter_of(space) if choice.noise is None else choice.noise)
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


def _quarter_of(space: gymnasium.spaces.Box) -> np.ndarray:
    """A quarter of the range of each action that has limits, 1 of the others, (du,)."""
    width = space.high - space.low
    return np.where(np.isfinite(width), width / 4, 1.0)


def _stored_controllers(choice: FileInitialConfig, directory: Path, shape: tuple[int, ...]) -> Controller:
    from gps.runs.run import load_run

    run = load_run(directory / choice.path)
    run.iterations.require(-1 if choice.iteration is None and not len(run.iterations) else choice.iteration or 0)
    stored = run.iterations[-1 if choice.iteration is None else choice.iteration].improved.numpy()
    if stored.feedback.shape != shape:
        raise ConfigError(
            f"algorithm.controller.initial.path: {run.path} has controllers of shape (M, T, du, dx) = "
            f"{stored.feedback.shape}, and this experiment needs {shape}"
        )
    return stored
