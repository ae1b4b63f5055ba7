"""The multiplier of the KL bound: trust the model more where it predicts well (Levine et al. 2015, sec. III-B)."""

import numpy as np
from jaxtyping import Float


def adapt_multiplier(
    multiplier: Float[np.ndarray, "M"],
    predicted: Float[np.ndarray, "M"],
    actual: Float[np.ndarray, "M"],
    low: float,
    high: float,
) -> Float[np.ndarray, "M"]:
    """The next multiplier, from the predicted and the actual change of the cost under the last one.

    A quadratic model of the error, which grows with the square of the step, has its best step at
    predicted / (2 (predicted − actual)) times the last. Only ratios of costs enter, so the cost's unit does not.
    The factor stays within [0.1, 5]. Where nothing was predicted to improve, or nothing is known (NaN), the
    multiplier stays.
    """
    shortfall = np.maximum(actual - predicted, 0.1 * np.abs(predicted))
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.clip(np.abs(predicted) / (2 * shortfall), 0.1, 5.0)
    known = np.isfinite(predicted) & np.isfinite(actual) & (predicted < 0)
    return np.clip(multiplier * np.where(known, factor, 1.0), low, high)


def adapt_shared_multiplier(
    multiplier: Float[np.ndarray, "M"],
    predicted: Float[np.ndarray, "M"],
    actual: Float[np.ndarray, "M"],
    low: float,
    high: float,
) -> Float[np.ndarray, "M"]:
    """The next multiplier of conditions that share a policy and therefore the multiplier, by the sum of their changes.

    It starts from the geometric mean of the last multipliers. A condition without known changes (NaN) is not counted.
    """
    known = np.isfinite(predicted) & np.isfinite(actual)
    last = np.exp(np.log(multiplier).mean(keepdims=True))
    promised, came = (values[known].sum(keepdims=True) for values in (predicted, actual))
    return np.broadcast_to(adapt_multiplier(last, promised, came, low, high), multiplier.shape)
