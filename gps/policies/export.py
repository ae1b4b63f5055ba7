"""Export policies to files for other programs: `.npz` with plain arrays, or `.onnx`.

An `.npz` holds no pickle; `gps/policies/load_policy.py` evaluates it with NumPy alone. Its arrays:

| all | `version` (1), `activation` ("" for a controller) |
| controllers | `feedback` (M, T, du, dx), `feedforward` (M, T, du), `covariance` (M, T, du, du): u = K[t] x + k[t] |
| neural | `mean`, `scale` (dv,), `output_scale` (du,), `covariance` (du, du), `layers`, `weight0`, `bias0`, … |
| neural, with images | also `image_shape` (H, W, C), `strides`, `kernel0` (k, k, in, out), `offset0`, …, `sharpness` |

Row m is the controller of condition m, which is valid for that condition's start only.
"""

import contextlib
import secrets
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from gps.errors import PolicyError
from gps.linear_gaussian.types import Controller
from gps.networks.onnx_graph import OnnxGraph
from gps.policies.neural import NeuralPolicy
from gps.storage.serialization import write_npz

VERSION = 1
"""Version of the `.npz` files' format."""

_OPSET, _IR = 17, 8  # ONNX versions that runtimes of 2022 and later read


def read_loader() -> str:
    """Return the source of `load_policy.py`, which evaluates an exported `.npz`."""
    return files("gps").joinpath("policies", "load_policy.py").read_text(encoding="utf-8")


# -- npz -------------------------------------------------------------------------------------------------------------


def export_npz(policy: NeuralPolicy | Controller, path: str | Path) -> None:
    """Write a neural policy, or a controller or a batch of them, as arrays.

    Raises:
        PolicyError: if the file cannot be written.
    """
    arrays = _controller_arrays(policy) if isinstance(policy, Controller) else _policy_arrays(policy.numpy())
    _write_whole(path, lambda file: write_npz(file, {"version": np.array(VERSION), **arrays}))


def _controller_arrays(controller: Controller) -> dict[str, np.ndarray]:
    controller = controller.numpy()
    parts = {
        "feedback": controller.feedback,
        "feedforward": controller.feedforward,
        "covariance": controller.covariance,
    }
    single = controller.feedforward.ndim == 2
    return {"activation": np.array("")} | {name: array[None] if single else array for name, array in parts.items()}


def _policy_arrays(policy: NeuralPolicy) -> dict[str, np.ndarray]:
    return {
        "mean": policy.input_mean,
        "scale": policy.input_scale,
        "output_scale": policy.output_scale,
        "covariance": policy.covariance,
        **policy.network.to_arrays(),
    }


# -- onnx ------------------------------------------------------------------------------------------------------------


def export_onnx(policy: NeuralPolicy, path: str | Path) -> None:
    """Write a neural policy as an ONNX graph of its mean action.

    Inputs, for a batch of any size: `observation` (batch, dv), float64, if dv > 0, and `image` (batch, H, W, C), uint8,
    if the network takes images. The output is `action` (batch, du), float64. The covariance is in the metadata of the
    file, row by row.

    Raises:
        PolicyError: if the package `onnx` is missing, the policy is a controller, or the file cannot be written.
    """
    if isinstance(policy, Controller):
        raise PolicyError("a time-varying controller has no .onnx form; export it as .npz")
    try:
        import onnx
    except ImportError:
        raise PolicyError("the package onnx is missing: pip install 'gps[onnx]', or export as .npz") from None
    model = _build_model(policy.numpy(), onnx)
    _write_whole(path, lambda file: file.write_bytes(model.SerializeToString()))


def _build_model(policy: NeuralPolicy, onnx: Any) -> Any:
    """Build the ONNX model: the vector's normalisation, the network, and the scale of the action."""
    helper, kinds = onnx.helper, onnx.TensorProto
    network, graph = policy.network, OnnxGraph(onnx)
    inputs, image, vector = [], None, None
    if network.image_shape is not None:
        image = "image"
        inputs.append(helper.make_tensor_value_info(image, kinds.UINT8, ["batch", *network.image_shape]))
    if network.vector_size:
        inputs.append(helper.make_tensor_value_info("observation", kinds.DOUBLE, ["batch", network.vector_size]))
        vector = graph.add_node("Sub", "observation", graph.add_constant(policy.input_mean))
        vector = graph.add_node("Div", vector, graph.add_constant(policy.input_scale))
    h = graph.add_cast(network.add_to_graph(graph, vector, image), np.float64)
    graph.add_node("Mul", h, graph.add_constant(policy.output_scale), name="action")

    output = helper.make_tensor_value_info("action", kinds.DOUBLE, ["batch", network.action_size])
    made = helper.make_graph(graph.nodes, "policy", inputs, [output], graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    helper.set_model_props(model, {"covariance": " ".join(repr(float(x)) for x in policy.covariance.ravel())})
    onnx.checker.check_model(model)
    return model


def _write_whole(path: str | Path, write: Callable[[Path], Any]) -> None:
    """Write a file whole or not at all."""
    path = Path(path)
    fresh = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        write(fresh)
        fresh.replace(path)
    except OSError as error:
        raise PolicyError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
