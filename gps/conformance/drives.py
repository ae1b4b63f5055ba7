"""The kinds of drive in a MuJoCo model: what an action is, and whether the drive holds a pose by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gps.environments.contract import BatchEnvironment

if TYPE_CHECKING:
    import mujoco


def describe_drives(environment: BatchEnvironment) -> str:
    """The drives by kind, such as `2 position servos, 1 motor`; "" where they are unknown."""
    if (simulation := environment.snapshot(0)) is None:
        return ""
    model = simulation[0]
    kinds = [find_kind(model, i) for i in range(model.nactuator)]
    counts = {kind: kinds.count(kind) for kind in kinds}
    return ", ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in counts.items())


def find_kind(model: mujoco.MjModel, i: int) -> str:
    """The kind of actuator `i`: force = gain · input + bias, where the bias may depend on position and velocity."""
    import mujoco

    dynamics, gain = mujoco.mjtDyn(model.actuator_dyntype[i]), mujoco.mjtGain(model.actuator_gaintype[i])
    _, stiffness, damping = model.actuator_biasprm[i, :3]
    if gain == mujoco.mjtGain.mjGAIN_MUSCLE:
        return "muscle"
    if stiffness:
        return "integrated velocity servo" if dynamics == mujoco.mjtDyn.mjDYN_INTEGRATOR else "position servo"
    if gain == mujoco.mjtGain.mjGAIN_AFFINE:
        return "damper"
    if damping:
        return "velocity servo"
    if mujoco.mjtTrn(model.actuator_trntype[i]) in (mujoco.mjtTrn.mjTRN_SITE, mujoco.mjtTrn.mjTRN_BODY):
        return "thruster" if model.actuator_trntype[i] == mujoco.mjtTrn.mjTRN_SITE else "adhesion"
    return "motor"
