"""`[algorithm.expert]`: the expert that labels the visited states with actions."""

from typing import Annotated, Any, Literal

from pydantic import Field

from gps.config.dynamics import MixtureConfig
from gps.config.section import EarlierRunConfig, Section, usual_name


class PlannerDynamicsConfig(MixtureConfig):
    """A Gaussian mixture over the points [x; u; x'] of all conditions, as a global model of the dynamics."""

    memory: int = Field(
        default=10, ge=1, description="number of latest iterations whose samples the mixture is fitted to"
    )


class PlannerExpertConfig(Section):
    """Replans at each step, by iterative LQR in dynamics learned from the samples."""

    name: Literal["planner"] = "planner"
    horizon: int = Field(default=20, ge=1, description="length of a plan in time steps; a plan ends with the episode")
    rounds: int = Field(
        default=2,
        ge=1,
        le=10_000,
        description="rounds of iterative LQR at each step, starting from the last step's plan",
    )
    first_rounds: int = Field(
        default=20, ge=1, le=10_000, description="rounds at the first step, starting from zero actions"
    )
    guesses: int = Field(
        default=8,
        ge=0,
        le=10_000,
        description="random plans tried at each step; the best one replaces a plan that costs more",
    )
    entropy: float = Field(
        default=1e-2,
        gt=0,
        description="temperature of the plan's entropy, relative to the mean absolute cost of a step",
    )
    dynamics: PlannerDynamicsConfig = PlannerDynamicsConfig()


class TaskExpertConfig(Section):
    """`act(states, t)` in task.py, or a class with that method. States are (B, dx), actions (B, du)."""

    name: Literal["task"] = "task"
    function: str = Field(default="act", min_length=1, description="name of the function or class")
    options: dict[str, Any] = Field(default={}, description="keyword arguments of the class")


class RunExpertConfig(EarlierRunConfig):
    """What an earlier run has learned.

    Its policy, which is given this experiment's state; its controllers, for the same conditions; or the model of an
    `mbrl` run, in which its planner plans at every step for this experiment's cost.
    """

    name: Literal["run"] = "run"
    lessons: int = Field(
        default=10,
        ge=0,
        description="latest iterations of an `mbrl` run whose episodes are the first lessons, where its planner acted; "
        "0: none",
    )

    def find_lessons(self, iteration: int) -> range:
        """The iterations that may hold first lessons; `iteration` is the last."""
        return range(max(0, iteration + 1 - self.lessons), iteration + 1)


ExpertConfig = Annotated[
    Annotated[PlannerExpertConfig | TaskExpertConfig | RunExpertConfig, Field(discriminator="name")],
    usual_name("planner"),
    Field(description="the expert that labels the visited states with actions"),
]
