"""Make `docs/peg_insertion.webp`, the README's picture: `python docs/picture.py RUN` (needs Pillow, and EGL or OSMesa).

Each row is one place of the slot, run without noise; the columns are moments of the episode.
"""

import sys
from contextlib import closing
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
from PIL import Image

import gps
import gps.environments
from gps.environments.mujoco.offscreen import MujocoPictures

STEPS = (0, 20, 45, 99)
SIZE = (320, 240)


def main() -> None:
    run = gps.load_run(sys.argv[1])
    rollouts = run.evaluation().rollouts
    conditions = run.config.environment.conditions
    environment = gymnasium.make_vec("gps/PegInsertion-v0", len(conditions))
    environment.reset(options={"conditions": list(conditions)})
    camera = mujoco.MjvCamera()
    camera.lookat[:], camera.distance, camera.azimuth, camera.elevation = (0.5, 0, 0.68), 1.35, 142, -20
    frames = {}
    with closing(MujocoPictures(environment, SIZE, camera)) as pictures:
        for t in range(max(STEPS) + 1):
            if t in STEPS:
                frames |= {(m, t): pictures.picture(m) for m in range(len(conditions))}
            environment.step(rollouts.actions[:, 0, t])
    rows = [np.concatenate([frames[m, t] for t in STEPS], axis=1) for m in (0, 2)]
    Image.fromarray(np.concatenate(rows)).save(Path(__file__).with_name("peg_insertion.webp"), quality=88)


if __name__ == "__main__":
    main()
