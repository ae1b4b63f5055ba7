"""The loop: sample, fit, improve, record. It does not know which algorithm it runs."""

import dataclasses
import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from threadpoolctl import threadpool_limits

from gps import builders
from gps.algorithms.guided.base import Limits
from gps.backend import jax
from gps.config import ExperimentConfig, OnTrouble, load, replace_settings
from gps.environments.guard import Confirm
from gps.errors import ConfigError, TroubleError
from gps.observations import Sight
from gps.policies.neural import fault
from gps.records import IterationRecord, Rollouts, Seconds
from gps.runs.run import Run, load_run, unusable
from gps.sampling import Policy, collect, exploration_noise, start_states


class Callback:
    """What may watch a run. Override what is of interest; an exception ends the run, with all iterations on disk."""

    def on_start(self, run: Run, config: ExperimentConfig, total: int) -> None:
        """Before the first iteration; the run will have `total` iterations."""

    def on_stage(self, iteration: int, stage: str) -> None:
        """Before each stage of an iteration: "sample", "fit", "improve"."""

    def on_iteration(self, record: IterationRecord) -> None:
        """After an iteration has been written to disk."""

    def on_evaluation(self, rollouts: Rollouts, costs: np.ndarray, what: str = "final") -> None:
        """After something was run without noise, once for each condition; costs are (M, 1, T).

        Args:
            what: "final", what has been learned, from the starts of the conditions; "unseen", the same from the test
                conditions; "local" and "expert", the local controllers, or the expert, beside a policy that they have
                taught.
        """

    def on_end(self, run: Run) -> None:
        """After the last iteration and the evaluation."""


class Experiment:
    """An experiment, built and ready to run.

    Args:
        config: what to run.
        directory: where its `task.py` and its relative paths are.
        confirm: asked before each reset where the experiment says so; None asks on the terminal.

    Raises:
        ConfigError: if some part cannot be built as configured.
    """

    def __init__(self, config: ExperimentConfig, directory: Path, confirm: Confirm | None = None) -> None:
        self.config, self._directory = config, directory
        self.conditions = config.environment.conditions
        self.samples = config.algorithm.samples
        # One environment for everything: two of a robot would fight over it.
        at_once = len(self.conditions) * self.samples if config.environment.sampling == "batch" else 1
        self.environment = builders.environment(config.environment, directory, at_once, confirm)
        try:
            self.horizon = builders.horizon(config.environment, self.environment)
            actions = self.environment.single_action_space
            dx, du = (space.shape[0] for space in (self.environment.single_observation_space, actions))
            cost = builders.cost(config, directory, self.environment.state_layout, dx, du, self.horizon)
            advisers = builders.expert(config, directory, self.environment, cost, self.horizon)
            sight, limits = Sight.of(self.environment), Limits(actions.low, actions.high)
            self.algorithm = builders.algorithm(config, cost, sight, du, advisers, limits)
            # Whether anybody looks at what a policy sees: drawing pictures takes time.
            self.observes: bool = getattr(self.algorithm, "learns_from_observations", True)
            if self.observes:
                builders.require_room(self.environment, len(self.conditions) * self.samples, self.horizon)
        except BaseException:
            self.close()
            raise

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """The state in which each condition starts, (M, dx): the environment is reset to each of them once.

        Raises:
            ConfigError: if the environment does not understand a condition.
        """
        try:
            return start_states(self.environment, self.conditions)
        except ValueError as error:
            raise ConfigError(f"environment.conditions: {error}") from error

    def begin(self) -> Any:
        """The algorithm's state before the first iteration."""
        first = builders.first_controllers(self.config, self._directory, self.environment, self.starts, self.horizon)
        return self.algorithm.begin(first, self.starts)

    def restored(self, run: Run, iteration: int) -> Any:
        """The algorithm's state after an iteration of a run of this experiment.

        Raises:
            RunError: if there is no such iteration, it is damaged, or nobody can act by the policy in it.
        """
        state = run.state(iteration, self.algorithm.state_type)
        policy = getattr(getattr(state, "training", None), "policy", None)
        if policy is not None and (why := fault(policy)):
            raise unusable(run, iteration, why)
        return state

    def iterate(self, state: Any, watch: Callback) -> tuple[Any, IterationRecord]:
        """One iteration: the state after it, and its record. It depends on the state and the seed alone."""
        algorithm, iteration = self.algorithm, state.iteration
        seeds = np.random.SeedSequence([self.config.seed, iteration])
        fit_seed = int(seeds.generate_state(1)[0])
        clock = [time.perf_counter()]

        watch.on_stage(iteration, "sample")
        rollouts = self.sample(algorithm.policy(state), np.random.default_rng(seeds))
        clock.append(time.perf_counter())
        watch.on_stage(iteration, "fit")
        model = jax.block_until_ready(algorithm.fit(state, rollouts, fit_seed))
        clock.append(time.perf_counter())
        watch.on_stage(iteration, "improve")
        state, record = algorithm.improve(state, rollouts, model)
        clock.append(time.perf_counter())
        return state, dataclasses.replace(record, seconds=Seconds(*np.diff(clock).tolist()))

    def sample(self, policy: Policy, rng: np.random.Generator) -> Rollouts:
        """N rollouts of each condition, with exploration noise."""
        noise = exploration_noise(policy, self.samples, self.config.algorithm.controller.smoothing, rng)
        return collect(self.environment, policy, self.conditions, noise, self.config.seed, self.observes)

    def evaluate(
        self, policy: Policy, noise: np.ndarray | None = None, conditions: Sequence[Mapping] | None = None
    ) -> tuple[Rollouts, np.ndarray]:
        """E episodes of each condition, and their costs (M, E, T).

        Args:
            noise: added to the actions, (M, E, T, du); None for one episode without.
            conditions: to start from; None for the experiment's own.
        """
        starts = self.conditions if conditions is None else conditions
        if noise is None:
            noise = np.zeros((len(starts), 1, self.horizon, *self.environment.single_action_space.shape))
        rollouts = collect(self.environment, policy, starts, noise, self.config.seed, observe=False)
        return rollouts, self.algorithm.costs(rollouts)

    def evaluations(self, state: Any) -> Iterator[tuple[str, Rollouts, np.ndarray]]:
        """What has been learned, without noise: what is evaluated (see `gps.runs.EVALUATIONS`), rollouts and costs."""
        final = self.algorithm.final(state)
        yield "final", *self.evaluate(final)
        unseen = self.config.environment.test_conditions
        if unseen and final.carries_over:
            yield "unseen", *self.evaluate(final, conditions=unseen)
        for what, policy in self.algorithm.further(state).items():
            yield what, *self.evaluate(policy)

    def at_the_start(self) -> VectorEnv:
        """Another environment, with one simulation of each condition at its start, for the caller to close."""
        environment = builders.environment(self.config.environment, self._directory, len(self.conditions))
        environment.reset(options={"conditions": list(self.conditions)})
        return environment

    def close(self) -> None:
        self.environment.close()


