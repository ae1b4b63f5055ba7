"""The one home of what a person reads about a run: the console line, the rows of `metrics.csv`, and `gps show`.

Pure functions of records; a `Row` is what one iteration of one condition comes down to.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gps.players import TEACHERS, teacher, whose, whose_samples

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
    successes: int | None  # None where the environment does not tell
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
    policy_kl_step: float | None = None  # KL(policy ‖ controllers) after training, nats per time step; None without one
    policy_loss_before: float | None = None  # held-out loss of the policy's training, nats; of all conditions together
    policy_loss_after: float | None = None
    policy_deviation: float | None = None  # of the policy's noise, mean over the actions

    @property
    def succeeded(self) -> str:
        """`3/5`; a dash where the environment does not tell."""
        return "-" if self.successes is None else f"{self.successes}/{self.samples}"


def rows(record: IterationRecord) -> list[Row]:
    """The rows of an iteration, one for each condition."""
    M, N = record.rollouts.states.shape[:2]
    eta = np.asarray(record.search.eta).reshape(M, -1).max(axis=1)
    cost, successes, kl, kl_bound = record.mean_cost, record.successes, record.kl, record.kl_bound
    of_policy = _of_policy(record.policy, M)
    return [
        Row(
            iteration=record.iteration,
            condition=m,
            cost=float(cost[m]),
            successes=None if record.rollouts.success is None else int(successes[m]),
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
            **of_policy[m],
        )
        for m, status in enumerate(record.statuses)
    ]


def _of_policy(policy: PolicyRecord | None, M: int) -> list[dict[str, float]]:
    """The columns of the global policy, for each condition."""
    if policy is None:
        return [{}] * M
    before, after = policy.loss
    shared = {
        "policy_loss_before": before,
        "policy_loss_after": after,
        "policy_deviation": float(np.mean(policy.deviation)),
    }
    return [{"policy_kl_step": float(kl), **shared} for kl in policy_kl(policy)]


def policy_kl(policy: PolicyRecord) -> np.ndarray:
    """KL(policy ‖ improved controllers) of each condition, nats per time step: mean over those that have one."""
    known = np.isfinite(policy.kl)
    return np.where(known, policy.kl, 0.0).sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan)


def effort(record: IterationRecord) -> tuple[int, int]:
    """Environment steps and episodes up to the end of an iteration."""
    M, N = record.rollouts.states.shape[:2]
    return record.environment_steps, (record.iteration + 1) * M * N


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What was learned, run without noise from one start."""

    condition: int
    cost: float  # of an episode, mean over the rollouts; NaN without a whole one
    successes: int | None  # None where the environment does not tell
    rollouts: int
    returns: float | None = None  # the sum of an episode's rewards, mean over the rollouts; None without rewards

    @property
    def solved(self) -> bool | None:
        """Whether all succeeded; None where the environment does not tell."""
        return None if self.successes is None else self.successes == self.rollouts


def solved(items: Sequence[Evaluation]) -> str | None:
    """How many are solved, as `3/4`; None where the environment does not tell."""
    known = [item.solved for item in items if item.solved is not None]
    return f"{sum(known)}/{len(known)}" if known else None


def evaluation(rollouts: Rollouts, costs: np.ndarray) -> list[Evaluation]:
    """What an evaluation comes down to, one for each condition."""
    whole = np.asarray(rollouts.mask.all(axis=2))
    total = costs.sum(axis=2)
    means = [float(total[m][whole[m]].mean()) if np.any(whole[m]) else math.nan for m in range(len(total))]
    M, count = rollouts.mask.shape[:2]
    successes = [None] * M if rollouts.success is None else rollouts.succeeded.sum(axis=1).tolist()
    rewarded = rollouts.rewards.any()
    returns = rollouts.rewards.sum(axis=2).mean(axis=1).tolist() if rewarded else [None] * M
    return [Evaluation(m, means[m], successes[m], count, returns[m]) for m in range(M)]


