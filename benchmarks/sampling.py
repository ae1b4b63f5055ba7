"""Closed-loop sampling of the peg insertion with a linear-Gaussian policy, beside the same physics stepped bare."""

import time

import numpy as np

from benchmarks.timing import table

SIMULATIONS, T = 20, 100


def main() -> None:
    from gps.environments.peg_insertion import PegInsertion
    from gps.linear_gaussian.initial import zero
    from gps.sampling import collect, exploration_noise

    rows = []
    for threads in (1, 2):
        environment = PegInsertion(SIMULATIONS, threads=threads)
        dx, du = environment.single_observation_space.shape[0], environment.single_action_space.shape[0]
        controllers = zero(4, T, dx, du, 0.2)
        noise = exploration_noise(controllers, SIMULATIONS // 4, 0.0, np.random.default_rng(0))
        conditions = [{"slot": slot} for slot in ([-0.08, -0.08], [-0.08, 0.08], [0.08, 0.08], [0.08, -0.08])]
        actions = np.clip(noise.reshape(SIMULATIONS, T, du).swapaxes(0, 1), -1, 1).copy()

        def closed(environment=environment, controllers=controllers, conditions=conditions, noise=noise):
            start = time.perf_counter()
            collect(environment, controllers, conditions, noise, 0)
            return time.perf_counter() - start

        def bare(environment=environment, conditions=conditions, actions=actions):
            """The same episodes with nothing but `Batch.step`."""
            starts = [condition for condition in conditions for _ in range(SIMULATIONS // 4)]
            environment.reset(options={"conditions": starts})
            batch, control = environment.batch, environment.batch.bind("ctrl")
            start = time.perf_counter()
            for action in actions:
                control[...] = action
                batch.step(nstep=environment.nsubsteps)
            return time.perf_counter() - start

        pairs = np.array([(bare(), closed()) for _ in range(21)])[1:]
        rows.append((threads, *(1e3 * np.median(pairs, axis=0)), float(np.median(pairs[:, 0] / pairs[:, 1]))))
        environment.close()
    table(
        f"Sampling, peg insertion, {SIMULATIONS} simulations x {T} steps, ms",
        [
            "threads",
            "Batch, open loop, bare",
            "gps, closed loop, with reset",
            "share of the bare rate (median of pairs)",
        ],
        rows,
    )
