"""Planning: seconds of each planner, compared in the same run with a floor that no planner can go below.

The model is an ensemble of 5 networks with two layers of 200 units in float32, of the size of the half-cheetah: the
floor of a round is its matrix products alone, on one core. On the true simulator the floor is `mujoco.rollout`.
"""

import numpy as np

from benchmarks.timing import print_table, time_in_turn

DX, DU, WIDTH, MEMBERS, HORIZON = 18, 6, 200, 5, 25


def main() -> None:
    measure_model()
    measure_simulator()
    measure_linearisation()


def make_model():
    """Return an untrained ensemble with the methods of a global model that planners need."""
    import jax.nn

    from gps.backend import jax as backend_jax
    from gps.backend import jnp
    from gps.linear_gaussian.types import pytree

    @pytree
    class Member:
        """A network that predicts the change of the state, with noise."""

        weights: tuple
        biases: tuple

        def __call__(self, x, u, key=None):
            y = jnp.concatenate([x, u]).astype(jnp.float32)
            for W, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
                y = jax.nn.swish(y @ W + b)
            after = x + 0.1 * (y @ self.weights[-1] + self.biases[-1])
            return after if key is None else after + 0.01 * backend_jax.random.normal(key, x.shape)

    @pytree
    class Ensemble:
        """As many members as are drawn."""

        members: Member

        def draw(self, key, count):
            return self.members

    rng, sizes = np.random.default_rng(0), (DX + DU, WIDTH, WIDTH, DX)
    pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
    weights = tuple((rng.normal(size=(MEMBERS, m, n)) / np.sqrt(m)).astype(np.float32) for m, n in pairs)
    return Ensemble(Member(weights, tuple(np.zeros((MEMBERS, n), np.float32) for _, n in pairs)))


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


def make_products(model, sequences: int):
    """Return a function that computes the matrix products of a round alone."""
    from gps.backend import jax, jnp

    weights = model.members.weights
    start = jnp.ones((MEMBERS, sequences, DX + DU), jnp.float32)

    @jax.jit
    def products(y, weights):
        def step(y, _):
            for W in weights:
                y = jnp.einsum("psi,pij->psj", y, W)
            return jnp.concatenate([y, y[..., :DU]], axis=-1), None

        return jax.lax.scan(step, y, None, HORIZON)[0]

    return lambda: products(start, weights).block_until_ready()


def measure_model() -> None:
    """Time a round of the cross-entropy method, and the plan of an action by iCEM."""
    from gps.planning.cem import CEM
    from gps.planning.icem import ICEM

    model, x, rounds = make_model(), np.zeros((1, DX)), 4
    rows = []
    for name, sequences, count, optimiser in (
        ("CEM, a round of 400", 400, rounds, CEM(samples=400, elites=40, rounds=rounds)),
        ("iCEM, an action, 3 rounds of 100", 300, 1, ICEM(samples=100, elites=10, rounds=3, decay=1.0)),
    ):
        planners = {parts: make_planner(model, optimiser, parts=parts) for parts in (1, 2)}
        last = planners[1].plan(x, 0, None)
        ways = {f"{parts}": lambda p=p: p.plan(x, 1, last) for parts, p in planners.items()}
        seconds = time_in_turn({"floor": make_products(model, sequences), **ways}, rounds=7)
        floor, one, two = seconds["floor"], seconds["1"] / count, seconds["2"] / count
        rows.append((name, 1e3 * floor, 1e3 * one, one / floor, 1e3 * two, two / floor))
    print_table(
        f"Planning in an ensemble of {MEMBERS} x (2 x {WIDTH}), {HORIZON} steps, {MEMBERS} particles, ms",
        ["", "products alone, one core", "one core", "/ floor", "two cores", "/ floor"],
        rows,
    )


def measure_simulator() -> None:
    """Time MPPI on the true half-cheetah, and the same sequences by `mujoco.rollout`."""
    import mujoco.rollout

    from gps.backend import jnp
    from gps.environments.cpus import count_threads
    from gps.environments.gymnasium_mujoco.half_cheetah import HalfCheetah
    from gps.planning.mppi import MPPI
    from gps.planning.sequences import ActionRange
    from gps.planning.simulator import Copies, SimulatorPlanner, take_snapshot

    live, copies, samples, threads = HalfCheetah(1), Copies(HalfCheetah), 256, count_threads()
    x, _ = live.reset(options={"condition": {"seed": 0}})
    planner = SimulatorPlanner(
        live=live, copies=copies, cost=lambda x, u, t: jnp.zeros(()), reward_weight=1.0, optimiser=MPPI(samples=samples),
        range=ActionRange.of(-1.0, 1.0, np.ones(DU)), end=1000, horizon=HORIZON,
    )  # fmt: skip
    last = planner.plan(x, 0, None)
    snapshot, nstep = take_snapshot(live, 0), HORIZON * live.nsubsteps
    data = [mujoco.MjData(snapshot.model) for _ in range(threads)]
    full = mujoco.mjtState.mjSTATE_FULLPHYSICS.value
    start = np.empty(mujoco.mj_stateSize(snapshot.model, full))
    mujoco.mj_getState(snapshot.model, live.snapshot(0)[1], start, full)
    control = np.clip(0.4 * np.random.default_rng(0).normal(size=(samples, HORIZON, DU)), -1, 1)
    control = np.repeat(control, live.nsubsteps, axis=1)
    with mujoco.rollout.Rollout(nthread=threads) as rollout:
        ways = {
            "rollout": lambda: rollout.rollout(snapshot.model, data, np.tile(start, (samples, 1)), control, nstep=nstep),
            "mppi": lambda: planner.plan(x, 1, last),
        }
        seconds = time_in_turn(ways, rounds=9)
    print_table(
        f"MPPI on the true half-cheetah, {samples} x {HORIZON} steps, {threads} threads, ms",
        ["mujoco.rollout", "plan", "plan / rollout"],
        [(1e3 * seconds["rollout"], 1e3 * seconds["mppi"], seconds["mppi"] / seconds["rollout"])],
    )
    copies.close()
    live.close()


def measure_linearisation() -> None:
    """Time an action by iterative LQR in a local model."""


if __name__ == "__main__":
    main()
