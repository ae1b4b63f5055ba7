"""Run a policy or controllers that `gps export` wrote, with NumPy alone: act = load("policy.npz"); u = act(numbers).

A policy takes its observation; one with images also takes `image` (H, W, C), uint8 or a float in 0..1. Time-varying
controllers take the state, the step `t` and the `condition`; after their last step they hold it. A policy with a memory
takes the step `t` too, and forgets at t = 0; load the file once for each robot. Actions are clipped
to the limits. Numbers that are not finite, or do not fit, are a ValueError. `act.about` has names and units in order,
limits, dt, the horizon, and where the file is from.
"""

import numpy as np


def load(path):
    p = dict(np.load(path, allow_pickle=False))
    if p["version"] != 2:
        raise ValueError(f"{path}: written by another version of gps")
    low, high, memory = p.get("low", -np.inf), p.get("high", np.inf), []

    def act(x=(), t=None, condition=0, image=None):
        u = follow(p, x, t, condition) if "feedback" in p else look_up(p, x, image, t, memory)
        return np.clip(check_numbers(u, "action", u.shape), low, high)

    act.about = {name: p[name].tolist() for name in p if p[name].dtype.kind == "U" or name in ABOUT}
    return act


ABOUT = "low", "high", "dt", "horizon"


def check_numbers(x, what, shape):
    x = np.asarray(x, dtype=float)
    if x.shape != shape or not np.isfinite(x).all():
        raise ValueError(f"the {what} must be {shape} finite numbers, got {x}")
    return x


def follow(p, x, t, condition):
    M, T, _, dx = p["feedback"].shape
    if t is None or t < 0 or not 0 <= condition < M:
        raise ValueError(f"expected a step t >= 0 and a condition from 0 to {M - 1}, got {t} and {condition}")
    t = min(int(t), T - 1)
    return p["feedback"][condition, t] @ check_numbers(x, "state", (dx,)) + p["feedforward"][condition, t]


def look_up(p, x, image, t, memory):
    f = {"relu": lambda h: np.maximum(h, 0), "tanh": np.tanh, "none": None}[str(p["activation"])]
    h = (check_numbers(x, "observation", p["mean"].shape) - p["mean"]) / p["scale"]
    if "image_shape" in p:
        check_numbers(image, "image", tuple(p["image_shape"]))
        h = np.concatenate([look(p, f, np.asarray(image)), h])
    if "angles" in p:
        turns = h[p["angles"]]
        h = np.concatenate([np.delete(h, p["angles"]), np.sin(turns), np.cos(turns)])
    if "centres" in p:
        h = np.exp(-0.5 * (((h - p["centres"]) / p["lengthscales"]) ** 2).sum(1))
    if "gru_memory" in p:
        h = remember(p, h, t, memory)
    h = h.astype(p["weight0"].dtype)
    for i in range(p["layers"]):
        h = (f(h) if i else h) @ p[f"weight{i}"] + p[f"bias{i}"]
    return (squash(p, h) if "squash" in p else h) * p["output_scale"]


def remember(p, h, t, memory):  # for policies with a memory, a gated recurrent unit
    if t is None or t < 0 or (t > 0 and not memory):
        raise ValueError(f"a policy with a memory needs the step t, from 0 at the start of an episode, got {t}")
    n, U = len(p["gru_memory"]), p["gru_memory"]
    m = memory.pop() if memory and t else np.zeros(n)
    driven = h @ p["gru_input"] + p["gru_offset"]
    r, z = np.split(0.5 + 0.5 * np.tanh(0.5 * (driven[: 2 * n] + m @ U[:, : 2 * n])), 2)
    memory[:] = [z * m + (1 - z) * np.tanh(driven[2 * n :] + (r * m) @ U[:, 2 * n :])]
    return memory[0]


def squash(p, h):  # for policies that were optimised through a model
    s = {"sine": lambda h: (9 * np.sin(h) + np.sin(3 * h)) / 8, "tanh": np.tanh, "none": lambda h: h}
    return p["middle"] + p["half_range"] * s[str(p["squash"])](h)


def look(p, f, image):  # for policies with images only
    h = image / np.float32(255) if image.dtype == np.uint8 else image.astype(np.float32)
    for i, s in enumerate(p["strides"]):
        kernel, h = p[f"kernel{i}"], f(h) if i else h
        patches = np.lib.stride_tricks.sliding_window_view(h, kernel.shape[:2], (0, 1))[::s, ::s]
        h = np.tensordot(patches, kernel, ([3, 4, 2], [0, 1, 2])) + p[f"offset{i}"]
    e = np.exp(p["sharpness"] * (h - h.max((0, 1))))
    (y, x), e = (np.linspace(-1, 1, n, dtype=np.float32) for n in e.shape[:2]), e / e.sum((0, 1))
    return np.concatenate([x @ e.sum(0), y @ e.sum(1)])
