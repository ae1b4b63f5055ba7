"""Minimise the mean of objectives that are drawn anew for each step, by Adam (Kingma & Ba 2015).

Where the objective of a draw is rough, as that of a policy is which balances something in an uncertain model, a search
for the minimum of one draw ends in the first of many dents; the mean of all draws has fewer of them.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from gps.policies.lbfgs import Descent, ValueAndGradient
from gps.status import PolicyStatus

_FIRST, _SECOND = 0.9, 0.99
"""Decay of the two moments."""

_SHARE = 0.02
"""The last learning rate, as a share of the first; it falls in the second half of the steps."""

_MOST_BAD = 15
"""Steps in a row without a finite gradient, after which the search ends."""


def minimise_mean(
    draw: Callable[[int], ValueAndGradient],
    starts: Sequence[Float[np.ndarray, "p"]],
    *,
    steps: int,
    learning_rate: float,
    clip: float = 10.0,
) -> Descent:
    """Search from the start that costs least under the first draw; it never raises for what an objective returns.

    Args:
        draw: the objective of a step, deterministic in the number of the step.
        learning_rate: the size of a step of each parameter.
        clip: largest norm of a gradient that counts; a longer one is shortened.

    Raises:
        ValueError: if there is no start.
    """
    if not starts:
        raise ValueError("minimise_mean needs at least one start")
    first = draw(0)
    values = np.array([_evaluate(first, start)[0] for start in starts])
    if np.isnan(values).all():
        said = f"The objective was not finite at {len(starts)} of {len(starts)} starts."
        return Descent(None, np.nan, np.empty(0), values, (0,) * len(starts), PolicyStatus.NOT_FINITE, said)
    best = int(np.nanargmin(values))
    point = np.array(starts[best], float)
    mean, square, trace = np.zeros_like(point), np.zeros_like(point), []
    bad = in_a_row = taken = 0
    for step in range(steps):
        value, gradient = _evaluate(draw(step), point)
        if gradient is None:
            bad, in_a_row = bad + 1, in_a_row + 1
            if in_a_row >= _MOST_BAD:
                break
            continue
        in_a_row, taken = 0, taken + 1
        trace.append(value)
        gradient = gradient * min(1.0, clip / max(float(np.linalg.norm(gradient)), 1e-300))
        mean = _FIRST * mean + (1 - _FIRST) * gradient
        square = _SECOND * square + (1 - _SECOND) * gradient**2
        rate = learning_rate * min(1.0, _SHARE + (1 - _SHARE) * 2 * (1 - step / steps))
        unbiased = np.sqrt(square / (1 - _SECOND**taken)) + 1e-8
        point = point - rate * mean / (1 - _FIRST**taken) / unbiased
    status = PolicyStatus.LEFT_FINITE if in_a_row >= _MOST_BAD else PolicyStatus.ITERATIONS_SPENT
    said = f"{bad} steps had no finite gradient and were left out." if bad else ""
    if not trace:
        return Descent(None, np.nan, np.empty(0), values, (0,) * len(starts), PolicyStatus.NOT_FINITE, said)
    iterations = tuple(taken if i == best else 0 for i in range(len(starts)))
    return Descent(point, trace[-1], np.array(trace), values, iterations, status, said)


def _evaluate(
    objective: ValueAndGradient, point: Float[np.ndarray, "p"]
) -> tuple[float, Float[np.ndarray, "p"] | None]:
    """The value and the gradient; NaN and None if one of them is not finite."""
    value, gradient = objective(point)
    sound = np.isfinite(value) and np.isfinite(gradient).all()
    return (float(value), np.asarray(gradient)) if sound else (np.nan, None)
