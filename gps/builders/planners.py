"""Build the settings of a planner from `[algorithm.planner]`."""

from gps.config.planner import (
    CEMPlannerConfig,
    ICEMPlannerConfig,
    ILQRPlannerConfig,
    MPPIPlannerConfig,
    PlannerConfig,
    SequencePlannerConfig,
    ShootingPlannerConfig,
)
from gps.planning.cem import CEM
from gps.planning.icem import ICEM
from gps.planning.mppi import MPPI
from gps.planning.shooting import RandomShooting
from gps.planning.sources import ILQRPlanning, PlannerSource, SequencePlanning

_OPTIMISERS = {
    ShootingPlannerConfig: RandomShooting,
    CEMPlannerConfig: CEM,
    ICEMPlannerConfig: ICEM,
    MPPIPlannerConfig: MPPI,
}


def make_planner_source(settings: PlannerConfig, seed: int) -> PlannerSource:
    """The planner as configured."""
    if isinstance(settings, ILQRPlannerConfig):
        return ILQRPlanning(**settings.model_dump(exclude={"name"}), seed=seed)
    shared = settings.model_dump(include=set(SequencePlannerConfig.model_fields))
    own = settings.model_dump(exclude={"name", *SequencePlannerConfig.model_fields})
    return SequencePlanning(optimiser=_OPTIMISERS[type(settings)](**own), **shared, seed=seed)
