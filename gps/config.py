"""An experiment file: `experiment.toml` read, validated and typed. One frozen model per section.

The models below are the reference of the format: every key, its default, its unit. Only `[environment]` (an `id` or an
`mjcf`) must be there. `load` reads a file; `--set section.key=value` overrides go through the same
validation. What is wrong is said in one line each, with the file (or the override), the key, what was expected, and the
nearest known key.
"""

import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import tomli_w
from annotated_types import Ge
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from gps import plugins
from gps.errors import ConfigError, nearest
from gps.validation import KeyPath, PluggedNames, UsualName, explain, kinds_at, usual_at

FILE_NAME = "experiment.toml"
MAX_BYTES = 1 << 20
"""A larger experiment file is refused."""

Item = TypeVar("Item")
ListOf = Annotated[tuple[Item, ...], Strict(False)]  # TOML has lists; a frozen model holds them as tuples
NonNegative = Annotated[float, Ge(0)]


class Section(BaseModel):
    """Base of all sections: no conversions but integer to number, no unknown keys, no NaN or infinity, immutable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def _named(default: str) -> UsualName:
    """Lets a table that may be of several kinds omit its `name`."""
    return UsualName(lambda table: {"name": default, **table} if isinstance(table, dict) else table, usual=default)


def _plugged(group: str, common: Sequence[str] = ()) -> PluggedNames:
    """Lets a table have the `name` of another package's entry point; its keys but the `common` ones are options."""

    def rewrite(table: Any) -> Any:
        name = table.get("name") if isinstance(table, dict) else None
        if not isinstance(name, str) or name == "plugin" or name not in plugins.names(group):
            return table
        shared = {key: table[key] for key in common if key in table}
        options = {key: value for key, value in table.items() if key not in ("name", *common)}
        options |= shared.pop("options", {})
        return {**shared, "name": "plugin", "plugin": name, "options": options}

    return PluggedNames(rewrite, names=lambda: plugins.names(group))


# -- [environment] ---------------------------------------------------------------------------------------------------


def _seeds(value: object) -> object:
    """M conditions that differ in their seed alone, where a file gives their number."""
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    if value < 1:
        raise ValueError(f"expected a list of tables, or how many seeds: an integer >= 1, got {value}")
    return [{"seed": seed} for seed in range(value)]


Limit = float | ListOf[float]


