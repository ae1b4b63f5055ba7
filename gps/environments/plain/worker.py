"""The program of a process of `gps.environments.plain.processes`: it makes simulations and steps them on order."""

from __future__ import annotations

import mmap
import os
import signal
import socket
import sys
import threading
import time
import tomllib
import warnings
from typing import Any

import numpy as np

from gps.environments.plain.messages import COUNT, Channel
from gps.environments.plain.recipe import Recipe
from gps.environments.plain.simulation import Floats, Outcome, Simulation, describe_fault
from gps.environments.plain.warned import collect_warnings
from gps.errors import GpsError

_GRACE = 2.0
"""Seconds to close the simulations after the parent has ended."""


def main(end: int, lifeline: int, count: int) -> None:
    """Serve the parent until it sends "close" or ends.

    Args:
        end: file descriptor of a connected socket.
        lifeline: file descriptor of a pipe that closes when the parent ends.
        count: file descriptor of a file that counts the makings, resets and steps that were begun.
    """
    for handed in (end, lifeline, count):  # or else what an environment starts would keep them open after our end
        os.set_inheritable(handed, False)
    os.register_at_fork(after_in_child=lambda: os.closerange(end, end + 1))
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    channel, begun = _Channel(socket.socket(fileno=end)), mmap.mmap(count, COUNT.size)
    simulations: dict[int, Simulation] = {}
    orphaned = False
    try:
        task, _ = channel.receive()
        if not task["warns"] and not sys.warnoptions:
            warnings.simplefilter("ignore")  # the first process says the same
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
        orphaned = True
    finally:
        for simulation in simulations.values():
            simulation.close()
        if orphaned:
            _end_all()


class _Channel(Channel):
    """A channel that sends the warnings of this process along with each message."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__(end)
        self._heard = collect_warnings()

    def send(self, table: dict[str, Any], numbers: Floats | None = None) -> None:
        super().send({**table, "warnings": list(self._heard)}, numbers)
        self._heard.clear()


def _serve(channel: Channel, simulations: dict[int, Simulation], begun: mmap.mmap) -> None:
    """Carry out the parent's orders until it sends "close"."""
    order, numbers = channel.receive()
    while order["do"] != "close":
        answers, shown = [], []
        rows = numbers.reshape(len(order["simulations"]), -1)
        for i, table, row in zip(order["simulations"], order["tables"], rows, strict=True):
            _count(begun)
            answer: dict[str, Any]
            try:
                if order["do"] == "reset":
                    answer, seen = {}, simulations[i].reset(tomllib.loads(table))
                else:
                    answer, seen = _make_answer(simulations[i].step(row))
            except Exception as error:
                channel.send({"error": describe_fault(order["do"], error)})
                return
            answers.append(answer)
            shown.append(seen)
        channel.send({"answers": answers}, np.array(shown))
        order, numbers = channel.receive()


def _count(begun: mmap.mmap) -> None:
    """Count one more beginning."""
    COUNT.pack_into(begun, 0, COUNT.unpack_from(begun)[0] + 1)


def _make_answer(outcome: Outcome) -> tuple[dict[str, Any], Floats]:
    """Split an outcome into the table and the numbers of a message."""
    table = outcome._asdict()
    del table["seen"]
    for name in ("applied", "logged"):
        table[name] = None if table[name] is None else table[name].tolist()
    return table, outcome.seen


def _end_with(lifeline: int) -> None:
    """End this process after the parent, even in a step that never ends."""
    os.read(lifeline, 1)
    time.sleep(_GRACE)
    _end_all()


def _end_all() -> None:
    """End this process, which leads its own group, and the processes that its environments have started."""
    os.killpg(0, signal.SIGKILL)
