"""Arrays as text for a page, in one or two bytes a number.

A plot has a thousand pixels: 65 535 levels between the least and the greatest value of a feature (the last axis) lose
nothing that can be seen, and 255 levels are as many as a colour scale has. The page's `unpack` undoes this:
`value = low + step · level`, and the highest level stands for what is not finite.
"""

import base64
from typing import Any, Literal, TypedDict

import numpy as np
from jaxtyping import Float


class Packed(TypedDict):
    """An array as JSON can hold it."""

    shape: list[int]
    bits: int  # of each number, 8 or 16
    low: list[float | None]  # the least value of each feature
    step: list[float | None]  # between two levels of each feature
    data: str  # the levels, little-endian, in Base64


def pack(array: Float[np.ndarray, "... features"], bits: Literal[8, 16] = 16) -> Packed:
    """Pack an array. What is not finite becomes NaN; the rest is right to half a step.

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
        "low": [round_number(value, 9) for value in low],
        "step": [round_number(value, 9) for value in step],
        "data": base64.b64encode(codes.tobytes()).decode("ascii"),
    }


def unpack(packed: Packed) -> np.ndarray:
    """Return the packed array, as the page's own `unpack` does."""
    codes = np.frombuffer(base64.b64decode(packed["data"]), "<u1" if packed["bits"] == 8 else "<u2")
    codes = codes.reshape(packed["shape"])
    values = np.asarray(packed["low"]) + np.asarray(packed["step"]) * codes
    return np.where(codes == (1 << packed["bits"]) - 1, np.nan, values)


def round_number(value: Any, digits: int = 6) -> float | None:
    """Return a number with so many significant digits; None, which is JSON's null, if it is not finite."""
    return float(f"{value:.{digits}g}") if np.isfinite(value) else None


def round_numbers(array: Any) -> Any:
    """Return an array of any shape as nested lists of rounded numbers."""
    array = np.asarray(array)
    return [round_numbers(item) for item in array] if array.ndim else round_number(float(array))
