"""Rules for the first samples: their ends, the share that the limits clip, their spread, and their motion.

The first samples are those of the first controllers, with their noise. They are compared with rollouts of random
actions, which show how far each entry of the state can move in a short time.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from gps.config.algorithms.distilled import DistillationBase
from gps.config.controller import HoldInitialConfig
from gps.conformance.finding import Finding, Level
from gps.environments.parts import name_part
from gps.experiment import Experiment
from gps.records import Rollouts
from gps.sampling import Policy

_MANY = 0.2
"""The share of clipped actions above which they are many."""
_ALIKE, _FEW = 1e-6, 0.02
"""The spread of the samples, relative to what the state can do, below which they are alike, or hardly differ."""
_HELD, _NEAR = 0.2, 0.01
"""The largest drift that counts as holding the start, relative to the same, and relative to the range of a joint."""
_ROUNDING = 1e-12
"""A motion below this, in an entry of size 1 or less, is an error of rounding."""


class _Motion(NamedTuple):
    """The motion of each entry of the state."""

    low: Float[np.ndarray, "M dx"]
    high: Float[np.ndarray, "M dx"]

    @classmethod
    def of(cls, rollouts: Rollouts) -> "_Motion":
        there = rollouts.mask[..., None]
        low = np.where(there, rollouts.states, np.inf).min(axis=(1, 2))
        return cls(low, np.where(there, rollouts.states, -np.inf).max(axis=(1, 2)))

    def join(self, other: "_Motion") -> "_Motion":
        return _Motion(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    @property
    def span(self) -> Float[np.ndarray, "dx"]:
        """The largest range of an entry within a condition."""
        return self._round(np.maximum(self.high - self.low, 0.0).max(axis=0))

    @property
    def total(self) -> Float[np.ndarray, "dx"]:
        """The range of an entry over all conditions."""
        return self._round(np.maximum(self.high.max(axis=0) - self.low.min(axis=0), 0.0))

    def _round(self, motion: Float[np.ndarray, "dx"]) -> Float[np.ndarray, "dx"]:
        size = np.maximum(np.abs(self.low), np.abs(self.high)).max(axis=0)
        return np.where(motion > _ROUNDING * np.maximum(size, 1.0), motion, 0.0)


def _find_ranges(motion: _Motion, built: Experiment) -> Float[np.ndarray, "dx"]:
    """The range of each entry of the state that moves: the known one of a joint, or else as far as it was seen to move.

    0 where nothing moves.
    """
    known = built.first.span
    return np.where((motion.span > 0) & np.isfinite(known) & (known > 0), known, motion.span)


def _find_spread(rollouts: Rollouts) -> Float[np.ndarray, "M dx"]:
    """The largest difference between two samples of a condition at the same step."""
    there = rollouts.mask[..., None]
    high = np.where(there, rollouts.states, -np.inf).max(axis=1)
    return np.maximum(high - np.where(there, rollouts.states, np.inf).min(axis=1), 0.0).max(axis=1)


def check_samples(random: Rollouts, first: Rollouts, built: Experiment) -> Iterator[Finding]:
    """Examine the first samples.

    Args:
        random: rollouts with random actions.
        first: rollouts of the first controllers.
    """
    yield from _check_ends(first)
    yield _check_saturation(first)
    if first.mask.shape[1] > 1:
        yield _check_spread(random, first, built)


# -- ends --------------------------------------------------------------------------------------------------------------


def _check_ends(first: Rollouts) -> Iterator[Finding]:
    """A warning where some episodes end early; where all of a condition do, the cost's own finding says it."""
    rule = "the first samples last until the horizon"
    short = ~first.whole
    if not short.any():
        yield Finding(rule)
    elif not short.all(axis=1).any():
        problem = f"{short.sum()} of {short.size} end early, the first after {_find_shortest(first, short)} steps"
        yield Finding(rule, problem, suggest_ends(first, short), Level.WARNING)


