"""The members of an ensemble: perceptrons that predict a Gaussian, and their training on a bootstrap of the data.

A member maps inputs f to the mean of normalised targets y: a linear map, fitted by least squares and shared by the
members, plus a perceptron, which learns what remains. So a linear system costs nothing to learn, few data make a model
that is close to linear, and far from the data it goes on linearly. With the rest, in units of its own deviation, as y,
a member learns its mean μ(f) and its log-variances s(f) by

    ½ Σ_j (y_j − μ_j)²  +  ½ Σ_j [ e_j² exp(−s_j) + s_j ] + c Σ_j (high_j − low_j),   e = y − μ,

where e and the last hidden layer are held fixed in the second sum: the mean is as accurate as that of a network without
variances, while the plain likelihood weights the data by the variance, so that on few data an overconfident variance
spoils the mean (Stirn et al. 2023, faithful heteroscedastic regression). `low` and `high` bound s softly; they are
learned and drawn together, so that far from the data the variance stays within what was seen (Chua et al. 2018, app.
A.1). Training errors are too small a measure of the variance, so each target's variance is finally scaled to the
errors on what was held out. A *deterministic* member has a constant variance,
from these errors alone.
"""

import dataclasses
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from gps.backend import Array, jax, jnp
from gps.errors import PolicyError
from gps.linear_gaussian.linalg import psd_solve
from gps.linear_gaussian.types import pytree
from gps.networks import MLP
from gps.networks.fitting import AdamState, FitOptions, FittedParameters, Split, fit_members
from gps.status import ModelStatus

_LOW, _HIGH = -10.0, 0.5
"""Bounds of the log-variance at the start; weight decay pulls towards them."""

_DRAWN_TOGETHER = 0.01
"""c, the weight of the distance between the bounds (Chua et al. 2018, app. A.1)."""

_MOST_EXCESS = 20.0
"""Largest change of a log-variance by the errors on what was held out."""

_MOST_WIDENING = 60.0
"""Largest change of a log-variance before a training."""

_LOOKED_AT = 2048
"""Number of samples that variances are compared with before a training; it is fixed, so that it is compiled once."""

_RIDGE = 1.0
"""Of the linear map, in samples."""

_LEAST_UNIT = 1e-4
"""Smallest deviation of what the linear map leaves that is learned, relative to the target's: float32 resolves 1e-7."""

_LEAST_NOISE = 0.05
"""Least share of a member's squared error that is noise, however large the spread of the members."""

_MOST_DECAY = 3.0
"""Largest weight decay by the shrinkage: a larger one leaves no function."""

_FEW_EPISODES = 5
"""With fewer, runs of consecutive rows are held out instead of whole episodes."""


@dataclasses.dataclass(frozen=True)
class MembersOptions(FitOptions):
    """The size of an ensemble and the inputs of its members; `FitOptions` has the options of the training.

    Args:
        hidden: sizes of the hidden layers.
        members: E; 1 for a single network.
        bootstrap: True to train each of several members on rows drawn with replacement.

    Raises:
        PolicyError: if a value is out of range.
    """

    hidden: tuple[int, ...] = (200, 200)
    members: int = 5
    bootstrap: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.members, *self.hidden) < 1:
            raise PolicyError("members and the sizes of the hidden layers must be at least 1")


@dataclasses.dataclass(frozen=True)
class EnsembleOptions(MembersOptions):
    """Options of the members and of their training; `MembersOptions` has the others.

    Args:
        linear: True to learn only what a linear map leaves.
        probabilistic: True to learn the variance as a function of the inputs.
        shrinkage: weight decay times the number of samples, added to `weight_decay`: a prior towards small weights,
            which counts less the more data there are.
        warm_steps: largest number of mini-batches of a fit that starts from an earlier one.
        batch: samples in a mini-batch; with few data, a quarter of them.

    Raises:
        PolicyError: if a value is out of range.
    """

    linear: bool = True
    probabilistic: bool = True
    shrinkage: float = 300.0
    learning_rate: float = 3e-3
    steps: int = 2000
    warm_steps: int = 1000
    batch: int = 256
    patience: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warm_steps < 1:
            raise PolicyError("warm_steps must be at least 1")
        if not self.shrinkage >= 0:
            raise PolicyError("need shrinkage >= 0")


