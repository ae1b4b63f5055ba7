"""Minimise a smooth function of a policy's parameters by L-BFGS (Nocedal 1980; SciPy's L-BFGS-B), from several starts.

Each start is a search of its own in a thread of its own, so the result does not depend on the number of threads; a
compiled JAX function leaves the other threads free to run.

Where a step of a search leads to a value or a gradient that is not finite, the line search is told that the objective
rises there, and cuts the step to about a quarter. A search that meets such points many times in a row ends at its last
good point. Nothing here raises for what the objective returns.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import optimize

from gps.status import PolicyStatus

ValueAndGradient = Callable[[np.ndarray], tuple[float, np.ndarray]]
"""A function of a vector (p,) that returns a number and a gradient (p,). Threads call it at the same time."""

_MOST_BAD = 15
"""Points in a row that are not finite, after which a search ends."""

_MEMORY = 60
"""Pairs of steps and gradients that L-BFGS keeps."""


class Descent(NamedTuple):
    """The result of `minimise`.

    Attributes:
        parameters: of the best start; None if the objective was finite at none.
        value: at `parameters`; NaN if there are none.
        trace: the value at the best start, and after each of its iterations.
        starts: the value at the end of each start; NaN: it was not finite at the start.
        iterations: of each start.
        status: how the best start ended, or NOT_FINITE.
        message: a sentence about starts that failed, and searches that met points that are not finite.
    """

    parameters: Float[np.ndarray, "p"] | None
    value: float
    trace: Float[np.ndarray, "steps"]
    starts: Float[np.ndarray, "starts"]
    iterations: tuple[int, ...]
    status: PolicyStatus
    message: str


def minimise(
    value_and_gradient: ValueAndGradient,
    starts: Sequence[Float[np.ndarray, "p"]],
    *,
    iterations: int,
    threads: int | None = None,
    bounds: tuple[Float[np.ndarray, "p"], Float[np.ndarray, "p"]] | None = None,
    tolerance: float = 1e-9,
) -> Descent:
    """Search from each start, and return the best end.

    Args:
        iterations: the most of each search.
        threads: searches at the same time; None: one for each core.
        bounds: the least and the greatest value of each parameter.
        tolerance: a search ends when an iteration gains less, relative to the objective.

    Raises:
        ValueError: if there is no start.
    """
    if not starts:
        raise ValueError("minimise needs at least one start")
    threads = min(len(starts), threads or _count_cores())
    searches = [_Search(value_and_gradient, np.asarray(start, float), bounds) for start in starts]

    def run(search: "_Search") -> "_End":
        return search.run(iterations, tolerance)

    if threads == 1:
        ends = [run(search) for search in searches]
    else:
        with ThreadPoolExecutor(threads) as pool:
            ends = list(pool.map(run, searches))
    return _summarise(ends)


class _End(NamedTuple):
    """How one search ended."""

    parameters: np.ndarray
    trace: list[float]  # empty: not finite at the start
    iterations: int
    status: PolicyStatus
    bad: int  # points that were not finite


@dataclasses.dataclass
class _Search:
    """One search. It remembers the last point that was accepted, and answers for points that are not finite."""

    function: ValueAndGradient
    point: Float[np.ndarray, "p"]  # accepted
    bounds: tuple[np.ndarray, np.ndarray] | None
    value: float = np.nan
    gradient: np.ndarray | None = None
    trace: list[float] = dataclasses.field(default_factory=list)
    tried: tuple[np.ndarray, float, np.ndarray] | None = None  # the last finite point
    bad: int = 0
    bad_in_a_row: int = 0

    def run(self, iterations: int, tolerance: float) -> _End:
        if self.bounds is not None:
            self.point = np.clip(self.point, *self.bounds)
        self.value, self.gradient = self._evaluate(self.point)
        if self.gradient is None:
            return _End(self.point, [], 0, PolicyStatus.NOT_FINITE, 1)
        self.trace.append(self.value)
        if not self.gradient.any():
            return _End(self.point, self.trace, 0, PolicyStatus.FLAT, 0)
        self.tried = self.point, self.value, self.gradient
        status = PolicyStatus.CONVERGED
        try:
            found = optimize.minimize(
                self._answer,
                self.point,
                jac=True,
                method="L-BFGS-B",
                bounds=None if self.bounds is None else optimize.Bounds(*self.bounds),
                callback=self._accept,
                options={
                    "maxiter": iterations,
                    "maxfun": 2 * iterations + _MOST_BAD,
                    "maxcor": _MEMORY,
                    "ftol": tolerance,
                    "gtol": 1e-8,
                },
            )
            status = PolicyStatus.ITERATIONS_SPENT if found.status == 1 else PolicyStatus.CONVERGED
        except _Hopeless:
            status = PolicyStatus.LEFT_FINITE
        return _End(self.point, self.trace, len(self.trace) - 1, status, self.bad)

    def _evaluate(self, point: np.ndarray) -> tuple[float, np.ndarray | None]:
        """The value and the gradient; None in place of a gradient if one of them is not finite."""
        value, gradient = self.function(point)
        value, gradient = float(value), np.array(gradient, float)
        return (value, gradient) if np.isfinite(value) and np.isfinite(gradient).all() else (np.nan, None)

    def _answer(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """The value and the gradient for the line search."""
        assert self.gradient is not None
        if np.array_equal(point, self.point):
            return self.value, self.gradient
        value, gradient = self._evaluate(point.copy())
        if gradient is not None:
            self.bad_in_a_row = 0
            self.tried = point.copy(), value, gradient
            return value, gradient
        self.bad += 1
        self.bad_in_a_row += 1
        if self.bad_in_a_row >= _MOST_BAD:
            raise _Hopeless
        # The parabola with the slope s < 0 at the accepted point and the value + |s| here has its least value at a
        # quarter of the step, and the slope 3 |s| here.
        step = point - self.point
        slope = max(abs(float(self.gradient @ step)), 1e-12)
        return self.value + slope, 3.0 * slope * step / float(step @ step)

    def _accept(self, intermediate_result: optimize.OptimizeResult) -> None:
        """Remember an accepted point: it is the last one that the line search tried."""
        assert self.tried is not None
        if np.array_equal(self.tried[0], intermediate_result.x):
            self.point, self.value, self.gradient = self.tried
            self.trace.append(self.value)


class _Hopeless(Exception):
    """A search meets nothing but points that are not finite."""


def _summarise(ends: Sequence[_End]) -> Descent:
    """The best end, and what is to be said about the others."""
    values = np.array([end.trace[-1] if end.trace else np.nan for end in ends])
    iterations = tuple(end.iterations for end in ends)
    failed, bad = int(np.isnan(values).sum()), sum(end.bad for end in ends if end.trace)
    said = [f"The objective was not finite at {failed} of {len(ends)} starts."] if failed else []
    said += [f"Searches turned back from {bad} points at which it was not finite."] if bad else []
    if failed == len(ends):
        return Descent(None, np.nan, np.empty(0), values, iterations, PolicyStatus.NOT_FINITE, " ".join(said))
    best = ends[int(np.nanargmin(values))]
    return Descent(
        best.parameters, best.trace[-1], np.array(best.trace), values, iterations, best.status, " ".join(said)
    )


def _count_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