class EnvironmentConfig(Section):
    """`[environment]`: what is controlled. Either `id` or `mjcf`."""

    id: str | None = Field(
        default=None,
        min_length=1,
        description='a Gymnasium id, "package.module:Env-v0" to import the module first, or "task:Class" from task.py',
    )
    mjcf: str | None = Field(
        default=None, min_length=1, description="path of a MuJoCo model, relative to the experiment's directory"
    )
    state: ListOf[str] | None = Field(
        default=None,
        description="parts of the state, in order; default: the environment's own (a Gymnasium environment's parts are "
        '"observation" or the keys of its Dict, or some entries of one: "observation[0,2]")',
    )
    observation: ListOf[str] | None = Field(
        default=None,
        min_length=1,
        description="parts of what a policy sees, in order, where that is not the state, which the local controllers "
        "see; default: the state, or the key `observation` of a Dict whose other key is `state`",
    )
    image_size: ListOf[int] | None = Field(
        default=None,
        description="width and height of pictures in the observation, pixels; default: 64 x 64",
    )
    frame_skip: int | None = Field(
        default=None, ge=1, description="physics steps per time step; default: the environment's own"
    )
    horizon: int | None = Field(
        default=None, ge=2, description="time steps of a rollout, T; default: the environment's own"
    )
    conditions: Annotated[ListOf[dict[str, Any]], BeforeValidator(_seeds)] = Field(
        default=({},),
        min_length=1,
        description="the M initial situations: one table each, in the environment's terms; in a Gymnasium environment "
        "`seed` (default 0) and the options of its reset. A number M stands for the seeds 0 to M - 1",
    )
    test_conditions: ListOf[dict[str, Any]] = Field(
        default=(),
        description="initial situations that nothing is trained on, for policies that are to carry over to them. A "
        "number K stands for the K seeds that follow those of `conditions`",
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        description="threads of the physics, or processes that a Gymnasium environment's simulations are spread over; "
        "1: in this process, without step_timeout; default: $GPS_THREADS, else every CPU. No result depends on it",
    )
    options: dict[str, Any] = Field(
        default={}, description="further keyword arguments of the environment's constructor"
    )
    step_timeout: float = Field(
        default=60.0,
        gt=0,
        description="seconds after which a Gymnasium environment that has not finished a step is killed, which ends "
        "the run; its making and resets may take as long, or 60",
    )
    sampling: Literal["batch", "one_at_a_time"] = Field(
        default="batch",
        description="as many simulations as there are samples in an iteration, or one of them: a robot exists once",
    )
    confirm_reset: bool = Field(
        default=False, description='ask on the terminal before each reset; needs sampling = "one_at_a_time"'
    )
    action_limits: ListOf[Limit] | None = Field(
        default=None,
        description="lowest and highest action, tighter than the environment's; each a number, or one per action",
    )
    abort: str | None = Field(
        default=None,
        min_length=1,
        description="a function of task.py, abort(state, action, t), that is asked after each step with the new state; "
        "true or a sentence ends the episode, and what was sampled until then is kept",
    )

    @field_validator("test_conditions", mode="before")
    @classmethod
    def _following_seeds(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, int) or isinstance(value, bool):
            return value
        if value < 1:
            raise ValueError(f"expected a list of tables, or how many seeds: an integer >= 1, got {value}")
        seeds = [seed for one in info.data.get("conditions", ()) if type(seed := one.get("seed")) is int]
        first = max(seeds, default=-1) + 1
        return [{"seed": seed} for seed in range(first, first + value)]

    @model_validator(mode="after")
    def _unseen(self) -> Self:
        for i, condition in enumerate(self.test_conditions):
            if condition in self.conditions:
                m = self.conditions.index(condition)
                raise ValueError(f"test_conditions.{i}: {condition} is trained on: it is conditions.{m} as well")
        return self

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.id is None) == (self.mjcf is None):
            raise ValueError(f"give either id or mjcf, got {'neither' if self.id is None else 'both'}")
        return self

    @model_validator(mode="after")
    def _picture(self) -> Self:
        if self.image_size is not None and not (
            len(self.image_size) == 2 and all(1 <= n <= 1024 for n in self.image_size)
        ):
            raise ValueError(f"image_size: expected [width, height], each 1 to 1024, got {list(self.image_size)}")
        return self

    @model_validator(mode="after")
    def _robot(self) -> Self:
        if self.action_limits is not None and len(self.action_limits) != 2:
            raise ValueError(f"action_limits: expected [lowest, highest], got {len(self.action_limits)} entries")
        if self.confirm_reset and self.sampling != "one_at_a_time":
            raise ValueError('confirm_reset asks before each reset, which needs sampling = "one_at_a_time"')
        return self


# -- [algorithm.dynamics] --------------------------------------------------------------------------------------------


class MixtureConfig(Section):
    """A Gaussian mixture over [x; u; x'] of all conditions."""

    clusters: int = Field(default=20, ge=1, description="at most this many")
    points_per_cluster: int = Field(
        default=40, ge=1, description="fewer clusters are used while there are fewer points for each"
    )
    memory: int = Field(default=2, ge=1, description="iterations whose samples the mixture is fitted to")
    em_steps: int = Field(default=5, ge=1, description="steps of expectation-maximisation in each iteration")
    max_points: int = Field(default=4000, ge=1, description="the mixture is fitted to at most this many, evenly spread")


class MixturePriorConfig(MixtureConfig):
    """A Gaussian mixture as the prior of the fit at each time step."""

    name: Literal["gmm"] = "gmm"
    strength: float = Field(default=1.0, ge=0, description="pseudo-count of the prior, in samples")


