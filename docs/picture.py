"""Make `docs/peg_insertion.webp`, the README's picture: `python docs/picture.py RUN` (needs Pillow, and EGL or OSMesa).

Each row is one place of the slot, run without noise; the columns are moments of the episode.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "egl")

import gymnasium
import mujoco
import numpy as np
from PIL import Image

import gps
import gps.environments

STEPS = (0, 20, 45, 99)
WIDTH, HEIGHT = 320, 240


def main() -> None:
    run = gps.load_run(sys.argv[1])
    rollouts, _ = run.evaluation
    conditions = run.config.environment.conditions
    environment = gymnasium.make_vec("gps/PegInsertion-v0", len(conditions))
    environment.reset(options={"conditions": list(conditions)})
    renderer = mujoco.Renderer(environment.snapshot(0)[0], HEIGHT, WIDTH)
    camera = mujoco.MjvCamera()
    camera.lookat[:], camera.distance, camera.azimuth, camera.elevation = (0.5, 0, 0.68), 1.35, 142, -20
    frames = {}
    for t in range(max(STEPS) + 1):
        if t in STEPS:
            for m in range(len(conditions)):
                renderer.update_scene(environment.snapshot(m)[1], camera)
                frames[m, t] = renderer.render()
        environment.step(rollouts.actions[:, 0, t])
    rows = [np.concatenate([frames[m, t] for t in STEPS], axis=1) for m in (0, 2)]
    Image.fromarray(np.concatenate(rows)).save(Path(__file__).with_name("peg_insertion.webp"), quality=88)


if __name__ == "__main__":
    main()
