"""Minimise the mean of objectives that are drawn anew for each step, by Adam (Kingma & Ba 2015).

Where the objective of a draw is rough, as that of a policy is which balances something in an uncertain model, a search
for the minimum of one draw ends in the first of many dents; the mean of all draws has fewer of them. Which of several
starts leads furthest is not seen at the starts, so each is followed to the end.
"""

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float

from gps.environments.cpus import count_threads
from gps.policies.lbfgs import Descent, ValueAndGradient
from gps.status import PolicyStatus

_FIRST, _SECOND = 0.9, 0.99
"""Decay of the two moments."""

_SHARE = 0.02
"""The last learning rate, as a share of the first; it falls in the second half of the steps."""

_MOST_BAD = 15
"""Steps in a row without a finite gradient, after which a search ends."""

_LAST = 10
"""Steps by whose mean searches are compared. They see the same draws."""


def minimise_mean(
    draw: Callable[[int], ValueAndGradient],
    starts: Sequence[Float[np.ndarray, "p"]],
    *,
    steps: int,
    learning_rate: float,
    clip: float = 10.0,
    threads: int | None = None,
) -> Descent:
    """Search from each start, and return the best end; it never raises for what an objective returns.

    Args:
        draw: the objective of a step, deterministic in the number of the step.
        learning_rate: the size of a step of each parameter.
        clip: largest norm of a gradient that counts; a longer one is shortened.
        threads: searches at the same time; None: one for each core.

    Raises:
        ValueError: if there is no start.
    """
    if not starts:
        raise ValueError("minimise_mean needs at least one start")
    searches = [_Search(np.array(start, float), learning_rate, steps, clip) for start in starts]
    with ThreadPoolExecutor(min(len(searches), threads or count_threads())) as pool:
        list(pool.map(lambda search: search.run(draw), searches))
    values = np.array([search.recent for search in searches])
    if np.isnan(values).all():
        said = f"The objective was not finite at {len(starts)} of {len(starts)} starts."
        return Descent(None, np.nan, np.empty(0), values, (0,) * len(starts), PolicyStatus.NOT_FINITE, said)
    best = searches[int(np.nanargmin(np.where([search.lost for search in searches], np.inf, values)))]
    taken = tuple(len(search.trace) for search in searches)
    said = f"{best.bad} steps had no finite gradient and were left out." if best.bad else ""
    status = PolicyStatus.LEFT_FINITE if best.lost else PolicyStatus.ITERATIONS_SPENT
    return Descent(best.point, best.trace[-1], np.array(best.trace), values, taken, status, said)


@dataclasses.dataclass
class _Search:
    """One search. Steps without a finite gradient are left out."""

    point: Float[np.ndarray, "p"]
    learning_rate: float
    steps: int
    clip: float
    trace: list[float] = dataclasses.field(default_factory=list)
    bad: int = 0
    in_a_row: int = 0

    def __post_init__(self) -> None:
        self._mean, self._square = np.zeros_like(self.point), np.zeros_like(self.point)

    @property
    def lost(self) -> bool:
        """True after `_MOST_BAD` steps in a row without a finite gradient; the search then ends."""
        return self.in_a_row >= _MOST_BAD

    @property
    def recent(self) -> float:
        """The mean objective of the last steps; NaN where none was finite."""
        return float(np.mean(self.trace[-_LAST:])) if self.trace else np.nan

    def run(self, draw: Callable[[int], ValueAndGradient]) -> None:
        """Take the steps, until the last one or until the search is lost."""
        for step in range(self.steps):
            value, gradient = _evaluate(draw(step), self.point)
            if gradient is not None:
                self.in_a_row = 0
                self.trace.append(value)
                self._move(gradient, step)
                continue
            self.bad, self.in_a_row = self.bad + 1, self.in_a_row + 1
            if self.lost:
                return

    def _move(self, gradient: Float[np.ndarray, "p"], step: int) -> None:
        gradient = gradient * min(1.0, self.clip / max(float(np.linalg.norm(gradient)), 1e-300))
        self._mean = _FIRST * self._mean + (1 - _FIRST) * gradient
        self._square = _SECOND * self._square + (1 - _SECOND) * gradient**2
        rate = self.learning_rate * min(1.0, _SHARE + (1 - _SHARE) * 2 * (1 - step / self.steps))
        taken = len(self.trace)
        unbiased = np.sqrt(self._square / (1 - _SECOND**taken)) + 1e-8
        self.point = self.point - rate * self._mean / (1 - _FIRST**taken) / unbiased


def _evaluate(
    objective: ValueAndGradient, point: Float[np.ndarray, "p"]
) -> tuple[float, Float[np.ndarray, "p"] | None]:
    """The value and the gradient; NaN and None if one of them is not finite."""
    value, gradient = objective(point)
    sound = np.isfinite(value) and np.isfinite(gradient).all()
    return (float(value), np.asarray(gradient)) if sound else (np.nan, None)
