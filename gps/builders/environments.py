"""From `[environment]` to simulations, their horizon, and what a policy sees of them."""

import inspect
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode, VectorEnv

import gps.environments  # noqa: F401  (registers the ids)
from gps.builders.checks import one_line, per_entry
from gps.config.environment import EnvironmentConfig
from gps.environments.guard import Confirm, Guarded, ask
from gps.environments.gymnasium_mujoco import batch_class
from gps.environments.parts import PartError
from gps.environments.plain.recipe import Recipe, registered
from gps.errors import ConfigError
from gps.extensions import plugins, task_file
from gps.observations import Sight
from gps.storage.serialization import MAX_BYTES

MOST_OF_PICTURES = 3 * MAX_BYTES // 4
"""Bytes that the pictures of an iteration may take: they are stored in one file with other arrays."""


def make_environment(config: EnvironmentConfig, directory: Path, num_envs: int, confirm: Confirm | None = None) -> VectorEnv:
    """`num_envs` simulations of the experiment's environment.

    Args:
        confirm: is asked before each reset where the experiment says so; None asks on the terminal.

    Raises:
        ConfigError: if there is no such environment, or it cannot be built with these options.
    """
    keywords: dict[str, Any] = dict(config.options)
    for key in ("state", "observation", "image_size", "frame_skip", "threads"):
        if (value := getattr(config, key)) is not None:
            keywords[key] = value
    abort = config.abort and task_file.find(directory / task_file.NAME, config.abort, "environment.abort")
    try:
        built = _constructor(config, directory)(num_envs, **keywords)
    except ConfigError:
        raise
    except PartError as error:
        raise ConfigError(f"environment.{one_line(error)}") from error
    except (gymnasium.error.Error, ImportError, TypeError, ValueError) as error:
        raise ConfigError(f"environment: {one_line(error)}") from error
    if not hasattr(built, "state_layout"):
        raise ConfigError(
            f"environment.id: {config.id!r} has no `state_layout`: it is not a batch environment of this library; "
            "write a gymnasium.Env or a MujocoEnv"
        )
    if config.action_limits is None and abort is None and not config.confirm_reset:
        return built
    try:
        du = built.single_action_space.shape[0]
        limits = config.action_limits and tuple(
            np.asarray(per_entry(limit, du, "environment.action_limits")) for limit in config.action_limits
        )
        return Guarded(built, limits, abort, (confirm or ask) if config.confirm_reset else None)
    except BaseException:
        built.close()
        raise


def _constructor(config: EnvironmentConfig, directory: Path) -> Callable[..., VectorEnv]:
    """What makes `num_envs` simulations from keyword arguments."""
    if config.mjcf is not None:
        from gps.environments.mujoco import MujocoEnv

        path = directory / config.mjcf
        return lambda num_envs, **keywords: MujocoEnv(num_envs, mjcf=path, **{"state": ("qpos", "qvel"), **keywords})
    assert config.id is not None
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
        if (batched := batch_class(config.id)) is not None:
            return batched
        origin = registered(config.id)
        if origin.vector_entry_point is not None and _makes_a_batch(load_env_creator(origin.vector_entry_point)):
            return lambda num_envs, **keywords: gymnasium.make_vec(origin, num_envs, **keywords)
    return partial(_adapted, config, origin)


def _makes_a_batch(constructor: Callable) -> bool:
    """Whether it makes a vector environment as this library needs it: without episodes that restart by themselves."""
    if not isinstance(constructor, type):
        return "num_envs" in inspect.signature(constructor).parameters
    mode = getattr(constructor, "metadata", {}).get("autoreset_mode", AutoresetMode.DISABLED)
    return issubclass(constructor, VectorEnv) and mode is AutoresetMode.DISABLED


def _adapted(config: EnvironmentConfig, origin: EnvSpec | Path, num_envs: int, /, **keywords: Any) -> VectorEnv:
    """A plain Gymnasium environment as a batch; `keywords` that are not the batch's are the environment's own."""
    from gps.environments.plain.adapter import GymnasiumBatch

    own = {key: keywords.pop(key) for key in ("state", "observation", "threads") if key in keywords}
    recipe = Recipe(config.id or "", origin, keywords)
    return GymnasiumBatch(num_envs, recipe, step_timeout=config.step_timeout, **own)


def find_horizon(config: EnvironmentConfig, environment: VectorEnv) -> int:
    """Steps of a rollout: the experiment's, else the environment's own limit, else 100.

    Raises:
        ConfigError: if the experiment's is longer than the environment's limit.
    """
    limit = getattr(environment, "max_episode_steps", None)
    if config.horizon is not None and limit is not None and config.horizon > limit:
        raise ConfigError(
            f"environment.horizon: {config.horizon} steps are more than the environment's own limit of {limit}; "
            f"shorten it, or lift the limit with environment.options.max_episode_steps = {config.horizon}"
        )
    return config.horizon or limit or 100


def require_room(sight: Sight, episodes: int, T: int) -> None:
    """ConfigError if the pictures of `episodes` of T steps are more than a run stores of an iteration."""
    size = episodes * T * math.prod(sight.image_shape or (0,))
    if size > MOST_OF_PICTURES:
        raise ConfigError(
            f"environment.image_size: the pictures of an iteration, {episodes} episodes of {T} steps, would take "
            f"{size / 2**20:,.0f} MiB, more than the {MOST_OF_PICTURES >> 20} that a run stores; make them smaller"
        )
