"""From an experiment's configuration to its objects: environment, cost, first controllers, algorithm."""

import inspect
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode, VectorEnv

import gps.environments  # noqa: F401  (registers the ids)
from gps import plugins, task_file
from gps.algorithms.badmm import BADMM, Penalty
from gps.algorithms.dagger import DAgger
from gps.algorithms.mdgps import MDGPS
from gps.algorithms.pi2 import PI2
from gps.algorithms.pigps import PIGPS
from gps.algorithms.pilqr import PILQR
from gps.algorithms.plato import PLATO
from gps.algorithms.trajopt import TrajOpt
from gps.backend import jax, jnp
from gps.config import (
    BADMMConfig,
    ConvolutionalConfig,
    DAggerConfig,
    DistanceCostConfig,
    DynamicsConfig,
    EnvironmentConfig,
    ExperimentConfig,
    FileInitialConfig,
    LQRInitialConfig,
    MDGPSConfig,
    MixturePriorConfig,
    PDInitialConfig,
    PerceptronConfig,
    PI2Config,
    PIGPSConfig,
    PILQRConfig,
    PILQRGPSConfig,
    PlannerExpertConfig,
    PLATOConfig,
    PluginAlgorithmConfig,
    PluginCostConfig,
    PluginPriorConfig,
    PolicyConfig,
    QuadraticCostConfig,
    RewardCostConfig,
    RunExpertConfig,
    TaskCostConfig,
    TaskExpertConfig,
    TrajOptConfig,
    ZeroInitialConfig,
)
from gps.costs import Distance, Quadratic, Ramp, RewardModel, Sum, Task
from gps.dynamics.mixture import MixturePrior
from gps.dynamics.prior import DynamicsPrior
from gps.environments.guard import Confirm, Guarded, ask
from gps.environments.gymnasium_mujoco import batch_class
from gps.environments.parts import Layout, PartError, entries
from gps.environments.recipe import Recipe, registered
from gps.errors import ConfigError, PolicyError
from gps.experts.planner import Planner
from gps.experts.stored import Stored
from gps.linear_gaussian import initial
from gps.linear_gaussian.types import Controller
from gps.pixels import Sight
from gps.policies import MLP, Convolutional, NeuralPolicy
from gps.policies.supervised import Options, Training
from gps.serialization import MAX_BYTES

MOST_OF_PICTURES = 3 * MAX_BYTES // 4
"""Bytes that the pictures of an iteration may take: they are stored in one file with other arrays."""

# -- environment -----------------------------------------------------------------------------------------------------


def environment(config: EnvironmentConfig, directory: Path, num_envs: int, confirm: Confirm | None = None) -> VectorEnv:
    """`num_envs` simulations of the experiment's environment.

    Args:
        confirm: is asked before each reset where the experiment says so; None asks on the terminal.

    Raises:
        ConfigError: if there is no such environment, or it cannot be built with these options.
    """
    keywords: dict[str, Any] = dict(config.options)
    for key in ("state", "observation", "image_size", "frame_skip", "threads"):
        if (value := getattr(config, key)) is not None:
            keywords[key] = value
    abort = config.abort and task_file.find(directory / task_file.NAME, config.abort, "environment.abort")
    try:
        built = _constructor(config, directory)(num_envs, **keywords)
    except ConfigError:
        raise
    except PartError as error:
        raise ConfigError(f"environment.{_one_line(error)}") from error
    except (gymnasium.error.Error, ImportError, TypeError, ValueError) as error:
        raise ConfigError(f"environment: {_one_line(error)}") from error
    if not hasattr(built, "state_layout"):
        raise ConfigError(
            f"environment.id: {config.id!r} has no `state_layout`: it is not a batch environment of this library; "
            "write a gymnasium.Env or a MujocoEnv"
        )
    if config.action_limits is None and abort is None and not config.confirm_reset:
        return built
    try:
        du = built.single_action_space.shape[0]
        limits = config.action_limits and tuple(
            np.asarray(_per_entry(limit, du, "environment.action_limits")) for limit in config.action_limits
        )
        return Guarded(built, limits, abort, (confirm or ask) if config.confirm_reset else None)
    except BaseException:
        built.close()
        raise