def to_csv(items: Sequence[Row] | Sequence[Evaluation], kind: type) -> str:
    """Rows as CSV with a header; numbers keep every bit, and None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in dataclasses.fields(kind))
    writer.writerows(dataclasses.astuple(item) for item in items)
    return text.getvalue()


def from_csv(text: str, kind: type) -> list[Any]:
    """What `to_csv` wrote. Raises ValueError if it is something else.

    The last columns may be missing, as far as they have defaults: they are younger than some runs.
    """
    hints = typing.get_type_hints(kind)
    needed = [field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING]
    reader = csv.reader(io.StringIO(text, newline=""))
    columns = next(reader, None) or []
    if columns != list(hints)[: len(columns)] or len(columns) < len(needed):
        raise ValueError("the first line does not hold the expected columns")
    converters = [_converter(hints[name]) for name in columns]
    return [kind(*(convert(cell) for convert, cell in zip(converters, line, strict=True))) for line in reader]


def _converter(hint: Any) -> Callable[[str], Any]:
    """From a cell to a value of a type, or of a type or None."""
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    return (lambda cell: kinds[0](cell) if cell else None) if kinds else hint


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
    "NONE_WHOLE": "cut short",
    "TAUGHT": "ok",
    "NO_EXPERT": "no expert",
    "NO_ADVICE": "no advice",
    "ADVICE_MISSING": "partly",
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
        row.succeeded,
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
    said = f"{'':10}policy: "
    if not policy.trained:
        return [said + (policy.message or policy.status.sentence)]
    before, after = policy.loss
    text = (
        f"{said}loss {number(before)} → {number(after)} in {policy.steps} steps; KL to the {teacher(policy).short} "
        f"{_span(policy_kl(policy))} nats a step; noise std {_span(policy.deviation)}; {_policy_label(policy)}"
    )
    return [text, *([said + policy.message] if policy.message else [])]


def policy_table(policies: Sequence[tuple[int, PolicyRecord]]) -> list[str]:
    """The global policy in the course of a run: iterations and what each made of it."""
    if not policies:
        return []
    head = (
        "iter",
        "sampled",
        "loss before → after",
        "steps",
        f"KL to the {teacher(policies[-1][1]).short}, nats a step",
        "noise std",
        "status",
        "",
    )
    table = [head]
    for iteration, policy in policies:
        before, after = policy.loss
        kl = policy_kl(policy)
        known = kl[np.isfinite(kl)]
        table.append((
            f"{iteration:>4}",
            whose(policy),
            f"{number(before):>7} → {number(after)}",
            str(policy.steps),
            f"{number(known.mean()):>5} ({_span(kl)})" if known.size else "-",
            _span(policy.deviation),
            _policy_label(policy),
            policy.message,
        ))  # fmt: skip
    return ["global policy:", *aligned(table)]


def _policy_label(policy: PolicyRecord) -> str:
    """Its status as the console says it, `stopped early`."""
    return policy.status.name.lower().replace("_", " ")


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
    policy_kl: np.ndarray | None  # (T,) of the global policy to the improved controllers; None without one

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
            policy_kl=None if record.policy is None else np.asarray(record.policy.kl[m]),
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
    parts = [_describe(_Detail.of(record, m)) for m in conditions]
    return "\n\n".join([*parts, *([_describe_policy(record.policy)] if record.policy else [])])


def _describe_policy(policy: PolicyRecord) -> str:
    """The global policy's side of an iteration."""
    before, after = policy.loss
    text = [
        f"the global policy: {_policy_label(policy)}",
        f"  status      {policy.status.sentence}",
        f"  samples     {whose_samples(policy)}",
        f"  training    loss {number(before)} → {number(after)} nats in {policy.steps} steps",
        f"  loss        {sparkline(policy.held_out_loss)}  at each look",
        f"  noise       std {' '.join(number(value) for value in policy.deviation)}",
    ]
    return "\n".join([*text, *([f"  trouble     {policy.message}"] if policy.message else [])])


