"""Build the algorithm from `[algorithm]`: one of `gps.algorithms`, or one of another package."""

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np

from gps.algorithms.algorithm import AnyAlgorithm
from gps.algorithms.distilled.dagger import DAgger
from gps.algorithms.distilled.plato import PLATO
from gps.algorithms.distilled.practice import Practice
from gps.algorithms.guided.badmm import BADMM, Penalty
from gps.algorithms.guided.mdgps import MDGPS
from gps.algorithms.guided.pigps import PIGPS
from gps.algorithms.local.execution import Execution
from gps.algorithms.local.pi2 import PI2
from gps.algorithms.local.pilqr import PILQR
from gps.algorithms.local.trajopt import TrajOpt
from gps.algorithms.through_models.ascent import AdamAscent, NaturalAscent, PolicyInTraining
from gps.algorithms.through_models.imagination import Imagination
from gps.algorithms.through_models.mbrl import MBRL
from gps.algorithms.through_models.mc_pilco import MCPILCO, Optimisation
from gps.algorithms.through_models.mppigps import MPPIGPS
from gps.algorithms.through_models.particles import Particles
from gps.algorithms.through_models.pilco import PILCO
from gps.algorithms.through_models.policy_backprop import PolicyBackprop
from gps.algorithms.through_models.policy_search import PathIntegralSearch
from gps.algorithms.through_models.value import ValueOptions
from gps.builders.checks import call_factory
from gps.builders.experts import make_expert_source
from gps.builders.models import Modelled, find_transforms, make_model, require_one_system
from gps.builders.planners import make_policy_source, make_simulator_source
from gps.builders.policies import make_bounded_network, make_learner
from gps.builders.priors import make_prior
from gps.config import ExperimentConfig
from gps.config import algorithm as sections
from gps.config.model import LearnedModelConfig, SimulatorModelConfig
from gps.config.planner import AdaptivePlannerConfig
from gps.dynamics.prior import DynamicsPrior
from gps.environments.contract import BatchEnvironment
from gps.environments.parts import find_entries
from gps.errors import ConfigError
from gps.experts.contract import ExpertSource
from gps.extensions import plugins
from gps.models.features import NO_TRANSFORMS
from gps.models.gaussian_process_learner import GaussianProcessLearner
from gps.models.linear import LinearLearner
from gps.models.prior import ModelPrior
from gps.models.reward import RewardLearner
from gps.networks.fitting import FitOptions
from gps.policies.learner import Learner
from gps.policies.moments import require_moments
from gps.policies.neural import NeuralPolicy
from gps.problem import Problem

_HERE = Path()


class Parts(NamedTuple):
    """The inputs of every builder: the experiment's configuration and its problem."""

    config: ExperimentConfig
    directory: Path
    problem: Problem
    environment: BatchEnvironment | None  # the simulator of a physics model, or that is planned on
    resources: ExitStack  # closes what the algorithm holds


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
    if settings.options and not isinstance(settings, sections.PluginAlgorithmConfig):
        raise ConfigError(f"algorithm.options: {settings.name} has none, got {', '.join(settings.options)}")
    return BUILDERS[type(settings)](settings, Parts(config, directory, problem, environment, resources or ExitStack()))


class _Bounded(TypedDict):
    kl_step: float
    multiplier: float
    min_multiplier: float
    max_multiplier: float
    execution: Execution
    noise: float


def _bounded(settings: sections.BoundedConfig) -> _Bounded:
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
    settings: sections.ModelBasedConfig, problem: Problem, directory: Path, environment: BatchEnvironment | None
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
    settings: sections.ModelBasedConfig,
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


def _trajopt(settings: sections.TrajOptConfig, parts: Parts) -> TrajOpt:
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


def make_pi2(settings: sections.PI2Base, problem: Problem, feedback: sections.Feedback = "keep") -> PI2:
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
    settings: sections.PILQRBase,
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


