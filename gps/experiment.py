"""The loop: sample, fit, improve, record. It does not know which algorithm it runs."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from gps import builders
from gps.algorithms.algorithm import AlgorithmState
from gps.algorithms.checked import CheckedAlgorithm
from gps.backend import jax
from gps.callbacks import Callback, CallbackList
from gps.config import ExperimentConfig, OnTrouble, find_experiment, load, replace_settings
from gps.environments.contract import BatchEnvironment
from gps.environments.guard import Confirm
from gps.errors import AlgorithmFault, ConfigError, EnvironmentFault, TroubleError
from gps.first_controllers import FirstControllers
from gps.players import FINAL, UNSEEN
from gps.policies.interface import Interface
from gps.policies.neural import NeuralPolicy, find_fault
from gps.policies.timed import Timed
from gps.records import EvaluationRecord, IterationRecord, Rollouts, Seconds
from gps.runs import Run, load_run
from gps.runs.creating import create_run
from gps.runs.loaded import settle
from gps.runs.run import unusable_policy
from gps.runs.stages import describe_stage
from gps.sampling import Policy, Starts, collect, draw_noise, read_starts

FEWEST = 3
"""The fewest samples of a condition that the first iteration takes where a probe was made."""

EPISODES_UNDER_NOISE = 10
"""Episodes of each start in an evaluation, where the environment is noisy."""

_TRAINING, _EVALUATION = 0, 1  # the first number of a stream of the environment's noise


class Played(NamedTuple):
    """Episodes of an evaluation."""

    rollouts: Rollouts
    costs: np.ndarray  # (M, E, T)
    seconds: float  # of an action; see `gps.policies.timed`


class Experiment:
    """An experiment, built and ready to run.

    Args:
        config: what to run.
        directory: where its `task.py` and its relative paths are.
        confirm: called before each reset if the experiment says so; None asks on the terminal.

    Attributes:
        environment: the batch of simulations that everything runs in.
        problem: what the algorithm is given.
        algorithm: the algorithm; its answers are checked against its contract.

    Raises:
        ConfigError: if some part cannot be built as configured.
    """

    def __init__(self, config: ExperimentConfig, directory: Path, confirm: Confirm | None = None) -> None:
        self.config, self._directory = config, directory
        self.conditions = config.environment.conditions
        self.samples = config.algorithm.samples
        self._resources = ExitStack()
        # One environment for everything: two of a robot would fight over it.
        at_once = len(self.conditions) * self.samples if config.environment.sampling == "batch" else 1
        self.environment = builders.make_environment(config.environment, directory, at_once, confirm)
        self._resources.callback(self.environment.close)
        try:
            self.horizon = builders.find_horizon(config.environment, self.environment)
            self.problem = builders.make_problem(config, directory, self.environment, self.horizon)
            algorithm = builders.make_algorithm(config, directory, self.problem, self.environment, self._resources)
            self.algorithm = CheckedAlgorithm(algorithm, len(self.conditions))
            if self.algorithm.needs.observations:
                builders.require_room(self.problem.sight, len(self.conditions) * self.samples, self.horizon)
        except BaseException:
            self.close()
            raise

    @functools.cached_property
    def starts(self) -> Starts:
        """The start of each condition: the environment is reset to each of them once.

        Raises:
            ConfigError: if the environment does not understand a condition, or a test condition.
        """
        starts = self._read_starts("conditions", self.conditions)
        if unseen := self.config.environment.test_conditions:
            self._read_starts("test_conditions", unseen)  # a bad one is found before the training, not after it
        return starts

    def _read_starts(self, key: str, conditions: Sequence[Mapping[str, Any]]) -> Starts:
        try:
            return read_starts(self.environment, conditions)
        except ValueError as error:
            raise ConfigError(f"environment.{key}: {error}") from error
        except EnvironmentFault as fault:
            raise EnvironmentFault(f"environment.{key}: {fault}") from fault

    @functools.cached_property
    def first(self) -> FirstControllers:
        """The first controllers; those that hold their starts probe the environment once."""
        with threadpool_limits(1):
            return builders.make_first_controllers(
                self.config, self._directory, self.problem, self.environment, self.starts
            )

    @property
    def smoothing(self) -> float:
        """The smoothing of the exploration noise, in time steps."""
        return self.config.algorithm.controller.smooth(probed=self.first.episodes > 0)

    def begin(self) -> AlgorithmState:
        """The algorithm's state before the first iteration."""
        with threadpool_limits(1):
            return self.algorithm.begin(self.first.controllers, self.starts.states)

    def restore(self, run: Run, iteration: int) -> AlgorithmState:
        """The algorithm's state after an iteration of a run of this experiment.

        Raises:
            RunError: if there is no such iteration, it is damaged, or its policy cannot be evaluated.
        """
        state = run.state(iteration, self.algorithm.state_type)
        policy = self.algorithm.parameters(state)
        if isinstance(policy, NeuralPolicy) and (why := find_fault(policy)):
            raise unusable_policy(run, iteration, why)
        return state

    def iterate(self, state: AlgorithmState, watch: Callback) -> tuple[AlgorithmState, IterationRecord]:
        """One iteration: the state after it, and its record. It depends on the state and the seed alone."""
        algorithm, iteration = self.algorithm, state.iteration
        seeds = np.random.SeedSequence([self.config.seed, iteration])
        fit_seed = int(seeds.generate_state(1)[0])
        clock = [time.perf_counter()]

        watch.on_stage(iteration, "sample")
        sampled = algorithm.policy(state)
        rollouts = self.sample(sampled, np.random.default_rng(seeds), iteration)
        clock.append(time.perf_counter())
        watch.on_stage(iteration, "fit")
        model = jax.block_until_ready(algorithm.fit(state, rollouts, fit_seed))  # type: ignore[no-untyped-call]
        clock.append(time.perf_counter())
        watch.on_stage(iteration, "improve")
        state, record = algorithm.improve(state, sampled, rollouts, model)
        clock.append(time.perf_counter())
        steps = record.environment_steps + self.first.steps
        seconds = dataclasses.replace(Seconds(*np.diff(clock).tolist()), plan=record.seconds.plan)
        return state, dataclasses.replace(record, environment_steps=steps, seconds=seconds)

    def sample(self, policy: Policy, rng: np.random.Generator, iteration: int) -> Rollouts:
        """N rollouts of each condition, with exploration noise; the iteration decides the environment's own noise."""
        samples = self.samples
        if iteration == 0 and samples > FEWEST:  # the probe is paid for by samples of the first iteration
            samples = max(FEWEST, samples - math.ceil(self.first.steps / (len(self.conditions) * self.horizon)))
        noise = draw_noise(policy, samples, self.smoothing, rng)
        observe = self.algorithm.needs.observations
        return self.collect(policy, self.conditions, noise, observe, (_TRAINING, iteration))

    def collect(
        self,
        policy: Policy,
        conditions: Sequence[Mapping[str, Any]],
        noise: np.ndarray,
        observe: bool,
        stream: Sequence[int] | None = None,
    ) -> Rollouts:
        """Rollouts of a policy: see `gps.sampling.collect`."""
        whole_at = self.config.environment.whole_at
        return collect(self.environment, policy, conditions, noise, self.config.seed, observe, whole_at, stream)

    def evaluate(
        self,
        policy: Policy,
        noise: np.ndarray | None = None,
        conditions: Sequence[Mapping[str, Any]] | None = None,
        seed: int = 0,
    ) -> Played:
        """E episodes of each condition, the costs of their true states, and the time of an action.

        Args:
            noise: added to the actions, (M, E, T, du); None for one episode without, or for `EPISODES_UNDER_NOISE`
                where the environment is noisy itself.
            conditions: to start from; None for the experiment's own.
            seed: of the environment's own noise.
        """
        starts = self.conditions if conditions is None else conditions
        if noise is None:
            episodes = EPISODES_UNDER_NOISE if self.environment.noisy else 1
            noise = np.zeros((len(starts), episodes, self.horizon, self.problem.du))
        timed = Timed(policy)
        rollouts = self.collect(timed, starts, noise, False, (_EVALUATION, seed))
        return Played(rollouts, self.problem.costs(rollouts.true), timed.measure(rollouts))

    def evaluations(self, state: AlgorithmState) -> Iterator[EvaluationRecord]:
        """Episodes without exploration of what has been learned, and of its teachers."""
        final = self.algorithm.learned(state)
        yield EvaluationRecord(FINAL, final.player, *self.evaluate(final))
        unseen = self.config.environment.test_conditions
        if unseen and final.carries_over:
            yield EvaluationRecord(UNSEEN, final.player, *self.evaluate(final, conditions=unseen))
        for teacher in self.algorithm.teachers(state):
            yield EvaluationRecord(teacher.player.value, teacher.player, *self.evaluate(teacher))

    def make_environment_at_start(self, seed: int = 0) -> BatchEnvironment:
        """Another environment, with one simulation of each condition at its start, for the caller to close.

        Args:
            seed: of its noise; its simulations repeat the first episodes of `evaluate`.
        """
        environment = builders.make_environment(self.config.environment, self._directory, len(self.conditions))
        options: dict[str, Any] = {"conditions": list(self.conditions)}
        if environment.noisy:
            options["episodes"] = [(_EVALUATION, seed, m, 0) for m in range(len(self.conditions))]
        environment.reset(seed=self.config.seed, options=options)
        return environment

    def close(self) -> None:
        """Close the environment, and what the algorithm holds."""
        self._resources.close()


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
    """Run an experiment from its first iteration and return its run.

    Args:
        experiment: a directory with an `experiment.toml`, or the name of an experiment that comes with the package.
        seed, iterations: replace the experiment's own.
        overrides: `"section.key=value"`, like `--set` on the command line.
        out: the folder of all runs; None for `runs` in the working directory.
        group: a folder within `out/NAME` for the run directory, for runs that belong together.
        command: recorded as the command that was typed; None records this call.
        confirm: called before each reset if `environment.confirm_reset` says so; None asks on the terminal.

    Raises:
        GpsError: names what is wrong, where, and what to do; finished iterations stay on disk.
    """
    source = find_experiment(experiment)
    config = replace_settings(load(source, overrides), seed=seed, iterations=iterations)
    source = source if source.is_dir() else source.parent
    config = settle(config, source)
    with closing(Experiment(config, source, confirm)) as built:
        builders.require_memory(config, built.problem)
        described = (
            command or f"gps.run({str(experiment)!r}, seed={seed}, iterations={iterations}, overrides={overrides})"
        )
        name = source.resolve().name
        environment = built.environment
        new = create_run(
            None if out is None else Path(out),
            name,
            config.seed,
            config,
            source,
            described,
            environment.state_layout,
            group=group,
            files=environment.files,
            interface=Interface.of(environment, built.horizon),
            first=built.first,
        )
        with new:
            _loop(new, built, built.begin, config.algorithm.iterations, callbacks)
    return new