def suggest_ends(rollouts: Rollouts, short: Bool[np.ndarray, "M N"]) -> str:
    """The remedy for episodes that end before the horizon.

    Args:
        short: the episodes in question.
    """
    lengths = {int(length) for length in rollouts.mask.sum(axis=2)[short]}
    if len(lengths) == 1 and (length := lengths.pop()) > 1:
        shorter = f"set environment.horizon = {length}, the length of each"
    else:
        shorter = "shorten environment.horizon, or lower the noise of the first controllers"
    if any(short[abort.condition, abort.sample] for abort in rollouts.aborts):
        return shorter
    return (
        f'{shorter}; if an end costs nothing from there on, report it as info["success"] or set '
        'environment.whole_at = "termination"'
    )


def _find_shortest(rollouts: Rollouts, short: Bool[np.ndarray, "M N"]) -> int:
    return int(rollouts.mask.sum(axis=2)[short].min())


# -- actions and spread ------------------------------------------------------------------------------------------------


def _check_saturation(first: Rollouts) -> Finding:
    share = float(first.saturated.max())
    rule = "the limits clip few of the first actions"
    if share <= _MANY:
        return Finding(f"{rule} ({share:.0%})" if share else "the limits clip none of the first actions")
    return Finding(
        rule,
        f"they clip {share:.0%} in condition {first.saturated.argmax()}",
        "lower the noise or the gains of the first controllers ([algorithm.controller.initial])",
        Level.WARNING,
    )


def _check_spread(random: Rollouts, first: Rollouts, built: Experiment) -> Finding:
    """The spread of the entry that spreads most, relative to its range, in the condition where that is least."""
    rule = "the first samples of a condition differ"
    motion = _Motion.of(random).join(_Motion.of(first))
    ranges = _find_ranges(motion, built)
    moves = ranges > 0
    known = moves & np.isfinite(built.first.span)
    moves = known if known.any() else moves
    remedy = "raise the noise of the first controllers ([algorithm.controller])"
    if first.saturated.max() > _MANY:
        remedy = "bring the first controllers within the limits ([algorithm.controller.initial]), which clip them all"
    if not moves.any():
        return Finding(rule, "no entry of the state moves, whatever the actions", "let step apply the action")
    spread = _find_spread(first)[:, moves]
    share = spread / motion.span[moves]
    largest, m = share.max(axis=1), int(share.max(axis=1).argmin())
    if largest[m] > _FEW:
        of_range = (spread / ranges[moves])[m]
        name = built.environment.state_entries[np.flatnonzero(moves)[of_range.argmax()]].name
        return Finding(f"{rule}, by up to {of_range.max():.1%} of the range of {name}")
    if largest[m] > _ALIKE:
        return Finding(rule, f"in condition {m} by at most {largest[m]:.1%} of what moves", remedy, Level.WARNING)
    weight = Level.WARNING if isinstance(built.config.algorithm, DistillationBase) else Level.FAILURE
    return Finding(rule, f"those of condition {m} are alike, so they teach nothing", remedy, weight)


def check_hold(quiet: Rollouts, others: Sequence[Rollouts], built: Experiment) -> Finding:
    """Check that the first controllers hold the start: the drift of the positions without noise.

    Args:
        quiet: rollouts of the first controllers without noise.
        others: rollouts that show how far the state can move.
    """
    motion = _Motion.of(quiet)
    for rollouts in others:
        motion = motion.join(_Motion.of(rollouts))
    mechanics, entries = built.problem.mechanics, built.environment.state_entries
    held = np.isfinite(built.first.span)
    if mechanics is not None:
        held[mechanics.position] = True
    elif not held.any():
        held[:] = True
    drift = np.where(quiet.mask[..., None], np.abs(quiet.states - quiet.states[:, :, :1]), 0.0).max(axis=(0, 1, 2))
    ranges = _find_ranges(motion, built)
    far = held & (motion.span > 0) & (drift > _NEAR * ranges)
    share = np.where(held & (ranges > 0), drift / np.where(ranges > 0, ranges, 1.0), 0.0)
    moved = np.where(far, drift / np.where(far, motion.span, 1.0), 0.0)
    worst = int(moved.argmax())
    rule = "without noise the first controllers hold the start"
    if moved[worst] <= _HELD:
        return Finding(f"{rule}, within {share.max():.0%} of the range")
    name, unit, _ = entries[worst]
    distance = f"{drift[worst]:.3g} {unit}".strip()
    duration = built.horizon * built.environment.dt
    time = f"{duration:.3g} s" if np.isfinite(duration) else f"{built.horizon} steps"
    return Finding(
        rule,
        f"{name} moves by {distance} within {time}, {share[worst]:.0%} of its range",
        "none is needed if the system moves by itself; else set algorithm.controller.initial.hold to the action that "
        "keeps the start"
        if isinstance(built.config.algorithm.controller.initial, HoldInitialConfig)
        else 'none is needed if the system moves by itself; else choose algorithm.controller.initial.name = "hold"',
        Level.NOTE,
    )