class NoPriorConfig(Section):
    """No prior: each time step is fitted to its own samples alone."""

    name: Literal["none"] = "none"


class PluginPriorConfig(Section):
    """A prior of another package, by the name of its entry point in the group `gps.dynamics`."""

    name: Literal["plugin"] = "plugin"
    plugin: str = Field(min_length=1, description="the name of the entry point; its own keys may stand beside `name`")
    options: dict[str, Any] = Field(default={}, description="keyword arguments of what makes it")


class DynamicsConfig(Section):
    """`[algorithm.dynamics]`: how the local dynamics are fitted."""

    fit: Literal["bayesian", "least_squares"] = Field(
        default="bayesian",
        description="under the prior (version 2.0 of the lecture), or by linear regression (version 1.0)",
    )
    ridge: float = Field(
        default=1e-6, ge=0, description="added to the covariance of [x; u], relative to each dimension's spread"
    )
    center: Literal["posterior", "sample"] = Field(
        default="posterior", description="the point that the model passes through: posterior mean or samples' mean"
    )
    prior: Annotated[
        Annotated[MixturePriorConfig | NoPriorConfig | PluginPriorConfig, Field(discriminator="name")],
        _plugged("gps.dynamics"),
        _named("gmm"),
        Field(description="what is believed before the samples of a time step are seen"),
    ] = MixturePriorConfig()


# -- [algorithm.controller] ------------------------------------------------------------------------------------------


class LQRInitialConfig(Section):
    """The LQR controller about the start, under assumed double-integrator dynamics."""

    name: Literal["lqr"] = "lqr"
    stiffness: float = Field(default=1.0, ge=0, description="weight of the deviation of the positions")
    damping: float = Field(default=0.5, ge=0, description="weight of the velocities, relative to `stiffness`")
    gain: float | ListOf[float] = Field(
        default=1.0, description="acceleration per unit of action; a list gives one per action"
    )
    noise: float = Field(
        default=1.0, gt=0, description="largest standard deviation of the noise at the first step, units of action"
    )


class PDInitialConfig(Section):
    """A proportional-derivative controller that holds the start."""

    name: Literal["pd"] = "pd"
    stiffness: float = Field(default=1.0, ge=0, description="action per unit of position error")
    damping: float = Field(default=0.5, ge=0, description="action per unit of velocity")
    noise: float = Field(default=0.3, gt=0, description="standard deviation of the exploration noise, units of action")


class ZeroInitialConfig(Section):
    """Zero-mean noise without feedback."""

    name: Literal["zero"] = "zero"
    noise: float | None = Field(
        default=None,
        gt=0,
        description="standard deviation of the exploration noise, units of action; default: a quarter of the range of "
        "each action that has limits, 1 of the others",
    )


class FileInitialConfig(Section):
    """The controllers of an earlier run."""

    name: Literal["file"] = "file"
    path: str = Field(description="a run directory, relative to the experiment's directory")
    iteration: int | None = Field(
        default=None, ge=0, description="the iteration whose controllers are taken; default: the last"
    )


class ControllerConfig(Section):
    """`[algorithm.controller]`: what is executed while sampling, and what the first iteration starts from."""

    execute: Literal["open_loop", "feedback", "fixed_noise", "max_entropy"] = Field(
        default="max_entropy",
        description="the mean actions alone; with feedback; with noise of fixed size; with covariance Quu^-1",
    )
    noise: float = Field(
        default=0.1, ge=0, description='standard deviation under execute = "fixed_noise", units of action'
    )
    smoothing: float = Field(
        default=0.0,
        ge=0,
        description="standard deviation of the Gaussian filter over the exploration noise, time steps; 0: white",
    )
    initial: Annotated[
        Annotated[
            LQRInitialConfig | PDInitialConfig | ZeroInitialConfig | FileInitialConfig, Field(discriminator="name")
        ]
        | None,
        _named("lqr"),
        Field(
            description='the controllers of the first iteration; default: "lqr" where the environment tells positions '
            'and velocities apart, "zero" elsewhere'
        ),
    ] = None