def _constructor(config: EnvironmentConfig, directory: Path) -> Callable[..., VectorEnv]:
    """What makes `num_envs` simulations from keyword arguments."""
    if config.mjcf is not None:
        from gps.environments.mujoco import MujocoEnv

        path = directory / config.mjcf
        return lambda num_envs, **keywords: MujocoEnv(num_envs, mjcf=path, **{"state": ("qpos", "qvel"), **keywords})
    assert config.id is not None
    if config.id.startswith("task:"):
        origin = directory / task_file.NAME
        found = task_file.find(origin, config.id.removeprefix("task:"), "environment.id")
        if _makes_a_batch(found):
            return found
    elif config.id in plugins.names("gps.environments"):
        found = plugins.load("gps.environments", config.id, "environment.id")
        if _makes_a_batch(found):
            return found
        point = plugins.find("gps.environments", config.id, "environment.id")
        origin = EnvSpec(id=f"{config.id}-v0", entry_point=point.value)
    else:
        if (batched := batch_class(config.id)) is not None:
            return batched
        origin = registered(config.id)
        if origin.vector_entry_point is not None and _makes_a_batch(load_env_creator(origin.vector_entry_point)):
            return lambda num_envs, **keywords: gymnasium.make_vec(origin, num_envs, **keywords)
    return partial(_adapted, config, origin)


def _makes_a_batch(constructor: Callable) -> bool:
    """Whether it makes a vector environment as this library needs it: without episodes that restart by themselves."""
    if not isinstance(constructor, type):
        return "num_envs" in inspect.signature(constructor).parameters
    mode = getattr(constructor, "metadata", {}).get("autoreset_mode", AutoresetMode.DISABLED)
    return issubclass(constructor, VectorEnv) and mode is AutoresetMode.DISABLED


def _adapted(config: EnvironmentConfig, origin: EnvSpec | Path, num_envs: int, /, **keywords: Any) -> VectorEnv:
    """A plain Gymnasium environment as a batch; `keywords` that are not the batch's are the environment's own."""
    from gps.environments.adapter import GymnasiumBatch

    own = {key: keywords.pop(key) for key in ("state", "observation", "threads") if key in keywords}
    recipe = Recipe(config.id or "", origin, keywords)
    return GymnasiumBatch(num_envs, recipe, step_timeout=config.step_timeout, **own)


def horizon(config: EnvironmentConfig, environment: VectorEnv) -> int:
    """Steps of a rollout: the experiment's, else the environment's own limit, else 100.

    Raises:
        ConfigError: if the experiment's is longer than the environment's limit.
    """
    limit = getattr(environment, "max_episode_steps", None)
    if config.horizon is not None and limit is not None and config.horizon > limit:
        raise ConfigError(
            f"environment.horizon: {config.horizon} steps are more than the environment's own limit of {limit}; "
            f"shorten it, or lift the limit with environment.options.max_episode_steps = {config.horizon}"
        )
    return config.horizon or limit or 100


