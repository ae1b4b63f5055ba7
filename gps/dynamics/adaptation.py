"""Online adaptation of a global model: a recursive regression of its residuals with forgetting.

Within an episode, the dynamics near the state are the model's own, corrected by what its last predictions missed (Fu,
Levine & Abbeel 2016, "One-shot learning of manipulation skills with online dynamics adaptation and neural network
priors", sec. IV, who adapt the joint Gaussian of [x; u; x'] instead). The regression and its prior are those of
`gps.dynamics.residual`, with one sample per step. A sample that is k steps old has the weight λᵏ, and the prior is
never forgotten:

    minimise over β_i = [b_i, B_i]    Σ_k λᵏ (r_ki − β_i φ_k)² + m β_i U_i⁻¹ β_iᵀ,     φ = [1; z − z̄],
    U_i = diag(v_i, V_i), as the model believes at z̄, the point around which the dynamics are wanted.

The data enter by four sums, Σ λᵏ φφᵀ, Σ λᵏ φ rᵀ, Σ λᵏ r² and Σ λᵏ, so each step costs the same. They are kept around
the first point of the episode in the units of the data, and moved to z̄ when asked. With λ = 1 the result is that of
`Residuals.fit` for all samples so far at once. All functions are JAX functions of one episode.
"""

from typing import NamedTuple, Self

from jaxtyping import Float

from gps.backend import Array, jnp
from gps.linear_gaussian.linalg import psd_solve

_JITTER = 1e-10
"""Relative to the mean variance of a belief: a slope that is known exactly is known to five digits."""


class Evidence(NamedTuple):
    """The weighted sums of an episode's residuals, with φ = [1; (z − origin) / scale]."""

    origin: Float[Array, "dz"]
    scale: Float[Array, "dz"]
    inputs: Float[Array, "1+dz 1+dz"]  # Σ φφᵀ
    cross: Float[Array, "1+dz dx"]  # Σ φ rᵀ
    squares: Float[Array, "dx"]  # Σ r²
    count: Float[Array, ""]  # Σ 1

    @classmethod
    def none(cls, origin: Float[Array, "dz"], scale: Float[Array, "dz"], dx: int) -> Self:
        """Return no evidence; `origin` and `scale` are near those of the data to come."""
        d = 1 + origin.shape[-1]
        return cls(origin, scale, jnp.zeros((d, d)), jnp.zeros((d, dx)), jnp.zeros(dx), jnp.zeros(()))

    def add(self, z: Float[Array, "dz"], residual: Float[Array, "dx"], forgetting: float | Array) -> Self:
        """Return the evidence after one more sample. A residual that is not finite changes nothing.

        Args:
            forgetting: λ, the factor on the weight of all samples before.
        """
        usable = jnp.isfinite(residual).all() & jnp.isfinite(z).all()
        weight = usable.astype(float)
        forgetting = jnp.where(usable, forgetting, 1.0)
        r = jnp.where(usable, residual, 0.0)
        phi = weight * jnp.concatenate([jnp.ones(1), jnp.where(usable, z - self.origin, 0.0) / self.scale])
        return self._replace(
            inputs=forgetting * self.inputs + phi[:, None] * phi,
            cross=forgetting * self.cross + phi[:, None] * r,
            squares=forgetting * self.squares + r**2,
            count=forgetting * self.count + weight,
        )

    def move(self, center: Float[Array, "dz"]) -> tuple[Float[Array, "1+dz 1+dz"], Float[Array, "1+dz dx"]]:
        """Return Σ φφᵀ and Σ φ rᵀ with φ = [1; z − center]."""
        T = jnp.diag(jnp.concatenate([jnp.ones(1), self.scale])).at[1:, 0].set(self.origin - center)
        return T @ self.inputs @ T.T, T @ self.cross


class Correction(NamedTuple):
    """x' = f(z) + b + B (z − center) + w."""

    center: Float[Array, "dz"]
    shift: Float[Array, "dx"]  # b
    slope: Float[Array, "dx dz"]  # B
    variance: Float[Array, "dx"]  # of w


def correct(
    evidence: Evidence,
    center: Float[Array, "dz"],
    noise: Float[Array, "dx"],
    doubt: Float[Array, "dx"],
    slope_covariances: Float[Array, "dx dz dz"],
    strength: float | Array,
    degrees: float | Array,
) -> Correction:
    """Return the correction of a model around a point, from what it missed so far and what it believes there.

    Args:
        noise, doubt, slope_covariances: the belief at `center`; see `gps.dynamics.residual.ModelBelief`.
        strength, degrees: m and n0.
    """
    dx, dz = slope_covariances.shape[:2]
    U = jnp.zeros((dx, 1 + dz, 1 + dz)).at[:, 0, 0].set(doubt / noise)
    U = U.at[:, 1:, 1:].set(slope_covariances / noise[:, None, None])
    # In units of the data, so that the jitter means the same for each entry.
    units = jnp.concatenate([jnp.ones(1), evidence.scale])
    U = U * units[:, None] * units
    size = jnp.trace(U, axis1=1, axis2=2)[:, None, None] / (1 + dz)
    L = jnp.linalg.cholesky(U + (_JITTER * size + 1e-300) * jnp.eye(1 + dz))
    D, eta = evidence.move(center)
    D, eta = D / (units[:, None] * units), eta / units[:, None]
    # β = L (m I + Lᵀ D L)⁻¹ Lᵀ η: no belief is inverted.
    right = jnp.einsum("iab,ai->ib", L, eta)
    inner = strength * jnp.eye(1 + dz) + jnp.swapaxes(L, 1, 2) @ D @ L
    beta = jnp.einsum("iab,ib->ia", L, psd_solve(inner, right[..., None])[..., 0])
    left = jnp.maximum(evidence.squares - jnp.einsum("ia,ai->i", beta, eta), 0.0)
    beta = beta / units
    fine = jnp.isfinite(beta).all()
    beta = jnp.where(fine, beta, 0.0)
    variance = jnp.where(fine, (degrees * noise + left) / (degrees + evidence.count), noise)
    return Correction(center, beta[:, 0], beta[:, 1:], variance)
