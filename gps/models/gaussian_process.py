"""A Gaussian process as a global model: one for each entry of the state, on normalised inputs and differences.

The change of entry a of the state is f_a(ξ) + noise, where ξ are the normalised inputs (`gps.models.features`) and f_a
has the squared-exponential kernel k_a(ξ, ξ') = s² exp(−½ Σ_d (ξ_d − ξ'_d)² / l_d²) with lengthscales of its own. The
prior mean of the change is its mean in the data, or linear in the inputs. Given n points with inputs P and targets y,

    E f(ξ) = k(ξ, P) α,   var f(ξ) = s² − k(ξ, P) M k(P, ξ),   α = M y,   M = (k(P, P) + σ² I)⁻¹ = L⁻ᵀ L⁻¹

(Rasmussen & Williams 2006, eq. 2.25 and 2.26). L⁻¹ and M are kept, so that a prediction is a product of matrices.
Padded points have zeros in α, L⁻¹ and M: they change nothing. `gps.models.conditioning` computes them; of many data it
makes α, M and a root of M for few points, and all that is written here holds.
"""

from jaxtyping import Float, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.linear_gaussian.types import pytree
from gps.models.features import Differences, Encoding, encode_input
from gps.models.marginal_likelihood import Hyperparameters
from gps.models.moment_matching import encode_moments, match_moments
from gps.models.pathwise import PathwiseFunction, draw_functions


