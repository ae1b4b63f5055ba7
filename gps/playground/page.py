"""The simulation as a page on 127.0.0.1: pictures drawn off screen, and a mouse that pulls at the bodies.

One thread owns the simulation and OpenGL: it steps in real time and draws the latest picture. Requests of the page
leave wishes, which it takes before the next step.
"""

from __future__ import annotations

import dataclasses
import json
import struct
import threading
import time
import zlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import mujoco
import numpy as np

from gps.environments.mujoco.offscreen import MujocoPictures
from gps.errors import DrawingError, GpsError
from gps.inspect.local_server import Answer, LocalServer, Refused
from gps.playground.simulation import LiveSimulation
from gps.playground.window import read_forces

SIZE = 640, 480
_FPS = 25
_PUSH_SECONDS = 0.2
_DIRECTIONS = {"left": (-1, 0, 0), "right": (1, 0, 0), "up": (0, 1, 0), "down": (0, -1, 0), "away": (0, 0, 1),
               "nearer": (0, 0, -1)}  # in the picture: right, up, into it  # fmt: skip


@dataclasses.dataclass
class Wish:
    """What the page asked for."""

    what: str
    values: Mapping[str, Any]


class PlaygroundServer(LocalServer):
    """Serves the page and the latest picture. Use it as a context manager; `run` steps the simulation meanwhile."""

    def __init__(self, simulation: LiveSimulation, port: int = 0) -> None:
        super().__init__(port)
        self._simulation = simulation
        self._wishes: list[Wish] = []
        self._lock = threading.Lock()
        self._picture, self._status = b"", "{}"
        self._paused = False
        self._body = max(simulation.bodies.values(), default=0)  # the last of a chain
        self._strength = 1.0
        self._push: tuple[np.ndarray, int] | None = None  # the force, and the steps that it still acts
        self._pull = mujoco.MjvPerturb()
        self._at = 0.0, 0.0

    # -- the page, in the threads of its requests --------------------------------------------------------------------

    def make_page(self) -> str:
        text = (files("gps.playground") / "page.html").read_text(encoding="utf-8")
        return text.replace("{{token}}", self.token)

    def read(self, path: str) -> Answer:
        with self._lock:
            if path.partition("?")[0] == "/picture":
                if not self._picture:
                    raise Refused(503, "no picture has been drawn yet")
                return "image/png", self._picture
            if path == "/status":
                return "application/json", self._status
        raise Refused(404, "there is no such page")

    def act(self, path: str, request: Mapping[str, Any]) -> Answer:
        what = path.removeprefix("/")
        if what not in _WISHES:
            raise Refused(404, "there is no such page")
        if why := _WISHES[what](request):
            raise Refused(400, why)
        with self._lock:
            self._wishes.append(Wish(what, request))
        return "application/json", "{}"

    # -- the simulation, in one thread -------------------------------------------------------------------------------

    def run(self, seconds: float | None = None) -> None:
        """Step and draw in real time, for ever or for some seconds.

        Raises:
            DrawingError: if OpenGL does not work.
        """
        pictures = MujocoPictures(self._simulation, SIZE, plain=True)
        try:
            began = due = time.perf_counter()
            drawn = -np.inf
            while seconds is None or time.perf_counter() - began < seconds:
                self._grant(pictures)
                if not self._paused:
                    self._simulation.set_forces(self._find_forces())
                    self._simulation.step()
                if time.perf_counter() - drawn >= 1 / _FPS:
                    drawn = time.perf_counter()
                    picture, status = encode_png(pictures.picture(0)), json.dumps(self._describe())
                    with self._lock:
                        self._picture, self._status = picture, status
                due = max(due + self._simulation.dt, time.perf_counter() - self._simulation.dt)
                time.sleep(max(0.0, due - time.perf_counter()))
        finally:
            pictures.close()

    def _describe(self) -> dict[str, Any]:
        now = self._simulation
        names = {k: name for name, k in now.bodies.items()}
        return {
            "t": now.t, "seconds": now.t * now.dt, "horizon": now.horizon, "cost": now.cost, "state": now.state,
            "condition": now.condition, "conditions": now.conditions, "paused": self._paused,
            "body": names.get(self._body, ""), "bodies": list(now.bodies), "strength": self._strength,
            "force": self._strength * now.weight,
        }  # fmt: skip

    def _grant(self, pictures: MujocoPictures) -> None:
        """Do what the page has asked for since the last step."""
        with self._lock:
            wishes, self._wishes = self._wishes, []
        for wish in wishes:
            values = wish.values
            match wish.what:
                case "restart":
                    self._pull.active, self._push = 0, None
                    try:
                        self._simulation.restart(values.get("condition"))
                    except GpsError:  # no such condition: the page shows the one that goes on
                        self._simulation.restart()
                case "pause":
                    self._paused = not self._paused
                case "choose":
                    self._body = self._simulation.bodies.get(values["body"], self._body)
                    self._strength = float(np.clip(values["strength"], 0.0, 100.0))
                case "push":
                    axes = find_axes(pictures.scene)
                    force = self._strength * self._simulation.weight * (np.array(_DIRECTIONS[values["to"]]) @ axes)
                    self._push = force, max(1, round(_PUSH_SECONDS / self._simulation.dt))
                case "grab":
                    self._grab(pictures, values["x"], values["y"])
                case "pull":
                    self._move(pictures, values["x"], values["y"])
                case "release":
                    self._pull.active = 0

    def _grab(self, pictures: MujocoPictures, x: float, y: float) -> None:
        """Take hold of the body at a place in the picture, from (0, 0) at the top left to (1, 1)."""
        model, data = self._simulation.snapshot()
        point, geom, flex, skin = (
            np.zeros(3),
            np.full(1, -1, np.int32),
            np.full(1, -1, np.int32),
            np.full(1, -1, np.int32),
        )
        body = mujoco.mjv_select(
            model, data, pictures.option, SIZE[0] / SIZE[1], x, 1.0 - y, pictures.scene, point, geom, flex, skin
        )
        if body <= 0 or model.body_weldid[body] == 0:
            return
        self._body, self._pull.select, self._at = body, body, (x, y)
        self._pull.localpos[:] = data.xmat[body].reshape(3, 3).T @ (point - data.xpos[body])
        mujoco.mjv_initPerturb(model, data, pictures.scene, self._pull)
        self._pull.active = mujoco.mjtPertBit.mjPERT_TRANSLATE.value

    def _move(self, pictures: MujocoPictures, x: float, y: float) -> None:
        """Move the point that pulls at the body."""
        if not self._pull.active:
            return
        model, data = self._simulation.snapshot()
        right, down = (x - self._at[0]) * SIZE[0] / SIZE[1], y - self._at[1]
        self._at = x, y
        up = mujoco.mjtMouse.mjMOUSE_MOVE_V.value
        mujoco.mjv_movePerturb(model, data, up, right, down, pictures.scene, self._pull)

    def _find_forces(self) -> np.ndarray:
        """The forces of this step: of the mouse, and of a push that is not over."""
        model, data = self._simulation.snapshot()
        forces = read_forces(model, data, self._pull)
        if self._push is not None:
            force, steps = self._push
            forces[self._body, :3] += force
            self._push = (force, steps - 1) if steps > 1 else None
        return forces


