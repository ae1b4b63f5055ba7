"""The training loop: minimise a weighted loss by Adam, and keep the parameters of the lowest held-out loss.

The loop knows parameters only as a pytree, and samples as a pytree of arrays whose leading axis counts them. It
minimises

    Σ_i w_i ℓ(θ, s_i) / Σ_i w_i

over the parameters θ, for samples s_i with weights w_i. A share of the samples is held out and checked every
`check_every` steps; training stops after `patience` checks without a new lowest loss, or when it diverges.

**One compiled loop.** All mini-batches are drawn beforehand, and the steps are a `lax.scan` within a `lax.while_loop`
over the checks. Numbers of samples are padded to a coarser grid, so that calls with similar numbers share a compiled
loop. Small perceptrons are trained in float64: their compiled step is bound by overheads, so that float32 would save a
fifth to a third of the time and make stiff losses noisy.

**Ensembles.** `fit_members` trains networks of equal shapes in the same loop, mapped over the members: each has its own
start, mini-batches (of rows that may repeat, as in a bootstrap) and checks, and stops for itself. One half of the
members trains in one thread and the other half in another, whatever the number of cores, so that the bits are the same.
"""

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import optax
from jaxtyping import Float, Int

from gps.backend import Array, jax, jnp
from gps.errors import PolicyError

_EXPLODED = 1e3
"""A training loss of more than this many times the loss at the start and the usual loss has diverged."""

_FEWEST_CHECKED, _FEWEST_SHARED = 512, 2048
"""The fewest samples of a check, and of the whole, that an ensemble's loop is compiled for: padding costs little."""

Loss = Callable[[Any, Any, Any, Array], Array]
"""`loss(parameters, context, samples, weights)` = Σ_i w_i ℓ(θ, s_i); a pure JAX function of arrays."""

UsualLoss = Callable[[Any, Any, Array], Array]
"""`usual_loss(context, samples, weights)`: a mean loss > 0 that is no sign of divergence, for instance a constant's."""


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """Options of the training loop.

    Args:
        steps: largest number of mini-batches; rounded up to a multiple of `check_every`.
        batch: samples in a mini-batch.
        learning_rate: Adam's; it falls to a hundredth as half a cosine over `steps`.
        weight_decay: decoupled, per step, relative to the learning rate.
        held_out: fraction of the samples (of the groups, if there are groups) that is not trained on.
        check_every: steps between two checks of the held-out loss.
        patience: checks without a new lowest loss after which training stops.
        check_at_most: largest number of samples in a check.

    Raises:
        PolicyError: if a value is out of range.
    """

    steps: int = 4000
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    held_out: float = 0.1
    check_every: int = 100
    patience: int = 10
    check_at_most: int = 2000

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.check_every, self.patience, self.check_at_most) < 1:
            raise PolicyError("steps, batch, check_every, patience and check_at_most must be at least 1")
        if not (self.learning_rate > 0 and self.weight_decay >= 0 and 0 <= self.held_out < 1):
            raise PolicyError("need learning_rate > 0, weight_decay >= 0 and 0 <= held_out < 1")


class AdamState(NamedTuple):
    """Parameters and Adam's state."""

    parameters: Any
    first: Any  # moments of the gradient
    second: Any  # moments of its square
    adam_steps: Any  # int32, in all calls
    step: Any = np.int32(0)  # int32, in this call


class FittedParameters(NamedTuple):
    """The result of `fit_parameters`, in NumPy arrays."""

    best: AdamState  # at the check with the lowest held-out loss, or at the start
    diverged: bool
    stopped_early: bool  # after `patience` checks, or by divergence, before the last step
    steps: int  # steps done
    training_loss: Float[np.ndarray, "checks"]  # mean over the mini-batches since the last check
    held_out_loss: Float[np.ndarray, "looks"]  # at the start, and at each check


