"""A run directory: written so that a kill at any moment leaves it whole, checked by checksums, free of pickles.

    runs/NAME/20300131T120000Z-seed0/
        run.json  experiment.toml  command.txt  versions.json  task.py  SHA256SUMS     written once
        metrics.csv                       a row for each iteration and condition: a view of the iterations
        iterations/000/ …                 one folder each
            rollouts.npz  controllers.npz  dynamics.npz  search.npz  record.npz        the IterationRecord
            timing.npz  metrics.csv       what differs between two equal runs
            state.npz  SHA256SUMS         the state that the next iteration starts from
        evaluation/                       what was learned, without noise
        evaluation_unseen/                the same from the test conditions, where there are some
        evaluation_local/                 the local controllers beside a policy that they have taught
        evaluation_expert/                the expert beside a policy that it has taught

A folder is written under a name that begins with a dot, flushed to the disk, and renamed. Whatever has such a name is
the leftover of a killed process: it is ignored, and removed when the run is resumed. All files but `timing.npz`,
`metrics.csv` and the checksums are byte for byte the same for equal runs.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from gps.runs import iteration_files as files
from gps.errors import RunError
from gps.storage.folders import (
    SUMS,
    Damage,
    new_folder,
    publish,
    remove,
    remove_leftovers,
    replace,
    try_lock,
    verified,
    verify,
    write,
    write_sums,
)

if TYPE_CHECKING:  # loaded when first needed: this module loads fast, as `gps list` should
    import numpy as np

    from gps.config import ExperimentConfig
    from gps.inspect.tables import Evaluation, Row
    from gps.records import IterationRecord, PolicyRecord, Rollouts

FORMAT = 1
"""The version of the layout above."""

_INFO = "run.json"
_ITERATIONS = "iterations"

EVALUATIONS = {
    "final": "evaluation",
    "unseen": "evaluation_unseen",
    "local": "evaluation_local",
    "expert": "evaluation_expert",
}
"""What is evaluated without noise -> its folder."""

_PACKAGES = ("numpy", "scipy", "scikit-learn", "jax", "jaxlib", "equinox", "optax", "mujoco", "gymnasium", "pydantic")

T = TypeVar("T")


class Run:
    """A run on disk. Open it with `gps.load_run` or `Run.open`; `iterations` holds its records.

    Whoever writes does so under `with run:`, which keeps other processes from writing at the same time.

    Attributes:
        path: its directory.
        name: of the experiment.
        started: ISO 8601, UTC.
        state_layout: the slice of each part in the state vector, for those who show it; None where it is not known.
    """

    def __init__(self, path: Path, name: str, started: str, state_layout: Mapping[str, slice] | None = None) -> None:
        self.path, self.name, self.started, self.state_layout = path, name, started, state_layout
        self._lock: int | None = None

    # -- making and opening --------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        out: Path | None,
        name: str,
        seed: int,
        config: ExperimentConfig,
        source: Path,
        command: str,
        state_layout: Mapping[str, slice] | None = None,
        group: str = "",
    ) -> Run:
        """A new directory `out/name/group/<UTC time>-seed<k>`.

        Args:
            out: the folder of all runs; None for `runs` in the working directory.
            config: as resolved; paths in it are relative to `source`.
            source: the experiment's directory, from which `task.py` is copied.
            command: what was typed.
            state_layout: of the environment: the slice of each part in the state vector.
            group: a folder of runs that belong together, such as those of a sweep; empty for none.

        Raises:
            RunError: if it cannot be written.
        """
        from gps.config import replace_settings

        folder = (Path("runs") if out is None else Path(out)) / name / group
        now = datetime.now(UTC)
        started = now.isoformat()
        info: dict[str, Any] = {"format": FORMAT, "name": name, "started": started}
        if state_layout is not None:
            info["state"] = {part: [where.start, where.stop] for part, where in state_layout.items()}
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with new_folder(folder) as fresh:
                config = replace_settings(config, seed=seed).anchor(source)
                write(fresh / _INFO, json.dumps(info, indent=2) + "\n")
                write(fresh / "experiment.toml", config.to_toml())
                write(fresh / "command.txt", command + "\n")
                write(fresh / "versions.json", json.dumps(_versions(), indent=2) + "\n")
                if (source / "task.py").is_file():
                    write(fresh / "task.py", (source / "task.py").read_bytes())
                (fresh / _ITERATIONS).mkdir()
                write_sums(fresh)
                path = publish(fresh, _free_names(folder, f"{now:%Y%m%dT%H%M%SZ}-seed{seed}"))
        return cls(path, name, started, state_layout)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """An existing run.

        Raises:
            RunError: if it is none, was written by another version, or its experiment was altered.
        """
        path = Path(path)
        if not path.is_dir():
            raise RunError(f"{path}: there is no such run directory")
        if not (path / _INFO).exists() and not (path / SUMS).exists():
            raise RunError(f"{path}: not a run directory (no {_INFO})")
        try:
            info = json.loads(verified(path, _INFO).read_text(encoding="utf-8"))
            if info["format"] != FORMAT:
                raise RunError(f"{path}: written in format {info['format']}, and this gps reads format {FORMAT}")
            state = info.get("state")  # runs of the first days have none
            layout = None if state is None else {part: slice(*map(int, where)) for part, where in state.items()}
            run = cls(path, info["name"], info["started"], layout)
            verify(path, (_INFO, "experiment.toml", "command.txt", "versions.json"))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise RunError(f"{path / _INFO}: not what gps wrote; this run cannot be used") from None
        except Damage as damage:
            raise RunError(f"{damage.file}: {damage.what}; put it back, or start the experiment anew") from None
        return run

    @functools.cached_property
    def config(self) -> ExperimentConfig:
        """The experiment as resolved. Its paths are absolute; its `task.py` is in the run directory."""
        from gps.config import load

        return load(self.path)

    @property
    def seed(self) -> int:
        return self.config.seed

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, seed={self.seed}, iterations={len(self.iterations)})"

    # -- reading -------------------------------------------------------------------------------------------------

    @property
    def iterations(self) -> Iterations:
        """The records, each read and checked when it is asked for."""
        return Iterations(self)

    @property
    def metrics(self) -> list[Row]:
        """A row for each iteration and condition, without reading the records."""
        return [row for k in range(len(self.iterations)) for row in self.rows(k)]

    def rows(self, iteration: int) -> list[Row]:
        """The metrics of one iteration, a row for each condition."""
        from gps.inspect.tables import Row

        self.iterations.require(iteration)
        with self._naming_damage():
            return files.read_csv(self._folder(iteration), Row)

    def policy(self, iteration: int) -> PolicyRecord | None:
        """The global policy's side of one iteration, without the rest of its record; None where there is none."""
        self.iterations.require(iteration)
        with self._naming_damage():
            return files.read_arrays(self._folder(iteration), files.REST, files.parts()[files.REST]).policy

    def has_policy(self, iteration: int) -> bool:
        """Whether a global policy had been trained by the end of an iteration, and so is what was learned.

        Raises:
            RunError: if there is no such iteration, or it is damaged.
        """
        return bool(self.state_arrays(iteration, "training.calls").get("", 0))

    def rollouts(self, iteration: int) -> tuple[Rollouts, np.ndarray]:
        """The rollouts of one iteration and their costs (M, N, T), without the rest of its record."""
        self.iterations.require(iteration)
        with self._naming_damage():
            part = files.parts()["rollouts.npz"]
            return tuple(files.read_arrays(self._folder(iteration), "rollouts.npz", part))  # type: ignore[return-value]

    @property
    def evaluation(self) -> tuple[Rollouts, np.ndarray] | None:
        """Rollouts of what was learned, without noise, and their costs (M, N, T); None before there are any."""
        return self.evaluated("final")

    @property
    def evaluation_summary(self) -> list[Evaluation]:
        """The evaluation's cost and successes by condition; empty before there are any."""
        return self.evaluated_summary("final")

    def evaluated(self, what: str) -> tuple[Rollouts, np.ndarray] | None:
        """As `evaluation`, of one of `EVALUATIONS`."""
        folder = self.path / EVALUATIONS[what]
        if not folder.is_dir():
            return None
        with self._naming_damage():
            return tuple(files.read_arrays(folder, "rollouts.npz", files.evaluation_type()))  # type: ignore[return-value]

    def evaluated_summary(self, what: str) -> list[Evaluation]:
        """As `evaluation_summary`, of one of `EVALUATIONS`."""
        from gps.inspect.tables import Evaluation

        folder = self.path / EVALUATIONS[what]
        if not folder.is_dir():
            return []
        with self._naming_damage():
            return files.read_csv(folder, Evaluation)

    def state(self, iteration: int, cls: type[T]) -> T:
        """The state after an iteration, from which the next one starts.

        Raises:
            RunError: if there is no such iteration, or it is damaged.
        """
        self.iterations.require(iteration)
        with self._naming_damage():
            return files.read_arrays(self._folder(iteration), files.STATE, cls)

    def state_arrays(self, iteration: int, prefix: str) -> dict[str, np.ndarray]:
        """The arrays of the state after an iteration whose dotted key begins with `prefix`, under the rest of the key.

        For those who look at a part of the state and do not know which algorithm's it is.

        Raises:
            RunError: if there is no such iteration, or it is damaged.
        """
        self.iterations.require(iteration)
        with self._naming_damage():
            arrays = files.read_file(self._folder(iteration), files.STATE)
        return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}

    def last_whole(self) -> int | None:
        """The last iteration that is undamaged together with all before it; None if the first is damaged or missing."""
        last = None
        for k in range(len(self.iterations)):
            try:
                verify(self._folder(k), files.FILES)
            except Damage:
                break
            last = k
        return last

    def verify(self, before: int | None = None) -> None:
        """Check every file of the iterations (those before one, where given, or all and what follows from them).

        Raises:
            RunError: names the first damaged file and the last whole iteration.
        """
        count = len(self.iterations)
        with self._naming_damage():
            for k in range(count if before is None else min(before, count)):
                verify(self._folder(k), files.FILES)
            if before is None and count and not self.active:  # else it may be about to be written
                self._verify_metrics()
            for folder in (self.path / name for name in EVALUATIONS.values()):
                if before is None and folder.is_dir():
                    verify(folder, ("rollouts.npz", files.METRICS))

    @property
    def active(self) -> bool:
        """Whether some process is writing it now."""
        if self._lock is not None:
            return True
        with contextlib.suppress(OSError), (self.path / "run.lock").open("rb") as file:
            return not try_lock(file.fileno())
        return False

    # -- writing -------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        with _writing(self.path):
            lock = os.open(self.path / "run.lock", os.O_RDWR | os.O_CREAT, 0o666)
        if not _lock_patiently(lock):
            os.close(lock)
            raise RunError(f"{self.path}: another process is writing this run")
        self._lock = lock
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, record: IterationRecord, state: Any) -> None:
        """Append an iteration and the state after it.

        Raises:
            RunError: if it is not the next iteration, or cannot be written; what was on disk is untouched then.
            TypeError: if the state has a part that cannot be stored.
        """
        from gps.inspect.tables import Row, rows, to_csv
        from gps.storage.serialization import flatten, write_npz

        iterations = self.path / _ITERATIONS
        if record.iteration != len(self.iterations):
            raise RunError(f"{self.path}: iteration {record.iteration} cannot follow {len(self.iterations) - 1}")
        with _writing(iterations), new_folder(iterations) as fresh:
            for file, part in files.parts().items():
                write_npz(fresh / file, flatten(part(*(getattr(record, name) for name in part._fields))))
            write_npz(fresh / files.STATE, flatten(state))
            write(fresh / files.METRICS, to_csv(rows(record), Row))
            write_sums(fresh)
            publish(fresh, [self._folder(record.iteration)])
            self._write_metrics()

    def write_evaluation(self, rollouts: Rollouts, costs: np.ndarray, what: str = "final") -> None:
        """Store rollouts without noise of one of `EVALUATIONS` and their costs (M, N, T), in place of earlier ones."""
        from gps.inspect.tables import Evaluation, evaluation, to_csv
        from gps.storage.serialization import flatten, write_npz

        with _writing(self.path), new_folder(self.path) as fresh:
            write_npz(fresh / "rollouts.npz", flatten(files.evaluation_type()(rollouts, costs)))
            write(fresh / files.METRICS, to_csv(evaluation(rollouts, costs), Evaluation))
            write_sums(fresh)
            folder = self.path / EVALUATIONS[what]
            remove([folder])
            publish(fresh, [folder])

    def discard_from(self, iteration: int) -> None:
        """Make `iteration` the next one to be written: it, all after it and the evaluation are removed.

        Also removes what killed processes left.

        Raises:
            RunError: if an iteration before it is missing or damaged; nothing has been removed then.
        """
        count = len(self.iterations)
        if not 0 <= iteration <= count:
            raise RunError(
                f"{self.path}: cannot go on from iteration {iteration}; it has {count}, so 0 to {count} are possible"
            )
        self.verify(before=iteration)
        doomed = [self._folder(k) for k in reversed(range(iteration, count))]  # a kill leaves no gap
        with _writing(self.path):
            remove([*(self.path / name for name in EVALUATIONS.values()), *doomed])
            remove_leftovers(self.path)
            remove_leftovers(self.path / _ITERATIONS)
            self._write_metrics()

    # -- within --------------------------------------------------------------------------------------------------

    def _folder(self, iteration: int) -> Path:
        return self.path / _ITERATIONS / f"{iteration:03d}"

    def _write_metrics(self) -> None:
        with self._naming_damage():
            replace(self.path / files.METRICS, "".join(self._metrics()))

    def _metrics(self) -> list[str]:
        """What each iteration contributes to `metrics.csv`."""
        texts = [files.read_text(self._folder(k)) for k in range(len(self.iterations))]
        return [text if k == 0 else text.partition("\n")[2] for k, text in enumerate(texts)]

    def _verify_metrics(self) -> None:
        """Damage unless `metrics.csv` is that of all iterations, or, after a kill, of all but the last."""
        path, parts = self.path / files.METRICS, self._metrics()
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError:
            text = None
        except OSError as error:
            raise Damage.of(error, path) from None
        if text not in ("".join(parts), "".join(parts[:-1])):
            raise Damage(path, "altered or truncated, though it only repeats the iterations")

    @contextlib.contextmanager
    def _naming_damage(self) -> Iterator[None]:
        """Damage as an error that says what is still whole."""
        try:
            yield
        except Damage as damage:
            last = self.last_whole()
            if last is not None and damage.file.parent.parent == self.path / _ITERATIONS:
                # Its checksums may be right, and what is in it wrong all the same.
                last = min(last, int(damage.file.parent.name) - 1)
            if last is None or last < 0:
                advice = "no whole iteration comes before it: start the experiment anew"
            elif last == len(self.iterations) - 1:
                advice = f"all iterations are whole, the last is {last}: `gps resume {self.path}` goes on from there"
            else:
                advice = (
                    f"the last whole iteration is {last}: `gps resume {self.path} --from {last + 1}` goes on from there"
                )
            raise RunError(f"{damage.file}: {damage.what}; {advice}") from None


