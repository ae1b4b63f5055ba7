"""Which combinations of parameters the data fix, and the rest in words."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float

from gps.models.physics.parameters import Coordinates, Parameter

_RANK = 1e-6
"""A singular value below this share of the largest one is zero: slopes by differences are no more precise."""

_WIDE = 0.25
"""A combination is not fixed if its standard deviation is larger than this share of the width of its bounds."""

_MISFIT = 4.0
"""Pulls of this many times the variance that they should have are no chance: there are dozens of windows."""

_TINY = 1e-300

_SMALL = 0.1
"""A parameter takes no part in a combination if its weight is below this share of the largest one."""


class Belief(NamedTuple):
    """The Gaussian belief about the coordinates of the parameters.

    Args:
        factor: L, the covariance is L Lᵀ.
        loose: combinations that the data do not fix, one a row, as few parameters each as possible.
    """

    factor: Float[np.ndarray, "dp dp"]
    loose: Float[np.ndarray, "loose dp"]


def form_belief(
    slopes: Float[np.ndarray, "n dp"],
    coordinates: Coordinates,
    scores: Float[np.ndarray, "W dp"] | None = None,
) -> Belief:
    """Form the belief (JᵀJ)⁻¹ from the slopes J of whitened errors, by their singular values.

    A combination that the data do not fix is as uncertain as a uniform distribution between its bounds. Where the
    errors pull at a combination far more than their whitening allows, as a simulator that lacks something makes them,
    its variance is that of the pulls (White 1982, eq. 3.2, over windows).

    Args:
        scores: Jᵀr of each window; None to trust the whitening.
    """
    widths = coordinates.widths
    _, values, rows = np.linalg.svd(np.linalg.qr(_pad(slopes), mode="r"))
    reach = np.abs(rows) @ widths
    limits = reach / np.sqrt(12.0)
    with np.errstate(divide="ignore"):
        deviations = 1.0 / values
    flat = values <= _RANK * values.max(initial=0.0)
    loose = flat | (deviations > _WIDE * reach)
    if scores is not None:
        pulls = ((scores @ rows.T) ** 2).sum(axis=0)
        ratios = pulls / np.maximum(values**2, _TINY)
        deviations = deviations * np.sqrt(np.where(ratios > _MISFIT, ratios, 1.0))
    deviations = np.minimum(np.where(flat, np.inf, deviations), limits)
    return Belief(rows.T * deviations, _sparsen(rows[loose]))


def _pad(slopes: Float[np.ndarray, "n dp"]) -> Float[np.ndarray, "k dp"]:
    """Return the slopes with rows of zeros, if there are fewer than parameters."""
    return np.pad(slopes, [(0, max(slopes.shape[1] - len(slopes), 0)), (0, 0)])


def _sparsen(rows: Float[np.ndarray, "loose dp"]) -> Float[np.ndarray, "loose dp"]:
    """Return a basis of the same combinations in which each has a parameter of its own, with the largest weight 1."""
    if not len(rows):
        return rows
    _, _, order = scipy.linalg.qr(rows, pivoting=True, mode="economic")
    basis = np.linalg.solve(rows[:, order[: len(rows)]], rows)
    return basis / np.abs(basis).max(axis=1, keepdims=True)


def explain_loose(loose: Float[np.ndarray, "loose dp"], parameters: Sequence[Parameter]) -> str:
    """Say in words which combinations the data do not fix; empty if there is none."""
    return "; ".join(_explain_one(row, parameters) for row in loose)


def _explain_one(weights: Float[np.ndarray, "dp"], parameters: Sequence[Parameter]) -> str:
    taking = np.flatnonzero(np.abs(weights) > _SMALL * np.abs(weights).max()).tolist()
    names = [parameters[i].name for i in taking]
    if len(taking) == 1:
        return f"the data do not fix {names[0]}"
    if len(taking) == 2 and all(parameters[i].logarithmic for i in taking):
        first, second = weights[taking]
        if 0.8 < abs(first / second) < 1.25:
            known = "ratio" if first * second > 0 else "product"
            return f"the data fix only the {known} of {names[0]} and {names[1]}"
        powers = [f"{name}^{p:.2g}" for name, p in zip(names, (second, -first), strict=True)]
        return f"of {names[0]} and {names[1]} the data fix only {' · '.join(powers)}"
    parts = [f"{weights[i]:+.2f} {'log ' if parameters[i].logarithmic else ''}{parameters[i].name}" for i in taking]
    return f"the data do not fix the combination {' '.join(parts)}"
