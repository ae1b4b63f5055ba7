"""`[environment]`: what is controlled, and from where it starts."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from gps.config.section import RELATIVE, ListOf, Section


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
    mjcf: Annotated[str | None, RELATIVE] = Field(
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
