"""`[environment.noise]` and `environment.randomise`: what makes two episodes differ."""

from typing import Annotated, Any, Literal

from annotated_types import Gt
from pydantic import BeforeValidator, Field

from gps.config.section import ListOf, NonNegative, Section, usual_name

Positive = Annotated[float, Gt(0)]

Deviation = NonNegative | ListOf[NonNegative]
Deviations = NonNegative | dict[str, Deviation]


class DifferenceFilterConfig(Section):
    """Differences of the measured positions, behind a low-pass filter."""

    name: Literal["difference"] = "difference"
    smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="share of the last velocity in the next one; 0: no low-pass filter"
    )


class KalmanFilterConfig(Section):
    """The stationary Kalman filter of positions whose accelerations are unknown."""

    name: Literal["kalman"] = "kalman"
    acceleration: Positive | ListOf[Positive] = Field(
        description="standard deviation of the accelerations, in units of the position per s²; one number, or a list "
        "with one per joint"
    )


FilterConfig = Annotated[DifferenceFilterConfig | KalmanFilterConfig, Field(discriminator="name")]


class NoiseConfig(Section):
    """Noise, delay and limits between a controller and its system, the same for each environment."""

    state: Deviations = Field(
        default=0.0,
        description="standard deviation of the sensor noise on the state, in units of the state; one number, or a "
        "table with one per part, or a list with one per entry of a part",
    )
    observation: Deviations | None = Field(
        default=None,
        description="the same for the policy's observation; default: what is also in the state shows its noise, and "
        "other numbers have the noise of `state` if that is one number",
    )
    filter: Annotated[
        FilterConfig | None,
        usual_name("difference"),
        Field(
            description="only positions are measured, and this filter estimates the velocities from them; default: "
            "velocities are measured"
        ),
    ] = None
    action: Deviation = Field(
        default=0.0,
        description="standard deviation of the noise on the actions, relative to half the range of each action, "
        "absolute for an action without limits; one number, or a list with one per action",
    )
    delay: int = Field(default=0, ge=0, description="time steps from an action to its effect")
    rate_limit: Positive | ListOf[Positive] | None = Field(
        default=None,
        description="largest change of an action from one time step to the next, relative like `action`; one number, "
        "or a list with one per action; default: none",
    )


def _check_ranges(value: Any) -> Any:
    """Say where a range is no range."""
    if not isinstance(value, dict):
        return value
    for name, objects in value.items():
        if not isinstance(objects, dict) or not objects:
            raise ValueError(f'{name}: expected a table such as {{ "*" = [0.8, 1.2] }}, got {objects}')
        for key, given in objects.items():
            try:
                low, high = map(float, given)
                good = 0 <= low <= high < float("inf") and (low > 0 or name != "body_mass")
            except (TypeError, ValueError):
                good = False
            if not good:
                least = "greater than 0" if name == "body_mass" else "0 or more"
                raise ValueError(f"{name}.{key}: expected [lowest, highest] factor, {least}, got {given}")
    return value


Ranges = Annotated[dict[str, dict[str, ListOf[float]]], BeforeValidator(_check_ranges)]
"""`{ field = { object = [lowest, highest] } }`."""
