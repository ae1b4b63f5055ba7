"""Build the learner of a global model from `[algorithm.model]` or from the options of `gps fit`.

One table, `_MAKERS`, says which learner belongs to which section of `gps.config.model`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gps.builders.checks import call_factory
from gps.builders.modelled import Modelled
from gps.builders.simulators import attach_simulator, make_own_simulation, make_simulator
from gps.config.model import (
    GaussianProcessModelConfig,
    LearnedModelConfig,
    LinearModelConfig,
    MixtureModelConfig,
    ModelConfig,
    NeuralModelConfig,
    OwnSimulatorConfig,
    PhysicsModelConfig,
    PluginModelConfig,
    RecurrentModelConfig,
    StoredModelConfig,
)
from gps.dynamics.mixture import MixturePrior
from gps.environments.contract import Entry
from gps.environments.parts import find_entries, whole
from gps.errors import ConfigError, nearest
from gps.extensions import plugins
from gps.models.features import StateTransforms
from gps.models.linear import LinearLearner
from gps.models.mixture_learner import MixtureLearner
from gps.models.model import ModelLearner, SimulatorLearner
from gps.models.stored import read_model, require_system

_SHARED = ("name", "angles", "quaternions", "ignore")
"""Keys of all learned models that are not settings of their learners."""

_TURN = 2 * np.pi - 1e-6
"""An angle that moves in a narrower interval cannot turn around."""


def make_model(
    config: ModelConfig, modelled: Modelled, directory: Path = Path(), key: str = "algorithm.model"
) -> ModelLearner:
    """The learner as configured.

    Args:
        directory: of the experiment, to which paths are relative.
        key: the place of the section, for messages.

    Raises:
        ConfigError: if an entry of the state is unknown, or the model of another package cannot be built.
        StoredModelError: if a stored model is damaged or of another system.
    """
    if isinstance(config, OwnSimulatorConfig) and config.mjcf is not None:
        found = make_own_simulation(directory / config.mjcf, config.state, modelled, f"{key}.mjcf")
        modelled = modelled._replace(environment=found, conditions=())
    if isinstance(config, StoredModelConfig):
        stored = read_model(directory / config.path, lambda learner: attach_simulator(learner, modelled, f"{key}.path"))
        if config.mjcf is not None and not isinstance(stored.learner, SimulatorLearner):
            raise ConfigError(f"{key}.mjcf: {config.path} holds a model of kind {stored.kind!r}, without a simulator")
        require_system(f"{key}.path: {config.path}", stored, modelled.system)
        return stored.learner
    if isinstance(config, PluginModelConfig):
        factory = plugins.load("gps.models", config.plugin, f"{key}.name")
        return call_factory(factory, f"{key}: {config.plugin}", modelled, **config.options)
    make = next(make for section, make in _MAKERS.items() if isinstance(config, section))
    return make(config, modelled, key)


def make_single_model(
    config: ModelConfig, modelled: Modelled, directory: Path = Path(), key: str = "algorithm.model"
) -> ModelLearner:
    """The learner as configured, for an algorithm that takes one model for all conditions.

    Raises:
        ConfigError: see `make_model` and `require_one_system`.
        StoredModelError: see `make_model`.
    """
    learner = make_model(config, modelled, directory, key)
    require_one_system(learner, key)
    return learner


def require_one_system(learner: ModelLearner, key: str = "algorithm.model") -> None:
    """ConfigError for a simulator that differs between the conditions, where all of them are planned in one model."""
    if isinstance(learner, SimulatorLearner) and learner.simulator is not None and learner.simulator.varies:
        raise ConfigError(
            f"{key}: the conditions change the simulator's model, as the place of a body, and this algorithm plans in "
            "one model for all of them; give one condition, take the simulator as the prior of local models instead "
            '(trajopt), or learn a model without a simulator, such as "neural"'
        )


def find_transforms(config: LearnedModelConfig, modelled: Modelled, key: str) -> StateTransforms:
    """The angles, quaternions and ignored entries of the state, by their indices.

    For angles "auto" takes the entries in rad whose span is unknown or a whole turn; for quaternions it takes those of
    MuJoCo's free and ball joints.

    Raises:
        ConfigError: for an unknown name, a quaternion that does not have four entries or is ignored in part, or an
            entry that is both.
    """
    entries = modelled.state_entries
    if config.angles == "auto":
        angles = [i for i, entry in enumerate(entries) if entry.unit == "rad" and not entry.span < _TURN]
    else:
        names = () if config.angles == "none" else config.angles
        angles = [i for name in names for i in _find(name, modelled, f"{key}.angles")]
    firsts = _find_quaternions(entries) if config.quaternions == "auto" else []
    for name in () if isinstance(config.quaternions, str) else config.quaternions:
        found = _find(name, modelled, f"{key}.quaternions")
        if len(found) != 4 or found != list(range(found[0], found[0] + 4)):
            raise ConfigError(f"{key}.quaternions: {name!r} has {len(found)} entries; expected four, w, x, y, z")
        firsts.append(found[0])
    of_quaternions = {first + i for first in firsts for i in range(4)}
    if config.angles == "auto":
        angles = [i for i in angles if i not in of_quaternions]
    if both := sorted(of_quaternions & set(angles)):
        raise ConfigError(f"{key}: {entries[both[0]].name!r} is in both angles and quaternions")
    ignored = {i for name in config.ignore for i in _find(name, modelled, f"{key}.ignore")}
    for first in firsts:
        if 0 < len(ignored & set(range(first, first + 4))) < 4:
            raise ConfigError(f"{key}.ignore: {entries[first].name!r} begins a quaternion; name all of it or nothing")
    return StateTransforms(tuple(sorted(set(angles))), tuple(firsts), tuple(sorted(ignored)))


def _find_quaternions(entries: Sequence[Entry]) -> list[int]:
    """The first entries of the quaternions of MuJoCo's joints: the positions without a unit, four by four.

    Where no entry has a unit, nothing is known of any.
    """
    if not any(entry.unit for entry in entries):
        return []
    plain = [whole(entry.name).partition(":")[0] == "qpos" and not entry.unit for entry in entries]
    firsts, i = [], 0
    while i + 4 <= len(plain):
        there = all(plain[i : i + 4]) and len({whole(entry.name) for entry in entries[i : i + 4]}) == 1
        firsts += [i] if there else []
        i += 4 if there else 1
    return firsts


def _find(name: str, modelled: Modelled, key: str) -> list[int]:
    """The indices of an entry, or of a part of the state."""
    names = [entry.name for entry in modelled.state_entries]
    if name in names:
        return [names.index(name)]
    try:
        return find_entries(name, modelled.layout, names)
    except ValueError:
        raise ConfigError(
            f"{key}: unknown entry {name!r} of the state{nearest(name, [*names, *modelled.layout])}; known: "
            f"{_list([*names, *modelled.layout])}"
        ) from None


def _list(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))


# -- one function for each kind --------------------------------------------------------------------------------------


def _make_linear(config: LinearModelConfig, modelled: Modelled, key: str) -> LinearLearner:
    return LinearLearner(
        dx=len(modelled.state_entries),
        du=len(modelled.action_entries),
        transforms=find_transforms(config, modelled, key),
        ridge=config.ridge,
        max_points=config.max_points,
    )


def _make_mixture(config: MixtureModelConfig, modelled: Modelled, key: str) -> MixtureLearner:
    prior = MixturePrior(memory=1, **config.model_dump(exclude=set(_SHARED)))
    transforms = find_transforms(config, modelled, key)
    return MixtureLearner(len(modelled.state_entries), len(modelled.action_entries), prior, transforms)


def _make_neural(config: NeuralModelConfig, modelled: Modelled, key: str) -> ModelLearner:
    from gps.models.ensemble_learner import EnsembleLearner
    from gps.models.members import EnsembleOptions

    given = config.model_dump(include=set(NeuralModelConfig.model_fields) - {*_SHARED, "max_points", "likelihood"})
    return EnsembleLearner(
        dx=len(modelled.state_entries),
        options=EnsembleOptions(**given, probabilistic=config.likelihood == "gaussian"),
        max_points=config.max_points,
        transforms=find_transforms(config, modelled, key),
    )


def _make_recurrent(config: RecurrentModelConfig, modelled: Modelled, key: str) -> ModelLearner:
    from gps.models.recurrent_learner import RecurrentLearner, RecurrentOptions

    given = config.model_dump(include=set(RecurrentModelConfig.model_fields) - {*_SHARED, "max_points"})
    return RecurrentLearner(
        dx=len(modelled.state_entries),
        options=RecurrentOptions(**given),
        max_points=config.max_points,
        transforms=find_transforms(config, modelled, key),
    )


def _make_gaussian_process(config: GaussianProcessModelConfig, modelled: Modelled, key: str) -> ModelLearner:
    from gps.models.gaussian_process_learner import GaussianProcessLearner

    given = config.model_dump(include=set(GaussianProcessModelConfig.model_fields) - set(_SHARED))
    return GaussianProcessLearner(
        dx=len(modelled.state_entries), transforms=find_transforms(config, modelled, key), **given
    )


def _make_physics(config: PhysicsModelConfig, modelled: Modelled, key: str) -> ModelLearner:
    from gps.models.physics.fitting import FitSettings
    from gps.models.physics.learner import PhysicsLearner
    from gps.models.physics.parameters import Known

    known = Known(config.delay, tuple(sorted(config.assumed.items())))
    simulator = make_simulator(modelled, config.parameters, known, f"{key}.parameters")
    settings = FitSettings(config.window, config.max_windows, config.evaluations)
    learner: ModelLearner = PhysicsLearner.of(simulator, settings)
    if config.residual == "gp":
        from gps.models.gaussian_process_learner import GaussianProcessLearner
        from gps.models.residual import ResidualLearner

        return ResidualLearner(learner, GaussianProcessLearner(dx=len(modelled.state_entries)))
    return learner


_MAKERS: Mapping[type, Callable[[Any, Modelled, str], ModelLearner]] = {
    LinearModelConfig: _make_linear,
    MixtureModelConfig: _make_mixture,
    NeuralModelConfig: _make_neural,
    RecurrentModelConfig: _make_recurrent,
    GaussianProcessModelConfig: _make_gaussian_process,
    PhysicsModelConfig: _make_physics,
}
