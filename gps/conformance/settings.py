"""Every setting of an experiment: the keys with their values, and those without one with what holds instead."""

from collections.abc import Iterator
from typing import Any

from gps.config import ExperimentConfig
from gps.config.section import Section


def describe_settings(config: ExperimentConfig) -> str:
    """The experiment as TOML with every key; the keys without a value follow as comments."""
    unset = "\n".join(f"# {key}: {meaning}" for key, meaning in _list_unset(config, ""))
    return f"{config.to_toml()}\n# not set:\n{unset}" if unset else config.to_toml()


def _list_unset(section: Section, prefix: str) -> Iterator[tuple[str, str]]:
    """The dotted key and the description of each key whose value is None."""
    for key, field in type(section).model_fields.items():
        value: Any = getattr(section, key)
        if value is None:
            yield f"{prefix}{key}", field.description or ""
        for i, item in enumerate(value if isinstance(value, tuple) else ()):
            if isinstance(item, Section):
                yield from _list_unset(item, f"{prefix}{key}.{i}.")
        if isinstance(value, Section):
            yield from _list_unset(value, f"{prefix}{key}.")