DEFAULTS = EnsembleOptions()


@pytree
class GaussianNetwork:
    """The Gaussian of dy separate targets, `offset + f linear + unit network(f)`. With leading axes E it is a batch.

    Args:
        network: its outputs are the means and, if it is probabilistic, the log-variances before they are bounded.
        low, high: bounds of the log-variance; equal, and its value, if it is deterministic.
        linear, offset: the linear map, the same in all members.
        unit: of the network's targets.
    """

    network: MLP
    low: Float[Array, "*E dy"]
    high: Float[Array, "*E dy"]
    linear: Float[Array, "*E df dy"]
    offset: Float[Array, "*E dy"]
    unit: Float[Array, "*E dy"]

    @classmethod
    def create(cls, regression: "Regression", options: EnsembleOptions, key: jax.Array) -> Self:
        """Return `options.members` untrained networks in float32 around the linear map that fits the data."""
        f, y = regression.inputs, regression.targets
        df, dy = f.shape[1], y.shape[1]
        sizes = (df, *options.hidden, 2 * dy if options.probabilistic else dy)
        keys = jax.random.split(key, options.members)
        networks = [MLP.create(sizes, one, "tanh", np.float32) for one in keys]
        low = np.full((options.members, dy), _LOW if options.probabilistic else 0.0, np.float32)
        high = np.full_like(low, _HIGH if options.probabilistic else 0.0)
        linear = psd_solve(f.T @ f + _RIDGE * np.eye(df), f.T @ y) if options.linear else np.zeros((df, dy))

        def repeat(array: Array) -> np.ndarray:
            return np.repeat(_float32(array)[None], options.members, axis=0)

        networks = jax.tree.map(lambda *arrays: np.stack(arrays), *networks)
        unit = measure_unit(y - f @ np.asarray(linear), regression.varies)
        return cls(networks, low, high, repeat(linear), repeat(np.zeros(dy)), repeat(unit))

    @property
    def is_probabilistic(self) -> bool:
        return self.network.action_size > self.low.shape[-1]

    def __call__(self, inputs: Float[Array, "df"]) -> tuple[Float[Array, "dy"], Float[Array, "dy"]]:
        """Return the means and the log-variances for one input of one network (JAX, float32)."""
        f = inputs.astype(self.low.dtype)
        h = self.network.compute_hidden(f)
        mean = self.offset + f @ self.linear + self.unit * self.read_mean(h)
        return mean, self.read_log_variance(h) + 2.0 * jnp.log(self.unit)

    def read_mean(self, h: Float[Array, "width"]) -> Float[Array, "dy"]:
        """Return the network's means, in its unit, given the last hidden layer."""
        W, b = self.network.output_layer
        dy = self.low.shape[-1]
        return h @ W[:, :dy] + b[:dy]

    def read_log_variance(self, h: Float[Array, "width"]) -> Float[Array, "dy"]:
        """Return the log-variances, in its unit, given the last hidden layer."""
        if not self.is_probabilistic:
            return self.low
        W, b = self.network.output_layer
        dy = self.low.shape[-1]
        s = self.high - jax.nn.softplus(self.high - (h @ W[:, dy:] + b[dy:]))
        return self.low + jax.nn.softplus(s - self.low)

    def predict_each(self, inputs: Float[Array, "df"]) -> tuple[Float[Array, "E dy"], Float[Array, "E dy"]]:
        """Return the means and the log-variances of each network of a batch for one input (JAX, float32)."""
        return jax.vmap(lambda one: one(inputs))(self)

    def subtract_linear(self, regression: "Regression") -> Float[np.ndarray, "n dy"]:
        """Return the targets less the linear map (NumPy)."""
        return regression.targets - self.offset[0] - regression.inputs @ np.asarray(self.linear[0], float)

    def scale_variance(self, excess: Float[np.ndarray, "E dy"]) -> Self:
        """Return the batch of networks whose log-variances are larger by `excess` (NumPy)."""
        network, excess = self.network, _float32(excess)
        if self.is_probabilistic:
            W, b = network.output_layer
            network = network.with_output_layer(W, b + np.concatenate([np.zeros_like(excess), excess], axis=1))
        return dataclasses.replace(self, network=network, low=self.low + excess, high=self.high + excess)

    def with_unit(self, unit: Float[np.ndarray, "dy"]) -> Self:
        """Return the batch of networks that compute the same in another unit (NumPy)."""
        W, b = self.network.output_layer
        ratio = np.asarray(self.unit[0], float) / unit
        both = np.concatenate([ratio, np.ones(b.shape[-1] - len(ratio))])
        network = self.network.with_output_layer(_float32(W * both), _float32(b * both))
        moved = dataclasses.replace(self, network=network, unit=np.repeat(_float32(unit)[None], len(b), axis=0))
        return moved.scale_variance(np.broadcast_to(2.0 * np.log(ratio), self.low.shape))

    def rescale(
        self,
        input_ratio: Float[np.ndarray, "df"],
        input_shift: Float[np.ndarray, "df"],
        output_ratio: Float[np.ndarray, "dy"],
        output_shift: Float[np.ndarray, "dy"],
    ) -> Self:
        """Return the batch of networks that compute the same from other inputs to other targets (NumPy).

        Args:
            input_ratio, input_shift: the old inputs are `input_ratio * f + input_shift`.
            output_ratio, output_shift: the new targets are `output_ratio * y + output_shift`; ratios above 0.
        """
        W, b = (np.asarray(array, float) for array in self.network.input_layer)
        first = input_ratio[:, None] * W, b + input_shift @ W  # (E, df, width) and (E, width)
        linear = np.asarray(self.linear, float)
        return type(self)(
            self.network.with_input_layer(*(array.astype(np.float32) for array in first)),
            self.low,
            self.high,
            _float32(input_ratio[:, None] * linear * output_ratio),
            _float32((self.offset + input_shift @ linear) * output_ratio + output_shift),
            _float32(self.unit * output_ratio),
        )


