"""One attempt at places of the slot that nobody trained at: `python -m benchmarks.adaptation`.

`trajopt` learns to insert the peg at the nine places of experiments/peg_insertion_nine, a global model learns from
those episodes, and then each of 25 other places is tried once. The rows differ in what the model is used for:

- practised in the prior: 20 iterations of `trajopt` in the model, without a step on the system (`algorithm.imagined`);
- prior and adaptation: iterative LQR that replans at every step, in the model corrected by what the last predictions of
  the attempt missed (Fu, Levine & Abbeel 2016, "One-shot learning of manipulation skills with online dynamics
  adaptation and neural network priors");
- without adaptation: the same in the model as it was learned;
- prior alone, one plan: the first plan to its end, without a look at the state;
- adaptation alone: corrected as in the second row, but knowing no more than the linear map of all those episodes;
- zero actions.

With `--changed` the attempts use another arm, which the model has never seen: its joints have twice the friction, and
its links are half as heavy again. `--model physics` fits the masses and frictions that experiments/peg_physics fits.
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

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"
EXPERIMENT = EXPERIMENTS / "peg_insertion_nine"
TRAINING = ("algorithm.name=trajopt", "algorithm.iterations=10", "algorithm.samples=3")
PRACTICE = ("algorithm.imagined=20", "algorithm.imagined_samples=8", "algorithm.imagined_fit=samples")
"""The settings of experiments/peg_physics."""

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

Row = tuple[np.ndarray, np.ndarray, float]
"""Whether each attempt succeeds, what it costs, and the milliseconds of an action."""


def learn(kind: str, seed: int, out: Path) -> tuple[Any, Any]:
    """Return what was learned of the kind that was asked for, and a linear model, from the nine places' episodes."""
    import gps
    from gps.builders import make_environment
    from gps.config import load
    from gps.config.model import FitConfig
    from gps.config.reading import validate
    from gps.fitting import fit_model
    from gps.recordings import read_recording

    run = gps.run(EXPERIMENT, seed=seed, out=out, overrides=TRAINING)
    recording, section = read_recording(run.path), run.config.environment

    def fit(kind: str, **settings: Any) -> Any:
        config = validate(FitConfig, {"model": {"name": kind, **settings}}, "benchmarks.adaptation", []).model
        with closing(make_environment(section, EXPERIMENT, 1)) as environment:
            environment.reset(options={"conditions": [dict(section.conditions[0])]})
            return fit_model(
                config, recording, seed=seed, held_out=0.0, environment=environment, conditions=section.conditions
            )

    if kind != "physics":
        return fit(kind), fit("linear")
    prior: Any = load(EXPERIMENTS / "peg_physics").algorithm
    return fit(kind, parameters=prior.dynamics.prior.parameters, max_windows=prior.dynamics.prior.max_windows), None


def practise(learned: Any, changed: bool, out: Path) -> Row:
    """Attempt all places with controllers that practised in the model."""
    from gps.config import load
    from gps.experiment import Experiment
    from gps.fitting import write_model

    write_model(learned, out / "prior.npz")
    slots = "[" + ", ".join(f"{{ slot = {place['slot']} }}" for place in SLOTS) + "]"
    prior = f"algorithm.dynamics.prior={{ name = 'stored', path = '{out / 'prior.npz'}' }}"
    settings = (*TRAINING, *PRACTICE, prior, f"environment.conditions={slots}", "environment.test_conditions=[]")
    with closing(Experiment(load(EXPERIMENT, settings), EXPERIMENT)) as built:
        began = time.perf_counter()
        controllers = built.algorithm.learned(built.begin())
        seconds = time.perf_counter() - began
        return evaluate(built, controllers, changed, seconds)


def evaluate(built: Any, policy: Any, changed: bool, seconds: float = 0.0) -> Row:
    """Attempt all places with a policy that took `seconds` to prepare."""
    began = time.perf_counter()
    rollouts, costs, _ = built.evaluate(policy, conditions=[{**slot, **(CHANGED if changed else {})} for slot in SLOTS])
    seconds += time.perf_counter() - began
    return rollouts.succeeded[:, 0], costs.sum(axis=(1, 2)), float(1e3 * seconds / rollouts.mask.sum())


def attempt(learned: Any, linear: Any, changed: bool, out: Path) -> dict[str, Row]:
    """Return the rows; for a simulator, whose slopes take long, only those without iterative LQR."""
    from gps.config import load
    from gps.experiment import Experiment
    from gps.linear_gaussian import initial
    from gps.planning.adaptive import Adaptation, AdaptivePolicy
    from gps.planning.sources import ILQRPlanning, PlanningTask
    from gps.policies.played import LocalControllers

    rows = {"practised in the prior": practise(learned, changed, out)}
    with closing(Experiment(load(EXPERIMENT, TRAINING), EXPERIMENT)) as built:
        problem, count, prior = built.problem, len(SLOTS), learned.learner.model
        adapting = Adaptation(horizon=HORIZON, rounds=ROUNDS)
        once = ILQRPlanning(horizon=problem.horizon, first_rounds=60, guesses=0)
        still = initial.zero(count, problem.horizon, problem.dx, problem.du, 1.0)
        task = PlanningTask(problem, prior, problem.cost, count, replans=False)
        policies: Mapping[str, Callable[[], Any]] = {
            "prior and adaptation": lambda: AdaptivePolicy(problem, prior, count, adapting),
            "without adaptation": lambda: AdaptivePolicy(problem, prior, count, adapting._replace(strength=1e9)),
            "prior alone, one plan": lambda: once.make_policy(task),
            "adaptation alone": lambda: AdaptivePolicy(problem, linear.learner.model, count, adapting),
            "zero actions": lambda: LocalControllers(still),
        }
        names = policies if linear is not None else ["zero actions"]
        return rows | {name: evaluate(built, policies[name](), changed) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="neural", help="kind of the prior: neural, gp, gmm, linear or physics")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--changed", action="store_true", help="attempts with another arm than the model's")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    runs = []
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as out:
            runs.append(attempt(*learn(arguments.model, seed, Path(out)), arguments.changed, Path(out)))
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
        ["model", "inserted", "cost of an attempt, median", "ms per action, practice and compilation included"],
        table,
    )


if __name__ == "__main__":
    main()
