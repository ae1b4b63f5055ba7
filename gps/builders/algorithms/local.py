"""Build the optimisers of local controllers, alone or within a guided algorithm."""

import dataclasses
from pathlib import Path
from typing import Any, TypedDict

from gps.algorithms.local.execution import Execution
from gps.algorithms.local.pi2 import PI2
from gps.algorithms.local.pilqr import PILQR
from gps.algorithms.local.trajopt import TrajOpt
from gps.builders.algorithms.parts import Parts
from gps.builders.priors import make_prior
from gps.config.algorithms.local import BoundedConfig, Feedback, ModelBasedConfig, PI2Base, PILQRBase, TrajOptConfig
from gps.dynamics.prior import DynamicsPrior
from gps.environments.contract import BatchEnvironment
from gps.errors import ConfigError
from gps.models.prior import ModelPrior
from gps.problem import Problem

_HERE = Path()


class _Bounded(TypedDict):
    kl_step: float
    multiplier: float
    min_multiplier: float
    max_multiplier: float
    execution: Execution
    noise: float


def _bounded(settings: BoundedConfig) -> _Bounded:
    """The settings of every optimiser of local controllers."""
    return {
        "kl_step": settings.kl_step,
        "multiplier": settings.step_multiplier.initial,
        "min_multiplier": settings.step_multiplier.min,
        "max_multiplier": settings.step_multiplier.max,
        "execution": settings.controller.execute,
        "noise": settings.controller.noise,
    }


class _ModelBased(TypedDict):
    prior: DynamicsPrior | None
    ridge: float
    center: Any
    constraint: Any
    solver: Any
    entropy: float


def _model_based(
    settings: ModelBasedConfig, problem: Problem, directory: Path, environment: BatchEnvironment | None
) -> _ModelBased:
    """The settings of the optimisers that use a local model."""
    return {
        "prior": make_prior(settings.dynamics, problem, directory, environment),
        "ridge": settings.dynamics.ridge,
        "center": settings.dynamics.center,
        "constraint": settings.constraint,
        "solver": settings.solver,
        "entropy": settings.entropy,
    }


def make_trajopt(
    settings: ModelBasedConfig,
    problem: Problem,
    directory: Path = _HERE,
    environment: BatchEnvironment | None = None,
) -> TrajOpt:
    """The trajectory optimiser, alone or within a guided algorithm.

    Args:
        directory: of the experiment, to which the path of a prior's model is relative.
        environment: the simulator of a prior that is a physics model.
    """
    return TrajOpt(problem, **_bounded(settings), **_model_based(settings, problem, directory, environment))


def make_trajopt_alone(settings: TrajOptConfig, parts: Parts) -> TrajOpt:
    """The trajectory optimiser alone, which may iterate in the prior's model."""
    made = make_trajopt(settings, parts.problem, parts.directory, parts.environment)
    if settings.imagined and not isinstance(made.prior, ModelPrior):
        raise ConfigError(
            f"algorithm.imagined = {settings.imagined}: it takes a global model as the prior, such as "
            'algorithm.dynamics.prior = "gp"'
        )
    if settings.imagined and parts.problem.reward is not None:
        raise ConfigError(
            f'algorithm.imagined = {settings.imagined}: it takes a cost with a formula, and cost = "reward" has none'
        )
    return dataclasses.replace(
        made,
        imagined=settings.imagined,
        imagined_samples=settings.imagined_samples,
        imagined_fit=settings.imagined_fit,
    )


def make_pi2(settings: PI2Base, problem: Problem, feedback: Feedback = "keep") -> PI2:
    """PI², alone or within a guided algorithm."""
    return PI2(
        problem,
        **_bounded(settings),
        covariance_damping=settings.covariance_damping,
        covariance_floor=settings.covariance_floor,
        temperature=settings.temperature,
        feedback=feedback,
    )


def make_pilqr(
    settings: PILQRBase,
    problem: Problem,
    directory: Path = _HERE,
    environment: BatchEnvironment | None = None,
) -> PILQR:
    """PILQR, alone or within a guided algorithm."""
    return PILQR(
        problem,
        **_bounded(settings),
        **_model_based(settings, problem, directory, environment),
        covariance_damping=settings.covariance_damping,
        covariance_floor=settings.covariance_floor,
        residual_share=settings.residual_share,
    )
