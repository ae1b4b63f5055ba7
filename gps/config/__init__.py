"""Read, validate and type an experiment file, `experiment.toml`. One frozen model per section, one module per table.

The models are the reference of the format: every key with its default and its unit. Only `[environment]` (an `id` or an
`mjcf`) is required. `load` reads a file; `--set section.key=value` overrides pass the same validation. Each error is
one line with the file (or the override), the key, the expected value, and the nearest known key.
"""

from gps.config.algorithms.shared import OnTrouble
from gps.config.experiment import ExperimentConfig
from gps.config.finding import FILE_NAME, find_experiment, list_experiments
from gps.config.reading import load, parse, parse_value, replace_settings

__all__ = [
    "FILE_NAME", "ExperimentConfig", "OnTrouble", "find_experiment", "list_experiments", "load", "parse", "parse_value",
    "replace_settings",
]  # fmt: skip
