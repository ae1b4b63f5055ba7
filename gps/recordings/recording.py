"""Recorded episodes: states and actions over time, with the names of their entries."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from gps.dynamics.prior import Transitions
from gps.environments.contract import Entry
from gps.errors import RecordingError

MOST_NUMBERS = 1 << 27
"""The most numbers in the states and actions of a recording: 1 GiB."""

_LARGEST = 1e100
"""A larger number is that of a measurement that went wrong."""


@dataclasses.dataclass(frozen=True)
class Recording:
    """E episodes of at most T steps. Row t has the state at step t and the action that was applied there.

    The action of an episode's last row leads nowhere and is not used. Where `mask` is False, states and actions are 0.

    Attributes:
        states, actions, mask: what was recorded.
        state_entries, action_entries: the name and unit of each entry.
        dt: control period in seconds; NaN where it is unknown.
        notes: what is worth knowing of the file, such as the parts of it that were not read.
        conditions: the number of the condition of each episode; None where it is unknown.
    """

    states: Float[np.ndarray, "E T dx"]
    actions: Float[np.ndarray, "E T du"]
    mask: Bool[np.ndarray, "E T"]
    state_entries: tuple[Entry, ...]
    action_entries: tuple[Entry, ...]
    dt: float = float("nan")
    notes: tuple[str, ...] = ()
    conditions: Int[np.ndarray, "E"] | None = None

    @property
    def dx(self) -> int:
        return self.states.shape[2]

    @property
    def du(self) -> int:
        return self.actions.shape[2]

    @property
    def episodes(self) -> int:
        """The number of episodes, E."""
        return len(self.states)

    @property
    def transitions(self) -> Transitions:
        """The points [x; u; x'] by condition."""
        return Transitions.of(*self.by_condition)

    @property
    def by_condition(
        self,
    ) -> tuple[Float[np.ndarray, "M N T dx"], Float[np.ndarray, "M N T du"], Bool[np.ndarray, "M N T"]]:
        """The states, the actions and the mask by condition; of one condition where it is unknown.

        Where a condition has fewer episodes than another one, the rest is masked.
        """
        where = np.zeros(self.episodes, int) if self.conditions is None else self.conditions
        counts = np.bincount(where, minlength=1)
        places = np.full((len(counts), counts.max()), -1)
        for m, count in enumerate(counts):
            places[m, :count] = np.flatnonzero(where == m)
        there = (places >= 0)[..., None]
        states, actions = (np.where(there[..., None], array[places], 0.0) for array in (self.states, self.actions))
        return states, actions, self.mask[places] & there

    @property
    def size(self) -> int:
        """The number of transitions."""
        return int((self.mask[:, :-1] & self.mask[:, 1:]).sum())

    def take(self, episodes: Int[np.ndarray, "k"]) -> "Recording":
        """Return the recording of some of the episodes."""
        return dataclasses.replace(
            self,
            states=self.states[episodes],
            actions=self.actions[episodes],
            mask=self.mask[episodes],
            conditions=None if self.conditions is None else self.conditions[episodes],
        )


def check_recording(place: str, recording: Recording) -> Recording:
    """Return a recording without what is masked out and without empty episodes, after checking its numbers.

    Raises:
        RecordingError: if a number is not finite or absurdly large, or there is no transition.
    """
    x, u, mask = recording.states, recording.actions, recording.mask
    used = mask & np.append(mask[:, 1:], np.zeros((len(mask), 1), bool), axis=1)  # steps whose action matters
    for what, array, there, entries in (
        ("state", x, mask, recording.state_entries),
        ("action", u, used, recording.action_entries),
    ):
        with np.errstate(invalid="ignore"):
            bad = there[..., None] & ~(np.abs(array) < _LARGEST)
        if bad.any():
            e, t, i = np.argwhere(bad)[0]
            raise RecordingError(
                f"{place}: {what} {entries[i].name!r} of episode {e} is {array[e, t, i]:g} at step {t}; expected "
                "finite numbers, and a mask that is False where there are none"
            )
    kept = np.flatnonzero((mask[:, :-1] & mask[:, 1:]).any(axis=1))
    if not len(kept):
        raise RecordingError(f"{place}: no episode has two steps one after the other, so nothing can be learned")
    notes = recording.notes
    if missing := len(mask) - len(kept):
        notes = (*notes, f"{missing} episode{'s' * (missing > 1)} of less than two steps left out")
    clean = dataclasses.replace(
        recording,
        states=np.where(mask[..., None], x, 0.0),
        actions=np.where(used[..., None], u, 0.0),
        notes=notes,
    )
    return clean.take(kept)


def require_few_numbers(place: str, count: int) -> None:
    """RecordingError if a recording would take more memory than any of its kind needs."""
    if count > MOST_NUMBERS:
        raise RecordingError(f"{place}: {count:,} numbers, and the most are {MOST_NUMBERS:,}; leave out some episodes")


def make_entries(place: str, key: str, count: int, names: Sequence[str], units: Sequence[str]) -> tuple[Entry, ...]:
    """Return the entries of a state ("x") or an action ("u"), named x0, x1, … where there are no `names`.

    Raises:
        RecordingError: if their number is wrong, or a name is doubled.
    """
    for what, given in (("names", names), ("units", units)):
        if given and len(given) != count:
            raise RecordingError(f"{place}: {len(given)} {what} for the {count} entries of {key}")
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise RecordingError(f"{place}: two entries of {key} are named {twice[0]!r}")
    shown = names or [f"{key}{i}" for i in range(count)]
    return tuple(Entry(name, unit) for name, unit in zip(shown, units or [""] * count, strict=True))