# -- [algorithm] -----------------------------------------------------------------------------------------------------


class StepMultiplierConfig(Section):
    """`[algorithm.step_multiplier]`: the factor on `kl_step` that follows predicted against actual improvement."""

    initial: float = Field(default=1.0, gt=0, description="in the first iteration")
    min: float = Field(default=0.1, gt=0, description="never below")
    max: float = Field(default=10.0, gt=0, description="never above")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min <= self.initial <= self.max:
            raise ValueError(f"expected min <= initial <= max, got {self.min:g}, {self.initial:g}, {self.max:g}")
        return self


OnTrouble = Literal["continue", "stop"]


class _AlgorithmConfig(Section):
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


class _BoundedConfig(_AlgorithmConfig):
    """What the algorithms share that keep an update near the last controllers."""

    kl_step: float = Field(default=1.0, gt=0, description="bound on the KL divergence of an update, nats per time step")
    step_multiplier: StepMultiplierConfig = StepMultiplierConfig()


class _ModelConfig(_BoundedConfig):
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


class _SampleConfig(_BoundedConfig):
    """What the algorithms share that weigh samples by what they cost: they learn from the noise of the actions."""

    @model_validator(mode="after")
    def _explores(self) -> Self:
        execute, noise = self.controller.execute, self.controller.noise
        if execute in ("open_loop", "feedback") or (execute == "fixed_noise" and noise == 0):
            raise ValueError(f'{self.name} learns from noise, and controller.execute = "{execute}" has none')
        return self


class TrajOptConfig(_ModelConfig):
    """The local-model trajectory optimiser: maximum-entropy LQR inside a KL trust region."""

    name: Literal["trajopt"] = "trajopt"


class _PI2Config(_SampleConfig):
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


class PI2Config(_PI2Config):
    """Path integral policy improvement: no model, the samples are weighed by what they cost from each step on."""

    name: Literal["pi2"] = "pi2"
    feedback: Literal["keep", "zero"] = Field(
        default="keep", description="gains: those of the first controllers throughout, or none"
    )


class _PILQRConfig(_ModelConfig, _SampleConfig):
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


class PILQRConfig(_PILQRConfig):
    """trajopt for what the local model explains of the cost, then pi2 for the rest."""

    name: Literal["pilqr"] = "pilqr"


Prior = Annotated[
    Annotated[MixturePriorConfig | NoPriorConfig, Field(discriminator="name")],
    _named("gmm"),
    Field(description="what is believed of the policy around a time step before its samples are seen"),
]


class PerceptronConfig(Section):
    """The hidden layers alone: for numbers."""

    name: Literal["mlp"] = "mlp"


