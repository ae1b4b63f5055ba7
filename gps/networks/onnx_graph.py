"""An ONNX graph under construction: networks and policies add their nodes to it."""

from typing import Any

import numpy as np


class OnnxGraph:
    """The nodes and constants of an ONNX graph, in the order in which they are added.

    Args:
        onnx: the module `onnx`, an optional dependency.
    """

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add_constant(self, array: Any) -> str:
        """Add an array; return its name."""
        name = f"c{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add_node(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add an operator applied to `inputs`; return the name of its output, `name` or a new one."""
        output = name or f"n{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def add_cast(self, value: str, dtype: Any) -> str:
        """Add a conversion to a NumPy dtype; return the name of its output."""
        return self.add_node("Cast", value, to=self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
