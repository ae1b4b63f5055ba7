"""How far states are from the data that a model has learned from."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import KDTree

FAR = 0.95
"""A state is far from the data if it is farther from them than this share of the data are from each other."""


class Nearness:
    """How far states are from data, in standard deviations of the data.

    Attributes:
        reach: the distance to the nearest other datum that a share `FAR` of the data stay within.
    """

    def __init__(self, data: Float[np.ndarray, "n dx"]) -> None:
        self._scale = np.where(data.std(axis=0) > 0, data.std(axis=0), 1.0)
        self._tree = KDTree(data / self._scale)
        distances, _ = self._tree.query(data / self._scale, k=2)
        self.reach = float(np.quantile(distances[:, 1], FAR))

    def distance(self, states: Float[np.ndarray, "k dx"]) -> Float[np.ndarray, "k"]:
        """The distance of each state to the nearest datum."""
        found, _ = self._tree.query(states / self._scale)
        return np.asarray(found)

    def is_far(self, states: Float[np.ndarray, "k dx"]) -> Bool[np.ndarray, "k"]:
        """True for each state that is far from the data."""
        return np.asarray(self.distance(states) > self.reach)
