"""`[[cost]]`: the terms of the cost, which are summed."""

from typing import Annotated, Any, Literal, Self

from annotated_types import Gt
from pydantic import BeforeValidator, Field, model_validator

from gps.config.section import ListOf, NonNegative, Section, plugin_names


class _CostConfig(Section):
    """Keys of all costs with a formula. The experiment's cost is the sum of its `[[cost]]` sections."""

    name: str
    ramp: Literal["constant", "linear", "quadratic", "final"] = Field(
        default="constant",
        description="factor over time: constant 1; rising to 1 linearly or quadratically; or 1 only at the last step",
    )
    final_weight: float = Field(default=1.0, ge=0, description="factor on the cost of the last time step")


Parts = Annotated[ListOf[str], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class QuadraticCostConfig(_CostConfig):
    """Half the weighted square of the deviation from a target."""

    name: Literal["quadratic"] = "quadratic"
    on: Parts = Field(default=("action",), min_length=1, description='parts of the state, or "action"')
    target: float | ListOf[float] = Field(
        default=0.0, description="target, in units of the parts; one number, or a list with one per dimension"
    )
    weight: NonNegative | ListOf[NonNegative] = Field(
        default=1.0, description="weight; one number, or a list with one per dimension"
    )
    relative: bool = Field(
        default=False,
        description="the weight counts for an action in units of half its range, so that it means the same in N m and "
        'rad; only on = "action"',
    )

    @model_validator(mode="after")
    def _relative_action(self) -> Self:
        if self.relative and self.on != ("action",):
            raise ValueError(f'relative: only an action has a range, so it needs on = "action", got {list(self.on)}')
        return self


class RateCostConfig(_CostConfig):
    """Half the weighted square of the change of the action since the step before; the state needs "last_action"."""

    name: Literal["rate"] = "rate"
    weight: NonNegative | ListOf[NonNegative] = Field(
        default=1.0, description="weight; one number, or a list with one per action"
    )
    relative: bool = Field(
        default=False, description="the weight counts for an action in units of half its range, as in `quadratic`"
    )


class DistanceCostConfig(_CostConfig):
    """`l1 sqrt(d^2 + alpha) + l2 d^2 / 2 + log ln(d^2 + alpha) / 2`, with d the length of all parts together."""

    name: Literal["distance"] = "distance"
    on: Parts = Field(
        default=(), description="parts of the state that are zero at the goal; default: every site_position:A-B"
    )
    weight: NonNegative = Field(default=1.0, description="factor on the term")
    l1: float = Field(default=1.0, ge=0, description="weight of the smooth absolute distance")
    l2: float = Field(default=1.0, ge=0, description="weight of half the squared distance")
    log: float = Field(default=0.0, ge=0, description="weight of the logarithm, which rewards precision at the goal")
    alpha: float = Field(default=1e-5, gt=0, description="smoothing of the absolute distance and the logarithm at zero")


class SaturatingCostConfig(_CostConfig):
    """`1 - exp(-d^2 / 2 width^2)`, with d the distance of the entries from their target, through `matrix` if given."""

    name: Literal["saturating"] = "saturating"
    on: Parts = Field(
        min_length=1,
        description='parts of the state; "sin PART" and "cos PART" are the sine and the cosine of an angle in rad',
    )
    target: float | ListOf[float] = Field(
        default=0.0, description="target, in units of the entries; one number, or a list with one per entry"
    )
    matrix: ListOf[ListOf[float]] | None = Field(
        default=None,
        description="rows of a matrix that multiplies the entries less their target, as from angles to the position of "
        "a tip; default: each entry by itself",
    )
    width: Annotated[float, Gt(0)] | ListOf[Annotated[float, Gt(0)]] = Field(
        default=1.0, description="distance at which the cost is 0.39; one number, or a list with one per distance"
    )
    weight: NonNegative = Field(default=1.0, description="factor on the term, the cost far away")


class TaskCostConfig(_CostConfig):
    """A function in task.py."""

    name: Literal["task"] = "task"
    function: str = Field(default="cost", min_length=1, description="name of the function")
    weight: NonNegative = Field(default=1.0, description="factor on the term")


class RewardCostConfig(Section):
    """Minus the environment's reward, with a quadratic expansion learned from the samples."""

    name: Literal["reward"] = "reward"
    weight: float = Field(default=1.0, gt=0, description="factor on the reward")
    strength: float = Field(default=1.0, ge=0, description="pseudo-count of the prior, in samples")
    ridge: float = Field(
        default=1e-4, gt=0, description="ridge added to the variance of each linear feature, relative to that variance"
    )
    curvature_ridge: float = Field(
        default=3e-3, gt=0, description="ridge of the quadratic features; larger values give less curvature"
    )
    clusters: int = Field(
        default=20, ge=1, le=10_000, description="largest number of clusters of the mixture over [x; u; reward]"
    )
    memory: int = Field(
        default=3, ge=1, description="number of latest iterations whose samples the mixture is fitted to"
    )


class PluginCostConfig(_CostConfig):
    """A cost from another package, named by its entry point in the group `gps.costs`."""

    name: Literal["plugin"] = "plugin"
    plugin: str = Field(min_length=1, description="name of the entry point; the cost's own keys may follow `name`")
    options: dict[str, Any] = Field(default={}, description="keyword arguments of the entry point")
    weight: NonNegative = Field(default=1.0, description="factor on the term")


CostConfig = Annotated[
    Annotated[
        QuadraticCostConfig
        | RateCostConfig
        | DistanceCostConfig
        | SaturatingCostConfig
        | TaskCostConfig
        | RewardCostConfig
        | PluginCostConfig,
        Field(discriminator="name"),
    ],
    plugin_names("gps.costs", ("ramp", "final_weight", "weight")),
]


def expand_reward(value: Any) -> Any:
    """Replace `cost = "reward"` by one section of that name."""
    if not isinstance(value, str):
        return value
    if value != "reward":
        raise ValueError(f'expected a list of tables, or "reward" for the environment\'s own reward, got "{value}"')
    return [{"name": value}]
