"""Which controller to execute: versions 0.5, 1.0 and 2.0 of Levine's lecture on model-based control.

(Sergey Levine, CS 294-112 Deep Reinforcement Learning, Fall 2017, lecture 11.)

The optimiser always reasons about the full linear-Gaussian controller; this module makes the one that runs on the
system.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float

from gps.linear_gaussian.types import Controller

Execution = Literal["open_loop", "feedback", "fixed_noise", "max_entropy"]


def make_executable(
    controller: Controller, planned: Float[np.ndarray, "M T dx"], execution: Execution, noise: float
) -> Controller:
    """The controllers that run.

    Args:
        controller: batch of M.
        planned: the state x̂ that the plan expects at each step.
        execution: `open_loop`: the planned actions û, whatever the state (0.5); `feedback`: the mean of the controller
            (1.0); `fixed_noise`: the mean plus noise of standard deviation `noise`; `max_entropy`: the controller
            itself, with its covariance Quu⁻¹ (2.0).
        noise: standard deviation of the action, for `fixed_noise`.
    """
    K, k, covariance = controller.feedback, controller.feedforward, controller.covariance
    match execution:
        case "open_loop":
            u = np.einsum("mtij,mtj->mti", K, planned) + k
            return Controller(np.zeros_like(K), u, np.zeros_like(covariance))
        case "feedback":
            return Controller(K, k, np.zeros_like(covariance))
        case "fixed_noise":
            return Controller(K, k, np.broadcast_to(noise**2 * np.eye(k.shape[-1]), covariance.shape))
        case "max_entropy":
            return controller
