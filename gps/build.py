"""From an experiment's configuration to its objects: environment, cost, first controllers, algorithm."""

import importlib.util
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv

import gps.environments  # noqa: F401  (registers the ids)
from gps.algorithms.trajopt import TrajOpt
from gps.backend import jax, jnp
from gps.config import (
    DistanceCostConfig,
    EnvironmentConfig,
    ExperimentConfig,
    FileInitialConfig,
    LQRInitialConfig,
    MixturePriorConfig,
    PDInitialConfig,
    QuadraticCostConfig,
    TaskCostConfig,
    ZeroInitialConfig,
)
from gps.costs import Distance, Quadratic, Ramp, Sum, Task
from gps.dynamics.mixture import MixturePrior
from gps.environments.gymnasium_mujoco import batch_class
from gps.errors import ConfigError, nearest
from gps.linear_gaussian import initial
from gps.linear_gaussian.types import Controller

Layout = Mapping[str, slice]

_TASK = "task.py"


# -- environment -----------------------------------------------------------------------------------------------------


def environment(config: EnvironmentConfig, directory: Path, num_envs: int) -> VectorEnv:
    """`num_envs` simulations of the experiment's environment.

    Raises:
        ConfigError: if there is no such environment, or it cannot be built with these options.
    """
    keywords: dict[str, Any] = dict(config.options)
    for key in ("state", "frame_skip", "threads"):
        if (value := getattr(config, key)) is not None:
            keywords[key] = value
    try:
        built = _constructor(config, directory)(num_envs, **keywords)
    except ConfigError:
        raise
    except (gymnasium.error.Error, ImportError, TypeError, ValueError) as error:
        raise ConfigError(f"environment: {_one_line(error)}") from error
    if not hasattr(built, "state_layout"):
        raise ConfigError(
            f"environment.id: {config.id!r} has no `state_layout`: it is not a batch environment of this library; "
            "give its MuJoCo model as environment.mjcf, or write a MujocoEnv in task.py"
        )
    return built


def _constructor(config: EnvironmentConfig, directory: Path) -> Callable[..., VectorEnv]:
    if config.mjcf is not None:
        from gps.environments.mujoco import MujocoEnv

        path = directory / config.mjcf
        return lambda num_envs, **keywords: MujocoEnv(num_envs, mjcf=path, **{"state": ("qpos", "qvel"), **keywords})
    assert config.id is not None
    if config.id.startswith("task:"):
        return _from_task(directory, config.id.removeprefix("task:"), "environment.id")
    if (batched := batch_class(config.id)) is not None:
        return batched
    return lambda num_envs, **keywords: gymnasium.make_vec(config.id, num_envs, **keywords)


def horizon(config: EnvironmentConfig, environment: VectorEnv) -> int:
    """Steps of a rollout: the experiment's, else the environment's own limit, else 100."""
    return config.horizon or getattr(environment, "max_episode_steps", None) or 100


# -- task.py ---------------------------------------------------------------------------------------------------------


def _from_task(directory: Path, name: str, key: str) -> Any:
    module = _task_module(directory / _TASK, key)
    if not hasattr(module, name):
        public = [other for other in vars(module) if not other.startswith("_")]
        raise ConfigError(f"{directory / _TASK}: no {name!r}, which {key} asks for{nearest(name, public)}")
    return getattr(module, name)


