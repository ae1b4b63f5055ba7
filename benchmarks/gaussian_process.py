"""The Gaussian process: `python -m benchmarks.gaussian_process`.

The hyperparameters of four outputs at 300 points, beside scikit-learn in the same process; functions drawn from the
posterior, 64 of them rolled out for 40 steps under a policy, with the gradient of the cost; moment matching over 40
steps with its gradient. All on one core, compiled; the figures are CPU seconds, so that other work on the machine
does not count.
"""

import time
import warnings
from collections.abc import Callable

import numpy as np

from benchmarks.timing import print_table

DX, DU, T, FUNCTIONS = 4, 1, 40, 64


def measure(function: Callable[[], object], rounds: int) -> float:
    """Return the median CPU seconds of a function that has been compiled."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return float(np.median(seconds))


def make_transitions(n: int):
    """Cart-pole-like transitions: x, angle and their rates, one force; a little noise."""
    from gps.dynamics.prior import Transitions

    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(n, DX)) * [1.0, 2.0, 1.5, 4.0], 10.0 * rng.uniform(-1.0, 1.0, size=(n, DU))
    force, sine, cosine = u[:, 0], np.sin(x[:, 1]), np.cos(x[:, 1])
    mass = 0.5 + 0.5 * sine**2
    acceleration = (force + 0.25 * x[:, 3] ** 2 * sine - 4.9 * sine * cosine) / mass
    spin = 2.0 * (9.8 * sine - acceleration * cosine)
    after = x + 0.05 * np.stack([x[:, 2], x[:, 3], acceleration, spin], axis=1) + 0.01 * rng.normal(size=x.shape)
    return Transitions(np.concatenate([x, u, after], axis=1)[None, None], np.ones((1, 1, n), bool))


def fit_by_scikit_learn(inputs: np.ndarray, targets: np.ndarray) -> float:
    """LikelihoodFit each output by scikit-learn from the same guess; return the sum of negative log likelihoods."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    df = inputs.shape[1]
    kernel = ConstantKernel(1.0, (0.05**2, 30.0**2)) * RBF(np.full(df, np.sqrt(df)), (0.05, 100.0))
    kernel = kernel + WhiteKernel(0.01, (1e-6, 2.25))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a lengthscale at its bound
        fits = [GaussianProcessRegressor(kernel, alpha=0.0).fit(inputs, target) for target in targets.T]
    return -sum(fit.log_marginal_likelihood_value_ for fit in fits)


def time_hyperparameters() -> None:
    from gps.models.gaussian_process_learner import GaussianProcessLearner

    transitions = make_transitions(300)
    once, twice = (GaussianProcessLearner(DX, restarts=restarts) for restarts in (1, 2))
    start = time.process_time()
    fitted = once.refit(transitions, 0)
    first = time.process_time() - start
    inputs = fitted.model.encoding.encode_all(fitted.data)
    targets = fitted.model.differences.encode_all(fitted.data)
    one, two = (measure(lambda learner=learner: learner.refit(transitions, 0), 5) for learner in (once, twice))
    start = time.process_time()
    reference = fit_by_scikit_learn(inputs, targets)
    by_scikit_learn = time.process_time() - start
    losses = [float(learner.refit(transitions, 0).record.training_loss[0]) for learner in (once, twice)]
    *losses, reference = (f"{loss:.2f}" for loss in (*losses, reference))
    print_table(
        f"Hyperparameters and posterior, 300 points, {DX} outputs",
        ["", "CPU s", "negative log likelihood, nats"],
        [
            ("gps, one search (first call, with compilation or its cache)", first, losses[0]),
            ("gps, one search", one, losses[0]),
            ("gps, two searches (default)", two, losses[1]),
            ("scikit-learn, one search from the same guess", by_scikit_learn, reference),
        ],
    )


def make_rollouts(model):
    """Return compiled functions of the feedback gains: cost and gradient by drawn functions and by moments."""
    from gps.backend import jax, jnp

    def cost_by_functions(gains, functions):
        def roll(function):
            def step(x, _):
                after = function(x, jnp.tanh(gains @ x) * 10.0)
                return after, jnp.sum(after**2)

            return jnp.sum(jax.lax.scan(step, jnp.ones(DX) * 0.1, None, T)[1])

        return jnp.mean(jax.vmap(roll)(functions))

    def cost_by_moments(gains, model):
        A = jnp.concatenate([jnp.eye(DX), gains])

        def step(state, _):
            mean, covariance, _ = model.moments(A @ state[0], A @ state[1] @ A.T)
            return (mean, covariance), jnp.sum(mean**2) + jnp.trace(covariance)

        start = jnp.ones(DX) * 0.1, 0.01 * jnp.eye(DX)
        return jnp.sum(jax.lax.scan(step, start, None, T)[1])

    return {
        "functions": jax.jit(jax.value_and_grad(cost_by_functions)),
        "moments, value": jax.jit(cost_by_moments),
        "moments": jax.jit(jax.value_and_grad(cost_by_moments)),
    }


def time_rollouts() -> None:
    from gps.backend import jax, jnp
    from gps.models.gaussian_process_learner import GaussianProcessLearner

    gains = jnp.full((DU, DX), -0.05)
    rows = []
    for n in (100, 200, 300):
        learner = GaussianProcessLearner(DX, restarts=1, max_points=n, iterations=30).refit(make_transitions(n), 0)
        model = jax.tree.map(jnp.asarray, learner.model)
        functions = model.draw(jax.random.key(0), FUNCTIONS)
        costs = make_rollouts(model)
        given = {"functions": functions, "moments": model, "moments, value": model}
        seconds = {}
        for name, cost in costs.items():
            jax.block_until_ready(cost(gains, given[name]))  # compiles
            seconds[name] = measure(lambda: jax.block_until_ready(cost(gains, given[name])), 7)  # noqa: B023
        rows.append((n, *(1e3 * seconds[name] for name in ("functions", "moments, value", "moments"))))
    print_table(
        f"{T} steps, {DX} outputs, CPU ms",
        ["points", f"{FUNCTIONS} drawn functions, with gradient", "moment matching, value", "with gradient"],
        rows,
    )


def main() -> None:
    time_hyperparameters()
    time_rollouts()


if __name__ == "__main__":
    main()
