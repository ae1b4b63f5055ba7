"""Gymnasium's MuJoCo environments: our batch path beside `gymnasium.vector.SyncVectorEnv` of the originals.

Both take the same random actions from the same seeds, in turn, a few steps at a time, and start again what has ended,
so that they do the same physics, bit for bit; the ratios are medians over these turns. "Cores busy" is the processor
time that our steps took over their wall clock: below two, others had the machine. The ratio of processor times does
not depend on that: on two free cores the ratio of wall clocks is nearly twice as high. The last column is the share
of MuJoCo's own stepping in the original's processor time; it bounds both, for all the rest can vanish, but physics
can only be spread over two threads.
"""

import time
import warnings

import numpy as np

from benchmarks.timing import table

SIMULATIONS, TURNS, STEPS, THREADS = 64, 20, 4, 2


def main() -> None:
    from gps.environments.gymnasium_mujoco import IDS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the originals, about their own models
        rows = [measure(id) for id in IDS if id.endswith("-v5")]
    table(
        f"Gymnasium's MuJoCo environments, {SIMULATIONS} simulations, environment steps per second",
        [
            "id",
            "SyncVectorEnv",
            f"gps, {THREADS} threads",
            "ratio",
            "cores busy",
            "ratio of processor times",
            "physics in the original",
        ],
        rows,
    )


def measure(id: str) -> tuple[object, ...]:
    """One row of the table."""
    import gymnasium

    from gps.environments.gymnasium_mujoco import find_batch_class

    by_hand = {"autoreset_mode": gymnasium.vector.AutoresetMode.DISABLED}
    original = gymnasium.make_vec(id, SIMULATIONS, vectorization_mode="sync", vector_kwargs=by_hand)
    batched = find_batch_class(id)(SIMULATIONS, threads=THREADS)
    original.reset(seed=0)
    batched.reset(seed=0)
    low, high = original.single_action_space.low, original.single_action_space.high
    shape = (TURNS + 1, STEPS, SIMULATIONS, *low.shape)
    turns = np.random.default_rng(0).uniform(low, high, shape).astype(np.float32)

    seconds = np.array([(clocked(play, original, a), clocked(play, batched, a)) for a in turns])[1:]
    wall, processor = seconds.transpose(2, 1, 0)  # each theirs and ours, by turn
    bare = clocked(physics, original, turns[-1])[1]
    rates = (round(SIMULATIONS * STEPS / np.median(times)) for times in wall)
    row = (
        id,
        *rates,
        float(np.median(wall[0] / wall[1])),
        float(processor[1].sum() / wall[1].sum()),
        float(np.median(processor[0] / processor[1])),
        f"{100 * bare / np.median(processor[0]):.0f} %",
    )
    original.close()
    batched.close()
    return row


def clocked(function, environment, turn: np.ndarray) -> tuple[float, float]:
    """Seconds on the wall and of the processor."""
    start = time.perf_counter(), time.process_time()
    for actions in turn:
        function(environment, actions)
    return time.perf_counter() - start[0], time.process_time() - start[1]


def play(environment, actions: np.ndarray) -> None:
    """A step, and a new start of what it has ended."""
    _, _, terminated, truncated, _ = environment.step(actions)
    ended = terminated | truncated
    if ended.any():
        environment.reset(options={"reset_mask": ended})


def physics(original, actions: np.ndarray) -> None:
    """A step of the originals with nothing but MuJoCo."""
    import mujoco

    for wrapped, action in zip(original.envs, actions, strict=True):
        env = wrapped.unwrapped
        env.data.ctrl[:] = action
        mujoco.mj_step(env.model, env.data, nstep=env.frame_skip)
