"""Export what a run has learned, as a file for other programs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gps.errors import PolicyError
from gps.linear_gaussian.types import Controller
from gps.policies.export import export_npz, export_onnx
from gps.policies.neural import NeuralPolicy
from gps.runs import Run, learned

WRITERS: dict[str, Callable[[Any, Path], None]] = {".npz": export_npz, ".onnx": export_onnx}
"""Suffix of the file -> the function that writes it."""


def export(run: Run, path: str | Path | None = None, iteration: int | None = None) -> tuple[Path, str]:
    """Write the policy that an iteration has learned, or its local controllers if there is none.

    Returns the path, and a description of the content. The environment is not built: it may be a robot that is not
    there.

    Args:
        path: an .npz or .onnx; None for NAME-seedS-iterKKK.npz in the working directory.
        iteration: None for the last.

    Raises:
        GpsError: if there is no such iteration, or it cannot be written in this format.
    """
    iteration = run.iterations.resolve(iteration)
    path = Path(f"{run.name}-seed{run.seed}-iter{iteration:03d}.npz") if path is None else Path(path)
    if path.suffix not in WRITERS:
        raise PolicyError(f"{path}: expected a file that ends in {' or '.join(WRITERS)}")
    policy = learned(run, iteration)
    WRITERS[path.suffix](policy, path)
    return path, f"{_describe(policy)}, after iteration {iteration}"


def _describe(policy: NeuralPolicy | Controller) -> str:
    if isinstance(policy, Controller):
        M, T, du, dx = policy.feedback.shape
        return f"controllers of {M} condition{'s' if M > 1 else ''}, {T} steps, {dx} states -> {du} actions"
    return f"a neural policy, {policy.network.description}"
