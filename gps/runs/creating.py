"""A new run directory: the experiment as resolved, copies of all that it is built from, and where it came from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gps.config import replace_settings
from gps.errors import RunError
from gps.runs.layout import FIRST, FORMAT, INFO, INTERFACE, ITERATIONS, SOURCE, VERSIONS
from gps.runs.loaded import find_loaded
from gps.runs.provenance import list_versions
from gps.runs.run import Run
from gps.runs.source import Kept, find_source, write_source
from gps.storage.folders import new_folder, publish, write, write_sums
from gps.storage.serialization import flatten, write_npz
from gps.storage.write_errors import report_write_errors

if TYPE_CHECKING:
    from gps.config import ExperimentConfig
    from gps.first_controllers import FirstControllers
    from gps.policies.interface import Interface


def create_run(
    out: Path | None,
    name: str,
    seed: int,
    config: ExperimentConfig,
    source: Path,
    command: str,
    state_layout: Mapping[str, slice] | None = None,
    group: str = "",
    files: Sequence[Path] = (),
    interface: Interface | None = None,
    first: FirstControllers | None = None,
) -> Run:
    """Make a new directory `out/name/group/<UTC time>-seed<k>`.

    Args:
        out: the folder of all runs; None for `runs` in the working directory.
        config: as resolved; paths in it are relative to `source`.
        source: the experiment's directory; see `gps.runs.source` about what is copied.
        command: the command that was typed.
        state_layout: the slice of each part in the environment's state vector.
        group: a folder of runs that belong together, such as those of a sweep; empty for none.
        files: those that the environment has read; see `BatchEnvironment.files`.
        interface: names, units and limits for `gps export`; None if they are unknown.
        first: the first controllers; None where nothing is known of them.

    Raises:
        RunError: if it cannot be written, or what the experiment loads from elsewhere cannot be read.
    """
    folder = (Path("runs") if out is None else Path(out)) / name / group
    now = datetime.now(UTC)
    anchored = replace_settings(config, seed=seed).anchor(source)
    loaded = find_loaded(anchored, source)
    with report_write_errors(folder, RunError):
        folder.mkdir(parents=True, exist_ok=True)
        with new_folder(folder) as fresh:
            found = find_source(source, config.environment.mjcf, files, loaded.copies)
            kept = write_source(fresh / SOURCE, found, loaded.origins)
            write(fresh / "experiment.toml", _with_mjcf(loaded.config, found.mjcf).to_toml())
            write(fresh / INFO, _describe(name, now.isoformat(), state_layout, kept))
            write(fresh / "command.txt", command + "\n")
            write(fresh / VERSIONS, json.dumps(list_versions(), indent=2) + "\n")
            if interface is not None:
                write(fresh / INTERFACE, interface.to_json() + "\n")
            if first is not None:
                write_npz(fresh / FIRST, flatten(first))
            (fresh / ITERATIONS).mkdir()
            write_sums(fresh)
            path = publish(fresh, _free_names(folder, f"{now:%Y%m%dT%H%M%SZ}-seed{seed}"))
    return Run(path, name, now.isoformat(), state_layout, kept)


def _with_mjcf(config: ExperimentConfig, mjcf: str | None) -> ExperimentConfig:
    """The experiment with another path of its model; see `Source.mjcf`."""
    environment = config.environment.model_copy(update={"mjcf": mjcf})
    return config.model_copy(update={"environment": environment})


def _describe(name: str, started: str, state_layout: Mapping[str, slice] | None, kept: Kept) -> str:
    """The text of `run.json`."""
    info: dict[str, Any] = {"format": FORMAT, "name": name, "started": started}
    if state_layout is not None:
        info["state"] = {part: [where.start, where.stop] for part, where in state_layout.items()}
    return json.dumps(info | {"source": vars(kept)}, indent=2) + "\n"


def _free_names(folder: Path, name: str) -> Iterator[Path]:
    yield folder / name
    for k in range(2, 10_000):
        yield folder / f"{name}-{k}"
