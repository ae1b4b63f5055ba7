"""Coloured noise: random sequences whose power falls with the frequency f as f^−β.

White noise (β = 0) pushes to and fro and goes nowhere; with β = 1 (pink) or 2 (red) a sequence keeps its direction for
a while (Pinneri et al. 2020, sec. 3.1; Timmer & König 1995). The noise is synthesised from its spectrum: each frequency
k / H of a sequence of H steps has a sine and a cosine of random amplitudes with the deviation f^(−β/2); the constant
counts as the lowest frequency, 1 / H. Every step has the variance 1.
"""

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from gps.backend import Array, jax, jnp


def make_basis(steps: int, beta: float) -> Float[np.ndarray, "H H"]:
    """The matrix that makes coloured noise of white noise, for each dimension by itself: noise = basis @ white."""
    H, times = steps, np.arange(steps)
    columns = []
    for k in range(H // 2 + 1):
        amplitude = max(k, 1) ** (-0.5 * beta)
        phase = 2.0 * np.pi * k * times / H
        if k == 0 or 2 * k == H:
            columns.append(amplitude * np.cos(phase))
        else:
            columns += [np.sqrt(2.0) * amplitude * np.cos(phase), np.sqrt(2.0) * amplitude * np.sin(phase)]
    basis = np.stack(columns, axis=1)
    return basis / np.sqrt((basis[:1] ** 2).sum())


def draw_coloured(key: PRNGKeyArray, count: int, shape: tuple[int, int], beta: float) -> Float[Array, "count H du"]:
    """Return `count` sequences of coloured noise of variance 1, `shape` = (H, du); white for β = 0 (JAX)."""
    white = jax.random.normal(key, (count, *shape))
    return white if beta == 0 else jnp.einsum("th,chi->cti", make_basis(shape[0], beta), white)