def _learner(
    settings: sections.GuidedBase | sections.DistillationBase | sections.MPPIGPSConfig, parts: Parts
) -> Learner:
    return make_learner(settings.policy, parts.problem, parts.config.seed)


def _mdgps(settings: sections.MDGPSConfig, parts: Parts) -> MDGPS:
    return MDGPS(
        make_trajopt(settings, parts.problem, parts.directory, parts.environment),
        _learner(settings, parts),
        warm_up=settings.warm_up,
        on_policy=settings.sampling == "on_policy",
        step_rule=settings.step_rule,
    )


def _badmm(settings: sections.BADMMConfig, parts: Parts) -> BADMM:
    return BADMM(
        make_trajopt(settings, parts.problem, parts.directory, parts.environment),
        _learner(settings, parts),
        warm_up=settings.warm_up,
        penalty=Penalty(**settings.penalty.model_dump()),
        dual_rate=settings.dual_rate,
    )


def _pigps(settings: sections.PIGPSConfig | sections.PILQRGPSConfig, parts: Parts) -> PIGPS:
    return PIGPS(
        make_pi2(settings, parts.problem)
        if isinstance(settings, sections.PIGPSConfig)
        else make_pilqr(settings, parts.problem, parts.directory, parts.environment),
        _learner(settings, parts),
        warm_up=settings.warm_up,
        on_policy=settings.sampling == "on_policy",
    )


class _Distilled(TypedDict):
    expert: ExpertSource
    memory: int
    deviation: float
    practice: Practice
    execution: Execution
    noise: float


def _distilled(settings: sections.DistillationBase, parts: Parts) -> _Distilled:
    """The settings of every distillation."""
    expert = make_expert_source(settings, parts.config, parts.directory, parts.problem, parts.environment)
    return {
        "expert": expert,
        "memory": settings.memory,
        "deviation": settings.deviation,
        "practice": _practice(settings, expert, parts),
        "execution": settings.controller.execute,
        "noise": settings.controller.noise,
    }


def _practice(settings: sections.DistillationBase, expert: ExpertSource, parts: Parts) -> Practice:
    """The settings of the lessons that take no step; the policy must observe the state where there are any."""
    if settings.imagined and expert.model is None:
        raise ConfigError(
            f"algorithm.imagined = {settings.imagined}: this expert has no model to practise in; it must be a run of "
            'algorithm.name = "mbrl"'
        )
    observed: tuple[int, ...] = ()
    if settings.imagined or expert.episodes:
        observed = find_observed_entries(
            parts.problem, parts.environment, "recorded and imagined episodes have the state alone (without them: "
            "algorithm.expert.lessons = 0 and algorithm.imagined = 0)"
        )  # fmt: skip
    return Practice(settings.imagined, settings.imagined_samples, settings.imagined_steps, observed)


def _mbrl(settings: sections.MBRLConfig, parts: Parts) -> MBRL:
    problem, model = parts.problem, settings.model
    if isinstance(model, SimulatorModelConfig):
        planner = make_simulator_source(
            settings.planner, parts.config, parts.directory, problem, parts.environment, parts.resources
        )
        return MBRL(
            problem,
            learner=None,
            planner=planner,
            version=settings.version,
            base_iterations=0,
            noise=settings.noise,
        )
    if isinstance(settings.planner, AdaptivePlannerConfig):
        _require_adaptable(settings)
    learner = make_model(model, Modelled.of(problem, parts.environment), parts.directory)
    require_one_system(learner)
    return MBRL(
        problem,
        learner=learner,
        planner=make_policy_source(settings.planner, parts.config.seed),
        version=settings.version,
        base_iterations=settings.base_iterations,
        noise=settings.noise,
        reward=None if problem.reward is None else RewardLearner(),
    )


