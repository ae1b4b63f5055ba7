"""Thin out a large run for its page: leave out invisible details at even intervals."""

import numpy as np
from jaxtyping import Int

MOST_STEPS = 200
MOST_SAMPLES = 10
MOST_BYTES = 8 << 20
"""The size of all iterations' details in a page that is one file; plotly.js itself takes 5 MB."""

MOST_NUMBERS = 400_000
"""The size of the final episodes of one kind: about 1 MB."""


def choose_steps(T: int) -> Int[np.ndarray, "kept"]:
    """Choose at most 200 of T time steps, the first and the last among them."""
    return _choose_evenly(T, MOST_STEPS)


def choose_samples(N: int, most: int = MOST_SAMPLES) -> Int[np.ndarray, "kept"]:
    """Choose at most `most` of N samples."""
    return _choose_evenly(N, most)


def choose_starts(count: int, numbers_each: int) -> Int[np.ndarray, "kept"]:
    """Choose the starts whose final episodes, of so many numbers each, fit into a page."""
    return _choose_evenly(count, max(2, MOST_NUMBERS // max(numbers_each, 1)))


def choose_iterations_evenly(count: int, most: int) -> list[int]:
    """Choose at most `most` of `count` iterations."""
    return _choose_evenly(count, most).tolist()


def fits(size: int) -> bool:
    """True if details of `size` bytes fit into a page."""
    return size <= MOST_BYTES


def choose_iterations(count: int, bytes_each: int, wanted: list[int]) -> list[int]:
    """Choose the iterations whose details fit into a page.

    Args:
        count: number of iterations of the run.
        bytes_each: size of the details of one.
        wanted: those to include if possible, the most important first.
    """
    most = max(2, MOST_BYTES // max(bytes_each, 1))
    if count <= most:
        return list(range(count))
    chosen = dict.fromkeys([0, count - 1, *wanted][: max(2, most // 2)])
    rest = [k for k in range(count) if k not in chosen]
    chosen |= dict.fromkeys(rest[i] for i in _choose_evenly(len(rest), most - len(chosen)))
    return sorted(chosen)


def _choose_evenly(count: int, most: int) -> np.ndarray:
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, max(most, 0)).round().astype(int))