def rebuild(run: Run, config: ExperimentConfig, confirm: Confirm | None = None) -> Experiment:
    """The experiment of a run, from the run's own copies of its files.

    Args:
        config: of the run, perhaps with other options.
        confirm: see `Experiment`.

    Raises:
        RunError: if a file is damaged, or one that the run has no copy of has changed.
        ConfigError: see `Experiment`.
    """
    built = Experiment(config, run.source, confirm)
    try:
        run.require_unchanged(built.environment.files)
        if run.first is not None:
            built.first = run.first  # what the probe found when the run began
    except BaseException:
        built.close()
        raise
    return built


def resume(
    path: str | Path,
    *,
    start: int | None = None,
    iterations: int | None = None,
    on_trouble: OnTrouble | None = None,
    callbacks: Sequence[Callback] = (),
    confirm: Confirm | None = None,
) -> Run:
    """Go on with a run as if it had never stopped: the result has the same bits.

    Args:
        path: the run directory.
        start: the first iteration to do again, with all after it; None goes on after the last one.
        iterations: how many more to run; None to finish the experiment.
        on_trouble: replaces the experiment's own.
        confirm: see `run`.

    Raises:
        GpsError: see `run`.
    """
    old = load_run(path)
    config = replace_settings(old.config, on_trouble=on_trouble)
    with closing(rebuild(old, config, confirm)) as built, old:
        builders.require_memory(config, built.problem)
        first = len(old.iterations) if start is None else start
        old.discard_from(first)
        begin = functools.partial(built.restore, old, first - 1) if first else built.begin
        total = built.config.algorithm.iterations if iterations is None else first + iterations
        _loop(old, built, begin, max(total, first), callbacks)
    return old