class ConvolutionalConfig(Section):
    """Convolutions before the hidden layers, whose last channels become one point of the image each: for pictures."""

    name: Literal["convolutional"] = "convolutional"
    channels: ListOf[Annotated[int, Ge(1)]] = Field(default=(8, 16), description="outputs of each convolution")
    kernels: ListOf[Annotated[int, Ge(1)]] = Field(default=(5, 3), description="side of each kernel, pixels")
    strides: ListOf[Annotated[int, Ge(1)]] = Field(
        default=(2, 1),
        description="step of each kernel, pixels: what is to be found should be more than twice their product wide",
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if not len(self.channels) == len(self.kernels) == len(self.strides) >= 1:
            counts = f"{len(self.channels)}, {len(self.kernels)} and {len(self.strides)}"
            raise ValueError(f"channels, kernels and strides: expected one of each for every convolution, got {counts}")
        return self


Network = Annotated[
    Annotated[PerceptronConfig | ConvolutionalConfig, Field(discriminator="name")] | None,
    _named("convolutional"),
    Field(
        description='what comes before the hidden layers: "mlp" nothing, "convolutional" what sees; default: the one '
        "that fits the observation, which has pictures or none"
    ),
]


class PolicyConfig(Section):
    """`[algorithm.policy]`: the neural policy, and how it is trained in each iteration."""

    network: Network = None
    hidden: ListOf[Annotated[int, Ge(1)]] = Field(default=(64, 64), description="units of each hidden layer")
    activation: Literal["relu", "tanh"] = Field(default="relu", description="of the hidden layers")
    steps: int = Field(default=4000, ge=1, description="mini-batches in an iteration, at most")
    batch: int = Field(default=32, ge=1, description="samples of a mini-batch")
    learning_rate: float = Field(
        default=1e-3, gt=0, description="of Adam; it falls to a hundredth over the steps of an iteration"
    )
    weight_decay: float = Field(default=0.0, ge=0, description="per step, relative to the learning rate")
    held_out: float = Field(
        default=0.1, ge=0, le=0.9, description="share of the episodes that training does not see, but is judged by"
    )
    check_every: int = Field(default=100, ge=1, description="steps between two looks at the held-out loss")
    patience: int = Field(default=10, ge=1, description="looks without a new lowest loss after which training stops")
    least_deviation: float = Field(
        default=1e-3, gt=0, description="smallest standard deviation of the noise, relative to the actions' size"
    )
    prior: Prior = MixturePriorConfig(memory=1)


class _GuidedConfig(_AlgorithmConfig):
    """What the algorithms share that train one neural policy by local controllers."""

    warm_up: int = Field(
        default=0, ge=0, description="iterations at the start that improve the local controllers alone"
    )
    policy: PolicyConfig = PolicyConfig()


Sampling = Annotated[
    Literal["on_policy", "off_policy"],
    Field(description="whose rollouts are taken: the policy's, or the local controllers'"),
]


class MDGPSConfig(_ModelConfig, _GuidedConfig):
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


class PIGPSConfig(_PI2Config, _GuidedConfig):
    """Guided policy search by path integrals: the policy imitates what pi2 makes of its own samples."""

    name: Literal["pigps"] = "pigps"
    sampling: Sampling = "on_policy"


class PILQRGPSConfig(_PILQRConfig, _GuidedConfig):
    """The same with pilqr in place of pi2."""

    name: Literal["pilqrgps"] = "pilqrgps"
    sampling: Sampling = "on_policy"


class BADMMConfig(_ModelConfig, _GuidedConfig):
    """Guided policy search: local controllers and policy drawn together by multipliers and penalties."""

    name: Literal["badmm"] = "badmm"
    dual_rate: float = Field(default=0.1, ge=0, description="step of the Lagrange multipliers, relative to the weights")
    penalty: PenaltyConfig = PenaltyConfig()


# -- [algorithm.expert] ----------------------------------------------------------------------------------------------


class PlannerDynamicsConfig(MixtureConfig):
    """A Gaussian mixture over [x; u; x'] of all conditions, as a model of the dynamics everywhere."""

    memory: int = Field(default=10, ge=1, description="iterations whose samples the mixture is fitted to")


class PlannerExpertConfig(Section):
    """Replans at each step, by iterative LQR in dynamics that are learned from the samples."""

    name: Literal["planner"] = "planner"
    horizon: int = Field(default=20, ge=1, description="time steps that a plan reaches ahead, within the episode")
    rounds: int = Field(default=2, ge=1, description="rounds of iterative LQR at each step, from the last one's plan")
    first_rounds: int = Field(default=20, ge=1, description="the same at the first step, from no action")
    guesses: int = Field(
        default=8, ge=0, description="random plans that are tried at each step, in place of one that costs more"
    )
    entropy: float = Field(
        default=1e-2,
        gt=0,
        description="temperature of the plan's entropy, relative to the mean absolute cost of a step",
    )
    dynamics: PlannerDynamicsConfig = PlannerDynamicsConfig()


class TaskExpertConfig(Section):
    """`act(states, t)` of task.py, or a class with that method. States are (B, dx), actions (B, du)."""

    name: Literal["task"] = "task"
    function: str = Field(default="act", min_length=1, description="the name of the function, or of the class")
    options: dict[str, Any] = Field(default={}, description="keyword arguments of the class")


class RunExpertConfig(Section):
    """What an earlier run has learned: its policy, which sees this experiment's state, or its controllers."""

    name: Literal["run"] = "run"
    path: str = Field(description="a run directory, relative to the experiment's directory")
    iteration: int | None = Field(default=None, ge=0, description="the iteration that has made it; default: the last")


ExpertConfig = Annotated[
    Annotated[PlannerExpertConfig | TaskExpertConfig | RunExpertConfig, Field(discriminator="name")],
    _named("planner"),
    Field(description="who is asked what to do in the visited states"),
]


class _DistillationConfig(_AlgorithmConfig):
    """What the algorithms share that let a policy learn from an expert."""

    memory: int = Field(default=10, ge=1, description="iterations whose labelled samples the policy learns from")
    deviation: float = Field(
        default=0.1,
        gt=0,
        description="standard deviation of the actions of an expert that tells none, relative to their size",
    )
    expert: ExpertConfig = PlannerExpertConfig()
    policy: PolicyConfig = PolicyConfig()


class DAggerConfig(_DistillationConfig):
    """A policy learns from an expert what to do in the states that it gets into itself."""

    name: Literal["dagger"] = "dagger"
    decay: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="factor of the share of steps at which the expert acts, 1 at first, with each supervised step",
    )


