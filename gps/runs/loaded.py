"""What an experiment loads from elsewhere, of which a run keeps copies: it stands alone when the originals are gone.

- *A global model* that `gps fit` has written: its file.
- *The MuJoCo model* of a system that is no simulation: its files.
- *The earlier run of an expert*: an excerpt. It has the run's description and, of one iteration, what was learned: its
  `policy.npz`. Where that is no policy but a planner: its `state.npz`, the files that the planner is built from, and
  the episodes that are the first lessons.
- *The earlier run of the first controllers*: nothing; `first.npz` holds the controllers.

The copies lie in `source/_loaded` of the run, by the key that names the original, and their paths in its
`experiment.toml`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gps.config.controller import FileInitialConfig
from gps.config.expert import RunExpertConfig
from gps.config.model import OwnSimulatorConfig, StoredModelConfig
from gps.config.section import EarlierRunConfig, Section
from gps.errors import RunError
from gps.runs.finding import load_run
from gps.runs.layout import METRICS, POLICY, ROLLOUTS, STATE
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

    Controllers of a file have no iteration.

    Args:
        directory: of the experiment, to which its paths are relative.

    Raises:
        RunError: if there is no such run or iteration.
    """

    def settle_one(_: str, section: Section) -> Section:
        if not isinstance(section, EarlierRunConfig):
            return section
        if isinstance(section, FileInitialConfig) and (file := directory / section.path).is_file():
            return section.model_copy(update={"path": str(file.resolve())})
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

    def keep(key: str, name: str, section: Any, copies_of_it: Mapping[str, Path]) -> dict[str, str]:
        """Add the copies of a file that a key names, and return the key with the first copy as its value."""
        copies.update(copies_of_it)
        origins[f"{key}.{name}"] = str((directory / getattr(section, name)).resolve())
        return {name: next(iter(copies_of_it))}

    def find_one(key: str, section: Section) -> Section:
        place, changes = f"{_LOADED}/{key}", {}
        if isinstance(section, RunExpertConfig):
            run = load_run(directory / section.path)
            iteration = run.iterations.resolve(section.iteration)
            excerpt = _list_excerpt(run, iteration, section.find_lessons(iteration))
            copies.update({f"{place}/{name}": run.path / name for name in excerpt})
            origins[f"{key}.path"] = str((directory / section.path).resolve())
            changes = {"path": place, "iteration": iteration}
        if isinstance(section, StoredModelConfig):
            changes |= keep(key, "path", section, {f"{place}.npz": directory / section.path})
        if isinstance(section, OwnSimulatorConfig) and section.mjcf is not None:
            changes |= keep(key, "mjcf", section, _list_model(directory / section.mjcf, place))
        return section.model_copy(update=changes) if changes else section

    return Loaded(copies, origins, config.rewrite(find_one))


def _list_model(mjcf: Path, place: str) -> dict[str, Path]:
    """The files of a MuJoCo model, itself first, by their places in `source`: as they lie relative to each other."""
    from gps.environments.mujoco.files import list_files

    files = list_files(mjcf)
    root = Path(os.path.commonpath([path.parent for path in files]))
    return {f"{place}/{path.relative_to(root).as_posix()}": path for path in files}


def _list_excerpt(run: Run, iteration: int, lessons: Iterable[int]) -> list[str]:
    """The files of a run by which others can use what an iteration has learned, relative to its directory.

    Args:
        lessons: iterations whose episodes belong to it if they were planned.
    """
    try:
        files = [run.path / name for name in (SUMS, *list_summed(run.path))]
        if has_sum(run.folder(iteration), POLICY):
            files += (run.folder(iteration) / name for name in (SUMS, POLICY))
        else:
            files += (run.folder(iteration) / name for name in (SUMS, STATE))
            files += (run.folder(k) / name for k in lessons for name in (SUMS, METRICS, ROLLOUTS))
            files += (run.source / name for name in _list_source(run))
    except Damage as damage:
        raise RunError(f"{damage.file}: {damage.what}; this run cannot be used") from None
    return list(dict.fromkeys(file.relative_to(run.path).as_posix() for file in files))


def _list_source(run: Run) -> list[str]:
    return [SUMS, *list_summed(run.source)] if run.kept.copies else []
