"""Arrays as text for a page, in one or two bytes a number.

A plot has a thousand pixels: 65 535 levels between the least and the greatest value of a feature (the last axis) lose
nothing that can be seen, and 255 levels are as many as a colour scale has. The page's `unpack` undoes this:
`value = low + step · level`, and the highest level stands for what is not finite.
"""

import base64
from typing import Any, Literal

import numpy as np
from jaxtyping import Float


def pack(array: Float[np.ndarray, "... features"], bits: Literal[8, 16] = 16) -> dict[str, Any]:
    """An array as JSON can hold it. What is not finite becomes NaN; the rest is right to half a step.

    Args:
        bits: of each number.
    """
    array = np.asarray(array, dtype=np.float64)
    features = array.reshape(-1, array.shape[-1])
    finite = np.isfinite(features)
    missing = (1 << bits) - 1
    low = np.where(finite, features, np.inf).min(axis=0, initial=np.inf)
    high = np.where(finite, features, -np.inf).max(axis=0, initial=-np.inf)
    low, high = np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 0.0)
    step = (high - low) / (missing - 1)
    with np.errstate(invalid="ignore"):
        levels = np.rint((features - low) / np.where(step > 0, step, 1.0))
    codes = np.where(finite, levels, missing).astype("<u1" if bits == 8 else "<u2")
    return {
        "shape": list(array.shape),
        "bits": bits,
        "low": [rounded(value, 9) for value in low],
        "step": [rounded(value, 9) for value in step],
        "data": base64.b64encode(codes.tobytes()).decode("ascii"),
    }


def unpack(packed: dict[str, Any]) -> np.ndarray:
    """The array again, as the page's own `unpack` reads it."""
    codes = np.frombuffer(base64.b64decode(packed["data"]), "<u1" if packed["bits"] == 8 else "<u2")
    codes = codes.reshape(packed["shape"])
    values = np.asarray(packed["low"]) + np.asarray(packed["step"]) * codes
    return np.where(codes == (1 << packed["bits"]) - 1, np.nan, values)


def rounded(value: Any, digits: int = 6) -> float | None:
    """A number with so many significant digits; None, which is JSON's null, if it is not finite."""
    return float(f"{value:.{digits}g}") if np.isfinite(value) else None


def numbers(array: Any) -> Any:
    """An array of any shape as lists of rounded numbers."""
    array = np.asarray(array)
    return [numbers(item) for item in array] if array.ndim else rounded(float(array))
