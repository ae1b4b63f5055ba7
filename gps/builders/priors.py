"""Build the prior of the local dynamics from `[algorithm.dynamics]`."""

from gps.builders.checks import call_factory
from gps.config.dynamics import DynamicsConfig, MixturePriorConfig, PluginPriorConfig
from gps.dynamics.mixture import MixturePrior
from gps.dynamics.prior import DynamicsPrior
from gps.extensions import plugins
from gps.problem import Problem


def make_prior(dynamics: DynamicsConfig, problem: Problem) -> DynamicsPrior | None:
    """The prior as configured; None fits by least squares.

    Raises:
        ConfigError: if the prior of another package cannot be built.
    """
    match dynamics.prior:
        case _ if dynamics.fit == "least_squares":
            return None
        case MixturePriorConfig():
            return MixturePrior(**dynamics.prior.model_dump(exclude={"name"}))
        case PluginPriorConfig(plugin=name, options=options):
            factory = plugins.load("gps.dynamics", name, "algorithm.dynamics.prior.name")
            return call_factory(factory, f"algorithm.dynamics.prior: {name}", problem, **options)
    return None
