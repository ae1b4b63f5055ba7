"""Experts: who is asked what to do in a state, so that a policy can learn to do it from what it sees.

An expert is any object with

    act(states, t) -> actions          states (B, dx) of B episodes at step t, actions (B, du); NumPy

where the B episodes are those of all conditions, condition by condition. It is asked along each episode, step by step,
and t = 0 begins new ones: so it may keep in mind what it planned. It may have, beside:

    advise(states, t) -> (actions, precisions)      with (B, du, du): it plays N(action, precision⁻¹), as one does that
                                                    minimises a cost-to-go Q with entropy at a temperature α:
                                                    precision = Quu / α; where there is none, None
    prior, knowing(prior, unit) -> expert or None   it learns the dynamics from the samples: `prior` (a `DynamicsPrior`)
                                                    is refitted to them, and `knowing` gives the expert that uses it,
                                                    None while that is not enough; `unit` is the mean absolute cost of
                                                    a step
    carries_over                                    False if it knows the starts of its conditions alone
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from gps.dynamics.prior import DynamicsPrior
from gps.errors import ExpertFault, one_line
from gps.linear_gaussian.linalg import is_semi_definite


class Advice(NamedTuple):
    """What the expert would do, and how firmly. It has no advice where either is not finite."""

    actions: Float[np.ndarray, "... du"]
    precisions: Float[np.ndarray, "... du du"] | None


def knowing(expert: Any, prior: DynamicsPrior | None, unit: float) -> Any:
    """The expert with what was learned from the samples; None while that is not enough."""
    return expert if prior is None else expert.knowing(prior, unit)


def asked(expert: Any, states: Float[np.ndarray, "M N dx"], t: int, du: int) -> Advice:
    """The expert's advice at step t, for N episodes of each of M conditions.

    A precision that is not positive semi-definite is NaN.

    Raises:
        ExpertFault: if it raises, or answers in another shape.
    """
    M, N, dx = states.shape
    flat = states.reshape(M * N, dx)
    try:
        if hasattr(expert, "advise"):
            actions, precisions = expert.advise(flat, t)
        else:
            actions, precisions = expert.act(flat, t), None
        actions = np.asarray(actions, dtype=float)
        precisions = None if precisions is None else np.asarray(precisions, dtype=float)
    except ExpertFault:
        raise
    except Exception as error:
        text = one_line(error)
        raise ExpertFault(f"the expert raised at step {t}: {type(error).__name__}: {text}") from error
    for what, array, shape in (("actions", actions, (M * N, du)), ("precisions", precisions, (M * N, du, du))):
        if array is not None and array.shape != shape:
            raise ExpertFault(
                f"the expert's {what} at step {t} have the shape {array.shape}; expected {shape} for states of shape "
                f"{flat.shape}"
            )
    actions = actions.reshape(M, N, du)
    if precisions is None:
        return Advice(actions, None)
    firm = np.where(is_semi_definite(precisions)[:, None, None], precisions, np.nan)
    return Advice(actions, firm.reshape(M, N, du, du))
