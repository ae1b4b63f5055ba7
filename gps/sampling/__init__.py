"""Sampling: rollouts of a policy in a batch of simulations."""

from gps.sampling.collecting import Starts, collect, read_starts
from gps.sampling.noise import draw_noise
from gps.sampling.policy import Policy, StatesAndObservations

__all__ = ["Policy", "Starts", "StatesAndObservations", "collect", "draw_noise", "read_starts"]
