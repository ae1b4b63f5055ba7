"""`[algorithm.policy]`: the neural policy and its training."""

from typing import Annotated, Literal, Self

from annotated_types import Ge
from pydantic import Field, model_validator

from gps.config.dynamics import MixturePriorConfig, NoPriorConfig
from gps.config.section import ListOf, Section, named

Prior = Annotated[
    Annotated[MixturePriorConfig | NoPriorConfig, Field(discriminator="name")],
    named("gmm"),
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
    named("convolutional"),
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
