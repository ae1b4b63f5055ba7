"""`[[cost]]`: what an episode costs. The sections are summed."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from gps.config.section import ListOf, NonNegative, Section, plugged


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
    plugged("gps.costs", ("ramp", "final_weight", "weight")),
]


def costs(value: Any) -> Any:
    """Lets `cost = "reward"` stand for one section of that name."""
    if not isinstance(value, str):
        return value
    if value != "reward":
        raise ValueError(f'expected a list of tables, or "reward" for the environment\'s own, got "{value}"')
    return [{"name": value}]
