"""Read the data of a run for a comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gps.config.section import Section
from gps.errors import RunError
from gps.inspect.statistics import Curve
from gps.metrics import Row, make_evaluation_rows
from gps.players import EVALUATIONS, FINAL, TEACHERS, UNSEEN, Player
from gps.records import EvaluationRecord, Rollouts
from gps.runs import Run

EXPERIMENT = "experiment"
"""The key of a run's name among its settings."""

TASK = (
    "environment.id", "environment.mjcf", "environment.frame_skip", "environment.horizon", "environment.conditions",
    "environment.options",
)  # fmt: skip
_WHOLE = (*TASK, "environment.test_conditions")  # values that stay whole


@dataclasses.dataclass(frozen=True)
class Result:
    """The result of an evaluation without noise: means over its starts."""

    cost: float | None  # None if a file of another program has none
    returns: float | None  # None without rewards
    solved: tuple[bool, ...]  # by start; empty if the environment does not report success

    @property
    def share(self) -> float | None:
        """The share of the starts that are solved; None if unknown."""
        return sum(self.solved) / len(self.solved) if self.solved else None


@dataclasses.dataclass(frozen=True)
class Member:
    """The data of a run for a comparison. Curves are means over the conditions, by environment steps.

    A member with a `source` was read from a file of another program: it has curves and perhaps final results, and
    `settings` is empty.
    """

    path: Path
    seed: int
    settings: Mapping[str, Any]  # dotted key -> value, including the experiment's name
    usual: frozenset[str]  # the keys of those that have the default of their table's kind
    cost: Curve | None  # sum of an episode's costs; None if a file of another program has none
    success: Curve | None  # share of the samples; None if the environment does not report success
    returns: Curve | None  # sum of an episode's rewards; None if all are zero
    policy_kl: Curve | None  # KL(policy ‖ teachers), nats per step; None without a global policy
    policy_loss: Curve | None  # after each training of the policy
    player: Player  # of the last samples
    has_policy: bool  # True if it trains a global policy
    episodes: int
    results: Mapping[str, Result]  # by evaluation (`gps.players.EVALUATIONS`), if the run has it
    source: str = ""  # the file of another program that it was read from
    about: str = ""  # what that file says of itself
    task: str = ""  # the task that it says it is of: `gps.inspect.comparison.foreign.describe_task`

    @property
    def final_cost(self) -> float | None:
        """Final cost without noise, mean over the conditions; None without a final evaluation."""
        return self.results[FINAL].cost if FINAL in self.results else None

    @property
    def final_return(self) -> float | None:
        return self.results[FINAL].returns if FINAL in self.results else None

    @property
    def finished(self) -> bool:
        """True if it has a final evaluation."""
        return FINAL in self.results

    @property
    def solved(self) -> tuple[bool, ...]:
        return self.results[FINAL].solved if FINAL in self.results else ()

    @property
    def apart(self) -> bool:
        """True if the run has a policy as well as teachers, or starts that were not trained on."""
        return bool({UNSEEN, *TEACHERS} & set(self.results)) or self.policy_kl is not None

    @property
    def steps(self) -> int:
        """Environment steps of the whole training."""
        curves = (self.cost, self.returns, self.success)
        return max(int(curve.steps[-1]) for curve in curves if curve is not None and len(curve.steps))

    @property
    def steps_until_solved(self) -> float:
        """Environment steps up to the first iteration whose samples all succeeded; infinite if there is none."""
        solved = [] if self.success is None else self.success.steps[self.success.values == 1]
        return float(solved[0]) if len(solved) else np.inf


def read_member(run: Run) -> Member:
    """Read a run as a member of a comparison.

    Raises:
        RunError: if the run has no iteration or is damaged.
    """
    count = len(run.iterations)
    if not count:
        raise RunError(f"{run.path}: no complete iteration")
    rows = [run.rows(k) for k in range(count)]
    steps = np.array([row[0].environment_steps for row in rows])
    returns = np.array([_compute_return(run.rollouts(k)[0]) for k in range(count)])
    evaluations = {what: found for what in EVALUATIONS if (found := run.evaluation(what)) is not None}
    rewarded = bool(returns.any()) or any(bool(found.rollouts.rewards.any()) for found in evaluations.values())
    return Member(
        path=run.path,
        seed=run.seed,
        settings=_collect_settings(run),
        usual=frozenset(_find_usual(run.config)),
        cost=Curve(steps, np.array([np.mean([item.cost for item in row]) for row in rows])),
        success=_make_curve(steps, [_compute_share(row) for row in rows]),
        returns=Curve(steps, returns) if rewarded else None,
        policy_kl=_make_curve(steps, [_average_known([item.policy_kl_step for item in row]) for row in rows]),
        policy_loss=_make_curve(steps, [row[0].policy_loss_after for row in rows]),
        player=Player(rows[-1][0].player),
        has_policy=rows[-1][0].policy_deviation is not None,
        episodes=sum(item.samples for row in rows for item in row),
        results={what: _summarize(found, rewarded) for what, found in evaluations.items()},
    )


def _summarize(evaluation: EvaluationRecord, rewarded: bool) -> Result:
    items = make_evaluation_rows(evaluation)
    solved = tuple(item.solved for item in items if item.solved is not None)
    returns = _compute_return(evaluation.rollouts) if rewarded else None
    return Result(float(np.mean([item.cost for item in items])), returns, solved)


def _make_curve(steps: np.ndarray, values: Sequence[float | None]) -> Curve | None:
    """Return a curve, with NaN for unknown values; None if no value is known."""
    known = np.array([np.nan if value is None else value for value in values], dtype=float)
    return None if np.isnan(known).all() else Curve(steps, known)


def _compute_share(rows: Sequence[Row]) -> float | None:
    known = [(row.successes, row.samples) for row in rows if row.successes is not None]
    return sum(wins for wins, _ in known) / sum(samples for _, samples in known) if known else None


def _average_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _compute_return(rollouts: Rollouts) -> float:
    """Return the mean over all samples of the sum of an episode's rewards."""
    return float(np.sum(rollouts.rewards, axis=2).mean())


def _collect_settings(run: Run) -> dict[str, Any]:
    # The files may hold the cost, the environment or the model.
    return {EXPERIMENT: run.name, **flatten_settings(run.config.model_dump()), "files": run.kept.digest[:8]}


def _find_usual(section: Section, prefix: str = "") -> Iterator[str]:
    """The dotted keys of a table, and of the tables in it, that have the default of the table's kind."""
    for name, field in type(section).model_fields.items():
        value, key = getattr(section, name), f"{prefix}{field.alias or name}"
        if isinstance(value, Section):
            yield from _find_usual(value, f"{key}.")
        elif value == field.default:
            yield key


def flatten_settings(value: Any, key: str = "") -> dict[str, Any]:
    """Return the dotted keys of nested tables and lists of tables; conditions and options stay whole."""
    if key not in _WHOLE and isinstance(value, dict):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif key not in _WHOLE and isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        items = enumerate(value)
    else:
        return {key: value}
    return {
        k: v for name, item in items for k, v in flatten_settings(item, f"{key}.{name}" if key else str(name)).items()
    }
