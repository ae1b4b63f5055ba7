"""`[algorithm.model]`, and `--model` of `gps fit`: a global model of the dynamics."""

import itertools
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Le
from pydantic import Field, model_validator

from gps.config.explaining import UsualName
from gps.config.section import RELATIVE, ListOf, Section, plugin_names
from gps.config.sizes import require_weights


class LearnedModelConfig(Section):
    """A model that is learned from transitions x, u → x'."""

    angles: Literal["auto", "none"] | ListOf[str] = Field(
        default="auto",
        description="entries of the state that are angles in rad, which enter by sine and cosine: their names; "
        '"auto" takes those in rad that can turn around, "none" none',
    )
    quaternions: Literal["auto", "none"] | ListOf[str] = Field(
        default="auto",
        description="parts of the state that are unit quaternions (w, x, y, z), which enter as rotation matrices: the "
        'names of the parts; "auto" takes those of free and ball joints, "none" none',
    )
    ignore: ListOf[str] = Field(
        default=(),
        description="entries of the state that nothing depends on, such as the offset from a target or the distance "
        "run, by their names or that of their part: they are predicted, but are no inputs",
    )
    max_points: int = Field(
        default=100_000, ge=1, description="largest number of transitions of a fit; more are thinned evenly"
    )


class LinearModelConfig(LearnedModelConfig):
    """A linear model of all states, by ridge regression: the baseline."""

    name: Literal["linear"] = "linear"
    ridge: float | None = Field(
        default=None,
        gt=0,
        description="strength of the prior that holds the weights near 0, in points; default: by marginal likelihood",
    )


class MixtureModelConfig(LearnedModelConfig):
    """A Gaussian mixture over the points [x; u; x']."""

    name: Literal["gmm"] = "gmm"
    clusters: int = Field(default=20, ge=1, le=10_000, description="largest number of clusters")
    points_per_cluster: int = Field(
        default=40,
        ge=1,
        description="smallest number of points per cluster; with fewer points, fewer clusters are used",
    )
    em_steps: int = Field(default=50, ge=1, le=10_000, description="largest number of steps of EM in each fit")
    max_points: int = Field(
        default=20_000, ge=1, description="largest number of transitions of a fit; more are thinned evenly"
    )


class NeuralModelConfig(LearnedModelConfig):
    """An ensemble of neural networks that predict the change of the state."""

    name: Literal["neural"] = "neural"
    members: int = Field(default=5, ge=1, le=100, description="number of networks; more than one say what they doubt")
    hidden: ListOf[Annotated[int, Ge(1), Le(10_000)]] = Field(
        default=(200, 200), min_length=1, max_length=100, description="units of each hidden layer"
    )
    likelihood: Literal["gaussian", "squared"] = Field(
        default="gaussian",
        description='loss: "gaussian" learns the noise as a function of state and action, "squared" one noise for all',
    )
    linear: bool = Field(
        default=True, description="true to learn only what a linear map of the inputs leaves, false to learn all"
    )
    learning_rate: float = Field(default=3e-3, gt=0, description="learning rate of Adam at the start of a fit")
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay per step, relative to the learning rate")
    shrinkage: float = Field(
        default=300.0, ge=0, description="a further weight decay, times the number of transitions: it fades with data"
    )
    batch: int = Field(default=256, ge=1, description="transitions per mini-batch")
    steps: int = Field(default=2000, ge=1, description="largest number of mini-batches of the first fit")
    warm_steps: int = Field(
        default=1000, ge=1, description="largest number of mini-batches of a fit that starts from the last one"
    )
    check_every: int = Field(default=100, ge=1, description="steps between two evaluations of the held-out loss")
    patience: int = Field(
        default=8, ge=1, description="stop training after this many evaluations without a new lowest loss"
    )
    held_out: float = Field(
        default=0.1, ge=0, le=0.9, description="share of the data held out from training to validate it"
    )

    @model_validator(mode="after")
    def _few_weights(self) -> Self:
        require_weights(self.members * sum(a * b for a, b in itertools.pairwise(self.hidden)))
        return self


