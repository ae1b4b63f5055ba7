"""Every cost term: its gradient and Hessian against finite differences, and its value against its formula."""

import numpy as np
import pytest

from gps.backend import jax, jnp
from gps.costs import Distance, Quadratic, Ramp, Rate, Saturating, Sum, TaskCost

T, DX, DU = 5, 4, 2
RAMP = Ramp(T, "quadratic", jnp.asarray(3.0))


def one(value):
    return jnp.asarray(float(value))


def smooth(x, u, t):
    return jnp.sin(x[0]) * x[1] ** 2 + jnp.exp(0.3 * u[1]) * x[3] + 0.1 * t


TERMS = {
    "state": Quadratic((0, 2), jnp.array([0.5, -1.0]), jnp.array([2.0, 0.3]), RAMP),
    "action": Quadratic(None, jnp.zeros(2), jnp.array([1.0, 4.0]), RAMP),
    "rate": Rate((1, 3), jnp.array([1.0, 4.0]), RAMP),
    "l2": Distance((1, 2, 3), one(2.0), one(1.0), one(0.0), one(0.0), one(0.1), RAMP),
    "l1": Distance((1, 2, 3), one(2.0), one(0.0), one(1.0), one(0.0), one(0.1), RAMP),
    "log": Distance((1, 2, 3), one(2.0), one(0.0), one(0.0), one(1.0), one(0.1), RAMP),
    "saturating": Saturating(
        (0, 1, 1),
        ("plain", "sin", "cos"),
        jnp.array([0.2, 0.0, 1.0]),
        jnp.array([[1.0, 0.6, 0.0], [0.0, 0.0, 0.6]]),
        one(2.0),
        RAMP,
    ),
    "task": TaskCost(smooth, one(0.7), RAMP),
}
TERMS["sum"] = Sum(tuple(TERMS.values()))


@pytest.mark.parametrize("name", TERMS)
def test_derivatives_are_those_of_finite_differences(name):
    def of_z(z, t):
        return TERMS[name](z[:DX], z[DX:], t)

    @jax.jit
    @jax.vmap
    def derivatives(z):
        return of_z(z, 3), jax.grad(of_z)(z, 3), jax.hessian(of_z)(z, 3)

    z, h = np.random.default_rng(0).standard_normal(DX + DU), 1e-5
    steps = h * np.concatenate([np.eye(DX + DU), -np.eye(DX + DU)])
    value, gradient, hessian = (np.asarray(part) for part in derivatives(np.vstack([z, z + steps])))
    n = DX + DU
    np.testing.assert_allclose(gradient[0], (value[1 : n + 1] - value[n + 1 :]) / (2 * h), rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(hessian[0], (gradient[1 : n + 1] - gradient[n + 1 :]) / (2 * h), rtol=1e-7, atol=1e-8)
    assert np.abs(gradient[0]).max() > 0.1


def test_values_are_those_of_the_formulas():
    x, u = np.array([0.3, -1.0, 2.0, 0.5]), np.array([1.5, -2.0])
    weight = (4 / 5) ** 2
    d2 = 1.0 + 4.0 + 0.25
    tip = x[0] - 0.2 + 0.6 * np.sin(x[1]), 0.6 * (np.cos(x[1]) - 1.0)
    expected = {
        "state": weight * 0.5 * (2.0 * 0.2**2 + 0.3 * 3.0**2),
        "action": weight * 0.5 * (1.5**2 + 4.0 * 4.0),
        "rate": weight * 0.5 * (2.5**2 + 4.0 * 2.5**2),
        "l2": weight * 2.0 * 0.5 * d2,
        "l1": weight * 2.0 * np.sqrt(d2 + 0.1),
        "log": weight * 2.0 * 0.5 * np.log(d2 + 0.1),
        "saturating": weight * 2.0 * (1.0 - np.exp(-0.5 * (tip[0] ** 2 + tip[1] ** 2))),
        "task": weight * 0.7 * float(smooth(x, u, 3)),
    }
    for name, value in expected.items():
        assert float(TERMS[name](jnp.asarray(x), jnp.asarray(u), 3)) == pytest.approx(value, rel=1e-12), name
    assert float(TERMS["sum"](jnp.asarray(x), jnp.asarray(u), 3)) == pytest.approx(sum(expected.values()), rel=1e-12)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [("constant", [1, 1, 1, 1, 3]), ("linear", [0.2, 0.4, 0.6, 0.8, 3]), ("quadratic", [0.04, 0.16, 0.36, 0.64, 3]),
     ("final", [0, 0, 0, 0, 3])],
)  # fmt: skip
def test_ramps(shape, expected):
    weights = jax.vmap(Ramp(T, shape, jnp.asarray(3.0)))(jnp.arange(T))
    np.testing.assert_allclose(weights, expected, rtol=1e-12)


def test_a_distance_is_smooth_at_the_goal():
    def of_x(x):
        return jnp.stack([TERMS[name](x, jnp.zeros(DU), 3) for name in ("l1", "l2", "log")])

    gradients, hessians = jax.jit(lambda x: (jax.jacobian(of_x)(x), jax.hessian(of_x)(x)))(jnp.zeros(DX))
    assert (np.asarray(gradients) == 0).all()
    assert np.isfinite(hessians).all()
