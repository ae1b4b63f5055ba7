"""Make a video of a run's controllers: play an episode of each condition and draw it.

The episodes that a run ended with are on disk, and are not computed again: a plan may take a second.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gps.environments.contract import BatchEnvironment
from gps.environments.mujoco import offscreen
from gps.errors import ConfigError, DrawingError, RunError
from gps.evaluation import Noise, prepare, restore
from gps.experiment import Experiment
from gps.inspect import video
from gps.inspect.formatting import format_condition
from gps.runs import Run

MOST = 8
"""The default number of conditions in a video."""

Watch = Callable[[Iterable[np.ndarray], int], Iterable[np.ndarray]]

_FPS = 30  # for an environment with neither a dt nor frames per second


def render(
    run: Run,
    path: Path | None = None,
    *,
    iteration: int | None = None,
    conditions: Sequence[int] | None = None,
    size: tuple[int, int] | None = None,
    fps: float | None = None,
    camera: str | None = None,
    noise: Noise = "none",
    seed: int = 0,
    watch: Watch | None = None,
) -> Path:
    """Make a video of the controllers of an iteration, in real time, and return its path.

    Args:
        path: an .mp4, .webp or .gif; None for NAME-seedS-iterKKK.webp in the working directory.
        iteration: the iteration with the improved controllers to play; None for the last one.
        conditions: the conditions to draw; None for all, up to `MOST`.
        size: width and height of each condition's picture, pixels; None for 320 x 240, or 640 x 480 for a single one.
        fps: frames per second; None for one frame per step, up to the rate that a browser shows.
        camera: the name of a camera of the model; None for the one that suits best.
        noise, seed: see `gps.evaluation.evaluate`.
        watch: wraps the iterator of frames, given their number, for example to show progress.

    Raises:
        GpsError: if something is missing, or the environment cannot be drawn.
    """
    count = len(run.config.environment.conditions)
    chosen = list(range(min(count, MOST))) if conditions is None else list(conditions)
    for condition in chosen:
        if not 0 <= condition < count:
            raise RunError(f"there is no condition {condition}; the run has 0 to {count - 1}")
    if path is not None:
        video.require_suffix(path)
    video.require_packages(path or Path("video.webp"))
    with _restore_drawable(run, iteration) as (built, state):
        path = path or Path(f"{run.name}-seed{run.seed}-iter{state.iteration - 1:03d}.webp")
        last = state.iteration == len(run.iterations)
        known = run.evaluation() if last and noise == "none" and seed == 0 else None
        if known is None:
            rollouts, costs, _ = built.evaluate(*prepare(built, state, noise, 1, seed), seed=seed)
        else:
            rollouts, costs = known.rollouts, known.costs
        size = size or ((640, 480) if len(chosen) == 1 else (320, 240))
        dt = _find_period(built.environment)
        timing = video.Timing.of(dt, built.horizon, fps)
        with (
            contextlib.closing(built.make_environment_at_start(seed)) as environment,
            contextlib.closing(offscreen.make_pictures(environment, size, camera)) as pictures,
        ):
            titles = _make_titles(run, state.iteration - 1)
            frames = video.film(environment, pictures, rollouts, costs, chosen, timing.steps, dt, titles)
            video.write_video(path, watch(frames, len(timing.steps)) if watch else frames, timing)
    return path


@contextlib.contextmanager
def _restore_drawable(run: Run, iteration: int | None) -> Iterator[tuple[Experiment, Any]]:
    """Restore a run as `restore` does; an environment without MuJoCo is made to draw itself."""
    with contextlib.ExitStack() as stack:
        built, state = stack.enter_context(restore(run, iteration))
        if built.environment.snapshot(0) is None:
            try:
                built, state = stack.enter_context(restore(run, iteration, render_mode="rgb_array"))
            except ConfigError as error:
                raise DrawingError(
                    "this environment cannot be drawn: it is no MuJoCo simulation (it has no `snapshot`), and it "
                    f'cannot be made with render_mode="rgb_array": {error}'
                ) from error
        yield built, state


def _find_period(environment: BatchEnvironment) -> float:
    """The duration of a step in seconds; without a `dt`, that of a frame."""
    return environment.dt if np.isfinite(environment.dt) else 1 / environment.metadata.get("render_fps", _FPS)


def _make_titles(run: Run, iteration: int) -> list[str]:
    """What a video says of each condition: `iteration 7 · condition 0 · slot = [-0.08, 0.08]`."""
    conditions = run.config.environment.conditions
    numbers = [f" · condition {m}" if len(conditions) > 1 else "" for m in range(len(conditions))]
    values = [f" · {text}" if (text := format_condition(condition)) else "" for condition in conditions]
    return [f"iteration {iteration}{number}{value}" for number, value in zip(numbers, values, strict=True)]