def _describe(detail: _Detail) -> str:
    row = detail.row
    said = f" {row.message}" if row.message and row.message != detail.sentence else ""
    predicted, actual = number(row.predicted), number(row.actual)
    text = [f"iteration {row.iteration}, condition {row.condition}: {_LABELS.get(row.status, row.status.lower())}"]
    text += [
        f"  status      {detail.sentence}{said}",
        f"  cost        {number(row.cost)}; change by the last update: {predicted} predicted, {actual} actual",
        f"  success     {'not told by the environment' if row.successes is None else row.succeeded}",
        f"  controller  gain |K| {_span(detail.gain)}; noise std {_span(detail.deviation)}",
        f"  limits      changed {number(100 * row.saturated)} % of the actions",
        f"  entropy     {number(row.entropy)} nats  {sparkline(detail.entropy)}",
        f"  model       noise std {_span(detail.model_noise)}; spectral radius {_span(detail.spectral_radius)}",
        f"  KL          {number(row.kl)} of {number(row.kl_bound)} nats, multiplier {number(row.multiplier)}",
        f"  KL per step {sparkline(detail.kl)}  to {number(float(np.max(detail.kl, initial=0.0)))}",
        f"  η           {number(row.eta)} after {len(detail.trace)} evaluations, temperature {number(detail.alpha)}",
    ]
    if detail.policy_kl is not None:
        text.append(
            f"  policy KL   {sparkline(detail.policy_kl)}  {number(row.policy_kl_step)} nats a step after training"
        )
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
            | ({} if record.policy is None else {"policy": _policy_of(record.policy, m)})
        )
    return plain(result)


def _policy_of(policy: PolicyRecord, m: int) -> dict[str, Any]:
    """What there is to tell a machine of the global policy, as one condition sees it."""
    of_condition = {"kl_per_step": policy.kl[m], "linearised": policy.linearised[m]}
    shared = {field.name: getattr(policy, field.name) for field in dataclasses.fields(policy)}
    status = {"status": policy.status.name, "sentence": policy.status.sentence, "player": policy.player}
    return {name: value for name, value in shared.items() if name not in ("kl", "marginals")} | status | of_condition


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


POLICY_TITLE = "the policy, without noise, from the starts that were trained on:"
TITLES = {
    "final": "final controllers, without noise:",
    "unseen": "the same from starts that were not trained on:",
    **{
        what: f"the {teacher.all}, without noise, from the starts that were trained on:"
        for what, teacher in TEACHERS.items()
    },
}
SOLVED = {"final": "solved", "unseen": "unseen", **{what: teacher.all for what, teacher in TEACHERS.items()}}
"""What was evaluated (`gps.runs.EVALUATIONS`) -> its title, and what the last line of a run calls it."""


def evaluation_lines(items: Sequence[Evaluation], what: str = "final", policy: bool = False) -> list[str]:
    """What was evaluated without noise, a line for each condition.

    Args:
        policy: whether what has been learned is a global policy.
    """
    title = POLICY_TITLE if policy and what == "final" else TITLES[what]
    lines = [
        f"  condition {item.condition:<2} cost {number(item.cost):>9}  {_return(item)}{_success(item)}"
        for item in items
    ]
    return [title, *map(str.rstrip, lines)]


def _return(item: Evaluation) -> str:
    return "" if item.returns is None else f"return {number(item.returns):>9}  "


def _success(item: Evaluation) -> str:
    if item.successes is None:
        return ""
    word = "success" if item.solved else "not always" if item.successes else "no success"
    return f"{word} {item.successes}/{item.rollouts}" if item.rollouts > 1 else word


def solved_line(evaluations: Mapping[str, Sequence[Evaluation]]) -> str:
    """How many starts were solved, for each of what was evaluated; empty where the environment does not tell."""
    counts = {what: count for what, items in evaluations.items() if (count := solved(items)) is not None}
    return "; ".join(f"{SOLVED[what]} {count} conditions" for what, count in counts.items())


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells in columns, each as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in table
    ]
