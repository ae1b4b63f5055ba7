"""The base of batch environments that change another one: everything is the inner environment's until overridden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space

from gps.environments.contract import BatchEnvironment, Bools, Entry, Floats


class Wrapper(VectorEnv[Any, Any, Any], BatchEnvironment):
    """A batch environment around another one, with all of its members.

    Args:
        env: the inner environment.
    """

    single_observation_space: Box
    single_action_space: Box

    def __init__(self, env: BatchEnvironment) -> None:
        self.env = env
        self.num_envs, self.metadata, self.render_mode = env.num_envs, env.metadata, env.render_mode
        self.state_layout, self.observation_layout = env.state_layout, env.observation_layout
        self.observation_shapes, self.observation_pictures = env.observation_shapes, env.observation_pictures
        self.references = env.references
        self.observation_dtype, self.mechanics, self.dt = env.observation_dtype, env.mechanics, env.dt
        self.max_episode_steps, self.seeded, self.noisy = env.max_episode_steps, env.seeded, env.noisy
        self.sensor_noise, self.filter = env.sensor_noise, env.filter
        self.set_spaces(env.single_observation_space, env.single_action_space)

    def set_spaces(self, states: Box, actions: Box) -> None:
        """Set the spaces of one state and one action, and those of the batch."""
        self.single_observation_space, self.single_action_space = states, actions
        self.observation_space = batch_space(states, self.num_envs)
        self.action_space = batch_space(actions, self.num_envs)

    @property
    def state_entries(self) -> tuple[Entry, ...]:
        """The inner environment's."""
        return self.env.state_entries

    @property
    def observation_entries(self) -> tuple[Entry, ...]:
        """The inner environment's."""
        return self.env.observation_entries

    @property
    def files(self) -> tuple[Path, ...]:
        """The inner environment's."""
        return self.env.files

    @property
    def action_entries(self) -> tuple[Entry, ...]:
        """The inner environment's."""
        return self.env.action_entries

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the inner environment."""
        return self.env.reset(seed=seed, options=options)

    def step(self, actions: Floats) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step the inner environment."""
        return self.env.step(actions)

    def render(self) -> tuple[Any, ...] | None:
        """Return the inner environment's pictures."""
        return self.env.render()

    def close_extras(self, **kwargs: Any) -> None:
        """Close the inner environment."""
        self.env.close(**kwargs)

    def rest(self, mask: Bools) -> None:
        """Stop stepping these simulations of the inner environment, (num_envs,) bool, until their next reset."""
        self.env.rest(mask)

    def holding_action(self, i: int) -> Floats | None:
        """Return the inner environment's."""
        return self.env.holding_action(i)

    def snapshot(self, i: int) -> tuple[Any, Any] | None:
        """Return the inner environment's copies of simulation `i`."""
        return self.env.snapshot(i)
