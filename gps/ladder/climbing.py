"""Run what is missing of a ladder, as one sweep, and find what is there.

All runs are in `OUT/NAME/ladder`, the folder of an ordinary sweep (see `gps.sweeps.folder`), so a killed process needs
no bookkeeping: the next call resumes what was begun. A rung's folder carries a digest of its settings: a rung that was
changed is run anew, and the others are kept.
"""

import dataclasses
from pathlib import Path

from gps.errors import SweepError
from gps.ladder.rungs import Ladder, Rung
from gps.sweeps import Sweep, SweepRun, Watch
from gps.sweeps.batch import carry_out
from gps.sweeps.folder import MANIFEST

FOLDER = "ladder"


@dataclasses.dataclass(frozen=True)
class RungRuns:
    """A rung and the state of its runs, ordered by seed."""

    rung: Rung
    runs: tuple[SweepRun, ...]

    @property
    def finished(self) -> list[SweepRun]:
        return [run for run in self.runs if run.state == "finished"]

    @property
    def faults(self) -> list[str]:
        """Why runs are missing, a sentence each; equal ones once."""
        found = [self.rung.fault] if self.rung.fault else []
        seeds: dict[str, list[str]] = {}
        for run in self.runs:
            if run.message:
                seeds.setdefault(run.message.splitlines()[0], []).append(str(run.seed))
        found += [f"seed{'s' * (len(of) > 1)} {', '.join(of)}: {message}" for message, of in seeds.items()]
        waiting = sum(run.state != "finished" and not run.message for run in self.runs)
        if waiting:
            found.append(f"{waiting} of {len(self.runs)} runs are not finished")
        return found


def find_folder(ladder: Ladder, out: str | Path | None = None) -> Path:
    """The folder of a ladder's runs."""
    return Path("runs" if out is None else out) / ladder.directory.name / FOLDER


def climb(
    ladder: Ladder,
    *,
    out: str | Path | None = None,
    jobs: int | None = None,
    retries: int = 2,
    watch: Watch | None = None,
) -> list[RungRuns]:
    """Do the runs of a ladder that are not finished, and return the state of all.

    A run that fails, and a rung that cannot be built, do not stop the others.

    Args:
        out: the folder of all runs; None for `runs` in the working directory.
        jobs: number of runs at a time; None for one per CPU.
        retries: how many times a run is retried after its worker has died.
        watch: callbacks for the progress.

    Raises:
        GpsError: if the folder cannot be used.
    """
    plan = [(entry, rung.overrides) for rung in ladder.rungs for entry in rung.entries]
    if plan:
        folder = find_folder(ladder, out)
        carry_out(ladder.directory, folder, plan, FOLDER, jobs=jobs, retries=retries, watch=watch)
    return read_ladder_runs(ladder, out)


def read_ladder_runs(ladder: Ladder, out: str | Path | None = None) -> list[RungRuns]:
    """Return the state of all runs of a ladder, whatever is there.

    Raises:
        SweepError: if none was ever begun.
    """
    folder = find_folder(ladder, out)
    if not any(rung.entries for rung in ladder.rungs):
        return [RungRuns(rung, ()) for rung in ladder.rungs]
    if not (folder / MANIFEST).exists():
        raise SweepError(f"{folder}: no run of this ladder has begun; leave out --page-only, or give another --out")
    sweep = Sweep(folder, only=())
    return [RungRuns(rung, tuple(map(sweep.read_run, rung.entries))) for rung in ladder.rungs]
