"""Build the algorithms that act through a global model: plan in it, or train a policy through it."""

import dataclasses
from functools import partial
from typing import TypedDict

import numpy as np

from gps.algorithms.through_models.ascent import AdamAscent, NaturalAscent, PolicyInTraining
from gps.algorithms.through_models.imagination import Imagination
from gps.algorithms.through_models.mbrl import MBRL
from gps.algorithms.through_models.mc_pilco import MCPILCO, Optimisation
from gps.algorithms.through_models.mppigps import MPPIGPS
from gps.algorithms.through_models.particles import Particles
from gps.algorithms.through_models.pilco import PILCO
from gps.algorithms.through_models.policy_backprop import PolicyBackprop
from gps.algorithms.through_models.policy_search import PathIntegralSearch
from gps.algorithms.through_models.value import FIT, ValueOptions
from gps.builders.algorithms.parts import Parts, find_observed
from gps.builders.modelled import Modelled
from gps.builders.models import make_model, make_single_model
from gps.builders.planners import make_policy_source, make_simulator_source
from gps.builders.policies import make_bounded_network
from gps.config.algorithms.through_models import (
    MBRLConfig,
    MCPILCOConfig,
    MPPIGPSConfig,
    PILCOConfig,
    PolicyBackpropConfig,
)
from gps.config.model import ModelConfig, SimulatorModelConfig
from gps.config.planner import AdaptivePlannerConfig
from gps.errors import ConfigError
from gps.models.features import find_learned_transforms
from gps.models.model import ModelLearner
from gps.models.reward import RewardLearner
from gps.policies.moments import require_moments
from gps.policies.neural import NeuralPolicy
from gps.policies.observed import Observed
from gps.problem import Problem


def make_mbrl(settings: MBRLConfig, parts: Parts) -> MBRL:
    """Planning in a learned model, or on the simulator itself."""
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
    return MBRL(
        problem,
        learner=make_model(model, Modelled.of(problem, parts.environment), parts.directory),
        planner=make_policy_source(settings.planner, parts.config.seed),
        version=settings.version,
        base_iterations=settings.base_iterations,
        noise=settings.noise,
        reward=_make_reward(problem),
    )


def _require_adaptable(settings: MBRLConfig) -> None:
    """ConfigError where the planner that adapts could not do what is asked."""
    if settings.noise:
        raise ConfigError("algorithm.noise: the planner that adapts must know its actions; set it to 0")
    if settings.version == "1.0":
        raise ConfigError('algorithm.version: the planner that adapts replans at every step; choose "1.5" or "0.5"')


def _make_reward(problem: Problem) -> RewardLearner | None:
    """The learner of the reward, where it is part of the cost."""
    return None if problem.reward is None else RewardLearner()


class _ThroughModel(TypedDict):
    model: ModelLearner
    observed: Observed
    reward: RewardLearner | None


def _through_model(model: ModelConfig, parts: Parts) -> _ThroughModel:
    """The settings of every algorithm that trains a policy through a model.

    Raises:
        ConfigError: if one model does not do for all conditions, or the policy observes what no model predicts.
    """
    problem = parts.problem
    return {
        "model": make_single_model(model, Modelled.of(problem, parts.environment), parts.directory),
        "observed": find_observed(problem, parts.environment),
        "reward": _make_reward(problem),
    }


def _find_observed_angles(shared: _ThroughModel) -> list[int]:
    """The entries of the policy's observation that its model knows as angles, be it learned here or stored."""
    angles = find_learned_transforms(shared["model"]).angles
    return [k for k, entry in enumerate(shared["observed"].entries) if entry in angles]


def make_mppigps(settings: MPPIGPSConfig, parts: Parts) -> MPPIGPS:
    """Guided policy search by path integrals in a model."""
    return MPPIGPS(
        parts.problem,
        parts.make_learner(settings.policy),
        **_through_model(settings.model, parts),
        search=PathIntegralSearch(**settings.search.model_dump()),
        kl_step=settings.kl_step,
        policy_weight=settings.policy_weight,
    )


def make_policy_backprop(settings: PolicyBackpropConfig, parts: Parts) -> PolicyBackprop:
    """Backpropagation through a model into the policy."""
    shared, by_adam = _through_model(settings.model, parts), settings.optimiser == "adam"
    network = make_bounded_network(settings.policy, parts.problem, parts.config.seed, _find_observed_angles(shared))
    imagination = {field.name for field in dataclasses.fields(Imagination)}
    return PolicyBackprop(
        parts.problem,
        PolicyInTraining.begin(NeuralPolicy.untrained(network)),
        **shared,
        ascent=AdamAscent(settings.learning_rate) if by_adam else NaturalAscent(settings.kl_step),
        imagination=Imagination(**settings.model_dump(include=imagination)),
        value=ValueOptions(
            steps=settings.value.steps,
            decay=settings.value.decay,
            hidden=tuple(settings.value.hidden),
            fit=dataclasses.replace(FIT, steps=settings.value.fit_steps),
            transforms=find_learned_transforms(shared["model"]),
        ),
        rounds=settings.rounds,
        updates=settings.updates or (200 if by_adam else 20),
        noise=settings.noise,
        base_iterations=settings.base_iterations,
    )


def make_pilco(settings: PILCOConfig, parts: Parts) -> PILCO:
    """A policy optimised by its expected cost in a Gaussian process.

    Raises:
        ConfigError: if model or network has no moments.
    """
    shared = _through_model(settings.model, parts)
    if find_learned_transforms(shared["model"]).quaternions:
        raise ConfigError(
            'algorithm.model.quaternions: pilco has no moments of quaternions; set it to "none", or describe the '
            "state by angles"
        )
    angles = _find_observed_angles(shared)
    draw_network = partial(make_bounded_network, settings.policy, parts.problem, angles=angles)
    require_moments(draw_network(0))
    return PILCO(
        parts.problem,
        **shared,
        draw_network=lambda seed, seen: draw_network(seed, seen=seen),
        iterations=settings.optimiser.iterations,
        restarts=settings.optimiser.restarts,
        planner=None if settings.planner is None else make_policy_source(settings.planner, parts.config.seed),
        start_deviation=settings.start_deviation,
    )


def make_mc_pilco(settings: MCPILCOConfig, parts: Parts) -> MCPILCO:
    """MC-PILCO; the model's noise moves the particles by itself unless that of the sensors is known."""
    problem, policy, shared = parts.problem, settings.policy, _through_model(settings.model, parts)
    angles = _find_observed_angles(shared)
    particles = settings.particles.model_dump()
    if particles["noise"] is None:
        particles["noise"] = not np.any(problem.sensor_noise)
    return MCPILCO(
        problem,
        **shared,
        draw_network=lambda seed, seen: make_bounded_network(policy, problem, seed, angles, seen, policy.spread),
        particles=Particles(**particles),
        optimisation=Optimisation(**settings.optimiser.model_dump()),
        planner=None if settings.planner is None else make_policy_source(settings.planner, parts.config.seed),
        planned_iterations=settings.planned_iterations,
    )
