"""Costs: JAX functions of (x, u, t), their sums, and their expansions along trajectories."""

from gps.costs.expansion import evaluate, expand
from gps.costs.terms import Distance, Quadratic, Ramp, Sum, Task

__all__ = ["Distance", "Quadratic", "Ramp", "Sum", "Task", "evaluate", "expand"]
