"""`[algorithm.expert]`: who is asked what to do."""

from typing import Annotated, Any, Literal

from pydantic import Field

from gps.config.dynamics import MixtureConfig
from gps.config.section import RELATIVE, Section, named


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
    path: Annotated[str, RELATIVE] = Field(description="a run directory, relative to the experiment's directory")
    iteration: int | None = Field(default=None, ge=0, description="the iteration that has made it; default: the last")


ExpertConfig = Annotated[
    Annotated[PlannerExpertConfig | TaskExpertConfig | RunExpertConfig, Field(discriminator="name")],
    named("planner"),
    Field(description="who is asked what to do in the visited states"),
]
