"""Policies as files that other programs read: `.npz` of plain arrays, `.onnx`.

An `.npz` holds no pickle; `load_policy.py` beside this file acts by it with nothing but NumPy. Its arrays:

| all | `version` (1), `activation` ("" for a controller) |
| controllers | `feedback` (M, T, du, dx), `feedforward` (M, T, du), `covariance` (M, T, du, du): u = K[t] x + k[t] |
| neural | `mean`, `scale` (dv,), `output_scale` (du,), `covariance` (du, du), `layers`, `weight0`, `bias0`, … |
| that see | `image_shape` (H, W, C), `strides`, `kernel0` (k, k, in, out), `offset0`, …, `sharpness` |

Controllers are meant for the starts they were made for: condition m's is row m.
"""

import contextlib
import secrets
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from gps.errors import PolicyError
from gps.linear_gaussian.types import Controller
from gps.networks.networks import MLP, Convolutional
from gps.policies.neural import NeuralPolicy
from gps.storage.serialization import unflatten, write_npz

VERSION = 1
"""Of the `.npz` files."""

_OPSET, _IR = 17, 8  # of ONNX: what runtimes of 2022 and later read


def loader() -> str:
    """The source of `load_policy.py`."""
    return files("gps").joinpath("policies", "load_policy.py").read_text(encoding="utf-8")


def stored_policy(arrays: Mapping[str, np.ndarray]) -> NeuralPolicy:
    """The neural policy that `gps.storage.serialization.flatten` took apart, whatever its network."""
    kind = Convolutional if "network.kernels:length" in arrays else MLP
    return unflatten(NeuralPolicy[kind], arrays)  # type: ignore[valid-type]


# -- npz -------------------------------------------------------------------------------------------------------------


def export_npz(policy: NeuralPolicy | Controller, path: str | Path) -> None:
    """Write a neural policy, or a controller or a batch of them, as arrays.

    Raises:
        PolicyError: if the file cannot be written.
    """
    arrays = _of_controller(policy) if isinstance(policy, Controller) else _of_policy(policy.numpy())
    _written(path, lambda file: write_npz(file, {"version": np.array(VERSION), **arrays}))


def _of_controller(controller: Controller) -> dict[str, np.ndarray]:
    controller = controller.numpy()
    parts = {
        "feedback": controller.feedback,
        "feedforward": controller.feedforward,
        "covariance": controller.covariance,
    }
    one = controller.feedforward.ndim == 2
    return {"activation": np.array("")} | {name: array[None] if one else array for name, array in parts.items()}


def _of_policy(policy: NeuralPolicy) -> dict[str, np.ndarray]:
    network = policy.network
    head = network.head if isinstance(network, Convolutional) else network
    arrays = {
        "activation": np.array(head.activation),
        "mean": policy.input_mean,
        "scale": policy.input_scale,
        "output_scale": policy.output_scale,
        "covariance": policy.covariance,
        "layers": np.array(len(head.weights)),
    }
    arrays |= {f"weight{i}": array for i, array in enumerate(head.weights)}
    arrays |= {f"bias{i}": array for i, array in enumerate(head.biases)}
    if isinstance(network, Convolutional):
        arrays |= {
            "image_shape": np.array(network.image_shape),
            "strides": np.array(network.strides),
            "sharpness": network.sharpness,
        }
        arrays |= {f"kernel{i}": array for i, array in enumerate(network.kernels)}
        arrays |= {f"offset{i}": array for i, array in enumerate(network.offsets)}
    return arrays


# -- onnx ------------------------------------------------------------------------------------------------------------


