"""The action of a policy whose state is Gaussian: its mean, its covariance, and its covariance with the state.

For x ~ N(m, S) and u = c + r ∘ squash(f(e(x))) the parts have closed forms, one after another:

    e    plain entries, sines and cosines: exact moments (Deisenroth's thesis, app. A.1)
    f    affine: exact; radial basis functions: those of a Gaussian process without doubt (thesis, sec. 3.5.2)
    σ    sine: exact (thesis, app. A.1; 9/8 sin f + 1/8 sin 3f is a sum of sines)

Each takes the result of the one before it for Gaussian, as PILCO does. By Stein's lemma the covariance of the state
with a function of a jointly Gaussian variable is that with this variable times the mean slope of the function.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gps.backend import Array, jnp
from gps.errors import ConfigError
from gps.models.features import StateTransforms
from gps.models.moment_matching import encode_moments, match_mean, pair_logarithms
from gps.networks import Affine, Bounded, RadialBasis
from gps.policies.neural import NeuralPolicy
from gps.policies.observed import Observed


class Response(NamedTuple):
    """The moments of y = f(e) for Gaussian e."""

    mean: Float[Array, "du"]
    covariance: Float[Array, "du du"]
    slope: Float[Array, "df du"]  # E ∂y/∂e, transposed: cov(e, y) = cov(e) slope


def require_moments(network: object) -> None:
    """Raise ConfigError if the moments of a network's actions are not known."""
    if type(network) not in _RESPONSES:
        raise ConfigError('algorithm.policy.network: moment matching takes "rbf" or "affine"')
    assert isinstance(network, Bounded)
    if network.squash == "tanh":
        raise ConfigError(
            'algorithm.policy.squash: the moments of "tanh" have no closed form; take "sine", or "none" for a '
            "policy whose actions the environment clips"
        )


def match_action(
    policy: NeuralPolicy,
    mean: Float[Array, "dx"],
    covariance: Float[Array, "dx dx"],
    observed: Observed,
    t: Int[Array, ""] | int,
) -> tuple[Float[Array, "dz"], Float[Array, "dz dz"]]:
    """Return the mean and the covariance of z = [x; u], for x ~ N(mean, covariance) and the policy's mean action (JAX).

    Args:
        observed: what the policy observes of the state at step t.
    """
    network = policy.network
    assert isinstance(network, Bounded)
    now = observed.find_reference(t)
    dx, known, turns = len(mean), len(mean) + len(now), tuple(observed.entries[i] for i in network.angles)
    joint = jnp.concatenate([mean, now]), jnp.pad(covariance, (0, len(now)))
    encoded, spread, cross = encode_moments(*joint, known, StateTransforms(turns))
    order, scale, shift = _arrange(network, policy, observed.entries, known)
    e, C = (encoded[order] - shift) / scale, spread[np.ix_(order, order)] / scale / scale[:, None]
    f, F, slope = _RESPONSES[type(network)](network, e, C)
    u, U, gain = _squash(network, f, F)
    scales = jnp.asarray(policy.output_scale)
    reach = cross[:dx, order] / scale @ slope * gain * scales
    U = U * scales * scales[:, None]
    return jnp.concatenate([mean, u * scales]), jnp.block([[covariance, reach], [reach.T, U]])


def _arrange(
    network: Bounded, policy: NeuralPolicy, observed: tuple[int, ...], dx: int
) -> tuple[np.ndarray, Float[Array, "df"], Float[Array, "df"]]:
    """Where the network's inputs are in the encoded state, and the scale and shift of each.

    An angle cannot be scaled: the policy's own normalisation leaves angles as they are.
    """
    turns = [observed[i] for i in network.angles]
    plain = [x for x in range(dx) if x not in turns]
    own = [i for i in range(network.size) if i not in network.angles]
    places = [plain.index(observed[i]) for i in own]
    ordered = sorted(turns)
    sines = [len(plain) + ordered.index(x) for x in turns]
    cosines = [len(plain) + len(ordered) + ordered.index(x) for x in turns]
    scale = jnp.concatenate([jnp.asarray(policy.input_scale)[np.array(own, int)], jnp.ones(2 * len(turns))])
    shift = jnp.concatenate([jnp.asarray(policy.input_mean)[np.array(own, int)], jnp.zeros(2 * len(turns))])
    return np.array([*places, *sines, *cosines], int), scale, shift


def _match_affine(network: Affine, e: Float[Array, "df"], C: Float[Array, "df df"]) -> Response:
    W = network.weights
    return Response(e @ W + network.bias, W.T @ C @ W, W)


def _match_radial(network: RadialBasis, e: Float[Array, "df"], C: Float[Array, "df df"]) -> Response:
    """Thesis, eq. 2.34 to 2.36 and 2.53 without the doubt: E f = wᵀ q, E f fᵀ = Wᵀ Q W, Q_ij = E φ_i φ_j."""
    offsets, scale, one = network.centres - e, jnp.exp(network.log_lengthscales), jnp.ones(())
    W = jnp.asarray(network.weights)
    matched = [match_mean(offsets, C, scale, one, W[:, j]) for j in range(W.shape[1])]
    mean, slope = (jnp.stack(parts) for parts in zip(*matched, strict=True))
    A, B, U, T, V = pair_logarithms(offsets, C, scale, one, scale, one)
    Q = jnp.exp(A[:, None] + B + U @ T @ V.T)
    return Response(mean, W.T @ Q @ W - jnp.outer(mean, mean), slope.T)


_RESPONSES: dict[type, Callable[[Any, Array, Array], Response]] = {Affine: _match_affine, RadialBasis: _match_radial}
"""Class of a network -> the moments of its function f."""


def _squash(
    network: Bounded, f: Float[Array, "du"], F: Float[Array, "du du"]
) -> tuple[Float[Array, "du"], Float[Array, "du du"], Float[Array, "du"]]:
    """Return mean and covariance of u = c + r ∘ σ(f), and E ∂u/∂f."""
    if network.squash == "none":
        return f, F, jnp.ones_like(f)
    du, parts = len(f), np.repeat([1.0, 3.0], len(f))
    angles = jnp.concatenate([f, f]) * parts
    sine, sines, cosine = _match_sines(angles, jnp.tile(F, (2, 2)) * parts * parts[:, None])
    mix = np.concatenate([1.125 * np.eye(du), 0.125 * np.eye(du)]) * network.half_range
    slope = 1.125 * cosine[:du] + 0.375 * cosine[du:]
    return network.middle + sine @ mix, mix.T @ sines @ mix, network.half_range * slope


def _match_sines(
    mean: Float[Array, "k"], covariance: Float[Array, "k k"]
) -> tuple[Float[Array, "k"], Float[Array, "k k"], Float[Array, "k"]]:
    """Return the means and the covariance of the sines of Gaussian angles, and the means of their cosines."""
    k = len(mean)
    moments, spread, _ = encode_moments(mean, covariance, k, StateTransforms(tuple(range(k))))
    return moments[:k], spread[:k, :k], moments[k:]
