"""The whole file: an experiment."""

from typing import Annotated, Self

import tomli_w
from pydantic import BeforeValidator, Field, model_validator

from gps.config.algorithm import AlgorithmConfig, TrajOptConfig
from gps.config.cost import CostConfig, RewardCostConfig, costs
from gps.config.environment import EnvironmentConfig
from gps.config.section import ListOf, Section


class ExperimentConfig(Section):
    """An experiment."""

    description: str = Field(default="", description="for people")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="of everything random")
    environment: EnvironmentConfig = Field(description="its id, or the mjcf it is made from")
    algorithm: AlgorithmConfig = TrajOptConfig()
    cost: Annotated[ListOf[CostConfig], BeforeValidator(costs)] = Field(
        default=(RewardCostConfig(),),
        min_length=1,
        description='the sections [[cost]], which are summed; cost = "reward" for the environment\'s own reward alone',
    )

    @model_validator(mode="after")
    def _reward_exists(self) -> Self:
        if self.environment.mjcf is not None and any(isinstance(term, RewardCostConfig) for term in self.cost):
            raise ValueError("an environment.mjcf gives no reward: say what it costs in [[cost]] sections")
        return self

    def to_toml(self) -> str:
        """The file with every key resolved, those that are None left out; `parse` gives back an equal config."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))
