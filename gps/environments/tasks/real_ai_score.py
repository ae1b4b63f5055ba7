"""The performance score of RealAIGym's simulation leaderboards, version 2, for acrobot and pendubot.

Source: the rules of the leaderboards "simulation performance V2" and the program that computes them (Wiebe et al.,
`double_pendulum/analysis/leaderboard.py`, with the weights and normalisations of `leaderboard/*/simulation_v2`):

    S = success · (1 − ⅕ Σ_i tanh(π c_i / n_i))

with five criteria c_i: swing-up time (n = 20 s), energy (60 J), torque cost (20 N² m² s), torque smoothness (0.1 N m)
and velocity cost (400 rad²/s). The rules print the formula without ⅕ and π; the published scores have both.

One thing differs from that program: it never looks at the last sample when it decides about the success.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gps.environments.contract import Floats
from gps.environments.tasks.double_pendulum import LINE

LENGTHS = (0.2, 0.3)
"""The lengths of the two links, m."""

_NORMALISATION = {
    "swing_up_time": 20.0,
    "energy": 60.0,
    "torque_cost": 20.0,
    "torque_smoothness": 0.1,
    "velocity_cost": 400.0,
}


@dataclass(frozen=True)
class RealAIScore:
    """The criteria of one attempt, and the score.

    Attributes:
        success: True if the tip is above the line in the end.
        swing_up_time: the time from which on the tip stays above the line, s; the whole time without success.
        energy: Σ |Δq τ| over steps and joints, J.
        torque_cost: Σ τ² Δt, N² m² s.
        torque_smoothness: the standard deviation of the torque's change from sample to sample, summed over joints, N m.
            It depends on the time between samples: scores are comparable at 2 ms.
        velocity_cost: Σ q̇² Δt, rad²/s.
    """

    success: bool
    swing_up_time: float
    energy: float
    torque_cost: float
    torque_smoothness: float
    velocity_cost: float

    @property
    def score(self) -> float:
        """The RealAI score, 0 to 1; 0 without success."""
        penalties = [np.tanh(np.pi * getattr(self, name) / most) for name, most in _NORMALISATION.items()]
        return float(self.success * (1.0 - np.mean(penalties)))


def score_v2(times: Floats, positions: Floats, velocities: Floats, torques: Floats) -> RealAIScore:
    """Score one attempt of 10 s from hanging; `gps.environments.tasks.double_pendulum.play_finely` records one.

    Args:
        times: (K,), s; for comparable scores every 2 ms.
        positions: (K, 2), the angles of shoulder and elbow, rad; 0 hanging, the elbow's relative.
        velocities: (K, 2), rad/s.
        torques: (K, 2), of both joints, N m; each acts from its own time to the next one.

    Raises:
        ValueError: if the shapes do not fit each other, there are fewer than three samples, or a number is not finite.
    """
    times, positions, velocities, torques = map(np.asarray, (times, positions, velocities, torques))
    if len(times) < 3 or any(part.shape != (len(times), 2) for part in (positions, velocities, torques)):
        shapes = ", ".join(str(part.shape) for part in (times, positions, velocities, torques))
        raise ValueError(f"expected times (K,) and three arrays (K, 2) with K at least 3, got {shapes}")
    if not all(np.isfinite(part).all() for part in (times, positions, velocities, torques)):
        raise ValueError("an attempt with numbers that are not finite has no score")
    periods = np.diff(times)[:, None]
    above = find_height(positions) > LINE
    last_below = np.flatnonzero(~above)
    first = int(last_below[-1]) + 1 if len(last_below) else 0
    return RealAIScore(
        success=bool(above[-1]),
        swing_up_time=float(times[min(first, len(times) - 1)]),
        energy=float(np.abs(np.diff(positions, axis=0) * torques[:-1]).sum()),
        torque_cost=float((torques[:-1] ** 2 * periods).sum()),
        torque_smoothness=float(np.diff(torques, axis=0).std(axis=0).sum()),
        velocity_cost=float((velocities[:-1] ** 2 * periods).sum()),
    )


def find_height(positions: Floats) -> Floats:
    """The height of the tip above the shoulder, (…,), m, of the angles (…, 2), rad."""
    first = positions[..., 0]
    return -LENGTHS[0] * np.cos(first) - LENGTHS[1] * np.cos(first + positions[..., 1])
