"""Algorithms that act through a global model of the dynamics: planning in it, or training a policy through it.

An algorithm here satisfies `gps.algorithms.algorithm.Algorithm` and takes a model of `gps.models`. `mbrl` plans in it.
The others derive from `base.PolicyThroughModel`: `mppigps` imitates plans, while `policy_backprop`, `pilco` and
`mc_pilco` differentiate an imagined cost by the policy. A record has the side `planner`, what was expected of the
episodes; the last three add the side `optimisation`.
"""
