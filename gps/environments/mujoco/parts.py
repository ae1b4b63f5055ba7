"""The language of parts: from `"qpos"` or `"site_position:tip-goal[xy]"` to live arrays of a batch of simulations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import mujoco
import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray

from gps.environments.contract import Floats
from gps.environments.mujoco.cameras import Cameras
from gps.environments.mujoco.names import identify, joint_slice, list_names, read_numbers, require, suggest
from gps.environments.mujoco.stages import STAGE_VEL
from gps.environments.parts import PartError, find_entries, require_distinct, whole

KNOWN = ("qpos", "qvel", "act", "qpos:", "qvel:", "site_position:", "site_velocity:", "sensor:", "image:")
"""The parts of every model, or how they begin."""

DERIVED = ("site_position", "site_velocity", "sensor")
"""The kinds of parts that MuJoCo computes from the others."""


class PartArrays(NamedTuple):
    """Parts of the simulations that are read as one array.

    Attributes:
        layout: the slice of each part in a row.
        sources: the slice, the live array to copy, and the array to subtract from it, if any.
        shape: of the array, (num_envs, width).
        dtype: of the array.
    """

    layout: dict[str, slice]
    sources: list[tuple[slice, NDArray[Any], NDArray[Any] | None]]
    shape: tuple[int, int]
    dtype: np.dtype[Any]

    @property
    def width(self) -> int:
        return self.shape[1]

    def read(self) -> NDArray[Any]:
        """Return a new array of the current values."""
        values = np.empty(self.shape, self.dtype)
        for part, source, origin in self.sources:
            if origin is None:
                values[:, part] = source
            else:
                np.subtract(source, origin, out=values[:, part])
        return values


class PartReader:
    """Resolves the names of parts into live arrays of a batch.

    Args:
        batch: the simulations.
        cameras: the cameras that draw the parts `image:CAMERA`.
        stage: how far MuJoCo computes at the new time after every step, at least.
        own: parts that only this environment has: live arrays (num_envs, width).

    Attributes:
        stage: how far MuJoCo must compute for the parts that have been resolved so far.
    """

    def __init__(self, batch: Batch, cameras: Cameras, stage: int, own: Mapping[str, NDArray[Any]]) -> None:
        self.stage = stage
        self._batch, self._cameras, self._own = batch, cameras, own
        self._sites: dict[str, Floats] = {}

    def site(self, name: str) -> Floats:
        """The live world positions of a site, (num_envs, 3), in metres.

        Raises:
            ValueError: for an unknown site.
        """
        if name not in self._sites:
            site = identify(self._batch.model, mujoco.mjtObj.mjOBJ_SITE, name, "site")
            self._sites[name] = self._batch.bind("site_xpos")[:, site]
        return self._sites[name]

    def span(self, name: str, where: str) -> tuple[Floats, Floats | None]:
        """The live positions of a site and of its target, (num_envs, 3) each, in metres.

        Args:
            name: `SITE`, whose target is None, `SITE-TARGET`, or `SITE-[x, y, z]` with a point of the world in metres.

        Raises:
            ValueError: for an unknown site and for something else than three numbers; begins with `where`.
        """
        site, *target = _split_sites(self._batch.model, name, where)
        if not target:
            return self.site(site), None
        if isinstance(target[0], str):
            return self.site(site), self.site(target[0])
        return self.site(site), np.broadcast_to(target[0], (self._batch.nsim, 3))

    def resolve(self, parts: Sequence[str], of: str) -> PartArrays:
        """Resolve parts in order.

        Args:
            of: "state" or "observation".

        Raises:
            PartError: for an unknown part, one that is listed twice, a picture in the state, and an empty list.
        """
        layout: dict[str, slice] = {}
        sources = []
        start = 0
        try:
            require_distinct(parts)
            for part in parts:
                first = start
                if part.startswith("image:") and of == "state":
                    raise ValueError(f"part {part!r}: a picture may be in the observation, not in the state")
                for source, origin in self._select(part):
                    sources.append((slice(start, start := start + source.shape[1]), source, origin))
                layout[part] = slice(first, start)
        except ValueError as error:
            raise PartError(of, str(error)) from None
        if not start:
            raise PartError(of, f"the {of} is empty: list at least one part, for example 'qpos'")
        pictures = [source.dtype == np.uint8 for _, source, _ in sources]
        # Pictures alone stay bytes; as doubles, among other parts, they would be eight times as large.
        dtype = np.uint8 if all(pictures) else np.float32 if any(pictures) else np.float64
        return PartArrays(layout, sources, (self._batch.nsim, start), np.dtype(dtype))

    def whole(self, part: str) -> str:
        """The part without its choice of entries. Brackets may also belong to a name in the model."""
        try:
            self._find_source(part)
        except ValueError:
            return whole(part)
        return part

    def _select(self, part: str) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
        """Yield the arrays of a part, as `_find_source` gives them: the whole one, or one for each chosen entry."""
        if (name := self.whole(part)) == part:
            yield self._find_source(part)
            return
        source, origin = self._find_source(name)
        for i in find_entries(part, {name: slice(0, source.shape[1])}):
            yield source[:, i : i + 1], None if origin is None else origin[:, i : i + 1]

    def _find_source(self, part: str) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Return the live array of a part, (num_envs, width), and the array to subtract from it, if any."""
        model, bind = self._batch.model, self._batch.bind
        if part in self._own:
            return self._own[part], None
        kind, _, name = part.partition(":")
        if kind == "image" and name:
            return self._cameras.pixels(name, f"part {part!r}: camera"), None
        if part in ("qpos", "qvel", "act"):
            return bind(part), None
        if kind in ("qpos", "qvel") and name:
            joint = identify(model, mujoco.mjtObj.mjOBJ_JOINT, name, f"part {part!r}: joint")
            return bind(kind)[:, joint_slice(model, kind, joint)], None
        if kind in DERIVED and name:
            self.stage = max(self.stage, STAGE_VEL)
        if kind == "site_position" and name:
            return self.span(name, f"part {part!r}")
        if kind == "site_velocity" and name:
            identify(model, mujoco.mjtObj.mjOBJ_SITE, name, f"part {part!r}: site")
        if kind in ("site_velocity", "sensor") and name:  # `load_model` has added the sensors of site velocities
            name = part if kind == "site_velocity" else name
            sensor = identify(model, mujoco.mjtObj.mjOBJ_SENSOR, name, f"part {part!r}: sensor")
            # A sensor of forces or accelerations is current only after the last stage, which costs a solve.
            self.stage = max(self.stage, int(model.sensor_needstage[sensor]))
            first = model.sensor_adr[sensor]
            return bind("sensordata")[:, first : first + model.sensor_dim[sensor]], None
        raise ValueError(f"part {part!r} is unknown{suggest(part, (*KNOWN, *self._own))}")


def _split_sites(model: mujoco.MjModel, name: str, where: str) -> list[Any]:
    """Return the site and the target, if any, a site or a point; the names of sites may hold hyphens themselves."""
    sites = list_names(model, mujoco.mjtObj.mjOBJ_SITE)
    if name in sites:
        return [name]
    splits = [(name[:i], name[i + 1 :]) for i, letter in enumerate(name) if letter == "-"]
    for pair in splits:
        if pair[0] in sites and pair[1] in sites:
            return list(pair)
    for site, target in splits:
        if target.startswith("[") and target.endswith("]"):
            require(site, sites, f"{where}: site")
            return [site, read_numbers(target[1:-1].split(","), (3,), f"{where}: the point {target}")]
    for candidate in splits[0] if len(splits) == 1 else (name,):
        require(candidate, sites, f"{where}: site")
    raise AssertionError("one of the names is unknown")
