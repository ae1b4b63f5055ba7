"""Algorithms that act through a global model of the dynamics: planning in it, or training a policy through it.

An algorithm here satisfies `gps.algorithms.algorithm.Algorithm` and takes a model of `gps.models`. `mbrl` plans in it,
`mppigps` imitates plans, and `policy_backprop` and `pilco` differentiate the model by a policy. A record has the side
`planner`, what was expected of the episodes, and the last two have the side `optimisation`.
"""
