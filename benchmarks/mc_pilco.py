"""`python -m benchmarks.mc_pilco`: the cost of a policy by particles under drawn functions, and its gradient.

40 steps, 4 outputs, 64 particles, a policy of 100 radial basis functions, sensors with noise; one core, compiled; CPU
time, so that other work on the machine does not count. MC-PILCO's own program (PyTorch) needs 1.2 to 1.6 s for a step
of its stochastic gradient with 400 particles, on another machine.
"""

import time

import numpy as np

from benchmarks.gaussian_process import DU, DX, T, make_transitions, measure
from benchmarks.timing import print_table

PARTICLES, FEATURES = 64, 100


def make_objective(points: int, features: int = FEATURES):
    """The objective in a process of so many points, and the parameters at which it is measured."""
    from gps.algorithms.through_models.mc_pilco import flatten_network
    from gps.algorithms.through_models.particles import ParticleObjective, Particles, ParticleSetting, draw
    from gps.backend import jax, jnp
    from gps.models.features import StateTransforms
    from gps.models.gaussian_process_learner import GaussianProcessLearner
    from gps.networks import RadialBasis
    from gps.policies import NeuralPolicy
    from gps.policies.observed import Observed
    from gps.problem import Limits, Problem

    def cost(x, u, t):
        return -jnp.expm1(-(((jnp.abs(x[1]) - jnp.pi) / 3.0) ** 2) - x[0] ** 2)

    learner = GaussianProcessLearner(DX, StateTransforms((1,)), restarts=1, max_points=points, iterations=30)
    model = learner.refit(make_transitions(points), 0).model
    network = RadialBasis.create(DX, [-10.0] * DU, [10.0] * DU, jax.random.key(0), features, (1,), "tanh")
    limits = Limits(np.full(DU, -10.0), np.full(DU, 10.0))
    problem = Problem(cost=cost, dx=DX, du=DU, horizon=T, limits=limits, sensor_noise=0.01)
    setting = ParticleSetting.of(
        problem, model, cost, NeuralPolicy.untrained(network, 1e-6), Observed(tuple(range(DX)))
    )
    draws = draw(model, Particles(count=PARTICLES, noise=False), np.zeros((1, DX)), T, 0, (0,))
    return ParticleObjective(setting, draws), flatten_network(network)


def main() -> None:
    rows = []
    for points in (100, 200, 300):
        objective, parameters = make_objective(points)
        start = time.process_time()
        objective(parameters)
        first = time.process_time() - start
        seconds = measure(lambda: objective(parameters), 7)  # noqa: B023
        rows.append((points, first, 1e3 * seconds, 1e3 * seconds / (PARTICLES * T)))
    print_table(
        f"MC-PILCO: {PARTICLES} particles, {T} steps, {DX} outputs, {FEATURES} basis functions",
        ["points", "first call, s", "value and gradient, ms", "per particle and step, ms"],
        rows,
    )


if __name__ == "__main__":
    main()
