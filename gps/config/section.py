"""The base of the sections of an experiment file, and annotations of their keys."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, cast

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationInfo, field_validator

from gps.config.explaining import PluggedNames, UsualName
from gps.config.sizes import require_finite, require_sane
from gps.extensions import plugins

Item = TypeVar("Item")
ListOf = Annotated[tuple[Item, ...], Strict(False)]  # TOML has lists; a frozen model holds them as tuples
NonNegative = Annotated[float, Ge(0)]

RELATIVE = "relative to the experiment's directory"
"""Annotation of a key that is a path: `Annotated[str, RELATIVE]`."""


class Section(BaseModel):
    """Base of all sections: immutable; only integers are converted to numbers; no unknown keys, NaN or infinity.

    Numbers of a size that nothing can have are refused too: see `gps.config.sizes`.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _sane(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[str(info.field_name)]
        require_sane(value, any(isinstance(mark, Le) for mark in field.metadata))
        if isinstance(value, dict) or (isinstance(value, tuple) and any(isinstance(item, dict) for item in value)):
            require_finite(value)
        return value

    def anchor(self, directory: Path) -> Self:
        """Return the section with its relative paths made absolute, relative to `directory`."""

        def anchor_one(_: str, section: Section) -> Section:
            paths = [key for key, field in type(section).model_fields.items() if RELATIVE in field.metadata]
            given = {key: value for key in paths if (value := getattr(section, key)) is not None}
            return section.model_copy(update={key: str((directory / value).resolve()) for key, value in given.items()})

        return self.rewrite(anchor_one)

    def rewrite(self, change: "Callable[[str, Section], Section]", key: str = "") -> Self:
        """Return the section with `change(key, section)` in place of itself and of each section within it.

        Args:
            change: gets the inner sections first, each with its dotted key; it returns a section of the same kind.
            key: of this section.
        """
        inner = {name: value for name in type(self).model_fields if isinstance(value := getattr(self, name), Section)}
        changed = {name: value.rewrite(change, f"{key}.{name}".lstrip(".")) for name, value in inner.items()}
        return cast(Self, change(key, self.model_copy(update=changed)))


class EarlierRunConfig(Section):
    """Keys of the sections that take something from an earlier run."""

    name: str
    path: Annotated[str, RELATIVE] = Field(description="a run directory, relative to the experiment's directory")
    iteration: int | None = Field(default=None, ge=0, description="iteration of that run; default: the last")


def usual_name(default: str) -> UsualName:
    """Return an annotation that lets a table of one of several kinds omit its `name`, or be nothing but its name."""

    def rewrite(table: Any) -> Any:
        table = _expand_name(table)
        return {"name": default, **table} if isinstance(table, dict) else table

    return UsualName(rewrite, usual=default)


def _expand_name(table: Any) -> Any:
    """Return the table for which a bare name stands: `initial = "pd"` is `initial = { name = "pd" }`."""
    return {"name": table} if isinstance(table, str) else table


def plugin_names(group: str, common: Sequence[str] = ()) -> PluggedNames:
    """Return an annotation that accepts an entry point's `name`; keys other than the `common` ones become options."""

    def rewrite(table: Any) -> Any:
        table = _expand_name(table)
        name = table.get("name") if isinstance(table, dict) else None
        if not isinstance(name, str) or name == "plugin" or name not in plugins.names(group):
            return table
        shared = {key: table[key] for key in common if key in table}
        options = {key: value for key, value in table.items() if key not in ("name", *common)}
        options |= shared.pop("options", {})
        return {**shared, "name": "plugin", "plugin": name, "options": options}

    return PluggedNames(rewrite, names=lambda: plugins.names(group))
