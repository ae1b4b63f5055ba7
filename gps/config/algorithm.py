"""`[algorithm]`: the algorithm and its settings. One model per algorithm; base classes hold shared keys."""

import math
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Le
from pydantic import Field, model_validator

from gps.config.controller import BasePolicyConfig, ControllerConfig
from gps.config.dynamics import DynamicsConfig
from gps.config.expert import ExpertConfig, PlannerExpertConfig
from gps.config.model import (
    GaussianProcessModelConfig,
    ModelConfig,
    MomentModelConfig,
    NeuralModelConfig,
    PlannedModelConfig,
)
from gps.config.planner import Count, ICEMPlannerConfig, ParticlesConfig, PlannerConfig
from gps.config.policy import BackpropPolicyConfig, BoundedPolicyConfig, PolicyConfig
from gps.config.section import ListOf, Section, plugin_names, usual_name


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
    """The same, for algorithms whose steps may grow while updates turn out as predicted."""

    max: float = Field(default=2.0, gt=0, description="upper limit")


OnTrouble = Literal["continue", "stop"]


class AlgorithmBase(Section):
    """Keys of all algorithms."""

    name: str
    options: dict[str, Any] = Field(default={}, description="additional keys for an algorithm from another package")
    iterations: int = Field(default=10, ge=1, description="number of iterations: sample, fit, improve")
    samples: int = Field(default=5, ge=1, description="rollouts per condition in each iteration, N")
    on_trouble: OnTrouble = Field(
        default="continue",
        description="after an iteration in which a condition got no new controller, all episodes of a condition "
        "failed, or the policy's training failed: continue with the rest, or stop the run",
    )
    controller: ControllerConfig = ControllerConfig()


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
        description="iterations in the prior's model after each one on the system; the prior must be a global model",
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


class MBRLConfig(AlgorithmBase):
    """Model-based reinforcement learning: plan in a global model that is learned from all samples."""

    name: Literal["mbrl"] = "mbrl"
    samples: int = Field(default=1, ge=1, description="rollouts per condition in each iteration, N")
    version: Literal["0.5", "1.0", "1.5"] = Field(
        default="1.5",
        description="0.5: learn from the base policy's samples alone; 1.0: add the samples of the plans, each of "
        "which is followed to its end; 1.5: and replan at every step, or as planner.every says",
    )
    base_iterations: int = Field(
        default=1,
        ge=0,
        description="first iterations that sample the base policy, which is controller.initial; none where the "
        "model is the simulator",
    )
    noise: float = Field(
        default=0.0,
        ge=0,
        description="standard deviation of the noise on the planned actions, relative to half their range",
    )
    controller: BasePolicyConfig = BasePolicyConfig()
    model: PlannedModelConfig = NeuralModelConfig()
    planner: PlannerConfig = ICEMPlannerConfig()


class PathIntegralSearchConfig(ParticlesConfig):
    """`[algorithm.search]`: the search by MPPI in each state that the policy visits."""

    samples: Count = Field(default=128, description="sequences of actions in each round, around the plan so far")
    rounds: Count = Field(
        default=3, description="rounds of a search, the first around the policy's own plan: draw, evaluate, move"
    )
    horizon: int = Field(default=20, ge=1, description="length of a sequence in time steps; it ends with the episode")
    spread: float = Field(
        default=0.3, gt=0, description="standard deviation of the noise, relative to half the range of an action"
    )
    beta: float = Field(default=1.0, ge=0, le=10, description="exponent of the noise's spectrum; 0: white noise")
    particles: int = Field(
        default=3, ge=1, le=10_000, description="predictions of each sequence, each by a function drawn from the model"
    )


class MPPIGPSConfig(AlgorithmBase):
    """Guided policy search through a model: path integrals improve on the policy in each state that it visits."""

    name: Literal["mppigps"] = "mppigps"
    kl_step: float = Field(
        default=3.0,
        ge=1e-9,
        description="KL divergence of the weights of a round's sequences from equal weights, in nats; below the "
        "logarithm of their number",
    )
    policy_weight: float = Field(
        default=0.01,
        ge=0,
        description="weight of the policy's log-probability in the cost of a sequence, in units of the mean absolute "
        "cost of a step per nat; 0: ignore it",
    )
    controller: BasePolicyConfig = BasePolicyConfig()
    model: ModelConfig = NeuralModelConfig()
    search: PathIntegralSearchConfig = PathIntegralSearchConfig()
    policy: PolicyConfig = PolicyConfig()

    @model_validator(mode="after")
    def _attainable(self) -> Self:
        most = math.log(self.search.samples)
        if self.kl_step >= most:
            raise ValueError(
                f"kl_step = {self.kl_step:g} is not below the logarithm of search.samples, {most:.3g}: a single "
                "sequence would decide"
            )
        return self


