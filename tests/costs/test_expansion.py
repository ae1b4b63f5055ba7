"""The expansion along samples: projection to positive semi-definite Hessians, absolute coordinates, faults in words."""

from functools import partial

import numpy as np
import pytest

from gps.backend import jax, jnp
from gps.costs import evaluate_cost, expand
from gps.costs.expansion import project_psd
from gps.errors import CostFault

M, N, T, DX, DU = 2, 3, 4, 3, 2
DZ = DX + DU


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    return rng.uniform(0.5, 2.0, (M, N, T, DX)), rng.standard_normal((M, N, T, DU)), np.ones((M, N, T), bool)


def random_symmetric(seed, *shape):
    matrix = np.random.default_rng(seed).standard_normal(shape)
    return matrix + matrix.swapaxes(-1, -2)


def test_projection_clips_the_eigenvalues():
    """The nearest positive semi-definite matrix in the Frobenius norm (Higham 1988)."""
    matrices = random_symmetric(1, 20, 6, 6)
    values, vectors = np.linalg.eigh(matrices)
    expected = np.einsum("bij,bj,bkj->bik", vectors, np.maximum(values, 0.0), vectors)
    projected = project_psd(matrices)
    np.testing.assert_allclose(projected, expected, atol=1e-12)
    assert (np.linalg.eigvalsh(projected) > -1e-12).all()
    np.testing.assert_allclose(project_psd(projected), projected, atol=1e-12)


def test_projection_works_on_blocks_and_leaves_zeros_zero():
    matrices = np.zeros((10, 7, 7))
    parts = [np.array([0, 3]), np.array([1, 4, 6]), np.array([5])]
    for seed, part in enumerate(parts):
        matrices[:, part[:, None], part[None, :]] = random_symmetric(seed, 10, len(part), len(part))
    values, vectors = np.linalg.eigh(matrices)
    expected = np.einsum("bij,bj,bkj->bik", vectors, np.maximum(values, 0.0), vectors)
    projected = project_psd(matrices)
    np.testing.assert_allclose(projected, expected, atol=1e-12)
    assert (projected[matrices == 0] == 0).all()


def test_projection_keeps_the_bits_of_what_is_positive_already():
    matrices = random_symmetric(2, 6, 4, 4)
    positive = matrices @ matrices.swapaxes(-1, -2) + np.eye(4)
    np.testing.assert_array_equal(project_psd(positive), positive)
    mixed = np.concatenate([positive, matrices])
    np.testing.assert_array_equal(project_psd(mixed)[:6], positive)
    singular = np.zeros((2, 3, 3))
    singular[0] = np.ones((3, 3))
    np.testing.assert_array_equal(project_psd(singular), singular)


