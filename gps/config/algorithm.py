"""`[algorithm]`: how the controllers are improved. One model per algorithm, made of what several share."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gps.config.controller import ControllerConfig
from gps.config.dynamics import DynamicsConfig
from gps.config.expert import ExpertConfig, PlannerExpertConfig
from gps.config.policy import PolicyConfig
from gps.config.section import Section, named, plugged


class StepMultiplierConfig(Section):
    """`[algorithm.step_multiplier]`: the factor on `kl_step` that follows predicted against actual improvement."""

    initial: float = Field(default=1.0, gt=0, description="in the first iteration")
    min: float = Field(default=0.1, gt=0, description="never below")
    max: float = Field(
        default=1.0, gt=0, description="never above; more than 1 lets updates grow that came as predicted"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min <= self.initial <= self.max:
            raise ValueError(f"expected min <= initial <= max, got {self.min:g}, {self.initial:g}, {self.max:g}")
        return self


OnTrouble = Literal["continue", "stop"]


class AlgorithmBase(Section):
    """What all algorithms share."""

    name: str
    options: dict[str, Any] = Field(default={}, description="further keys for the algorithm of another package")
    iterations: int = Field(default=10, ge=1, description="how often to sample, fit and improve")
    samples: int = Field(default=5, ge=1, description="rollouts of each condition in an iteration, N")
    on_trouble: OnTrouble = Field(
        default="continue",
        description="what follows an iteration in which a condition got no new controller or each of its episodes "
        "failed, or in which the policy's training did not end well: go on with what was good, or stop the run",
    )
    controller: ControllerConfig = ControllerConfig()


class BoundedConfig(AlgorithmBase):
    """What the algorithms share that keep an update near the last controllers."""

    kl_step: float = Field(default=1.0, gt=0, description="bound on the KL divergence of an update, nats per time step")
    step_multiplier: StepMultiplierConfig = StepMultiplierConfig()


class ModelBasedConfig(BoundedConfig):
    """What the algorithms share that optimise under a local model inside a trust region."""

    constraint: Literal["total", "per_step"] = Field(
        default="total", description="bound the KL of the whole trajectory, or that of each time step"
    )
    solver: Literal["secant", "gradient"] = Field(
        default="secant",
        description="search for the dual variable: safeguarded secant in log eta, or the lecture's gradient",
    )
    entropy: float = Field(
        default=1e-3, ge=0, description="temperature of the entropy bonus, relative to the scale of the cost"
    )
    dynamics: DynamicsConfig = DynamicsConfig()


class SampleBasedConfig(BoundedConfig):
    """What the algorithms share that weigh samples by what they cost: they learn from the noise of the actions."""

    @model_validator(mode="after")
    def _explores(self) -> Self:
        execute, noise = self.controller.execute, self.controller.noise
        if execute in ("open_loop", "feedback") or (execute == "fixed_noise" and noise == 0):
            raise ValueError(f'{self.name} learns from noise, and controller.execute = "{execute}" has none')
        return self


class TrajOptConfig(ModelBasedConfig):
    """The local-model trajectory optimiser: maximum-entropy LQR inside a KL trust region."""

    name: Literal["trajopt"] = "trajopt"


Feedback = Literal["keep", "zero"]


class PI2Base(SampleBasedConfig):
    """What weighs samples without any model."""

    covariance_damping: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="share of the old covariance in the new one; the weighed samples give the rest",
    )
    covariance_floor: float = Field(
        default=0.1, gt=0, le=1, description="smallest standard deviation, relative to the first controllers'"
    )
    temperature: float | None = Field(
        default=None,
        gt=0,
        description="of the weights, fixed, relative to the range of a step's costs-to-go; default: the one that keeps "
        "their KL divergence within kl_step",
    )


class PI2Config(PI2Base):
    """Path integral policy improvement: no model, the samples are weighed by what they cost from each step on."""

    name: Literal["pi2"] = "pi2"
    feedback: Feedback = Field(
        default="keep", description="gains: those of the first controllers throughout, or none"
    )


class PILQRBase(ModelBasedConfig, SampleBasedConfig):
    """What weighs samples by the cost that a local model does not explain."""

    covariance_damping: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share of the local model's covariance in the new one; the weighed samples give the rest",
    )
    covariance_floor: float = Field(
        default=0.1, gt=0, le=1, description="smallest standard deviation, relative to the local model's"
    )
    residual_share: float | None = Field(
        default=None,
        ge=0,
        le=0.99,
        description="share of kl_step that is left to the samples' residual cost; default: the residual's share of the "
        "spread of the samples' costs, at most 0.99",
    )


class PILQRConfig(PILQRBase):
    """trajopt for what the local model explains of the cost, then pi2 for the rest."""

    name: Literal["pilqr"] = "pilqr"


class GuidedBase(AlgorithmBase):
    """What the algorithms share that train one neural policy by local controllers."""

    warm_up: int = Field(
        default=0, ge=0, description="iterations at the start that improve the local controllers alone"
    )
    policy: PolicyConfig = PolicyConfig()


Sampling = Annotated[
    Literal["on_policy", "off_policy"],
    Field(description="whose rollouts are taken: the policy's, or the local controllers'"),
]


class MDGPSConfig(ModelBasedConfig, GuidedBase):
    """Guided policy search: local controllers inside a trust region around the policy, which imitates them."""

    name: Literal["mdgps"] = "mdgps"
    sampling: Sampling = "on_policy"
    step_rule: Literal["classic", "global"] | None = Field(
        default=None,
        description="the multiplier of kl_step follows what became of the local controllers' cost, or of the policy's; "
        "default: of what is sampled",
    )


class PenaltyConfig(Section):
    """`[algorithm.penalty]`: the weights of the divergence between policy and local controllers, one for each step."""

    initial: float = Field(default=0.01, gt=0, description="in units of the mean absolute cost of a step, per nat")
    least: float = Field(default=1e-4, gt=0, description="never below")
    most: float = Field(default=1.0, gt=0, description="never above")
    schedule: Literal["average", "progress", "fixed"] = Field(
        default="average",
        description="raised where the KL divergence is above twice its mean over time, lowered below half of it; or "
        "raised where it did not fall by 5 %, lowered where it fell by 20 %; or all raised",
    )
    factor: float = Field(default=2.0, ge=1, description="by which a weight is raised or lowered in an iteration")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.least <= self.initial <= self.most:
            raise ValueError(f"expected least <= initial <= most, got {self.least:g}, {self.initial:g}, {self.most:g}")
        return self


class PIGPSConfig(PI2Base, GuidedBase):
    """Guided policy search by path integrals: the policy imitates what pi2 makes of its own samples."""

    name: Literal["pigps"] = "pigps"
    sampling: Sampling = "on_policy"


class PILQRGPSConfig(PILQRBase, GuidedBase):
    """The same with pilqr in place of pi2."""

    name: Literal["pilqrgps"] = "pilqrgps"
    sampling: Sampling = "on_policy"


class BADMMConfig(ModelBasedConfig, GuidedBase):
    """Guided policy search: local controllers and policy drawn together by multipliers and penalties."""

    name: Literal["badmm"] = "badmm"
    dual_rate: float = Field(default=0.1, ge=0, description="of the Lagrange multipliers; 1: the method of multipliers")
    penalty: PenaltyConfig = PenaltyConfig()


class DistillationBase(AlgorithmBase):
    """What the algorithms share that let a policy learn from an expert."""

    memory: int = Field(default=10, ge=1, description="iterations whose labelled samples the policy learns from")
    deviation: float = Field(
        default=0.1,
        gt=0,
        description="standard deviation of the actions of an expert that tells none, relative to their size",
    )
    expert: ExpertConfig = PlannerExpertConfig()
    policy: PolicyConfig = PolicyConfig()


class DAggerConfig(DistillationBase):
    """A policy learns from an expert what to do in the states that it gets into itself."""

    name: Literal["dagger"] = "dagger"
    decay: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="factor of the share of steps at which the expert acts, 1 at first, with each supervised step",
    )


class PLATOConfig(DistillationBase):
    """A policy learns from an expert that acts much as the policy would."""

    name: Literal["plato"] = "plato"
    adaptation: float = Field(
        default=1.0,
        ge=0,
        description="weight of the divergence from the policy in what acts, in units of the expert's temperature",
    )


class PluginAlgorithmConfig(ModelBasedConfig, GuidedBase):
    """An algorithm of another package, by the name of its entry point in the group `gps.algorithms`.

    It may use the sections of all families: local model and trust region, policy, expert.
    """

    name: Literal["plugin"] = "plugin"
    plugin: str = Field(min_length=1, description="the name of the entry point; its own keys are options")
    expert: ExpertConfig | None = None


AlgorithmConfig = Annotated[
    Annotated[
        TrajOptConfig
        | PI2Config
        | PILQRConfig
        | MDGPSConfig
        | BADMMConfig
        | PIGPSConfig
        | PILQRGPSConfig
        | DAggerConfig
        | PLATOConfig
        | PluginAlgorithmConfig,
        Field(discriminator="name"),
    ],
    plugged("gps.algorithms", tuple(key for key in PluginAlgorithmConfig.model_fields if key not in ("name", "plugin"))),
    named("trajopt"),
    Field(description="how the controllers are improved"),
]
"""`[algorithm]`."""