def _mppigps(settings: sections.MPPIGPSConfig, parts: Parts) -> MPPIGPS:
    problem = parts.problem
    model = make_model(settings.model, Modelled.of(problem, parts.environment), parts.directory)
    require_one_system(model)
    return MPPIGPS(
        problem,
        _learner(settings, parts),
        model=model,
        search=PathIntegralSearch(**settings.search.model_dump()),
        kl_step=settings.kl_step,
        policy_weight=settings.policy_weight,
        observed=find_observed_entries(problem, parts.environment),
        reward=None if problem.reward is None else RewardLearner(),
    )


def _mc_pilco(settings: sections.MCPILCOConfig, parts: Parts) -> MCPILCO:
    problem, own = parts.problem, settings.policy
    modelled = Modelled.of(problem, parts.environment)
    learner = make_model(settings.model, modelled, parts.directory)
    require_one_system(learner)
    observed, transforms = find_observed_entries(problem, parts.environment), NO_TRANSFORMS
    if isinstance(settings.model, LearnedModelConfig):
        transforms = find_transforms(settings.model, modelled, "algorithm.model")
    angles = [k for k, i in enumerate(observed) if i in transforms.angles]
    limited = bool(np.isfinite(problem.limits.low).all() and np.isfinite(problem.limits.high).all())
    own = own.model_copy(update={"squash": own.squash or ("tanh" if limited else "none")})
    particles = settings.particles.model_dump()
    if particles["noise"] is None:
        particles["noise"] = not np.any(problem.sensor_noise)
    return MCPILCO(
        problem,
        model=learner,
        draw_network=lambda seed, seen: make_bounded_network(own, problem, seed, angles, seen, own.spread),
        observed=observed,
        particles=Particles(**particles),
        optimisation=Optimisation(**settings.optimiser.model_dump()),
        planner=None if settings.planner is None else make_policy_source(settings.planner, parts.config.seed),
        planned_iterations=settings.planned_iterations,
        reward=None if problem.reward is None else RewardLearner(),
    )


def _policy_backprop(settings: sections.PolicyBackpropConfig, parts: Parts) -> PolicyBackprop:
    problem, seed = parts.problem, parts.config.seed
    modelled = Modelled.of(problem, parts.environment)
    model = make_model(settings.model, modelled, parts.directory)
    require_one_system(model)
    observed = find_observed_entries(problem, parts.environment)
    transforms = NO_TRANSFORMS
    if isinstance(settings.model, LearnedModelConfig):
        transforms = find_transforms(settings.model, modelled, "algorithm.model")
    angles = [i for i, entry in enumerate(observed) if entry in transforms.angles]
    network = make_bounded_network(settings.policy, problem, seed, angles)
    by_adam = settings.optimiser == "adam"
    fit = FitOptions(steps=settings.value.fit_steps, batch=256, learning_rate=3e-3)
    imagination = {field.name for field in dataclasses.fields(Imagination)}
    return PolicyBackprop(
        problem,
        PolicyInTraining.begin(NeuralPolicy.untrained(network)),
        model=model,
        ascent=AdamAscent(settings.learning_rate) if by_adam else NaturalAscent(settings.kl_step),
        imagination=Imagination(**settings.model_dump(include=imagination)),
        value=ValueOptions(
            steps=settings.value.steps,
            decay=settings.value.decay,
            hidden=tuple(settings.value.hidden),
            fit=fit,
            transforms=transforms,
        ),
        rounds=settings.rounds,
        updates=settings.updates or (200 if by_adam else 20),
        noise=settings.noise,
        base_iterations=settings.base_iterations,
        observed=observed,
        reward=None if problem.reward is None else RewardLearner(),
    )