class RecurrentModelConfig(LearnedModelConfig):
    """An ensemble of recurrent networks, which remember what the state does not show."""

    name: Literal["recurrent"] = "recurrent"
    members: int = Field(default=3, ge=1, le=100, description="number of networks; more than one say what they doubt")
    units: int = Field(default=32, ge=1, le=10_000, description="size of the memory of each network")
    hidden: ListOf[Annotated[int, Ge(1), Le(10_000)]] = Field(
        default=(64,), min_length=1, max_length=100, description="units of each hidden layer that reads the memory"
    )
    sequence: int = Field(
        default=50, ge=1, le=10_000, description="steps of a training sequence; a longer episode is cut into several"
    )
    burn_in: int = Field(
        default=10,
        ge=0,
        le=10_000,
        description="first steps of a sequence within an episode, which only fill the memory; less than sequence",
    )
    learning_rate: float = Field(default=3e-3, gt=0, description="learning rate of Adam at the start of a fit")
    weight_decay: float = Field(default=0.01, ge=0, description="weight decay per step, relative to the learning rate")
    batch: int = Field(default=16, ge=1, description="sequences per mini-batch")
    steps: int = Field(default=1500, ge=1, description="largest number of mini-batches of a fit")
    check_every: int = Field(default=50, ge=1, description="steps between two evaluations of the held-out loss")
    patience: int = Field(
        default=8, ge=1, description="stop training after this many evaluations without a new lowest loss"
    )
    held_out: float = Field(
        default=0.1, ge=0, le=0.9, description="share of the data held out from training to validate it"
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        layers = self.units, *self.hidden
        require_weights(self.members * (3 * self.units**2 + sum(a * b for a, b in itertools.pairwise(layers))))
        if self.burn_in >= self.sequence:
            raise ValueError(f"burn_in = {self.burn_in} must be less than sequence = {self.sequence}")
        return self


class GaussianProcessModelConfig(LearnedModelConfig):
    """A Gaussian process for each entry of the change of the state."""

    name: Literal["gp"] = "gp"
    max_points: int = Field(
        default=1000,
        ge=1,
        le=20_000,
        description="largest number of points that the process is given; with more transitions, it is projected",
    )
    likelihood_points: int = Field(
        default=300, ge=2, le=5000, description="largest number of transitions that the hyperparameters are fitted to"
    )
    linear: bool = Field(default=False, description="true for a prior mean that is linear, instead of constant")
    restarts: int = Field(default=2, ge=1, le=1000, description="searches for the hyperparameters of each output")
    iterations: int = Field(default=100, ge=1, le=100_000, description="largest number of iterations of a search")
    noise_floor: float = Field(
        default=1e-3, gt=0, description="smallest noise, in standard deviations of the change of the state"
    )


class OwnSimulatorConfig(Section):
    """Keys of the models that may need a simulator where the environment is none, such as a real robot."""

    mjcf: Annotated[str | None, RELATIVE] = Field(
        default=None,
        description="MuJoCo model of the system, relative to the experiment's directory, where the environment is no "
        "simulation of this library, such as a real robot; its controls are the actions; default: no other one",
    )
    state: ListOf[str] | None = Field(
        default=None,
        min_length=1,
        description='the parts of the model in `mjcf` that the state consists of, as `["qpos", "qvel"]`; default: '
        "those of the environment's own names",
    )

    @model_validator(mode="after")
    def _state_of_a_model(self) -> Self:
        if self.state is not None and self.mjcf is None:
            raise ValueError("state: is for the model in mjcf, and there is none")
        return self


class PhysicsModelConfig(OwnSimulatorConfig):
    """The simulator itself, with some of its parameters fitted to the data."""

    name: Literal["physics"] = "physics"
    parameters: dict[str, Any] = Field(
        default={},
        description="the least and the greatest value of each unknown one, as `body_mass = { cup = [0.1, 1.0] }`; also "
        "`gravity` and `delay`, which are those of the whole system",
    )
    delay: float = Field(default=0.0, ge=0, description="known delay of the commands in seconds")
    assumed: dict[str, float] = Field(
        default={},
        description="positions and velocities that the state lacks and that do not matter, with a value for each, as "
        '`{ "qpos:rootx" = 0.0 }`',
    )
    window: int = Field(
        default=5, ge=1, le=1000, description="steps that are simulated from a recorded state, and compared"
    )
    max_windows: int = Field(default=400, ge=1, description="largest number of windows; more are thinned evenly")
    evaluations: int = Field(default=60, ge=1, description="largest number of iterations of the search")
    residual: Literal["none", "gp"] = Field(
        default="none", description='what is added to the simulator: "none", or "gp" learned from its errors'
    )


class StoredModelConfig(OwnSimulatorConfig):
    """A model that `gps fit` has written. New transitions are added to its own."""

    name: Literal["stored"] = "stored"
    path: Annotated[str, RELATIVE] = Field(
        min_length=1, description="file that `gps fit` wrote, relative to the experiment's directory"
    )


class SimulatorModelConfig(Section):
    """The environment itself: nothing is learned, and the planner searches in copies of the live simulation."""

    name: Literal["simulator"] = "simulator"


class PluginModelConfig(Section):
    """A model from another package, named by its entry point in the group `gps.models`."""

    name: Literal["plugin"] = "plugin"
    plugin: str = Field(description="name of the entry point")
    options: dict[str, Any] = Field(default={}, description="keyword arguments of the entry point's factory")


def _usual_model(default: str) -> UsualName:
    """Return an annotation that gives a table without a name the usual one; a path alone is a stored model."""

    def rewrite(table: Any) -> Any:
        if isinstance(table, str):
            return {"name": table}
        if not isinstance(table, dict):
            return table
        return {"name": "stored" if "path" in table else default, **table}

    return UsualName(rewrite, usual=default)


_Learned = (
    LinearModelConfig
    | MixtureModelConfig
    | NeuralModelConfig
    | RecurrentModelConfig
    | GaussianProcessModelConfig
    | PhysicsModelConfig
    | StoredModelConfig
    | PluginModelConfig
)

ModelConfig = Annotated[
    Annotated[_Learned, Field(discriminator="name")],
    plugin_names("gps.models"),
    _usual_model("neural"),
    Field(description="the global model of the dynamics"),
]

DrawnModelConfig = Annotated[
    Annotated[_Learned, Field(discriminator="name")],
    plugin_names("gps.models"),
    _usual_model("gp"),
    Field(description="the global model of the dynamics that functions are drawn from"),
]

MomentModelConfig = Annotated[
    Annotated[
        LinearModelConfig | GaussianProcessModelConfig | StoredModelConfig | PluginModelConfig,
        Field(discriminator="name"),
    ],
    plugin_names("gps.models"),
    _usual_model("gp"),
    Field(description="the global model of the dynamics, which must propagate a Gaussian"),
]

PlannedModelConfig = Annotated[
    Annotated[_Learned | SimulatorModelConfig, Field(discriminator="name")],
    plugin_names("gps.models"),
    _usual_model("neural"),
    Field(description="the global model of the dynamics that actions are planned in"),
]
"""A model, or the system itself."""


class FitConfig(Section):
    """The settings of `gps fit --set`: the table `model`."""

    model: ModelConfig = LinearModelConfig()
