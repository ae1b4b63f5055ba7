"""PILCO's moments as the textbook writes them, with inverses, determinants and loops: the readable twin of ours."""

from gps.backend import jax, jnp


def match_by_the_textbook(process, mu, S):
    """Deisenroth's thesis, eq. 2.34 to 2.55, with inverses and loops; without a prior mean."""
    h, P = process.hyperparameters, jnp.asarray(process.points)
    nu = P - mu
    dx, df = h.lengthscales.shape
    inv, det = jnp.linalg.inv, jnp.linalg.det
    Lambda = [jnp.diag(h.lengthscales[a] ** 2) for a in range(dx)]
    # In logarithms, as a product of what underflows and what overflows is no number.
    log_k = [2 * jnp.log(h.signal[a]) - 0.5 * jnp.einsum("ni,ij,nj->n", nu, inv(Lambda[a]), nu) for a in range(dx)]
    mean, slope = [], []
    for a in range(dx):
        exponent = -0.5 * jnp.einsum("ni,ij,nj->n", nu, inv(S + Lambda[a]), nu)
        q = h.signal[a] ** 2 * det(S @ inv(Lambda[a]) + jnp.eye(df)) ** -0.5 * jnp.exp(exponent)
        mean.append(process.weights[a] @ q)
        slope.append((process.weights[a] * q) @ nu @ inv(S + Lambda[a]))
    rows = []
    for a in range(dx):
        row = []
        for b in range(dx):
            R = S @ (inv(Lambda[a]) + inv(Lambda[b])) + jnp.eye(df)
            z = (nu @ inv(Lambda[a]))[:, None] + (nu @ inv(Lambda[b]))[None]
            form = jnp.einsum("nmi,ij,nmj->nm", z, inv(R) @ S, z)
            Q = jnp.exp(log_k[a][:, None] + log_k[b] + 0.5 * form) / jnp.sqrt(det(R))
            value = process.weights[a] @ Q @ process.weights[b] - mean[a] * mean[b]
            if a == b:
                value += h.signal[a] ** 2 - jnp.trace(process.precisions[a] @ Q) + h.noise[a] ** 2
            row.append(value)
        rows.append(jnp.stack(row))
    return jnp.stack(mean), jnp.stack(rows), jnp.stack(slope)


def match_radial_by_the_textbook(network, e, C):
    """The moments of a sum of Gaussian bumps (thesis, sec. 3.5.2), of each output and pair of bumps by itself."""
    inv, det = jnp.linalg.inv, jnp.linalg.det
    Lambda, W, df = jnp.diag(jnp.exp(2.0 * network.log_lengthscales)), network.weights, len(e)
    nu = network.centres - e
    exponent = -0.5 * jnp.einsum("ni,ij,nj->n", nu, inv(C + Lambda), nu)
    q = det(C @ inv(Lambda) + jnp.eye(df)) ** -0.5 * jnp.exp(exponent)
    slope = jnp.einsum("nj,n,nk->jk", W, q, nu @ inv(C + Lambda))
    log_single = -0.5 * jnp.einsum("ni,ij,nj->n", nu, inv(Lambda), nu)
    R = 2.0 * C @ inv(Lambda) + jnp.eye(df)
    z = (nu @ inv(Lambda))[:, None] + (nu @ inv(Lambda))[None]
    form = jnp.einsum("nmi,ij,nmj->nm", z, inv(R) @ C, z)
    Q = jnp.exp(log_single[:, None] + log_single + 0.5 * form) / jnp.sqrt(det(R))
    mean = W.T @ q
    return mean, W.T @ Q @ W - jnp.outer(mean, mean), slope.T


def predict_all(process, z):
    """The mean and the variance of the next state at many z (JAX)."""
    dx = process.weights.shape[0]

    def predict(z):
        x, u = z[:dx], z[dx:]
        return process.mean(x, u), process.deviation(x, u) ** 2

    return jax.lax.map(predict, jnp.asarray(z), batch_size=4096)
