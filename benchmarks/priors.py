"""What a prior of the local dynamics is worth with N samples: `python -m benchmarks.priors`.

The first table has the one-step error of the fitted local dynamics on episodes that took part in nothing. All priors
are given the same samples: those of the first iterations, by which a global model learns, then N of an iteration with
new controllers. An error is the root mean square over the entries of the state that vary, each in units of its
deviation among the held-out episodes; the median over seeds. So 1 is as good as the mean of each step. The physics
prior is the simulator itself with some unknown masses and frictions, whose fits start off by factors of 2 to 3.

The second table has the episodes until all samples of an iteration succeed, in a run with N samples per iteration; the
median over seeds. The half-cheetah has no goal: there it is the episodes until an iteration's mean return is 50, in 100
steps. The table takes much longer and is only made with `--solve`. A prior that this version does not know, or
that an experiment cannot use, is left out and named below.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"


class Task(NamedTuple):
    """A task: its experiment, overrides of that, and the unknown parameters of its simulator, in TOML.

    The goal is the mean return of an iteration that solves the task; None where episodes succeed or not.
    """

    experiment: str
    overrides: tuple[str, ...]
    parameters: str
    goal: float | None = None


TASKS: dict[str, Task] = {
    "peg": Task(
        "peg_insertion",
        (),
        "{ body_mass = { upper_arm = { bounds = [0.3, 30], start = 8 }, "
        "forearm = { bounds = [0.15, 15], start = 0.5 } }, "
        "dof_damping = { shoulder_pan = { bounds = [0.2, 20], start = 5 }, "
        "elbow_flex = { bounds = [0.1, 10], start = 0.4 }, wrist_flex = { bounds = [0.05, 5], start = 0.2 } } }",
    ),
    "cart-pole": Task(
        "cartpole_swingup",
        ('environment.state=["qpos", "qvel"]',),
        "{ body_mass = { cart = { bounds = [0.05, 5], start = 2 }, pole = { bounds = [0.05, 5], start = 0.2 } }, "
        "dof_damping = { cart = { bounds = [0.001, 1], start = 0.5 } } }",
    ),
    "half-cheetah": Task(
        "gymnasium",
        ("environment.id=HalfCheetah-v5", "environment.horizon=100", 'environment.state=["qpos", "qvel"]'),
        "{ body_mass = { torso = { bounds = [1, 30], start = 12 } }, dof_damping = { bthigh = { bounds = [0.6, 60], "
        "start = 3 }, fthigh = { bounds = [0.4, 40], start = 9 } } }",
        goal=50.0,
    ),
}
PRIORS: dict[str, str] = {
    "none": '{name="none"}',
    "mixture": '{name="gmm"}',
    "Gaussian process": '{name="gp", max_points=300, likelihood_points=200, restarts=1}',
    "neural": '{name="neural"}',
    "physics": '{name="physics", max_windows=100, parameters=PARAMETERS}',
}
COUNTS = (1, 2, 3, 5, 10)
HELD_OUT = 20
LEARNING = 2
"""Iterations before the one whose dynamics are fitted."""


def make_setting(task: str, prior: str) -> str:
    """Return the override of an experiment's prior."""
    return "algorithm.dynamics.prior=" + PRIORS[prior].replace("PARAMETERS", TASKS[task].parameters)


def measure_errors(task: str, seed: int, priors: Sequence[str]) -> dict[str, list[float]]:
    """Return the one-step error of each prior that can be built, for each of `COUNTS`."""
    from gps.builders import make_environment
    from gps.builders.priors import make_prior
    from gps.errors import GpsError

    seen, (train, held_out), load_config, problem = _collect(task, seed)
    errors: dict[str, list[float]] = {}
    for name in priors:
        config = load_config((make_setting(task, name),))
        with closing(make_environment(config.environment, EXPERIMENTS / TASKS[task].experiment, 1)) as simulated:
            try:
                prior = make_prior(config.algorithm.dynamics, problem, environment=simulated)
            except GpsError as error:
                print(f"{task}: {name} is left out: {str(error).splitlines()[0]}")
                continue
        for i, rollouts in enumerate(seen):
            prior = None if prior is None else prior.fit(*_samples(rollouts), i).prior
        errors[name] = [_error(prior, _samples(train, N), held_out, config.algorithm.dynamics) for N in COUNTS]
    return errors


def _collect(task: str, seed: int) -> tuple[list[Any], tuple[Any, Any], Any, Any]:
    """The rollouts of the first iterations; those of new controllers in two parts; the configuration; the problem."""
    from gps.callbacks import Callback
    from gps.config import load
    from gps.experiment import Experiment

    name, overrides, *_ = TASKS[task]
    path = EXPERIMENTS / name

    def load_config(more: tuple[str, ...] = ()) -> Any:
        return load(path, [*overrides, f"seed={seed}", *more])

    seen = []
    with closing(Experiment(load_config(), path)) as built:
        state = built.begin()
        for _ in range(LEARNING):
            state, record = built.iterate(state, Callback())
            seen.append(record.rollouts)
    with closing(Experiment(load_config((f"algorithm.samples={max(COUNTS) + HELD_OUT}",)), path)) as built:
        rollouts = built.sample(built.algorithm.policy(state), np.random.default_rng(seed), LEARNING)
        parts = _take(rollouts, slice(0, max(COUNTS))), _take(rollouts, slice(max(COUNTS), None))
        return seen, parts, load_config, built.problem


