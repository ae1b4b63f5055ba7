"""From an experiment's configuration to its objects: environment, cost, first controllers, expert, algorithm.

Each module stands beside the section of `gps.config` that it reads. Whatever does not fit is a `ConfigError` that names
the key.
"""

from gps.builders.algorithms import algorithm
from gps.builders.controllers import first_controllers
from gps.builders.costs import cost, reward_model
from gps.builders.environments import environment, horizon, require_room
from gps.builders.experts import expert

__all__ = ["algorithm", "cost", "environment", "expert", "first_controllers", "horizon", "require_room", "reward_model"]
