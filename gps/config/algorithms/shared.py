"""The keys of `[algorithm]` that all algorithms share."""

from typing import Any, Literal

from pydantic import Field

from gps.config.controller import ControllerConfig
from gps.config.section import Section

OnTrouble = Literal["continue", "stop"]


class AlgorithmBase(Section):
    """Keys of all algorithms."""

    name: str
    options: dict[str, Any] = Field(default={}, description="additional keys for an algorithm from another package")
    iterations: int = Field(default=10, ge=1, description="number of iterations: sample, fit, improve")
    samples: int = Field(default=5, ge=1, description="rollouts per condition in each iteration, N")
    on_trouble: OnTrouble = Field(
        default="continue",
        description="after an iteration in which a condition got no new controller, all episodes of a condition "
        "failed, or the policy's training failed: continue with the rest, or stop the run",
    )
    controller: ControllerConfig = ControllerConfig()
