"""`[algorithm.planner]`: how actions are planned in a model."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gps.config.section import Section, usual_name

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Share = Annotated[float, Field(ge=0, le=1)]


class PlannerBase(Section):
    """Keys of all planners."""

    horizon: int = Field(default=25, ge=1, description="length of a plan in time steps; a plan ends with the episode")
    every: int = Field(
        default=1,
        ge=1,
        description="time steps between two plans; a plan is followed in between, which takes so many times less time",
    )
    seconds: float | None = Field(
        default=None,
        gt=0,
        description="time limit of a plan; a plan that is late is replaced by the last one; default: none",
    )


class ParticlesConfig(Section):
    """How sequences of actions are predicted."""

    particles: int = Field(
        default=5, ge=1, le=10_000, description="predictions of each sequence, each by a function drawn from the model"
    )
    propagation: Literal["ts1", "ts_infinity", "moment", "mean"] = Field(
        default="ts1",
        description="ts1: the particles change their functions at each step; ts_infinity: each keeps its own; moment: "
        "they are drawn anew at each step, from a Gaussian; mean: one prediction by the model's mean",
    )


class SequencePlannerConfig(ParticlesConfig, PlannerBase):
    """Keys of the planners that try sequences of actions."""

    parts: int = Field(
        default=1,
        ge=1,
        le=64,
        description="parts of a round's sequences that are evaluated at the same time, for one episode at a time",
    )


class ShootingPlannerConfig(SequencePlannerConfig):
    """Random shooting: the best of many random sequences."""

    name: Literal["shooting"] = "shooting"
    samples: Count = Field(default=1000, description="sequences in each search")
    hold: Count = Field(default=1, description="time steps for which each action is held")


class GaussianPlannerConfig(SequencePlannerConfig):
    """Keys of the planners that move a Gaussian to the best sequences."""

    samples: Count = Field(default=100, description="sequences in the first round")
    elites: Count = Field(default=10, description="number of best sequences that the Gaussian moves to")
    rounds: Count = Field(default=3, description="rounds of a search: draw, evaluate, move")
    momentum: Share = Field(default=0.1, description="share of the old Gaussian in the new one")
    spread: float = Field(
        default=0.5, gt=0, description="first standard deviation of the actions, relative to half their range"
    )
    least_spread: float = Field(default=0.01, gt=0, description="smallest standard deviation, relative to the same")
    best: bool = Field(default=True, description="execute the best sequence seen, or else the mean of the Gaussian")

    @model_validator(mode="after")
    def _fewer_elites(self) -> Self:
        if self.elites > self.samples:
            raise ValueError(f"elites = {self.elites} are more than the samples")
        return self


class CEMPlannerConfig(GaussianPlannerConfig):
    """The cross-entropy method."""

    name: Literal["cem"] = "cem"
    samples: Count = Field(default=400, description="sequences in each round")
    elites: Count = Field(default=40, description="number of best sequences that the Gaussian moves to")
    rounds: Count = Field(default=5, description="rounds of a search: draw, evaluate, move")
    best: bool = Field(default=False, description="execute the best sequence seen, or else the mean of the Gaussian")


class ICEMPlannerConfig(GaussianPlannerConfig):
    """The improved cross-entropy method: coloured noise, kept elites, few samples."""

    name: Literal["icem"] = "icem"
    kept: Count = Field(default=3, description="best sequences that take part in the next round, and in the next step")
    decay: float = Field(default=1.25, ge=1, description="factor by which the samples become fewer in each round")
    beta: float = Field(default=1.0, ge=0, le=10, description="exponent of the noise's spectrum; 0: white noise")


class MPPIPlannerConfig(SequencePlannerConfig):
    """Model-predictive path integral control: the mean of sequences weighted by their costs."""

    name: Literal["mppi"] = "mppi"
    samples: Count = Field(default=256, description="sequences in each round")
    rounds: Count = Field(default=1, description="rounds of a search: draw, evaluate, move")
    effective: float = Field(
        default=10.0, gt=1, description="effective number of sequences that decide; it sets the temperature"
    )
    beta: float = Field(default=1.0, ge=0, le=10, description="exponent of the noise's spectrum; 0: white noise")
    spread: float = Field(
        default=0.4, gt=0, description="standard deviation of the noise, relative to half the range of an action"
    )
    adapt: bool = Field(default=False, description="adapt the standard deviations from round to round")
    least_spread: float = Field(default=0.01, gt=0, description="smallest adapted standard deviation, relative")


class ILQRPlannerConfig(PlannerBase):
    """Iterative LQR in the model's mean, with limits of the actions. The cost must be differentiable."""

    name: Literal["ilqr"] = "ilqr"
    rounds: Count = Field(default=2, description="rounds of iterative LQR at each step, from the last step's plan")
    first_rounds: Count = Field(default=20, description="rounds at the first step")
    guesses: int = Field(
        default=8, ge=0, le=10_000, description="random plans tried at each step; the best replaces a worse plan"
    )
    first_guesses: int | None = Field(
        default=None, ge=0, le=10_000, description="random plans tried at the first step; default: as at each step"
    )
    first_starts: Count = Field(
        default=1,
        description="number of the cheapest random plans improved at the first step; the best result is followed. "
        "Raise it where some random plans lead to the goal and others do not",
    )


class AdaptivePlannerConfig(Section):
    """Iterative LQR in the model as it is corrected by the transitions of the episode, at every step.

    The model may come from another system. Nothing is added to the actions, so `algorithm.noise` must be 0.
    """

    name: Literal["adaptive"] = "adaptive"
    horizon: int = Field(default=20, ge=1, description="length of a plan in time steps; a plan ends with the episode")
    rounds: Count = Field(default=2, description="rounds of iterative LQR at each step, from the last step's plan")
    first_rounds: Count = Field(default=20, description="rounds at the first step")
    strength: float = Field(
        default=1.0, gt=0, description="trust in the model against the transitions of the episode; 1 as it says itself"
    )
    degrees: float = Field(default=1.0, gt=0, description="trust in the model's noise, in transitions")
    forgetting: float = Field(
        default=0.95, gt=0, le=1, description="factor on the weight of a transition per step; 1 forgets nothing"
    )
    least_noise: float = Field(
        default=1e-3, gt=0, description="smallest deviation of the noise, relative to that of the data"
    )


PlannerConfig = Annotated[
    Annotated[
        ShootingPlannerConfig
        | CEMPlannerConfig
        | ICEMPlannerConfig
        | MPPIPlannerConfig
        | ILQRPlannerConfig
        | AdaptivePlannerConfig,
        Field(discriminator="name"),
    ],
    usual_name("icem"),
    Field(description="how actions are planned in the model"),
]
"""`[algorithm.planner]`."""
