"""Runs an ONNX file."""


def run_onnx(path, **inputs):
    """The action, by onnxruntime where there is one, else by ONNX's own slow evaluator."""
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        return ReferenceEvaluator(str(path)).run(None, inputs)[0]
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, inputs)[0]