# -- entries of the state ----------------------------------------------------------------------------------------------


def check_entries(random: Rollouts, first: Rollouts, built: Experiment) -> Iterator[Finding]:
    """Find the entries of the state that never change, that no action moves, or that repeat others."""
    motion = _Motion.of(random).join(_Motion.of(first))
    still = motion.total == 0
    fixed = (motion.span == 0) & ~still
    spread = np.maximum(_find_spread(random), _find_spread(first)).max(axis=0)
    undriven = (motion.span > 0) & (spread <= 1e-9 * motion.span) & (first.mask.shape[1] > 1)
    twins = _find_twins((random, first), ~still & ~fixed)
    rule = "every entry of the state moves"
    remedy = _suggest_state(built, still | twins)
    if still.any():
        yield Finding(rule, f"{_list(built, still)} never changes", remedy, Level.NOTE)
    if fixed.any():
        problem = f"{_list(built, fixed)} differs between conditions alone, like a goal; no local model needs it"
        yield Finding(rule, problem, weight=Level.NOTE)
    if not still.any() and not fixed.any():
        yield Finding(rule)
    if twins.any():
        yield Finding(
            "no entry of the state repeats another", f"{_list(built, twins)} repeats an earlier one", remedy, Level.NOTE
        )
    if undriven.any():
        yield Finding(
            "the actions drive every entry of the state that moves",
            f"no action changes {_list(built, undriven, 'any of')}",
            "name the others in environment.state, unless the cost needs it",
            Level.WARNING,
        )


def _find_twins(trials: Sequence[Rollouts], among: Bool[np.ndarray, "dx"]) -> Bool[np.ndarray, "dx"]:
    """True for each entry that equals an earlier one at every step."""
    columns = np.concatenate([rollouts.states[rollouts.mask] for rollouts in trials])
    seen: set[bytes] = set()
    twins = np.zeros(len(among), dtype=bool)
    for i in np.flatnonzero(among):
        column = columns[:, i].tobytes()
        twins[i] = column in seen
        seen.add(column)
    return twins


def _list(built: Experiment, chosen: Bool[np.ndarray, "dx"], several: str = "each of") -> str:
    """The names of some entries of the state."""
    names = [built.environment.state_entries[i].name for i in np.flatnonzero(chosen)]
    shown = names if len(names) <= 6 else [*names[:5], f"{len(names) - 5} others"]
    return shown[0] if len(shown) == 1 else f"{several} {', '.join(shown)}"


def _suggest_state(built: Experiment, dropped: Bool[np.ndarray, "dx"]) -> str:
    """The remedy that leaves these entries out; "" where positions and velocities must stay whole."""
    if built.problem.mechanics is not None:
        return ""
    parts = []
    for part, where in built.environment.state_layout.items():
        kept = ~dropped[where]
        if kept.all():
            parts.append(part)
        elif kept.any():
            marks = [name[:-1].rpartition("[")[2] for name in name_part(part, len(kept))]
            parts.append(f"{part.partition('[')[0]}[{','.join(np.array(marks)[kept])}]")
    listed = ", ".join(f'"{part}"' for part in parts)
    return f"leave out what the cost does not need: environment.state = [{listed}]" if parts else ""


def play_quietly(policy: Policy, built: Experiment) -> Rollouts:
    """One rollout of each condition without noise."""
    noise = np.zeros((len(built.conditions), 1, built.horizon, built.problem.du))
    return built.collect(policy, built.conditions, noise, observe=False)
