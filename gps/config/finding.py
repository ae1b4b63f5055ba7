"""Find an experiment: a path on disk, or the name of one that comes with the package."""

from difflib import SequenceMatcher
from pathlib import Path

from gps.errors import ConfigError, nearest

FILE_NAME = "experiment.toml"

_PACKAGE = Path(__file__).parents[1]
_HOMES = _PACKAGE / "experiments", _PACKAGE.parent / "experiments"  # of an installed package, of a checkout


def find_experiment(experiment: str | Path) -> Path:
    """Return the directory (or the file) of an experiment. A path on disk wins over a name.

    Args:
        experiment: a directory with an `experiment.toml`, that file, or a name from `list_experiments`.

    Raises:
        ConfigError: if there is none. It lists the names, the nearest first.
    """
    path = Path(experiment)
    if path.exists():
        return path
    shipped = list_experiments()
    name = str(experiment)
    if name in shipped:
        return shipped[name]
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    hint = nearest(path.name, siblings)
    if not hint and path.name in shipped:  # experiments/NAME, as in a checkout
        hint = f"; did you mean {path.name!r}?"
    elif not hint and path.name == name and shipped:
        order = sorted(shipped, key=lambda other: -SequenceMatcher(None, name, other).ratio())
        hint = f"; these come with gps, the nearest first: {', '.join(order)}"
    raise ConfigError(f"{name}: no such experiment{hint}")


def list_experiments() -> dict[str, Path]:
    """Return the experiments that come with the package: name -> directory, by name."""
    home = next((home for home in _HOMES if home.is_dir()), None)
    found = [] if home is None else sorted(home.glob(f"*/{FILE_NAME}"))
    return {file.parent.name: file.parent for file in found}
