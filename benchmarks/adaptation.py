"""One attempt at places of the slot that nobody trained at: `python -m benchmarks.adaptation`.

`trajopt` learns to insert the peg at the nine places of experiments/peg_insertion_nine, a global model learns from
those episodes, and then each of 25 other places is tried once, by iterative LQR that replans in the model at every
step. The rows differ in what the model is (Fu, Levine & Abbeel 2016, "One-shot learning of manipulation skills with
online dynamics adaptation and neural network priors"):

- prior and adaptation: corrected by what the last predictions of the attempt missed;
- without adaptation: the model as it was learned, replanned at every step all the same;
- prior alone, one plan: the first plan to its end, without a look at the state;
- adaptation alone: corrected as in the first row, but knowing no more than the linear map of all those episodes;
- zero actions.

With `--changed` the attempts use another arm, which the model has never seen: its joints have twice the friction, and
its links are half as heavy again.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import print_table

EXPERIMENT = Path(__file__).resolve().parent.parent / "experiments" / "peg_insertion_nine"
TRAINING = ("algorithm.name=trajopt", "algorithm.iterations=10", "algorithm.samples=3")
PLACES = (-0.1, -0.04, 0.02, 0.04, 0.1)
"""Of the slot in x and y, m; the training places are at -0.08, 0 and 0.08."""

SLOTS = tuple({"slot": [x, y]} for x in PLACES for y in PLACES)
CHANGED = {
    "scale": {
        "dof_damping": {"*": 2.0},
        "body_mass": {"upper_arm": 1.5, "forearm": 1.5, "hand": 1.5},
    }
}
HORIZON, ROUNDS = 20, 2


def learn(model: str, seed: int, out: Path) -> tuple[Any, Any]:
    """Return the model of the kind that was asked for, and a linear one, from the episodes at the nine places."""
    import gps
    from gps.config.model import FitConfig
    from gps.config.reading import validate
    from gps.fitting import fit_model
    from gps.recordings import read_recording

    run = gps.run(EXPERIMENT, seed=seed, out=out, overrides=TRAINING)
    recording = read_recording(run.path)

    def fit(kind: str) -> Any:
        config = validate(FitConfig, {"model": {"name": kind}}, "benchmarks.adaptation", []).model
        return fit_model(config, recording, seed=seed, held_out=0.0).learner.model

    return fit(model), fit("linear")


def attempt(prior: Any, linear: Any, changed: bool) -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    """Return for each row whether each attempt succeeds, what it costs, and the milliseconds of a plan."""
    from gps.config import load
    from gps.experiment import Experiment
    from gps.linear_gaussian import initial
    from gps.planning.adaptive import Adaptation, AdaptivePolicy
    from gps.planning.sources import ILQRPlanning, PlanningTask
    from gps.policies.played import LocalControllers

    rows: dict[str, tuple[np.ndarray, np.ndarray, float]] = {}
    slots = [{**slot, **(CHANGED if changed else {})} for slot in SLOTS]
    with closing(Experiment(load(EXPERIMENT, TRAINING), EXPERIMENT)) as built:
        problem, count = built.problem, len(slots)
        adapting = Adaptation(horizon=HORIZON, rounds=ROUNDS)
        once = ILQRPlanning(horizon=problem.horizon, first_rounds=60, guesses=0)
        still = initial.zero(count, problem.horizon, problem.dx, problem.du, 1.0)
        policies: Mapping[str, Callable[[], Any]] = {
            "prior and adaptation": lambda: AdaptivePolicy(problem, prior, count, adapting),
            "without adaptation": lambda: AdaptivePolicy(problem, prior, count, adapting._replace(strength=1e9)),
            "prior alone, one plan": lambda: once.make_policy(
                PlanningTask(problem, prior, problem.cost, count, replans=False)
            ),
            "adaptation alone": lambda: AdaptivePolicy(problem, linear, count, adapting),
            "zero actions": lambda: LocalControllers(still),
        }
        for name, make in policies.items():
            began = time.perf_counter()
            rollouts, costs, _ = built.evaluate(make(), conditions=slots)
            seconds = (time.perf_counter() - began) / rollouts.mask.sum()
            rows[name] = rollouts.succeeded[:, 0], costs.sum(axis=(1, 2)), 1e3 * seconds
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="neural", help="kind of the prior: neural, gp, gmm or linear")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--changed", action="store_true", help="attempts with another arm than the model's")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    runs = []
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as out:
            runs.append(attempt(*learn(arguments.model, seed, Path(out)), arguments.changed))
        done = ", ".join(f"{name} {int(row[0].sum())}" for name, row in runs[-1].items())
        print(f"seed {seed}: of {len(SLOTS)} places: {done}", flush=True)
    table = []
    for name in runs[0]:
        succeeded, costs, milliseconds = (np.array([run[name][i] for run in runs]) for i in range(3))
        share = 100 * succeeded.mean()
        table.append(
            (
                name,
                f"{succeeded.sum()}/{succeeded.size}, {share:.0f} %",
                f"{np.median(costs):.3g}",
                f"{np.median(milliseconds):.2g}",
            )
        )
    arm = "another arm" if arguments.changed else "the same arm"
    print_table(
        f"one attempt at {len(SLOTS)} unseen places, {arm}, {arguments.model} prior, {len(runs)} seeds",
        ["model", "inserted", "cost of an attempt, median", "ms per action, compilation included"],
        table,
    )


if __name__ == "__main__":
    main()
