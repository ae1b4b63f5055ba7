"""One simulation of a vector environment as a plain Gymnasium environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import ArrayLike, NDArray


class SingleEnv(gymnasium.Env[NDArray[np.float64], NDArray[np.float64]]):
    """The only simulation of `vector`, without the leading dimension of a batch.

    Every attribute that is not Gymnasium's own (`state_layout`, `dt`, `mechanics`, …) is the vector
    environment's.

    Args:
        vector: a vector environment of one simulation.

    Raises:
        ValueError: if it has another number of simulations.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self, vector: VectorEnv[Any, Any, Any]) -> None:
        if vector.num_envs != 1:
            raise ValueError(f"expected a vector environment of one simulation, got {vector.num_envs}")
        self.vector = vector
        self.observation_space = vector.single_observation_space
        self.action_space = vector.single_action_space

    @classmethod
    def of(cls, environment: Callable[..., VectorEnv[Any, Any, Any]], **options: Any) -> SingleEnv:
        """One simulation of a class of vector environments; it is not truncated unless `options` say so."""
        return cls(environment(1, **{"max_episode_steps": None, **options}))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "vector":
            raise AttributeError(name)
        return getattr(self.vector, name)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Start an episode; `options` may hold a `condition`."""
        super().reset(seed=seed)
        states, info = self.vector.reset(seed=seed, options=options)
        return states[0], _first(info)

    def step(self, action: ArrayLike) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        """Apply one action, (du,)."""
        states, rewards, terminations, truncations, info = self.vector.step(np.asarray(action)[None])
        return states[0], float(rewards[0]), bool(terminations[0]), bool(truncations[0]), _first(info)

    def close(self) -> None:
        """Release the simulation."""
        self.vector.close()


def _first(info: dict[str, Any]) -> dict[str, Any]:
    """The info of the only simulation, without the masks of who has one."""
    return {key: value[0] for key, value in info.items() if not key.startswith("_")}
