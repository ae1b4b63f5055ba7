"""`[algorithm]` of the optimisers of local controllers: trajopt, pi2, pilqr."""

from typing import Literal, Self

from pydantic import Field, model_validator

from gps.config.algorithms.shared import AlgorithmBase
from gps.config.dynamics import DynamicsConfig
from gps.config.section import Section


class StepMultiplierConfig(Section):
    """`[algorithm.step_multiplier]`: the factor on `kl_step`, adapted by predicted against actual improvement."""

    initial: float = Field(default=1.0, gt=0, description="value in the first iteration")
    min: float = Field(default=0.1, gt=0, description="lower limit")
    max: float = Field(
        default=1.0, gt=0, description="upper limit; above 1, updates grow while the improvement is as predicted"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min <= self.initial <= self.max:
            raise ValueError(f"expected min <= initial <= max, got {self.min:g}, {self.initial:g}, {self.max:g}")
        return self


class LongerStepConfig(StepMultiplierConfig):
    """`[algorithm.step_multiplier]` where steps may grow while updates turn out as predicted."""

    max: float = Field(default=2.0, gt=0, description="upper limit")


class BoundedConfig(AlgorithmBase):
    """Keys of the algorithms that keep an update near the last controllers."""

    kl_step: float = Field(
        default=1.0, ge=1e-9, le=1e6, description="bound on the KL divergence of an update, in nats per time step"
    )
    step_multiplier: StepMultiplierConfig = StepMultiplierConfig()


class ModelBasedConfig(BoundedConfig):
    """Keys of the algorithms that optimise under a local model inside a trust region."""

    constraint: Literal["total", "per_step"] = Field(
        default="total", description="bound the KL divergence of the whole trajectory, or of each time step"
    )
    solver: Literal["secant", "gradient"] = Field(
        default="secant",
        description="search for the dual variable: safeguarded secant in log eta, or dual gradient ascent",
    )
    entropy: float = Field(
        default=1e-3, ge=0, description="temperature of the entropy bonus, relative to the scale of the cost"
    )
    dynamics: DynamicsConfig = DynamicsConfig()


class SampleBasedConfig(BoundedConfig):
    """Keys of the algorithms that weight samples by their cost. They learn from the noise of the actions."""

    @model_validator(mode="after")
    def _explores(self) -> Self:
        execute, noise = self.controller.execute, self.controller.noise
        if execute in ("open_loop", "feedback") or (execute == "fixed_noise" and noise == 0):
            raise ValueError(f'{self.name} learns from noise, and controller.execute = "{execute}" has none')
        return self


class TrajOptConfig(ModelBasedConfig):
    """The local-model trajectory optimiser: maximum-entropy LQR inside a KL trust region."""

    name: Literal["trajopt"] = "trajopt"
    step_multiplier: LongerStepConfig = LongerStepConfig()
    imagined: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="iterations in the prior's model after each one on the system, and before the first one if the "
        "model is a stored one; the prior must be a global model",
    )
    imagined_samples: int = Field(default=5, ge=2, description="samples of each imagined iteration")
    imagined_fit: Literal["slopes", "samples"] = Field(
        default="slopes",
        description="local dynamics of imagined episodes: the model's slopes along their mean, or a regression on the "
        "samples under a mixture, which smooths contacts",
    )


Feedback = Literal["keep", "zero"]


class PI2Base(SampleBasedConfig):
    """Keys of the algorithms that weight samples and use no model."""

    covariance_damping: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="share of the old covariance in the new one; the weighted samples give the rest",
    )
    covariance_floor: float = Field(
        default=0.1, gt=0, le=1, description="smallest standard deviation, relative to the first controllers'"
    )
    temperature: float | None = Field(
        default=None,
        gt=0,
        description="fixed temperature of the weights, relative to the range of a step's costs-to-go; default: chosen "
        "so that the KL divergence of the weights is within kl_step",
    )


class PI2Config(PI2Base):
    """Path integral policy improvement: weights samples by their cost from each step on, without a model."""

    name: Literal["pi2"] = "pi2"
    feedback: Feedback = Field(
        default="keep", description="feedback gains: keep the first controllers' gains, or use none"
    )


class PILQRBase(ModelBasedConfig, SampleBasedConfig):
    """Keys of the algorithms that weight samples by the cost that a local model does not explain."""

    covariance_damping: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share of the local model's covariance in the new one; the weighted samples give the rest",
    )
    covariance_floor: float = Field(
        default=0.1, gt=0, le=1, description="smallest standard deviation, relative to the local model's"
    )
    residual_share: float | None = Field(
        default=None,
        ge=0,
        le=0.99,
        description="share of kl_step for the samples' residual cost; default: the residual's share of the spread of "
        "the samples' costs, at most 0.99",
    )


class PILQRConfig(PILQRBase):
    """trajopt for the part of the cost that the local model explains, then pi2 for the rest."""

    name: Literal["pilqr"] = "pilqr"