def _pilco(settings: sections.PILCOConfig, parts: Parts) -> PILCO:
    problem = parts.problem
    learner = make_model(settings.model, Modelled.of(problem, parts.environment), parts.directory)
    require_one_system(learner)
    observed = find_observed_entries(problem, parts.environment)
    transforms = NO_TRANSFORMS
    if isinstance(learner, GaussianProcessLearner | LinearLearner):  # also where it is a stored one
        transforms = learner.transforms
    if transforms.quaternions:
        raise ConfigError(
            'algorithm.model.quaternions: pilco has no moments of quaternions; set it to "none", or describe the '
            "state by angles"
        )
    angles = [k for k, i in enumerate(observed) if i in transforms.angles]
    draw_network = partial(make_bounded_network, settings.policy, problem, angles=angles)
    require_moments(draw_network(0))
    return PILCO(
        problem,
        model=learner,
        draw_network=lambda seed, seen: draw_network(seed, seen=seen),
        observed=observed,
        iterations=settings.optimiser.iterations,
        restarts=settings.optimiser.restarts,
        start_deviation=settings.start_deviation,
        reward=None if problem.reward is None else RewardLearner(),
    )


def find_observed_entries(
    problem: Problem, environment: BatchEnvironment | None, why: str = "it is rolled out in a model of the state"
) -> tuple[int, ...]:
    """The entry of the state that each entry of the policy's observation is.

    Args:
        why: the policy may observe nothing but the state, for the message.

    Raises:
        ConfigError: if the policy observes something else, for then no model of the state can tell how it would act.
    """
    layout = None if environment is None else environment.observation_layout
    if layout is None and problem.sight.image_shape is None and len(problem.sight.numbers) == problem.dx:
        return tuple(range(problem.dx))
    names = [entry.name for entry in problem.state_entries]
    entries: list[int] = []
    for part in layout or ["it"]:
        try:
            entries += find_entries(part, problem.state_layout, names)
        except ValueError as error:
            raise ConfigError(
                f"environment.observation: {part} is no part of the state. The policy can observe nothing else, since "
                f"{why}: list parts of environment.state only"
            ) from error
    return tuple(entries)


def _require_adaptable(settings: sections.MBRLConfig) -> None:
    """ConfigError where the planner that adapts could not do what is asked."""
    if settings.noise:
        raise ConfigError("algorithm.noise: the planner that adapts must know its actions; set it to 0")
    if settings.version == "1.0":
        raise ConfigError('algorithm.version: the planner that adapts replans at every step; choose "1.5" or "0.5"')


def _plugin(settings: sections.PluginAlgorithmConfig, parts: Parts) -> AnyAlgorithm:
    factory = plugins.load("gps.algorithms", settings.plugin, "algorithm.name")
    return call_factory(factory, f"algorithm: {settings.plugin}", parts.problem, parts.config)


BUILDERS: dict[type, Callable[[Any, Parts], AnyAlgorithm]] = {
    sections.TrajOptConfig: _trajopt,
    sections.PI2Config: lambda settings, parts: make_pi2(settings, parts.problem, settings.feedback),
    sections.PILQRConfig: lambda settings, parts: make_pilqr(
        settings, parts.problem, parts.directory, parts.environment
    ),
    sections.MDGPSConfig: _mdgps,
    sections.BADMMConfig: _badmm,
    sections.PIGPSConfig: _pigps,
    sections.PILQRGPSConfig: _pigps,
    sections.DAggerConfig: lambda settings, parts: DAgger(
        parts.problem, _learner(settings, parts), **_distilled(settings, parts), decay=settings.decay
    ),
    sections.PLATOConfig: lambda settings, parts: PLATO(
        parts.problem, _learner(settings, parts), **_distilled(settings, parts), adaptation=settings.adaptation
    ),
    sections.MBRLConfig: _mbrl,
    sections.MPPIGPSConfig: _mppigps,
    sections.MCPILCOConfig: _mc_pilco,
    sections.PolicyBackpropConfig: _policy_backprop,
    sections.PILCOConfig: _pilco,
    sections.PluginAlgorithmConfig: _plugin,
}
"""Section of `[algorithm]` -> the function that builds its algorithm. A new algorithm adds a line."""
