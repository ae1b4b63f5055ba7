"""The verdict on an update: which conditions may use their new controllers, and what to say about the others."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from gps.backend import jax
from gps.linear_gaussian.types import Controller
from gps.records import Rollouts, Search
from gps.status import Status

Tree = TypeVar("Tree")

OPTIMAL = (Status.OK, Status.BOUND_INACTIVE)
"""The search for the update ended as intended."""

MOST_TRUST = 1.0
"""The largest trust of a usable model: beyond it the replayed cost of the samples is too far from their own."""

MOST_CLIPPED = 0.5
"""If the limits change more than this share of the actions, a warning says so."""

ABSURD = 10.0
"""A prediction or a temperature of more than this many times the cost of an episode means nothing."""


class UpdateResult(NamedTuple):
    """The outcome of an update for M conditions. Where the update is not usable, everything is as it was before."""

    controllers: Controller
    planned: Float[np.ndarray, "M T dx"]
    predicted: Float[np.ndarray, "M"]  # change of the expected cost; NaN where the controller is the old one
    trust: Float[np.ndarray, "M"]  # |L̂ − J| / |J| of the model; NaN where there is none
    search: Search
    status: Int[np.ndarray, "M"]
    usable: Bool[np.ndarray, "M"]
    messages: tuple[str, ...]


def judge_update(
    rollouts: Rollouts,
    status: Int[np.ndarray, "M"],
    *,
    old: tuple[Controller, Float[np.ndarray, "M T dx"]],
    new: tuple[Controller, Float[np.ndarray, "M T dx"]],
    predicted: Float[np.ndarray, "M"],
    trust: Float[np.ndarray, "M"] | None = None,
    size: Float[np.ndarray, "M"] | None = None,
    search: Search,
    finite: Any,
    details: Callable[[int, int], str] = lambda m, code: "",
) -> UpdateResult:
    """Keep the new controllers where they may be used, and the old ones elsewhere.

    Args:
        status: of the update alone.
        old, new: controllers and planned states.
        predicted: change of the expected cost by the update.
        trust, size: how far the model's cost of the samples is from their own, relative to their mean absolute cost
            `size`; None where no model is.
        finite: a tree of arrays (M, ...) that must be finite, in addition to the controllers.
        details: see `make_messages`.
    """
    status, usable = judge(status, (new[0], finite), rollouts.counted)
    unknown = np.full(len(status), np.nan)
    absurd = np.zeros(len(status), bool)
    if trust is not None and size is not None:
        absurd = find_absurd(predicted, trust, size, search)
    for code, found in find_poor_samples(rollouts).items():
        status = np.where(np.isin(status, OPTIMAL) & found, code, status)
    explained = np.isin(status, (Status.SAMPLES_DROPPED, Status.NONE_WHOLE, Status.FLAT_REWARD))
    status = np.where(absurd & usable & ~explained, Status.UNTRUSTED, status)
    controllers, planned = choose(usable, new, old)
    return UpdateResult(
        controllers,
        planned,
        np.where(usable & np.isfinite(predicted), predicted, np.nan),
        unknown if trust is None else trust,
        dataclasses.replace(search, kl=np.where(usable[:, None], search.kl, 0.0)),
        status,
        usable,
        tuple(make_messages(status, rollouts, details)),
    )


def find_poor_samples(rollouts: Rollouts) -> dict[Status, Bool[np.ndarray, "M"]]:
    """True where the samples of a condition say little, by the status that says why."""
    both = np.concatenate([rollouts.states, rollouts.actions], axis=-1)
    several = rollouts.mask.shape[1] > 1
    return {
        Status.CLIPPED: rollouts.saturated > MOST_CLIPPED,
        Status.ALIKE: np.array([several and bool((one == one[:1]).all()) for one in both]),
    }


def find_absurd(
    predicted: Float[np.ndarray, "M"], trust: Float[np.ndarray, "M"], size: Float[np.ndarray, "M"], search: Search
) -> Bool[np.ndarray, "M"]:
    """True where the model's numbers cannot be: it does not reproduce the samples, or promises more than all cost."""
    eta = search.eta.reshape(len(size), -1).max(axis=1)
    with np.errstate(invalid="ignore"):
        return ~(trust <= MOST_TRUST) | ~(np.abs(predicted) <= ABSURD * size) | (eta > ABSURD * size)


def judge(
    status: Int[np.ndarray, "M"], parts: Any, counted: Bool[np.ndarray, "M N T"]
) -> tuple[Int[np.ndarray, "M"], Bool[np.ndarray, "M"]]:
    """The status of each condition, and True where its new controller may be used.

    Args:
        status: of the update alone.
        parts: a tree of arrays (M, ...) that must be finite.
        counted: see `Rollouts.counted`.
    """
    status = np.array(status)
    finite = np.array([all(np.isfinite(leaf[m]).all() for leaf in jax.tree.leaves(parts)) for m in range(len(status))])
    new = np.array([Status(code).improved for code in status])
    status[~counted.all(axis=(1, 2)) & (status == Status.OK)] = Status.SAMPLES_DROPPED
    status[~np.any(np.all(counted, axis=2), axis=1) & new] = Status.NONE_WHOLE
    status[~finite] = Status.NOT_FINITE
    status[~counted.any(axis=(1, 2))] = Status.NO_VALID_SAMPLES
    return status, np.array([Status(code).improved for code in status])


def make_messages(
    status: Int[np.ndarray, "M"], rollouts: Rollouts, details: Callable[[int, int], str]
) -> Iterator[str]:
    """A message for each condition about its status; empty where all is well.

    Args:
        details: what the algorithm adds about condition m and its status, if the status is not ok.
    """
    for m, code in enumerate(status):
        aborts = _describe_aborts(rollouts, m)
        if Status(code).ok:
            yield aborts.strip()
            continue
        text = Status(code).sentence + details(m, code)
        if code == Status.SAMPLES_DROPPED:
            short = (~rollouts.whole[m]).sum()
            text += f" {short} of {len(rollouts.mask[m])} ended early."
        yield text + aborts


def _describe_aborts(rollouts: Rollouts, m: int) -> str:
    """Which samples of condition m were aborted, after which step and why; equal ones in one sentence."""
    alike: dict[tuple[int, str], list[str]] = {}
    for abort in rollouts.aborts:
        if abort.condition == m:
            alike.setdefault((abort.step, abort.reason), []).append(str(abort.sample))
    return "".join(
        f" {'Samples' if len(samples) > 1 else 'Sample'} {', '.join(samples)} "
        f"{'were' if len(samples) > 1 else 'was'} aborted {f'after step {step}' if step >= 0 else 'at once'}: {reason}."
        for (step, reason), samples in alike.items()
    )


def choose(usable: Bool[np.ndarray, "M *T"], new: Tree, old: Tree) -> Tree:
    """The arrays of `new` for the conditions (or their steps) that are usable, those of `old` for the others."""
    return jax.tree.map(lambda yes, no: np.where(align(usable, yes), yes, no), new, old)


def align(values: np.ndarray, array: np.ndarray) -> np.ndarray:
    """A value per condition (or step), in a shape that broadcasts against `array`."""
    return values.reshape(*values.shape, *(1,) * (array.ndim - values.ndim))
