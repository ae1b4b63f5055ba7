"""How far MuJoCo computes at given positions: nothing, up to the velocities, or up to the accelerations."""

import mujoco

STAGE_NONE = mujoco.mjtStage.mjSTAGE_NONE.value
STAGE_VEL = mujoco.mjtStage.mjSTAGE_VEL.value
STAGE_ACC = mujoco.mjtStage.mjSTAGE_ACC.value
