"""What the first controllers and the first samples are, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gps.first_controllers import FirstControllers
    from gps.records import IterationRecord

GROWS = 1.05
"""A deviation that grows faster in a step is worth a word."""


def describe_first(first: FirstControllers) -> list[str]:
    """What a probe found, in a line or two; nothing without one."""
    if not first.episodes:
        return []
    feedback = np.asarray(first.controllers.feedback).any()
    lines = [
        f"a probe of {first.episodes} short episodes ({first.steps} steps) set the noise of the actions, "
        f"{_format_range(np.asarray(first.noise))}{', and the feedback' if feedback else ''}"
    ]
    open_loop, closed = first.growth
    share = np.asarray(first.drift) / np.where(np.isfinite(first.span), first.span, np.inf)
    if open_loop > GROWS:
        lines.append(
            f"the start does not hold itself: a deviation grows by a factor of {open_loop:.3g} in a step, "
            f"with feedback of {closed:.3g}"
        )
    elif (worst := float(np.nan_to_num(share).max(initial=0.0))) > 0.05:
        lines.append(f"without noise the state drifts by {100 * worst:.0f} % of its range during the probe")
    return lines


def describe_first_samples(first: FirstControllers, record: IterationRecord) -> str:
    """What the samples of iteration 0 found."""
    rollouts = record.rollouts
    parts = [f"{_format_percent(rollouts.saturated.mean())} of actions clipped"]
    known = np.isfinite(first.span) & (first.span > 0)
    if known.any() and rollouts.mask.shape[1] > 1 and rollouts.mask.all():
        spread = rollouts.states[..., known].std(axis=1, ddof=1).max(axis=1).mean(axis=0) / first.span[known]
        parts.append(
            f"positions spread over {_format_percent(np.exp(np.log(np.maximum(spread, 1e-12)).mean()))} of their ranges"
        )
    local = record.local
    if local is not None and local.dynamics is not None and np.isfinite(local.trust).any():
        worst = np.nanmax(local.trust)
        parts.append(
            f"the model's cost of them is off by {_format_percent(worst) if worst <= 10 else 'more than 1000 %'}"
        )
    return "first samples: " + ", ".join(parts)


def _format_percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _format_range(values: np.ndarray) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.2g}" if np.isclose(low, high, rtol=0.02) else f"{low:.2g} to {high:.2g}"