def _task_module(path: Path, key: str) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"{path}: missing, but {key} asks for it")
    spec = importlib.util.spec_from_file_location(f"gps_task_{path.parent.name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"{path}: {type(error).__name__}: {_one_line(error)}") from error
    return module


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


# -- cost ------------------------------------------------------------------------------------------------------------


def cost(config: ExperimentConfig, directory: Path, layout: Layout, dx: int, du: int, T: int) -> Sum:
    """The sum of the experiment's `[[cost]]` sections, a JAX function of (x, u, t).

    Raises:
        ConfigError: for unknown parts of the state, lists of another length, and a `task.py` that does not fit.
    """
    return Sum(tuple(_term(term, f"cost.{i}", directory, layout, dx, du, T) for i, term in enumerate(config.cost)))


def _term(term, key: str, directory: Path, layout: Layout, dx: int, du: int, T: int):
    ramp = Ramp(T, term.ramp, jnp.asarray(term.final_weight))
    match term:
        case QuadraticCostConfig():
            indices = None if term.on == ("action",) else _indices(term.on, layout, f"{key}.on")
            n = du if indices is None else len(indices)
            target, weight = (_per_entry(getattr(term, name), n, f"{key}.{name}") for name in ("target", "weight"))
            return Quadratic(indices, target, weight, ramp)
        case DistanceCostConfig():
            on = term.on or tuple(part for part in layout if part.startswith("site_position:") and "-" in part)
            if not on:
                raise ConfigError(f"{key}.on: name the parts whose length counts; known parts: {', '.join(layout)}")
            numbers = (jnp.asarray(float(v)) for v in (term.weight, term.l2, term.l1, term.log, term.alpha))
            return Distance(_indices(on, layout, f"{key}.on"), *numbers, ramp)
        case TaskCostConfig():
            function = _from_task(directory, term.function, f"{key}.function")
            _check_signature(function, f"{directory / _TASK}: {term.function}", dx, du)
            return Task(function, jnp.asarray(float(term.weight)), ramp)


def _indices(parts: tuple[str, ...], layout: Layout, key: str) -> tuple[int, ...]:
    """The entries of the state that `parts` name: `"qvel"`, or some of a part's entries: `"qvel[0,2]"`, `"…[xy]"`."""
    indices: list[int] = []
    for part in parts:
        name, chosen = re.fullmatch(r"(.*?)(?:\[([xyz]+|\d+(?:,\d+)*)\])?", part).groups()  # type: ignore[union-attr]
        if name not in layout:
            raise ConfigError(
                f"{key}: unknown part {name!r} of the state{nearest(name, layout)}; known: {list(layout)}"
            )
        entries = range(layout[name].start, layout[name].stop)
        if chosen is None:
            indices.extend(entries)
            continue
        numbers = ["xyz".index(c) for c in chosen] if chosen[0] in "xyz" else [int(n) for n in chosen.split(",")]
        if max(numbers) >= len(entries):
            raise ConfigError(f"{key}: {part!r}: the part has {len(entries)} entries, counted from 0")
        indices.extend(entries[n] for n in numbers)
    return tuple(indices)


def _per_entry(value, n: int, key: str):
    array = np.asarray(value, dtype=float)
    if array.ndim and array.shape != (n,):
        raise ConfigError(f"{key}: expected one number or {n}, got {array.size}")
    return jnp.asarray(np.broadcast_to(array, (n,)))


def _check_signature(function: Callable, name: str, dx: int, du: int) -> None:
    """A user's cost must be a JAX function of (x, u, t) that returns a scalar; say so before anything is run."""
    try:
        value = jax.eval_shape(function, jnp.zeros(dx), jnp.zeros(du), jnp.zeros((), int))
    except Exception as error:
        raise ConfigError(f"{name}(x, u, t) raised {type(error).__name__}: {_one_line(error)[:300]}") from error
    if getattr(value, "shape", None) != () or value.dtype.kind != "f":
        raise ConfigError(f"{name}(x, u, t): expected a real scalar, got {value}")


# -- algorithm -------------------------------------------------------------------------------------------------------


def algorithm(config: ExperimentConfig, total_cost: Callable) -> TrajOpt:
    """The algorithm as configured."""
    settings, dynamics, controller = config.algorithm, config.algorithm.dynamics, config.algorithm.controller
    prior = None
    if dynamics.fit == "bayesian" and isinstance(dynamics.prior, MixturePriorConfig):
        prior = MixturePrior(**dynamics.prior.model_dump(exclude={"name"}))
    return TrajOpt(
        cost=total_cost,
        prior=prior,
        ridge=dynamics.ridge,
        center=dynamics.center,
        kl_step=settings.kl_step,
        constraint=settings.constraint,
        solver=settings.solver,
        entropy=settings.entropy,
        multiplier=settings.step_multiplier.initial,
        min_multiplier=settings.step_multiplier.min,
        max_multiplier=settings.step_multiplier.max,
        execution=controller.execute,
        noise=controller.noise,
        smoothing=controller.smoothing,
    )


def first_controllers(
    config: ExperimentConfig, directory: Path, environment: VectorEnv, starts: np.ndarray, T: int
) -> Controller:
    """The controllers of iteration 0, for the M conditions that start in `starts` (M, dx).

    Raises:
        ConfigError: if the environment does not tell what the chosen kind needs to know.
    """
    choice = config.algorithm.controller.initial
    M, dx = starts.shape
    du = environment.single_action_space.shape[0]
    match choice:
        case ZeroInitialConfig():
            return initial.zero(M, T, dx, du, choice.noise)
        case FileInitialConfig():
            return _stored_controllers(choice, directory, (M, T, du, dx))
        case LQRInitialConfig() | PDInitialConfig():
            mechanics = getattr(environment, "mechanics", None)
            if mechanics is None:
                raise ConfigError(
                    f"algorithm.controller.initial: {choice.name!r} needs the whole qpos and qvel in the state "
                    '(environment.state), one position for each velocity; or choose name = "zero"'
                )
            if isinstance(choice, PDInitialConfig):
                return initial.pd(starts, T, mechanics, choice.stiffness, choice.damping, choice.noise)
            gain = np.asarray(_per_entry(choice.gain, du, "algorithm.controller.initial.gain"))
            return initial.lqr(starts, T, mechanics, choice.stiffness, choice.damping, gain, choice.noise)


def _stored_controllers(choice: FileInitialConfig, directory: Path, shape: tuple[int, ...]) -> Controller:
    from gps.runs import load_run

    run = load_run(directory / choice.path)
    run.iterations.require(-1 if choice.iteration is None and not len(run.iterations) else choice.iteration or 0)
    stored = run.iterations[-1 if choice.iteration is None else choice.iteration].improved.numpy()
    if stored.feedback.shape != shape:
        raise ConfigError(
            f"algorithm.controller.initial.path: {run.path} has controllers of shape (M, T, du, dx) = "
            f"{stored.feedback.shape}, and this experiment needs {shape}"
        )
    return stored
