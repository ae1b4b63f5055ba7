"""Gymnasium's MuJoCo environments: our batch path compared with `gymnasium.vector.SyncVectorEnv` of the originals.

Both take the same random actions from the same seeds, in turn, a few steps at a time, and restart episodes that have
ended, so that they do the same physics, bit for bit; the ratios are medians over these turns. "Cores busy" is the
processor time of our steps divided by their wall clock: below two, other processes used the machine. The ratio of
processor times does not depend on that: on two free cores the ratio of wall clocks is nearly twice as high. The last
column is the share of MuJoCo's own stepping in the original's processor time. It bounds both ratios: the rest can
vanish, but the physics can only be spread over two threads.
"""

import time
import warnings

import numpy as np

from benchmarks.timing import print_table

SIMULATIONS, TURNS, STEPS, THREADS = 64, 20, 4, 2


def main() -> None:
    from gps.environments.gymnasium_mujoco import IDS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of the originals about their own models
        rows = [measure(id) for id in IDS if id.endswith("-v5")]
    print_table(
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
    """Return a row of the table."""
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

    seconds = np.array([(measure_seconds(play, original, a), measure_seconds(play, batched, a)) for a in turns])[1:]
    wall, processor = seconds.transpose(2, 1, 0)  # rows: theirs and ours; columns: turns
    bare = measure_seconds(step_physics, original, turns[-1])[1]
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


def measure_seconds(function, environment, turn: np.ndarray) -> tuple[float, float]:
    """Return wall-clock and processor seconds."""
    start = time.perf_counter(), time.process_time()
    for actions in turn:
        function(environment, actions)
    return time.perf_counter() - start[0], time.process_time() - start[1]


def play(environment, actions: np.ndarray) -> None:
    """Step, and restart the episodes that have ended."""
    _, _, terminated, truncated, _ = environment.step(actions)
    ended = terminated | truncated
    if ended.any():
        environment.reset(options={"reset_mask": ended})


def step_physics(original, actions: np.ndarray) -> None:
    """Step the originals with MuJoCo alone."""
    import mujoco

    for wrapped, action in zip(original.envs, actions, strict=True):
        env = wrapped.unwrapped
        env.data.ctrl[:] = action
        mujoco.mj_step(env.model, env.data, nstep=env.frame_skip)
