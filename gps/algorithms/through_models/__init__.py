"""Algorithms that act through a global model of the dynamics: planning in it, or training a policy through it.

The room is ready: an algorithm here satisfies `gps.algorithms.algorithm.Algorithm`, takes a model of `gps.models`, and
a planner of `gps.planning` or the natural gradient step of `gps.policies.natural_gradient`. Its record has the sides
`model` and `planner`, or `policy`.
"""
