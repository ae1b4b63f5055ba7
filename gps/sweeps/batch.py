"""A whole sweep: plan the runs, do those that are not finished, retry those whose worker died."""

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

from gps.config import FILE_NAME, find_experiment, load, replace_settings
from gps.errors import GpsError, SweepError
from gps.runs.source import digest_files
from gps.storage.folders import remove_leftovers
from gps.sweeps import settings as given
from gps.sweeps.folder import PlannedRun, Sweep, SweepRun, write_manifest
from gps.sweeps.pools import Pool, open_pool
from gps.sweeps.worker import WorkItem, compute_fingerprint, work

_POLL = 0.25  # seconds between two checks of the disk
_PATIENCE = 5.0  # seconds without a worker before it is reported


class Watch:
    """Callbacks of a sweep, which do nothing unless overridden. All but `on_start` are called from another thread."""

    def on_start(self, sweep: Sweep, todo: Sequence[PlannedRun], jobs: int) -> None:
        """Called before the first run; runs that are not in `todo` were finished earlier."""

    def on_begin(self, entry: PlannedRun) -> None:
        """Called when a worker has begun a run, or begun it again."""

    def on_run(self, run: SweepRun) -> None:
        """Called when a run has ended."""

    def on_waiting(self) -> None:
        """Called when the cluster has no worker left; the sweep continues when one returns."""


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
    """Run an experiment with many seeds and settings; skip or resume the runs of an earlier call.

    Every run equals that of `gps.run` with the same seed and setting, bit for bit. A run that fails does not stop the
    others: `Sweep.runs` has the outcome of each.

    Args:
        experiment: a directory with an `experiment.toml`, or the name of an experiment that comes with the package.
        seeds: `"0-9"`, `"0,3,5"`, or numbers; None for the experiment's own.
        settings: key of the experiment -> a value, or a list of values to vary.
        overrides: the same as text, `"section.key=1,2"`, like the option `--set`. All combinations are run.
        iterations: number of iterations; None for the experiment's own.
        out: the folder of all runs; None for `runs` in the working directory.
        name: name of the sweep's folder in `out/NAME`; None for `sweep-` and a digest of what all its runs have in
            common.
        jobs: number of runs at a time; None for one per CPU, or one per worker of the cluster.
        backend: `local` (processes), `dask` or `ray`.
        address: the address of an existing cluster; None starts one on this machine.
        retries: how many times a run is retried after its worker has died.
        watch: callbacks for the progress of the sweep.

    Raises:
        GpsError: before the first run, if the experiment, a setting, the folder or the cluster is invalid.
    """
    source = find_experiment(experiment)
    values = given.collect_values(overrides, settings or {})
    if iterations is not None and "algorithm.iterations" in values:
        raise SweepError("--iterations and --set algorithm.iterations contradict each other; give one")
    plan = _make_plan(source, values, seeds, iterations)
    source = (source if source.is_dir() else source.parent).resolve()
    digest = _compute_digest(source, values, iterations)
    folder = Path("runs" if out is None else out) / source.name / _check_name(name or f"sweep-{digest}")
    return carry_out(
        source,
        folder,
        plan,
        digest,
        iterations=iterations,
        jobs=jobs,
        backend=backend,
        address=address,
        retries=retries,
        watch=watch,
    )


def carry_out(
    source: Path,
    folder: Path,
    plan: Sequence[tuple[PlannedRun, tuple[str, ...]]],
    digest: str,
    *,
    iterations: int | None = None,
    jobs: int | None = None,
    backend: str = "local",
    address: str | None = None,
    retries: int = 2,
    watch: Watch | None = None,
) -> Sweep:
    """Do the runs of a plan that are not finished, and retry those whose worker died.

    Args:
        source: the experiment's directory.
        folder: of the sweep, `OUT/NAME/…` with the name of the experiment's directory.
        plan: the runs, each with the overrides of its experiment.
        digest: of what all runs have in common; a folder with another digest is refused.
        iterations, jobs, backend, address, retries, watch: see `sweep`.
    """
    watch = watch or Watch()
    write_manifest(folder, digest, [entry for entry, _ in plan], {"experiment": str(source)})
    made = Sweep(folder, only=[entry.name for entry, _ in plan])
    with open_pool(backend, jobs, address) as workers, made.take_turn() as turn:
        items = [
            WorkItem(str(source), str(folder.resolve()), entry, overrides, turn, iterations, retries, workers.threads)
            for entry, overrides in plan
            if not made.is_finished(entry)
        ]
        for setting in {item.entry.folder for item in items}:
            remove_leftovers(folder / setting)
        watch.on_start(made, [item.entry for item in items], min(workers.jobs, len(items)))
        with _report_to(made, items, workers, watch):
            _run_all(workers, made, items)
    return made


