"""`[algorithm.policy]`: the neural policy and its training."""

import itertools
from typing import Annotated, Any, ClassVar, Literal, Self

from annotated_types import Ge, Le
from pydantic import Field, field_validator, model_validator

from gps.config.dynamics import MixturePriorConfig, NoPriorConfig
from gps.config.section import ListOf, Section, usual_name
from gps.config.sizes import require_weights

Prior = Annotated[
    Annotated[MixturePriorConfig | NoPriorConfig, Field(discriminator="name")],
    usual_name("gmm"),
    Field(description="prior of the policy's linearisation at a time step"),
]


class PerceptronConfig(Section):
    """Hidden layers only, for observations that are vectors."""

    name: Literal["mlp"] = "mlp"


class ConvolutionalConfig(Section):
    """Convolutions before the hidden layers, for images. Each of the last channels becomes one point of the image."""

    name: Literal["convolutional"] = "convolutional"
    channels: ListOf[Annotated[int, Ge(1), Le(1024)]] = Field(
        default=(8, 16), max_length=100, description="outputs of each convolution"
    )
    kernels: ListOf[Annotated[int, Ge(1), Le(1024)]] = Field(
        default=(5, 3), description="side of each kernel, in pixels"
    )
    strides: ListOf[Annotated[int, Ge(1), Le(1024)]] = Field(
        default=(2, 1),
        description="stride of each kernel, in pixels; an object to locate should be wider than twice their product",
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if not len(self.channels) == len(self.kernels) == len(self.strides) >= 1:
            counts = f"{len(self.channels)}, {len(self.kernels)} and {len(self.strides)}"
            raise ValueError(f"channels, kernels and strides: expected one of each for every convolution, got {counts}")
        inner = itertools.pairwise((3, *self.channels))
        require_weights(sum(a * b * kernel**2 for (a, b), kernel in zip(inner, self.kernels, strict=True)))
        return self


Network = Annotated[
    Annotated[PerceptronConfig | ConvolutionalConfig, Field(discriminator="name")] | None,
    usual_name("convolutional"),
    Field(
        description='layers before the hidden layers: "mlp" none, "convolutional" for images; default: '
        '"convolutional" if the observation has images, otherwise "mlp"'
    ),
]


class BoundedPolicyConfig(Section):
    """`[algorithm.policy]` of an algorithm that optimises its policy through a model."""

    network: Literal["rbf", "affine", "mlp"] = Field(
        default="rbf", description='"rbf": radial basis functions; "affine"; "mlp": hidden layers'
    )
    features: int = Field(default=50, ge=1, le=10_000, description='number of radial basis functions of "rbf"')
    hidden: ListOf[Annotated[int, Ge(1), Le(10_000)]] = Field(
        default=(64, 64), max_length=100, description='units of each hidden layer of "mlp"'
    )
    activation: Literal["relu", "tanh"] = Field(default="tanh", description='activation of the hidden layers of "mlp"')
    squash: Literal["sine", "tanh", "none"] | None = Field(
        default=None,
        description='what keeps the actions within their limits: "sine" 9/8 sin f + 1/8 sin 3f, "tanh", or "none"; '
        'default: "sine" where all actions have limits',
    )

    usual_squash: ClassVar[str] = "sine"

    @field_validator("network", mode="before")
    @classmethod
    def _take_name(cls, value: Any) -> Any:
        """The name alone: `--set algorithm.policy.network=rbf` makes a table of it, as other algorithms need."""
        return value["name"] if isinstance(value, dict) and value.keys() == {"name"} else value

    @model_validator(mode="after")
    def _few_weights(self) -> Self:
        require_weights(sum(a * b for a, b in itertools.pairwise(self.hidden)))
        return self


class TanhPolicyConfig(BoundedPolicyConfig):
    """A bounded policy whose actions a tanh keeps within their limits by default."""

    squash: Literal["sine", "tanh", "none"] | None = Field(
        default=None,
        description='what keeps the actions within their limits: "tanh", "sine" 9/8 sin f + 1/8 sin 3f, or "none"; '
        'default: "tanh" where all actions have limits',
    )

    usual_squash: ClassVar[str] = "tanh"


class BackpropPolicyConfig(TanhPolicyConfig):
    """`[algorithm.policy]` of `policy_backprop`."""

    network: Literal["mlp", "gru", "rbf", "affine"] = Field(  # type: ignore[assignment]  # one more
        default="mlp",
        description='"mlp": hidden layers; "gru": a memory of what it has seen in an episode, as large as the last of '
        '`hidden`; "rbf": radial basis functions; "affine"',
    )

    @model_validator(mode="after")
    def _has_memory(self) -> Self:
        if self.network == "gru" and not self.hidden:
            raise ValueError('network = "gru" has one hidden layer, its memory, and hidden is empty')
        return self


class PolicyConfig(Section):
    """`[algorithm.policy]`: the neural policy and its training in each iteration."""

    network: Network = None
    hidden: ListOf[Annotated[int, Ge(1), Le(10_000)]] = Field(
        default=(64, 64), max_length=100, description="units of each hidden layer"
    )
    activation: Literal["relu", "tanh"] = Field(default="relu", description="activation of the hidden layers")
    steps: int = Field(default=4000, ge=1, description="largest number of mini-batches in an iteration")
    batch: int = Field(default=32, ge=1, description="samples per mini-batch")
    learning_rate: float = Field(
        default=1e-3,
        gt=0,
        description="learning rate of Adam; it falls to a hundredth over the steps of an iteration",
    )
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay per step, relative to the learning rate")
    held_out: float = Field(
        default=0.1, ge=0, le=0.9, description="share of the episodes held out from training to validate it"
    )
    check_every: int = Field(default=100, ge=1, description="steps between two evaluations of the held-out loss")
    patience: int = Field(
        default=10, ge=1, description="stop training after this many evaluations without a new lowest loss"
    )
    least_deviation: float = Field(
        default=1e-3, gt=0, description="smallest standard deviation of the noise, relative to the actions' size"
    )
    prior: Prior = MixturePriorConfig(memory=1)

    @model_validator(mode="after")
    def _few_weights(self) -> Self:
        require_weights(sum(a * b for a, b in itertools.pairwise(self.hidden)))
        return self
