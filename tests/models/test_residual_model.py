"""A global model plus a learned residual, with a linear regression as the learner."""

import dataclasses

import numpy as np
import pytest

from gps.backend import jax, jnp
from gps.dynamics.prior import Transitions
from gps.environments.mujoco import MujocoEnv
from gps.environments.mujoco.simulator import MujocoSimulator
from gps.linear_gaussian.types import pytree
from gps.models.data import Dataset
from gps.models.physics.learner import PhysicsLearner
from gps.models.residual import ResidualLearner
from gps.records import ModelRecord
from gps.status import ModelStatus
from gps.storage.serialization import flatten, specialise, unflatten


@pytree
class Line:
    """x' = x + W [z; 1], with noise; also one of its own draws."""

    weights: np.ndarray  # (dx, dz + 1)
    noise: np.ndarray  # (dx,)
    deviations: np.ndarray  # (dz,)

    def mean(self, x, u):
        return x + self.weights @ jnp.concatenate([x, u, jnp.ones(1)])

    def deviation(self, x, u):
        return jnp.asarray(self.noise)

    def linearise(self, x, u):
        dx = len(x)
        F = jnp.asarray(self.weights)[:, :-1] + jnp.eye(dx, len(x) + len(u))
        return F, jnp.asarray(self.weights)[:, -1]

    def sample(self, x, u, key):
        return self(x, u, key)

    def __call__(self, x, u, key=None):
        noise = 0.0 if key is None else self.noise * jax.random.normal(key, self.noise.shape)
        return self.mean(x, u) + noise

    def draw(self, key, count):
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), self)


@dataclasses.dataclass(frozen=True)
class Regression:
    """Least squares of x' − x on [z; 1], or on a constant alone."""

    dx: int
    slopes: bool = True
    data: Dataset | None = None
    weights: np.ndarray | None = None

    @property
    def model(self):
        if self.weights is None:
            return None
        z, r = self.data.inputs, self.data.successors - self.data.states
        noise = (r - np.column_stack([z, np.ones(len(z))]) @ self.weights.T).std(axis=0)
        return Line(self.weights, noise, z.std(axis=0))

    def refit(self, transitions, seed):
        new = Dataset.of(transitions, self.dx)
        data = new if self.data is None else self.data.add(new)
        design = np.column_stack([data.inputs, np.ones(data.size)])
        used = np.arange(design.shape[1]) if self.slopes else np.array([design.shape[1] - 1])
        weights = np.zeros((self.dx, design.shape[1]))
        weights[:, used] = np.linalg.lstsq(design[:, used], data.successors - data.states, rcond=None)[0].T
        return dataclasses.replace(self, data=data, weights=weights)

    def make_record(self):
        if self.weights is None:
            return None
        status = ModelStatus.OK if self.slopes else ModelStatus.NOT_CONVERGED
        return ModelRecord(name="line", points=self.data.size, status=status, message="" if self.slopes else "flat")


W = np.array([[0.1, -0.2, 0.3, 0.5], [0.0, 0.1, -0.1, 0.2]])


def rollouts(seed, shape=(2, 3, 7)):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(*shape, 3))
    after = z[..., :2] + z @ W[:, :3].T + W[:, 3] + 0.01 * rng.normal(size=(*shape, 2))
    return Transitions(np.concatenate([z, after], axis=-1), np.ones(shape, bool))


@pytest.fixture(scope="module")
def learner():
    empty = ResidualLearner(Regression(2, slopes=False), Regression(2))
    assert empty.model is None and empty.make_record() is None
    return empty.refit(rollouts(0), 0).refit(rollouts(1, (1, 4, 5)), 0)


X, U = jnp.array([0.4, -1.0]), jnp.array([0.7])


def test_a_base_and_its_residual_are_together_the_best_line(learner):
    """The base takes a part of a linear system, and least squares takes the rest, whatever the base took."""
    alone = Regression(2).refit(rollouts(0), 0).refit(rollouts(1, (1, 4, 5)), 0).model
    assert learner.residual.data.size == 62
    np.testing.assert_allclose(learner.model.mean(X, U), alone.mean(X, U), atol=1e-12)
    np.testing.assert_allclose(learner.model.deviation(X, U), alone.noise, rtol=1e-9)