def _loop(
    run: Run, built: Experiment, begin: Callable[[], AlgorithmState], total: int, callbacks: Sequence[Callback]
) -> None:
    watch = CallbackList([_StageNote(), *callbacks])
    watch.on_start(run, built.config, total)
    # One BLAS thread: the same bits on any number of cores, and no waiting for cores that the physics uses.
    with threadpool_limits(1):
        if not len(run.iterations):
            watch.on_stage(0, "begin")
        state = begin()
        while state.iteration < total:
            state, record = built.iterate(state, watch)
            learned = built.algorithm.learned(state).parameters
            try:
                run.write(record, state, learned)
            except TypeError as error:
                raise AlgorithmFault(f"the algorithm's record, state or policy cannot be stored: {error}") from error
            watch.on_iteration(record)
            if record.troubles and built.config.algorithm.on_trouble == "stop":
                raise TroubleError(_explain_stop(run, record))
        watch.on_stage(state.iteration, "evaluate")
        for evaluation in built.evaluations(state):
            run.write_evaluation(evaluation)
            watch.on_evaluation(evaluation)
    watch.on_end(run)


class _StageNote(Callback):
    """Leaves the stage of a run where other processes read it."""

    def on_start(self, run: Run, config: ExperimentConfig, total: int) -> None:
        self._run, self._total = run, total

    def on_stage(self, iteration: int, stage: str) -> None:
        self._run.note_stage(describe_stage(iteration, self._total, stage))


def _explain_stop(run: Run, record: IterationRecord) -> str:
    """Why a run stops, and how it can go on, in one line."""
    first, *others = record.troubles
    more = f" ({len(others)} more)" if others else ""
    return (
        f'{run.path}: iteration {record.iteration}, {first}{more} algorithm.on_trouble = "stop" ends the run here; '
        "`gps resume --on-trouble continue` goes on in spite of it"
    )
