"""What a prior of the local dynamics is worth with N samples: `python -m benchmarks.priors`.

The first table has the one-step error of the fitted local dynamics on episodes that took part in nothing. All priors
are given the same samples: those of the first iterations, by which a global model learns, then N of an iteration with
new controllers. An error is the root mean square over the entries of the state that vary, each in units of its
deviation among the held-out episodes; the median over seeds. So 1 is as good as the mean of each step.

The second table has the episodes until all samples of an iteration succeed, in a run with N samples per iteration; the
median over seeds. It takes much longer and is only made with `--solve`. A prior that this version does not know, or
that an experiment cannot use, is left out and named below.
"""

import argparse
import os
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"
TASKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "peg": ("peg_insertion", ()),
    "cart-pole": ("cartpole_swingup", ()),
    "half-cheetah": ("gymnasium", ("environment.id=HalfCheetah-v5", "environment.horizon=100")),
}
PRIORS: dict[str, str] = {
    "none": '{name="none"}',
    "mixture": '{name="gmm"}',
    "Gaussian process": '{name="gp"}',
    "neural": '{name="neural"}',
    "physics": '{name="physics"}',
}
COUNTS = (1, 2, 3, 5, 10)
HELD_OUT = 20
LEARNING = 2
"""Iterations before the one whose dynamics are fitted."""


def measure_errors(task: str, seed: int) -> dict[str, list[float]]:
    """Return the one-step error of each prior that can be built, for each of `COUNTS`."""
    from gps.builders.priors import make_prior
    from gps.errors import GpsError

    seen, (train, held_out), load_config, problem = _collect(task, seed)
    errors: dict[str, list[float]] = {}
    for name, setting in PRIORS.items():
        try:
            dynamics = load_config((f"algorithm.dynamics.prior={setting}",)).algorithm.dynamics
            prior = make_prior(dynamics, problem)
        except GpsError as error:
            print(f"{task}: {name} is left out: {str(error).splitlines()[0]}")
            continue
        for i, rollouts in enumerate(seen):
            prior = None if prior is None else prior.fit(*_samples(rollouts), i).prior
        errors[name] = [_error(prior, _samples(train, N), held_out, dynamics) for N in COUNTS]
    return errors


def _collect(task: str, seed: int) -> tuple[list[Any], tuple[Any, Any], Any, Any]:
    """The rollouts of the first iterations; those of new controllers in two parts; the configuration; the problem."""
    from gps.callbacks import Callback
    from gps.config import load
    from gps.experiment import Experiment

    class Quiet(Callback):
        """A callback that says nothing."""

    name, overrides = TASKS[task]
    path = EXPERIMENTS / name

    def load_config(more: tuple[str, ...] = ()) -> Any:
        return load(path, [*overrides, f"seed={seed}", *more])

    seen = []
    with closing(Experiment(load_config(), path)) as built:
        state = built.begin()
        for _ in range(LEARNING):
            state, record = built.iterate(state, Quiet())
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

    options = {"ridge": settings.ridge, "center": settings.center}
    dynamics = fit_dynamics(*samples, **options) if prior is None else prior.fit(*samples, seed=0, **options).dynamics
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
    """Return the episodes until all samples of an iteration succeeded; infinity if that never happened."""
    import gps
    from gps.callbacks import Callback

    class First(Callback):
        """Remembers the episodes up to the first iteration with only successes."""

        episodes = np.inf

        def on_iteration(self, record: Any) -> None:
            if np.isinf(self.episodes) and record.rollouts.succeeded.all():
                self.episodes = record.rollouts.succeeded.size * (record.iteration + 1)

    name, overrides = TASKS[task]
    more = (f"algorithm.samples={samples}", f"algorithm.dynamics.prior={PRIORS[prior]}")
    first = First()
    with tempfile.TemporaryDirectory() as out:
        gps.run(
            EXPERIMENTS / name, seed=seed, iterations=iterations, out=out, overrides=[*overrides, *more],
            callbacks=[first],
        )  # fmt: skip
    return first.episodes


def _print(title: str, rows: Mapping[str, list[str]]) -> None:
    print(f"\n{title}\n\n| prior | " + " | ".join(f"N = {N}" for N in COUNTS) + " |\n" + "|---" * 6 + "|")
    for name, values in rows.items():
        print(f"| {name} | " + " | ".join(values) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"default: all of {', '.join(TASKS)}")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--solve", action="store_true", help="also count the episodes until a task is solved")
    parser.add_argument("--iterations", type=int, default=30, help="the most of a run that is to solve a task")
    arguments = parser.parse_args()
    if unknown := set(arguments.tasks) - set(TASKS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(TASKS)}")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for task in arguments.tasks or TASKS:
        runs = [measure_errors(task, seed) for seed in range(arguments.seeds)]
        medians = {name: np.median([run[name] for run in runs], axis=0) for name in runs[0]}
        _print(f"{task}: one-step error", {name: [f"{v:.3g}" for v in row] for name, row in medians.items()})
        if arguments.solve:
            solved = {}
            for name in medians:
                counts = [
                    [count_episodes(task, name, N, seed, arguments.iterations) for seed in range(arguments.seeds)]
                    for N in COUNTS
                ]
                solved[name] = [f"{np.median(row):g}" for row in counts]
            _print(f"{task}: episodes to solve", solved)


if __name__ == "__main__":
    main()
