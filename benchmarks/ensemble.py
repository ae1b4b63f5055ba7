"""Ensembles of networks: training and prediction, compared with their matrix products alone."""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.timing import print_table, time_in_turn

DX, DU, MEMBERS, WIDTH = 18, 6, 5, 200
TRANSITIONS, EPOCHS, BATCH = 20_000, 50, 256
SEQUENCES, H, PARTICLES = 400, 25, 5
MEASURED_STEPS = 400
"""Steps that are timed, by default: the time of a step does not depend on their number."""


def main() -> None:
    with threadpool_limits(1):
        measure_training()
        measure_prediction()


def _make_data(n: int):
    from gps.models.members import Regression

    rng = np.random.default_rng(0)
    f = rng.normal(size=(n, DX + DU))
    y = np.tanh(f @ rng.normal(size=(DX + DU, DX)) / 3.0) + 0.05 * rng.normal(size=(n, DX))
    return Regression(f, y / y.std(axis=0), np.ones(DX, bool), np.arange(n) // 1000)


def _count_products() -> int:
    """Multiplications and additions of one network for one input, forwards."""
    return 2 * ((DX + DU) * WIDTH + WIDTH * WIDTH + WIDTH * 2 * DX)


def _multiply(samples: int, rows: int) -> None:
    """Do the float32 matrix products of networks forwards for a number of inputs, by NumPy's BLAS."""
    sizes = (DX + DU, WIDTH, WIDTH, 2 * DX)
    inputs = [np.ones((rows, n), np.float32) for n in sizes[:-1]]
    weights = [np.ones(pair, np.float32) for pair in itertools.pairwise(sizes)]
    outputs = [np.empty((rows, n), np.float32) for n in sizes[1:]]
    for _ in range(samples // rows):
        for x, W, out in zip(inputs, weights, outputs, strict=True):
            np.matmul(x, W, out=out)


def measure_training() -> None:
    """Time the mini-batches of 50 passes over 20,000 transitions, and the matrix products they are made of.

    A step costs the same early and late, so that a part of the steps is timed and the time scaled.
    """
    from gps.backend import jax
    from gps.models.members import EnsembleOptions, GaussianNetwork, train_members

    data = _make_data(TRANSITIONS)
    whole = TRANSITIONS * EPOCHS // BATCH
    options = EnsembleOptions(members=MEMBERS, hidden=(WIDTH, WIDTH), batch=BATCH, patience=1 << 20)
    start = GaussianNetwork.create(data, options, jax.random.key(0))
    part = MEMBERS * MEASURED_STEPS * BATCH
    began = time.perf_counter()
    train_members(start, data, options, 0, MEASURED_STEPS)
    first = time.perf_counter() - began
    seconds = time_in_turn(
        {
            "products": lambda: _multiply(3 * part, BATCH),  # forwards, and twice as much backwards
            "training": lambda: train_members(start, data, options, 0, MEASURED_STEPS),
        },
        rounds=3,
    )
    scale = whole / MEASURED_STEPS
    products, training = seconds["products"] * scale, seconds["training"] * scale
    print_table(
        f"{MEMBERS} probabilistic networks of 2 x {WIDTH}, {TRANSITIONS} transitions x {EPOCHS}, s",
        ["the products alone, one core", "training, two threads", "ratio", f"first call of {MEASURED_STEPS} steps"],
        [(products, training, training / products, first)],
    )


def measure_prediction() -> None:
    """Time the particles of one iteration of the cross-entropy method, and their matrix products."""
    from gps.backend import jax, jnp
    from gps.models.ensemble import NetworkEnsemble
    from gps.models.features import NO_TRANSFORMS, Differences, Encoding
    from gps.models.members import EnsembleOptions, GaussianNetwork
    from gps.models.propagation import draw_beliefs, follow_beliefs, roll_out_particles
    from gps.planning.objective import total_costs

    members = GaussianNetwork.create(_make_data(1000), EnsembleOptions(members=MEMBERS), jax.random.key(0))
    df = DX + DU
    model = NetworkEnsemble(
        members,
        Encoding(np.zeros(df), np.ones(df), NO_TRANSFORMS),
        Differences(np.zeros(DX), np.full(DX, 1e-2), NO_TRANSFORMS),
        np.ones(df),
    )
    actions = np.random.default_rng(0).normal(size=(SEQUENCES, H, DU))

    def cost(x, u, t):
        return jnp.sum(x**2) + 0.1 * jnp.sum(u**2)

    def make(propagation, noise):
        def predict(model, actions, key):
            advance = follow_beliefs(model, draw_beliefs(model, propagation, PARTICLES, key), propagation, noise)
            return total_costs(
                *roll_out_particles(advance, PARTICLES, cost, np.zeros(DX), actions, np.zeros(DU), 0, H, key)
            )

        return jax.jit(predict)

    def in_two_threads(function):
        with ThreadPoolExecutor(2) as pool:
            halves = (actions[: SEQUENCES // 2], actions[SEQUENCES // 2 :])
            list(pool.map(lambda half: jax.block_until_ready(function(model, half, jax.random.key(0))), halves))

    kinds = {
        "ts1": make("ts1", True),
        "ts_infinity": make("ts_infinity", True),
        "ts_infinity, no noise": make("ts_infinity", False),
        "moment": make("moment", True),
    }
    functions = {"products": lambda: _multiply(SEQUENCES * H * PARTICLES, SEQUENCES)}
    for name, function in kinds.items():
        functions[f"{name}, one thread"] = lambda f=function: jax.block_until_ready(
            f(model, actions, jax.random.key(0))
        )
        functions[f"{name}, two threads"] = lambda f=function: in_two_threads(f)
    seconds = time_in_turn(functions, rounds=9)
    floor = seconds["products"]
    print_table(
        f"{SEQUENCES} sequences x {H} steps x {PARTICLES} particles, ms",
        ["what", "ms", "over the products alone on one core"],
        [(name, 1e3 * value, value / floor) for name, value in seconds.items()],
    )


if __name__ == "__main__":
    main()