class PLATOConfig(_DistillationConfig):
    """A policy learns from an expert that acts much as the policy would."""

    name: Literal["plato"] = "plato"
    adaptation: float = Field(
        default=1.0,
        ge=0,
        description="weight of the divergence from the policy in what acts, in units of the expert's temperature",
    )


class PluginAlgorithmConfig(_ModelConfig):
    """An algorithm of another package, by the name of its entry point in the group `gps.algorithms`."""

    name: Literal["plugin"] = "plugin"
    plugin: str = Field(min_length=1, description="the name of the entry point; its own keys are options")


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
    _plugged("gps.algorithms", tuple(_ModelConfig.model_fields)),
    _named("trajopt"),
    Field(description="how the controllers are improved"),
]
"""`[algorithm]`."""


# -- [[cost]] --------------------------------------------------------------------------------------------------------


class _CostConfig(Section):
    """What all costs share. The experiment's cost is the sum of its `[[cost]]` sections."""

    name: str
    ramp: Literal["constant", "linear", "quadratic", "final"] = Field(
        default="constant",
        description="factor over time: 1; rising to 1 with t or with its square; 1 at the last step alone",
    )
    final_weight: float = Field(default=1.0, ge=0, description="multiplies the cost of the last time step")


Parts = Annotated[ListOf[str], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class QuadraticCostConfig(_CostConfig):
    """Half the weighted square of the deviation from a target."""

    name: Literal["quadratic"] = "quadratic"
    on: Parts = Field(default=("action",), min_length=1, description='parts of the state, or "action"')
    target: float | ListOf[float] = Field(
        default=0.0, description="in units of the parts; a list gives one per dimension"
    )
    weight: NonNegative | ListOf[NonNegative] = Field(default=1.0, description="a list gives one per dimension")


class DistanceCostConfig(_CostConfig):
    """`l1 sqrt(d^2 + alpha) + l2 d^2 / 2 + log ln(d^2 + alpha) / 2` of the length d of all its parts together."""

    name: Literal["distance"] = "distance"
    on: Parts = Field(
        default=(), description="parts of the state that are zero at the goal; default: every site_position:A-B"
    )
    weight: NonNegative = Field(default=1.0, description="factor on the whole")
    l1: float = Field(default=1.0, ge=0, description="weight of the smooth absolute distance")
    l2: float = Field(default=1.0, ge=0, description="weight of half the squared distance")
    log: float = Field(default=0.0, ge=0, description="weight of the logarithm, which asks for precision at the goal")
    alpha: float = Field(default=1e-5, gt=0, description="what smooths the absolute distance and the logarithm at zero")


class TaskCostConfig(_CostConfig):
    """A function of task.py."""

    name: Literal["task"] = "task"
    function: str = Field(default="cost", min_length=1, description="its name")
    weight: NonNegative = Field(default=1.0, description="factor on its value")


class RewardCostConfig(Section):
    """Minus the environment's reward, whose quadratic expansion is learned from the samples."""

    name: Literal["reward"] = "reward"
    weight: float = Field(default=1.0, gt=0, description="factor on the reward")
    strength: float = Field(default=1.0, ge=0, description="pseudo-count of the prior, in samples")
    ridge: float = Field(
        default=1e-4, gt=0, description="added to the variance of each linear feature, relative to that variance"
    )
    curvature_ridge: float = Field(
        default=3e-3, gt=0, description="the same for the quadratic features: more of it shows less curvature"
    )
    clusters: int = Field(default=20, ge=1, description="of the mixture over [x; u; reward], at most")
    memory: int = Field(default=3, ge=1, description="iterations whose samples it is fitted to")


class PluginCostConfig(_CostConfig):
    """A cost of another package, by the name of its entry point in the group `gps.costs`."""

    name: Literal["plugin"] = "plugin"
    plugin: str = Field(min_length=1, description="the name of the entry point; its own keys may stand beside `name`")
    options: dict[str, Any] = Field(default={}, description="keyword arguments of what makes it")
    weight: NonNegative = Field(default=1.0, description="factor on its value")


CostConfig = Annotated[
    Annotated[
        QuadraticCostConfig | DistanceCostConfig | TaskCostConfig | RewardCostConfig | PluginCostConfig,
        Field(discriminator="name"),
    ],
    _plugged("gps.costs", ("ramp", "final_weight", "weight")),
]


def _costs(value: Any) -> Any:
    """Lets `cost = "reward"` stand for one section of that name."""
    if not isinstance(value, str):
        return value
    if value != "reward":
        raise ValueError(f'expected a list of tables, or "reward" for the environment\'s own, got "{value}"')
    return [{"name": value}]


# -- the whole file --------------------------------------------------------------------------------------------------


class ExperimentConfig(Section):
    """An experiment."""

    description: str = Field(default="", description="for people")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="of everything random")
    environment: EnvironmentConfig = Field(description="its id, or the mjcf it is made from")
    algorithm: AlgorithmConfig = TrajOptConfig()
    cost: Annotated[ListOf[CostConfig], BeforeValidator(_costs)] = Field(
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

    def anchored(self, directory: Path) -> "ExperimentConfig":
        """The same with paths relative to `directory` made absolute, to be read from elsewhere."""
        config = self
        if (mjcf := self.environment.mjcf) is not None:
            config = _replaced(config, "environment", mjcf=str((directory / mjcf).resolve()))
        if isinstance(initial := self.algorithm.controller.initial, FileInitialConfig):
            initial = initial.model_copy(update={"path": str((directory / initial.path).resolve())})
            controller = self.algorithm.controller.model_copy(update={"initial": initial})
            config = _replaced(config, "algorithm", controller=controller)
        if isinstance(expert := getattr(self.algorithm, "expert", None), RunExpertConfig):
            expert = expert.model_copy(update={"path": str((directory / expert.path).resolve())})
            config = _replaced(config, "algorithm", expert=expert)
        return config

    def replaced(
        self, *, seed: int | None = None, iterations: int | None = None, on_trouble: OnTrouble | None = None
    ) -> "ExperimentConfig":
        """The same with another seed, number of iterations or way to take trouble, where one is given.

        Raises:
            ConfigError: if one is out of range.
        """
        given = {"seed": seed, "algorithm.iterations": iterations, "algorithm.on_trouble": on_trouble}
        overrides = [f"{key}={value}" for key, value in given.items() if value is not None]
        return parse(self.to_toml(), FILE_NAME, overrides) if overrides else self


def _replaced(config: ExperimentConfig, section: str, **values: object) -> ExperimentConfig:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})


