"""Present a batch environment of one simulation as a plain Gymnasium environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from gps.environments.contract import BatchEnvironment


class SingleEnv(gymnasium.Env[NDArray[np.float64], NDArray[np.float64]]):
    """The only simulation of `vector`, without the leading dimension of a batch.

    Args:
        vector: a batch environment of one simulation.

    Attributes:
        vector: the batch environment, with its names, units and mechanics.
        state_layout: its slice of each part in the state.
        dt: its control period in seconds.

    Raises:
        ValueError: if it has another number of simulations.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, vector: BatchEnvironment) -> None:
        if vector.num_envs != 1:
            raise ValueError(f"expected a vector environment of one simulation, got {vector.num_envs}")
        self.vector, self.state_layout, self.dt = vector, vector.state_layout, vector.dt
        self.observation_space = vector.single_observation_space  # type: ignore[assignment]
        self.action_space = vector.single_action_space  # type: ignore[assignment]

    @classmethod
    def of(cls, environment: Callable[..., BatchEnvironment], **options: Any) -> SingleEnv:
        """Make one simulation of a class of batch environments; it is not truncated unless `options` set a limit."""
        return cls(environment(1, **{"max_episode_steps": None, **options}))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Start an episode; `options` may hold a `condition`."""
        super().reset(seed=seed)
        states, info = self.vector.reset(seed=seed, options=options)
        return states[0], _take_first(info)

    def step(self, action: ArrayLike) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        """Apply one action, (du,)."""
        states, rewards, terminations, truncations, info = self.vector.step(np.asarray(action)[None])
        return states[0], float(rewards[0]), bool(terminations[0]), bool(truncations[0]), _take_first(info)

    def close(self) -> None:
        """Release the simulation."""
        self.vector.close()


def _take_first(info: dict[str, Any]) -> dict[str, Any]:
    """Return the info of the only simulation, without Gymnasium's masks."""
    return {key: value[0] for key, value in info.items() if not key.startswith("_")}
