"""The value of a state: the expected cost of the rest of an episode under a policy, learned within a model.

    V(x, t) = (T − t) (c + s · network(x, t / T)),   V(x, T) = 0,

for the mean c and the deviation s of the targets per remaining step. The targets are λ-returns along imagined episodes
(TD(λ), Sutton & Barto 2018, ch. 12) of L steps, without a discount:

    G_h = ℓ_h + λ G_{h+1} + (1 − λ) V_old(x_{h+1}, t_{h+1}),   G_L = V_old(x_L, t_L),   0 at T

Where L reaches T and λ = 1, they are Monte-Carlo returns, and V_old does not matter. Before there is a V_old, the rest
of an episode counts as its mean cost.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gps.backend import Array, jax, jnp
from gps.linear_gaussian.types import pytree
from gps.models.features import NO_TRANSFORMS, StateTransforms, encode_input
from gps.networks.fitting import AdamState, FitOptions, fit_parameters
from gps.networks.perceptron import MLP

FIT = FitOptions(steps=1500, batch=256, learning_rate=3e-3)
"""Default settings for training the value network."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValueOptions:
    """How a value is learned.

    Args:
        steps: L, of an imagined episode; None for those that are left to T.
        decay: λ.
        hidden: units of each hidden layer.
        fit: of the network's training.
        transforms: the angles and quaternions of the state.
    """

    steps: int | None = None
    decay: float = 0.95
    hidden: tuple[int, ...] = (64, 64)
    fit: FitOptions = FIT
    transforms: StateTransforms = NO_TRANSFORMS


@pytree
class TerminalValue:
    """V(x, t), a JAX function of a state and a step."""

    network: MLP
    input_mean: Float[Array, "df"]
    input_scale: Float[Array, "df"]
    mean: Float[Array, ""]  # c
    scale: Float[Array, ""]  # s
    end: Int[Array, ""]  # T
    transforms: StateTransforms = dataclasses.field(metadata={"static": True})

    def __call__(self, x: Float[Array, "dx"], t: Int[Array, ""]) -> Float[Array, ""]:
        features = (_encode(x, t, self.end, self.transforms) - self.input_mean) / self.input_scale
        return (self.end - t) * (self.mean + self.scale * self.network(features)[0])


def find_returns(
    costs: Float[Array, "L *batch"], values: Float[Array, "L *batch"], decay: float
) -> Float[Array, "L *batch"]:
    """Return G_h for h < L.

    Args:
        costs: ℓ_h.
        values: V_old(x_{h+1}, t_{h+1}); 0 from T on.
    """

    def step(after: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        cost, value = now
        target = cost + decay * after + (1.0 - decay) * value
        return target, target

    return jax.lax.scan(step, values[-1], (costs, values), reverse=True)[1]


def fit_value(
    states: Float[np.ndarray, "n dx"],
    steps: Int[np.ndarray, "n"],
    returns: Float[np.ndarray, "n"],
    groups: Int[np.ndarray, "n"],
    end: int,
    options: ValueOptions,
    seed: int,
) -> TerminalValue | None:
    """Return the value fitted to returns; None if the fit fails. It is deterministic in `seed`.

    Args:
        steps: t of each state, below `end`.
        groups: the imagined episode of each state; whole ones are held out.
        end: T.
    """
    known = np.isfinite(states).all(axis=1) & np.isfinite(returns) & (steps < end)
    states, steps, groups = states[known], steps[known], groups[known]
    if not known.any():
        return None
    targets = returns[known] / (end - steps)
    inputs = np.asarray(_encode_all(states, steps, np.int32(end), options.transforms))
    mean, scale = inputs.mean(axis=0), inputs.std(axis=0)
    scale = np.where(scale > 1e-9 * np.maximum(np.abs(mean), 1.0), scale, 1.0)
    c, s = targets.mean(), targets.std()
    s = s if s > 1e-12 * max(abs(c), 1e-300) else 1.0
    network = MLP.create((inputs.shape[1], *options.hidden, 1), jax.random.key(seed), "tanh", gain=0.01)
    zeros = jax.tree.map(np.zeros_like, network)
    start = AdamState(network, zeros, zeros, np.zeros((), np.int32))
    samples = ((inputs - mean) / scale, (targets - c) / s)
    rng = np.random.default_rng(seed)
    fit = fit_parameters(
        _loss,
        start,
        samples,
        np.ones(len(targets)),
        rng,
        options.fit,
        context=(),
        usual_loss=_usual_loss,
        groups=groups,
    )
    if fit.diverged:
        return None
    value = TerminalValue(
        fit.best.parameters, mean, scale, np.asarray(c), np.asarray(s), np.asarray(end, np.int32), options.transforms
    )
    return jax.tree.map(np.asarray, value)


def begin_value(mean_cost: float, inputs: int, end: int, options: ValueOptions) -> TerminalValue:
    """Return the value before the first fit: the mean cost of a step, for each that is left.

    Args:
        inputs: df.
    """
    network = jax.tree.map(np.zeros_like, MLP.create((inputs, *options.hidden, 1), jax.random.key(0), "tanh"))
    return TerminalValue(
        network, np.zeros(inputs), np.ones(inputs), np.asarray(mean_cost), np.ones(()), np.asarray(end, np.int32),
        options.transforms,
    )  # fmt: skip


def count_inputs(dx: int, transforms: StateTransforms) -> int:
    """Return df, the number of inputs of a value's network."""
    return len(_encode(jnp.zeros(dx), jnp.zeros(()), jnp.ones(()), transforms))


def _encode(x: Array, t: Array, end: Array, transforms: StateTransforms) -> Float[Array, "df"]:
    return encode_input(x, jnp.atleast_1d(t / end), transforms)


@jax.jit
def _loss(network: MLP, context: Any, samples: tuple[Array, Array], weights: Array) -> Array:
    inputs, targets = samples
    return jnp.sum(weights * (jax.vmap(network)(inputs)[:, 0] - targets) ** 2)


def _usual_loss(context: Any, samples: tuple[Array, Array], weights: Array) -> Array:
    return jnp.ones(())


def _encode_all(states: np.ndarray, steps: np.ndarray, end: Any, transforms: StateTransforms) -> Array:
    return jax.vmap(lambda x, t: _encode(x, t, end, transforms))(jnp.asarray(states), jnp.asarray(steps))
