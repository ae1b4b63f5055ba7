"""Take back an update that made things worse: the last accepted controllers, and what was known around them.

A trust region method that finds the cost risen goes back and takes a smaller step from where it stood (Nocedal &
Wright 2006, ch. 4). Here the cost is a mean of few samples, and it may rise a little on the way to something better, so
only a rise by `RISE` of the cost counts. A first such rise solves the accepted problem again, under the bound that the
step rule has shortened; no sample is wasted. A second one in a row goes back to the accepted controllers themselves, to
sample them afresh.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics, pytree

RISE = 0.25
"""The rise of the cost that takes an update back, as a share of the mean absolute cost of an episode."""

RETURNS = 2
"""After so many rises in a row the accepted controllers themselves are sampled again."""


@pytree
class Accepted:
    """The controllers whose samples were the last not to cost much more, and the update's problem around them."""

    iteration: Int[np.ndarray, "M"]  # in which they were sampled
    controllers: Controller
    planned: Float[np.ndarray, "M T dx"]
    dynamics: LinearDynamics
    expansion: CostExpansion
    alpha: Float[np.ndarray, "M"]
    cost: Float[np.ndarray, "M"]  # mean of an episode
    size: Float[np.ndarray, "M"]  # mean absolute cost of an episode
    rises: Int[np.ndarray, "M"]  # in a row since then


class Rise(NamedTuple):
    """The conditions whose cost has risen much since their accepted controllers."""

    shorten: Bool[np.ndarray, "M"]  # take a smaller step from them
    back: Bool[np.ndarray, "M"]  # go back to them

    @property
    def any(self) -> Bool[np.ndarray, "M"]:
        return self.shorten | self.back


def find_rise(accepted: Accepted | None, cost: Float[np.ndarray, "M"]) -> Rise:
    """Compare the mean cost of the new samples with that of the accepted ones."""
    if accepted is None:
        return Rise(np.zeros(len(cost), bool), np.zeros(len(cost), bool))
    with np.errstate(invalid="ignore"):
        risen = (cost - accepted.cost > RISE * accepted.size) & (accepted.rises < RETURNS)
    return Rise(risen & (accepted.rises + 1 < RETURNS), risen & (accepted.rises + 1 == RETURNS))
