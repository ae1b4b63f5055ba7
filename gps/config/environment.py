"""`[environment]`: the environment and its initial situations."""

import json
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge
from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from gps.config.noise import NoiseConfig, Ranges
from gps.config.section import RELATIVE, ListOf, Section
from gps.config.sizes import MOST_EPISODES, show_integer


def _seeds(value: object) -> object:
    """Expand a number M to M conditions that differ only in their seed."""
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    return [{"seed": seed} for seed in range(_require_number_of_seeds(value))]


def _require_number_of_seeds(value: int) -> int:
    """Return the number if there can be so many conditions."""
    if value < 1:
        raise ValueError(f"expected a list of tables, or a number of seeds: an integer >= 1, got {value}")
    if value > MOST_EPISODES:
        raise ValueError(f"expected at most {MOST_EPISODES} seeds, got {show_integer(value)}")
    return value


Limit = float | ListOf[float]


class SuccessConfig(Section):
    """`[environment.success]`: what success means in a MuJoCo model without Python."""

    model_config = ConfigDict(serialize_by_alias=True)

    distance: str = Field(
        min_length=1, description="the two points that shall meet: SITE-TARGET, or SITE-[x, y, z] in metres"
    )
    within: float = Field(gt=0, description="the largest distance at the goal, m")
    since: Literal["last", "any"] | Annotated[float, Ge(0)] = Field(
        default="last",
        alias="from",
        description="which states count: the last one of an episode, any of them, or all of the last so many seconds",
    )


class EnvironmentConfig(Section):
    """`[environment]`: the environment, given by either `id` or `mjcf`."""

    id: str | None = Field(
        default=None,
        min_length=1,
        description='a Gymnasium id, "package.module:Env-v0" to import the module first, or "task:Class" from task.py',
    )
    mjcf: Annotated[str | None, RELATIVE] = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="path of a MuJoCo model, MJCF or URDF, relative to the experiment's directory",
    )
    state: ListOf[str] | None = Field(
        default=None,
        description="parts of the state, in order; default: the environment's own (a Gymnasium environment's parts are "
        '"observation" or the keys of its Dict, or some entries of one: "observation[0,2]"). "last_action" is the '
        'action of the step before; ["last_action"] alone adds it to the environment\'s own state',
    )
    observation: ListOf[str] | None = Field(
        default=None,
        min_length=1,
        description="parts of the policy's observation, in order; the local controllers always observe the state. "
        "Default: the state, or the key `observation` of a Dict whose other key is `state`",
    )
    image_size: ListOf[int] | None = Field(
        default=None,
        description="width and height of images in the observation, in pixels; default: 64 x 64",
    )
    frame_skip: int | None = Field(
        default=None, ge=1, le=1000, description="physics steps per time step; default: the environment's own"
    )
    keyframe: str | None = Field(
        default=None,
        min_length=1,
        description="name of the keyframe of a MuJoCo model in which episodes start; default: `start` or `home` if "
        "there is one, otherwise the reference pose",
    )
    success: SuccessConfig | None = Field(
        default=None,
        description="what success means in a MuJoCo model: two points near each other; default: the environment's own",
    )
    horizon: int | None = Field(
        default=None, ge=2, description="time steps of a rollout, T; default: the environment's own"
    )
    conditions: Annotated[ListOf[dict[str, Any]], BeforeValidator(_seeds)] = Field(
        default=({},),
        min_length=1,
        description="the M initial situations, one table each, with keys of the environment; for a Gymnasium "
        "environment `seed` (default 0) and the options of its reset. A number M means the seeds 0 to M - 1",
    )
    test_conditions: ListOf[dict[str, Any]] = Field(
        default=(),
        description="initial situations that are never trained on, to evaluate how a policy generalises. A number K "
        "means the K seeds after those of `conditions`",
    )
    whole_at: Literal["success", "termination"] = Field(
        default="success",
        description="which episodes that the environment terminates before the horizon count as whole, their remaining "
        "steps costing nothing: those that end with a success, or all. The others are cut short, and their cost is "
        "unknown",
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="threads of the physics, or processes for the simulations of a Gymnasium environment; 1: in this "
        "process, without step_timeout; default: $GPS_THREADS, or all CPUs. Results do not depend on it",
    )
    options: dict[str, Any] = Field(
        default={}, description="additional keyword arguments of the environment's constructor"
    )
    noise: NoiseConfig = Field(default=NoiseConfig(), description="sensor noise, action noise, delay and rate limit")
    randomise: Ranges = Field(
        default={},
        description="fields of a MuJoCo model that differ in each episode, { field = { object = [lowest, highest] } }: "
        'factors, drawn uniformly for each object; "*" for every object that is not named',
    )
    step_timeout: float = Field(
        default=60.0,
        gt=0,
        le=1e6,
        description="seconds after which a Gymnasium environment that has not finished a step is killed, which ends "
        "the run; its construction and resets may take this long or 60 s, whichever is longer",
    )
    sampling: Literal["batch", "one_at_a_time"] = Field(
        default="batch",
        description="simulate all samples of an iteration in parallel, or one after another, as on a robot",
    )
    confirm_reset: bool = Field(
        default=False, description='ask on the terminal before each reset; needs sampling = "one_at_a_time"'
    )
    action_limits: ListOf[Limit] | None = Field(
        default=None,
        description="lowest and highest action, tighter than the environment's; each one number, or a list with one "
        "per action",
    )
    abort: str | None = Field(
        default=None,
        min_length=1,
        description="name of a function abort(state, action, t) in task.py, called after each step with the new "
        "state; if it returns true or a sentence, the episode ends, and its samples so far are kept",
    )

    @field_validator("test_conditions", mode="before")
    @classmethod
    def _following_seeds(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, int) or isinstance(value, bool):
            return value
        _require_number_of_seeds(value)
        seeds = [seed for one in info.data.get("conditions", ()) if type(seed := one.get("seed")) is int]
        first = max(seeds, default=-1) + 1
        return [{"seed": seed} for seed in range(first, first + value)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for key, conditions in (("conditions", self.conditions), ("test_conditions", self.test_conditions)):
            first: dict[str, int] = {}
            for m, condition in enumerate(conditions):
                same = first.setdefault(json.dumps(condition, sort_keys=True, default=str), m)
                if same != m:
                    raise ValueError(f"{key}.{m}: {condition} is also {key}.{same}; each must start in its own way")
        return self

    @model_validator(mode="after")
    def _unseen(self) -> Self:
        for i, condition in enumerate(self.test_conditions):
            if condition in self.conditions:
                m = self.conditions.index(condition)
                raise ValueError(f"test_conditions.{i}: {condition} is also conditions.{m}, which is trained on")
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
