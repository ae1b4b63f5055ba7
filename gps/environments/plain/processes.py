"""Simulations of a plain Gymnasium environment in processes of their own, which may be killed when they hang.

A process is a fresh interpreter, not a copy of this one: no thread, lock or GPU of the parent is in it, and the
parent's main module is not run again. It counts in shared memory what it begins, so whoever waits knows which
simulation hangs. It ends when the parent does, however that happens.
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
from gps.errors import ConfigError, EnvironmentFault, SimulationFault

_START = "import sys; sys.path[:] = {path!r}; from gps.environments.plain.worker import main; main(*{handed!r})"
_SLOW = 60.0
"""Seconds that making or resetting a simulation may take, unless a step may take longer."""
_GRACE = 5.0
"""Seconds for a process to close its simulations before it is killed,"""
_GRACE_IN_TROUBLE = 1.0
"""and where it is in the middle of something that nobody waits for any more."""
# One thread for each process: several share the CPUs, and the bits are those of the parent, which uses one as well.
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
        state, observation: as of `Simulation`.
        timeout: seconds that a step may take.

    Raises:
        ConfigError: as of `Simulation`.
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
                worker.channel.send({**task, "simulations": list(range(k, count, workers))})
            self.description, *_ = [self._made(worker) for worker in self._all]
        except BaseException:
            self.close()
            raise

    def reset(self, conditions: Mapping[int, Condition]) -> Iterator[tuple[int, Floats]]:
        """Start episodes; gives the index of each and what it shows first.

        Raises:
            SimulationFault: if one raises, hangs or dies.
        """
        for i, (_, seen) in self._ask("reset", {i: tomli_w.dumps(those) for i, those in conditions.items()}, None):
            yield i, seen

    def step(self, actions: Mapping[int, Floats]) -> Iterator[tuple[int, Outcome]]:
        """Step some; gives the index and the outcome of each.

        Raises:
            SimulationFault: if one raises, hangs or dies.
        """
        for i, (table, seen) in self._ask("step", dict.fromkeys(actions), actions):
            applied = table.pop("action")
            yield i, Outcome(seen, **table, action=None if applied is None else np.array(applied))

    def close(self, grace: float = _GRACE) -> None:
        """End the processes. Those that do not in `grace` seconds are killed, as all are when this is interrupted."""
        try:
            for worker in self._all:
                worker.ask_to_end()
            deadline = time.monotonic() + grace
            for worker in self._all:
                worker.wait(deadline - time.monotonic())
        finally:
            while self._all:
                self._all.pop().end()

    def _made(self, worker: _Worker) -> Description:
        """What a process says of the simulations that it was to make."""
        try:
            table, _ = worker.answer(self._slow)
        except TimeoutError:
            worker.kill()
            raise ConfigError(f"environment.id: making the environment took longer than {self._slow:g} s") from None
        except EOFError:
            raise ConfigError(f"environment.id: the environment cannot be made: {worker.obituary()}") from None
        if "error" in table:
            raise ConfigError(table["error"])
        return Description(**table)

    def _ask(self, what: str, tables: Mapping[int, object], numbers: Mapping[int, Floats] | None) -> Iterator:
        """Let the processes reset or step simulations; gives each index with the answer."""
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
                    yield from self._answers(worker, list(share), what)
            answered = True
        finally:
            if not answered:  # what they have yet to say would be taken for the answer to another question
                self.close(_GRACE_IN_TROUBLE)

    def _answers(self, worker: _Worker, share: list[int], what: str) -> Iterator[tuple[int, tuple[dict, Floats]]]:
        """What a process says of the simulations that it was told to reset or step."""
        limit = self._timeout if what == "step" else self._slow
        try:
            table, numbers = worker.answer(limit)
        except TimeoutError:
            worker.kill()
            knob = "environment.step_timeout" if limit == self._timeout else "more is not allowed"
            said = f"the environment's {what} took longer than {limit:g} s ({knob})"
            raise SimulationFault(share[worker.at], said) from None
        except EOFError:
            said = f"in the environment's {what}: {worker.obituary()}"
            raise SimulationFault(share[worker.at], said) from None
        if "error" in table:
            raise SimulationFault(share[worker.at], table["error"])
        yield from zip(share, zip(table["answers"], numbers.reshape(len(share), -1), strict=True), strict=True)


class _Worker:
    """A process, the channel to it, a count of what it has begun, and a pipe whose end means the end of its parent."""

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
                    stdout=2,  # what an environment prints is no output of ours
                    pass_fds=handed,
                    env={**os.environ, **_ENVIRONMENT},
                    start_new_session=True,  # Ctrl-C is ours to handle; and what it starts can be killed with it
                )
        except BaseException:
            self.channel.close()
            os.close(self._lifeline)
            raise
        finally:
            theirs.close()
            os.close(watched)
        self._before = 0  # how many resets and steps it had begun before the last order

    def order(self, table: dict[str, Any], numbers: Floats | None) -> None:
        """Tell it to reset or step some simulations."""
        self._before = self._count()
        with contextlib.suppress(OSError):  # that it is dead will be noticed when it does not answer
            self.channel.send(table, numbers)

    def answer(self, seconds: float) -> tuple[dict[str, Any], Floats]:
        """What it says to the last order.

        Raises:
            TimeoutError: if one simulation takes longer than `seconds`; up to twice as long may have passed.
            EOFError: if it has ended.
        """
        while True:
            begun = self._count()
            if self.channel.ready(seconds):
                return self.channel.receive()
            if self._count() == begun:
                raise TimeoutError

    @property
    def at(self) -> int:
        """Which of the simulations of the last order it is at."""
        return max(self._count() - self._before - 1, 0)

    def _count(self) -> int:
        return COUNT.unpack_from(self._begun)[0]

    def ask_to_end(self) -> None:
        with contextlib.suppress(OSError):
            self.channel.send({"do": "close"})

    def wait(self, seconds: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(seconds, 0.0))

    def kill(self) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Make sure that it has ended, and let go of everything."""
        self.kill()
        self.process.wait()
        self.channel.close()
        self._begun.close()
        os.close(self._lifeline)

    def obituary(self) -> str:
        """How a process that says nothing any more has ended."""
        self.wait(_GRACE)
        code = self.process.poll()
        if code is None:
            return "its process does not answer any more"
        if code < 0:
            return f"its process was killed by {signal.Signals(-code).name}"
        return f"its process ended with exit code {code}"
