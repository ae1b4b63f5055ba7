"""The simulation in MuJoCo's own window: double-click a body, then drag with Ctrl and the mouse to push it."""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from typing import Any

import mujoco
import numpy as np

from gps.errors import DrawingError, one_line
from gps.playground.simulation import LiveSimulation

_PAUSE = 1.0  # seconds between two episodes
_PATIENCE = 5.0  # seconds for the window to close
_HINT = "use gps view --sim --web RUN"


def has_display() -> bool:
    """True if a window can be expected to open."""
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def show_window(simulation: LiveSimulation) -> None:
    """Play the simulation in real time until the window is closed. Space pauses, Backspace restarts the episode.

    Raises:
        DrawingError: if the window does not open.
    """
    keys: list[int] = []
    model, data = simulation.snapshot()
    before = set(threading.enumerate())
    _require_glfw()
    try:
        import mujoco.viewer

        handle = mujoco.viewer.launch_passive(model, data, key_callback=keys.append)
    except Exception as error:  # RuntimeError on macOS outside of mjpython
        hint = "use mjpython -m gps.cli view --sim RUN" if "mjpython" in str(error) else _HINT
        raise DrawingError(f"MuJoCo's window does not open: {one_line(error)}; {hint}") from None
    with handle:
        play_in_window(simulation, handle, model, data, keys)
    for thread in set(threading.enumerate()) - before:  # it still draws from `data`
        thread.join(_PATIENCE)


def _require_glfw() -> None:
    """DrawingError if no window can be opened: MuJoCo would wait for it for ever."""
    import glfw

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GLFW's own words about it
        works = sys.platform == "darwin" or glfw.init()  # there mjpython does it
    if not works:
        raise DrawingError(f"MuJoCo's window does not open on this display; {_HINT}")


def play_in_window(
    simulation: LiveSimulation, handle: Any, model: mujoco.MjModel, data: mujoco.MjData, keys: list[int]
) -> None:
    """Step the simulation and copy it into the viewer's data, in real time.

    Args:
        handle: of MuJoCo's passive viewer, which shows `data`.
        keys: the codes of the keys that were pressed; they are taken from the list.
    """
    paused, rest = False, 0.0
    due = time.perf_counter()
    while handle.is_running():
        while keys:
            key = keys.pop(0)
            paused ^= key == ord(" ")
            if key == 259:  # Backspace
                simulation.restart()
        if not paused:
            with handle.lock():
                simulation.set_forces(read_forces(model, data, handle.perturb))
            simulation.step()
            rest = 0.0 if simulation.state == "running" else rest + simulation.dt
            if rest >= _PAUSE:
                simulation.restart()
        with handle.lock():
            _copy_state(simulation, model, data)
        handle.sync()
        due = max(due + simulation.dt, time.perf_counter() - simulation.dt)
        time.sleep(max(0.0, due - time.perf_counter()))


def read_forces(model: mujoco.MjModel, data: mujoco.MjData, perturbation: mujoco.MjvPerturb) -> np.ndarray:
    """Return the forces by which a perturbation pulls its body towards the mouse, (nbody, 6)."""
    forces = data.xfrc_applied.copy()
    data.xfrc_applied[:] = 0.0
    if perturbation.active and perturbation.select > 0:
        mujoco.mjv_applyPerturbForce(model, data, perturbation)
    found = data.xfrc_applied.copy()
    data.xfrc_applied[:] = forces
    return found


def _copy_state(simulation: LiveSimulation, model: mujoco.MjModel, data: mujoco.MjData) -> None:
    """Copy the state of the simulation into the data that the viewer shows."""
    _, now = simulation.snapshot()
    kind = mujoco.mjtState.mjSTATE_FULLPHYSICS.value
    state = np.empty(mujoco.mj_stateSize(model, kind))
    mujoco.mj_getState(model, now, state, kind)
    mujoco.mj_setState(model, data, state, kind)
    data.ctrl[:] = now.ctrl
    mujoco.mj_forward(model, data)
