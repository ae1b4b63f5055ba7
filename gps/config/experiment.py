"""The whole file: an experiment."""

from typing import Annotated, Self

import tomli_w
from pydantic import BeforeValidator, Field, model_validator

from gps.config.algorithms import AlgorithmConfig
from gps.config.algorithms.local import TrajOptConfig
from gps.config.cost import CostConfig, RewardCostConfig, expand_reward
from gps.config.environment import EnvironmentConfig
from gps.config.section import ListOf, Section
from gps.config.sizes import MOST_EPISODES


class ExperimentConfig(Section):
    """An experiment."""

    description: str = Field(default="", description="free text")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="seed of all random numbers")
    environment: EnvironmentConfig = Field(description="with an id, or with mjcf")
    algorithm: AlgorithmConfig = TrajOptConfig()
    cost: Annotated[ListOf[CostConfig], BeforeValidator(expand_reward)] = Field(
        default=(RewardCostConfig(),),
        min_length=1,
        description='the sections [[cost]], which are summed; cost = "reward" for only the environment\'s reward',
    )

    @model_validator(mode="after")
    def _reward_exists(self) -> Self:
        if self.environment.mjcf is not None and any(isinstance(term, RewardCostConfig) for term in self.cost):
            raise ValueError("an environment.mjcf has no reward: define the cost in [[cost]] sections")
        return self

    @model_validator(mode="after")
    def _few_episodes(self) -> Self:
        M, N = len(self.environment.conditions), self.algorithm.samples
        if M * N > MOST_EPISODES:
            raise ValueError(
                f"{M} conditions with algorithm.samples = {N} are {M * N} episodes in an iteration, and the most are "
                f"{MOST_EPISODES}"
            )
        return self

    def to_toml(self) -> str:
        """Return the file with every key resolved, without keys that are None; `parse` returns an equal config."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))
