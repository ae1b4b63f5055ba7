"""The learner of `RecurrentModel`: its settings, the data so far, and the networks that were fitted to them.

The networks predict each change from the recorded states and actions before it. They are trained on sequences
(`gps.models.sequences`), through whose steps the gradient flows, by the mean squared error of the steps that count.
"""

import dataclasses
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Float

from gps.backend import Array, jax, jnp
from gps.errors import PolicyError
from gps.linear_gaussian.linalg import psd_solve
from gps.models.data import Dataset
from gps.models.features import Differences, Encoding
from gps.models.members import MembersOptions, mean_of_running, measure_unit, split_members
from gps.models.network_learner import Losses, NetworkLearner, normalise_data
from gps.models.recurrent import RecurrentMember, RecurrentModel
from gps.models.sequences import SequenceRows, cut_sequences
from gps.networks.fitting import AdamState, FittedParameters, Split, fit_members
from gps.status import ModelStatus

_RIDGE = 1.0
"""Of the linear map, in samples."""

_LEAST_NOISE = 0.05
"""Least share of a member's squared error that is noise, however large the spread of the members."""


@dataclasses.dataclass(frozen=True)
class RecurrentOptions(MembersOptions):
    """Options of the networks and of their training; `MembersOptions` has the others.

    Args:
        units: n, the size of each member's memory.
        sequence: L, the largest number of steps that a gradient flows through in training.
        burn_in: steps of a sequence that begins within an episode which only fill the memory.
        batch: sequences in a mini-batch.

    Raises:
        PolicyError: if a value is out of range.
    """

    hidden: tuple[int, ...] = (64,)
    members: int = 3
    units: int = 32
    sequence: int = 50
    burn_in: int = 10
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    steps: int = 1500
    batch: int = 16
    check_every: int = 50
    patience: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.units < 1 or not 0 <= self.burn_in < self.sequence:
            raise PolicyError("need units >= 1 and 0 <= burn_in < sequence")


