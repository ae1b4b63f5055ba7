"""`gps baseline`: agents of Stable-Baselines3 on an experiment's environment, to the same budget of steps.

The agent gets what the experiment's algorithm gets: the environment, its conditions in turn, the policy's observation,
episodes of T steps, and minus the experiment's cost (or the environment's reward) in each step. It has the same number
of environment steps. What it learned is then scored like a policy of gps: one episode without exploration from each
condition. `gps compare` reads the result.
"""

from gps.baselines.baseline import baseline
from gps.baselines.score import BaselineScore

__all__ = ["BaselineScore", "baseline"]
