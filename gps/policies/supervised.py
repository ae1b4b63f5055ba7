"""The supervised step of guided policy search: a policy that imitates local controllers in the sense of KL.

Minimise over the policy N(μ(o), Σ), for samples i with weights w_i, teachers' actions u_i and precisions P_i,

    Σ_i w_i [ ½ (μ(o_i) − u_i)ᵀ P_i (μ(o_i) − u_i) + ½ tr(P_i Σ) − ½ log det Σ + λ_iᵀ μ(o_i) ] / Σ_i w_i,

which without λ is, up to a constant, the mean KL(π(· | o_i) ‖ N(u_i, P_i⁻¹)) in nats (Levine, Finn, Darrell & Abbeel
2016, sec. 4.3; the S-step of Montgomery & Levine 2016). The mean and the covariance separate: Σ = (Σ w_i P_i / Σ w_i)⁻¹
in closed form, and the network by mini-batches and Adam. λ is BADMM's multiplier of the constraint on the mean action:
it is *added*, so a positive λ pushes the action down. A penalty weight ν multiplies P (or, with λ divided by it, w).

**Warm start.** A call goes on from the last one's policy and moments. The input is normalised anew each time, since
the first samples span little of what comes later, and the layer that it enters is re-written so that the policy is the
same function as before (but flatter in an input that now goes far beyond where it was); Adam's moments of that layer
follow the change of variables. The output's scale is the size of the first call's actions, and stays until they are of
another size altogether.

**One compiled loop.** All mini-batches are drawn beforehand, and the steps are a `lax.scan` within a `lax.while_loop`
over checks of the held-out loss. Everything is float64 but convolutions: the compiled step of a small perceptron is
bound by overheads, so that single precision saves a fifth to a third of the time and makes the loss of stiff precisions
noisy.
"""

import dataclasses
from typing import Any, Generic, NamedTuple, Self

import numpy as np
import optax
from jaxtyping import Array, Float, Int, UInt32

from gps.backend import jax, jnp
from gps.errors import PolicyError
from gps.linear_gaussian.linalg import is_semi_definite
from gps.policies.neural import Network, NeuralPolicy, mean_of_one
from gps.records import PolicyStatus

_EXPLODED = 1e3
"""A training loss of this many times the policy's before, a constant policy's and 1 nat has diverged."""
_FAR = 100.0
"""An input that goes so many times as far as it did, or actions that are so many times as large, are another matter."""
_SAME = 1e-6
"""An input with a smaller deviation, relative to its mean, does not vary."""


class Samples(NamedTuple):
    """What a policy is to imitate: n samples. Those of weight 0 are left out, whatever they hold."""

    observations: Any  # (n, do), or Pixels of (n, H, W, C) and (n, dv)
    actions: Float[np.ndarray, "n du"]
    precisions: Float[np.ndarray, "n du du"]
    weights: Float[np.ndarray, "n"]
    linear: Float[np.ndarray, "n du"] | None = None  # λ
    groups: Int[np.ndarray, "n"] | None = None  # samples of a group (an episode) are held out together


@dataclasses.dataclass(frozen=True)
class Options:
    """How to train.

    Args:
        steps: mini-batches, at most; rounded up to a multiple of `check_every`.
        batch: samples of each.
        learning_rate: of Adam; it falls to a hundredth as half a cosine over the steps of a call.
        weight_decay: decoupled, per step, relative to the learning rate.
        held_out: fraction of the samples (of the groups, where there are some) that is not trained on.
        check_every: steps between two looks at the held-out loss.
        patience: looks without a new lowest loss after which training stops.
        check_at_most: samples that are looked at.
        ridge: added to the mean precision, relative to the mean of its diagonal.
        least_deviation, most_deviation: limits of the policy's standard deviations, in units of `output_scale`.
    """

    steps: int = 4000
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    held_out: float = 0.1
    check_every: int = 100
    patience: int = 10
    check_at_most: int = 2000
    ridge: float = 1e-9
    least_deviation: float = 1e-3
    most_deviation: float = 1e2

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.check_every, self.patience, self.check_at_most) < 1:
            raise PolicyError("steps, batch, check_every, patience and check_at_most must be at least 1")
        if not (self.learning_rate > 0 and self.weight_decay >= 0 and 0 <= self.held_out < 1 and self.ridge >= 0):
            raise PolicyError("need learning_rate > 0, weight_decay >= 0, 0 <= held_out < 1 and ridge >= 0")
        if not 0 < self.least_deviation <= self.most_deviation:
            raise PolicyError("need 0 < least_deviation <= most_deviation")


