"""Velocities estimated while an episode runs, from noisy positions alone: a filter of two gains for each joint.

    ahead  q⁻ = q̂ + dt v̂           the error of the measured position y:  r = y − q⁻
    update q̂ ← q⁻ + α r,   v̂ ← v̂ + β r / dt

It is the stationary Kalman filter of a position whose acceleration is white (Kalata 1984, "The tracking index"), and
with α = 1 the numerical differentiation of the measured positions behind a low-pass filter:

    q̂ = y,   v̂ ← (1 − β) v̂ + β (y − last y) / dt

An estimate is computed entry by entry from the last estimate and from what is measured, with the same arithmetic in
NumPy and in JAX, so that imagined episodes pass through the filter that the real ones passed.
"""

from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Float, Int

from gps.linear_gaussian.mechanics import Mechanics


class VelocityFilter(NamedTuple):
    """The filter of a state with positions and velocities; other entries are taken as measured.

    estimate' = own ∘ estimate + other ∘ estimate[partner] + measured ∘ y[source], where a position and its velocity are
    partners, and the source of both is the measured position.
    """

    noise: Float[np.ndarray, "dx"]  # standard deviation of each measured entry; a velocity is not measured
    own: Float[np.ndarray, "dx"]
    other: Float[np.ndarray, "dx"]
    measured: Float[np.ndarray, "dx"]
    partner: Int[np.ndarray, "dx"]
    source: Int[np.ndarray, "dx"]
    shown: Float[np.ndarray, "dx"]  # 0 for a velocity, which the first measurement does not tell; else 1

    @classmethod
    def of(
        cls,
        mechanics: Mechanics,
        noise: Float[np.ndarray, "dx"],
        alpha: Float[np.ndarray, "nv"],
        beta: Float[np.ndarray, "nv"],
    ) -> Self:
        """The filter with the gains α and β of each joint."""
        dx = len(noise)
        q, v = (np.arange(dx)[part] for part in (mechanics.position, mechanics.velocity))
        entries, dt = np.arange(dx), mechanics.dt
        own, other, measured, shown = np.zeros(dx), np.zeros(dx), np.ones(dx), np.ones(dx)
        partner, source = entries.copy(), entries.copy()
        own[q], other[q], measured[q], partner[q] = 1.0 - alpha, dt * (1.0 - alpha), alpha, v
        own[v], other[v], measured[v], partner[v], source[v] = 1.0 - beta, -beta / dt, beta / dt, q, q
        shown[v] = 0.0
        return cls(noise * shown, own, other, measured, partner, source, shown)

    def begin(self, y: Any) -> Any:
        """The estimate (..., dx) after the first measurement (..., dx): at rest."""
        return self.shown * y

    def update(self, estimate: Any, y: Any) -> Any:
        """The estimate after one more measurement; NumPy or JAX, with any leading axes."""
        return self.own * estimate + self.other * estimate[..., self.partner] + self.measured * y[..., self.source]

    def recover(self, estimates: Float[np.ndarray, "... T dx"]) -> Float[np.ndarray, "... T dx"]:
        """The measured positions from the estimates of an episode; velocities are left as they are."""
        now, last = estimates[..., 1:, :], estimates[..., :-1, :]
        found = (now - self.own * last - self.other * last[..., self.partner]) / self.measured
        found = np.where(self.shown > 0, found, now)
        return np.concatenate([estimates[..., :1, :], found], axis=-2)

    @property
    def deviation(self) -> Float[np.ndarray, "dx"]:
        """The standard deviation of the estimates of a system at rest."""
        impulse = self.measured * np.eye(len(self.noise))[:, self.source]
        total = np.zeros(len(self.noise))
        for _ in range(_LONG):
            total += self.noise**2 @ impulse**2
            impulse = self.own * impulse + self.other * impulse[:, self.partner]
        return np.sqrt(total)


_LONG = 1000
"""Steps after which a filter has forgotten a measurement."""


def differentiate(smoothing: Any, width: int) -> tuple[Float[np.ndarray, "nv"], Float[np.ndarray, "nv"]]:
    """The gains of a numerical differentiation; `smoothing` is the share of the last velocity in the next one."""
    return np.ones(width), 1.0 - np.broadcast_to(np.asarray(smoothing, float), width)


def filter_by_kalman(
    noise: Float[np.ndarray, "nv"], acceleration: Float[np.ndarray, "nv"], dt: float
) -> tuple[Float[np.ndarray, "nv"], Float[np.ndarray, "nv"]]:
    """The gains of the stationary Kalman filter (Kalata 1984, eq. 17 to 20).

    Args:
        noise: standard deviation of each measured position, above 0.
        acceleration: standard deviation of the acceleration, which is held for a step, white from step to step.
    """
    index = acceleration * dt**2 / noise
    r = (4.0 + index - np.sqrt(8.0 * index + index**2)) / 4.0
    alpha = 1.0 - r**2
    return alpha, 2.0 * (2.0 - alpha) - 4.0 * np.sqrt(1.0 - alpha)
