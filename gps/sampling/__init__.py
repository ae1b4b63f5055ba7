"""Sampling: rollouts of a policy in a batch of simulations."""

from gps.sampling.collecting import collect, start_states
from gps.sampling.noise import exploration_noise
from gps.sampling.policy import Policy, Seen

__all__ = ["Policy", "Seen", "collect", "exploration_noise", "start_states"]
