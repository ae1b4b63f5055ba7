"""`gps check`: does an experiment keep the rules that the algorithms rely on?

Short rollouts with random actions and one iteration show whether a condition always starts alike, whether the same
actions lead to the same states, whether a simulation alone does what it does within a batch, and whether the
derivatives of the cost are right. Each finding says what was tried and, where it failed, how to mend it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gps import builders
from gps.backend import jax
from gps.config import ExperimentConfig, load
from gps.errors import CostFault, EnvironmentFault
from gps.experiment import Callback, Experiment
from gps.linear_gaussian.initial import zero
from gps.records import Rollouts
from gps.sampling import collect

STEPS = 25
"""Of the rollouts with random actions, at most."""

TRAINING = 100
"""Mini-batches of the iteration that is tried, at most."""

_POINTS = 20  # where the cost is differentiated


class Finding(NamedTuple):
    """What was tried; what is wrong, empty if nothing is; and how to mend it."""

    rule: str
    problem: str = ""
    remedy: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem

    def __str__(self) -> str:
        return f"ok    {self.rule}" if self.ok else f"FAIL  {self.rule}: {self.problem}\n      mend: {self.remedy}"


@dataclasses.dataclass(frozen=True)
class Examination:
    """The outcome of `check`: the experiment as resolved, what it looks like, and what was found."""

    config: ExperimentConfig
    summary: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.findings)

    def __str__(self) -> str:
        return "\n".join([self.config.to_toml(), *self.summary, *map(str, self.findings)])


def check(experiment: str | Path, overrides: Sequence[str] = ()) -> Examination:
    """Examine an experiment.

    Raises:
        ConfigError: if it cannot be built at all.
    """
    source = Path(experiment)
    config = load(source, overrides)
    small = config.model_copy(update={"algorithm": _lighter(config.algorithm)})
    directory = source if source.is_dir() else source.parent
    with closing(Experiment(small, directory)) as built:
        built.begin()  # a condition or a controller that cannot be is an error, not a finding
        findings = tuple(_examine(built, directory))
        summary = _summary(built)
    return Examination(config, summary, findings)


def _lighter(algorithm: Any) -> Any:
    """The same with no more samples and training than it takes to see that they can be."""
    fewer: dict[str, Any] = {"samples": min(algorithm.samples, 2)}
    if (policy := getattr(algorithm, "policy", None)) is not None:
        fewer["policy"] = policy.model_copy(update={"steps": min(policy.steps, TRAINING)})
    return algorithm.model_copy(update=fewer)


def _summary(built: Experiment) -> tuple[str, ...]:
    environment = built.environment
    layouts = {"state": environment.state_layout, "observation": environment.observation_layout}
    (dx,), (du,) = environment.single_observation_space.shape, environment.single_action_space.shape
    period = f", dt = {environment.dt:g} s" if np.isfinite(environment.dt) else ""
    size = f"{len(built.conditions)} conditions, T = {built.horizon}, dx = {dx}, du = {du}{period}"
    listed = (
        f"{name:<14}" + ", ".join(f"{part} [{where.start}:{where.stop}]" for part, where in layout.items())
        for name, layout in layouts.items()
        if layout is not None
    )
    return f"environment   {size}", *listed


def _examine(built: Experiment, directory: Path) -> Iterator[Finding]:
    rule = "rollouts with random actions have finite states and rewards of the right shape"
    try:
        first = _rollouts(built, observe=built.observes)
    except EnvironmentFault as fault:
        yield Finding(rule, str(fault), "return finite numbers of the declared shape from reset and step")
        return
    yield Finding(rule)
    if built.environment.num_envs == 1:  # a robot is not asked to repeat itself
        yield _starts_alike(first)
    else:
        second = _rollouts(built, observe=False)
        yield _starts_alike(first, second)
        yield _repeats(first, second)
        yield _alone(first, built, directory)
    yield _within_limits(first, built)
    if built.algorithm.reward is not None:
        yield _reward_varies(first)
    yield from _cost(first, built)
    yield _iteration(built)


# -- the environment -------------------------------------------------------------------------------------------------


def _rollouts(built: Experiment, environment=None, samples: int | None = None, observe: bool = True) -> Rollouts:
    """Rollouts with the same random actions each time; the samples of a condition differ."""
    space = built.environment.single_action_space
    M, N, T, du = len(built.conditions), built.samples, min(built.horizon, STEPS), space.shape[0]
    low, high = np.where(np.isfinite(space.low), space.low, -1.0), np.where(np.isfinite(space.high), space.high, 1.0)
    actions = np.random.default_rng(0).uniform(low, high, (M, N, T, du))
    still = zero(M, T, built.starts.shape[1], du, 0.0)
    chosen = built.environment if environment is None else environment
    return collect(chosen, still, built.conditions, actions[:, :samples], built.config.seed, observe)


def _starts_alike(*trials: Rollouts) -> Finding:
    rule = "a condition starts in the same state each time"
    spread = np.ptp(np.concatenate([trial.states[:, :, 0] for trial in trials], axis=1), axis=1)
    if not spread.any():
        return Finding(rule)
    m, entry = np.unravel_index(spread.argmax(), spread.shape)
    return Finding(
        rule,
        f"in condition {m}, entry {entry} of the start differs by {spread.max():.3g} between samples",
        "let reset depend on the condition (its seed and options) alone: draw with self.np_random after "
        "super().reset(seed=seed), and set everything that the last episode changed",
    )


def _repeats(one: Rollouts, two: Rollouts) -> Finding:
    return _equal(
        "the same start and actions lead to the same states and rewards",
        one,
        two,
        "seed everything random in step from reset's seed, and leave nothing behind from one episode to the next",
    )


def _alone(batch: Rollouts, built: Experiment, directory: Path) -> Finding:
    with closing(builders.environment(built.config.environment, directory, len(built.conditions))) as fewer:
        alone = _rollouts(built, fewer, samples=1, observe=False)
    first = dataclasses.replace(batch, **{name: getattr(batch, name)[:, :1] for name in ("states", "rewards", "mask")})
    return _equal(
        "a simulation does the same in a batch of any size",
        first,
        alone,
        "let no simulation see another: no variables of the class or the module that step changes",
    )


def _equal(rule: str, one: Rollouts, two: Rollouts, remedy: str) -> Finding:
    for name in ("mask", "states", "rewards"):
        different = getattr(one, name) != getattr(two, name)
        if different.any():
            m, n, t = np.argwhere(different)[np.argwhere(different)[:, 2].argmin()][:3]
            what = {"mask": "the length of the episode", "states": "the state", "rewards": "the reward"}[name]
            return Finding(rule, f"{what} differs, first in condition {m}, sample {n}, step {t}", remedy)
    return Finding(rule)


def _within_limits(rollouts: Rollouts, built: Experiment) -> Finding:
    rule = "actions are applied within the limits of the action space"
    space = built.environment.single_action_space
    outside = ((rollouts.actions < space.low) | (rollouts.actions > space.high)) & rollouts.mask[..., None]
    if not outside.any():
        return Finding(rule)
    m, n, t, entry = np.argwhere(outside)[0]
    value = rollouts.actions[m, n, t, entry]
    return Finding(
        rule,
        f"entry {entry} was {value:.4g} in condition {m}, sample {n}, step {t}",
        'report the action as applied in info["action"], or widen the action space',
    )


def _reward_varies(rollouts: Rollouts) -> Finding:
    rule = "the reward tells good from bad"
    rewards = rollouts.rewards[rollouts.mask]
    if np.ptp(rewards) > 0:
        return Finding(rule)
    return Finding(
        rule,
        f"it was {rewards[0]:g} in all {len(rewards)} steps",
        "there is nothing to learn from: say what a step costs in [[cost]] sections",
    )


# -- the cost --------------------------------------------------------------------------------------------------------


def _cost(rollouts: Rollouts, built: Experiment) -> Iterator[Finding]:
    """The derivatives of the cost's formula against central differences, at steps that happened."""
    rule = "the cost is finite where the rollouts went"
    try:
        built.algorithm.costs(rollouts)
    except CostFault as fault:
        yield Finding(rule, str(fault), "keep square roots, logarithms and quotients away from 0")
        return
    yield Finding(rule)
    if not getattr(built.algorithm, "needs_derivatives", True):
        return
    z = np.concatenate([rollouts.states, rollouts.actions], axis=-1)
    where = np.argwhere(rollouts.mask)
    where = where[np.random.default_rng(0).permutation(len(where))[:_POINTS]]
    points, times = z[tuple(where.T)], where[:, 2]
    dx = rollouts.states.shape[-1]
    scale = np.maximum(np.abs(z).max(axis=(0, 1, 2)), 1e-2)

    def of_z(z, t):
        return built.algorithm.cost(z[:dx], z[dx:], t)

    gradient = jax.jit(jax.vmap(jax.grad(of_z)))
    value, hessian = jax.jit(jax.vmap(of_z)), jax.jit(jax.vmap(jax.hessian(of_z)))
    yield _derivative("the cost's gradient agrees with differences", value, gradient, points, times, scale, dx)
    rule = "the cost's Hessian agrees with differences, or lies above them"
    yield _derivative(rule, gradient, hessian, points, times, scale, dx, above=True)


