"""A run directory: written so that a kill at any moment leaves it whole, checked by checksums, free of pickles.

`gps.runs.layout` lists its files; `gps.runs.creating` makes a new one.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from gps.errors import FormatError, GpsError, RunError
from gps.metrics import EvaluationRow, Row, format_csv, make_evaluation_rows, make_rows, parse_csv
from gps.players import EVALUATIONS, FINAL
from gps.runs.iterations import Iterations
from gps.runs.layout import (
    CORE_FILES,
    EVALUATION_FILES,
    FIRST,
    FORMAT,
    INFO,
    INTERFACE,
    ITERATIONS,
    LOCK,
    METRICS,
    SOURCE,
    STATE,
    VERSIONS,
)
from gps.runs.source import Kept, check_copies, check_outside
from gps.storage.folders import (
    SUMS,
    Damage,
    append,
    check_file,
    has_sum,
    new_folder,
    open_regular,
    publish,
    read_text,
    remove,
    remove_leftovers,
    replace,
    try_lock,
    verify,
    write,
    write_sums,
)
from gps.storage.write_errors import report_write_errors

if TYPE_CHECKING:  # loaded on first use, so that `gps list` is fast
    import numpy as np

    from gps.config import ExperimentConfig
    from gps.first_controllers import FirstControllers
    from gps.linear_gaussian.types import Controller
    from gps.policies.interface import Interface
    from gps.policies.neural import NeuralPolicy
    from gps.records import EvaluationRecord, IterationRecord, ModelRecord, OptimisationRecord, PolicyRecord, Rollouts

_MAX_TEXT_BYTES = 64 << 20
_STAGE_BYTES = 80
_KEEPS_SETTINGS = "put it back: a run keeps the settings that it began with, and others need a new one (gps run)"

T = TypeVar("T")


class Run:
    """A run on disk. Open it with `gps.load_run` or `Run.open`; `iterations` holds its records.

    Write under `with run:`, which keeps other processes from writing at the same time.

    Attributes:
        path: its directory.
        name: of the experiment.
        started: ISO 8601, UTC.
        state_layout: the slice of each part in the state vector, for views; None if it is unknown.
        kept: what it says of its copies of the experiment's own files, which are in `source`.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        started: str,
        state_layout: Mapping[str, slice] | None = None,
        kept: Kept | None = None,
    ) -> None:
        self.path, self.name, self.started, self.state_layout = path, name, started, state_layout
        self.kept = kept or Kept()
        self._lock: int | None = None
        self._metrics_size = -1  # of metrics.csv as this process left it

    # -- opening --------------------------------------------------------------------------------------

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open an existing run.

        Raises:
            RunError: if it is no run, was written in another format, or its experiment was altered.
        """
        path = Path(path)
        if not path.is_dir():
            raise RunError(f"{path}: there is no such run directory")
        if not (path / INFO).exists() and not (path / SUMS).exists():
            raise RunError(f"{path}: not a run directory (no {INFO})")
        try:
            info = json.loads(check_file(path, INFO).read_text(encoding="utf-8"))
            if info["format"] != FORMAT:
                raise FormatError(
                    f"{path}: written in format {info['format']}, and this gps reads format {FORMAT}; "
                    "run the experiment again, or use the version of gps that wrote it"
                )
            state = info.get("state")
            layout = None if state is None else {part: slice(*map(int, where)) for part, where in state.items()}
            run = cls(path, info["name"], info["started"], layout, Kept(**info["source"]))
            verify(path, (INFO, "experiment.toml", "command.txt", VERSIONS))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise RunError(f"{path / INFO}: not what gps wrote; this run cannot be used") from None
        except Damage as damage:
            edited = damage.file.name == "experiment.toml" and damage.file.exists()
            advice = _KEEPS_SETTINGS if edited else "put it back, or start the experiment anew"
            raise RunError(f"{damage.file}: {damage.what}; {advice}") from None
        return run

    @functools.cached_property
    def config(self) -> ExperimentConfig:
        """The experiment as resolved. Its paths are absolute or relative to `source`."""
        from gps.config import load

        return load(self.path)

    @property
    def interface(self) -> Interface | None:
        """Names, units and limits of the state, the observation and the action; None if they were unknown."""
        from gps.policies.interface import Interface

        if not has_sum(self.path, INTERFACE):
            return None
        try:
            return Interface.from_json(read_text(check_file(self.path, INTERFACE)))
        except Damage as damage:
            raise RunError(f"{damage.file}: {damage.what}; put it back, or start the experiment anew") from None
        except (ValueError, KeyError, TypeError):
            raise RunError(f"{self.path / INTERFACE}: not what gps wrote") from None

    @functools.cached_property
    def first(self) -> FirstControllers | None:
        """The first controllers, and what the probe before them found; None where nothing is known of them.

        Raises:
            RunError: if they are damaged.
        """
        from gps.first_controllers import FirstControllers
        from gps.storage.serialization import CorruptFile, read_npz, unflatten

        if not has_sum(self.path, FIRST):
            return None
        try:
            return unflatten(FirstControllers, read_npz(check_file(self.path, FIRST)))
        except Damage as damage:
            raise RunError(f"{damage.file}: {damage.what}; put it back, or start the experiment anew") from None
        except CorruptFile as error:
            raise RunError(f"{self.path / FIRST}: {error}") from None

    @property
    def versions(self) -> dict[str, str]:
        """Package -> version with which the run began."""
        versions: dict[str, str] = json.loads(read_text(self.path / VERSIONS))
        return versions

    @property
    def source(self) -> Path:
        """The folder with the run's copies of the experiment's own files, from which it is built again.

        Raises:
            RunError: if a copy is missing or damaged.
        """
        check_copies(self.path / SOURCE, self.kept)
        return self.path / SOURCE

    def require_unchanged(self, files: Sequence[Path]) -> None:
        """Raise a RunError if the environment, built again, has read another file than the run did when it began.

        Args:
            files: see `BatchEnvironment.files`.
        """
        check_outside(self.path / SOURCE, self.kept, files)

    @property
    def seed(self) -> int:
        return self.config.seed

    def __repr__(self) -> str:
        from gps.inspect.notebook import outline_run

        try:
            return outline_run(self)
        except GpsError as error:  # it is damaged, or being written
            return f"Run({str(self.path)!r}): {error}"

    def _repr_html_(self) -> str:
        from gps.inspect.notebook import tabulate_run

        return tabulate_run(self)

    @property
    def iterations(self) -> Iterations:
        """The records, each read and checked on access."""
        return Iterations(self)

    @property
    def metrics(self) -> list[Row]:
        """A row for each iteration and condition, without reading the records."""
        return [row for k in range(len(self.iterations)) for row in self.rows(k)]

    def rows(self, iteration: int) -> list[Row]:
        """The metrics of one iteration, a row for each condition."""
        self.iterations.require(iteration)
        with self.explain_damage():
            return self._read_csv(self.folder(iteration), Row)

    def policy(self, iteration: int) -> NeuralPolicy | Controller | None:
        """The policy that an iteration learned: a neural policy, or a batch of M local controllers as executed.

        None if it cannot be stored, such as a planner.

        Raises:
            RunError: if there is no such iteration, it is damaged, or its policy cannot be evaluated.
        """
        from gps.linear_gaussian.types import Controller
        from gps.policies.neural import find_fault
        from gps.runs import iteration_files as files

        self.iterations.require(iteration)
        with self.explain_damage():
            policy = files.read_learned(self.folder(iteration))
        if policy is not None and not isinstance(policy, Controller) and (why := find_fault(policy)):
            raise unusable_policy(self, iteration, why)
        return policy

    def policy_record(self, iteration: int) -> PolicyRecord | None:
        """The global policy's side of one iteration, without the rest of its record; None if it has none."""
        from gps.runs import iteration_files as files

        self.iterations.require(iteration)
        with self.explain_damage():
            return files.read_side(self.folder(iteration), "policy")

    def model_record(self, iteration: int) -> ModelRecord | None:
        """The global model's side of one iteration, without the rest of its record; None if it has none."""
        from gps.runs import iteration_files as files

        self.iterations.require(iteration)
        with self.explain_damage():
            return files.read_side(self.folder(iteration), "model")

    def optimisation_record(self, iteration: int) -> OptimisationRecord | None:
        """The side of a policy's optimisation in one iteration, without the rest of its record; None if it has none."""
        from gps.runs import iteration_files as files

        self.iterations.require(iteration)
        with self.explain_damage():
            return files.read_side(self.folder(iteration), "optimisation")

    def rollouts(self, iteration: int) -> tuple[Rollouts, np.ndarray]:
        """The rollouts of one iteration and their costs (M, N, T), without the rest of its record."""
        from gps.runs import iteration_files as files

        self.iterations.require(iteration)
        with self.explain_damage():
            return files.read_samples(self.folder(iteration))

    def evaluation(self, what: str = FINAL) -> EvaluationRecord | None:
        """Episodes without noise of what was learned, or another key of `gps.players.EVALUATIONS`; None without any."""
        from gps.runs import iteration_files as files

        folder = self.path / EVALUATIONS[what]
        if not folder.is_dir():
            return None
        with self.explain_damage():
            return files.read_evaluation(folder)

    def evaluation_rows(self, what: str = FINAL) -> list[EvaluationRow]:
        """The cost and successes of an evaluation by condition, without reading its episodes; empty without any."""
        folder = self.path / EVALUATIONS[what]
        if not folder.is_dir():
            return []
        with self.explain_damage():
            return self._read_csv(folder, EvaluationRow)

    def state(self, iteration: int, cls: type[T]) -> T:
        """The algorithm's state after an iteration, from which the next one starts.

        Raises:
            RunError: if there is no such iteration, or it is damaged.
        """
        from gps.runs import iteration_files as files

        self.iterations.require(iteration)
        with self.explain_damage():
            return files.read_as(cls, self.folder(iteration), STATE)

    def last_whole(self) -> int | None:
        """The last iteration that is whole, with all before it; None if the first one is damaged or missing."""
        last = None
        for k in range(len(self.iterations)):
            try:
                verify(self.folder(k), CORE_FILES)
            except Damage:
                break
            last = k
        return last

    def verify(self, before: int | None = None) -> None:
        """Check every file of the iterations before one, or every file of the run.

        Raises:
            RunError: names the first damaged file and the last whole iteration.
        """
        count = len(self.iterations)
        if before is None:
            check_copies(self.path / SOURCE, self.kept)
        with self.explain_damage():
            for k in range(count if before is None else min(before, count)):
                verify(self.folder(k), CORE_FILES)
            if before is None and count and not self.active:  # otherwise it may be about to be written
                self._verify_metrics()
            for folder in (self.path / name for name in EVALUATIONS.values()):
                if before is None and folder.is_dir():
                    verify(folder, EVALUATION_FILES)

    @property
    def active(self) -> bool:
        """True if some process is writing it now."""
        if self._lock is not None:
            return True
        with contextlib.suppress(OSError), open_regular(self.path / LOCK) as file:
            return not try_lock(file.fileno())
        return False

    @property
    def stage(self) -> str:
        """The stage that the process writing this run has noted; empty where no process writes it."""
        with contextlib.suppress(OSError):
            if self.active:
                with open_regular(self.path / LOCK) as file:
                    return file.read(_STAGE_BYTES).decode(errors="replace").strip()
        return ""

    # -- writing -------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        with report_write_errors(self.path / LOCK, RunError):
            with contextlib.suppress(FileNotFoundError):
                open_regular(self.path / LOCK).close()
            lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        if not _lock_patiently(lock):
            os.close(lock)
            raise RunError(f"{self.path}: another process is writing this run")
        self._lock = lock
        self.note_stage("")
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self.note_stage("")
            os.close(self._lock)
            self._lock = None

    def note_stage(self, text: str) -> None:
        """Leave for `stage` what the run is doing, in the file of the lock: a few microseconds, nothing is flushed.

        Args:
            text: in words; the file has room for 79 bytes.
        """
        assert self._lock is not None
        line = text.encode()[: _STAGE_BYTES - 1].ljust(_STAGE_BYTES - 1) + b"\n"
        with contextlib.suppress(OSError):  # a full disk: it is for viewers only
            if text:
                os.lseek(self._lock, 0, os.SEEK_SET)
                os.write(self._lock, line)
            else:
                os.ftruncate(self._lock, 0)

    def write(self, record: IterationRecord, state: Any, policy: NeuralPolicy | Controller | None = None) -> None:
        """Append an iteration.

        Args:
            record: of the iteration.
            state: the algorithm's state after it.
            policy: what was learned, if it can be stored.

        Raises:
            RunError: if it is not the next iteration, or cannot be written; what was on disk is untouched then.
            TypeError: if the state has a part that cannot be stored.
        """
        from gps.runs import iteration_files as files

        iterations = self.path / ITERATIONS
        if record.iteration != len(self.iterations):
            raise RunError(f"{self.path}: iteration {record.iteration} cannot follow {len(self.iterations) - 1}")
        with report_write_errors(iterations, RunError), new_folder(iterations) as fresh:
            files.write_iteration(fresh, record, state, policy)
            write(fresh / METRICS, format_csv(make_rows(record), Row))
            write_sums(fresh)
            publish(fresh, [self.folder(record.iteration)])
            self._append_metrics(record.iteration)

    def write_evaluation(self, record: EvaluationRecord) -> None:
        """Store an evaluation; it replaces an earlier one of the same kind."""
        from gps.runs import iteration_files as files

        with report_write_errors(self.path, RunError), new_folder(self.path) as fresh:
            files.write_evaluation(fresh, record)
            write(fresh / METRICS, format_csv(make_evaluation_rows(record), EvaluationRow))
            write_sums(fresh)
            folder = self.path / EVALUATIONS[record.what]
            remove([folder])
            publish(fresh, [folder])

    def discard_from(self, iteration: int) -> None:
        """Remove an iteration, all after it, the evaluations, and the leftovers of killed processes.

        `iteration` is then the next one to be written.

        Raises:
            RunError: if an iteration before it is missing or damaged; nothing is removed then.
        """
        count = len(self.iterations)
        if not 0 <= iteration <= count:
            raise RunError(
                f"{self.path}: cannot go on from iteration {iteration}; it has {count}, so 0 to {count} are possible"
            )
        self.verify(before=iteration)
        doomed = [self.folder(k) for k in reversed(range(iteration, count))]  # a kill leaves no gap
        with report_write_errors(self.path, RunError):
            remove([*(self.path / name for name in EVALUATIONS.values()), *doomed])
            remove_leftovers(self.path)
            remove_leftovers(self.path / ITERATIONS)
            self._write_metrics()

    # -- within --------------------------------------------------------------------------------------------------

    def folder(self, iteration: int) -> Path:
        """The folder of an iteration."""
        return self.path / ITERATIONS / f"{iteration:03d}"

    @staticmethod
    def _read_csv(folder: Path, kind: type[T]) -> list[T]:
        """The metrics of an iteration or evaluation, as rows of a kind."""
        try:
            return parse_csv(_read_text(folder), kind)
        except ValueError as error:
            raise Damage(folder / METRICS, f"not what gps wrote ({error})") from None

    def _append_metrics(self, iteration: int) -> None:
        """Append an iteration to `metrics.csv`; write all of it if it is not as this process left it."""
        path = self.path / METRICS
        if not path.exists() or path.stat().st_size != self._metrics_size:
            self._write_metrics()
            return
        with self.explain_damage():
            append(path, self._metrics(iteration))
        self._metrics_size = path.stat().st_size

    def _write_metrics(self) -> None:
        with self.explain_damage():
            text = "".join(map(self._metrics, range(len(self.iterations))))
        replace(self.path / METRICS, text)
        self._metrics_size = len(text.encode())

    def _metrics(self, iteration: int) -> str:
        """The lines of an iteration in `metrics.csv`."""
        text = _read_text(self.folder(iteration))
        return text if iteration == 0 else text.partition("\n")[2]

    def _verify_metrics(self) -> None:
        """Raise Damage unless `metrics.csv` holds all iterations, the last perhaps in part, after a kill."""
        path, parts = self.path / METRICS, [self._metrics(k) for k in range(len(self.iterations))]
        try:
            text = read_text(path)
        except UnicodeDecodeError:
            text = None
        except OSError as error:
            raise Damage.of(error, path) from None
        before = "".join(parts[:-1])
        if text is None or not text.startswith(before) or not parts[-1].startswith(text[len(before) :]):
            raise Damage(path, "altered or truncated, though it only repeats the iterations")

    @contextlib.contextmanager
    def explain_damage(self) -> Iterator[None]:
        """Turn damage into an error that says what is still whole."""
        try:
            yield
        except Damage as damage:
            last = self.last_whole()
            if last is not None and damage.file.parent.parent == self.path / ITERATIONS:
                # Its checksums may be right although its content is wrong.
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


def unusable_policy(run: Run, iteration: int, why: str) -> RunError:
    """The error for a stored policy that cannot be evaluated."""
    return RunError(
        f"{run.path}: the policy after iteration {iteration} cannot be used: {why}; "
        f"`gps resume {run.path} --from {iteration}` makes it anew"
    )


def _read_text(folder: Path) -> str:
    """The text of a folder's metrics."""
    return check_file(folder, METRICS, _MAX_TEXT_BYTES).read_bytes().decode()


def _lock_patiently(descriptor: int) -> bool:
    """Lock a file, with a few tries: `Run.active` holds the lock for an instant, and is no writer."""
    for _ in range(5):
        if try_lock(descriptor):
            return True
        time.sleep(0.02)
    return False
