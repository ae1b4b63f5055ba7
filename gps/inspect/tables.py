"""The one home of what a person reads about a run: the console line, the rows of `metrics.csv`, and `gps show`.

Pure functions of records; a `Row` is what one iteration of one condition comes down to.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import typing
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gps.inspect.statistics import Estimate
    from gps.records import IterationRecord, PolicyRecord, Rollouts


# -- rows ------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Row:
    """One condition in one iteration: a line of the console and of `metrics.csv`."""

    iteration: int
    condition: int
    cost: float  # of an episode, mean over the samples
    successes: int
    samples: int
    kl: float  # of the update, nats over the trajectory
    kl_bound: float
    eta: float  # the largest over time where each step has its own
    entropy: float  # nats, mean over time
    predicted: float  # change of cost by the last update
    actual: float
    multiplier: float  # of the KL bound
    environment_steps: int  # in total
    sample_seconds: float  # the seconds are those of all conditions together
    fit_seconds: float
    improve_seconds: float
    saturated: float  # share of action entries that the limits changed
    status: str  # the name of a `gps.records.Status`
    message: str


def rows(record: IterationRecord) -> list[Row]:
    """The rows of an iteration, one for each condition."""
    M, N = record.rollouts.states.shape[:2]
    eta = np.asarray(record.search.eta).reshape(M, -1).max(axis=1)
    cost, successes, kl, kl_bound = record.mean_cost, record.successes, record.kl, record.kl_bound
    return [
        Row(
            iteration=record.iteration,
            condition=m,
            cost=float(cost[m]),
            successes=int(successes[m]),
            samples=N,
            kl=float(kl[m]),
            kl_bound=float(kl_bound[m]),
            eta=float(eta[m]),
            entropy=float(record.entropy[m]),
            predicted=float(record.predicted[m]),
            actual=float(record.actual[m]),
            multiplier=float(record.multiplier[m]),
            environment_steps=record.environment_steps,
            sample_seconds=record.seconds.sample,
            fit_seconds=record.seconds.fit,
            improve_seconds=record.seconds.improve,
            saturated=float(record.rollouts.saturated[m]),
            status=status.name,
            message=record.messages[m],
        )
        for m, status in enumerate(record.statuses)
    ]


def effort(record: IterationRecord) -> tuple[int, int]:
    """Environment steps and episodes up to the end of an iteration."""
    M, N = record.rollouts.states.shape[:2]
    return record.environment_steps, (record.iteration + 1) * M * N


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The final controllers of one condition, run without noise."""

    condition: int
    cost: float  # of an episode, mean over the rollouts; NaN without a whole one
    successes: int
    rollouts: int

    @property
    def solved(self) -> bool:
        return self.successes == self.rollouts


def evaluation(rollouts: Rollouts, costs: np.ndarray) -> list[Evaluation]:
    """What an evaluation comes down to, one for each condition."""
    whole = np.asarray(rollouts.mask.all(axis=2))
    total = costs.sum(axis=2)
    means = [float(total[m][whole[m]].mean()) if np.any(whole[m]) else math.nan for m in range(len(total))]
    count = rollouts.mask.shape[1]
    return [Evaluation(m, means[m], int(n), count) for m, n in enumerate(rollouts.succeeded.sum(axis=1))]


