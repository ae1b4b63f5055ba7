"""Measure the KL between a policy and its teachers, at the samples of their rollouts."""

import numpy as np
from jaxtyping import Bool, Float


def imitation_kl(
    covariance: Float[np.ndarray, "du du"],
    precisions: Float[np.ndarray, "M #N T du du"],
    log_dets: Float[np.ndarray, "M #N T"],
    differences: Float[np.ndarray, "M N T du"],
    mask: Bool[np.ndarray, "M N T"],
) -> Float[np.ndarray, "M T"]:
    """KL(π(· | o) ‖ p(· | x)) at each step, nats, mean over the samples; NaN at a step without any.

    ½ [tr(PΣ) − du + log det P⁻¹ − log det Σ + eᵀPe], with the teacher's precision P and the difference e of the mean
    actions.

    Args:
        covariance: Σ, the policy's.
        precisions: P, of each sample, or the same for the samples of a step.
        log_dets: log det P⁻¹.
        differences: e, the policy's mean actions minus the teacher's.
    """
    P, S = precisions, covariance
    squares = mean_over_samples(np.einsum("...i,...ij,...j->...", differences, P, differences), mask)
    spread = mean_over_samples(np.einsum("...ij,ji->...", P, S) - len(S), mask)
    log_ratio = mean_over_samples(log_dets - np.linalg.slogdet(S)[1], mask)
    return 0.5 * (spread + log_ratio + squares)


def mean_over_samples(
    values: Float[np.ndarray, "M #N T *d"], mask: Bool[np.ndarray, "M N T"]
) -> Float[np.ndarray, "M T *d"]:
    """The mean over the samples that happened; NaN at a step without any.

    Values that are the same for all samples of a step (N = 1) are returned as they are.
    """
    if values.shape[1] != mask.shape[1]:
        return values[:, 0]
    shape = (1,) * (values.ndim - 3)
    present, count = mask.reshape(*mask.shape, *shape), mask.sum(axis=1)
    total = np.where(present, values, 0.0).sum(axis=1)
    return total / np.where(count > 0, count, np.nan).reshape(*count.shape, *shape)
