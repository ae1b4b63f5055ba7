"""Run simulations of a plain Gymnasium environment in separate processes, which can be killed when they hang.

A process is a fresh interpreter, not a copy of this one: it has no thread, lock or GPU of the parent, and does not
run the parent's main module again. It counts in shared memory the resets and steps that it begins, so the parent knows
which simulation hangs. It ends with the parent, however that ends.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tomli_w

from gps.environments.plain.messages import COUNT, Channel
from gps.environments.plain.simulation import Condition, Description, Floats, Outcome
from gps.environments.plain.warned import Warned, show_once
from gps.errors import ConfigError, EnvironmentFault, SimulationFault

_START = "import sys; sys.path[:] = {path!r}; from gps.environments.plain.worker import main; main(*{handed!r})"
_SLOW = 60.0
"""The time limit for making or resetting a simulation, in seconds, unless that of a step is longer."""
_GRACE = 5.0
"""Seconds for a process to close its simulations before it is killed."""
_GRACE_IN_TROUBLE = 1.0
"""The same after a fault, when it may be in a step whose result is not needed any more."""
# One thread for each process: several share the CPUs, and the parent uses one as well, so the bits are the same.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JAX_ENABLE_X64": "1",
}


class Processes:
    """`count` simulations, spread over `workers` processes; the same interface as `InProcess`.

    Args:
        recipe: `Recipe.to_text`.
        state, observation: see `Simulation`.
        timeout: time limit of a step in seconds.

    Raises:
        ConfigError: see `Simulation`.
    """

    def __init__(
        self,
        recipe: str,
        state: Sequence[str] | None,
        observation: Sequence[str] | None,
        count: int,
        workers: int,
        timeout: float,
    ) -> None:
        self._timeout, self._slow = timeout, max(timeout, _SLOW)
        self._all: list[_Worker] = []
        try:
            for _ in range(workers):
                self._all.append(_Worker())
            task = {"recipe": recipe, "state": state and list(state), "observation": observation and list(observation)}
            for k, worker in enumerate(self._all):
                share = list(range(k, count, workers))
                worker.channel.send({**task, "simulations": share, "warns": k == 0})
            self.description, *_ = [self._receive_description(worker) for worker in self._all]
        except BaseException:
            self.close()
            raise

    def reset(self, conditions: Mapping[int, Condition]) -> Iterator[tuple[int, Floats]]:
        """Start episodes; yield the index of each simulation and its first numbers.

        Raises:
            SimulationFault: if one raises, hangs or dies.
        """
        for i, (_, seen) in self._ask("reset", {i: tomli_w.dumps(those) for i, those in conditions.items()}, None):
            yield i, seen

    def step(self, actions: Mapping[int, Floats]) -> Iterator[tuple[int, Outcome]]:
        """Step some simulations; yield the index and the outcome of each.

        Raises:
            SimulationFault: if one raises, hangs or dies.
        """
        for i, (table, seen) in self._ask("step", dict.fromkeys(actions), actions):
            for name in ("applied", "logged"):
                table[name] = None if table[name] is None else np.array(table[name])
            yield i, Outcome(seen, **table)

    def close(self, grace: float = _GRACE) -> None:
        """End the processes. After `grace` seconds, or on an interruption, kill the rest."""
        try:
            for worker in self._all:
                worker.ask_to_end()
            deadline = time.monotonic() + grace
            for worker in self._all:
                worker.wait(deadline - time.monotonic())
        finally:
            while self._all:
                self._all.pop().end()

    def _receive_description(self, worker: _Worker) -> Description:
        """Wait until a process has made its simulations, and return their description."""
        try:
            table, _ = worker.receive(self._slow)
        except TimeoutError:
            worker.kill()
            raise ConfigError(f"environment.id: making the environment took longer than {self._slow:g} s") from None
        except EOFError:
            raise ConfigError(f"environment.id: the environment cannot be made: {worker.describe_end()}") from None
        if "error" in table:
            raise ConfigError(table["error"])
        return Description(**table)

    def _ask(self, what: str, tables: Mapping[int, object], numbers: Mapping[int, Floats] | None) -> Iterator:
        """Let the processes reset or step simulations; yield each index with the answer."""
        if not self._all:
            raise EnvironmentFault("the environment has been closed, or ended by a fault")
        shares = [{i: tables[i] for i in tables if i % len(self._all) == k} for k in range(len(self._all))]
        answered = False
        try:
            for worker, share in zip(self._all, shares, strict=True):
                if share:
                    order = {"do": what, "simulations": list(share), "tables": list(share.values())}
                    worker.order(order, None if numbers is None else np.array([numbers[i] for i in share]))
            for worker, share in zip(self._all, shares, strict=True):
                if share:
                    yield from self._receive_answers(worker, list(share), what)
            answered = True
        finally:
            if not answered:  # or else their late answers would count for the next order
                self.close(_GRACE_IN_TROUBLE)

    def _receive_answers(
        self, worker: _Worker, share: list[int], what: str
    ) -> Iterator[tuple[int, tuple[dict, Floats]]]:
        """Wait for a process to reset or step its share of the simulations; yield each index with the answer."""
        limit = self._timeout if what == "step" else self._slow
        try:
            table, numbers = worker.receive(limit)
        except TimeoutError:
            worker.kill()
            knob = "environment.step_timeout" if limit == self._timeout else "more is not allowed"
            said = f"the environment's {what} took longer than {limit:g} s ({knob})"
            raise SimulationFault(share[worker.current], said) from None
        except EOFError:
            said = f"in the environment's {what}: {worker.describe_end()}"
            raise SimulationFault(share[worker.current], said) from None
        if "error" in table:
            raise SimulationFault(share[worker.current], table["error"])
        yield from zip(share, zip(table["answers"], numbers.reshape(len(share), -1), strict=True), strict=True)


class _Worker:
    """A process, the channel to it, its count of resets and steps, and a pipe whose end tells it to end."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        watched, self._lifeline = os.pipe()
        self.channel = Channel(ours)
        try:
            with tempfile.TemporaryFile() as file:
                file.truncate(COUNT.size)
                self._begun = mmap.mmap(file.fileno(), COUNT.size)
                handed = theirs.fileno(), watched, file.fileno()
                self.process = subprocess.Popen(
                    [sys.executable, "-c", _START.format(path=[str(entry) for entry in sys.path], handed=handed)],
                    stdin=subprocess.DEVNULL,
                    stdout=2,  # the prints of an environment do not belong to our output
                    pass_fds=handed,
                    env={**os.environ, **_ENVIRONMENT},
                    start_new_session=True,  # the parent handles Ctrl-C, and can kill the process with its children
                )
        except BaseException:
            self.channel.close()
            os.close(self._lifeline)
            raise
        finally:
            theirs.close()
            os.close(watched)
        self._before = 0  # the resets and steps that it had begun before the last order

    def order(self, table: dict[str, Any], numbers: Floats | None) -> None:
        """Order it to reset or step some simulations."""
        self._before = self._read_count()
        with contextlib.suppress(OSError):  # if it is dead, `receive` reports it
            self.channel.send(table, numbers)

    def receive(self, seconds: float) -> tuple[dict[str, Any], Floats]:
        """Wait for the answer to the last order.

        Raises:
            TimeoutError: if one simulation takes longer than `seconds`; up to twice as long may have passed.
            EOFError: if it has ended.
        """
        while True:
            begun = self._read_count()
            if self.channel.ready(seconds):
                table, numbers = self.channel.receive()
                for warned in table.pop("warnings", ()):
                    show_once(Warned(*warned))
                return table, numbers
            if self._read_count() == begun:
                raise TimeoutError

    @property
    def current(self) -> int:
        """The position, in the last order, of the simulation that it is resetting or stepping."""
        return max(self._read_count() - self._before - 1, 0)

    def _read_count(self) -> int:
        return COUNT.unpack_from(self._begun)[0]

    def ask_to_end(self) -> None:
        """Order it to close its simulations and end."""
        with contextlib.suppress(OSError):
            self.channel.send({"do": "close"})

    def wait(self, seconds: float) -> None:
        """Wait until it has ended, but no longer than `seconds`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(seconds, 0.0))

    def kill(self) -> None:
        """Kill the process and all processes that it started, including those that outlived it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the group is empty
            os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Make sure that it has ended, and release everything."""
        self.kill()
        self.process.wait()
        self.channel.close()
        self._begun.close()
        os.close(self._lifeline)

    def describe_end(self) -> str:
        """Describe how a process that does not answer has ended."""
        self.wait(_GRACE)
        code = self.process.poll()
        if code is None:
            return "its process does not answer any more"
        if code < 0:
            return f"its process was killed by {signal.Signals(-code).name}"
        return f"its process ended with exit code {code}"
