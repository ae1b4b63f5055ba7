"""A sweep from beginning to end: plan the runs, work on what is not finished, retry what a dead worker left."""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gps.config import FILE_NAME, load, replace_settings
from gps.errors import GpsError, SweepError
from gps.extensions import task_file
from gps.storage.folders import remove_leftovers
from gps.sweeps import settings as given
from gps.sweeps.folder import Entry, Sweep, SweepRun, write_manifest
from gps.sweeps.pools import Pool, pool
from gps.sweeps.worker import Task, fingerprint, work

_POLL = 0.25  # seconds between two looks at the disk
_PATIENCE = 5.0  # seconds without a worker before that is said


class Watch:
    """What may watch a sweep. Override what is of interest; all but `on_start` is called from a thread of its own."""

    def on_start(self, sweep: Sweep, todo: Sequence[Entry], jobs: int) -> None:
        """Before the first run; those that are not in `todo` had been finished before."""

    def on_begin(self, entry: Entry) -> None:
        """A worker has begun a run, or begun it again."""

    def on_run(self, run: SweepRun) -> None:
        """A run has ended."""

    def on_waiting(self) -> None:
        """The cluster has no worker left; the sweep goes on when there is one again."""


def sweep(
    experiment: str | Path,
    *,
    seeds: str | int | Iterable[int] | None = None,
    settings: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    iterations: int | None = None,
    out: str | Path | None = None,
    name: str | None = None,
    jobs: int | None = None,
    backend: str = "local",
    address: str | None = None,
    retries: int = 2,
    watch: Watch | None = None,
) -> Sweep:
    """Run an experiment with many seeds and settings; what an earlier call left is skipped or resumed.

    Every run is what `gps.run` would have made of the seed and the setting, bit for bit. A run that fails does not stop
    the others: `Sweep.runs` tells how each one ended.

    Args:
        experiment: a directory with an `experiment.toml`.
        seeds: `"0-9"`, `"0,3,5"`, or numbers; None for the experiment's own.
        settings: key of the experiment -> a value, or a list of values to be varied.
        overrides: the same as text, `"section.key=1,2"`, as `--set` of the command line. All combinations are run.
        iterations: in place of the experiment's own.
        out: the folder of all runs; None for `runs` in the working directory.
        name: of the sweep's folder in `out/NAME`; None for `sweep-` and a digest of what all its runs have in common.
        jobs: runs at a time; None for one on each CPU, or each worker of the cluster.
        backend: `local` (processes), `dask` or `ray`.
        address: of an existing cluster; None starts one on this machine.
        retries: how often a run is taken up again after its worker has died.
        watch: is told what happens.

    Raises:
        GpsError: before anything is run, if the experiment, a setting, the folder or the cluster is not as it should.
    """
    watch = watch or Watch()
    source = Path(experiment)
    values = given.values_of(overrides, settings or {})
    if iterations is not None and "algorithm.iterations" in values:
        raise SweepError("--iterations and --set algorithm.iterations contradict each other; give one")
    plan = _plan(source, values, seeds, iterations)
    source = (source if source.is_dir() else source.parent).resolve()
    digest = _digest(source, values, iterations)
    folder = Path("runs" if out is None else out) / source.name / _checked(name or f"sweep-{digest}")
    write_manifest(folder, digest, [entry for entry, _ in plan], {"experiment": str(source)})
    made = Sweep(folder, only=[entry.name for entry, _ in plan])
    with pool(backend, jobs, address) as workers, made.turn() as turn:
        tasks = [
            Task(str(source), str(folder.resolve()), entry, overrides, turn, iterations, retries, workers.threads)
            for entry, overrides in plan
            if not made.is_finished(entry)
        ]
        for setting in {task.entry.folder for task in tasks}:
            remove_leftovers(folder / setting)
        watch.on_start(made, [task.entry for task in tasks], min(workers.jobs, len(tasks)))
        with _watched(made, tasks, workers, watch):
            _work_off(workers, made, tasks)
    return made


# -- the plan --------------------------------------------------------------------------------------------------------


