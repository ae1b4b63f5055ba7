"""Costs: JAX functions of (x, u, t), their sums and expansions, and costs learned from rewards."""

from gps.costs.expansion import evaluate_cost, expand
from gps.costs.reward import RewardModel
from gps.costs.terms import Distance, Quadratic, Ramp, Sum, TaskCost

__all__ = ["Distance", "Quadratic", "Ramp", "RewardModel", "Sum", "TaskCost", "evaluate_cost", "expand"]
