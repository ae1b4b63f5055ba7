"""Neural policies: the supervised step, and the cost of acting compared with the physics."""

import time
from pathlib import Path

import numpy as np

from benchmarks.timing import print_table, time_in_turn

SIMULATIONS, T, STEPS = 20, 100, 4000
NINE, ITERATIONS = Path(__file__).resolve().parent.parent / "experiments" / "peg_insertion_nine", 8
SIZES = ((6, 2), (14, 7), (26, 7), (40, 10))


def main() -> None:
    measure_training()
    measure_iteration()
    measure_acting()


def _make_policy(do: int, du: int):
    from gps.backend import jax
    from gps.policies import MLP, NeuralPolicy

    return NeuralPolicy.untrained(MLP.create((do, 64, 64, du), jax.random.key(0)))


def measure_training() -> None:
    """Time 4000 mini-batches on the samples of 9 conditions, 5 episodes each."""
    from gps.backend import jax
    from gps.policies.supervised import Options, Samples, Training, train

    n, rows = 9 * 5 * T, []
    rng = np.random.default_rng(0)
    for do, du in SIZES:
        o, root = rng.normal(size=(n, do)), rng.normal(size=(n, du, du))
        samples = Samples(o, np.tanh(o[:, :du]), root @ root.swapaxes(1, 2) + np.eye(du), np.ones(n))
        begun = Training.begin(_make_policy(do, du), jax.random.key(0))
        options = Options(steps=STEPS, patience=STEPS)
        start = time.perf_counter()
        train(begun, samples, options)
        first = time.perf_counter() - start
        seconds = time_in_turn({"train": lambda: train(begun, samples, options)}, rounds=5)  # noqa: B023
        rows.append((f"({do}, {du})", first, seconds["train"]))
    print_table(
        f"{STEPS} mini-batches of {options.batch} of a 2 x 64 policy, {n} samples, s",
        ["(do, du)", "first call, compiling or reading the cache", "each call"],
        rows,
    )


def measure_iteration() -> None:
    """Time the supervised step of an iteration of the nine-slot peg and its sampling, with the shipped settings."""
    from contextlib import closing

    from gps.algorithms.guided.lessons import make_samples
    from gps.builders import make_learner
    from gps.callbacks import Callback
    from gps.config import load
    from gps.experiment import Experiment
    from gps.policies.supervised import train

    rows = []
    with closing(Experiment(load(NINE, ["algorithm.warm_up=0"]), NINE)) as built:
        options = make_learner(built.config.algorithm.policy, built.problem, seed=0).options
        state = built.begin()
        for _ in range(ITERATIONS):
            before = state.training
            state, record = built.iterate(state, Callback())
            samples = make_samples(record.local.improved, record.rollouts, np.ones((len(record.status), 1)))
            start = time.perf_counter()
            _, fit = train(before, samples, options)
            rows.append((record.seconds.sample, time.perf_counter() - start, fit.steps))
    sample, supervised, steps = np.median(np.array(rows)[2:], axis=0)  # the first two compile
    print_table(
        f"An iteration of the nine-slot peg, {record.rollouts.mask[..., 0].size} rollouts, median s",
        ["sampling with the policy", f"the supervised step, {steps:.0f} mini-batches", "supervised / sampling"],
        [(sample, supervised, supervised / sample)],
    )


def measure_acting() -> None:
    """Time one call of `act`, as a sampler makes it at each step."""
    rows = []
    for do, du in SIZES:
        policy, o = _make_policy(do, du), np.random.default_rng(0).normal(size=(SIMULATIONS, do))
        seconds = time_in_turn({"one": lambda: policy.act(o[0]), "all": lambda: policy.act(o)}, rounds=500)  # noqa: B023
        rows.append((f"({do}, {du})", 1e6 * seconds["one"], 1e6 * seconds["all"]))
    print_table("act of a 2 x 64 policy, µs", ["(do, du)", "one observation", f"{SIMULATIONS} observations"], rows)