def _take(rollouts: Any, which: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return rollouts.states[:, which], rollouts.actions[:, which], rollouts.mask[:, which]


def _samples(rollouts: Any, count: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    arrays = rollouts if isinstance(rollouts, tuple) else (rollouts.states, rollouts.actions, rollouts.mask)
    states, actions, mask = (array[:, :count] for array in arrays)
    return states, actions, mask


def _error(prior: Any, samples: tuple[np.ndarray, ...], held_out: tuple[np.ndarray, ...], settings: Any) -> float:
    from gps.dynamics.prior import Transitions
    from gps.dynamics.regression import fit_dynamics
    from gps.models.prior import ModelPrior

    options = {"ridge": settings.ridge, "center": settings.center}
    if prior is None:
        dynamics = fit_dynamics(*samples, **options)
    else:  # a global model has learned enough, and learns nothing from these samples
        fit = prior.regress if isinstance(prior, ModelPrior) else prior.fit
        dynamics = fit(*samples, seed=0, **options).dynamics
    points, mask = Transitions.of(*held_out)
    dx = held_out[0].shape[-1]
    F, c = np.asarray(dynamics.matrix), np.asarray(dynamics.offset)
    z, after = points[..., :-dx], points[..., -dx:]
    error = np.einsum("mtij,mntj->mnti", F, z) + c[:, None] - after
    weight = mask[..., None] / np.maximum(mask.sum(axis=1, keepdims=True), 1)[..., None]
    mean = (weight * after).sum(axis=1, keepdims=True)
    deviation = np.sqrt(((after - mean)[mask] ** 2).mean(axis=0))
    varies = deviation > 1e-9 * np.abs(after[mask]).max(axis=0)
    return float(np.sqrt((error[mask][:, varies] ** 2 / deviation[varies] ** 2).mean()))


def count_episodes(task: str, prior: str, samples: int, seed: int, iterations: int) -> float:
    """Return the episodes until an iteration solved the task; infinity if none did."""
    from gps.callbacks import Callback
    from gps.config import load
    from gps.errors import GpsError
    from gps.experiment import Experiment

    name, overrides, _, goal = TASKS[task]
    path = EXPERIMENTS / name
    config = load(path, [*overrides, f"seed={seed}", f"algorithm.samples={samples}", make_setting(task, prior)])
    with closing(Experiment(config, path)) as built:
        state = built.begin()
        episodes = built.first.episodes
        for _ in range(iterations):
            try:
                state, record = built.iterate(state, Callback())
            except GpsError as error:
                print(f"{task}: {prior}, N = {samples}, seed {seed}: {str(error).splitlines()[0]}")
                break
            episodes += record.rollouts.succeeded.size
            rollouts = record.rollouts
            if rollouts.succeeded.all() if goal is None else rollouts.rewards.sum(axis=-1).mean() >= goal:
                return episodes
    return np.inf


def _print(title: str, rows: Mapping[str, list[str]]) -> None:
    print(f"\n{title}\n\n| prior | " + " | ".join(f"N = {N}" for N in COUNTS) + " |\n" + "|---" * 6 + "|")
    for name, values in rows.items():
        print(f"| {name} | " + " | ".join(values) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"default: all of {', '.join(TASKS)}")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--priors", default=",".join(PRIORS), help="of the table, with commas between them")
    parser.add_argument("--solve", action="store_true", help="also count the episodes until a task is solved")
    parser.add_argument("--iterations", type=int, default=30, help="the most of a run that is to solve a task")
    arguments = parser.parse_args()
    priors = arguments.priors.split(",")
    for chosen, known in ((arguments.tasks, TASKS), (priors, PRIORS)):
        if unknown := set(chosen) - set(known):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for task in arguments.tasks or TASKS:
        runs = [measure_errors(task, seed, priors) for seed in seeds]
        medians = {name: np.median([run[name] for run in runs], axis=0) for name in runs[0]}
        _print(f"{task}: one-step error", {name: [f"{v:.3g}" for v in row] for name, row in medians.items()})
        if arguments.solve:
            solved = {}
            for name in medians:
                counts = [[count_episodes(task, name, N, seed, arguments.iterations) for seed in seeds] for N in COUNTS]
                solved[name] = [f"{np.median(row):g}" for row in counts]
            _print(f"{task}: episodes to solve", solved)


if __name__ == "__main__":
    main()
