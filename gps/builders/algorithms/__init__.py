"""Build the algorithm from `[algorithm]`: one of `gps.algorithms`, or one of another package.

Each family has a module; `BUILDERS` says which function builds which section."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gps.algorithms.algorithm import AnyAlgorithm
from gps.builders.algorithms.distilled import make_dagger, make_plato
from gps.builders.algorithms.guided import make_badmm, make_mdgps, make_pigps
from gps.builders.algorithms.local import make_pi2, make_pilqr, make_trajopt_alone
from gps.builders.algorithms.parts import Parts
from gps.builders.algorithms.through_models import (
    make_mbrl,
    make_mc_pilco,
    make_mppigps,
    make_pilco,
    make_policy_backprop,
)
from gps.builders.checks import call_factory
from gps.config import ExperimentConfig
from gps.config.algorithms import PluginAlgorithmConfig
from gps.config.algorithms.distilled import DAggerConfig, PLATOConfig
from gps.config.algorithms.guided import BADMMConfig, MDGPSConfig, PIGPSConfig, PILQRGPSConfig
from gps.config.algorithms.local import PI2Config, PILQRConfig, TrajOptConfig
from gps.config.algorithms.through_models import (
    MBRLConfig,
    MCPILCOConfig,
    MPPIGPSConfig,
    PILCOConfig,
    PolicyBackpropConfig,
)
from gps.environments.contract import BatchEnvironment
from gps.errors import ConfigError
from gps.extensions import plugins
from gps.problem import Problem


def make_algorithm(
    config: ExperimentConfig,
    directory: Path,
    problem: Problem,
    environment: BatchEnvironment | None = None,
    resources: ExitStack | None = None,
) -> AnyAlgorithm:
    """The algorithm as configured.

    Args:
        environment: the simulator of a physics model, or that is planned on.
        resources: closes what the algorithm holds, when the experiment is closed.

    Raises:
        ConfigError: if the algorithm, its expert, or its policy's network does not fit.
    """
    settings = config.algorithm
    if settings.options and not isinstance(settings, PluginAlgorithmConfig):
        raise ConfigError(f"algorithm.options: {settings.name} has none, got {', '.join(settings.options)}")
    return BUILDERS[type(settings)](settings, Parts(config, directory, problem, environment, resources or ExitStack()))


def make_plugged_algorithm(settings: PluginAlgorithmConfig, parts: Parts) -> AnyAlgorithm:
    """The algorithm of another package."""
    factory = plugins.load("gps.algorithms", settings.plugin, "algorithm.name")
    return call_factory(factory, f"algorithm: {settings.plugin}", parts.problem, parts.config)


BUILDERS: dict[type, Callable[[Any, Parts], AnyAlgorithm]] = {
    TrajOptConfig: make_trajopt_alone,
    PI2Config: lambda settings, parts: make_pi2(settings, parts.problem, settings.feedback),
    PILQRConfig: lambda settings, parts: make_pilqr(settings, parts.problem, parts.directory, parts.environment),
    MDGPSConfig: make_mdgps,
    BADMMConfig: make_badmm,
    PIGPSConfig: make_pigps,
    PILQRGPSConfig: make_pigps,
    DAggerConfig: make_dagger,
    PLATOConfig: make_plato,
    MBRLConfig: make_mbrl,
    MPPIGPSConfig: make_mppigps,
    MCPILCOConfig: make_mc_pilco,
    PolicyBackpropConfig: make_policy_backprop,
    PILCOConfig: make_pilco,
    PluginAlgorithmConfig: make_plugged_algorithm,
}
"""Section of `[algorithm]` -> the function that builds its algorithm. A new algorithm adds a line."""
