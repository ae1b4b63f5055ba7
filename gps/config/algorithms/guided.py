"""`[algorithm]` of guided policy search: mdgps, badmm, pigps, pilqrgps."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gps.config.algorithms.local import ModelBasedConfig, PI2Base, PILQRBase
from gps.config.algorithms.shared import AlgorithmBase
from gps.config.policy import PolicyConfig
from gps.config.section import Section


class GuidedBase(AlgorithmBase):
    """Keys of the algorithms that train one neural policy with local controllers."""

    warm_up: int = Field(default=0, ge=0, description="first iterations that improve only the local controllers")
    policy: PolicyConfig = PolicyConfig()


Sampling = Annotated[
    Literal["on_policy", "off_policy"],
    Field(description="collect rollouts with the policy, or with the local controllers"),
]


class MDGPSConfig(ModelBasedConfig, GuidedBase):
    """Guided policy search: local controllers in a trust region around the policy, which imitates them."""

    name: Literal["mdgps"] = "mdgps"
    sampling: Sampling = "on_policy"
    step_rule: Literal["classic", "global"] | None = Field(
        default=None,
        description="adapt the multiplier of kl_step by the local controllers' actual cost, or by the policy's; "
        "default: by the cost of the sampled player",
    )


class PenaltyConfig(Section):
    """`[algorithm.penalty]`: the weights of the KL divergence between policy and local controllers, one per step."""

    initial: float = Field(
        default=0.01, gt=0, description="first weight, in units of the mean absolute cost of a step per nat"
    )
    least: float = Field(default=1e-4, gt=0, description="lower limit")
    most: float = Field(default=1.0, gt=0, description="upper limit")
    schedule: Literal["average", "progress", "fixed"] = Field(
        default="average",
        description="average: raise a weight if its step's KL divergence is above twice the mean over time, lower it "
        "below half; progress: raise it if the divergence fell by less than 5 %, lower it if by more than 20 %; "
        "fixed: raise all",
    )
    factor: float = Field(
        default=2.0, ge=1, description="factor by which a weight is raised or lowered in an iteration"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.least <= self.initial <= self.most:
            raise ValueError(f"expected least <= initial <= most, got {self.least:g}, {self.initial:g}, {self.most:g}")
        return self


class PIGPSConfig(PI2Base, GuidedBase):
    """Guided policy search by path integrals: pi2 improves on the samples, and the policy imitates the result."""

    name: Literal["pigps"] = "pigps"
    sampling: Sampling = "on_policy"


class PILQRGPSConfig(PILQRBase, GuidedBase):
    """Guided policy search by path integrals, with pilqr in place of pi2."""

    name: Literal["pilqrgps"] = "pilqrgps"
    sampling: Sampling = "on_policy"


class BADMMConfig(ModelBasedConfig, GuidedBase):
    """Guided policy search: local controllers and policy drawn together by multipliers and penalties."""

    name: Literal["badmm"] = "badmm"
    dual_rate: float = Field(
        default=0.1, ge=0, description="step size of the Lagrange multipliers; 1: the method of multipliers"
    )
    penalty: PenaltyConfig = PenaltyConfig()