def require_room(environment: VectorEnv, episodes: int, T: int) -> None:
    """ConfigError if the pictures of `episodes` of T steps are more than a run stores of an iteration."""
    size = episodes * T * math.prod(Sight.of(environment).image_shape or (0,))
    if size > MOST_OF_PICTURES:
        raise ConfigError(
            f"environment.image_size: the pictures of an iteration, {episodes} episodes of {T} steps, would take "
            f"{size / 2**20:,.0f} MiB, more than the {MOST_OF_PICTURES >> 20} that a run stores; make them smaller"
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


# -- cost ------------------------------------------------------------------------------------------------------------


def cost(config: ExperimentConfig, directory: Path, layout: Layout, dx: int, du: int, T: int) -> Sum:
    """The sum of the experiment's `[[cost]]` sections that have a formula, a JAX function of (x, u, t).

    Raises:
        ConfigError: for unknown parts of the state, lists of another length, and a `task.py` that does not fit.
    """
    return Sum(
        tuple(
            _term(term, f"cost.{i}", directory, layout, dx, du, T)
            for i, term in enumerate(config.cost)
            if not isinstance(term, RewardCostConfig)
        )
    )


def reward_model(config: ExperimentConfig) -> RewardModel | None:
    """The model of the environment's reward, if it is part of the cost."""
    chosen = [(i, term) for i, term in enumerate(config.cost) if isinstance(term, RewardCostConfig)]
    if not chosen:
        return None
    if len(chosen) > 1:
        raise ConfigError(f"cost.{chosen[1][0]}: the reward is part of the cost already (cost.{chosen[0][0]})")
    term = chosen[0][1]
    mixture = MixturePrior(clusters=term.clusters, memory=term.memory)
    return RewardModel(mixture, term.weight, term.strength, term.ridge, term.curvature_ridge)


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
            path = directory / task_file.NAME
            function = task_file.find(path, term.function, f"{key}.function")
            _check_signature(function, f"{path}: {term.function}", dx, du)
            return Task(function, jnp.asarray(float(term.weight)), ramp)
        case PluginCostConfig():
            factory = plugins.load("gps.costs", term.plugin, f"{key}.name")
            function = _made(factory, f"{key}: {term.plugin}", layout, T, **term.options)
            _check_signature(function, f"{key}: {term.plugin}", dx, du)
            return Task(function, jnp.asarray(float(term.weight)), ramp)


def _made(factory: Callable, place: str, *arguments: Any, **options: Any) -> Any:
    """What the factory of another package makes."""
    try:
        return factory(*arguments, **options)
    except Exception as error:
        raise ConfigError(f"{place}: {type(error).__name__}: {_one_line(error)}") from error


def _indices(parts: tuple[str, ...], layout: Layout, key: str) -> tuple[int, ...]:
    """The entries of the state that `parts` name."""
    try:
        return tuple(i for part in parts for i in entries(part, layout))
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None


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


def algorithm(
    config: ExperimentConfig, total_cost: Callable, sight: Sight, du: int, advisers: dict[str, Any] | None = None
) -> Any:
    """The algorithm as configured: one of `gps.algorithms`, or another package's with the same methods.

    Args:
        sight: what a policy sees.
        du: how many actions it has.
        advisers: of `expert`, what those are made with that ask one.

    Raises:
        ConfigError: if the algorithm, or its policy's network, does not fit.
    """
    settings = config.algorithm
    if settings.options and not isinstance(settings, PluginAlgorithmConfig):
        raise ConfigError(f"algorithm.options: {settings.name} has none, got {', '.join(settings.options)}")
    match settings:
        case PluginAlgorithmConfig():
            factory = plugins.load("gps.algorithms", settings.plugin, "algorithm.name")
            return _made(factory, f"algorithm: {settings.plugin}", config, total_cost)
        case TrajOptConfig():
            return TrajOpt(total_cost, **_of_all(config), **_of_models(settings))
        case PI2Config():
            return PI2(total_cost, **_of_all(config), **_of_samples(settings), feedback=settings.feedback)
        case PILQRConfig():
            return PILQR(total_cost, **_of_all(config), **_of_models(settings), **_of_samples(settings))
        case MDGPSConfig():
            shared = {**_of_all(config), **_of_models(settings), **_of_policies(config, sight, du)}
            return MDGPS(total_cost, **shared, sampling=settings.sampling, step_rule=settings.step_rule)
        case PIGPSConfig():
            local = PI2(total_cost, **_of_all(config), **_of_samples(settings))
            return PIGPS(local, **_of_policies(config, sight, du), sampling=settings.sampling)
        case PILQRGPSConfig():
            local = PILQR(total_cost, **_of_all(config), **_of_models(settings), **_of_samples(settings))
            return PIGPS(local, **_of_policies(config, sight, du), sampling=settings.sampling)
        case BADMMConfig():
            shared = {**_of_all(config), **_of_models(settings), **_of_policies(config, sight, du)}
            penalty = Penalty(**settings.penalty.model_dump())
            return BADMM(total_cost, **shared, penalty=penalty, dual_rate=settings.dual_rate)
        case DAggerConfig():
            shared = {**_of_experts(config), **(advisers or {}), **_of_learners(config, sight, du)}
            return DAgger(total_cost, **shared, decay=settings.decay)
        case PLATOConfig():
            shared = {**_of_experts(config), **(advisers or {}), **_of_learners(config, sight, du)}
            return PLATO(total_cost, **shared, adaptation=settings.adaptation)


def _of_all(config: ExperimentConfig) -> dict[str, Any]:
    """What all algorithms are made with."""
    settings, controller = config.algorithm, config.algorithm.controller
    return {
        "reward": reward_model(config),
        "kl_step": settings.kl_step,
        "multiplier": settings.step_multiplier.initial,
        "min_multiplier": settings.step_multiplier.min,
        "max_multiplier": settings.step_multiplier.max,
        "execution": controller.execute,
        "noise": controller.noise,
        "smoothing": controller.smoothing,
    }


def _of_models(settings: TrajOptConfig | PILQRConfig | MDGPSConfig | BADMMConfig | PILQRGPSConfig) -> dict[str, Any]:
    """What those are made with that optimise under a local model."""
    return {
        "prior": _prior(settings.dynamics),
        "ridge": settings.dynamics.ridge,
        "center": settings.dynamics.center,
        "constraint": settings.constraint,
        "solver": settings.solver,
        "entropy": settings.entropy,
    }


def _of_samples(settings: PI2Config | PILQRConfig | PIGPSConfig | PILQRGPSConfig) -> dict[str, Any]:
    """What those are made with that weigh samples."""
    names = ("covariance_damping", "covariance_floor", "temperature", "residual_share")
    return {name: getattr(settings, name) for name in names if name in type(settings).model_fields}


def _of_experts(config: ExperimentConfig) -> dict[str, Any]:
    """What those are made with that ask an expert, beside the expert."""
    settings, controller = config.algorithm, config.algorithm.controller
    return {
        "reward": reward_model(config),
        "memory": settings.memory,
        "deviation": settings.deviation,
        "execution": controller.execute,
        "noise": controller.noise,
    }


def _of_policies(config: ExperimentConfig, sight: Sight, du: int) -> dict[str, Any]:
    """What those are made with whose local controllers teach a neural policy."""
    return {**_of_learners(config, sight, du), "warm_up": config.algorithm.warm_up}


def _of_learners(config: ExperimentConfig, sight: Sight, du: int) -> dict[str, Any]:
    """What all those are made with that train a neural policy."""
    settings: PolicyConfig = config.algorithm.policy
    weights, choices = jax.random.split(jax.random.key(config.seed))
    prior = settings.prior
    own = settings.model_dump(exclude={"network", "hidden", "activation", "prior"})
    return {
        "training": Training.begin(NeuralPolicy.untrained(_network(settings, sight, du, weights)), choices),
        "options": Options(**own),
        "policy_prior": MixturePrior(**prior.model_dump(exclude={"name"})) if prior.name == "gmm" else None,
    }


def _network(settings: PolicyConfig, sight: Sight, du: int, key: jax.Array) -> MLP | Convolutional:
    """The policy's network with random weights; ConfigError if it does not fit what it is to see."""
    place, image, numbers = "algorithm.policy.network", sight.image_shape, len(sight.numbers)
    match settings.network or (PerceptronConfig() if image is None else ConvolutionalConfig()):
        case PerceptronConfig():
            if image is not None:
                raise ConfigError(
                    f'{place}: "mlp" takes numbers, and there are pictures in environment.observation; '
                    'take "convolutional"'
                )
            return MLP.create((numbers, *settings.hidden, du), key, settings.activation)
        case ConvolutionalConfig() as chosen:
            if image is None:
                raise ConfigError(
                    f'{place}: "convolutional" sees, and there is no picture in environment.observation; '
                    'name one there ("image:CAMERA" of a MuJoCo model), or take "mlp"'
                )
            layers = chosen.channels, chosen.kernels, chosen.strides
            try:
                return Convolutional.create(image, numbers, du, key, *layers, settings.hidden, settings.activation)
            except PolicyError as error:
                raise ConfigError(f"{place}: {error}") from None


def expert(
    config: ExperimentConfig, directory: Path, environment: VectorEnv, total_cost: Callable, T: int
) -> dict[str, Any]:
    """The expert of the algorithms that ask one, and for how long; nothing for the others.

    Raises:
        ConfigError: if it is not there, has no `act`, or does not fit this experiment.
    """
    chosen = getattr(config.algorithm, "expert", None)
    if chosen is not None:  # the state holds the samples of all iterations that are remembered
        episodes = len(config.environment.conditions) * config.algorithm.samples * config.algorithm.memory
        require_room(environment, episodes, T)
    match chosen:
        case None:
            return {}
        case PlannerExpertConfig() as settings:
            return {"expert": _planner(settings, config, environment, total_cost, T), "steps": T}
        case TaskExpertConfig() as settings:
            return {"expert": _of_task(settings, directory), "steps": T}
        case RunExpertConfig() as settings:
            return {"expert": _of_run(settings, config, directory, environment, T), "steps": T}


def _planner(settings: PlannerExpertConfig, config: ExperimentConfig, environment: VectorEnv, total_cost, T) -> Planner:
    if reward_model(config) is not None:
        raise ConfigError(
            'algorithm.expert: a planner needs to know what any action would cost, and cost = "reward" tells it only '
            "of those that were taken; say what a step costs in [[cost]] sections"
        )
    space = environment.single_action_space
    own = settings.model_dump(exclude={"name", "dynamics"})
    low, high = (np.asarray(limit, dtype=float) for limit in (space.low, space.high))
    prior = MixturePrior(**settings.dynamics.model_dump())
    return Planner(cost=total_cost, low=low, high=high, steps=T, prior=prior, **own)


class _Function:
    """A function as an object with `act`."""

    def __init__(self, act: Callable) -> None:
        self.act = act


def _of_task(settings: TaskExpertConfig, directory: Path) -> Any:
    key, place = "algorithm.expert.function", directory / task_file.NAME
    found = task_file.find(place, settings.function, key)
    if isinstance(found, type):
        found = _made(found, f"{place}: {settings.function}", **settings.options)
    elif settings.options:
        raise ConfigError(f"algorithm.expert.options: {settings.function} is no class, so that it takes none")
    elif callable(found) and not hasattr(found, "act"):
        found = _Function(found)
    if not callable(getattr(found, "act", None)):
        raise ConfigError(f"{key}: {settings.function} of {place} has no act(states, t)")
    return found


def _of_run(
    settings: RunExpertConfig, config: ExperimentConfig, directory: Path, environment: VectorEnv, T: int
) -> Stored:
    from gps.exporting import learned
    from gps.runs import load_run

    run = load_run(directory / settings.path)
    iteration = len(run.iterations) - 1 if settings.iteration is None else settings.iteration
    run.iterations.require(iteration)
    key = f"algorithm.expert.path: {run.path}"
    policy = learned(run, iteration)
    (dx,), (du,) = environment.single_observation_space.shape, environment.single_action_space.shape
    if isinstance(policy, Controller):
        expected = len(config.environment.conditions), T, du, dx
        if policy.feedback.shape != expected:
            raise ConfigError(
                f"{key} has controllers of shape (M, T, du, dx) = {policy.feedback.shape}, and this experiment needs "
                f"{expected}"
            )
        if run.config.environment.conditions != config.environment.conditions:
            raise ConfigError(f"{key} has controllers for other conditions, and each knows its own start alone")
    elif getattr(policy.network, "image_shape", None) is not None:
        raise ConfigError(f"{key} has a policy that sees pictures, and an expert sees the state")
    elif (sizes := (policy.network.vector_size, policy.network.action_size)) != (dx, du):
        raise ConfigError(
            f"{key} has a policy of {sizes[0]} observations and {sizes[1]} actions, and this experiment has {dx} and "
            f"{du}: an expert sees the state"
        )
    return Stored(policy)


def _prior(dynamics: DynamicsConfig) -> DynamicsPrior | None:
    match dynamics.prior:
        case _ if dynamics.fit == "least_squares":
            return None
        case MixturePriorConfig():
            return MixturePrior(**dynamics.prior.model_dump(exclude={"name"}))
        case PluginPriorConfig(plugin=name, options=options):
            factory = plugins.load("gps.dynamics", name, "algorithm.dynamics.prior.name")
            return _made(factory, f"algorithm.dynamics.prior: {name}", **options)
    return None


def first_controllers(
    config: ExperimentConfig, directory: Path, environment: VectorEnv, starts: np.ndarray, T: int
) -> Controller:
    """The controllers of iteration 0, for the M conditions that start in `starts` (M, dx).

    Raises:
        ConfigError: if the environment does not tell what the chosen kind needs to know.
    """
    mechanics = getattr(environment, "mechanics", None)
    choice = config.algorithm.controller.initial or (ZeroInitialConfig() if mechanics is None else LQRInitialConfig())
    M, dx = starts.shape
    space = environment.single_action_space
    du = space.shape[0]
    match choice:
        case ZeroInitialConfig():
            return initial.zero(M, T, dx, du, _quarter_of(space) if choice.noise is None else choice.noise)
        case FileInitialConfig():
            return _stored_controllers(choice, directory, (M, T, du, dx))
        case LQRInitialConfig() | PDInitialConfig():
            if mechanics is None:
                raise ConfigError(
                    f"algorithm.controller.initial: {choice.name!r} needs the whole qpos and qvel in the state "
                    '(environment.state), one position for each velocity; or choose name = "zero"'
                )
            if isinstance(choice, PDInitialConfig):
                return initial.pd(starts, T, mechanics, choice.stiffness, choice.damping, choice.noise)
            gain = np.asarray(_per_entry(choice.gain, du, "algorithm.controller.initial.gain"))
            return initial.lqr(starts, T, mechanics, choice.stiffness, choice.damping, gain, choice.noise)


def _quarter_of(space: gymnasium.spaces.Box) -> np.ndarray:
    """A quarter of the range of each action that has limits, 1 of the others, (du,)."""
    width = space.high - space.low
    return np.where(np.isfinite(width), width / 4, 1.0)


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
