"""An experiment file: `experiment.toml` read, validated and typed. One frozen model per section, one module per table.

The models are the reference of the format: every key, its default, its unit. Only `[environment]` (an `id` or an
`mjcf`) must be there. `load` reads a file; `--set section.key=value` overrides go through the same validation. What is
wrong is said in one line each, with the file (or the override), the key, what was expected, and the nearest known key.
"""

from gps.config.algorithm import OnTrouble
from gps.config.experiment import ExperimentConfig
from gps.config.reading import FILE_NAME, load, parse, replaced, value_of

__all__ = ["FILE_NAME", "ExperimentConfig", "OnTrouble", "load", "parse", "replaced", "value_of"]