def test_a_quadratic_cost_is_its_own_expansion(samples):
    """In absolute coordinates, so that nothing depends on where the samples are."""
    root = np.random.default_rng(3).standard_normal((DZ, DZ))
    C, g = root @ root.T + np.eye(DZ), root[0]

    def cost(x, u, t):
        z = jnp.concatenate([x, u])
        return (1.0 + t) * (0.5 * z @ C @ z + g @ z + 4.0)

    expansion, values = expand(cost, *samples)
    ramp = 1.0 + np.arange(T)
    z = np.concatenate(samples[:2], axis=-1)
    for m in range(M):
        np.testing.assert_allclose(expansion.hessian[m], ramp[:, None, None] * C, rtol=1e-10, atol=1e-11)
        np.testing.assert_allclose(expansion.gradient[m], ramp[:, None] * g, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(expansion.constant[m], 4.0 * ramp, rtol=1e-10)
    expected = ramp * (0.5 * np.einsum("mnti,ij,mntj->mnt", z, C, z) + z @ g + 4.0)
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    np.testing.assert_allclose(evaluate_cost(cost, *samples), expected, rtol=1e-12)


def wavy(x, u, t):
    return jnp.sin(2.0 * x[0]) * x[1] + jnp.cos(u[0] * x[2]) + t * u[1] ** 2


@jax.jit
@partial(jax.vmap, in_axes=(0, None))
def derivatives(z, t):
    def of_z(z):
        return wavy(z[:DX], z[DX:], t)

    return of_z(z), jax.grad(of_z)(z), jax.hessian(of_z)(z)


def test_the_expansion_is_the_mean_of_the_samples_expansions(samples):
    states, actions, mask = samples
    expansion, _ = expand(wavy, states, actions, mask)
    z = np.random.default_rng(4).standard_normal(DZ)
    for m, t in ((0, 0), (1, 3)):
        at = np.concatenate([states[m, :, t], actions[m, :, t]], axis=-1)
        value, gradient, hessian = map(np.asarray, derivatives(at, t))
        d, hessian = z - at, project_psd(hessian)
        mean = (value + (gradient * d).sum(axis=1) + 0.5 * np.einsum("ni,nij,nj->n", d, hessian, d)).mean()
        C, g, constant = expansion.hessian[m, t], expansion.gradient[m, t], expansion.constant[m, t]
        assert 0.5 * z @ C @ z + g @ z + constant == pytest.approx(mean, rel=1e-9)
        assert np.linalg.eigvalsh(C)[0] > -1e-12


def test_masked_samples_do_not_count(samples):
    states, actions, mask = (array.copy() for array in samples)
    mask[0, 1:, 2:], mask[1, :, 3] = False, False
    states, actions = np.where(mask[..., None], states, 0.0), np.where(mask[..., None], actions, 0.0)
    expansion, values = expand(wavy, states, actions, mask)
    alone, _ = expand(wavy, states[:1, :1], actions[:1, :1], mask[:1, :1])
    for name in ("hessian", "gradient", "constant"):
        one, other = (np.asarray(getattr(e, name)) for e in (expansion, alone))
        np.testing.assert_allclose(one[0, 2:], other[0, 2:], rtol=1e-12, atol=1e-12)
        assert (one[1, 3] == 0).all()
    assert (values[~mask] == 0).all()
    assert (evaluate_cost(wavy, states, actions, mask)[~mask] == 0).all()


def test_a_cost_that_is_not_finite_where_masked_raises_nothing(samples):
    """The arrays are zero after the end of an episode, where a logarithm has no value."""
    states, actions, mask = (array.copy() for array in samples)
    mask[0, 1, 2:] = False
    states, actions = np.where(mask[..., None], states, 0.0), np.where(mask[..., None], actions, 0.0)

    def cost(x, u, t):
        return jnp.log(x[0]) + jnp.sqrt(x[1])

    expansion, values = expand(cost, states, actions, mask)
    for array in (expansion.hessian, expansion.gradient, expansion.constant, values):
        assert np.isfinite(array).all()
    assert np.isfinite(evaluate_cost(cost, states, actions, mask)).all()


@pytest.mark.parametrize(
    ("cost", "what"),
    [
        (lambda x, u, t: jnp.log(x[0] - 1.0), "value"),
        (lambda x, u, t: jnp.sqrt(jnp.abs(x[0] - 1.0)), "gradient"),
        (lambda x, u, t: jnp.abs(x[0] - 1.0) ** 1.5, "Hessian"),
    ],
    ids=["value", "gradient", "hessian"],
)
def test_a_fault_names_condition_sample_and_step(samples, cost, what):
    states = samples[0] + 1.0
    states[1, 2, 3, 0] = 1.0
    with pytest.raises(CostFault, match=f"the {what} of the cost .* condition 1, sample 2, step 3 "):
        expand(cost, states, *samples[1:])
    if what == "value":
        with pytest.raises(CostFault, match="condition 1, sample 2, step 3 "):
            evaluate_cost(cost, states, *samples[1:])


def test_infinities_of_both_signs_are_one_fault_and_no_warning(samples):
    states = samples[0].copy()
    states[0, 1, 2] = [1.0, 0.0, 0.0]
    states[1, 0, 0] = [-1.0, 0.0, 0.0]
    with pytest.raises(CostFault, match="condition 0, sample 1, step 2 "):
        evaluate_cost(lambda x, u, t: x[0] / x[1], states, *samples[1:])
