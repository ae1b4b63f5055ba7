"""Feedback that holds a start with little effort, in a model that is not quite known."""

import numpy as np
from jaxtyping import Float

from gps.first_controllers.pooled import PooledModel


def hold_cautiously(
    model: PooledModel, Q: Float[np.ndarray, "dx dx"], R: Float[np.ndarray, "du du"], steps: int
) -> Float[np.ndarray, "du dx"]:
    """The gain of the first of `steps` that minimises Σ ½ (xᵀ Q x + uᵀ R u) in expectation over the model's posterior.

    With z = [x; u] and the Hessian V of the cost-to-go,

        E[x'ᵀ V x'] = zᵀ [A B]ᵀ V [A B] z + Σ_i V_ii zᵀ S_i z + const,

    S_i the covariance of the i-th row of [A B]: where the model is uncertain, feedback costs more (cautious control;
    Åström & Wittenmark 1995, ch. 7).
    """
    dx = len(model.A)
    F = np.concatenate([model.A, model.B], axis=1)
    C = np.zeros((F.shape[1],) * 2)
    C[:dx, :dx], C[dx:, dx:] = Q, R
    V, K = np.array(Q), np.zeros((F.shape[1] - dx, dx))
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(steps):
            H = C + F.T @ V @ F + np.einsum("i,ijk->jk", np.diag(V), model.covariance)
            if not np.isfinite(H).all():  # a state that no action holds: its cost has grown beyond all numbers
                break
            K = -np.linalg.solve(H[dx:, dx:], H[dx:, :dx])
            value = H[:dx, :dx] + H[:dx, dx:] @ K
            V = 0.5 * (value + value.T)
    return K
