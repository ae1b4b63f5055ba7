"""Build a JAX function of (x, u, t) from the `[[cost]]` sections, and the model of the reward."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from gps.backend import jax, jnp
from gps.builders.checks import call_factory, per_entry
from gps.config import ExperimentConfig
from gps.config.cost import (
    DistanceCostConfig,
    PluginCostConfig,
    QuadraticCostConfig,
    RateCostConfig,
    RewardCostConfig,
    SaturatingCostConfig,
    TaskCostConfig,
)
from gps.costs import Cost, Distance, Quadratic, Ramp, Rate, RewardModel, Saturating, Sum, TaskCost
from gps.dynamics.mixture import MixturePrior
from gps.environments.disturbed import LAST_ACTION
from gps.environments.parts import Layout, find_entries
from gps.errors import ConfigError, one_line
from gps.extensions import plugins, task_file


def make_cost(
    config: ExperimentConfig,
    directory: Path,
    layout: Layout,
    dx: int,
    du: int,
    T: int,
    names: Sequence[str] = (),
    half_ranges: Float[np.ndarray, "du"] | None = None,
) -> Sum:
    """The sum of the experiment's `[[cost]]` sections that have a formula, a JAX function of (x, u, t).

    Args:
        layout: the slice of each part of the state.
        names: the name of each entry of the state.
        half_ranges: half the range of each action, which weights may be relative to; NaN without limits, None if no
            action has limits.

    Raises:
        ConfigError: for unknown parts of the state, lists of another length, and a `task.py` that does not fit.
    """
    return Sum(
        tuple(
            _make_term(term, f"cost.{i}", directory, layout, dx, du, T, names, half_ranges)
            for i, term in enumerate(config.cost)
            if not isinstance(term, RewardCostConfig)
        )
    )


def make_reward_model(config: ExperimentConfig) -> RewardModel | None:
    """The model of the environment's reward, if it is part of the cost."""
    chosen = [(i, term) for i, term in enumerate(config.cost) if isinstance(term, RewardCostConfig)]
    if not chosen:
        return None
    if len(chosen) > 1:
        raise ConfigError(f"cost.{chosen[1][0]}: the reward is part of the cost already (cost.{chosen[0][0]})")
    term = chosen[0][1]
    mixture = MixturePrior(clusters=term.clusters, memory=term.memory)
    return RewardModel(mixture, term.weight, term.strength, term.ridge, term.curvature_ridge)


def _make_term(
    term: Any,
    key: str,
    directory: Path,
    layout: Layout,
    dx: int,
    du: int,
    T: int,
    names: Sequence[str],
    half_ranges: np.ndarray | None,
) -> Cost:
    ramp = Ramp(T, term.ramp, jnp.asarray(term.final_weight))
    match term:
        case QuadraticCostConfig():
            indices = None if term.on == ("action",) else _find_indices(term.on, layout, names, f"{key}.on")
            n = du if indices is None else len(indices)
            target, weight = (per_entry(getattr(term, name), n, f"{key}.{name}") for name in ("target", "weight"))
            if term.relative:
                weight = weight / _find_units(half_ranges, f"{key}.relative", du) ** 2
            return Quadratic(indices, target, weight, ramp)
        case RateCostConfig():
            if LAST_ACTION not in layout:
                raise ConfigError(
                    f'{key}: the change of the action needs the action before in the state; add "{LAST_ACTION}" to '
                    f"environment.state (now {', '.join(layout)})"
                )
            unit = _find_units(half_ranges, f"{key}.relative", du) if term.relative else 1.0
            newest = range(layout[LAST_ACTION].start, layout[LAST_ACTION].start + du)
            return Rate(tuple(newest), per_entry(term.weight, du, f"{key}.weight") / unit**2, ramp)
        case DistanceCostConfig():
            on = term.on or tuple(part for part in layout if part.startswith("site_position:") and "-" in part)
            if not on:
                raise ConfigError(f"{key}.on: name the parts whose length counts; known parts: {', '.join(layout)}")
            weight, l2, l1, log, alpha = (
                jnp.asarray(float(value)) for value in (term.weight, term.l2, term.l1, term.log, term.alpha)
            )
            return Distance(_find_indices(on, layout, names, f"{key}.on"), weight, l2, l1, log, alpha, ramp)
        case SaturatingCostConfig():
            return _make_saturating(term, key, layout, names, ramp)
        case TaskCostConfig():
            path = directory / task_file.NAME
            function = task_file.find(path, term.function, f"{key}.function")
            _check_signature(function, f"{path}: {term.function}", dx, du)
            return TaskCost(function, jnp.asarray(float(term.weight)), ramp)
        case PluginCostConfig():
            factory = plugins.load("gps.costs", term.plugin, f"{key}.name")
            function = call_factory(factory, f"{key}: {term.plugin}", layout, T, **term.options)
            _check_signature(function, f"{key}: {term.plugin}", dx, du)
            return TaskCost(function, jnp.asarray(float(term.weight)), ramp)
    raise AssertionError(term)


def _make_saturating(
    term: SaturatingCostConfig, key: str, layout: Layout, names: Sequence[str], ramp: Ramp
) -> Saturating:
    """The saturating cost; ConfigError if its lists do not fit each other."""
    indices: list[int] = []
    kinds: list[str] = []
    for part in term.on:
        kind, _, angle = part.partition(" ")
        kind, name = (kind, angle.strip()) if kind in ("sin", "cos") and angle else ("plain", part)
        found = _find_indices((name,), layout, names, f"{key}.on")
        indices += found
        kinds += [kind] * len(found)
    n = len(indices)
    matrix = np.eye(n)
    if term.matrix is not None:
        if not term.matrix or any(len(row) != n for row in term.matrix):
            raise ConfigError(f"{key}.matrix: expected rows of {n} numbers, one for each entry of `on`")
        matrix = np.array(term.matrix, float)
    width = per_entry(term.width, len(matrix), f"{key}.width")
    target = per_entry(term.target, n, f"{key}.target")
    weight = jnp.asarray(float(term.weight))
    return Saturating(tuple(indices), tuple(kinds), target, jnp.asarray(matrix) / width[:, None], weight, ramp)


def _find_indices(parts: tuple[str, ...], layout: Layout, names: Sequence[str], key: str) -> tuple[int, ...]:
    """The entries of the state that `parts` name."""
    try:
        return tuple(i for part in parts for i in find_entries(part, layout, names))
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None


def _find_units(half_ranges: np.ndarray | None, key: str, du: int) -> jax.Array:
    """Half the range of each action; ConfigError where one has no limits."""
    known = np.full(du, np.nan) if half_ranges is None else half_ranges
    if (unlimited := np.flatnonzero(np.isnan(known))).size:
        raise ConfigError(f"{key}: action {unlimited[0]} has no limits, so no range; give absolute weights")
    return jnp.asarray(known)


def _check_signature(function: Callable[..., Any], name: str, dx: int, du: int) -> None:
    """A user's cost must be a JAX function of (x, u, t) that returns a scalar; say so before anything is run."""
    try:
        value = jax.eval_shape(function, jnp.zeros(dx), jnp.zeros(du), jnp.zeros((), int))
    except Exception as error:
        raise ConfigError(f"{name}(x, u, t) raised {type(error).__name__}: {one_line(error)[:300]}") from error
    if not isinstance(value, jax.ShapeDtypeStruct) or value.shape != () or value.dtype.kind != "f":
        raise ConfigError(f"{name}(x, u, t): expected a real scalar, got {value}")