def _derivative(rule: str, function, derivative, points, times, scale, dx: int, above: bool = False) -> Finding:
    """Whether `derivative` is that of `function`.

    Args:
        above: whether a larger Hessian will do, one whose difference is positive semi-definite. It promises less than
            there is to gain, which is how a cost with too little curvature of its own may well be written.
    """
    step = 1e-5 * scale
    claimed = np.asarray(derivative(points, times)) * scale
    measured = np.stack(
        [
            (np.asarray(function(points + move, times)) - np.asarray(function(points - move, times))) / 2e-5
            for move in np.diag(step)
        ],
        axis=-1,
    )
    size = np.abs(claimed).max() + np.abs(measured).max() + np.abs(np.asarray(function(points, times))).max()
    wrong = np.abs(claimed - measured) > 1e-4 * size
    if above:
        excess = (claimed - measured) * scale[:, None]
        lowest = np.linalg.eigvalsh(0.5 * (excess + np.swapaxes(excess, -1, -2)))[:, 0]
        wrong &= (lowest < -1e-4 * size * scale.max())[:, None, None]
    if not wrong.any():
        return Finding(rule)
    point, *_, entry = np.argwhere(wrong)[0]
    name = f"entry {entry} of the state" if entry < dx else f"entry {entry - dx} of the action"
    return Finding(
        rule,
        f"with respect to {name} at step {times[point]}, it is off by {np.abs(claimed - measured).max() / size:.1%}",
        "write the cost with jax.numpy alone, without stop_gradient, rounding or a kink where it matters",
    )


# -- all together ----------------------------------------------------------------------------------------------------


def _iteration(built: Experiment) -> Finding:
    rule = "one iteration can be made"
    try:
        _, record = built.iterate(built.begin(), Callback())
    except (CostFault, EnvironmentFault) as fault:
        return Finding(rule, str(fault), "see the message")
    troubles = [
        f"condition {m}: {text}"
        for m, (text, status) in enumerate(zip(record.messages, record.statuses, strict=True))
        if not status.improved
    ]
    if troubles:
        return Finding(rule, "; ".join(troubles), "look at `gps report` of a short run")
    costs = ", ".join(f"{cost:.4g}" for cost in record.mean_cost)
    return Finding(f"{rule}; the first costs are {costs}")