class ValueConfig(Section):
    """`[algorithm.value]`: the value of the states in which truncated imagined episodes end."""

    steps: int | None = Field(
        default=None,
        ge=1,
        description="length of the imagined episodes that it learns from, in time steps; default: to the end",
    )
    decay: float = Field(
        default=0.95, ge=0, le=1, description="lambda of the returns: 1 for Monte-Carlo, 0 for one-step targets"
    )
    hidden: ListOf[Annotated[int, Ge(1), Le(10_000)]] = Field(
        default=(64, 64), max_length=100, description="units of each hidden layer"
    )
    fit_steps: int = Field(default=1500, ge=1, description="largest number of mini-batches of a fit")


class PolicyBackpropConfig(AlgorithmBase):
    """Version 2.0 of model-based reinforcement learning: backpropagate through a learned model into the policy."""

    name: Literal["policy_backprop"] = "policy_backprop"
    samples: int = Field(default=1, ge=1, description="rollouts per condition in each iteration, N")
    base_iterations: int = Field(
        default=1, ge=1, description="first iterations that sample the base policy, which is controller.initial"
    )
    optimiser: Literal["natural", "adam"] = Field(
        default="natural", description="natural: the natural gradient's step within kl_step; adam: Adam's steps"
    )
    kl_step: float = Field(
        default=0.05, ge=1e-9, description="bound on the KL divergence of an update by the natural gradient, nats"
    )
    learning_rate: float = Field(default=3e-3, gt=0, description="learning rate of Adam")
    rounds: int = Field(
        default=1, ge=1, description="rounds in an iteration; each learns the value anew where episodes are truncated"
    )
    updates: int | None = Field(
        default=None, ge=1, description="updates of the policy in a round; default: 20 natural ones, or 200 by Adam"
    )
    noise: float = Field(
        default=0.2,
        gt=0,
        description="standard deviation of the policy's noise while sampling, relative to half the range of an action",
    )
    episodes: int = Field(default=50, ge=1, le=100_000, description="imagined episodes of each gradient")
    functions: int = Field(
        default=5, ge=1, le=10_000, description="functions drawn from the model for each gradient, one for each episode"
    )
    propagation: Literal["ts_infinity", "mean"] = Field(
        default="ts_infinity",
        description="ts_infinity: an imagined episode keeps a drawn function; mean: all follow the model's mean",
    )
    truncation: int | None = Field(
        default=None,
        ge=1,
        description="length of an imagined episode in time steps, after which a learned value counts; default: to the "
        "end of the episode, without a value",
    )
    visited: float = Field(
        default=0.5, ge=0, le=1, description="share of the imagined episodes that begin in a visited state, not a start"
    )
    memory: int = Field(default=10, ge=1, description="last iterations whose states are visited states")
    clip: float = Field(
        default=1.0,
        gt=0,
        description="largest slope that flows back through a state of an imagined episode, in costs of such an episode "
        "per standard deviation of the state",
    )
    controller: BasePolicyConfig = BasePolicyConfig()
    model: ModelConfig = NeuralModelConfig()
    value: ValueConfig = ValueConfig()
    policy: BackpropPolicyConfig = BackpropPolicyConfig()


class PolicyOptimiserConfig(Section):
    """`[algorithm.optimiser]`: L-BFGS on the policy's parameters."""

    iterations: int = Field(default=150, ge=1, le=100_000, description="largest number of iterations of a search")
    restarts: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="searches from fresh policies besides the one from the last policy; each core does one at a time",
    )


class PILCOConfig(AlgorithmBase):
    """PILCO: a policy optimised by its expected cost in a Gaussian process, whose doubt it avoids."""

    name: Literal["pilco"] = "pilco"
    iterations: int = Field(default=5, ge=1, description="number of iterations: sample, fit, improve")
    samples: int = Field(default=1, ge=1, description="rollouts per condition in each iteration, N")
    start_deviation: float = Field(
        default=0.1,
        ge=0,
        description="standard deviation of the start in the model, in deviations of each entry of the state in the "
        "data of the first model; a larger one that is seen takes its place",
    )
    controller: BasePolicyConfig = BasePolicyConfig()
    model: MomentModelConfig = GaussianProcessModelConfig()
    policy: BoundedPolicyConfig = BoundedPolicyConfig()
    optimiser: PolicyOptimiserConfig = PolicyOptimiserConfig()
    planner: PlannerConfig | None = Field(
        default=None, description="planner whose plans one more search begins at; default: no such search"
    )


