"""Build guided policy search."""

from gps.algorithms.guided.badmm import BADMM, Penalty
from gps.algorithms.guided.mdgps import MDGPS
from gps.algorithms.guided.pigps import PIGPS
from gps.builders.algorithms.local import make_pi2, make_pilqr, make_trajopt
from gps.builders.algorithms.parts import Parts
from gps.config.algorithms.guided import BADMMConfig, MDGPSConfig, PIGPSConfig, PILQRGPSConfig


def make_mdgps(settings: MDGPSConfig, parts: Parts) -> MDGPS:
    """Mirror descent guided policy search around the trajectory optimiser."""
    return MDGPS(
        make_trajopt(settings, parts.problem, parts.directory, parts.environment),
        parts.make_learner(settings.policy),
        warm_up=settings.warm_up,
        on_policy=settings.sampling == "on_policy",
        step_rule=settings.step_rule,
    )


def make_badmm(settings: BADMMConfig, parts: Parts) -> BADMM:
    """BADMM around the trajectory optimiser."""
    return BADMM(
        make_trajopt(settings, parts.problem, parts.directory, parts.environment),
        parts.make_learner(settings.policy),
        warm_up=settings.warm_up,
        penalty=Penalty(**settings.penalty.model_dump()),
        dual_rate=settings.dual_rate,
    )


def make_pigps(settings: PIGPSConfig | PILQRGPSConfig, parts: Parts) -> PIGPS:
    """Guided policy search by path integrals around PI² or PILQR."""
    return PIGPS(
        make_pi2(settings, parts.problem)
        if isinstance(settings, PIGPSConfig)
        else make_pilqr(settings, parts.problem, parts.directory, parts.environment),
        parts.make_learner(settings.policy),
        warm_up=settings.warm_up,
        on_policy=settings.sampling == "on_policy",
    )
