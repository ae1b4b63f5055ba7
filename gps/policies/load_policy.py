"""Acts as a policy that `gps export` wrote, on any computer with NumPy: u = load("policy.npz")(observation).

A policy that sees also takes `image`, (H, W, C); a linear-Gaussian controller takes `t` and its `condition`.
"""

import numpy as np


def load(path):
    p = dict(np.load(path, allow_pickle=False))
    assert p["version"] == 1, "written by another version of gps"
    f = {"relu": lambda h: np.maximum(h, 0), "tanh": np.tanh}.get(str(p.get("activation")))

    def linear(x, t, condition=0):
        return p["feedback"][condition, t] @ x + p["feedforward"][condition, t]

    def neural(x=(), t=None, image=None):
        h = (np.asarray(x) - p["mean"]) / p["scale"]
        h = h if image is None else np.concatenate([points(np.asarray(image)), h])
        for i in range(p["layers"]):
            h = h @ p[f"weight{i}"] + p[f"bias{i}"]
            h = f(h) if i < p["layers"] - 1 else h
        return h * p["output_scale"]

    def points(h):
        h = h / 255 if h.dtype == np.uint8 else h
        for i, s in enumerate(p["strides"]):
            w = np.lib.stride_tricks.sliding_window_view(h, p[f"kernel{i}"].shape[:2], (0, 1))[::s, ::s]
            h = np.tensordot(w, p[f"kernel{i}"], ([3, 4, 2], [0, 1, 2])) + p[f"offset{i}"]
            h = f(h) if i < len(p["strides"]) - 1 else h
        e = np.exp(p["sharpness"] * (h - h.max((0, 1))))
        (y, x), e = (np.linspace(-1, 1, n) for n in e.shape[:2]), e / e.sum((0, 1))
        return np.concatenate([x @ e.sum(0), y @ e.sum(1)])

    return linear if "feedback" in p else neural
