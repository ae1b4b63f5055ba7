"""Make a picture of the gallery: `python docs/gallery.py EXPERIMENT [RUN]` writes EXPERIMENT.webp.

With a run it is an animation of what was learned, without noise; otherwise a picture of the start. An environment that
cannot be drawn has a plot of its states. Those of the site are in docs/pictures. Needs EGL or OSMesa, and for the
classic environments of Gymnasium `pip install "gymnasium[classic_control]"`.
"""

import contextlib
import sys
from pathlib import Path

import numpy as np
from gymnasium.error import DependencyNotInstalled
from matplotlib.figure import Figure
from PIL import Image, ImageSequence

import gps
from gps.builders import make_environment
from gps.config import load
from gps.environments.mujoco.offscreen import make_pictures
from gps.errors import DrawingError

ROOT = Path(__file__).parents[1]
SIZE = (240, 180)
FRAMES = 12  # per second; half as many of an episode that is long
LONG = 6.0  # seconds


def animate(run: str, path: Path) -> None:
    """Draw at most two conditions of a run, side by side; one where the episode is long."""
    opened = gps.load_run(run)
    count = len(opened.config.environment.conditions)
    long = opened.interface.horizon * opened.interface.dt > LONG
    conditions, frames = ([0], FRAMES // 2) if long else (sorted({0, count // 2}), FRAMES)
    try:
        gps.render(opened, path, conditions=conditions, size=SIZE, fps=frames)
        shrink(path)
    except (DrawingError, DependencyNotInstalled):
        plot_states(opened, path)


def shrink(path: Path) -> None:
    """Compress an animation once more, for a page that shows forty."""
    with Image.open(path) as animation:
        frames = [(frame.convert("RGB"), frame.info["duration"]) for frame in ImageSequence.Iterator(animation)]
    (first, *others), durations = zip(*frames, strict=True)
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0, quality=50, method=6)


def plot_states(run: gps.Run, path: Path) -> None:
    """Draw the states of the final episode from the first condition against time."""
    states = run.evaluation().rollouts.states[0, 0]
    figure = Figure(figsize=(3.2, 2.4), layout="constrained")
    axis = figure.add_subplot()
    axis.plot(np.arange(len(states)), states, label=[entry.name for entry in run.interface.state])
    axis.set(xlabel="time step", title="state in the final episode")
    axis.legend(frameon=False)
    figure.savefig(path, dpi=100)


def draw_start(folder: Path, path: Path) -> None:
    """Draw the first condition at its start."""
    config = load(folder).environment
    with contextlib.closing(make_environment(config, folder, 1)) as environment:
        environment.reset(seed=0, options={"conditions": [config.conditions[0]]})
        with contextlib.closing(make_pictures(environment, (2 * SIZE[0], 2 * SIZE[1]))) as pictures:
            picture = np.asarray(pictures.picture(0))
    Image.fromarray(picture).resize(SIZE, Image.Resampling.LANCZOS).save(path, quality=80)


def main(experiment: str, run: str | None = None) -> None:
    path = Path(f"{experiment}.webp")
    if run is None:
        draw_start(ROOT / "experiments" / experiment, path)
    else:
        animate(run, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
