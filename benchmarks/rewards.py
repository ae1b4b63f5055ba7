"""Learning from rewards alone in Gymnasium's environments: `python -m benchmarks.rewards`.

Sweeps `experiments/gymnasium` over five ids, and over two of them again with the formula of the reward in place of its
samples. Prints a Markdown table of mean returns, interquartile mean and 95 % interval over the seeds: zero and random
actions, the training samples after some numbers of steps, and the final controllers without noise.
"""

import argparse
from contextlib import closing
from pathlib import Path

import numpy as np

EXPERIMENT = Path(__file__).resolve().parent.parent / "experiments" / "gymnasium"
IDS = ("Reacher-v5", "Pusher-v5", "Swimmer-v5", "HalfCheetah-v5", "Pendulum-v1")
FORMULAS = {"Reacher-v5": "reacher", "Pendulum-v1": "pendulum"}
POINTS = (0.25, 0.5, 1.0)
"""Shares of the training after which the table has the return of the samples."""


def compute_baselines(id: str, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the returns of zero actions (1,) and of uniformly random ones (seeds,), from the experiment's start."""
    from gps.config import load
    from gps.experiment import Experiment
    from gps.linear_gaussian import initial
    from gps.policies.played import LocalControllers
    from gps.sampling import collect

    settings = [f"environment.id={id}", f"algorithm.samples={seeds}"]
    with closing(Experiment(load(EXPERIMENT, settings), EXPERIMENT)) as built:
        space = built.environment.single_action_space
        shape = (1, seeds, built.horizon, *space.shape)
        still = LocalControllers(initial.zero(1, built.horizon, built.problem.dx, built.problem.du, 1.0))
        returns = [
            collect(built.environment, still, built.conditions, noise, 0).rewards.sum(axis=2)[0]
            for noise in (np.zeros(shape), np.random.default_rng(0).uniform(space.low, space.high, shape))
        ]
    return returns[0][:1], returns[1]


def compute_returns(runs: list) -> list[np.ndarray]:
    """Return the returns of several runs at each of `POINTS` and at the end, (seeds,) each."""
    columns = [
        np.array([run.rollouts(k)[0].rewards.sum(axis=2).mean() for run in runs]) for k in _choose_iterations(runs[0])
    ]
    return [*columns, np.array([run.evaluation().rollouts.rewards.sum(axis=2).mean() for run in runs])]


def _choose_iterations(run) -> list[int]:
    return [round(share * len(run.iterations)) - 1 for share in POINTS]


def main() -> None:
    import gps
    from gps.inspect.formatting import format_interval
    from gps.inspect.statistics import estimate

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds; default: 5")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--out", default="runs", help="folder of the runs; an existing sweep is continued")
    arguments = parser.parse_args()
    shared = {"seeds": range(arguments.seeds), "jobs": arguments.jobs, "out": arguments.out}

    by_rewards = gps.sweep(EXPERIMENT, settings={"environment.id": list(IDS)}, **shared)
    rows = {(id, "rewards"): [] for id in IDS}
    for one in by_rewards.runs:
        rows[one.settings["environment.id"], "rewards"].append(gps.load_run(one.path))
    for id, function in FORMULAS.items():
        formula = [f"environment.id={id}", f'cost=[{{name="task",function="{function}"}}]']
        swept = gps.sweep(EXPERIMENT, overrides=formula, **shared)
        rows[id, "formula"] = [gps.load_run(one.path) for one in swept.runs]

    one = rows[IDS[0], "rewards"][0]
    steps = [one.rows(k)[0].environment_steps for k in _choose_iterations(one)]
    print("| environment, cost | zero | random | " + " | ".join(f"{n:,} steps" for n in steps) + " | final |")
    print("|---" * (4 + len(POINTS)) + "|")
    for (id, kind), runs in sorted(rows.items()):
        zero, random = compute_baselines(id, arguments.seeds)
        cells = [f"{zero[0]:.3g}", *(format_interval(estimate(column)) for column in (random, *compute_returns(runs)))]
        print(f"| {id}, {kind} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