def _plan(
    source: Path, values: Mapping[str, Sequence[Any]], seeds: str | int | Iterable[int] | None, iterations: int | None
) -> list[tuple[Entry, tuple[str, ...]]]:
    """The runs and their overrides, each configuration checked."""
    settings = given.grid(values)
    numbers = [load(source).seed] if seeds is None else given.seeds(seeds)
    if not 0 < len(settings) * len(numbers) <= given.MAX_RUNS:
        raise SweepError(f"{len(settings)} settings of {len(numbers)} seeds: expected 1 to {given.MAX_RUNS} runs")
    varied = [key for key, some in values.items() if len(some) > 1]
    directory = source if source.is_dir() else source.parent
    plan = []
    for setting in settings:
        overrides = tuple(given.overrides_of(setting))
        config = replace_settings(load(source, overrides), seed=max(numbers), iterations=iterations)
        mark, shown = fingerprint(config, directory), {key: setting[key] for key in varied}
        plan += [(Entry(seed, shown, config.algorithm.iterations, mark), overrides) for seed in numbers]
    return plan


def _digest(source: Path, values: Mapping[str, Sequence[Any]], iterations: int | None) -> str:
    """Of what the runs of a sweep have in common: a sweep can be given more seeds and values, and stays the same."""
    with (source / FILE_NAME).open("rb") as file:
        experiment = tomllib.load(file)
    experiment.pop("seed", None)
    fixed = [
        override for key, some in values.items() if len(some) == 1 for override in given.overrides_of({key: some[0]})
    ]
    files = [source / task_file.NAME, source / str(experiment.get("environment", {}).get("mjcf", ""))]
    sums = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()]
    varied = [key for key, some in values.items() if len(some) > 1]
    text = json.dumps([experiment, fixed, varied, iterations, sums], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _checked(name: str) -> str:
    if name in (".", "..") or not re.fullmatch(r"[\w.=,+-]{1,100}", name) or name.startswith((".", "-")):
        raise SweepError(f"--name {name}: expected letters, digits and _.=,+- alone, the first a letter or a digit")
    return name


# -- the work --------------------------------------------------------------------------------------------------------


def _work_off(workers: Pool, made: Sweep, tasks: Sequence[Task]) -> None:
    """Have all tasks done, however often the pool breaks.

    Where one worker's death takes the whole pool with it, all that were at work count as dead. So the last attempt
    of a run is made alone: whoever is given up is to blame for it.
    """
    while left := [task for task in tasks if made.ending(task.entry, task.turn) is None]:
        together = [task for task in left if made.deaths(task.entry, task.turn) < max(task.retries, 1)]
        before = sum(len(made.journal(task.entry, task.turn)) for task in tasks)
        try:
            workers.call(work, together or left, workers.jobs if together else 1)
        except GpsError:
            raise
        except Exception as error:
            if before == sum(len(made.journal(task.entry, task.turn)) for task in tasks):
                text = (str(error) or "no message").splitlines()[0]
                raise SweepError(
                    f"the workers could not begin a run: {type(error).__name__}: {text}; "
                    "they need the same Python packages as this process, gps included"
                ) from error


@contextmanager
def _watched(made: Sweep, tasks: Sequence[Task], workers: Pool, watch: Watch) -> Iterator[None]:
    """Tell `watch` what the journals say, until the block ends."""
    over, open_, begun = threading.Event(), list(tasks), dict.fromkeys((task.entry.name for task in tasks), 0)

    def look() -> None:
        for task in list(open_):
            if (count := made.begun(task.entry, task.turn)) > begun[task.entry.name]:
                begun[task.entry.name] = count
                watch.on_begin(task.entry)
            if made.ending(task.entry, task.turn) is not None:
                open_.remove(task)
                watch.on_run(made.standing(task.entry))

    def keep_looking() -> None:
        last = time.monotonic()  # at which there was a worker
        while not over.wait(_POLL):
            look()
            now = time.monotonic()
            if workers.has_workers():
                last = now
            elif now - last > _PATIENCE:
                watch.on_waiting()
                last = math.inf  # say it once

    thread = threading.Thread(target=keep_looking, name="gps sweep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        look()