def run(
    experiment: str | Path,
    *,
    seed: int | None = None,
    iterations: int | None = None,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    group: str = "",
    callbacks: Sequence[Callback] = (),
    command: str | None = None,
    confirm: Confirm | None = None,
) -> Run:
    """Run an experiment from its first iteration and return its run directory.

    Args:
        experiment: a directory with an `experiment.toml`.
        seed, iterations: in place of the experiment's own.
        overrides: `"section.key=value"`, as `--set` of the command line.
        out: the folder of all runs; None for `runs` in the working directory.
        group: a folder for the run directory within `out/NAME`, for runs that belong together.
        command: recorded as what was typed; None for this call.
        confirm: is asked before each reset where `environment.confirm_reset` says so; None asks on the terminal.

    Raises:
        GpsError: names what is wrong, where, and what to do; finished iterations stay on disk.
    """
    source = Path(experiment)
    config = replace_settings(load(source, overrides), seed=seed, iterations=iterations)
    source = source if source.is_dir() else source.parent
    with closing(Experiment(config, source, confirm)) as built:
        state = built.begin()
        described = (
            command or f"gps.run({str(experiment)!r}, seed={seed}, iterations={iterations}, overrides={overrides})"
        )
        name = source.resolve().name
        layout = built.environment.state_layout
        new = Run.create(
            None if out is None else Path(out), name, config.seed, config, source, described, layout, group=group
        )
        with new:
            _loop(new, built, state, config.algorithm.iterations, callbacks)
    return new


def resume(
    path: str | Path,
    *,
    start: int | None = None,
    iterations: int | None = None,
    on_trouble: OnTrouble | None = None,
    callbacks: Sequence[Callback] = (),
    confirm: Confirm | None = None,
) -> Run:
    """Go on with a run, as if it had never stopped: the result has the same bits.

    Args:
        path: the run directory.
        start: the iteration to go on from; it and all after it are done again. None: after the last one.
        iterations: how many more; None for what the experiment lacks.
        on_trouble: in place of the experiment's own.
        confirm: as of `run`.

    Raises:
        GpsError: as of `run`.
    """
    old = load_run(path)
    config = replace_settings(old.config, on_trouble=on_trouble)
    with closing(Experiment(config, old.path, confirm)) as built, old:
        first = len(old.iterations) if start is None else start
        old.discard_from(first)
        state = built.restored(old, first - 1) if first else built.begin()
        total = built.config.algorithm.iterations if iterations is None else first + iterations
        _loop(old, built, state, max(total, first), callbacks)
    return old


def _loop(run: Run, built: Experiment, state: Any, total: int, callbacks: Sequence[Callback]) -> None:
    watch = _All(callbacks)
    watch.on_start(run, built.config, total)
    # One BLAS thread: the same bits on any number of cores, and no waiting for cores that the physics uses.
    with threadpool_limits(1):
        while state.iteration < total:
            state, record = built.iterate(state, watch)
            run.write(record, state)
            watch.on_iteration(record)
            if record.troubles and built.config.algorithm.on_trouble == "stop":
                raise TroubleError(_stopped(run, record))
        for what, rollouts, costs in built.evaluations(state):
            run.write_evaluation(rollouts, costs, what)
            watch.on_evaluation(rollouts, costs, what)
    watch.on_end(run)


def _stopped(run: Run, record: IterationRecord) -> str:
    """Why a run stops, and how it can go on, in a line."""
    first, *others = record.troubles
    more = f" ({len(others)} more)" if others else ""
    return (
        f'{run.path}: iteration {record.iteration}, {first}{more} algorithm.on_trouble = "stop" ends the run here; '
        "`gps resume --on-trouble continue` goes on in spite of it"
    )


class _All(Callback):
    """Several callbacks as one."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self._callbacks = tuple(callbacks)

    def on_start(self, run: Run, config: ExperimentConfig, total: int) -> None:
        for callback in self._callbacks:
            callback.on_start(run, config, total)

    def on_stage(self, iteration: int, stage: str) -> None:
        for callback in self._callbacks:
            callback.on_stage(iteration, stage)

    def on_iteration(self, record: IterationRecord) -> None:
        for callback in self._callbacks:
            callback.on_iteration(record)

    def on_evaluation(self, rollouts: Rollouts, costs: np.ndarray, what: str = "final") -> None:
        for callback in self._callbacks:
            callback.on_evaluation(rollouts, costs, what)

    def on_end(self, run: Run) -> None:
        for callback in self._callbacks:
            callback.on_end(run)