# -- reading ---------------------------------------------------------------------------------------------------------


def load(path: str | Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read an experiment.

    Args:
        path: its directory, or the file itself.
        overrides: `section.key=value`, the value in TOML or a bare string; `cost.0.weight=2` reaches into a list.

    Raises:
        ConfigError: one line for everything that is wrong.
    """
    path = Path(path)
    if not path.exists():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ConfigError(f"{path}: there is no such experiment{nearest(path.name, siblings)}")
    file = path / FILE_NAME if path.is_dir() else path
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(f"{file}: larger than {MAX_BYTES >> 20} MiB, which no experiment file is")
        text = content.decode()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no {FILE_NAME} in this directory") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}: line {line}: not UTF-8 text") from None
    return parse(text, str(file), overrides)


def parse(text: str, place: str = FILE_NAME, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """As `load`, from the text of a file that messages call `place`."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{place}: {_syntax_error(error)}") from None
    except RecursionError:
        raise ConfigError(f"{place}: nested too deeply") from None
    places: dict[KeyPath, str] = {}
    for override in overrides:
        places[_override(raw, override, places)] = f"--set {override}"
    try:
        return ExperimentConfig.model_validate(raw)
    except ValidationError as error:
        lines = [
            ": ".join(filter(None, (_place(path, places) or place, ".".join(map(str, path)), message)))
            for path, message in explain(error, ExperimentConfig, raw)
        ]
        raise ConfigError("\n".join(lines)) from None


