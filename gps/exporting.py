"""Export what a run has learned, as a file for other programs."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gps.errors import PolicyError, RunError
from gps.linear_gaussian.types import Controller
from gps.policies.export import describe_interface, export_npz, export_onnx
from gps.policies.neural import NeuralPolicy
from gps.runs import Run, learned

WRITERS: dict[str, Callable[[Any, Path, Mapping[str, np.ndarray]], None]] = {".npz": export_npz, ".onnx": export_onnx}
"""Suffix of the file -> the function that writes it."""


def export(
    run: Run, path: str | Path | None = None, iteration: int | None = None, condition: int | None = None
) -> tuple[Path, str]:
    """Write the policy that an iteration has learned, or its local controllers if there is none.

    Returns the path, and a description of the content. The environment is not built: it may be a robot that is not
    there.

    Args:
        path: an .npz or .onnx; None for NAME-seedS-iterKKK.npz in the working directory.
        iteration: None for the last.
        condition: the one whose controller to write; None for all.

    Raises:
        GpsError: if there is no such iteration or condition, it cannot be written in this format, or a number is not
            finite.
    """
    iteration = run.iterations.resolve(iteration)
    path = Path(f"{run.name}-seed{run.seed}-iter{iteration:03d}.npz") if path is None else Path(path)
    if path.suffix not in WRITERS:
        raise PolicyError(f"{path}: expected a file that ends in {' or '.join(WRITERS)}")
    policy, conditions = learned(run, iteration), run.config.environment.conditions
    if condition is not None:
        if not isinstance(policy, Controller):
            raise PolicyError("a policy acts from any start: --condition chooses among local controllers")
        if not 0 <= condition < len(conditions):
            raise RunError(f"there is no condition {condition}; the run has 0 to {len(conditions) - 1}")
        policy, conditions = policy[condition : condition + 1], conditions[condition : condition + 1]
    about = {} if (interface := run.interface) is None else describe_interface(interface)
    about["conditions"] = np.array([json.dumps(start) for start in conditions], np.str_)
    source = {"experiment": run.name, "seed": run.seed, "iteration": iteration, "run": run.path.resolve().name}
    about["provenance"] = np.array(json.dumps({**source, "started": run.started, "versions": run.versions}), np.str_)
    WRITERS[path.suffix](policy, path, about)
    return path, f"{_describe(policy)}, after iteration {iteration}"


def _describe(policy: NeuralPolicy | Controller) -> str:
    if isinstance(policy, Controller):
        M, T, du, dx = policy.feedback.shape
        return f"controllers of {M} condition{'s' if M > 1 else ''}, {T} steps, {dx} states -> {du} actions"
    return f"a neural policy, {policy.network.description}"
