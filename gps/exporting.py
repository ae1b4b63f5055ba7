"""What a run has learned, as a file for other programs."""

from pathlib import Path

import numpy as np

from gps.algorithms.local.execution import executed
from gps.errors import PolicyError, RunError
from gps.linear_gaussian.types import Controller
from gps.policies.export import export_npz, export_onnx
from gps.policies.neural import NeuralPolicy, find_fault
from gps.policies.stored import read_policy
from gps.runs.run import Run, unusable
from gps.storage.serialization import CorruptFile

WRITERS = {".npz": export_npz, ".onnx": export_onnx}
"""Ending of the file -> what writes it."""


def export(run: Run, path: str | Path | None = None, iteration: int | None = None) -> tuple[Path, str]:
    """Write the policy that an iteration has made, or its local controllers where there is none.

    Returns its path, and in words what is in it.

    The environment is not built: it may be a robot that is not there.

    Args:
        path: an .npz or .onnx; None for NAME-seedS-iterKKK.npz in the working directory.
        iteration: None for the last.

    Raises:
        GpsError: if there is no such iteration, or it cannot be written so.
    """
    iteration = _known(run, iteration)
    path = Path(f"{run.name}-seed{run.seed}-iter{iteration:03d}.npz") if path is None else Path(path)
    if path.suffix not in WRITERS:
        raise PolicyError(f"{path}: expected a file that ends in {' or '.join(WRITERS)}")
    policy = learned(run, iteration)
    WRITERS[path.suffix](policy, path)
    return path, f"{_described(policy)}, after iteration {iteration}"


def learned(run: Run, iteration: int | None = None) -> NeuralPolicy | Controller:
    """The neural policy after an iteration, or its improved controllers as they are executed, a batch of M.

        policy = gps.learned(run)
        action = policy.act(observation)

    Args:
        iteration: None for the last.

    Raises:
        RunError: if there is no such iteration, it is damaged, or nobody can act by the policy in it.
    """
    iteration = _known(run, iteration)
    state = run.state_arrays(iteration, "")
    if state.get("training.calls", 0) > 0:
        prefix = "training.policy."
        try:
            arrays = {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}
            kind = b"convolutional" if "network.kernels:length" in arrays else b"mlp"
            policy = read_policy(arrays | {"kind": np.frombuffer(kind, np.uint8)})
        except CorruptFile as error:
            raise unusable(run, iteration, str(error)) from None
        if why := find_fault(policy):
            raise unusable(run, iteration, why)
        return policy
    controllers = run.iterations[iteration].improved
    planned = state.get("planned", state.get("local.planned"))  # of the optimiser within an algorithm
    if planned is None:
        return controllers
    return executed(controllers, planned, run.config.algorithm.controller.execute, 0.0)


def _known(run: Run, iteration: int | None) -> int:
    """The number of an iteration that is there; negative ones count from the end."""
    count = len(run.iterations)
    if not count:
        raise RunError(f"{run.path}: no iteration was finished, so nothing was learned")
    iteration = -1 if iteration is None else iteration
    iteration += count if iteration < 0 else 0
    run.iterations.require(iteration)
    return iteration


def _described(policy: NeuralPolicy | Controller) -> str:
    if isinstance(policy, Controller):
        M, T, du, dx = policy.feedback.shape
        return f"controllers of {M} condition{'s' if M > 1 else ''}, {T} steps, {dx} states -> {du} actions"
    return f"a neural policy, {policy.network.description}"
