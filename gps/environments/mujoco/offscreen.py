"""Draw a MuJoCo simulation without a screen.

MuJoCo draws with OpenGL, and without a screen OpenGL comes from EGL (a graphics card, or Mesa's software) or from
OSMesa (software). A trial in a separate process finds out which of them works: a driver that fails may end its
process, and PyOpenGL chooses between the two only once per process. The variable `MUJOCO_GL`, if set, decides instead.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gps.errors import ConfigError, DrawingError, nearest, one_line

if TYPE_CHECKING:
    import mujoco

    from gps.environments.contract import BatchEnvironment

BACKENDS = ("egl", "osmesa")
"""The libraries to try, in this order."""

_PROBE_SECONDS = 60
_SHADOW = 4  # pixels of the shadow map for each of the picture's: in software its size costs most of the time

_PROBE = """
import sys
from importlib import import_module
context = import_module("mujoco." + sys.argv[1]).GLContext(64, 64)
context.make_current()
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
drawing = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, drawing)
drawing.free()
context.free()
"""

_ROOM = 1.2  # how much wider our own camera sees than the simulations are at the start


class Snapshots(Protocol):
    """Gives the model and the data of each simulation."""

    num_envs: int

    def snapshot(self, i: int) -> Any:
        """Return the model and the data of simulation `i`."""


class Pictures(Protocol):
    """Draws the simulations of an environment as they are now."""

    def picture(self, i: int) -> np.ndarray:
        """Return a picture of simulation `i` now, (height, width, 3) uint8."""

    def close(self) -> None:
        """Release what drawing needs."""


@functools.cache
def backend() -> str:
    """The OpenGL library that works here: "egl", "osmesa", or the value of MUJOCO_GL.

    Raises:
        DrawingError: if none works; names the packages that help.
    """
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
    if chosen in (*BACKENDS, "glfw"):
        return chosen
    for name in BACKENDS:
        if _works(name):
            return name
    raise DrawingError(
        "no OpenGL without a screen: neither EGL nor OSMesa works here; install libegl1 or libosmesa6 "
        "(apt install libegl1 libosmesa6), or choose one by MUJOCO_GL=egl, osmesa or (with a screen) glfw"
    )


def _works(name: str) -> bool:
    """True if a process can draw with this library."""
    environment = {key: value for key, value in os.environ.items() if key not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    command = [sys.executable, "-c", _PROBE, name]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=_PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


class MujocoPictures:
    """Draws MuJoCo simulations, from their snapshots.

    Args:
        environment: after a reset, for the models of its conditions.
        size: width and height of a picture in pixels.
        camera: the name of a camera of the model, or a free camera. None takes the model's camera "view", or else
            its first one that is fixed in the world or follows a body, or else one with all simulations in view.
        plain: True to draw without shadows and smooth edges, which is several times as fast in software.

    Attributes:
        scene, option: MuJoCo's scene, as it was drawn last, and what it shows.

    Raises:
        DrawingError: if OpenGL does not work.
        ConfigError: for an unknown camera.
    """

    def __init__(
        self,
        environment: Snapshots,
        size: tuple[int, int],
        camera: str | mujoco.MjvCamera | None = None,
        plain: bool = False,
    ) -> None:
        import mujoco

        self._mujoco, self._environment = mujoco, environment
        width, height = size
        model, _ = environment.snapshot(0)
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        model.vis.quality.shadowsize = 0 if plain else min(model.vis.quality.shadowsize, _SHADOW * max(size))
        if plain:
            model.vis.quality.offsamples = 0
        self._camera = camera if isinstance(camera, mujoco.MjvCamera) else _choose_camera(environment, camera)
        name = backend()
        try:
            self._gl = import_module(f"mujoco.{name}").GLContext(width, height)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        except Exception as error:  # each library has errors of its own
            reason = one_line(error)
            raise DrawingError(f"OpenGL by {name} fails: {reason}; MUJOCO_GL chooses: egl, osmesa or glfw") from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self.scene = mujoco.MjvScene(model, 10_000)
        if plain:
            self.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW.value] = 0
        self.option = mujoco.MjvOption()
        self._rectangle = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.empty((height, width, 3), dtype=np.uint8)

    def picture(self, i: int) -> np.ndarray:
        """Return a picture of simulation `i` now, (height, width, 3) uint8."""
        mujoco = self._mujoco
        model, data = self._environment.snapshot(i)
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(model, data, self.option, None, self._camera, everything, self.scene)
        self._gl.make_current()
        mujoco.mjr_render(self._rectangle, self.scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._rectangle, self._context)
        return self._pixels[::-1].copy()  # OpenGL counts rows from the bottom

    def close(self) -> None:
        """Release OpenGL's memory."""
        self._gl.make_current()
        self._context.free()
        self._gl.free()


