"""Rules for algorithms: the contract, determinism, a state that can be stored, a policy that can be stored.

The same rules for ours and for those of other packages.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gps.algorithms.algorithm import AlgorithmState
from gps.backend import jax
from gps.callbacks import Callback
from gps.conformance.finding import Finding
from gps.conformance.samples import suggest_ends
from gps.errors import AlgorithmFault, CostFault, EnvironmentFault, ExpertFault, GpsError, PolicyError, one_line
from gps.experiment import Experiment
from gps.inspect.iteration import describe_iteration
from gps.inspect.report.overview import make_piece
from gps.metrics import make_rows
from gps.policies.stored import flatten_policy, read_policy
from gps.records import IterationRecord, Rollouts
from gps.sampling.policy import Policy
from gps.storage.serialization import CorruptFile, flatten, read_npz, unflatten, write_npz

_CONTRACT = "gps.algorithms.algorithm says what each method must do"
_POSSIBLE = "one iteration can be made"
_COVARIANCES = Finding(
    "exploration covariances are symmetric and positive semi-definite",
    remedy="symmetrise the covariance of the policy, and keep its eigenvalues at or above 0",
)


class Iteration(NamedTuple):
    """An iteration that was made."""

    before: AlgorithmState
    sampled: Policy
    record: IterationRecord
    after: AlgorithmState


class _Recorder(Callback):
    """Remembers nothing; the loop needs a callback."""


def make_iteration(built: Experiment) -> Iteration | Finding:
    """Make one iteration; what goes wrong is a finding."""
    try:
        before = built.begin()
        sampled = built.algorithm.policy(before)
        if problem := _find_bad_covariance(sampled):
            return _COVARIANCES._replace(problem=problem)  # nothing can be sampled
        after, record = built.iterate(before, _Recorder())
    except AlgorithmFault as fault:
        return Finding("the algorithm keeps its contract", str(fault), _CONTRACT)
    except EnvironmentFault as fault:
        remedy = "return finite numbers of the declared shape from step, also where an episode ends"
        return Finding(_POSSIBLE, str(fault), remedy)
    except (CostFault, ExpertFault, PolicyError) as fault:
        return Finding(_POSSIBLE, str(fault), "see the message")
    return Iteration(before, sampled, record, after)


def check_algorithm(built: Experiment, made: Iteration) -> Iterator[Finding]:
    """Examine the algorithm by an iteration."""
    yield _describe_iteration(_POSSIBLE, made.record)
    rules: tuple[tuple[str, Callable[[Experiment, Iteration], str], str], ...] = (
        (
            _COVARIANCES.rule,
            lambda built, made: _find_bad_covariance(built.algorithm.policy(made.after)),
            _COVARIANCES.remedy,
        ),
        (
            "the same samples give the same update",
            _find_randomness,
            "draw with the seed that fit is given, or with keys in the state, and change nothing outside the state",
        ),
        (
            "a stored state goes on bit for bit",
            _find_loss,
            "make the state a frozen dataclass of arrays, numbers and the like, and state_type its type; "
            "gps.storage.serialization lists what it stores",
        ),
        (
            "what was learned can be evaluated and stored",
            _find_bad_policy,
            "return from learned a policy whose parameters are a NeuralPolicy, Controllers, or None",
        ),
        (
            "every view shows the record",
            _find_bad_view,
            "fill in the sides of the record as gps.records describes them",
        ),
    )
    for name, find, remedy in rules:
        try:
            problem = find(built, made)
        except GpsError as error:  # the algorithm failed before the rule could be judged
            problem, remedy = str(error), "see the message; `gps run --traceback` shows where it was raised"
        except Exception as error:
            problem = f"{type(error).__name__}: {one_line(error)}"
        yield Finding(name, problem, remedy) if problem else Finding(name)


def _describe_iteration(rule: str, record: IterationRecord) -> Finding:
    troubles = [
        f"condition {m}: {text}"
        for m, (text, status) in enumerate(zip(record.messages, record.statuses, strict=True))
        if status.failed
    ]
    if troubles:
        worst = max(record.statuses, key=lambda status: (status.failed, status.severity))
        return Finding(rule, "; ".join(troubles), worst.remedy or "look at `gps report` of a short run")
    unknown, rollouts = np.flatnonzero(np.isnan(record.mean_cost)), record.rollouts
    if unknown.size:
        return Finding(
            rule,
            f"every sample of condition {unknown[0]} ended early without a success, so its cost is unknown; "
            f"the longest took {rollouts.mask[unknown[0]].sum(axis=1).max()} of {record.costs.shape[2]} steps",
            suggest_ends(rollouts, ~rollouts.whole & np.isnan(record.mean_cost)[:, None]),
        )
    costs = ", ".join(f"{cost:.4g}" for cost in record.mean_cost)
    return Finding(f"{rule}; the first costs are {costs}")


def _find_bad_covariance(policy: Policy) -> str:
    """The first covariance of the exploration noise that is no covariance; empty if there is none."""
    covariance = np.asarray(policy.covariance)
    deviation = np.sqrt(np.abs(np.diagonal(covariance, axis1=-2, axis2=-1)))
    rounding = 1e-9 * deviation[..., :, None] * deviation[..., None, :]  # of entries that may cancel to nearly 0
    if not (np.abs(covariance - covariance.swapaxes(-1, -2)) <= rounding).all():  # False for NaN
        return "algorithm.policy returned a policy whose covariance is not symmetric"
    least = np.linalg.eigvalsh(covariance)[..., 0]
    scale = np.abs(covariance).max(axis=(-1, -2))
    if (bad := np.argwhere(least < -1e-9 * scale)).size:
        m, t = bad[0]
        return (
            f"algorithm.policy returned a policy whose covariance has the eigenvalue {least[m, t]:.3g} in "
            f"condition {m} at step {t}; expected none below 0"
        )
    return ""


def _update(built: Experiment, state: AlgorithmState, sampled: Policy, rollouts: Rollouts) -> AlgorithmState:
    """The state after an update on samples that are there already."""
    model = built.algorithm.fit(state, rollouts, 0)
    return built.algorithm.improve(state, sampled, rollouts, model)[0]


def _find_randomness(built: Experiment, made: Iteration) -> str:
    rollouts = made.record.rollouts
    one, two = (_update(built, made.before, made.sampled, rollouts) for _ in range(2))
    if key := _find_difference(flatten(one), flatten(two)):
        return f"algorithm.fit and improve gave two different states for the same samples and seed: {key} differs"
    observed = rollouts.states if made.sampled.observes == "state" else rollouts.observed
    if made.sampled.observes != "both":
        start = jax.tree.map(lambda array: array[:, :, 0], observed)
        first, second = (np.asarray(made.sampled.act(start, 0)) for _ in range(2))
        if not np.array_equal(first, second, equal_nan=True):
            return "the policy that algorithm.policy returned gives two different actions for the same input at step 0"
    return ""


def _find_loss(built: Experiment, made: Iteration) -> str:
    arrays = flatten(made.after)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.npz"
        write_npz(path, arrays)
        try:
            restored: Any = unflatten(built.algorithm.state_type, read_npz(path))
        except CorruptFile as error:
            return f"algorithm.state_type does not describe the state: {error}"
    if key := _find_difference(arrays, flatten(restored)):
        return f"{key} of the state is another once it was stored and read"
    rollouts = made.record.rollouts
    ends = (_update(built, state, built.algorithm.policy(state), rollouts) for state in (made.after, restored))
    if key := _find_difference(*(flatten(end) for end in ends)):
        return f"the update after a state that was stored and read is another: {key} differs"
    return ""


def _find_bad_policy(built: Experiment, made: Iteration) -> str:
    learned = built.algorithm.learned(made.after)
    built.algorithm.teachers(made.after)
    if (parameters := learned.parameters) is None:
        return ""
    arrays = flatten_policy(parameters)
    key = _find_difference(arrays, flatten_policy(read_policy(arrays)))
    return f"{key} of learned().parameters is another once it was stored and read" if key else ""


def _find_bad_view(built: Experiment, made: Iteration) -> str:
    make_rows(made.record)
    describe_iteration(made.record, range(len(made.record.statuses)))
    make_piece(made.record, None)
    return ""


def _find_difference(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> str:
    """The first key whose arrays differ; empty if all bits are equal."""
    for key in {**one, **two}:
        if key not in one or key not in two or one[key].tobytes() != two[key].tobytes():
            return key
    return ""