def _syntax_error(error: tomllib.TOMLDecodeError) -> str:
    """`line 3, column 5: invalid value` from `Invalid value (at line 3, column 5)`."""
    message, _, where = str(error).rpartition(" (at ")
    return f"{where.rstrip(')')}: {message[:1].lower()}{message[1:]}" if message else str(error)


def _override(raw: dict[str, Any], override: str, earlier: Iterable[KeyPath]) -> KeyPath:
    """Write an override into the table; returns where.

    Naming another kind of a table (`algorithm.name=pi2`) drops the file's keys that only the kind it was has. Those
    that both kinds share stay, and so does what `earlier` overrides have written, to be refused where it is wrong.
    """
    target, equals, text = override.partition("=")
    parts = [part.strip() for part in target.split(".")]
    if not equals or not all(parts):
        raise ConfigError(f"--set {override}: expected section.key=value")
    node: Any = raw
    path: KeyPath = ()
    key: Any = None
    for part in parts:
        where, key = ".".join(map(str, path)), part
        if isinstance(node, list):
            if not re.fullmatch(r"\d{1,9}", part) or int(part) >= len(node):
                raise ConfigError(f"--set {override}: {where} is a list of {len(node)}, counted from 0; got {part!r}")
            key = int(part)
        elif not isinstance(node, dict):
            raise ConfigError(f"--set {override}: {where} is not a section")
        path += (key,)
        if len(path) < len(parts):
            node = node[key] if isinstance(node, list) else node.setdefault(key, {})
    value = value_of(text)
    if key == "name" and len(kinds := kinds_at(ExperimentConfig, path[:-1])) > 1:
        old = node.get("name", usual_at(ExperimentConfig, path[:-1]) or value)
        if old != value:
            keep = _shared(*(kinds.get(str(name), kinds.get("plugin")) for name in (old, value)))
            keep |= {
                where[len(path) - 1]
                for where in earlier
                if len(where) >= len(path) and where[: len(path) - 1] == path[:-1]
            }
            for other in [other for other in node if other not in keep]:
                del node[other]
    node[key] = value
    return path


def _shared(*kinds: type[Section] | None) -> set[Any]:
    """The keys that sections have from a common base."""
    bases = set.intersection(*({*kind.__mro__} if kind else set() for kind in kinds))
    return {key for base in bases if issubclass(base, Section) for key in base.model_fields}


def value_of(text: str) -> Any:
    """A TOML value, or the text itself."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return table["value"] if table.keys() == {"value"} else text


def _place(path: KeyPath, places: dict[KeyPath, str]) -> str | None:
    """The last override that had to do with `path`."""
    related = [text for where, text in places.items() if where == path[: len(where)] or path == where[: len(path)]]
    return related[-1] if related else None
