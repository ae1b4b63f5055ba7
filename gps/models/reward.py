"""A cost that is learned from rewards, for tasks that give no formula: an ensemble of networks for r(x, u).

`gps.costs.reward` learns a local quadratic cost around the samples of each step. This one holds wherever there were
data, as planners over a global model need.
"""

import dataclasses
from typing import Self

import numpy as np
from jaxtyping import Float, Int

from gps.backend import Array, jax, jnp
from gps.linear_gaussian.types import pytree
from gps.models.data import Dataset
from gps.models.features import NO_TRANSFORMS, Encoding, StateTransforms
from gps.models.members import EnsembleOptions, GaussianNetwork, Regression, train_members
from gps.status import ModelStatus

DETERMINISTIC = EnsembleOptions(probabilistic=False, members=3)
"""The options of a cost by default."""


@pytree
class LearnedCost:
    """The cost −r̂(x, u), the mean of an ensemble: a JAX function of (x, u, t)."""

    members: GaussianNetwork
    encoding: Encoding
    mean: Float[Array, ""]  # of the rewards in the data
    scale: Float[Array, ""]  # their deviation

    def __call__(self, x: Float[Array, "dx"], u: Float[Array, "du"], t: Int[Array, ""] | int = 0) -> Float[Array, ""]:
        """Return the cost; the step `t` does not matter."""
        targets, _ = self.members.predict_each(self.encoding(x, u))
        return -(self.mean + self.scale * jnp.mean(targets[:, 0]))


@dataclasses.dataclass(frozen=True)
class RewardLearner:
    """Learns r(x, u) from all rewards so far; each fit starts anew.

    Args:
        options: of the networks; deterministic ones by default.
        max_points: largest number of rewards that are trained on; more are thinned evenly.
        transforms: what is known of the entries of the state.
        data: the points so far; the successor of a point is its reward.
        cost: the last good cost.
        error: root mean square of the members' errors on the rewards that they did not see; None before the first fit.
        status: how the last fit ended.
    """

    options: EnsembleOptions = DETERMINISTIC
    max_points: int = 100_000
    transforms: StateTransforms = NO_TRANSFORMS
    data: Dataset | None = None
    cost: LearnedCost | None = None
    error: float | None = None
    status: ModelStatus = ModelStatus.TOO_FEW_POINTS

    def refit(
        self,
        states: Float[np.ndarray, "N T dx"],
        actions: Float[np.ndarray, "N T du"],
        rewards: Float[np.ndarray, "N T"],
        seed: int,
    ) -> Self:
        """Return the learner that has also seen these episodes, deterministic in `seed`.

        Points that are not finite are left out, so a step after the end of an episode may hold NaN.
        """
        N, T = rewards.shape
        x, u, r = (array.reshape(N * T, -1) for array in (states, actions, rewards))
        known = np.isfinite(np.concatenate([x, u, r], axis=1)).all(axis=1)
        new = Dataset(x[known], u[known], r[known], np.repeat(np.arange(N), T)[known])
        data = new if self.data is None else self.data.add(new)
        learner = dataclasses.replace(self, data=data)
        used = data.thin(self.max_points)
        with np.errstate(over="ignore", invalid="ignore"):
            encoding, mean, scale = Encoding.of(used, self.transforms), used.successors.mean(), used.successors.std()
        if used.size < max(10, encoding.size):
            return dataclasses.replace(learner, status=ModelStatus.TOO_FEW_POINTS)
        if not (np.isfinite(scale) and np.isfinite(encoding.mean).all() and np.isfinite(encoding.weight).all()):
            return dataclasses.replace(learner, status=ModelStatus.NOT_FINITE)
        if scale <= 1e-10 * np.abs(used.successors).max():
            return dataclasses.replace(learner, status=ModelStatus.NO_VARIATION)
        return learner._fit(used, encoding, mean, scale, seed)

    def _fit(self, used: Dataset, encoding: Encoding, mean: float, scale: float, seed: int) -> Self:
        targets = (used.successors - mean) / scale
        regression = Regression(encoding.encode_all(used), targets, np.array([True]), used.episodes)
        start = GaussianNetwork.create(regression, self.options, jax.random.key(seed))
        fit = train_members(start, regression, self.options, seed, self.options.steps)
        if fit.status is ModelStatus.DIVERGED:
            return dataclasses.replace(self, status=fit.status)
        cost = LearnedCost(fit.members, encoding, np.asarray(mean), np.asarray(scale))
        return dataclasses.replace(self, cost=cost, error=float(fit.error[0] * scale), status=fit.status)
