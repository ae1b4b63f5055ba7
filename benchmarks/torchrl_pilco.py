"""TorchRL's PILCO on a scene of ours: its world model, controller and cost, with our points and parameters.

TorchRL is no dependency: `is_installed` tells if it is there, with BoTorch and GPyTorch, which its world model needs.
This model takes raw states, so the scene may have no angles; its prior mean is zero. TorchRL adds 1e-6 to the variance
of the action, 1e-8 to that of the state, and 1e-5 within the cost; we add 1e-10 of the data's variance to that of the
state.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np


def is_installed() -> bool:
    """True if TorchRL and what its world model needs can be imported."""
    return all(importlib.util.find_spec(name) for name in ("torchrl", "botorch", "gpytorch"))


def make_objective(scene: Any, policy: Any) -> Callable[[], tuple[float, dict[str, np.ndarray]]]:
    """Return a function of the expected cost of an episode, and of its gradient by the policy's parameters.

    Args:
        scene: a `gps.algorithms.through_models.expected_cost.Scene` without angles, of one saturating cost.
        policy: of radial basis functions without angles and without squashing: TorchRL squashes by sin f, and we by
            (9 sin f + sin 3f) / 8.
    """
    import torch
    from tensordict import TensorDict
    from torchrl.modules import RBFController
    from torchrl.objectives import ExponentialQuadraticCost

    torch.set_num_threads(1)
    network, dx = policy.network, scene.start.mean.shape[1]
    world = _make_world(scene.model, dx, len(network.high))
    controller = RBFController(dx, len(network.high), None, len(network.weights)).double()
    with torch.no_grad():
        controller.centers.copy_(_tensor(network.centres))
        controller.weights.copy_(_tensor(network.weights))
        controller.lengthscales.copy_(_tensor(network.lengthscales))
    (term,) = scene.cost.terms
    target, rows = np.zeros(dx), np.zeros((len(term.matrix), dx))
    target[list(term.indices)], rows[:, list(term.indices)] = term.target, term.matrix
    cost = ExponentialQuadraticCost(_tensor(target), _tensor(rows.T @ rows), reduction="none")
    start = _tensor(scene.start.mean[0]), _tensor(scene.start.covariance[0])

    def evaluate() -> tuple[float, dict[str, np.ndarray]]:
        controller.zero_grad()
        belief, costs = start, []
        for t in range(scene.horizon):
            courses = TensorDict({("observation", "mean"): belief[0], ("observation", "var"): belief[1]})
            costs.append(cost(courses).get("loss_cost"))
            if t == scene.horizon - 1:
                break
            action = controller(*belief)
            for name, moment in zip(("mean", "var", "cross_covariance"), action, strict=True):
                courses.set(("action", name), moment)
            after = world(courses)
            belief = after.get(("next", "observation", "mean")), after.get(("next", "observation", "var"))
        total = torch.stack(costs).sum()
        total.backward()
        gradient = {name: parameter.grad.numpy().copy() for name, parameter in controller.named_parameters()}
        gradient["centres"], gradient["log_lengthscales"] = (
            gradient.pop("centers"),
            gradient.pop("lengthscales") * network.lengthscales,
        )
        return float(total.detach()), gradient

    return evaluate


def _make_world(process: Any, dx: int, du: int) -> Any:
    """The world model of a fitted process: the same function of raw states, actions and differences."""
    from torchrl.modules import GPWorldModel

    world, h, scale = GPWorldModel(dx, du), process.hyperparameters, np.asarray(process.differences.deviation)
    weight = np.asarray(process.encoding.weight)
    world.X_tilde_train = _tensor(process.points / weight + process.encoding.mean)
    world.ell = _tensor(h.lengthscales / weight)
    world.alpha_sq = _tensor((h.signal * scale) ** 2)[:, None]
    world.sigma_sq_eps = _tensor((h.noise * scale) ** 2)
    world._cached_beta = _tensor(process.weights / scale[:, None])
    world._cached_inv_K_noisy = _tensor(process.precisions / scale[:, None, None] ** 2)
    return world


def _tensor(array: Any) -> Any:
    import torch

    return torch.from_numpy(np.array(array, float))
