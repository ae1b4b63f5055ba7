"""Planning: seconds of each planner, compared in the same run with a floor that no planner can go below.

The model is an ensemble of 5 networks with two layers of 200 units, of the size of the half-cheetah: the floor of a
round is its matrix products alone, in float32 on one core. On the true simulator the floor is `mujoco.rollout`.
"""

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np

from benchmarks.timing import print_table, time_in_turn

DX, DU, WIDTH, MEMBERS, HORIZON = 18, 6, 200, 5, 25


def time_processor(functions: dict[str, Callable[[], object]], rounds: int = 5) -> dict[str, float]:
    """Median seconds of all processors together, in turn: what other programs on the machine take does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.process_time()
            function()
            seconds[name].append(time.process_time() - start)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def main() -> None:
    measure_model()
    measure_simulator()
    measure_linearisation()


def make_model():
    """Return an untrained ensemble in the units of random data."""
    from gps.backend import jax
    from gps.models.data import Dataset
    from gps.models.ensemble import NetworkEnsemble
    from gps.models.features import Differences, Encoding
    from gps.models.members import EnsembleOptions, GaussianNetwork, Regression

    rng, n = np.random.default_rng(0), 1000
    x, u = rng.normal(size=(n, DX)), rng.uniform(-1, 1, (n, DU))
    data = Dataset(x, u, x + 0.1 * rng.normal(size=x.shape), np.zeros(n, int))
    encoding, differences = Encoding.of(data), Differences.of(data)
    options = EnsembleOptions(hidden=(WIDTH, WIDTH), members=MEMBERS)
    regression = Regression(encoding.encode_all(data), differences.encode_all(data), differences.varies, data.episodes)
    members = GaussianNetwork.create(regression, options, jax.random.key(0))
    return NetworkEnsemble(members, encoding, differences, data.inputs.std(axis=0))


def make_planner(model, optimiser, **settings):
    """Return a planner with a cost of state and action."""
    from gps.backend import jnp
    from gps.planning.model_planner import ModelPlanner
    from gps.planning.sequences import ActionRange

    def cost(x, u, t):
        return 0.1 * jnp.sum(u**2) - x[8]

    return ModelPlanner(
        model=model, cost=cost, optimiser=optimiser, range=ActionRange.of(-1.0, 1.0, np.ones(DU)), end=1000,
        horizon=HORIZON, particles=MEMBERS, **settings,
    )  # fmt: skip


def make_products(sequences: int):
    """Return a function that computes the matrix products of a round alone."""
    from gps.backend import jax, jnp

    sizes = (DX + DU, WIDTH, WIDTH, 2 * DX)
    weights = [np.ones((MEMBERS, *shape), np.float32) for shape in pairwise(sizes)]
    start = jnp.ones((MEMBERS, sequences, DX + DU), jnp.float32)

    @jax.jit
    def products(y, weights):
        def step(y, _):
            for W in weights:
                y = jnp.einsum("psi,pij->psj", y, W)
            return y[..., : DX + DU], None

        return jax.lax.scan(step, y, None, HORIZON)[0]

    return lambda: products(start, weights).block_until_ready()


def measure_model() -> None:
    """Time a round of the cross-entropy method, and the plan of an action by iCEM."""
    from gps.planning.cem import CEM
    from gps.planning.icem import ICEM

    model, x = make_model(), np.zeros((1, DX))
    rows = []
    for name, sequences, rounds, optimiser in (
        ("CEM, a round of 400", 400, 4, CEM(samples=400, elites=40, rounds=4)),
        ("iCEM, an action, 3 rounds of 100", 300, 1, ICEM(samples=100, elites=10, rounds=3, decay=1.0)),
    ):
        planners = {parts: make_planner(model, optimiser, parts=parts) for parts in (1, 2)}
        ways: dict[str, Callable[[], object]] = {"floor": make_products(sequences)}
        for parts, planner in planners.items():
            ways[f"{parts}"] = partial(planner.plan, x, 1, planner.plan(x, 0, None))
        divide = {"floor": 1, "1": rounds, "2": rounds}
        wall, processor = time_in_turn(ways, rounds=7), time_processor(ways)
        for parts, what in (("1", "one core"), ("2", "two cores")):
            row = [1e3 * times[way] / divide[way] for times in (wall, processor) for way in ("floor", parts)]
            rows.append((f"{name}, {what}", *row[:2], row[1] / row[0], *row[2:], row[3] / row[2]))
    print_table(
        f"Planning in an ensemble of {MEMBERS} x (2 x {WIDTH}), {HORIZON} steps, {MEMBERS} particles, ms",
        ["", "floor: products on one core", "plan", "ratio", "floor, processor", "plan, processor", "ratio"],
        rows,
    )


def measure_simulator() -> None:
    """Time MPPI on the true half-cheetah, and the same sequences by `mujoco.rollout`."""
    import mujoco.rollout

    from gps.backend import jax, jnp
    from gps.environments.cpus import count_threads
    from gps.environments.gymnasium_mujoco.half_cheetah import HalfCheetah
    from gps.planning.mppi import MPPI
    from gps.planning.sequences import ActionRange
    from gps.planning.simulator import Copies, SimulatorPlanner, take_snapshot

    live, copies, optimiser, threads = HalfCheetah(1), Copies(HalfCheetah), MPPI(samples=256), count_threads()
    x, _ = live.reset(options={"condition": {"seed": 0}})
    planner = SimulatorPlanner(
        live=live, copies=copies, cost=lambda x, u, t: jnp.zeros(()), reward_weight=1.0, optimiser=optimiser,
        range=ActionRange.of(-1.0, 1.0, np.ones(DU)), end=1000, horizon=HORIZON,
    )  # fmt: skip
    last = planner.plan(x, 0, None)
    search = optimiser.begin(last.shift().guesses[0], -np.ones(DU), np.ones(DU))
    control = np.asarray(optimiser.propose(search, jax.random.key(0), optimiser.samples, np.bool_(False)))
    control = np.repeat(control, live.nsubsteps, axis=1)

    snapshot, full = take_snapshot(live, 0), mujoco.mjtState.mjSTATE_FULLPHYSICS.value
    data = [mujoco.MjData(snapshot.model) for _ in range(threads)]
    start = np.empty(mujoco.mj_stateSize(snapshot.model, full))
    mujoco.mj_getState(snapshot.model, live.snapshot(0)[1], start, full)
    starts, nstep = np.tile(start, (optimiser.samples, 1)), HORIZON * live.nsubsteps
    with mujoco.rollout.Rollout(nthread=threads if threads > 1 else 0) as rollout:
        ways: dict[str, Callable[[], object]] = {
            "rollout": lambda: rollout.rollout(snapshot.model, data, starts, control, nstep=nstep),
            "mppi": lambda: planner.plan(x, 1, last),
        }
        wall, processor = time_in_turn(ways, rounds=9), time_processor(ways)
    row = [1e3 * times[way] for times in (wall, processor) for way in ("rollout", "mppi")]
    print_table(
        f"MPPI on the true half-cheetah, {optimiser.samples} x {HORIZON} steps, {threads} threads, ms",
        ["mujoco.rollout", "plan", "ratio", "mujoco.rollout, processors", "plan, processors", "ratio"],
        [(*row[:2], row[1] / row[0], *row[2:], row[3] / row[2])],
    )
    copies.close()
    live.close()


def measure_linearisation() -> None:
    """Time an action by iterative LQR in a linear model and in a mixture of 10 linear ones, of the peg's size."""
    from gps.backend import jnp
    from gps.linear_gaussian.types import pytree
    from gps.planning.linearising import LinearisingPlanner
    from gps.planning.sequences import ActionRange

    dx, du = 14, 7

    @pytree
    class Local:
        """x' = F [x; u] + c."""

        F: np.ndarray
        c: np.ndarray

        @property
        def deviations(self):
            return jnp.ones(dx + du)

        def linearise(self, x, u):
            return self.F, self.c

    def cost(x, u, t):
        return jnp.sum(x**2) + 0.1 * jnp.sum(u**2)

    rng = np.random.default_rng(0)
    F = np.hstack([np.eye(dx) + 0.05 * rng.normal(size=(dx, dx)), 0.1 * rng.normal(size=(dx, du))])
    models = {"a linear model": Local(F, np.zeros(dx)), "a mixture of 10": _make_mixture(F, rng)}
    states, rows = rng.normal(size=(1, dx)), []
    for name, model in models.items():
        planner = LinearisingPlanner(
            model=model, cost=cost, range=ActionRange.of(-1.0, 1.0, np.ones(du)), end=100, horizon=20
        )
        last = planner.plan(states, 0, None)
        ways: dict[str, Callable[[], object]] = {"plan": partial(planner.plan, states, 1, last)}
        rows.append((name, 1e3 * time_in_turn(ways)["plan"], 1e3 * time_processor(ways, rounds=15)["plan"]))
    print_table(
        f"Iterative LQR, ({dx}, {du}), 20 steps ahead, 2 rounds, 8 random guesses, an action, ms",
        ["", "wall", "processor"],
        rows,
    )


def _make_mixture(F, rng):
    """Return a regression by ten clusters that all have the slope F."""
    from gps.models.mixture import MixtureRegression

    K, (dx, dz) = 10, F.shape
    return MixtureRegression(
        np.zeros(K), rng.normal(size=(K, dz)), np.tile(np.eye(dz), (K, 1, 1)), np.tile(F, (K, 1, 1)),
        np.zeros((K, dx)), np.ones(dz), np.tile(0.1 * np.eye(dx), (K, 1, 1)), np.full(K, np.inf),
    )  # fmt: skip


if __name__ == "__main__":
    main()