def _choose_camera(environment: Snapshots, name: str | None) -> mujoco.MjvCamera:
    """Return the camera called `name`, or the one that suits best if that is None."""
    import mujoco

    model, _ = environment.snapshot(0)
    known = [model.camera(k).name for k in range(model.ncam)]
    if name is not None and name not in known:
        cameras = ", ".join(filter(None, known)) or "none has a name"
        raise ConfigError(f"--camera {name}: no camera of the model{nearest(name, known)}; its cameras: {cameras}")
    within = mujoco.mjtCamLight.mjCAMLIGHT_FIXED.value  # on a body, where it shows little of the whole
    outside = [k for k in range(model.ncam) if model.cam_bodyid[k] == 0 or model.cam_mode[k] != within]
    name = "view" if name is None and "view" in known else name
    if name is None and not outside:
        return _frame_all(environment)
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FIXED.value
    camera.fixedcamid = outside[0] if name is None else known.index(name)
    return camera


def _frame_all(environment: Snapshots) -> mujoco.MjvCamera:
    """Return a camera with all simulations and room to move in view, at the model's own azimuth and elevation.

    MuJoCo's own free camera shows the extent in `model.stat`, which includes a floor; here floors do not count.
    """
    import mujoco

    camera = mujoco.MjvCamera()
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for i in range(environment.num_envs):
        model, data = environment.snapshot(i)
        solid = model.geom_rbound > 0  # the radii of planes are zero
        places = np.concatenate([data.geom_xpos[solid], data.site_xpos])
        radii = np.concatenate([model.geom_rbound[solid], np.zeros(model.nsite)])[:, None]
        low = np.minimum(low, np.min(places - radii, axis=0, initial=np.inf))
        high = np.maximum(high, np.max(places + radii, axis=0, initial=-np.inf))
    mujoco.mjv_defaultFreeCamera(model, camera)
    if np.isfinite(low).all():
        camera.lookat[:] = (low + high) / 2
        camera.distance = _ROOM * np.linalg.norm(high - low) / 2 / np.tan(np.radians(model.vis.global_.fovy) / 2)
    return camera


class GymnasiumPictures:
    """Draws with the environment's own `render`, in the `render_mode` "rgb_array"."""

    def __init__(self, environment: BatchEnvironment, size: tuple[int, int]) -> None:
        self._environment, self._size = environment, size

    def picture(self, i: int) -> np.ndarray:
        """Return a picture of simulation `i` now, (height, width, 3) uint8, scaled to the size."""
        from PIL import Image

        pictures = self._environment.render()
        assert pictures is not None
        frame = np.asarray(pictures[i], dtype=np.uint8)
        return np.asarray(Image.fromarray(frame).resize(self._size, Image.Resampling.BILINEAR))

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def make_pictures(environment: BatchEnvironment, size: tuple[int, int], camera: str | None = None) -> Pictures:
    """Choose how to draw an environment: MuJoCo's if it has snapshots, or else its own `render`.

    Raises:
        DrawingError: if it has neither.
        ConfigError: for an unknown camera, and for any camera of an environment that draws itself.
    """
    if environment.snapshot(0) is not None:
        return MujocoPictures(environment, size, camera)
    if environment.render_mode == "rgb_array":
        if camera is not None:
            raise ConfigError(f"--camera {camera}: this environment draws itself, so gps cannot choose its camera")
        return GymnasiumPictures(environment, size)
    raise DrawingError(
        "this environment cannot be drawn: it is no MuJoCo simulation (no `snapshot`), and it has no "
        'render_mode = "rgb_array"'
    )