@dataclasses.dataclass(frozen=True)
class Training(Generic[Network]):
    """A policy and what its training goes on from; storable by `gps.storage.serialization` as `Training[MLP]`."""

    policy: NeuralPolicy[Network]
    first: Network  # Adam's moments
    second: Network
    count: Int[np.ndarray, ""]  # Adam's steps
    calls: int
    key: UInt32[np.ndarray, "2"]  # of the next call's random choices

    @classmethod
    def begin(cls, policy: NeuralPolicy[Network], key: jax.Array, trained: bool = False) -> Self:
        """Before the first call, which sets the policy's scales by its samples.

        Args:
            key: a JAX key.
            trained: the policy is more than random: its scales are left to it, and the first call is a warm start.
        """
        zeros = jax.tree.map(np.zeros_like, policy.network)
        data = np.asarray(jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key)
        return cls(policy.numpy(), zeros, zeros, np.zeros((), np.int32), int(trained), data.astype(np.uint32))

    @property
    def deviation(self) -> Float[np.ndarray, "du"]:
        """Standard deviations of the policy's noise; NaN before it was trained."""
        there = np.sqrt(np.diagonal(np.asarray(self.policy.covariance)))
        return there if self.calls else np.full_like(there, np.nan)


@dataclasses.dataclass(frozen=True)
class Fit:
    """What a supervised step did. Losses are the mean part of the objective above, in nats."""

    outcome: PolicyStatus
    covariance_outcome: PolicyStatus
    message: str  # a sentence for each that is not ok
    steps: int  # that were done
    best_step: int  # after which the policy that was kept stood
    training_loss: Float[np.ndarray, "checks"]  # mean over the mini-batches since the last look
    held_out_loss: Float[np.ndarray, "checks+1"]  # before the first step, and at each look

    @property
    def ok(self) -> bool:
        return self.outcome.ok and self.covariance_outcome.ok


# -- the objective ---------------------------------------------------------------------------------------------------


def objective(policy: NeuralPolicy, samples: Samples) -> Array:
    """The mean part of the objective: Σ w_i [½ eᵀPe + λᵀμ] / Σ w_i, e = μ(o_i) − u_i. In nats; JAX."""
    return _weighted_sum(policy, samples) / jnp.sum(samples.weights)


def _weighted_sum(policy: NeuralPolicy, samples: Samples) -> Array:
    mean = _mean_of_each(policy, samples.observations, len(samples.weights))
    e = mean - samples.actions
    loss = 0.5 * jnp.einsum("ni,nij,nj->n", e, samples.precisions, e)
    if samples.linear is not None:
        loss = loss + jnp.sum(samples.linear * mean, axis=-1)
    return jnp.sum(samples.weights * loss)


def _mean_of_each(policy: NeuralPolicy, observations: Any, n: int) -> Float[Array, "n du"]:
    at_once = policy.network.at_once
    if n <= at_once:
        return jax.vmap(mean_of_one, (None, 0))(policy, observations)
    # What the layers of a network that sees make of all images may be gigabytes.
    return jax.lax.map(lambda one: mean_of_one(policy, one), observations, batch_size=at_once)


