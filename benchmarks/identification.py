"""`python -m benchmarks.identification`: fit the parameters of a two-joint arm, beside MuJoCo's own toolbox.

Six parameters, 200 steps in 2 s, starts that are off by five times, and noise of 1e-3 rad and rad/s on every recorded
position and velocity: seconds, the error of the masses, and how often the intervals of 95 % hold the truth. The toolbox
`mujoco.sysid` predicts the whole recording from its true first state, of which it is told. It fits fewer recordings,
as some take it many seconds.
"""

import contextlib
import io
import time
from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np

from benchmarks.timing import print_table
from gps.environments.mujoco import MujocoEnv
from gps.environments.mujoco.simulator import MujocoSimulator
from gps.models.data import Dataset
from gps.models.physics.fitting import fit_physics
from gps.models.physics.parameters import Coordinates

ARM = """<mujoco model="arm">
<option timestep="0.01"><flag contact="disable"/></option>
<worldbody>
<body name="upper"><joint name="shoulder" axis="0 1 0" damping=".1" armature=".01"/>
<geom name="upper" type="capsule" fromto="0 0 0 0 0 -.3" size=".02" mass="1"/>
<body name="lower" pos="0 0 -.3"><joint name="elbow" axis="0 1 0" damping=".05"/>
<geom name="lower" type="capsule" fromto="0 0 0 0 0 -.3" size=".02" mass=".5"/></body></body>
</worldbody>
<actuator><motor name="shoulder" joint="shoulder"/><motor name="elbow" joint="elbow"/></actuator>
<sensor><jointpos name="q1" joint="shoulder"/><jointpos name="q2" joint="elbow"/>
<jointvel name="v1" joint="shoulder"/><jointvel name="v2" joint="elbow"/></sensor>
</mujoco>"""

TRUTH = np.array([1.0, 0.5, 0.1, 0.05, 0.01, 9.81])
"""Masses (kg), damping (N m s/rad), armature (kg m²) and gravity (m/s²)."""

STARTS = TRUTH * [5.0, 0.2, 5.0, 0.2, 5.0, 0.2]
LOW, HIGH = TRUTH / 10.0, TRUTH * 10.0
FIRST = np.array([0.5, -0.5, 0.0, 0.0])

NOISE = 1e-3
STEPS = 200


def declare() -> dict[str, Any]:
    """The table of the unknown parameters."""
    each = [{"bounds": [low, high], "start": s} for low, high, s in zip(LOW, HIGH, STARTS, strict=True)]
    return {
        "body_mass": {"upper": each[0], "lower": each[1]},
        "dof_damping": {"shoulder": each[2], "elbow": each[3]},
        "dof_armature": {"shoulder": each[4]},
        "gravity": each[5],
    }


def draw_torques(seed: int, steps: int = STEPS) -> np.ndarray:
    """Smooth random torques, (steps, 2), N m."""
    rng, t = np.random.default_rng(seed), 0.01 * np.arange(steps)
    waves = [
        sum(rng.normal() * np.sin(2 * np.pi * f * t + rng.uniform(0, 6)) for f in (0.5, 1.3, 2.1)) for _ in range(2)
    ]
    return np.stack(waves, axis=1) * [2.0, 0.7]


def record_arm(simulator: MujocoSimulator, noise: float, seed: int = 0, steps: int = STEPS) -> Dataset:
    """One episode of the true arm, measured with noise."""
    u = draw_torques(seed, steps)
    x = np.concatenate([FIRST[None], simulator.simulate(FIRST[None], u[None], TRUTH[None])[0]])
    x = x + noise * np.random.default_rng([seed, 1]).normal(size=x.shape)
    return Dataset(x[:-1], u, x[1:], np.zeros(steps, int))


