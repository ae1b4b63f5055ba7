"""`[algorithm]` of the algorithms that act through a global model: plan in it, or train a policy through it."""

import math
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Le
from pydantic import Field, field_validator, model_validator

from gps.config.algorithms.shared import AlgorithmBase
from gps.config.controller import BasePolicyConfig
from gps.config.model import (
    DrawnModelConfig,
    GaussianProcessModelConfig,
    ModelConfig,
    MomentModelConfig,
    NeuralModelConfig,
    PlannedModelConfig,
)
from gps.config.planner import Count, ICEMPlannerConfig, ParticlesConfig, PlannerConfig
from gps.config.policy import BackpropPolicyConfig, BoundedPolicyConfig, PolicyConfig, TanhPolicyConfig
from gps.config.section import ListOf, Section


class ThroughModelBase(AlgorithmBase):
    """Keys of the algorithms that act through a model of the dynamics, and sample a base policy while there is none."""

    samples: int = Field(default=1, ge=1, description="rollouts per condition in each iteration, N")
    controller: BasePolicyConfig = BasePolicyConfig()


class MBRLConfig(ThroughModelBase):
    """Model-based reinforcement learning: plan in a global model that is learned from all samples."""

    name: Literal["mbrl"] = "mbrl"
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
    model: PlannedModelConfig = NeuralModelConfig()
    planner: PlannerConfig = ICEMPlannerConfig()

    @field_validator("version", mode="before")
    @classmethod
    def _read_number(cls, value: Any) -> Any:
        """A number is its version: `--set algorithm.version=1.5`."""
        return str(value) if isinstance(value, float) else value


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


class PolicyBackpropConfig(ThroughModelBase):
    """Version 2.0 of model-based reinforcement learning: backpropagate through a learned model into the policy."""

    name: Literal["policy_backprop"] = "policy_backprop"
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


class PILCOConfig(ThroughModelBase):
    """PILCO: a policy optimised by its expected cost in a Gaussian process, whose doubt it avoids."""

    name: Literal["pilco"] = "pilco"
    iterations: int = Field(default=5, ge=1, description="number of iterations: sample, fit, improve")
    start_deviation: float = Field(
        default=0.1,
        ge=0,
        description="standard deviation of the start in the model, in deviations of each entry of the state in the "
        "data of the first model; a larger one that is seen takes its place",
    )
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


class ParticlePolicyConfig(TanhPolicyConfig):
    """`[algorithm.policy]`: the policy that particles judge."""

    features: int = Field(default=100, ge=1, le=10_000, description='number of radial basis functions of "rbf"')
    spread: float = Field(
        default=0.5, gt=0, description='standard deviation of the first weights of "rbf", before the squashing'
    )


class MCPILCOConfig(ThroughModelBase):
    """A policy is optimised through the model by particles, each of which follows a function drawn from it."""

    name: Literal["mc_pilco"] = "mc_pilco"
    model: DrawnModelConfig = GaussianProcessModelConfig()
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
        if not self.optimiser.first_starts and self.planner is None and self.controller.initial.name == "zero":
            raise ValueError(
                "optimiser.first_starts = 0: without a planner, and a feedback in controller.initial, the first policy "
                "begins at random"
            )
        return self