class PolicyParticlesConfig(Section):
    """`[algorithm.particles]`: the imagined episodes by which a policy is judged."""

    count: int = Field(
        default=64, ge=1, le=100_000, description="imagined episodes, each under a function drawn from the model"
    )
    spread: float = Field(
        default=0.01,
        ge=0,
        description="standard deviation of their starts around those of the conditions, relative to that of the data",
    )
    noise: bool | None = Field(
        default=None,
        description="true: the model's noise moves the particles too; false: it is that of the sensors; default: true "
        "where environment.noise declares none of the sensors",
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description='probability that a feature of an "rbf" policy is left out at a step'
    )


class ParticleOptimiserConfig(Section):
    """`[algorithm.optimiser]`: the search for the policy's parameters."""

    method: Literal["adam", "lbfgs"] = Field(
        default="adam", description="adam: a step for each draw of the imagined episodes; lbfgs: a round for each"
    )
    steps: int = Field(default=300, ge=1, le=100_000, description="steps of adam")
    learning_rate: float = Field(default=0.05, gt=0, description="learning rate of adam; it falls in the second half")
    rounds: int = Field(default=8, ge=1, le=1000, description="rounds of lbfgs, each with a draw of its own")
    iterations: int = Field(default=20, ge=1, description="iterations in a round of lbfgs")
    first_starts: int = Field(
        default=2, ge=0, le=1000, description="random policies to start from while there is no policy yet"
    )
    starts: int = Field(default=0, ge=0, le=1000, description="random policies to start from beside the last policy")
    threads: int | None = Field(default=None, ge=1, description="searches at the same time; default: one per core")


class ParticlePolicyConfig(BoundedPolicyConfig):
    """`[algorithm.policy]`: the policy that particles judge."""

    features: int = Field(default=100, ge=1, le=10_000, description='number of radial basis functions of "rbf"')
    squash: Literal["sine", "tanh", "none"] | None = Field(
        default=None,
        description='what keeps the actions within their limits: "tanh", "sine" 9/8 sin f + 1/8 sin 3f, or "none"; '
        'default: "tanh" where all actions have limits',
    )
    spread: float = Field(
        default=0.5, gt=0, description='standard deviation of the first weights of "rbf", before the squashing'
    )


class MCPILCOConfig(AlgorithmBase):
    """A policy is optimised through the model by particles, each of which follows a function drawn from it."""

    name: Literal["mc_pilco"] = "mc_pilco"
    samples: int = Field(default=1, ge=1, description="rollouts per condition in each iteration, N")
    controller: BasePolicyConfig = BasePolicyConfig()
    model: ModelConfig = GaussianProcessModelConfig()
    policy: ParticlePolicyConfig = ParticlePolicyConfig()
    particles: PolicyParticlesConfig = PolicyParticlesConfig()
    optimiser: ParticleOptimiserConfig = ParticleOptimiserConfig()
    planner: PlannerConfig | None = Field(
        default=None, description="planner whose plans the first policy imitates; default: the policy begins at random"
    )
    planned_iterations: int = Field(
        default=0, ge=0, description="iterations that sample the planner's plans, before the policy"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.particles.dropout and self.policy.network != "rbf":
            raise ValueError(
                f'particles.dropout leaves out features of "rbf", and policy.network is "{self.policy.network}"'
            )
        if self.planned_iterations and self.planner is None:
            raise ValueError("planned_iterations: there is no planner; set algorithm.planner")
        if not self.optimiser.first_starts and self.planner is None:
            raise ValueError("optimiser.first_starts = 0: without a planner the first policy begins at random")
        return self


class PluginAlgorithmConfig(ModelBasedConfig, GuidedBase):
    """An algorithm from another package, by the name of its entry point in the group `gps.algorithms`.

    It may use the sections of all families: local model and trust region, policy, expert.
    """

    name: Literal["plugin"] = "plugin"
    plugin: str = Field(min_length=1, description="the name of the entry point; its own keys are options")
    expert: ExpertConfig | None = Field(default=None, description="the expert of an algorithm that has one")


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
        | MBRLConfig
        | PolicyBackpropConfig
        | PILCOConfig
        | MCPILCOConfig
        | MPPIGPSConfig
        | PluginAlgorithmConfig,
        Field(discriminator="name"),
    ],
    plugin_names(
        "gps.algorithms", tuple(key for key in PluginAlgorithmConfig.model_fields if key not in ("name", "plugin"))
    ),
    usual_name("trajopt"),
    Field(description="the algorithm and its settings"),
]
"""`[algorithm]`."""
