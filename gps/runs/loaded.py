"""What an experiment loads from elsewhere, of which a run keeps copies: it stands alone when the originals are gone.

- *A global model* that `gps fit` has written: its file.
- *The earlier run of an expert*: an excerpt. It has the run's description and, of one iteration, what was learned: its
  `policy.npz`, or where that is no policy but a planner, its `state.npz` and the files that the planner is built from.
- *The earlier run of the first controllers*: nothing; `first.npz` holds the controllers.

The copies lie in `source/_loaded` of the run, by the key that names the original, and their paths in its
`experiment.toml`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gps.config.expert import RunExpertConfig
from gps.config.model import StoredModelConfig
from gps.config.section import EarlierRunConfig, Section
from gps.errors import RunError
from gps.runs.finding import load_run
from gps.runs.layout import POLICY, SOURCE, STATE
from gps.storage.folders import SUMS, Damage, has_sum, list_summed

if TYPE_CHECKING:
    from gps.config import ExperimentConfig
    from gps.runs.run import Run

_LOADED = "_loaded"


@dataclass(frozen=True)
class Loaded:
    """What an experiment loads from elsewhere.

    Attributes:
        copies: place in `source`, with slashes -> the file to copy.
        origins: key of the experiment -> the path of the original.
        config: the experiment with the copies in place of the originals.
    """

    copies: Mapping[str, Path]
    origins: Mapping[str, str]
    config: ExperimentConfig


def settle(config: ExperimentConfig, directory: Path) -> ExperimentConfig:
    """Return the experiment with each earlier run settled: one directory and one iteration, whatever comes after it.

    Args:
        directory: of the experiment, to which its paths are relative.

    Raises:
        RunError: if there is no such run or iteration.
    """

    def settle_one(_: str, section: Section) -> Section:
        if not isinstance(section, EarlierRunConfig):
            return section
        run = load_run(directory / section.path)
        path, iteration = str(run.path.resolve()), run.iterations.resolve(section.iteration)
        return section.model_copy(update={"path": path, "iteration": iteration})

    return config.rewrite(settle_one)


def find_loaded(config: ExperimentConfig, directory: Path) -> Loaded:
    """Find what an experiment loads from elsewhere.

    Args:
        directory: of the experiment, to which its paths are relative.

    Raises:
        RunError: if an earlier run is missing or damaged.
    """
    copies: dict[str, Path] = {}
    origins: dict[str, str] = {}

    def find_one(key: str, section: Section) -> Section:
        match section:
            case RunExpertConfig():
                run = load_run(directory / section.path)
                iteration, place = run.iterations.resolve(section.iteration), f"{_LOADED}/{key}"
                copies.update({f"{place}/{name}": run.path / name for name in _list_excerpt(run, iteration)})
                changes = {"path": place, "iteration": iteration}
            case StoredModelConfig():
                place = f"{_LOADED}/{key}.npz"
                copies[place] = directory / section.path
                changes = {"path": place}
            case _:
                return section
        origins[f"{key}.path"] = str((directory / section.path).resolve())
        return section.model_copy(update=changes)

    return Loaded(copies, origins, config.rewrite(find_one))


def _list_excerpt(run: Run, iteration: int) -> list[str]:
    """The files of a run by which others can use what an iteration has learned, relative to its directory."""
    try:
        return list(_find_excerpt(run, run.folder(iteration).relative_to(run.path)))
    except Damage as damage:
        raise RunError(f"{damage.file}: {damage.what}; this run cannot be used") from None


def _find_excerpt(run: Run, iteration: Path) -> Iterator[str]:
    yield from (SUMS, *list_summed(run.path))
    stored = has_sum(run.path / iteration, POLICY)
    yield from (f"{iteration.as_posix()}/{name}" for name in (SUMS, POLICY if stored else STATE))
    if not stored and run.kept.copies:
        yield from (f"{SOURCE}/{name}" for name in (SUMS, *list_summed(run.source)))
