"""Export policies to files for other programs: `.npz` with plain arrays, or `.onnx`.

An `.npz` holds no pickle; `gps/policies/load_policy.py` evaluates it with NumPy alone. Its arrays:

| all | `version` (2), `activation` ("" for a controller) |
| controllers | `feedback` (M, T, du, dx), `feedforward` (M, T, du), `covariance` (M, T, du, du): u = K[t] x + k[t] |
| neural | `mean`, `scale` (dv,), `output_scale` (du,), `covariance` (du, du), `layers`, `weight0`, `bias0`, … |
| neural, bounded | also `angles`, `squash`, `middle`, `half_range` (du,): u = middle + half_range · squash(…) |
| radial basis | also `centres` (k, df), `lengthscales` (df,); `weight0` (k, du) |
| with a memory | also `gru_input` (df, 3n), `gru_memory` (n, 3n), `gru_offset`; `weight0` (n, du) |
| neural, with images | also `image_shape` (H, W, C), `strides`, `kernel0` (k, k, in, out), `offset0`, …, `sharpness` |

Row m is the controller of condition m, which is valid for that condition's start only. An experiment's export also has:

| `state_names`, `state_units`, the same for `observation` and `action` | strings, in the order of the numbers |
| `low`, `high` (du,), `dt`, `horizon` | limits of the action; control period in seconds; steps of an episode |
| `conditions` (M,), `provenance` | JSON: the start of each controller; experiment, seed, iteration, versions |

Limits and `dt` are infinite and NaN where they are unknown. An `.onnx` has the same as JSON in its metadata.
"""

import contextlib
import json
import secrets
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from gps.errors import PolicyError, install_command, one_line
from gps.linear_gaussian.types import Controller
from gps.networks.onnx_graph import OnnxGraph
from gps.policies.interface import Interface
from gps.policies.neural import NeuralPolicy
from gps.storage.serialization import CorruptFile, read_npz, write_npz

VERSION = 2
"""Version of the `.npz` files' format."""

CONTROLLER_ARRAYS = ("feedback", "feedforward", "covariance")

_OPSET, _IR = 17, 8  # ONNX versions that runtimes of 2022 and later read


def read_loader() -> str:
    """Return the source of `load_policy.py`, which evaluates an exported `.npz`."""
    return files("gps").joinpath("policies", "load_policy.py").read_text(encoding="utf-8")


# -- npz -------------------------------------------------------------------------------------------------------------


def export_npz(
    policy: NeuralPolicy | Controller, path: str | Path, about: Mapping[str, np.ndarray] | None = None
) -> None:
    """Write a neural policy, or a controller or a batch of them, as arrays.

    Args:
        about: further arrays for a reader; see `describe_interface`.

    Raises:
        PolicyError: if the file cannot be written, or a number is not finite.
    """
    arrays = _controller_arrays(policy) if isinstance(policy, Controller) else _policy_arrays(policy.numpy())
    _require_finite(arrays)
    _write_whole(path, lambda file: write_npz(file, {"version": np.array(VERSION), **arrays, **(about or {})}))


def read_controllers(path: Path) -> Controller:
    """Read the controllers of M conditions that `export_npz` has written.

    Raises:
        PolicyError: if the file holds something else.
    """
    try:
        arrays = read_npz(path, text=True)
        parts = [arrays[name] for name in CONTROLLER_ARRAYS]
    except (OSError, CorruptFile, KeyError) as error:
        why = f"it has no {error}" if isinstance(error, KeyError) else one_line(error)
        raise PolicyError(f"{path}: not a file of controllers that `gps export` has written: {why}") from None
    return Controller(*parts)


def describe_interface(interface: Interface) -> dict[str, np.ndarray]:
    """Names, units, limits, period and horizon as arrays for an exported file."""
    named = {"state": interface.state, "observation": interface.observation, "action": interface.action}
    return {
        **{f"{what}_names": np.array([entry.name for entry in entries], np.str_) for what, entries in named.items()},
        **{f"{what}_units": np.array([entry.unit for entry in entries], np.str_) for what, entries in named.items()},
        "low": np.array(interface.low),
        "high": np.array(interface.high),
        "dt": np.array(interface.dt),
        "horizon": np.array(interface.horizon),
    }


def _require_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """A robot must not be given what is not a number."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            place = np.argwhere(~np.isfinite(array))[0].tolist()
            where = f" of condition {place[0]}, step {place[1]}," if name in CONTROLLER_ARRAYS else ""
            raise PolicyError(
                f"the {name}{where} is not finite, and is not exported; export an earlier iteration with --iteration"
            )


def _controller_arrays(controller: Controller) -> dict[str, np.ndarray]:
    controller = controller.numpy()
    parts = {name: getattr(controller, name) for name in CONTROLLER_ARRAYS}
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


def export_onnx(
    policy: NeuralPolicy | Controller, path: str | Path, about: Mapping[str, np.ndarray] | None = None
) -> None:
    """Write a neural policy as an ONNX graph of its mean action.

    Inputs, for a batch of any size: `observation` (batch, dv), float64, if dv > 0, and `image` (batch, H, W, C), uint8,
    if the network takes images. The output is `action` (batch, du), float64, within the limits `low` and `high` of
    `about`. The covariance is in the metadata of the file, row by row, and so is `about`, as JSON. The graph cannot
    refuse an observation that is not finite: its caller must.

    Args:
        about: see `export_npz`.

    Raises:
        PolicyError: if the package `onnx` is missing, the policy is a controller, the file cannot be written, or a
            number is not finite.
    """
    if isinstance(policy, Controller):
        raise PolicyError("a time-varying controller has no .onnx form; export it as .npz")
    try:
        import onnx
    except ImportError:
        hint = install_command("onnx")
        raise PolicyError(f"the package onnx is missing: {hint}, or export as .npz") from None
    _require_finite(_policy_arrays(policy.numpy()))
    model = _build_model(policy.numpy(), onnx, about or {})
    _write_whole(path, lambda file: file.write_bytes(model.SerializeToString()))


def _build_model(policy: NeuralPolicy, onnx: Any, about: Mapping[str, np.ndarray]) -> Any:
    """Build the ONNX model: the vector's normalisation, the network, the scale of the action and its limits."""
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
    free = np.full(network.action_size, np.inf)
    h = graph.add_node("Mul", h, graph.add_constant(policy.output_scale))
    h = graph.add_node("Max", h, graph.add_constant(about.get("low", -free)))
    graph.add_node("Min", h, graph.add_constant(about.get("high", free)), name="action")

    output = helper.make_tensor_value_info("action", kinds.DOUBLE, ["batch", network.action_size])
    made = helper.make_graph(graph.nodes, "policy", inputs, [output], graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    props = {name: json.dumps(_to_plain(array), ensure_ascii=False) for name, array in about.items()}
    props["covariance"] = " ".join(repr(float(x)) for x in policy.covariance.ravel())
    helper.set_model_props(model, props)
    onnx.checker.check_model(model)
    return model


def _to_plain(array: np.ndarray) -> Any:
    """Lists for JSON, with null for what is not finite."""
    if array.ndim:
        return [_to_plain(item) for item in array]
    value = array.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


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
