"""What runs in a process of `gps.environments.plain.processes`: makes simulations and steps them as it is told."""

from __future__ import annotations

import mmap
import os
import socket
import threading
import time
import tomllib
from typing import Any

import numpy as np

from gps.environments.plain.messages import COUNT, Channel
from gps.environments.plain.recipe import Recipe
from gps.environments.plain.simulation import Floats, Outcome, Simulation, fault
from gps.errors import GpsError

_GRACE = 2.0
"""Seconds to close the simulations after the parent has ended."""


def main(end: int, lifeline: int, count: int) -> None:
    """Serve the parent until it says so, or ends.

    Args:
        end: file descriptor of a connected socket.
        lifeline: one whose end means the end of the parent.
        count: one of a file that holds how much was begun: makings, resets and steps.
    """
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    channel, begun = Channel(socket.socket(fileno=end)), mmap.mmap(count, COUNT.size)
    simulations: dict[int, Simulation] = {}
    try:
        task, _ = channel.receive()
        recipe = Recipe.from_text(task["recipe"])
        try:
            for i in task["simulations"]:
                _count(begun)
                simulations[i] = Simulation(recipe, task["state"], task["observation"])
        except GpsError as error:
            channel.send({"error": str(error)})
            return
        channel.send(simulations[i].description.to_json())
        _serve(channel, simulations, begun)
    except (EOFError, BrokenPipeError):
        pass  # the parent has ended
    finally:
        for simulation in simulations.values():
            simulation.close()


def _serve(channel: Channel, simulations: dict[int, Simulation], begun: mmap.mmap) -> None:
    order, numbers = channel.receive()
    while order["do"] != "close":
        answers, shown = [], []
        rows = numbers.reshape(len(order["simulations"]), -1)
        for i, table, row in zip(order["simulations"], order["tables"], rows, strict=True):
            _count(begun)
            try:
                if order["do"] == "reset":
                    answer, seen = {}, simulations[i].reset(tomllib.loads(table))
                else:
                    answer, seen = _plain(simulations[i].step(row))
            except Exception as error:
                channel.send({"error": fault(order["do"], error)})
                return
            answers.append(answer)
            shown.append(seen)
        channel.send({"answers": answers}, np.array(shown))
        order, numbers = channel.receive()


def _count(begun: mmap.mmap) -> None:
    COUNT.pack_into(begun, 0, COUNT.unpack_from(begun)[0] + 1)


def _plain(outcome: Outcome) -> tuple[dict[str, Any], Floats]:
    """An outcome as a message has it."""
    table = outcome._asdict()
    del table["seen"]
    return {**table, "action": None if outcome.action is None else outcome.action.tolist()}, outcome.seen


def _end_with(lifeline: int) -> None:
    """End this process when the parent has, even in the middle of a step that never ends."""
    os.read(lifeline, 1)
    time.sleep(_GRACE)
    os._exit(1)
