"""Put noise, delay, a rate limit and a random model around an environment, from `[environment]`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gps.builders.checks import per_entry
from gps.config.environment import EnvironmentConfig
from gps.config.noise import DifferenceFilterConfig, FilterConfig, NoiseConfig
from gps.dynamics.velocity_filter import VelocityFilter, differentiate, filter_by_kalman
from gps.environments.contract import BatchEnvironment, Floats
from gps.environments.disturbed import LAST_ACTION, Disturbance, Disturbed, Redraw, names_last_action
from gps.environments.estimated import Estimated
from gps.environments.parts import Layout, find_entries, name_part, whole
from gps.errors import ConfigError


def list_inner_parts(config: EnvironmentConfig) -> dict[str, tuple[str, ...]]:
    """The keys `state` and `observation` for the environment itself: the configured parts without `last_action`."""
    given = {"state": config.state, "observation": config.observation}
    inner = {key: tuple(p for p in parts if whole(p) != LAST_ACTION) for key, parts in given.items() if parts}
    return {key: parts for key, parts in inner.items() if parts}


def disturb(config: EnvironmentConfig, environment: BatchEnvironment, horizon: int) -> BatchEnvironment:
    """The environment with the disturbances of its experiment; itself if there are none.

    Raises:
        ConfigError: for an unknown part, object or field, a list of another length, a delay as long as an episode, and
            a random model of an environment without a MuJoCo model.
    """
    noise = config.noise
    remembers = names_last_action(config.state) or names_last_action(config.observation)
    if noise == NoiseConfig() and not config.randomise and not remembers:
        return environment
    if noise.delay >= horizon:
        raise ConfigError(f"environment.noise.delay: {noise.delay} steps are as long as an episode of {horizon} steps")
    if names_last_action(config.observation) and environment.observation_layout is None:
        raise ConfigError(f'environment.observation: list more parts than "{LAST_ACTION}"')
    disturbed = Disturbed(
        environment,
        _size_up(noise, environment),
        _complete(config.state, environment.state_layout),
        _complete(config.observation, environment.observation_layout),
        _make_redraw(config, environment),
    )
    return disturbed if noise.filter is None else Estimated(disturbed, _make_filter(noise.filter, disturbed))


def _make_filter(settings: FilterConfig, environment: BatchEnvironment) -> VelocityFilter:
    """The filter that estimates the velocities of a noisy environment."""
    key, mechanics = "environment.noise.filter", environment.mechanics
    if mechanics is None:
        raise ConfigError(f"{key}: it is not known which velocity belongs to which position of this state")
    if environment.observation_layout is not None:
        raise ConfigError(f"{key}: the policy must act on the state that the filter makes; leave out observation")
    (dx,) = environment.single_observation_space.shape
    noise = np.broadcast_to(np.asarray(environment.sensor_noise, float), dx)
    positions = noise[mechanics.position]
    if not (positions > 0).all():
        raise ConfigError(f"{key}: the positions are exact; set environment.noise.state to the noise of their sensors")
    if isinstance(settings, DifferenceFilterConfig):
        gains = differentiate(settings.smoothing, len(positions))
    else:
        acceleration = np.asarray(per_entry(settings.acceleration, len(positions), f"{key}.acceleration"))
        gains = filter_by_kalman(positions, acceleration, mechanics.dt)
    return VelocityFilter.of(mechanics, noise, *gains)


def find_half_ranges(low: np.ndarray, high: np.ndarray) -> Floats:
    """Half the range of each action, (du,); NaN for an action without limits."""
    with np.errstate(invalid="ignore", over="ignore"):
        half = 0.5 * np.asarray(high, float) - 0.5 * np.asarray(low, float)
    return np.where(np.isfinite(half) & (half > 0), half, np.nan)


def _complete(parts: tuple[str, ...] | None, inner: Layout | None) -> tuple[str, ...] | None:
    """The parts in order; `last_action` alone follows the environment's own parts."""
    if not names_last_action(parts):
        return None
    assert parts is not None
    alone = all(whole(part) == LAST_ACTION for part in parts)
    return (*(inner or ()), *parts) if alone else parts


def _size_up(noise: NoiseConfig, environment: BatchEnvironment) -> Disturbance:
    """The sizes of the disturbances in units of the environment."""
    space = environment.single_action_space
    half = find_half_ranges(space.low, space.high)
    unit = np.where(np.isnan(half), 1.0, half)
    where = "environment.noise"
    limit = np.inf if noise.rate_limit is None else noise.rate_limit
    (dx,) = environment.single_observation_space.shape
    observation = measured = None
    if (layout := environment.observation_layout) is not None:
        numbers = {part: where for part, where in layout.items() if part not in environment.observation_pictures}
        do = sum(part.stop - part.start for part in layout.values())
        measured = _match(numbers, environment, do)
        usual = 0.0 if isinstance(noise.state, Mapping) else noise.state
        given = usual if noise.observation is None else noise.observation
        observation = _spread(given, numbers, do, f"{where}.observation")
        if noise.observation is None:
            observation[measured >= 0] = 0.0
        measured[observation > 0] = -1
    elif noise.observation:
        raise ConfigError(f"{where}.observation: the policy observes the state here; set {where}.state")
    return Disturbance(
        state=_spread(noise.state, environment.state_layout, dx, f"{where}.state"),
        action=unit * np.asarray(per_entry(noise.action, len(unit), f"{where}.action")),
        rate=unit * np.asarray(per_entry(limit, len(unit), f"{where}.rate_limit")),
        delay=noise.delay,
        observation=observation,
        measured=measured,
    )


def _spread(deviations: float | Mapping[str, Any], layout: Layout, width: int, key: str) -> Floats:
    """The standard deviation of each entry, (width,)."""
    result = np.zeros(width)
    table = deviations if isinstance(deviations, Mapping) else dict.fromkeys(layout, deviations)
    for part, value in table.items():
        if whole(part) == LAST_ACTION:
            raise ConfigError(f'{key}: "{LAST_ACTION}" is known exactly and has no noise')
        try:
            entries = find_entries(part, layout)
        except ValueError as error:
            raise ConfigError(f"{key}: {error}") from None
        result[entries] = np.asarray(per_entry(value, len(entries), f"{key}.{part}"))
    return result


def _match(parts: Layout, environment: BatchEnvironment, width: int) -> np.ndarray:
    """The entry of the state that each entry of the observation shows, by its name, (width,); -1 for none."""
    names = {entry.name: i for i, entry in enumerate(environment.state_entries)}
    result = np.full(width, -1)
    for part, place in parts.items():
        try:
            result[place] = find_entries(part, environment.state_layout)
        except ValueError:
            result[place] = [names.get(name, -1) for name in name_part(part, place.stop - place.start)]
    return result


def _make_redraw(config: EnvironmentConfig, environment: BatchEnvironment) -> Redraw | None:
    if not config.randomise:
        return None
    from gps.environments.mujoco import MujocoEnv
    from gps.environments.mujoco.randomised import RandomModel

    if not isinstance(environment, MujocoEnv):
        raise ConfigError(
            f"environment.randomise: {config.id} is no MuJoCo environment of this library, so it has no model to change"
        )
    try:
        return RandomModel(environment.model, config.randomise).redraw
    except ValueError as error:
        raise ConfigError(f"environment.randomise: {error}") from None