def prepare_toolbox(seed: int) -> Callable[[], np.ndarray] | None:
    """A function that fits the same system by `mujoco.sysid`; None if that cannot be imported.

    Needs the packages of `mujoco[sysid]`.
    """
    try:
        from mujoco import sysid

        parameters = sysid.ParameterDict()
    except (ImportError, AttributeError):
        return None
    from mujoco import rollout

    spec = mujoco.MjSpec.from_string(ARM)
    model = spec.compile()
    data = mujoco.MjData(model)
    u = draw_torques(seed, STEPS + 1)
    first = sysid.create_initial_state(model, FIRST[:2], FIRST[2:], data.act)
    state, sensors = (np.squeeze(array, axis=0) for array in rollout.rollout(model, data, first, u[:-1]))
    sensors = sensors + NOISE * np.random.default_rng([seed, 1]).normal(size=sensors.shape)
    edits: list[Callable[[Any, Any], object]] = [
        lambda s, p: setattr(s.geom("upper"), "mass", p.value[0]),
        lambda s, p: setattr(s.geom("lower"), "mass", p.value[0]),
        lambda s, p: setattr(s.joint("shoulder"), "damping", [p.value[0], 0.0, 0.0]),
        lambda s, p: setattr(s.joint("elbow"), "damping", [p.value[0], 0.0, 0.0]),
        lambda s, p: setattr(s.joint("shoulder"), "armature", p.value[0]),
        lambda s, p: setattr(s.option, "gravity", [0.0, 0.0, -p.value[0]]),
    ]
    for i, edit in enumerate(edits):
        parameters.add(sysid.Parameter(f"p{i}", TRUTH[i], LOW[i], HIGH[i], modifier=edit))
        parameters[f"p{i}"].value[:] = STARTS[i]
    recorded = sysid.TimeSeries.from_names(state[:, 0], sensors, model)
    sequence = sysid.ModelSequences(
        "arm", spec, "recording", first, sysid.TimeSeries(0.01 * np.arange(STEPS + 1), u), recorded
    )
    residual = sysid.build_residual_fn(models_sequences=[sequence])

    def fit() -> np.ndarray:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints each iteration
            found, _ = sysid.optimize(parameters, residual, optimizer="mujoco", verbose=False)
        return np.asarray(found.as_vector())

    return fit


def time_fits(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Median seconds, and seconds of CPU time, of each function, called in turn."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter(), time.process_time()
            function()
            taken[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return {name: tuple(np.median(pairs, axis=0)) for name, pairs in taken.items()}


def main(draws: int = 100, rounds: int = 7, toolbox_draws: int = 5) -> None:
    simulator = MujocoSimulator(MujocoEnv(1, mjcf=ARM), declare(), threads=2)
    scale = Coordinates.of(simulator.parameters)
    data = record_arm(simulator, NOISE)
    functions: dict[str, Callable[[], object]] = {"gps": lambda: fit_physics(simulator, data)}
    toolbox = prepare_toolbox(0)
    if toolbox is not None:
        functions["mujoco.sysid"] = toolbox
    seconds = time_fits(functions, rounds)

    errors, inside = [], []
    for seed in range(draws):
        fit = fit_physics(simulator, record_arm(simulator, NOISE, seed)).fit
        assert fit is not None
        errors.append(np.abs(scale.decode(fit.coordinates) / TRUTH - 1.0))
        deviation = np.linalg.norm(fit.factor, axis=1)
        inside.append(np.abs(fit.coordinates - scale.encode(TRUTH)) < 1.96 * deviation)
    exact = fit_physics(simulator, record_arm(simulator, 0.0)).fit
    assert exact is not None
    rows = [["gps", *seconds["gps"], *_describe_masses(errors), f"{100 * np.mean(inside):.1f} %"]]
    if toolbox is None:
        rows.append(["mujoco.sysid", "not importable: needs mujoco[sysid]", "–", "–", "–", "–"])
    else:
        fits = [prepare_toolbox(seed) for seed in range(toolbox_draws)]
        off = [np.abs(fit() / TRUTH - 1.0) for fit in fits if fit is not None]
        rows.append(["mujoco.sysid", *seconds["mujoco.sysid"], *_describe_masses(off), "–"])
    header = ["by", "seconds", "CPU seconds", "median error of the masses, %", "within .5 %", "truth inside 95 %"]
    print_table(f"Two-joint arm, 6 parameters, {STEPS} steps", header, rows)
    exactly = np.abs(scale.decode(exact.coordinates) / TRUTH - 1.0).max()
    print(f"\nwithout noise: largest relative error {exactly:.1g}")


def _describe_masses(errors: list[np.ndarray]) -> tuple[float, str]:
    """The median of the larger error of the two masses, in per cent, and how many are within half a per cent."""
    largest = np.array(errors)[:, :2].max(axis=1)
    return 100.0 * float(np.median(largest)), f"{(largest < 0.005).sum()} of {len(largest)}"


if __name__ == "__main__":
    main()
