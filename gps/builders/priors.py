"""Build the prior of the local dynamics from `[algorithm.dynamics]`."""

from pathlib import Path

from gps.builders.checks import call_factory
from gps.builders.modelled import Modelled
from gps.builders.models import make_model
from gps.config.dynamics import DynamicsConfig, MixturePriorConfig, ModelPriorKeys, PluginPriorConfig
from gps.dynamics.mixture import MixturePrior
from gps.dynamics.prior import DynamicsPrior
from gps.environments.contract import BatchEnvironment
from gps.extensions import plugins
from gps.models.prior import ModelPrior
from gps.problem import Problem

_KEY = "algorithm.dynamics.prior"
_HERE = Path()


def make_prior(
    dynamics: DynamicsConfig, problem: Problem, directory: Path = _HERE, environment: BatchEnvironment | None = None
) -> DynamicsPrior | None:
    """The prior as configured; None fits by least squares.

    Args:
        directory: of the experiment, to which paths are relative.
        environment: the simulator of a physics model.

    Raises:
        ConfigError: if the prior's model, or the prior of another package, cannot be built.
    """
    match dynamics.prior:
        case _ if dynamics.fit == "least_squares":
            return None
        case MixturePriorConfig():
            return MixturePrior(**dynamics.prior.model_dump(exclude={"name"}))
        case PluginPriorConfig(plugin=name, options=options):
            factory = plugins.load("gps.dynamics", name, f"{_KEY}.name")
            return call_factory(factory, f"{_KEY}: {name}", problem, **options)
        case ModelPriorKeys(strength=strength, degrees=degrees):
            learner = make_model(dynamics.prior, Modelled.of(problem, environment), directory, _KEY)
            return ModelPrior(learner, strength=strength, degrees=degrees)
    return None
