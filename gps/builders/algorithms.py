"""From `[algorithm]` to one of `gps.algorithms`, or to another package's."""

from collections.abc import Callable
from typing import Any

from gps.algorithms.distilled.dagger import DAgger
from gps.algorithms.distilled.plato import PLATO
from gps.algorithms.guided.badmm import BADMM, Penalty
from gps.algorithms.guided.base import UNLIMITED, Limits
from gps.algorithms.guided.mdgps import MDGPS
from gps.algorithms.guided.pigps import PIGPS
from gps.algorithms.local.pi2 import PI2
from gps.algorithms.local.pilqr import PILQR
from gps.algorithms.local.trajopt import TrajOpt
from gps.builders.checks import made
from gps.builders.costs import reward_model
from gps.builders.policies import learner
from gps.config import ExperimentConfig
from gps.config.algorithm import (
    BADMMConfig,
    DAggerConfig,
    MDGPSConfig,
    PI2Config,
    PIGPSConfig,
    PILQRConfig,
    PILQRGPSConfig,
    PLATOConfig,
    PluginAlgorithmConfig,
    TrajOptConfig,
)
from gps.config.dynamics import DynamicsConfig, MixturePriorConfig, PluginPriorConfig
from gps.dynamics.mixture import MixturePrior
from gps.dynamics.prior import DynamicsPrior
from gps.errors import ConfigError
from gps.extensions import plugins
from gps.observations import Sight


def algorithm(
    config: ExperimentConfig,
    total_cost: Callable,
    sight: Sight,
    du: int,
    advisers: dict[str, Any] | None = None,
    limits: Limits = UNLIMITED,
) -> Any:
    """The algorithm as configured: one of `gps.algorithms`, or another package's with the same methods.

    Args:
        sight: what a policy sees.
        du: how many actions it has.
        advisers: of `expert`, what those are made with that ask one.
        limits: of the actions; what local controllers teach a policy lies within them.

    Raises:
        ConfigError: if the algorithm, or its policy's network, does not fit.
    """
    settings = config.algorithm
    if settings.options and not isinstance(settings, PluginAlgorithmConfig):
        raise ConfigError(f"algorithm.options: {settings.name} has none, got {', '.join(settings.options)}")
    match settings:
        case PluginAlgorithmConfig():
            factory = plugins.load("gps.algorithms", settings.plugin, "algorithm.name")
            return made(factory, f"algorithm: {settings.plugin}", config, total_cost)
        case TrajOptConfig():
            return TrajOpt(total_cost, **_of_all(config), **_of_models(settings))
        case PI2Config():
            return PI2(total_cost, **_of_all(config), **_of_samples(settings), feedback=settings.feedback)
        case PILQRConfig():
            return PILQR(total_cost, **_of_all(config), **_of_models(settings), **_of_samples(settings))
        case MDGPSConfig():
            shared = {**_of_all(config), **_of_models(settings), **_of_policies(config, sight, du, limits)}
            return MDGPS(total_cost, **shared, sampling=settings.sampling, step_rule=settings.step_rule)
        case PIGPSConfig():
            local = PI2(total_cost, **_of_all(config), **_of_samples(settings))
            return PIGPS(local, **_of_policies(config, sight, du, limits), sampling=settings.sampling)
        case PILQRGPSConfig():
            local = PILQR(total_cost, **_of_all(config), **_of_models(settings), **_of_samples(settings))
            return PIGPS(local, **_of_policies(config, sight, du, limits), sampling=settings.sampling)
        case BADMMConfig():
            shared = {**_of_all(config), **_of_models(settings), **_of_policies(config, sight, du, limits)}
            penalty = Penalty(**settings.penalty.model_dump())
            return BADMM(total_cost, **shared, penalty=penalty, dual_rate=settings.dual_rate)
        case DAggerConfig():
            shared = {**_of_experts(config), **(advisers or {}), **learner(config, sight, du)}
            return DAgger(total_cost, **shared, decay=settings.decay)
        case PLATOConfig():
            shared = {**_of_experts(config), **(advisers or {}), **learner(config, sight, du)}
            return PLATO(total_cost, **shared, adaptation=settings.adaptation)


def _of_all(config: ExperimentConfig) -> dict[str, Any]:
    """What all algorithms are made with."""
    settings, controller = config.algorithm, config.algorithm.controller
    return {
        "reward": reward_model(config),
        "kl_step": settings.kl_step,
        "multiplier": settings.step_multiplier.initial,
        "min_multiplier": settings.step_multiplier.min,
        "max_multiplier": settings.step_multiplier.max,
        "execution": controller.execute,
        "noise": controller.noise,
        "smoothing": controller.smoothing,
    }


def _of_models(settings: TrajOptConfig | PILQRConfig | MDGPSConfig | BADMMConfig | PILQRGPSConfig) -> dict[str, Any]:
    """What those are made with that optimise under a local model."""
    return {
        "prior": _prior(settings.dynamics),
        "ridge": settings.dynamics.ridge,
        "center": settings.dynamics.center,
        "constraint": settings.constraint,
        "solver": settings.solver,
        "entropy": settings.entropy,
    }


def _of_samples(settings: PI2Config | PILQRConfig | PIGPSConfig | PILQRGPSConfig) -> dict[str, Any]:
    """What those are made with that weigh samples."""
    names = ("covariance_damping", "covariance_floor", "temperature", "residual_share")
    return {name: getattr(settings, name) for name in names if name in type(settings).model_fields}


def _of_experts(config: ExperimentConfig) -> dict[str, Any]:
    """What those are made with that ask an expert, beside the expert."""
    settings, controller = config.algorithm, config.algorithm.controller
    return {
        "reward": reward_model(config),
        "memory": settings.memory,
        "deviation": settings.deviation,
        "execution": controller.execute,
        "noise": controller.noise,
    }


def _of_policies(config: ExperimentConfig, sight: Sight, du: int, limits: Limits) -> dict[str, Any]:
    """What those are made with whose local controllers teach a neural policy."""
    return {**learner(config, sight, du), "warm_up": config.algorithm.warm_up, "limits": limits}


def _prior(dynamics: DynamicsConfig) -> DynamicsPrior | None:
    match dynamics.prior:
        case _ if dynamics.fit == "least_squares":
            return None
        case MixturePriorConfig():
            return MixturePrior(**dynamics.prior.model_dump(exclude={"name"}))
        case PluginPriorConfig(plugin=name, options=options):
            factory = plugins.load("gps.dynamics", name, "algorithm.dynamics.prior.name")
            return made(factory, f"algorithm.dynamics.prior: {name}", **options)
    return None