def shared_covariance(
    precisions: Float[np.ndarray, "n du du"],
    weights: Float[np.ndarray, "n"],
    scale: Float[np.ndarray, "du"],
    options: Options,
) -> tuple[Float[np.ndarray, "du du"], PolicyStatus]:
    """Σ = (Σ w_i P_i / Σ w_i)⁻¹ with its standard deviations (in units of `scale`) kept within the options' limits."""
    mean = np.einsum("n,nij->ij", weights, precisions) / weights.sum()
    mean = 0.5 * (mean + mean.T) * np.outer(scale, scale)
    eigenvalues, vectors = np.linalg.eigh(mean)
    # A ridge so small only decides what rounding would decide.
    eigenvalues = eigenvalues + options.ridge * np.trace(mean) / len(mean)
    low, high = options.most_deviation**-2, options.least_deviation**-2
    limited = np.clip(eigenvalues, low, high)
    covariance = (vectors / limited) @ vectors.T * np.outer(scale, scale)
    singular, collapsed = (eigenvalues < low).any(), (eigenvalues > high).any()
    one = PolicyStatus
    outcome = one.SINGULAR_PRECISION if singular else one.COLLAPSED_COVARIANCE if collapsed else one.OK
    return 0.5 * (covariance + covariance.T), outcome


# -- one supervised step ---------------------------------------------------------------------------------------------