def fit_parameters(
    loss: Loss,
    start: AdamState,
    samples: Any,
    weights: Float[np.ndarray, "n"],
    rng: np.random.Generator,
    options: FitOptions,
    *,
    context: Any,
    usual_loss: UsualLoss,
    groups: Int[np.ndarray, "n"] | None = None,
    gather_by_batch: bool = False,
) -> FittedParameters:
    """Minimise the weighted mean loss over the parameters. The same arguments give the same bits.

    Args:
        loss: a function of a module, not a new closure: another function is compiled anew.
        start: where to begin; parameters are trained in their own precision.
        samples: a pytree of arrays, n samples along the leading axis of each.
        weights: w_i >= 0, at least one above 0.
        rng: draws the held-out samples and the mini-batches.
        context: a pytree of arrays that the loss reads and does not train, such as a normalisation.
        usual_loss: sets, with the loss at the start, the scale of an explosion.
        groups: samples of one group (an episode) are held out together; None if each is a group of its own.
        gather_by_batch: gather the samples of one mini-batch at a time, as images need; gathering those of all
            mini-batches between two checks saves a quarter of the time and takes more memory.
    """
    rows, held = _split(weights, groups, options, rng)
    blocks = -(-options.steps // options.check_every)
    indices = _draw_batches(rows, (blocks, options.check_every, options.batch), rng)
    numbers = _Numbers(options.learning_rate, options.weight_decay, np.int32(options.patience))
    padded = _pad((samples, weights))
    end = _minimise(loss, loss, usual_loss, gather_by_batch, context, start, padded, held, indices, numbers)
    return _summarise(jax.tree.map(np.asarray, end), options)


class Split(NamedTuple):
    """The samples that one member of an ensemble trains on, and those that it is checked on."""

    rows: Int[np.ndarray, "k"]  # a row that stands r times is drawn r times as often
    held: Int[np.ndarray, "h"]


def fit_members(
    loss: Loss,
    starts: AdamState,
    samples: Any,
    splits: Sequence[Split],
    rng: np.random.Generator,
    options: FitOptions,
    *,
    context: Any,
    usual_loss: UsualLoss,
    check_loss: Loss | None = None,
) -> list[FittedParameters]:
    """Minimise the mean loss over the parameters of each member of an ensemble; return the members' results in order.

    The same arguments give the same bits.

    Args:
        loss: of one member; see `fit_parameters`.
        starts: where to begin, each array with a leading axis E.
        samples: a pytree of arrays, n samples along the leading axis of each, which the members share.
        splits: what each of the E members sees; `options.held_out` is not used.
        rng: draws the mini-batches.
        check_loss: what the checks compare, by default the loss.
    """
    check_loss = loss if check_loss is None else check_loss
    blocks = -(-options.steps // options.check_every)
    shape = (blocks, options.check_every, options.batch)
    indices = np.stack([_draw_batches(split.rows, shape, rng) for split in splits])
    held = _stack_held([rng.permutation(split.held)[: options.check_at_most] for split in splits])
    n = len(jax.tree.leaves(samples)[0])
    shared = _pad((samples, np.ones(n)), _round_far_up(n, _FEWEST_SHARED))
    numbers = _Numbers(options.learning_rate, options.weight_decay, np.int32(options.patience))

    def minimise(members: slice) -> "_Progress":
        start, own_held, own_indices = jax.tree.map(lambda array: array[members], (starts, held, indices))
        return jax.tree.map(
            np.asarray,
            _minimise_members(loss, check_loss, usual_loss, context, start, shared, own_held, own_indices, numbers),
        )

    half = -(-len(splits) // 2)
    halves = [slice(0, half), slice(half, len(splits))][: len(splits)]
    with ThreadPoolExecutor(len(halves)) as pool:
        ends = list(pool.map(minimise, halves))
    each = [jax.tree.map(lambda array: array[e], end) for end in ends for e in range(len(end.block))]  # noqa: B023
    return [_summarise(end, options) for end in each]


def _summarise(end: "_Progress", options: FitOptions) -> FittedParameters:
    checks, blocks = int(end.block), len(end.training_loss)
    return FittedParameters(
        end.best,
        bool(end.diverged),
        checks < blocks,
        steps=checks * options.check_every,
        training_loss=end.training_loss[:checks],
        held_out_loss=end.held_out_loss[: checks + 1],
    )


# -- random choices, drawn beforehand ----------------------------------------------------------------------------------


def _split(
    weights: Float[np.ndarray, "n"],
    groups: Int[np.ndarray, "n"] | None,
    options: FitOptions,
    rng: np.random.Generator,
) -> tuple[Int[np.ndarray, "rows"], tuple[Int[np.ndarray, "checked"], Float[np.ndarray, "checked"]]]:
    """Draw the indices of the samples to train on, and the indices and weights of the samples to check.

    The number of checked samples is padded with samples of weight 0.
    """
    n = len(weights)
    groups = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    order = rng.permutation(groups.max() + 1)
    out = np.isin(groups, order[: round(options.held_out * len(order))])
    if not out.any() or out.all() or not weights[out].any():
        out = np.zeros(n, dtype=bool)
    rows = np.flatnonzero(~out)
    checked = rng.permutation(np.flatnonzero(out) if out.any() else rows)[: options.check_at_most]
    size = min(_round_up(len(checked)), options.check_at_most)
    padding = np.zeros(size - len(checked), dtype=int)
    checked_weights = np.concatenate([weights[checked], np.zeros(len(padding))])
    return rows, (np.concatenate([checked, padding]), checked_weights)


def _draw_batches(
    rows: Int[np.ndarray, "n"], shape: tuple[int, int, int], rng: np.random.Generator
) -> Int[np.ndarray, "blocks per_block batch"]:
    """Draw the indices of mini-batches: one pass over shuffled `rows` after another."""
    count = int(np.prod(shape))
    passes = np.tile(rows, (-(-count // len(rows)), 1))
    return rng.permuted(passes, axis=1).reshape(-1)[:count].reshape(shape).astype(np.int32)


def _round_up(n: int) -> int:
    """Round n up by at most an eighth, so that similar numbers of samples share a compiled loop."""
    step = max(1 << max(n.bit_length() - 4, 0), 1)
    return -(-n // step) * step


def _round_far_up(n: int, least: int) -> int:
    """Round n up to a power of 2: fits of growing data are rarely compiled anew, which takes longer than many a fit."""
    return max(1 << (n - 1).bit_length(), least)


def _stack_held(
    held: list[Int[np.ndarray, "_"]],
) -> tuple[Int[np.ndarray, "E checked"], Float[np.ndarray, "E checked"]]:
    """Return the members' checked samples and their weights, padded to one number with samples of weight 0."""
    size = _round_far_up(max(map(len, held)), _FEWEST_CHECKED)
    padded = np.stack([np.concatenate([rows, np.zeros(size - len(rows), int)]) for rows in held])
    weights = np.arange(size) < np.array([[len(rows)] for rows in held])
    return padded.astype(np.int32), weights.astype(float)


def _pad(samples: tuple[Any, Float[np.ndarray, "n"]], size: int | None = None) -> tuple[Any, Float[np.ndarray, "size"]]:
    """Pad samples and weights with zeros to a number, by default a rounded one."""
    n = len(samples[1])
    size = _round_up(n) if size is None else size
    if size == n:
        return samples
    return jax.tree.map(
        lambda array: np.concatenate([array, np.zeros((size - n, *array.shape[1:]), array.dtype)]), samples
    )


# -- the compiled loop -------------------------------------------------------------------------------------------------


class _Numbers(NamedTuple):
    """The options that the compiled loop takes as numbers: another value does not compile it anew."""

    learning_rate: Any
    weight_decay: Any
    patience: Any


class _Progress(NamedTuple):
    """The state of the loop over checks."""

    block: Array
    current: AdamState
    best: AdamState
    checks_since_best: Array
    diverged: Array
    training_loss: Array
    held_out_loss: Array


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _minimise(
    loss: Loss,
    check_loss: Loss,
    usual_loss: UsualLoss,
    gather_by_batch: bool,
    context: Any,
    start: AdamState,
    data: tuple[Any, Array],
    held: tuple[Array, Array],
    indices: Int[Array, "blocks per_block batch"],
    numbers: _Numbers,
) -> _Progress:
    blocks, per_block, batch = indices.shape
    weights = data[1]
    scale = 1.0 / (jnp.sum(weights) / jnp.count_nonzero(weights))  # of weights with mean 1
    adam = optax.scale_by_adam()
    rates = optax.cosine_decay_schedule(numbers.learning_rate, blocks * per_block, alpha=0.01)

    def gather(chosen):
        return jax.tree.map(lambda array: array[chosen], data)

    def batch_loss(parameters, batched):
        return loss(parameters, context, *batched) * (scale / batch)

    def take_step(state, at):
        batched = gather(at) if gather_by_batch else at
        value, gradient = jax.value_and_grad(batch_loss)(state.parameters, batched)
        adams: Any
        direction, adams = adam.update(gradient, optax.ScaleByAdamState(state.adam_steps, state.first, state.second))
        rate, decay = rates(state.step), numbers.weight_decay
        new = jax.tree.map(lambda p, d: (p - rate * (d + decay * p)).astype(p.dtype), state.parameters, direction)
        return AdamState(new, adams.mu, adams.nu, adams.count, state.step + 1), value

    rows, held_weights = held
    held_samples = jax.tree.map(lambda array: array[rows], data[0])

    def check(parameters):
        return check_loss(parameters, context, held_samples, held_weights) / jnp.sum(held_weights)

    usual = usual_loss(context, held_samples, held_weights)
    at_start = check(start.parameters)
    limit = _EXPLODED * jnp.maximum(jnp.abs(at_start), usual)

    def train_block(at: _Progress) -> _Progress:
        chosen = indices[at.block]
        current, losses = jax.lax.scan(take_step, at.current, chosen if gather_by_batch else gather(chosen))
        training, held_out = jnp.mean(losses), check(current.parameters)
        good = jnp.isfinite(training) & jnp.isfinite(held_out) & (training <= limit)
        better = good & (held_out < at.held_out_loss[at.best.step // per_block])
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), current, at.best)
        return _Progress(
            at.block + 1,
            current,
            best,
            jnp.where(better, 0, at.checks_since_best + 1),
            ~good,
            at.training_loss.at[at.block].set(training),
            at.held_out_loss.at[at.block + 1].set(held_out),
        )

    start = jax.tree.map(jnp.asarray, start)
    empty = jnp.full(blocks, jnp.nan)
    begin = _Progress(
        jnp.int32(0), start, start, jnp.int32(0), ~jnp.isfinite(at_start), empty,
        jnp.full(blocks + 1, jnp.nan).at[0].set(at_start),
    )  # fmt: skip
    go_on = lambda at: (at.block < blocks) & (at.checks_since_best < numbers.patience) & ~at.diverged  # noqa: E731
    return jax.lax.while_loop(go_on, train_block, begin)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _minimise_members(
    loss: Loss,
    check_loss: Loss,
    usual_loss: UsualLoss,
    context: Any,
    starts: AdamState,
    data: tuple[Any, Array],
    held: tuple[Array, Array],
    indices: Int[Array, "E blocks per_block batch"],
    numbers: _Numbers,
) -> _Progress:
    """`_minimise` for each member, on the samples that all share. A member that has stopped waits for the others."""

    def minimise(start, own_held, own_indices):
        return _minimise(loss, check_loss, usual_loss, False, context, start, data, own_held, own_indices, numbers)

    return jax.vmap(minimise)(starts, held, indices)
