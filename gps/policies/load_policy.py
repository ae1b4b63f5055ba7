"""Evaluate a policy that `gps export` wrote, with NumPy alone: act = load("policy.npz"); u = act(observation).

A time-varying controller takes the state, the step `t` and the `condition`. A policy with images takes `image`
(H, W, C), uint8 or a float in 0..1.
"""

import numpy as np


def load(path):
    p = dict(np.load(path, allow_pickle=False))
    assert p["version"] == 1, "written by another version of gps"
    f = {"relu": lambda h: np.maximum(h, 0), "tanh": np.tanh, "": None}[str(p["activation"])]

    def controller(x, t, condition=0):
        return p["feedback"][condition, t] @ x + p["feedforward"][condition, t]

    def policy(x=(), t=None, image=None):
        h = (np.asarray(x) - p["mean"]) / p["scale"]
        h = (h if image is None else np.concatenate([look(p, f, image), h])).astype(p["weight0"].dtype)
        for i in range(p["layers"]):
            h = (f(h) if i else h) @ p[f"weight{i}"] + p[f"bias{i}"]
        return h * p["output_scale"]

    return controller if "feedback" in p else policy


def look(p, f, image):  # for policies with images only
    h = image / np.float32(255) if image.dtype == np.uint8 else image.astype(np.float32)
    for i, s in enumerate(p["strides"]):
        kernel, h = p[f"kernel{i}"], f(h) if i else h
        patches = np.lib.stride_tricks.sliding_window_view(h, kernel.shape[:2], (0, 1))[::s, ::s]
        h = np.tensordot(patches, kernel, ([3, 4, 2], [0, 1, 2])) + p[f"offset{i}"]
    e = np.exp(p["sharpness"] * (h - h.max((0, 1))))
    (y, x), e = (np.linspace(-1, 1, n, dtype=np.float32) for n in e.shape[:2]), e / e.sum((0, 1))
    return np.concatenate([x @ e.sum(0), y @ e.sum(1)])