# -- the plan --------------------------------------------------------------------------------------------------------


def _make_plan(
    source: Path, values: Mapping[str, Sequence[Any]], seeds: str | int | Iterable[int] | None, iterations: int | None
) -> list[tuple[PlannedRun, tuple[str, ...]]]:
    """Return the runs and their overrides; check each configuration."""
    settings = given.make_grid(values)
    numbers = [load(source).seed] if seeds is None else given.parse_seeds(seeds)
    if not 0 < len(settings) * len(numbers) <= given.MAX_RUNS:
        raise SweepError(f"{len(settings)} settings of {len(numbers)} seeds: expected 1 to {given.MAX_RUNS} runs")
    varied = [key for key, some in values.items() if len(some) > 1]
    directory = source if source.is_dir() else source.parent
    plan = []
    for setting in settings:
        overrides = tuple(given.format_overrides(setting))
        config = replace_settings(load(source, overrides), seed=max(numbers), iterations=iterations)
        mark, shown = compute_fingerprint(config, directory), {key: setting[key] for key in varied}
        plan += [(PlannedRun(seed, shown, config.algorithm.iterations, mark), overrides) for seed in numbers]
    return plan


def _compute_digest(source: Path, values: Mapping[str, Sequence[Any]], iterations: int | None) -> str:
    """Return a digest of what all runs of a sweep have in common. More seeds or values do not change it."""
    with (source / FILE_NAME).open("rb") as file:
        experiment = tomllib.load(file)
    experiment.pop("seed", None)
    fixed = [
        override
        for key, some in values.items()
        if len(some) == 1
        for override in given.format_overrides({key: some[0]})
    ]
    files = digest_files(source, load(source).environment.mjcf)
    varied = [key for key, some in values.items() if len(some) > 1]
    text = json.dumps([experiment, fixed, varied, iterations, files], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _check_name(name: str) -> str:
    if name in (".", "..") or not re.fullmatch(r"[\w.=,+-]{1,100}", name) or name.startswith((".", "-")):
        raise SweepError(f"--name {name}: expected only letters, digits and _.=,+-, beginning with a letter or a digit")
    return name


# -- the work --------------------------------------------------------------------------------------------------------


def _run_all(workers: Pool, made: Sweep, items: Sequence[WorkItem]) -> None:
    """Run all items, however often the pool breaks.

    Where the death of one worker ends the whole pool, all running workers count as dead. So the last attempt of a run
    is made alone: a run is given up only for a death that it caused.
    """
    while left := [item for item in items if made.find_ending(item.entry, item.turn) is None]:
        together = [item for item in left if made.count_deaths(item.entry, item.turn) < max(item.retries, 1)]
        before = sum(len(made.read_journal(item.entry, item.turn)) for item in items)
        try:
            workers.call(work, together or left, workers.jobs if together else 1)
        except GpsError:
            raise
        except Exception as error:
            if before == sum(len(made.read_journal(item.entry, item.turn)) for item in items):
                text = (str(error) or "no message").splitlines()[0]
                raise SweepError(
                    f"the workers could not begin a run: {type(error).__name__}: {text}; "
                    "they need the same Python packages as this process, gps included"
                ) from error


@contextmanager
def _report_to(made: Sweep, items: Sequence[WorkItem], workers: Pool, watch: Watch) -> Iterator[None]:
    """Call `watch` as the journals change, until the block ends."""
    over, open_, begun = threading.Event(), list(items), dict.fromkeys((item.entry.name for item in items), 0)

    def look() -> None:
        for item in list(open_):
            if (count := made.count_begins(item.entry, item.turn)) > begun[item.entry.name]:
                begun[item.entry.name] = count
                watch.on_begin(item.entry)
            if made.find_ending(item.entry, item.turn) is not None:
                open_.remove(item)
                watch.on_run(made.read_run(item.entry))

    def keep_looking() -> None:
        last = time.monotonic()  # when there last was a worker
        while not over.wait(_POLL):
            look()
            now = time.monotonic()
            if workers.has_workers():
                last = now
            elif now - last > _PATIENCE:
                watch.on_waiting()
                last = math.inf  # report it once

    thread = threading.Thread(target=keep_looking, name="gps sweep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        look()
