"""Build an experiment's objects from its configuration: environment, problem, first controllers, expert, algorithm.

Each module belongs to a section of `gps.config`. Whatever does not fit is a `ConfigError` that names the key.
"""

from gps.builders.algorithms import make_algorithm
from gps.builders.algorithms.local import make_pi2, make_pilqr, make_trajopt
from gps.builders.controllers import make_first_controllers
from gps.builders.environments import find_horizon, make_environment, require_room
from gps.builders.experts import make_expert
from gps.builders.policies import make_learner
from gps.builders.priors import make_prior
from gps.builders.problem import make_problem
from gps.builders.room import require_memory, require_memory_for_episodes

__all__ = [
    "find_horizon",
    "make_algorithm",
    "make_environment",
    "make_expert",
    "make_first_controllers",
    "make_learner",
    "make_pi2",
    "make_pilqr",
    "make_prior",
    "make_problem",
    "make_trajopt",
    "require_memory",
    "require_memory_for_episodes",
    "require_room",
]
