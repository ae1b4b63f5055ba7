"""The pictures of a MuJoCo model's cameras, of all simulations of a batch: observations for a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mujoco
import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray

from gps.environments.mujoco.names import identify

if TYPE_CHECKING:
    from gps.environments.mujoco.offscreen import MujocoPictures

Pixels = NDArray[np.uint8]


class Cameras:
    """Draws every simulation of `batch` without a screen (see `gps.environments.mujoco.offscreen`).

    Shadows and smooth edges are left out: in software they take most of the time. Equal simulations give equal bits.

    Args:
        size: width and height of a picture in pixels.
    """

    def __init__(self, batch: Batch, size: tuple[int, int]) -> None:
        self._batch, self._qpos, self._data = batch, batch.bind("qpos"), mujoco.MjData(batch.model)
        self.size, self.num_envs = size, batch.nsim
        self._models: dict[int, mujoco.MjModel] = {}  # of the simulations, as their conditions change them
        self._pixels: dict[str, Pixels] = {}
        self._pictures: dict[str, MujocoPictures] = {}

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of a picture: height, width, and the 3 colours."""
        width, height = self.size
        return height, width, 3

    def pixels(self, camera: str, where: str) -> Pixels:
        """The pictures of a camera, (nsim, height · width · 3): an array that `draw` fills.

        Raises:
            ValueError: if the model has no such camera; begins with `where`.
        """
        identify(self._batch.model, mujoco.mjtObj.mjOBJ_CAMERA, camera, where)
        return self._pixels.setdefault(camera, np.zeros((self._batch.nsim, int(np.prod(self.shape))), np.uint8))

    def forget_models(self, ids: NDArray[np.int32]) -> None:
        """Read the models of these simulations again before the next picture: a reset has changed them."""
        for i in ids.tolist():
            self._models.pop(i, None)

    def draw(self) -> None:
        """Draw all simulations as they are now, into the arrays.

        Raises:
            DrawingError: if OpenGL does not work.
        """
        for name, pixels in self._pixels.items():
            if name not in self._pictures:
                self._pictures[name] = self._make_pictures(name)
            for i in range(len(pixels)):
                pixels[i] = self._pictures[name].picture(i).ravel()

    def snapshot(self, i: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """Return the model of simulation `i` and the data that a picture needs. The next call overwrites the data."""
        if i not in self._models:
            self._models[i] = self._batch.get_model(i)
        model, data = self._models[i], self._data
        data.qpos[:] = self._qpos[i]
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        mujoco.mj_tendon(model, data)
        return model, data

    def close(self) -> None:
        """Release OpenGL's memory."""
        while self._pictures:
            self._pictures.popitem()[1].close()

    def _make_pictures(self, name: str) -> MujocoPictures:
        from gps.environments.mujoco.offscreen import MujocoPictures

        camera = mujoco.MjvCamera()
        camera.type = mujoco.mjtCamera.mjCAMERA_FIXED.value
        camera.fixedcamid = mujoco.mj_name2id(self._batch.model, mujoco.mjtObj.mjOBJ_CAMERA, name)
        return MujocoPictures(self, self.size, camera, plain=True)
