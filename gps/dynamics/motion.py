"""The motion of a second-order system from the noisy positions of a whole episode: a smoother without a model.

A joint's acceleration has a part that is held for each step, as the actions are, B u_t, and a part that moves from one
value to the next in a straight line, by a random amount,

    v_{t+1} = v_t + dt (B u_t + (a_t + a_{t+1}) / 2)
    q_{t+1} = q_t + dt v_t + dt² (B u_t / 2 + a_t / 3 + a_{t+1} / 6),        a_{t+1} = a_t + N(0, s²)

so that the motion is linear in θ = (q_0, v_0, a_0, B and the changes of a), of which nothing is known but s. Given the
measured positions, θ is a problem of least squares; s is the one under which the measurements are most likely (the
restricted likelihood, θ integrated out). Without the actions it is the cubic smoothing spline.

What comes later tells as much of a state as what came before, so no controller can have this estimate; a model is
learned from it.
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import minimize_scalar

from gps.dynamics.units import positive_deviation
from gps.linear_gaussian.mechanics import Mechanics

_FEWEST = 5
"""Steps, beyond the number of actions, of an episode that can be smoothed."""

_RANGE = np.log([1e-4, 1e4])
"""s is sought in this range, in units of a typical acceleration."""


def smooth_motions(
    measured: Float[np.ndarray, "M N T dx"],
    actions: Float[np.ndarray, "M N T du"],
    mask: Bool[np.ndarray, "M N T"],
    mechanics: Mechanics,
    deviation: Float[np.ndarray, "dx"],
) -> Float[np.ndarray, "M N T dx"]:
    """Estimate positions and velocities of each episode from its positions; other entries stay as measured.

    Args:
        mask: True up to the end of an episode; what follows stays as it is.
        deviation: of the noise of each entry. A joint whose position is exact stays as it is.
    """
    smoothed = measured.copy()
    q, v = (np.arange(measured.shape[-1])[part] for part in (mechanics.position, mechanics.velocity))
    noisy = [(i, j) for i, j in zip(q, v, strict=True) if deviation[i] > 0]
    for m, n in np.ndindex(mask.shape[:2]):
        steps = int(mask[m, n].sum())
        if steps < _FEWEST + actions.shape[-1]:
            continue
        episode = smoothed[m, n, :steps]
        positions, velocities = _integrate(actions[m, n, : steps - 1], mechanics.dt)
        for i, j in noisy:
            unit = positive_deviation(episode[:, [i]])[0] / (steps * mechanics.dt**2)
            theta = _estimate(positions / deviation[i], episode[:, i] / deviation[i], actions.shape[-1], unit)
            episode[:, i], episode[:, j] = positions @ theta, velocities @ theta
    return smoothed


def _integrate(
    u: Float[np.ndarray, "steps du"], dt: float
) -> tuple[Float[np.ndarray, "T p"], Float[np.ndarray, "T p"]]:
    """Return the matrices of θ = (q_0, v_0, a_0, B, changes of a) that give the positions and the velocities."""
    T, du = len(u) + 1, u.shape[1]
    a, v, q = np.zeros((3, T, T + 2 + du))
    held = np.zeros((T - 1, T + 2 + du))
    a[:, [2, *range(3 + du, T + 2 + du)]] = np.tri(T)
    held[:, 3 : 3 + du] = u
    v[:, 1], q[:, 0] = 1.0, 1.0
    v[1:] += dt * np.cumsum(held + 0.5 * (a[:-1] + a[1:]), axis=0)
    q[1:] += np.cumsum(dt * v[:-1] + dt**2 * (0.5 * held + a[:-1] / 3.0 + a[1:] / 6.0), axis=0)
    return q, v


def _estimate(A: Float[np.ndarray, "T p"], b: Float[np.ndarray, "T"], du: int, unit: float) -> Float[np.ndarray, "p"]:
    """Return θ of one joint, for which A θ is nearest to b, in units of the noise; `unit` is an acceleration's."""
    known = 3 + du  # of which nothing is known
    changes = A.shape[1] - known

    def solve(log: float) -> tuple[Float[np.ndarray, "p"], float]:
        s = unit * np.exp(log)
        prior = np.zeros((changes, A.shape[1]))
        prior[:, known:] = np.eye(changes) / s
        ridge = 1e-9 * np.eye(A.shape[1])[3:known]  # an action that never changes
        Q, R = np.linalg.qr(np.concatenate([A, prior, ridge]))
        target = np.concatenate([b, np.zeros(changes + du)])
        projected = Q.T @ target
        residual = target @ target - projected @ projected
        loss = 0.5 * residual + np.log(np.abs(np.diag(R))).sum() + changes * np.log(s)
        return np.linalg.solve(R, projected), float(loss)

    best = minimize_scalar(lambda log: solve(log)[1], bounds=tuple(_RANGE), method="bounded")
    return solve(float(best.x))[0]