class Iterations(Sequence["IterationRecord"]):
    """The iterations of a run on disk, read when they are asked for."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __len__(self) -> int:
        folder = self._run.path / _ITERATIONS
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        return 1 + max((int(name) for name in names if re.fullmatch(r"\d{3,9}", name)), default=-1)

    @overload
    def __getitem__(self, index: int) -> IterationRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[IterationRecord]: ...
    def __getitem__(self, index: int | slice) -> IterationRecord | list[IterationRecord]:
        from gps.records import IterationRecord

        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"iteration {index} of {len(self)}")
        folder = self._run._folder(index % len(self))
        values: dict[str, Any] = {}
        with self._run._naming_damage():
            for file, part in files.parts().items():
                values |= files.read_arrays(folder, file, part)._asdict()
        return IterationRecord(**values)

    def stamp(self, iteration: int) -> int:
        """Microseconds since 1970 at which an iteration was written: another number once it was done again."""
        self.require(iteration)
        with self._run._naming_damage():
            try:
                return (self._run._folder(iteration) / SUMS).stat().st_mtime_ns // 1000
            except OSError as error:
                raise Damage.of(error, self._run._folder(iteration) / SUMS) from None

    def require(self, iteration: int) -> None:
        """RunError unless there is such an iteration."""
        if not 0 <= iteration < len(self):
            some = f"it has 0 to {len(self) - 1}" if len(self) else "it has none"
            raise RunError(f"{self._run.path}: there is no iteration {iteration}; {some}")

    def __repr__(self) -> str:
        return f"<{len(self)} iterations of {self._run.path}>"


def find_runs(folder: str | Path) -> list[Path]:
    """The run directories at `folder`, in it, or up to four levels deeper (those of a sweep), the newest last."""
    found = _walk(Path(folder), 4)
    return sorted(found, key=lambda path: (path.name[:16], (path / _INFO).stat().st_mtime_ns, path.name))


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / _INFO).exists():
        yield folder
    elif depth and folder.is_dir():
        with contextlib.suppress(PermissionError):
            for entry in folder.iterdir():
                if not entry.name.startswith("."):
                    yield from _walk(entry, depth - 1)


def load_run(path: str | Path) -> Run:
    """Open a run: its directory, or a folder of runs, of which the newest is taken.

    Raises:
        RunError: if there is none, or it was altered.
    """
    path = Path(path)
    if path.is_dir() and not (path / _INFO).exists() and not (path / SUMS).exists():
        runs = find_runs(path)
        if not runs:
            raise RunError(f"{path}: neither a run directory nor a folder of runs")
        path = runs[-1]
    return Run.open(path)


def unusable(run: Run, iteration: int, why: str) -> RunError:
    """What to say of a policy in a run by which nobody can act."""
    return RunError(
        f"{run.path}: the policy after iteration {iteration} cannot be used: {why}; "
        f"`gps resume {run.path} --from {iteration}` makes it anew"
    )


def _lock_patiently(descriptor: int) -> bool:
    """Lock a file. Who asks whether a run is `active` holds the lock for an instant, and is not taken for a writer."""
    for _ in range(5):
        if try_lock(descriptor):
            return True
        time.sleep(0.02)
    return False


def _versions() -> dict[str, str]:
    import importlib.metadata

    import gps

    versions = {"gps": getattr(gps, "__version__", "unknown"), "python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions | {"platform": platform.platform()}


def _free_names(folder: Path, name: str) -> Iterator[Path]:
    yield folder / name
    for k in range(2, 10_000):
        yield folder / f"{name}-{k}"


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Errors of the operating system as errors of the run."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None
