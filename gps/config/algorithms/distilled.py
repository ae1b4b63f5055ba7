"""`[algorithm]` of the distillation of an expert into a policy: dagger, plato."""

from typing import Literal

from pydantic import Field

from gps.config.algorithms.shared import AlgorithmBase
from gps.config.expert import ExpertConfig, PlannerExpertConfig
from gps.config.policy import PolicyConfig


class DistillationBase(AlgorithmBase):
    """Keys of the algorithms in which a policy learns from an expert."""

    memory: int = Field(
        default=10, ge=1, description="number of latest iterations whose labelled samples train the policy"
    )
    deviation: float = Field(
        default=0.1,
        gt=0,
        description="standard deviation of the actions of an expert that reports no precision, relative to their size",
    )
    imagined: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="rounds of practice in the model of an expert that is an `mbrl` run, after each iteration: the "
        "policy acts in the model, from states that the samples visited, and the planner labels what it visits",
    )
    imagined_samples: int = Field(default=20, ge=1, description="imagined episodes of each round")
    imagined_steps: int = Field(default=20, ge=1, description="their length in time steps")
    expert: ExpertConfig = PlannerExpertConfig()
    policy: PolicyConfig = PolicyConfig()


class DAggerConfig(DistillationBase):
    """A policy learns from an expert's actions in the states that the policy itself visits."""

    name: Literal["dagger"] = "dagger"
    decay: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="factor on the share of steps at which the expert acts, at each supervised step; the share begins "
        "at 1",
    )


class PLATOConfig(DistillationBase):
    """A policy learns from an expert that stays close to the policy while it collects samples."""

    name: Literal["plato"] = "plato"
    adaptation: float = Field(
        default=1.0,
        ge=0,
        description="weight of the divergence from the policy while sampling, in units of the expert's temperature",
    )
