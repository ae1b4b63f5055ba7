"""Build the distillation of an expert into a policy."""

from typing import TypedDict

from gps.algorithms.distilled.dagger import DAgger
from gps.algorithms.distilled.plato import PLATO
from gps.algorithms.distilled.practice import Practice
from gps.algorithms.local.execution import Execution
from gps.builders.algorithms.parts import Parts, find_observed
from gps.builders.experts import make_expert_source
from gps.config.algorithms.distilled import DAggerConfig, DistillationBase, PLATOConfig
from gps.errors import ConfigError
from gps.experts.contract import ExpertSource
from gps.policies.observed import NOTHING_OBSERVED


def make_dagger(settings: DAggerConfig, parts: Parts) -> DAgger:
    """DAgger with the expert as configured."""
    learner, shared = parts.make_learner(settings.policy), _distilled(settings, parts)
    return DAgger(parts.problem, learner, **shared, decay=settings.decay)


def make_plato(settings: PLATOConfig, parts: Parts) -> PLATO:
    """PLATO with the expert as configured."""
    learner, shared = parts.make_learner(settings.policy), _distilled(settings, parts)
    return PLATO(parts.problem, learner, **shared, adaptation=settings.adaptation)


class _Distilled(TypedDict):
    expert: ExpertSource
    memory: int
    deviation: float
    practice: Practice
    execution: Execution
    noise: float


def _distilled(settings: DistillationBase, parts: Parts) -> _Distilled:
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


def _practice(settings: DistillationBase, expert: ExpertSource, parts: Parts) -> Practice:
    """The settings of the lessons that take no step; the policy must observe the state where there are any."""
    if settings.imagined and expert.model is None:
        raise ConfigError(
            f"algorithm.imagined = {settings.imagined}: this expert has no model to practise in; it must be a run of "
            'algorithm.name = "mbrl"'
        )
    observed = NOTHING_OBSERVED
    if settings.imagined or expert.episodes:
        observed = find_observed(
            parts.problem, parts.environment, "recorded and imagined episodes have the state alone (without them: "
            "algorithm.expert.lessons = 0 and algorithm.imagined = 0)"
        )  # fmt: skip
    return Practice(settings.imagined, settings.imagined_samples, settings.imagined_steps, observed)