def find_axes(scene: mujoco.MjvScene) -> np.ndarray:
    """Return the directions right, up and into the picture in world coordinates, (3, 3), a row each."""
    camera = scene.camera[0]
    forward, up = np.array(camera.forward, dtype=float), np.array(camera.up, dtype=float)
    return np.stack([np.cross(forward, up), up, forward])


def encode_png(picture: np.ndarray) -> bytes:
    """Return a picture, (height, width, 3) uint8, as a PNG file (RFC 2083), packed fast."""
    height, width, _ = picture.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), picture.reshape(height, -1)], axis=1)  # filter 0: none

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows.tobytes(), 1)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _need_place(request: Mapping[str, Any]) -> str:
    good = all(isinstance(request.get(key), int | float) and abs(request[key]) <= 10 for key in ("x", "y"))
    return "" if good else "expected numbers x and y"


def _need_direction(request: Mapping[str, Any]) -> str:
    return "" if request.get("to") in _DIRECTIONS else f"expected to = one of {', '.join(_DIRECTIONS)}"


def _need_choice(request: Mapping[str, Any]) -> str:
    good = isinstance(request.get("body"), str) and isinstance(request.get("strength"), int | float)
    return "" if good else "expected the name of a body, and a number strength"


def _need_condition(request: Mapping[str, Any]) -> str:
    given = request.get("condition")
    return "" if given is None or (isinstance(given, int) and abs(given) < 1 << 31) else "expected a whole number"


def _need_nothing(request: Mapping[str, Any]) -> str:
    return ""


_WISHES = {
    "restart": _need_condition, "pause": _need_nothing, "choose": _need_choice, "push": _need_direction,
    "grab": _need_place, "pull": _need_place, "release": _need_nothing,
}  # fmt: skip
"""What the page can ask for -> what is wrong with such a request, or ""."""


def require_pictures() -> None:
    """Raise DrawingError if nothing can be drawn without a screen."""
    from gps.environments.mujoco.offscreen import backend

    try:
        backend()
    except DrawingError as error:
        raise DrawingError(f"gps view --sim: {error}") from None