@dataclasses.dataclass(frozen=True)
class RecurrentLearner(NetworkLearner):
    """A `gps.models.model.ModelLearner` of recurrent networks. Each fit starts from random parameters.

    The transitions that it is trained on are evenly spread sequences. The one-step error of its record is that of each
    member on what was held out from it.
    """

    options: RecurrentOptions = RecurrentOptions()
    model: RecurrentModel | None = None

    @property
    def kind(self) -> str:
        return "recurrent"

    def fit(self, data: Dataset, new: Dataset, seed: int) -> Self:
        scales = normalise_data(data, self.transforms)
        if isinstance(scales, ModelStatus):
            return self.keep(scales, data.size)
        L, burn_in = self.options.sequence, self.options.burn_in
        sequences = cut_sequences(data, L, burn_in, max(self.max_points // L, 1))
        if not len(sequences.rows):
            return self.keep(ModelStatus.TOO_FEW_POINTS, data.size)
        fit = fit_recurrent(data, sequences, *scales, self.options, seed)
        if not fit.status.ok:
            return self.keep(fit.status, fit.points, fit.losses)
        record = self.describe(fit.status, fit.points, fit.losses, one_step_error=fit.error)
        return dataclasses.replace(self, model=fit.model, record=record)


class RecurrentFit(NamedTuple):
    """The result of a training."""

    model: RecurrentModel
    status: ModelStatus
    points: int  # transitions that count
    losses: Losses
    error: Float[np.ndarray, "dx"]  # root mean square of each member's error on what it did not see, units of the state


def fit_recurrent(
    data: Dataset,
    sequences: SequenceRows,
    encoding: Encoding,
    differences: Differences,
    options: RecurrentOptions,
    seed: int,
) -> RecurrentFit:
    """Train new members on sequences; keep each member's parameters of its lowest held-out loss.

    The same arguments give the same bits.
    """
    f, y, varies = encoding.encode_all(data), differences.encode_all(data), differences.varies
    df, dx = f.shape[1], y.shape[1]
    linear = np.asarray(psd_solve(f.T @ f + _RIDGE * np.eye(df), f.T @ y))
    rest = y - f @ linear
    unit = measure_unit(rest, varies)
    counted = sequences.counted.astype(float)
    samples = tuple(
        array.astype(np.float32)
        for array in (f[sequences.rows], (rest / unit)[sequences.rows], counted * (len(counted) / counted.sum()))
    )
    members = [
        RecurrentMember.create(df, options.units, options.hidden, dx, key)
        for key in jax.random.split(jax.random.key(seed), options.members)
    ]
    start = jax.tree.map(lambda *arrays: np.stack(arrays), *members)
    zeros, counts = jax.tree.map(np.zeros_like, start), np.zeros(options.members, np.int32)
    rng = np.random.default_rng(seed)
    splits = split_members(sequences.episodes, options, rng)
    ends = fit_members(
        _squared_error_along,
        AdamState(start, zeros, zeros, counts, counts),
        samples,
        splits,
        rng,
        options,
        context=varies.astype(np.float32),
        usual_loss=_loss_of_nothing,
    )
    trained = jax.tree.map(lambda *arrays: np.stack(arrays), *[end.best.parameters for end in ends])
    noise, error = _measure_errors(trained, samples, splits, varies)
    model = RecurrentModel(trained, linear, unit, unit * noise, encoding, differences, data.inputs.std(axis=0))
    return RecurrentFit(
        model,
        _judge_ends(ends),
        int(counted.sum()),
        Losses(*(mean_of_running([getattr(end, name) for end in ends]) for name in ("training_loss", "held_out_loss"))),
        differences.deviation * unit * error,
    )


def _squared_error_along(member: RecurrentMember, varies: Array, samples: Any, weights: Array) -> Array:
    """The weighted sum over sequences of half the squared error of the steps that count."""
    f, y, counted = samples
    error = y - jax.vmap(member.follow)(f)
    return jnp.sum(weights[:, None] * counted * (0.5 * error**2 @ varies))


def _loss_of_nothing(varies: Array, samples: Any, weights: Array) -> Array:
    """The loss of the linear map alone."""
    return jnp.maximum(0.5 * jnp.sum(varies), 1.0)


def _judge_ends(ends: list[FittedParameters]) -> ModelStatus:
    if any(end.diverged for end in ends):
        return ModelStatus.DIVERGED
    return ModelStatus.STOPPED_EARLY if all(end.stopped_early for end in ends) else ModelStatus.OK


@jax.jit
def _follow_each(members: RecurrentMember, inputs: Float[Array, "W L df"]) -> Float[Array, "E W L dy"]:
    return jax.vmap(lambda member: jax.vmap(member.follow)(inputs))(members)


def _measure_errors(
    members: RecurrentMember, samples: Any, splits: list[Split], varies: np.ndarray
) -> tuple[Float[np.ndarray, "dx"], Float[np.ndarray, "dx"]]:
    """Return the deviation of the noise and the root mean square error, in the unit of the networks.

    A member's error on what it did not see has its own doubt, which the spread of the members adds to every
    prediction, and the noise. The noise is what remains.
    """
    size = 1 << (max(len(split.held) for split in splits) - 1).bit_length()
    noises, squares = [], []
    for member, split in enumerate(splits):
        held = np.resize(split.held, size)
        f, y, counted = (array[held] for array in samples)
        predicted = np.asarray(_follow_each(members, f), float)
        there = counted > 0
        square = ((y - predicted[member]) ** 2)[there].mean(axis=0)
        spread = predicted.var(axis=0)[there].mean(axis=0)
        noises.append(np.maximum(square - spread, _LEAST_NOISE * square))
        squares.append(square)
    noise, error = np.sqrt(np.mean(noises, axis=0)), np.sqrt(np.mean(squares, axis=0))
    return np.where(varies, noise, 0.0), np.where(varies, error, 0.0)