def test_slope_and_offset_are_those_of_the_mean(learner):
    F, c = learner.model.linearise(X, U)
    np.testing.assert_allclose(F, np.concatenate(jax.jacfwd(learner.model.mean, (0, 1))(X, U), axis=1), atol=1e-12)
    np.testing.assert_allclose(F @ jnp.concatenate([X, U]) + c, learner.model.mean(X, U), atol=1e-12)


def test_draws_and_samples_vary_around_the_mean_with_the_residual_s_noise(learner):
    model, keys = learner.model, jax.random.split(jax.random.key(0), 500)
    functions = model.draw(jax.random.key(1), 3)
    np.testing.assert_allclose(jax.vmap(lambda f: f(X, U))(functions), jnp.tile(model.mean(X, U), (3, 1)), atol=1e-12)
    for draw in (lambda key: model.sample(X, U, key), lambda key: jax.tree.map(lambda a: a[0], functions)(X, U, key)):
        samples = jax.vmap(draw)(keys)
        np.testing.assert_allclose(samples.std(axis=0), model.deviation(X, U), rtol=0.15)


def test_a_learner_with_nothing_to_learn_leaves_the_base_as_it_is():
    learner = ResidualLearner(Regression(2), Regression(2)).refit(rollouts(0), 0)
    np.testing.assert_allclose(learner.model.residual.weights, 0.0, atol=1e-12)
    np.testing.assert_allclose(learner.model.mean(X, U), learner.base.model.mean(X, U), atol=1e-12)


def test_points_that_the_base_cannot_predict_are_left_out():
    part = rollouts(0)
    points = part.points.copy()
    points[0, 0, 2, 3] = np.nan
    learner = ResidualLearner(Regression(2, slopes=False), Regression(2)).refit(part._replace(points=points), 0)
    assert learner.residual.data.size == 41
    assert np.isfinite(learner.model.mean(X, U)).all()


def test_the_record_tells_of_both_parts_and_has_the_worse_status(learner):
    record = learner.make_record()
    assert record.name == "line + line" and record.points == 62
    assert record.status is ModelStatus.NOT_CONVERGED and record.message == "line: flat"


def test_a_stored_learner_is_the_same(learner):
    stored = unflatten(specialise(ResidualLearner, Regression, Regression), flatten(learner))
    np.testing.assert_array_equal(stored.model.mean(X, U), learner.model.mean(X, U))


def test_a_residual_takes_up_what_a_simulator_lacks():
    """The cart's track slopes, and the simulator knows of no slope: the residual is a constant change of velocity."""
    joint = '<joint name="rail" axis="1 0 0" type="slide"/>'
    body = f'<worldbody><body name="cart">{joint}<geom size=".1" mass="1"/></body></worldbody>'
    motor = '<actuator><motor joint="rail"/></actuator>'
    model = f'<mujoco><option timestep="0.01"/>{body}{motor}</mujoco>'
    simulator = MujocoSimulator(MujocoEnv(1, mjcf=model), {"body_mass": {"cart": [0.1, 10.0]}}, threads=1)
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(2, 3, 20, 2)), rng.normal(size=(2, 3, 20, 1))
    after = simulator.simulate(x.reshape(-1, 2), u.reshape(-1, 1, 1), np.full((120, 1), 2.0)).reshape(x.shape)
    after = after + [0.0, 0.03] + 1e-4 * rng.normal(size=x.shape)
    seen = Transitions(np.concatenate([x, u, after], axis=-1), np.ones(x.shape[:3], bool))
    learner = ResidualLearner(PhysicsLearner.of(simulator), Regression(2)).refit(seen, 0)
    alone, both = learner.base.model, learner.model
    expected = simulator.simulate(np.array(X)[None], np.array(U)[None, None], np.array([[2.0]]))[0, 0] + [0.0, 0.03]
    np.testing.assert_allclose(both.mean(X, U), expected, atol=1e-3)
    assert np.abs(alone.mean(X, U) - expected)[1] > 0.02
    np.testing.assert_allclose(both.deviation(X, U), 1e-4, rtol=0.3)
    F, _ = both.linearise(X, U)
    np.testing.assert_allclose(F[1], [0.0, 1.0, 0.005], atol=1e-4)