def train(training: Training[Network], samples: Samples, options: Options = Options()) -> tuple[Training[Network], Fit]:
    """One supervised step: the policy that imitates `samples` better, and what happened.

    The same arguments give the same bits. What goes wrong in the numbers is an outcome of the fit. A diverging
    training goes back to the network of the lowest held-out loss, or to the policy as it was given, and forgets Adam's
    moments; the covariance, which does not depend on the network, is the new one nevertheless.

    Raises:
        PolicyError: if the samples have shapes that do not fit each other or the policy.
    """
    samples = _checked(training.policy, samples)
    kept = np.flatnonzero(samples.weights != 0)
    if not len(kept) or not (samples.weights > 0).any():
        return training, not_trained(PolicyStatus.NO_SAMPLES)
    samples = jax.tree.map(lambda array: array[kept], samples)
    trouble = _trouble(samples, kept)
    if trouble is not None:
        return training, not_trained(*trouble)

    rng = np.random.default_rng(training.key)
    next_key = rng.integers(1 << 32, size=2, dtype=np.uint32)
    given, training = training, _normalised(training, samples)
    policy = training.policy
    rows, held = _split(samples, options, rng)
    blocks = -(-options.steps // options.check_every)
    indices = _batches(rows, (blocks, options.check_every, options.batch), rng)
    padded = _padded(samples._replace(groups=None))
    point = _Point(policy.network, training.first, training.second, training.count, np.int32(0))
    knobs = _Knobs(options.learning_rate, options.weight_decay, np.int32(options.patience))
    end = jax.tree.map(np.asarray, _descend(policy, point, padded, held, indices, knobs))

    covariance, covariance_outcome = shared_covariance(
        samples.precisions, samples.weights, policy.output_scale, options
    )
    best, checks = end.best, int(end.block)
    first, second, count = best.first, best.second, best.count
    if end.diverged:
        outcome = PolicyStatus.DIVERGED
        first, second = (jax.tree.map(np.zeros_like, moments) for moments in (first, second))
        count = np.zeros_like(count)
    else:
        outcome = PolicyStatus.STOPPED_EARLY if checks < blocks else PolicyStatus.OK
    policy = dataclasses.replace(policy, network=best.network, covariance=covariance)
    if end.diverged and best.step == 0 and given.calls:
        policy = dataclasses.replace(given.policy, covariance=covariance)
    fit = Fit(
        outcome,
        covariance_outcome,
        " ".join(one.sentence for one in (outcome, covariance_outcome) if not one.ok),
        steps=checks * options.check_every,
        best_step=int(best.step),
        training_loss=end.training_loss[:checks],
        held_out_loss=end.held_out_loss[: checks + 1],
    )
    return Training(policy, first, second, count, training.calls + 1, next_key), fit


def not_trained(outcome: PolicyStatus, detail: str = "") -> Fit:
    """Of a step that left the policy as it was."""
    message = "" if outcome.ok else f"{outcome.sentence} {detail}".strip()
    return Fit(outcome, PolicyStatus.OK, message, 0, 0, np.zeros(0), np.zeros(0))


def _checked(policy: NeuralPolicy, samples: Samples) -> Samples:
    """The samples as float64, with observations as the network takes them; PolicyError where shapes do not fit."""
    observations = policy.network.checked(samples.observations)
    n, du = len(jax.tree.leaves(observations)[0]), policy.network.action_size
    expected = {"actions": (n, du), "precisions": (n, du, du), "weights": (n,), "linear": (n, du), "groups": (n,)}
    arrays = {}
    for name, shape in expected.items():
        value = getattr(samples, name)
        if value is None:
            continue
        arrays[name] = np.asarray(value, dtype=int if name == "groups" else float)
        if arrays[name].shape != shape:
            raise PolicyError(f"{name} of shape {arrays[name].shape}; expected {shape} for {n} observations")
    return samples._replace(observations=jax.tree.map(np.asarray, observations), **arrays)


def _trouble(samples: Samples, kept: Int[np.ndarray, "k"]) -> tuple[PolicyStatus, str] | None:
    """What makes training on these samples impossible, and where; `kept` are their numbers."""
    vectors = jax.tree.leaves(samples.observations)
    named = {"the observation": vectors[-1], "the action": samples.actions, "the weight": samples.weights[:, None]}
    if samples.linear is not None:
        named["the linear term"] = samples.linear
    if len(vectors) > 1 and vectors[0].dtype.kind == "f":
        named["the image"] = vectors[0].reshape(len(kept), -1)
    for what, array in named.items():
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if bad.size:
            return PolicyStatus.BAD_SAMPLES, f"It is {what} of sample {kept[bad[0]]}."
    if (samples.weights < 0).any():
        return PolicyStatus.BAD_SAMPLES, f"The weight of sample {kept[np.argmin(samples.weights)]} is negative."
    bad = np.flatnonzero(~np.isfinite(samples.precisions).all(axis=(1, 2)))
    if bad.size:
        return PolicyStatus.BAD_PRECISION, f"That of sample {kept[bad[0]]} is not finite."
    bad = np.flatnonzero(~is_semi_definite(samples.precisions))
    if bad.size:
        least = np.linalg.eigvalsh(samples.precisions[bad[0]])[0]
        return PolicyStatus.BAD_PRECISION, f"That of sample {kept[bad[0]]} has the eigenvalue {least:.1e}."
    return None


# -- normalisation ---------------------------------------------------------------------------------------------------


def _normalised(training: Training, samples: Samples) -> Training:
    """The same policy, with inputs normalised by these samples, and an output whose scale suits their actions."""
    training = _scaled(training, samples.actions)
    policy, vector = training.policy, jax.tree.leaves(samples.observations)[-1]
    mean, scale = vector.mean(axis=0), vector.std(axis=0)
    scale = np.where(scale > _SAME * np.maximum(np.abs(mean), _SAME), scale, 1.0)
    if training.calls == 0:
        return dataclasses.replace(training, policy=dataclasses.replace(policy, input_mean=mean, input_scale=scale))

    # Slopes learned where an input hardly moved are noise where it goes a hundred times as far, and would be the start
    # of a training that diverges, each time anew: they are taken for those of an input that went as far as it does now.
    reach = scale + np.abs(mean - policy.input_mean)
    former = np.where(reach > _FAR * policy.input_scale, reach, policy.input_scale)
    # The old input is D x + δ in the new one x: W becomes D W, and b becomes b + δᵀ W. Gradients transform with the
    # inverse, so do first moments; second moments as if the layer's inputs and the constant 1 were uncorrelated.
    D = (scale / former)[:, None]
    δ = ((mean - policy.input_mean) / former)[:, None]
    W, b = policy.network.entry
    dtype = W.dtype
    network = policy.network.with_entry((D * W).astype(dtype), (b + (δ * W).sum(axis=0)).astype(dtype))
    W, b = training.first.entry
    first = training.first.with_entry(((W - δ * b) / D).astype(dtype), b)
    W, b = training.second.entry
    second = training.second.with_entry(((W + δ**2 * b) / D**2).astype(dtype), b)
    new = dataclasses.replace(policy, network=network, input_mean=mean, input_scale=scale)
    return dataclasses.replace(training, policy=new, first=first, second=second)


def _scaled(training: Training, actions: Float[np.ndarray, "n du"]) -> Training:
    """The first call sets the output's scale; a later one changes it where it is off by a factor of `_FAR`."""
    policy, size = training.policy, np.sqrt((actions**2).mean(axis=0))
    if training.calls == 0:
        scaled = dataclasses.replace(policy, output_scale=np.where(size > 0, size, 1.0))
        return dataclasses.replace(training, policy=scaled)
    off = (size > 0) & (np.maximum(size, policy.output_scale) > _FAR * np.minimum(size, policy.output_scale))
    if not off.any():
        return training
    scale = np.where(off, size, policy.output_scale)
    # The last layer becomes W r, b r, and gradients transform with the inverse: the same function. One whose actions
    # were far too large shrinks with the scale, since no training would get it down.
    r = np.minimum(policy.output_scale / scale, 1.0)

    def by(network, factor):
        return network.with_exit(*((array * factor).astype(array.dtype) for array in network.exit))

    return dataclasses.replace(
        training,
        policy=dataclasses.replace(policy, network=by(policy.network, r), output_scale=scale),
        first=by(training.first, 1 / r),
        second=by(training.second, 1 / r**2),
    )


# -- choices made beforehand -----------------------------------------------------------------------------------------


def _split(samples: Samples, options: Options, rng: np.random.Generator):
    """Which samples to train on, and those to look at, the latter in a fixed number: (indices, weights)."""
    n = len(samples.weights)
    groups = np.arange(n) if samples.groups is None else np.unique(samples.groups, return_inverse=True)[1]
    order = rng.permutation(groups.max() + 1)
    out = np.isin(groups, order[: round(options.held_out * len(order))])
    if not out.any() or out.all() or not samples.weights[out].any():
        out = np.zeros(n, dtype=bool)
    rows = np.flatnonzero(~out)
    looked_at = rng.permutation(np.flatnonzero(out) if out.any() else rows)[: options.check_at_most]
    size = min(_rounded(len(looked_at)), options.check_at_most)
    padding = np.zeros(size - len(looked_at), dtype=int)
    weights = np.concatenate([samples.weights[looked_at], np.zeros(len(padding))])
    return rows, (np.concatenate([looked_at, padding]), weights)


def _batches(rows: Int[np.ndarray, "n"], shape: tuple[int, ...], rng: np.random.Generator) -> Int[np.ndarray, "..."]:
    """Indices of mini-batches: one pass over shuffled `rows` after another."""
    count = int(np.prod(shape))
    passes = np.tile(rows, (-(-count // len(rows)), 1))
    return rng.permuted(passes, axis=1).reshape(-1)[:count].reshape(shape).astype(np.int32)


def _rounded(n: int) -> int:
    """n rounded up by at most an eighth, so that samples of many numbers share a compiled loop."""
    step = max(1 << max(n.bit_length() - 4, 0), 1)
    return -(-n // step) * step


def _padded(samples: Samples) -> Samples:
    n = len(samples.weights)
    size = _rounded(n)
    if size == n:
        return samples
    return jax.tree.map(
        lambda array: np.concatenate([array, np.zeros((size - n, *array.shape[1:]), array.dtype)]), samples
    )


# -- the compiled loop -----------------------------------------------------------------------------------------------


class _Point(NamedTuple):
    """Where the descent stands."""

    network: Any
    first: Any
    second: Any
    count: Array
    step: Array


class _Knobs(NamedTuple):
    """The options that the compiled loop takes as numbers: another value is not another compilation."""

    learning_rate: Any
    weight_decay: Any
    patience: Any


class _Descent(NamedTuple):
    block: Array
    point: _Point
    best: _Point
    since: Array  # looks since the best
    diverged: Array
    training_loss: Array
    held_out_loss: Array


@jax.jit
def _descend(policy: NeuralPolicy, start: _Point, samples: Samples, held, indices, knobs: _Knobs) -> _Descent:
    blocks, per_block, batch = indices.shape
    pictures = isinstance(samples.observations, tuple)
    scale = 1.0 / (jnp.sum(samples.weights) / jnp.count_nonzero(samples.weights))  # of weights with mean 1
    adam = optax.scale_by_adam()
    rates = optax.cosine_decay_schedule(knobs.learning_rate, blocks * per_block, alpha=0.01)

    def with_network(network):
        return dataclasses.replace(policy, network=network)

    def picked(chosen):
        return jax.tree.map(lambda array: array[chosen], samples)

    def loss(network, batched):
        return _weighted_sum(with_network(network), batched) * (scale / batch)

    def step(point, at):
        batched = picked(at) if pictures else at
        value, gradient = jax.value_and_grad(loss)(point.network, batched)
        state = optax.ScaleByAdamState(point.count, point.first, point.second)
        direction, state = adam.update(gradient, state)
        rate = rates(point.step)
        decay = knobs.weight_decay
        network = jax.tree.map(lambda p, d: (p - rate * (d + decay * p)).astype(p.dtype), point.network, direction)
        return _Point(network, state.mu, state.nu, state.count, point.step + 1), value

    rows, weights = held
    seen = jax.tree.map(lambda array: array[rows], samples)._replace(weights=weights)

    def look(network):
        return objective(with_network(network), seen)

    # What a constant policy would lose sets the scale for what is an explosion.
    mean_action = jnp.average(seen.actions, axis=0, weights=weights)
    e = seen.actions - mean_action
    constant = 0.5 * jnp.average(jnp.einsum("ni,nij,nj->n", e, seen.precisions, e), weights=weights)
    at_start = look(start.network)
    limit = _EXPLODED * jnp.maximum(jnp.maximum(jnp.abs(at_start), constant), 1.0)

    def block(at: _Descent) -> _Descent:
        # Picking a block's samples at once saves a quarter of the time; of pictures it would be much to hold.
        chosen = indices[at.block]
        point, losses = jax.lax.scan(step, at.point, chosen if pictures else picked(chosen))
        training, held_out = jnp.mean(losses), look(point.network)
        good = jnp.isfinite(training) & jnp.isfinite(held_out) & (training <= limit)
        better = good & (held_out < at.held_out_loss[at.best.step // per_block])
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), point, at.best)
        return _Descent(
            at.block + 1,
            point,
            best,
            jnp.where(better, 0, at.since + 1),
            ~good,
            at.training_loss.at[at.block].set(training),
            at.held_out_loss.at[at.block + 1].set(held_out),
        )

    start = jax.tree.map(jnp.asarray, start)
    empty = jnp.full(blocks, jnp.nan)
    begin = _Descent(
        jnp.int32(0), start, start, jnp.int32(0), ~jnp.isfinite(at_start), empty,
        jnp.full(blocks + 1, jnp.nan).at[0].set(at_start),
    )  # fmt: skip
    go_on = lambda at: (at.block < blocks) & (at.since < knobs.patience) & ~at.diverged  # noqa: E731
    return jax.lax.while_loop(go_on, block, begin)