@pytree
class GaussianProcess:
    """x' = x + mean change + deviation ∘ (B ξ + f(ξ)). A `gps.models.model.GlobalModel` with `MomentMatching`.

    Args:
        deviations: standard deviation of each entry of z in the data.
        slopes: B, of the prior mean; zero unless it is linear.
        points: P, normalised inputs.
        weights: α.
        whiteners: W = L⁻¹, or another root of M = Wᵀ W.
        precisions: M.
        shares: of a process projected on few points: s of the noise Wᵀ (s ∘ e), e ~ N(0, I), in a draw of α; None for
            an exact one.
    """

    encoding: Encoding
    differences: Differences
    deviations: Float[Array, "dz"]
    hyperparameters: Hyperparameters
    slopes: Float[Array, "dx df"]
    points: Float[Array, "n df"]
    weights: Float[Array, "dx n"]
    whiteners: Float[Array, "dx n n"]
    precisions: Float[Array, "dx n n"]
    shares: Float[Array, "dx n"] | None = None

    def mean(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the expected next state (JAX)."""
        inputs = self.encoding(x, u)
        return self.differences.decode(x, self._predict(inputs, self._correlate(inputs)))

    def deviation(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the standard deviation of each entry of the next state: noise and doubt together (JAX)."""
        return self.differences.deviation * self._spread(self._correlate(self.encoding(x, u)))

    def sample(self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray) -> Float[Array, "dx"]:
        """Return a draw of the next state (JAX)."""
        inputs = self.encoding(x, u)
        k = self._correlate(inputs)
        noise = jax.random.normal(key, self.hyperparameters.noise.shape)
        return self.differences.decode(x, self._predict(inputs, k) + self._spread(k) * noise)

    def draw(self, key: PRNGKeyArray, count: int) -> PathwiseFunction:
        """Return `count` whole functions from the posterior, smooth in x and u (JAX; see `gps.models.pathwise`)."""
        return draw_functions(self, key, count)

    def linearise(
        self, x: Float[Array, "dx"], u: Float[Array, "du"]
    ) -> tuple[Float[Array, "dx dz"], Float[Array, "dx"]]:
        """Return the slope F of the mean and the offset c of x' = F z + c at one z = [x; u] (JAX)."""
        inputs = self.encoding(x, u)
        k = self._correlate(inputs)
        target = self._predict(inputs, k)
        weighted = self.weights * k
        pull = weighted @ self.points - jnp.sum(weighted, axis=1, keepdims=True) * inputs
        slope = self.slopes + pull / self.hyperparameters.lengthscales**2
        direct, through = jax.jacfwd(self.differences.decode, (0, 1))(x, target)
        F = through @ slope @ self._slope_of_inputs(x, u)
        F = F.at[:, : x.shape[-1]].add(direct)
        return F, self.differences.decode(x, target) - F @ jnp.concatenate([x, u])

    def slope_covariance(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx dz dz"]:
        """Return the posterior covariance of each row of the slope F: what the model does not know of it (JAX).

        Value and derivative of f are jointly Gaussian, with cov(∂f, ∂f') = s² Λ⁻¹ and cov(∂f, y_i) =
        −Λ⁻¹ (ξ − ξ_i) k(ξ, ξ_i) at one ξ, Λ = diag(l²) (Rasmussen & Williams 2006, sec. 9.4).
        """
        inputs = self.encoding(x, u)
        k = self._correlate(inputs)
        scale = self.hyperparameters.lengthscales
        cross = k[:, :, None] * (self.points - inputs) / scale[:, None] ** 2
        whitened = self.whiteners @ cross
        prior = (self.hyperparameters.signal[:, None] / scale) ** 2
        C = prior[:, :, None] * jnp.eye(scale.shape[-1]) - jnp.swapaxes(whitened, 1, 2) @ whitened
        E = self._slope_of_inputs(x, u)
        G = jax.jacfwd(self.differences.decode, 1)(x, self._predict(inputs, k))
        return jnp.einsum("ak,fi,kfg,gj->aij", G**2, E, C, E)

    def moments(
        self, mean: Float[Array, "dz"], covariance: Float[Array, "dz dz"]
    ) -> tuple[Float[Array, "dx"], Float[Array, "dx dx"], Float[Array, "dz dx"]]:
        """Return the mean of x', its covariance with noise and doubt, and cov(z, x'), for z ~ N(mean, covariance).

        The moments are exact; with angles, those of the sines and cosines are exact and their distribution is taken to
        be Gaussian, as PILCO does (Deisenroth & Rasmussen 2011). They are differentiable by `mean` and `covariance`.

        Raises:
            ConfigError: if the state has quaternions.
        """
        dx = self.differences.mean.shape[-1]
        raw, raw_covariance, raw_cross = encode_moments(mean, covariance, dx, self.encoding.transforms)
        weight = self.encoding.weight
        inputs, spread = (raw - self.encoding.mean) * weight, raw_covariance * weight * weight[:, None]
        target, scatter, slope = match_moments(self, inputs, spread)
        scale = self.differences.deviation
        change = (raw_cross * weight) @ (scale[:, None] * slope).T  # cov(z, x' − x)
        after = mean[:dx] + self.differences.mean + scale * target
        spread_after = covariance[:dx, :dx] + change[:dx] + change[:dx].T + scatter * scale * scale[:, None]
        return after, spread_after, covariance[:, :dx] + change

    def _correlate(self, inputs: Float[Array, "df"]) -> Float[Array, "dx n"]:
        """Return k(ξ, P) of each output."""
        return correlate(inputs, self.points, self.hyperparameters)

    def _predict(self, inputs: Float[Array, "df"], k: Float[Array, "dx n"]) -> Float[Array, "dx"]:
        return self.slopes @ inputs + jnp.sum(self.weights * k, axis=1)

    def _spread(self, k: Float[Array, "dx n"]) -> Float[Array, "dx"]:
        explained = jnp.sum((self.whiteners @ k[:, :, None])[:, :, 0] ** 2, axis=1)
        doubt = jnp.maximum(self.hyperparameters.signal**2 - explained, 0.0)
        return jnp.sqrt(doubt + self.hyperparameters.noise**2)

    def _slope_of_inputs(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "df dz"]:
        by_state, by_action = jax.jacfwd(encode_input, (0, 1))(x, u, self.encoding.transforms)
        return jnp.concatenate([by_state, by_action], axis=1) * self.encoding.weight[:, None]


def correlate(
    inputs: Float[Array, "df"], points: Float[Array, "n df"], hyperparameters: Hyperparameters
) -> Float[Array, "dx n"]:
    """Return k(ξ, P) of each output (JAX)."""
    distance = (inputs - points) / hyperparameters.lengthscales[:, None]
    return hyperparameters.signal[:, None] ** 2 * jnp.exp(-0.5 * jnp.sum(distance**2, axis=-1))