def to_csv(items: Sequence[Row] | Sequence[Evaluation], kind: type) -> str:
    """Rows as CSV with a header; numbers keep every bit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in dataclasses.fields(kind))
    writer.writerows(dataclasses.astuple(item) for item in items)
    return text.getvalue()


def from_csv(text: str, kind: type) -> list[Any]:
    """What `to_csv` wrote. Raises ValueError if it is something else."""
    hints = typing.get_type_hints(kind)
    reader = csv.reader(io.StringIO(text, newline=""))
    if next(reader, None) != list(hints):
        raise ValueError("the first line does not hold the expected columns")
    return [kind(*(convert(value) for convert, value in zip(hints.values(), line, strict=True))) for line in reader]


# -- the console line ------------------------------------------------------------------------------------------------

_WIDTHS = {"iter": 4, "cond": 4, "cost": 9, "success": 7, "KL (bound)": 16, "η": 7, "entropy": 7,
           "predicted → actual": 18, "step×": 5, "env steps": 9, "sample": 6, "fit": 5, "improve": 7}  # fmt: skip

_LABELS = {
    "OK": "ok",
    "BOUND_INACTIVE": "inactive",
    "SEARCH_EXHAUSTED": "exhausted",
    "NO_FEASIBLE_ETA": "no η",
    "NO_VALID_SAMPLES": "no samples",
    "SAMPLES_DROPPED": "dropped",
    "NOT_FINITE": "not finite",
    "NO_PREFERENCE": "no choice",
    "TAUGHT": "ok",
    "NO_EXPERT": "no expert",
}


def header() -> str:
    """The names of the columns of `line`."""
    return " ".join([*(f"{name:>{width}}" for name, width in _WIDTHS.items()), "status"])


def line(row: Row) -> str:
    """One condition in one iteration, in at most 130 columns."""
    cells = [
        str(row.iteration),
        str(row.condition),
        number(row.cost),
        f"{row.successes}/{row.samples}",
        f"{number(row.kl)} ({number(row.kl_bound)})",
        number(row.eta),
        number(row.entropy),
        f"{number(row.predicted):>7} → {number(row.actual):<8}",
        number(row.multiplier),
        str(row.environment_steps),
        f"{row.sample_seconds:.2f}",
        f"{row.fit_seconds:.2f}",
        f"{row.improve_seconds:.2f}",
    ]
    padded = [f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS.values(), strict=True)]
    return " ".join([*padded, _LABELS.get(row.status, row.status.lower())])


def trouble(row: Row) -> str | None:
    """What needs saying about a row in words, on an indented line of its own; None where all is well."""
    from gps.records import Status

    status = Status[row.status]
    text = row.message or ("" if status.ok else status.sentence)
    return f"{'':10}condition {row.condition}: {text}" if text else None


def lines(items: Iterable[Row]) -> list[str]:
    """The console lines of rows, those of trouble included."""
    return [text for row in items for text in (line(row), trouble(row)) if text is not None]


def policy_lines(policy: PolicyRecord | None) -> list[str]:
    """The global policy in one iteration, beneath the lines of its conditions, and what needs saying of it in words."""
    if policy is None:
        return []
    before, after = policy.loss
    kl, said = policy.kl.sum(axis=1), f"{'':10}policy: "
    text = (
        f"{said}loss {number(before)} → {number(after)} in {policy.steps} steps; "
        f"KL to the controllers {_span(kl)}; noise std {_span(policy.deviation)}"
    )
    return [text, *([said + policy.message] if policy.message else [])]


def number(value: float) -> str:
    """Two to five significant digits in at most 7 characters (8 where the exponent of a negative number has two)."""
    size = abs(value)
    if not math.isfinite(value):
        return "-" if math.isnan(value) else str(value)
    if size != 0 and (size < 9.995e-3 or size >= 99999.5):
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    digits = next(digits for limit, digits in ((999.95, 0), (99.995, 1), (0.9995, 2), (0, 3)) if size >= limit)
    return f"{value:.{digits}f}" if size else "0"


def interval(item: Estimate | None) -> str:
    """`3.79 [3.50, 4.31]`."""
    if item is None:
        return "-"
    value, low, high = (float(part) for part in (item.value, item.low, item.high))
    return number(value) if low == high or np.isnan(low) else f"{number(value)} [{number(low)}, {number(high)}]"


def sparkline(values: Sequence[float] | np.ndarray, width: int = 60) -> str:
    """Values over time as a row of bars between zero (or the least) and the greatest; the greatest of each bin.

    A value that is not finite is a `·`.
    """
    values = np.asarray(values, dtype=float)
    if values.size == 0:
        return ""
    bins = np.array_split(values, min(width, values.size))
    finite = [bin_[np.isfinite(bin_)] for bin_ in bins]
    peaks = np.array([bin_.max() if bin_.size else np.nan for bin_ in finite])
    known = peaks[np.isfinite(peaks)]
    low = min(0.0, known.min()) if known.size else 0.0
    span = (known.max() - low if known.size else 0.0) or 1.0
    bars = "▁▂▃▄▅▆▇█"
    return "".join(bars[round(7 * (peak - low) / span)] if math.isfinite(peak) else "·" for peak in peaks)


# -- one iteration in detail -----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Detail:
    """What `gps show --iteration` says of one condition, as numbers."""

    row: Row
    sentence: str
    kl: np.ndarray  # (T,)
    entropy: np.ndarray  # (T,)
    gain: np.ndarray  # (T,) largest singular value of the feedback
    deviation: np.ndarray  # (T, du) standard deviation of the noise
    spectral_radius: np.ndarray  # (T-1,) of the model's state matrix
    model_noise: np.ndarray  # (T-1, dx) standard deviations
    trace: np.ndarray  # (evaluations, 2): eta and KL
    alpha: float

    @classmethod
    def of(cls, record: IterationRecord, m: int) -> _Detail:
        controller, dynamics, search = record.controllers[m], record.dynamics[m], record.search
        matrix = np.asarray(dynamics.matrix)
        dx = matrix.shape[-2]
        count = int(search.evaluations[m])
        return cls(
            row=rows(record)[m],
            sentence=record.statuses[m].sentence,
            kl=np.asarray(search.kl[m]),
            entropy=np.asarray(controller.entropy()),
            gain=_safely(lambda a: np.linalg.norm(a, 2, axis=(-2, -1)), np.asarray(controller.feedback)),
            deviation=_deviation(controller.covariance),
            spectral_radius=_safely(lambda a: np.abs(np.linalg.eigvals(a)).max(axis=-1), matrix[..., :dx]),
            model_noise=_deviation(dynamics.covariance),
            trace=np.stack([np.exp(search.trace_log_eta[m][:count]), search.trace_kl[m][:count]], axis=-1),
            alpha=float(search.alpha[m]),
        )


def _deviation(covariance: Any) -> np.ndarray:
    return np.sqrt(np.maximum(np.diagonal(np.asarray(covariance), axis1=-2, axis2=-1), 0.0))


def _safely(function: Any, matrices: np.ndarray) -> np.ndarray:
    """`function` of the matrices of each step; NaN where they are not finite."""
    finite = np.isfinite(matrices).all(axis=(-2, -1))
    result = np.full(matrices.shape[:-2], np.nan)
    result[finite] = function(matrices[finite])
    return result


def describe(record: IterationRecord, conditions: Sequence[int]) -> str:
    """An iteration in words and numbers: controllers, models, the search for η, the KL of each step."""
    return "\n\n".join(_describe(_Detail.of(record, m)) for m in conditions)


def _describe(detail: _Detail) -> str:
    row = detail.row
    said = f" {row.message}" if row.message and row.message != detail.sentence else ""
    predicted, actual = number(row.predicted), number(row.actual)
    text = [f"iteration {row.iteration}, condition {row.condition}: {_LABELS.get(row.status, row.status.lower())}"]
    text += [
        f"  status      {detail.sentence}{said}",
        f"  cost        {number(row.cost)}; change by the last update: {predicted} predicted, {actual} actual",
        f"  success     {row.successes}/{row.samples}",
        f"  controller  gain |K| {_span(detail.gain)}; noise std {_span(detail.deviation)}",
        f"  limits      changed {number(100 * row.saturated)} % of the actions",
        f"  entropy     {number(row.entropy)} nats  {sparkline(detail.entropy)}",
        f"  model       noise std {_span(detail.model_noise)}; spectral radius {_span(detail.spectral_radius)}",
        f"  KL          {number(row.kl)} of {number(row.kl_bound)} nats, multiplier {number(row.multiplier)}",
        f"  KL per step {sparkline(detail.kl)}  to {number(float(np.max(detail.kl, initial=0.0)))}",
        f"  η           {number(row.eta)} after {len(detail.trace)} evaluations, temperature {number(detail.alpha)}",
    ]
    if len(detail.trace):
        text.append(f"  {'':12}{'η':>10} {'KL':>10}")
        text += [f"  {'':12}{number(eta):>10} {number(kl):>10}" for eta, kl in detail.trace]
    return "\n".join(text)


def _span(values: np.ndarray) -> str:
    finite = values[np.isfinite(values)]
    return f"{number(finite.min())} to {number(finite.max())}" if finite.size else "-"


def detailed(record: IterationRecord, conditions: Sequence[int]) -> list[dict[str, Any]]:
    """The same for a machine, with the whole controllers and models; what is not finite is None."""
    result = []
    for m in conditions:
        detail = _Detail.of(record, m)
        result.append(
            dataclasses.asdict(detail.row)
            | {
                "sentence": detail.sentence,
                "alpha": detail.alpha,
                "kl_per_step": detail.kl,
                "entropy_per_step": detail.entropy,
                "eta_per_step": record.search.eta[m] if np.ndim(record.search.eta) > 1 else None,
                "search": [{"eta": eta, "kl": kl} for eta, kl in detail.trace],
                "spectral_radius_per_step": detail.spectral_radius,
                "controller": record.controllers[m],
                "improved": record.improved[m],
                "dynamics": record.dynamics[m],
            }
        )
    return plain(result)


def plain(value: Any) -> Any:
    """A value as JSON can hold it: records as tables, arrays as lists, what is not finite as None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "__array__"):
        return plain(np.asarray(value).tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


# -- evaluations and lists of runs -----------------------------------------------------------------------------------


TITLES = {
    "final": "final controllers, without noise:",
    "unseen": "the same from starts that were not trained on:",
    "local": "the local controllers beside them, from the starts that were trained on:",
}
SOLVED = {"final": "solved", "unseen": "unseen", "local": "local controllers"}
"""What was evaluated (`gps.runs.EVALUATIONS`) -> its title, and what the last line of a run calls it."""


def evaluation_lines(items: Sequence[Evaluation], what: str = "final") -> list[str]:
    """What was evaluated without noise, a line for each condition."""
    return [TITLES[what]] + [
        f"  condition {item.condition}  cost {number(item.cost):>9}  "
        f"{'success' if item.solved else 'no success' if not item.successes else 'not always'}"
        + (f" {item.successes}/{item.rollouts}" if item.rollouts > 1 else "")
        for item in items
    ]


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells in columns, each as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in table
    ]