def _float32(array: Array) -> np.ndarray:
    return np.asarray(array, np.float32)


class Regression(NamedTuple):
    """The n normalised inputs and targets that an ensemble learns."""

    inputs: Float[np.ndarray, "n df"]
    targets: Float[np.ndarray, "n dy"]
    varies: Bool[np.ndarray, "dy"]  # the targets that are to be learned
    episodes: Int[np.ndarray, "n"]


class MembersFit(NamedTuple):
    """The result of a training. The losses are means over the members that still trained."""

    members: GaussianNetwork
    status: ModelStatus
    training_loss: Float[np.ndarray, "checks"]  # mean over the mini-batches since the last check
    held_out_loss: Float[np.ndarray, "looks"]  # half the squared error, at the start and at each check
    error: Float[np.ndarray, "dy"]  # root mean square of each member's error on what it did not see, over all members
    coverage: Float[np.ndarray, "2"]  # share of these errors within 1σ and 2σ, of noise and spread


# -- training ----------------------------------------------------------------------------------------------------------


def train_members(
    start: GaussianNetwork, regression: Regression, options: EnsembleOptions, seed: int, steps: int
) -> MembersFit:
    """Train the members from `start`; keep each member's parameters of its lowest held-out squared error.

    The same arguments give the same bits. If a member diverges, the status says so.
    """
    rng = np.random.default_rng(seed)
    n = len(regression.inputs)
    rest = start.subtract_linear(regression)
    unit = measure_unit(rest, regression.varies)
    start = start.with_unit(unit)
    splits = split_members(regression.episodes, options, rng)
    batch = min(options.batch, max(16, 1 << (n // 4).bit_length() - 1))
    trained = _Trained(start.network, start.low - np.float32(_LOW), start.high - np.float32(_HIGH))
    decay = options.weight_decay + min(options.shrinkage / n, _MOST_DECAY)
    zeros = jax.tree.map(np.zeros_like, trained)
    counts = np.zeros(options.members, np.int32)
    ends = fit_members(
        _loss if start.is_probabilistic else _squared_error,
        AdamState(trained, zeros, zeros, counts, counts),
        (_float32(regression.inputs), _float32(rest / unit)),
        splits,
        rng,
        dataclasses.replace(options, steps=steps, batch=batch, weight_decay=decay),
        context=_float32(regression.varies),
        usual_loss=_usual_loss,
        check_loss=_squared_error,
    )
    best = jax.tree.map(lambda *arrays: np.stack(arrays), *[end.best.parameters for end in ends])
    low, high = best.low + np.float32(_LOW), best.high + np.float32(_HIGH)
    members = dataclasses.replace(start, network=best.network, low=low, high=high)
    return _look_at_held_out(members, ends, regression, splits)


def widen_variances(members: GaussianNetwork, regression: Regression) -> GaussianNetwork:
    """Return the networks with variances that are no smaller, on average, than their squared errors on the data.

    An ensemble that was trained on other data may be sure of itself and wrong on the new ones: e² exp(−s) then takes
    any size, and the first steps of a training look like a divergence.
    """
    rows = np.linspace(0, len(regression.inputs) - 1, _LOOKED_AT).round().astype(int)
    mean, s = (np.asarray(array, float) for array in _predict(members, _float32(regression.inputs[rows])))
    with np.errstate(over="ignore", divide="ignore"):
        excess = np.log(np.mean((regression.targets[rows] - mean) ** 2 * np.exp(-s), axis=1))
    return members.scale_variance(np.where(regression.varies, np.clip(excess, 0.0, _MOST_WIDENING), 0.0))


def measure_unit(rest: Float[np.ndarray, "n dy"], varies: Bool[np.ndarray, "dy"]) -> Float[np.ndarray, "dy"]:
    """Return the root mean square of what the linear map leaves of each target."""
    return np.where(varies, np.maximum(np.sqrt((rest**2).mean(axis=0)), _LEAST_UNIT), 1.0)


def split_members(episodes: Int[np.ndarray, "n"], options: MembersOptions, rng: np.random.Generator) -> list[Split]:
    """Draw the rows that each member trains on; what it is checked on follows from the episodes' numbers alone.

    One in k episodes is held out, another one for each member, so that an episode that a member does not see in one fit
    is not seen by it in the next.
    """
    n, groups = len(episodes), np.unique(episodes, return_inverse=True)[1]
    k = max(round(1.0 / options.held_out), 2) if options.held_out else 0
    if k and groups.max() + 1 < _FEW_EPISODES:
        groups = np.arange(n) * min(k, n) // n
    count = groups.max() + 1
    splits = []
    for member in range(options.members):
        first = member * max(k // options.members, 1) % max(k, 1)
        held = groups % k == (first if first < count else first % count) if k and count > 1 else np.zeros(n, bool)
        rows = np.flatnonzero(~held)
        if options.bootstrap and options.members > 1:
            rows = np.sort(rng.choice(rows, len(rows)))
        splits.append(Split(rows, np.flatnonzero(held) if held.any() else np.arange(n)))
    return splits


class _Trained(NamedTuple):
    """The parameters of a member as the training changes them: the bounds less where they begin."""

    network: MLP
    low: Array
    high: Array


def _read(trained: _Trained, f: Array, varies: Array) -> tuple[Array, Array]:
    """Return the means and the log-variances of the rest, these with the hidden layers held fixed."""
    zero, one = jnp.zeros_like(varies), jnp.ones_like(varies)
    low, high = trained.low + np.float32(_LOW), trained.high + np.float32(_HIGH)
    member = GaussianNetwork(trained.network, low, high, jnp.zeros((f.shape[1], len(varies)), f.dtype), zero, one)
    h = jax.vmap(trained.network.compute_hidden)(f)
    return jax.vmap(member.read_mean)(h), jax.vmap(member.read_log_variance)(jax.lax.stop_gradient(h))


def _loss(trained: _Trained, varies: Array, samples: tuple[Array, Array], weights: Array) -> Array:
    """The weighted sum of the module's objective."""
    f, y = samples
    mean, s = _read(trained, f, varies)
    e = y - mean
    each = 0.5 * (e**2 + jax.lax.stop_gradient(e) ** 2 * jnp.exp(-s) + s) @ varies
    distance = trained.high - trained.low + np.float32(_HIGH - _LOW)
    return jnp.sum(weights * each) + _DRAWN_TOGETHER * (distance @ varies) * jnp.sum(weights)


def _squared_error(trained: _Trained, varies: Array, samples: tuple[Array, Array], weights: Array) -> Array:
    f, y = samples
    mean, _ = _read(trained, f, varies)
    return jnp.sum(weights * (0.5 * (y - mean) ** 2 @ varies))


def _usual_loss(varies: Array, samples: tuple[Array, Array], weights: Array) -> Array:
    """The loss of the constant prediction of normalised targets."""
    return jnp.maximum(0.5 * jnp.sum(varies), 1.0)


@jax.jit
def _predict(members: GaussianNetwork, inputs: Float[Array, "h df"]) -> tuple[Array, Array]:
    return jax.vmap(members.predict_each, out_axes=1)(inputs)  # (E, h, dy) each


def _look_at_held_out(
    members: GaussianNetwork, ends: list[FittedParameters], regression: Regression, splits: list[Split]
) -> MembersFit:
    """Measure each member's errors on what it did not see, and scale its variances to them.

    A member's error has its own doubt, which the spread of the members adds to every prediction, and the noise. The
    noise is what remains.
    """
    size = 1 << (max(len(split.held) for split in splits) - 1).bit_length()
    excess, errors, sizes = [], [], []
    for member, split in enumerate(splits):
        held = np.resize(split.held, size)
        mean, s = (np.asarray(array, float) for array in _predict(members, _float32(regression.inputs[held])))
        square = np.where(regression.varies, regression.targets[held] - mean[member], 0.0) ** 2
        spread, own = mean.var(axis=0), np.exp(s[member])
        noise, whole = ((square - spread) / own).mean(axis=0), (square / own).mean(axis=0)
        factor = np.clip(np.maximum(noise, _LEAST_NOISE * whole), np.exp(-_MOST_EXCESS), np.exp(_MOST_EXCESS))
        excess.append(np.where(regression.varies, np.log(factor), 0.0))
        errors.append(square)
        sizes.append((square / (own * factor + spread))[:, regression.varies])
    status = ModelStatus.STOPPED_EARLY if all(end.stopped_early for end in ends) else ModelStatus.OK
    return MembersFit(
        members.scale_variance(np.array(excess)),
        ModelStatus.DIVERGED if any(end.diverged for end in ends) else status,
        mean_of_running([end.training_loss for end in ends]),
        mean_of_running([end.held_out_loss for end in ends]),
        np.sqrt(np.mean(errors, axis=(0, 1))),
        np.array([np.mean(np.array(sizes) <= one**2) for one in (1.0, 2.0)]),
    )


def mean_of_running(losses: list[Float[np.ndarray, "_"]]) -> Float[np.ndarray, "most"]:
    """The mean at each check over the members that still trained."""
    most = max(map(len, losses))
    padded = np.array([np.pad(loss, (0, most - len(loss)), constant_values=np.nan) for loss in losses])
    running = np.isfinite(padded)
    return np.where(running, padded, 0.0).sum(axis=0) / np.where(running.any(axis=0), running.sum(axis=0), np.nan)
