"""A policy's next episodes as the model predicts them, compared with what happened."""

from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Float

from gps.players import Player
from gps.records import PlannerRecord, Rollouts
from gps.sampling.policy import Policy


class Forecast(NamedTuple):
    """Predicted costs and states of the policy's episodes, for M conditions."""

    costs: Float[np.ndarray, "M"]
    means: Float[np.ndarray, "M T dx"]
    deviations: Float[np.ndarray, "M T dx"] | None = None  # the model's doubt; None where it is unknown

    @classmethod
    def of_samples(
        cls, costs: Float[np.ndarray, "M N T"], states: Float[np.ndarray, "M N T dx"], rollouts: Rollouts
    ) -> Self:
        """The forecast by an imagined twin of each sample: mean costs, states of the first; NaN: not finite.

        Args:
            rollouts: the samples; only steps that they took cost anything.
        """
        mean = np.where(rollouts.mask, costs, 0.0).sum(axis=2).mean(axis=1)
        first = states[:, 0]
        return cls(np.where(np.isfinite(mean), mean, np.nan), np.where(np.isfinite(first), first, np.nan))


def compare_forecast(
    forecast: Forecast | None, sampled: Policy, costs: Float[np.ndarray, "M N T"]
) -> PlannerRecord | None:
    """The forecast of the policy against the costs of its samples; None where it was not sampled, or not forecast."""
    if forecast is None or sampled.player is not Player.POLICY:
        return None
    return PlannerRecord(
        forecast.costs,
        costs.sum(axis=2).mean(axis=1),
        planned_states=forecast.means,
        planned_deviations=forecast.deviations,
    )
