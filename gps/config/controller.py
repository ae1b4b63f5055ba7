"""`[algorithm.controller]`: what is executed, and the initial controllers."""

from typing import Annotated, Literal

from pydantic import Field

from gps.config.section import RELATIVE, EarlierRunConfig, ListOf, Section, usual_name

_Positive = Annotated[float, Field(gt=0)]


class HoldInitialConfig(Section):
    """Hold the start, feed back as a short probe of the system suggests, and spread the states."""

    name: Literal["hold"] = "hold"
    hold: ListOf[float] | None = Field(
        default=None,
        description="the action that keeps the start, one number per action; default: found from the model of a MuJoCo "
        "environment, else 0, or the middle of a range without 0",
    )
    spread: float = Field(
        default=0.03,
        gt=0,
        le=1,
        description="standard deviation of the positions by the noise, as a share of their ranges, on average",
    )
    noise: _Positive | ListOf[_Positive] | None = Field(
        default=None,
        description="standard deviation of the exploration noise, in units of action; one number, or a list with one "
        "per action; default: by `spread`, or a quarter of the range where no range of the state is known",
    )
    feedback: bool = Field(default=True, description="feed back the state with the least effort that holds the start")


class LQRInitialConfig(Section):
    """An LQR controller that holds the start, under assumed double-integrator dynamics."""

    name: Literal["lqr"] = "lqr"
    stiffness: float = Field(default=1.0, ge=0, description="weight of the deviation of the positions")
    damping: float = Field(default=0.5, ge=0, description="weight of the velocities, relative to `stiffness`")
    gain: float | ListOf[float] = Field(
        default=1.0, description="acceleration per unit of action; one number, or a list with one per action"
    )
    noise: float = Field(
        default=1.0, gt=0, description="largest standard deviation of the noise at the first step, in units of action"
    )


class PDInitialConfig(Section):
    """A proportional-derivative controller that holds the start."""

    name: Literal["pd"] = "pd"
    stiffness: float = Field(default=1.0, ge=0, description="action per unit of position error")
    damping: float = Field(default=0.5, ge=0, description="action per unit of velocity")
    noise: float = Field(
        default=0.3, gt=0, description="standard deviation of the exploration noise, in units of action"
    )


class ZeroInitialConfig(Section):
    """Zero-mean noise without feedback."""

    name: Literal["zero"] = "zero"
    noise: float | None = Field(
        default=None,
        gt=0,
        description="standard deviation of the exploration noise, in units of action; default: a quarter of the range "
        "of an action with limits, 1 without",
    )


class FileInitialConfig(EarlierRunConfig):
    """The controllers of an earlier run, or of a file that `gps export` has written."""

    name: Literal["file"] = "file"
    path: Annotated[str, RELATIVE] = Field(
        description="a run directory, or an exported .npz of controllers, relative to the experiment's directory"
    )


InitialConfig = HoldInitialConfig | LQRInitialConfig | PDInitialConfig | ZeroInitialConfig | FileInitialConfig


class ControllerConfig(Section):
    """`[algorithm.controller]`: what is executed while sampling, and the initial controllers."""

    execute: Literal["open_loop", "feedback", "fixed_noise", "max_entropy"] = Field(
        default="max_entropy",
        description="open_loop: the mean actions; feedback: the mean controllers; fixed_noise: with noise of fixed "
        "size; max_entropy: with covariance Quu^-1",
    )
    noise: float = Field(
        default=0.1, ge=0, description='standard deviation of the noise if execute = "fixed_noise", in units of action'
    )
    smoothing: float | None = Field(
        default=None,
        ge=0,
        description="standard deviation of the Gaussian filter over the exploration noise, in time steps; 0: white "
        "noise; default: 1 where a probe sized the noise, otherwise 0",
    )
    initial: Annotated[
        Annotated[InitialConfig, Field(discriminator="name")],
        usual_name("hold"),
        Field(description="the controllers of the first iteration"),
    ] = HoldInitialConfig()

    def smooth(self, probed: bool) -> float:
        """The smoothing of the noise, in time steps; `probed` if a probe sized it."""
        if self.smoothing is not None:
            return self.smoothing
        return 1.0 if probed else 0.0


class BasePolicyConfig(ControllerConfig):
    """`[algorithm.controller]` where the first controllers only collect data; by default they are random."""

    initial: Annotated[
        Annotated[InitialConfig, Field(discriminator="name")],
        usual_name("zero"),
        Field(description="the base policy"),
    ] = ZeroInitialConfig()
