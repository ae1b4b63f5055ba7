"""Costs: JAX functions of (x, u, t), their sums and expansions, and costs learned from rewards."""

from gps.costs.expansion import evaluate_cost, expand
from gps.costs.reward import RewardModel
from gps.costs.terms import Cost, Distance, Quadratic, Ramp, Rate, Saturating, Sum, TaskCost

__all__ = [
    "Cost",
    "Distance",
    "Quadratic",
    "Ramp",
    "Rate",
    "RewardModel",
    "Saturating",
    "Sum",
    "TaskCost",
    "evaluate_cost",
    "expand",
]
