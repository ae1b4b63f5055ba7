"""The base of this package's tasks: a model with default parts, frame skip and time limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from gps.environments.mujoco import MujocoEnv
from gps.environments.tasks import models


class Task(MujocoEnv):
    """A `MujocoEnv` with one of the package's models; a subclass names the model and defines reward and goal.

    Args:
        num_envs, state, observation, image_size, frame_skip, threads, max_episode_steps: see `MujocoEnv`; the
            defaults are the task's.
    """

    model_name: ClassVar[str]
    default_state: ClassVar[tuple[str, ...]]
    default_frame_skip: ClassVar[int]
    default_max_episode_steps: ClassVar[int] = 100

    def __init__(
        self,
        num_envs: int = 1,
        *,
        state: Sequence[str] | None = None,
        observation: Sequence[str] | None = None,
        image_size: Sequence[int] = (64, 64),
        frame_skip: int | None = None,
        threads: int | None = None,
        max_episode_steps: int | Literal["default"] | None = "default",
    ) -> None:
        steps = self.default_max_episode_steps if max_episode_steps == "default" else max_episode_steps
        super().__init__(
            num_envs,
            mjcf=self.read_model(),
            state=self.default_state if state is None else state,
            observation=observation,
            image_size=image_size,
            frame_skip=self.default_frame_skip if frame_skip is None else frame_skip,
            threads=threads,
            max_episode_steps=steps,
        )

    @classmethod
    def read_model(cls) -> str:
        """The XML of the task's model; a subclass may change it, where two tasks share one model."""
        return models.read(cls.model_name)
