"""The terms of a cost. Each is a callable `term(x, u, t) -> scalar` of JAX arrays x (dx,), u (du,) and the step t.

A user's own cost is any such function. Weights and targets are arrays inside the term (an Equinox module), so that
changing them does not trigger a new compilation.
"""

from collections.abc import Callable

import equinox as eqx
from jaxtyping import Float, Int

from gps.backend import Array, jnp

Cost = Callable[..., Float[Array, ""]]


class Ramp(eqx.Module):
    """A weight over time, which reaches 1 at the last step; the last step can have an extra factor."""

    horizon: int = eqx.field(static=True)
    shape: str = eqx.field(static=True, default="constant")  # "constant", "linear", "quadratic", "final"
    final: Float[Array, ""] | float = 1.0  # factor at the last step

    def __call__(self, t: Int[Array, ""]) -> Float[Array, ""]:
        progress = (t + 1) / self.horizon
        last = t == self.horizon - 1
        weight = {
            "constant": jnp.ones(()),
            "linear": progress,
            "quadratic": progress**2,
            "final": jnp.where(last, 1.0, 0.0),
        }[self.shape]
        return weight * jnp.where(last, self.final, 1.0)


class Quadratic(eqx.Module):
    """½ Σ_i weight_i (y_i − target_i)² on chosen entries y of the state, or on the action."""

    indices: tuple[int, ...] | None = eqx.field(static=True)  # of the state; None: the action
    target: Float[Array, "n"]
    weight: Float[Array, "n"]
    ramp: Ramp

    def __call__(self, x, u, t):
        y = u if self.indices is None else x[jnp.asarray(self.indices)]
        return 0.5 * self.ramp(t) * jnp.sum(self.weight * (y - self.target) ** 2)


class Rate(eqx.Module):
    """½ Σ_i weight_i (u_i − v_i)², with v the action of the step before, which is part of the state."""

    last: tuple[int, ...] = eqx.field(static=True)  # entries of the state
    weight: Float[Array, "du"]
    ramp: Ramp

    def __call__(self, x, u, t):
        return 0.5 * self.ramp(t) * jnp.sum(self.weight * (u - x[jnp.asarray(self.last)]) ** 2)


class Distance(eqx.Module):
    """½ l2 d² + l1 √(d² + α) + ½ log · ln(d² + α), times the weight, with d the norm of chosen entries of the state.

    The quadratic part pulls from far away; the smooth l1 keeps pulling near the goal; the logarithm rewards the last
    millimetres (Levine, Wagener & Abbeel 2015, sec. IV; Levine et al. 2016, app. B.1).
    """

    indices: tuple[int, ...] = eqx.field(static=True)
    weight: Float[Array, ""]
    l2: Float[Array, ""]
    l1: Float[Array, ""]
    log: Float[Array, ""]
    alpha: Float[Array, ""]
    ramp: Ramp

    def __call__(self, x, u, t):
        square = jnp.sum(x[jnp.asarray(self.indices)] ** 2)
        value = 0.5 * self.l2 * square + self.l1 * jnp.sqrt(square + self.alpha)
        return self.weight * self.ramp(t) * (value + 0.5 * self.log * jnp.log(square + self.alpha))


class Saturating(eqx.Module):
    """weight (1 − exp(−½ |V (y − target)|²)), with y chosen entries of the state, some by their sine or cosine.

    It tells where the goal is near it, and not how far away the state is far from it: what is far away is equally bad,
    so that a policy is not punished for what it does not know yet (Deisenroth & Rasmussen 2011, eq. 25; Deisenroth's
    thesis, sec. 3.7.1).

    Args:
        indices: the entry of the state that each y is of.
        kinds: "plain", "sin" or "cos", of each y.
        matrix: V, whose rows are the distances that count, each over the cost's width.
    """

    indices: tuple[int, ...] = eqx.field(static=True)
    kinds: tuple[str, ...] = eqx.field(static=True)
    target: Float[Array, "n"]
    matrix: Float[Array, "r n"]
    weight: Float[Array, ""]
    ramp: Ramp

    def __call__(self, x, u, t):
        y = x[jnp.asarray(self.indices)]
        y = jnp.stack(
            [
                {"plain": y_i, "sin": jnp.sin(y_i), "cos": jnp.cos(y_i)}[kind]
                for y_i, kind in zip(y, self.kinds, strict=True)
            ]
        )
        square = jnp.sum((self.matrix @ (y - self.target)) ** 2)
        return self.weight * self.ramp(t) * -jnp.expm1(-0.5 * square)


class TaskCost(eqx.Module):
    """A user's function of (x, u, t), weighted and ramped like any other term."""

    function: Cost = eqx.field(static=True)
    weight: Float[Array, ""]
    ramp: Ramp

    def __call__(self, x, u, t):
        return self.weight * self.ramp(t) * self.function(x, u, t)


class Sum(eqx.Module):
    """The sum of its terms."""

    terms: tuple[Cost, ...]

    def __call__(self, x, u, t):
        return sum((term(x, u, t) for term in self.terms), start=jnp.zeros(()))
