"""Pictures of a MuJoCo simulation without a screen.

MuJoCo draws with OpenGL, and without a screen OpenGL comes from EGL (a graphics card, or Mesa's software) or from
OSMesa (software). Which of them works is found out by trying, each in a process of its own: a driver that fails may
take its process along, and PyOpenGL can be told only once per process which of the two to load. `MUJOCO_GL` decides
instead where it is set.
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

BACKENDS = ("egl", "osmesa")
"""What is tried, in this order."""

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

_ROOM = 1.2  # of what a camera of our own shows, to what there is at the start


class Pictures(Protocol):
    """Draws the simulations of an environment as they stand."""

    def picture(self, i: int) -> np.ndarray:
        """Simulation `i` now, (height, width, 3) uint8."""

    def close(self) -> None: ...


@functools.cache
def backend() -> str:
    """The way to OpenGL that works here: "egl", "osmesa", or what MUJOCO_GL says.

    Raises:
        DrawingError: if none does; names the packages that help.
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
    environment = {key: value for key, value in os.environ.items() if key not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    command = [sys.executable, "-c", _PROBE, name]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=_PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


class MujocoPictures:
    """Draws the simulations of an environment that has `snapshot(i) -> (model, data)`.

    Args:
        environment: as it stands after a reset, for the models of its conditions.
        size: of a picture, width and height in pixels.
        camera: a camera of the model by its name, or one of one's own. None takes the model's camera "view", else
            its first one that stands in the world or follows a body, else one that has all simulations in view.
        plain: without shadows and smooth edges, which is several times as fast in software.

    Raises:
        DrawingError: if OpenGL cannot be had.
        ConfigError: for an unknown camera.
    """

    def __init__(
        self,
        environment: Any,
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
        self._camera = camera if isinstance(camera, mujoco.MjvCamera) else _camera(environment, camera)
        name = backend()
        try:
            self._gl = import_module(f"mujoco.{name}").GLContext(width, height)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        except Exception as error:  # each library has errors of its own
            reason = one_line(error)
            raise DrawingError(f"OpenGL by {name} fails: {reason}; MUJOCO_GL chooses: egl, osmesa or glfw") from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._scene = mujoco.MjvScene(model, 10_000)
        if plain:
            self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW.value] = 0
        self._option = mujoco.MjvOption()
        self._rectangle = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.empty((height, width, 3), dtype=np.uint8)

    def picture(self, i: int) -> np.ndarray:
        """Simulation `i` now, (height, width, 3) uint8."""
        mujoco = self._mujoco
        model, data = self._environment.snapshot(i)
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(model, data, self._option, None, self._camera, everything, self._scene)
        self._gl.make_current()
        mujoco.mjr_render(self._rectangle, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._rectangle, self._context)
        return self._pixels[::-1].copy()  # OpenGL counts rows from the bottom

    def close(self) -> None:
        """Release OpenGL's memory."""
        self._gl.make_current()
        self._context.free()
        self._gl.free()


def _camera(environment: Any, name: str | None) -> mujoco.MjvCamera:
    """The camera called `name`, or the one that suits best where that is None."""
    import mujoco

    model, _ = environment.snapshot(0)
    known = [model.camera(k).name for k in range(model.ncam)]
    if name is not None and name not in known:
        cameras = ", ".join(filter(None, known)) or "none has a name"
        raise ConfigError(f"--camera {name}: no camera of the model{nearest(name, known)}; its cameras: {cameras}")
    within = mujoco.mjtCamLight.mjCAMLIGHT_FIXED.value  # in a body, as on a gripper, which shows little of the whole
    outside = [k for k in range(model.ncam) if model.cam_bodyid[k] == 0 or model.cam_mode[k] != within]
    name = "view" if name is None and "view" in known else name
    if name is None and not outside:
        return _framing(environment)
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FIXED.value
    camera.fixedcamid = outside[0] if name is None else known.index(name)
    return camera


def _framing(environment: Any) -> mujoco.MjvCamera:
    """A camera that has every simulation in view with room to move, from the model's own azimuth and elevation.

    MuJoCo's own free camera looks at `model.stat`, whose extent a floor makes as large as itself; here floors do not
    count.
    """
    import mujoco

    camera = mujoco.MjvCamera()
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for i in range(environment.num_envs):
        model, data = environment.snapshot(i)
        solid = model.geom_rbound > 0  # those of planes are zero
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
    """Draws by the environment's own `render`, which was made with `render_mode="rgb_array"`."""

    def __init__(self, environment: Any, size: tuple[int, int]) -> None:
        self._environment, self._size = environment, size

    def picture(self, i: int) -> np.ndarray:
        """Simulation `i` now, (height, width, 3) uint8, scaled to the size."""
        from PIL import Image

        frame = np.asarray(self._environment.render()[i], dtype=np.uint8)
        return np.asarray(Image.fromarray(frame).resize(self._size, Image.Resampling.BILINEAR))

    def close(self) -> None:
        """Nothing is held."""


def pictures(environment: Any, size: tuple[int, int], camera: str | None = None) -> Pictures:
    """What draws this environment.

    Raises:
        DrawingError: if nothing can: it is not MuJoCo's, and has no `render` of its own.
    """
    if hasattr(environment, "snapshot"):
        return MujocoPictures(environment, size, camera)
    if getattr(environment, "render_mode", None) == "rgb_array":
        if camera is not None:
            raise ConfigError(f"--camera {camera}: this environment draws itself, and its cameras are its own affair")
        return GymnasiumPictures(environment, size)
    raise DrawingError(
        "this environment cannot be drawn: it is no MuJoCo simulation (no `snapshot`), and it has no "
        'render_mode = "rgb_array"'
    )
