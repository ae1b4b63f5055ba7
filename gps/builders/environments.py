"""Build the simulations from `[environment]`, and find their horizon."""

import inspect
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode, VectorEnv

import gps.environments  # noqa: F401  (registers the ids)
from gps.builders.checks import per_entry
from gps.builders.disturbances import disturb, list_inner_parts
from gps.config.environment import EnvironmentConfig
from gps.environments.contract import BatchEnvironment, list_missing_members
from gps.environments.folder import relative_to
from gps.environments.guard import Abort, Confirm, Guarded, ask_operator
from gps.environments.gymnasium_mujoco import find_batch_class
from gps.environments.parts import PartError
from gps.environments.plain.recipe import Recipe, find_spec
from gps.errors import ConfigError, one_line
from gps.extensions import plugins, task_file
from gps.observations import Sight
from gps.storage.serialization import MAX_BYTES

MOST_OF_PICTURES = 3 * MAX_BYTES // 4
"""The most bytes of pictures in an iteration: one file holds them with other arrays."""


def make_environment(
    config: EnvironmentConfig, directory: Path, num_envs: int, confirm: Confirm | None = None
) -> BatchEnvironment:
    """Make `num_envs` simulations of the experiment's environment.

    Args:
        confirm: called before each reset if the experiment asks for confirmation; None asks on the terminal.

    Raises:
        ConfigError: if there is no such environment, it cannot be built with these options, or it breaks the contract.
    """
    keywords: dict[str, Any] = dict(config.options)
    keywords |= list_inner_parts(config)
    for key in ("image_size", "frame_skip", "keyframe", "threads"):
        if (value := getattr(config, key)) is not None:
            keywords[key] = value
    if config.success is not None:
        from gps.environments.mujoco.goal import Goal

        keywords["success"] = Goal(config.success.distance, config.success.within, config.success.since)
    abort = None
    if config.abort is not None:
        abort = task_file.find(directory / task_file.NAME, config.abort, "environment.abort")
    try:
        with relative_to(directory):
            built = _find_constructor(config, directory)(num_envs, **keywords)
    except ConfigError:
        raise
    except PartError as error:
        raise ConfigError(f"environment.{one_line(error)}") from error
    except (gymnasium.error.Error, ImportError, TypeError, ValueError) as error:
        raise ConfigError(f"environment: {one_line(error)}") from error
    if missing := list_missing_members(built):
        listed = ", ".join(map("`{}`".format, missing))
        raise ConfigError(
            f"environment.id: {config.id!r} makes a {type(built).__name__} without {listed}; derive it from "
            "gps.environments.contract.BatchEnvironment, or write a gymnasium.Env or a MujocoEnv"
        )
    if built.single_action_space.shape == (0,):
        built.close()
        raise ConfigError(f"environment: {config.id} has no actions, so there is nothing to control")
    try:
        return _guard(config, disturb(config, built, find_horizon(config, built)), abort, confirm)
    except PartError as error:
        built.close()
        raise ConfigError(f"environment.{one_line(error)}") from error
    except BaseException:
        built.close()
        raise


def _guard(
    config: EnvironmentConfig, environment: BatchEnvironment, abort: Abort | None, confirm: Confirm | None
) -> BatchEnvironment:
    """The environment with the action limits, the abort rule and the confirmation of its experiment."""
    if config.action_limits is None and abort is None and not config.confirm_reset:
        return environment
    limits = None
    if config.action_limits is not None:
        du = environment.single_action_space.shape[0]
        low, high = (np.asarray(per_entry(limit, du, "environment.action_limits")) for limit in config.action_limits)
        limits = low, high
    return Guarded(environment, limits, abort, (confirm or ask_operator) if config.confirm_reset else None)


def _find_constructor(config: EnvironmentConfig, directory: Path) -> Callable[..., BatchEnvironment]:
    """Find the function that makes `num_envs` simulations from keyword arguments."""
    if config.mjcf is not None:
        from gps.environments.mujoco import MujocoEnv

        path = (directory / config.mjcf).absolute()  # so that it is not looked up in the folder once more
        return lambda num_envs, **keywords: MujocoEnv(num_envs, mjcf=path, **keywords)
    assert config.id is not None
    origin: EnvSpec | Path
    if config.id.startswith("task:"):
        origin = directory / task_file.NAME
        found = task_file.find(origin, config.id.removeprefix("task:"), "environment.id")
        if _makes_a_batch(found):
            return found
    elif config.id in plugins.names("gps.environments"):
        found = plugins.load("gps.environments", config.id, "environment.id")
        if _makes_a_batch(found):
            return found
        point = plugins.find("gps.environments", config.id, "environment.id")
        origin = EnvSpec(id=f"{config.id}-v0", entry_point=point.value)
    else:
        if (batched := find_batch_class(config.id)) is not None:
            return batched
        origin = spec = find_spec(config.id)
        vectorised = spec.vector_entry_point
        creator = load_env_creator(vectorised) if isinstance(vectorised, str) else vectorised
        if creator is not None and _makes_a_batch(creator):
            return lambda num_envs, **keywords: cast(BatchEnvironment, gymnasium.make_vec(spec, num_envs, **keywords))
    return partial(_adapt, config, origin)


def _makes_a_batch(constructor: Callable[..., Any]) -> bool:
    """True if it makes a vector environment whose episodes do not restart by themselves."""
    if not isinstance(constructor, type):
        return "num_envs" in inspect.signature(constructor).parameters
    if not issubclass(constructor, VectorEnv):
        return False
    return constructor.metadata.get("autoreset_mode", AutoresetMode.DISABLED) is AutoresetMode.DISABLED


def _adapt(config: EnvironmentConfig, origin: EnvSpec | Path, num_envs: int, /, **keywords: Any) -> BatchEnvironment:
    """Run a plain Gymnasium environment as a batch; `keywords` that are not the batch's go to the environment."""
    from gps.environments.plain.adapter import GymnasiumBatch

    for key in ("keyframe", "success"):
        if key in keywords:
            raise ConfigError(
                f"environment.{key}: only a MuJoCo model has it; {config.id!r} is a Gymnasium environment"
            )
    own = {key: keywords.pop(key) for key in ("state", "observation", "threads") if key in keywords}
    recipe = Recipe(config.id or "", origin, keywords)
    return GymnasiumBatch(num_envs, recipe, step_timeout=config.step_timeout, **own)


def find_horizon(config: EnvironmentConfig, environment: BatchEnvironment) -> int:
    """The steps of a rollout: the experiment's; without one, the environment's own limit; without both, 100.

    Raises:
        ConfigError: if the experiment's is longer than the environment's limit.
    """
    limit = environment.max_episode_steps
    if config.horizon is not None and limit is not None and config.horizon > limit:
        raise ConfigError(
            f"environment.horizon: {config.horizon} steps are more than the environment's own limit of {limit}; "
            f"shorten it, or lift the limit with environment.options.max_episode_steps = {config.horizon}"
        )
    return config.horizon or limit or 100


def require_room(sight: Sight, episodes: int, T: int) -> None:
    """ConfigError if the pictures of `episodes` of T steps take more than `MOST_OF_PICTURES` bytes."""
    size = episodes * T * math.prod(sight.image_shape or (0,))
    if size > MOST_OF_PICTURES:
        raise ConfigError(
            f"environment.image_size: the pictures of an iteration, {episodes} episodes of {T} steps, would take "
            f"{size / 2**20:,.0f} MiB, more than the {MOST_OF_PICTURES >> 20} that a run stores; make them smaller"
        )