def export_onnx(policy: NeuralPolicy, path: str | Path) -> None:
    """Write a neural policy as an ONNX graph of its mean action.

    Inputs, for a batch of any size: `observation` (batch, dv), float64, where there is one, and `image` (batch, H, W,
    C), uint8, for a network that sees. The output is `action` (batch, du), float64. The covariance is in the metadata
    of the file, row by row.

    Raises:
        PolicyError: without the package `onnx`, for a controller, or if the file cannot be written.
    """
    if isinstance(policy, Controller):
        raise PolicyError("a time-varying controller has no .onnx form; export it as .npz")
    try:
        import onnx
    except ImportError:
        raise PolicyError("the package onnx is missing: pip install 'gps[onnx]', or export as .npz") from None
    model = _graph(policy.numpy(), onnx)
    _written(path, lambda file: file.write_bytes(model.SerializeToString()))


class _Graph:
    """Nodes and constants of an ONNX graph as they come up."""

    def __init__(self, onnx: Any) -> None:
        self.onnx, self.nodes, self.constants = onnx, [], []

    def constant(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def __call__(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        output = name or f"n{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), [output], **attributes))
        return output


def _graph(policy: NeuralPolicy, onnx: Any) -> Any:
    helper, kinds = onnx.helper, onnx.TensorProto
    network, add = policy.network, _Graph(onnx)
    sees = isinstance(network, Convolutional)
    head = network.head if sees else network
    kind = helper.np_dtype_to_tensor_dtype(head.weights[0].dtype)
    activation = {"relu": "Relu", "tanh": "Tanh"}[head.activation]

    inputs, parts = [], []
    if sees:
        inputs.append(helper.make_tensor_value_info("image", kinds.UINT8, ["batch", *network.image_shape]))
        parts.append(_points(network, activation, add))
    if network.vector_size:
        inputs.append(helper.make_tensor_value_info("observation", kinds.DOUBLE, ["batch", network.vector_size]))
        h = add("Sub", "observation", add.constant(policy.input_mean))
        h = add("Div", h, add.constant(policy.input_scale))
        parts.append(add("Cast", h, to=kind))
    h = add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    for i, (W, b) in enumerate(zip(head.weights, head.biases, strict=True)):
        h = add(activation, h) if i else h
        h = add("Add", add("MatMul", h, add.constant(W)), add.constant(b))
    add("Mul", add("Cast", h, to=kinds.DOUBLE), add.constant(policy.output_scale), name="action")

    output = helper.make_tensor_value_info("action", kinds.DOUBLE, ["batch", network.action_size])
    graph = helper.make_graph(add.nodes, "policy", inputs, [output], add.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    helper.set_model_props(model, {"covariance": " ".join(repr(float(x)) for x in policy.covariance.ravel())})
    onnx.checker.check_model(model)
    return model


def _points(network: Convolutional, activation: str, add: _Graph) -> str:
    """The points that a convolutional network finds in `image`."""
    h = add("Cast", "image", to=add.onnx.TensorProto.FLOAT)
    h = add("Transpose", add("Div", h, add.constant(np.float32(255))), perm=[0, 3, 1, 2])
    height, width, _ = network.image_shape
    for i, (kernel, offset, stride) in enumerate(zip(network.kernels, network.offsets, network.strides, strict=True)):
        h = add(activation, h) if i else h
        weights = add.constant(kernel.transpose(3, 2, 0, 1))
        h = add("Conv", h, weights, add.constant(offset), strides=[stride, stride])
        height, width = ((n - kernel.shape[0]) // stride + 1 for n in (height, width))
    channels = len(network.offsets[-1])
    h = add("Reshape", h, add.constant(np.array([0, channels, height * width])))
    e = add("Softmax", add("Mul", h, add.constant(network.sharpness)), axis=2)
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in (height, width))
    grid = np.stack([np.tile(x, height), np.repeat(y, width)], axis=1)
    points = add("Transpose", add("MatMul", e, add.constant(grid)), perm=[0, 2, 1])  # x's, then y's
    return add("Reshape", points, add.constant(np.array([0, 2 * channels])))


def _written(path: str | Path, write: Callable[[Path], Any]) -> None:
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
