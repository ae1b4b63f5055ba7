"""The stages of MuJoCo's computation at given positions: none, up to velocities, or up to accelerations."""

import mujoco

STAGE_NONE = mujoco.mjtStage.mjSTAGE_NONE.value
STAGE_VEL = mujoco.mjtStage.mjSTAGE_VEL.value
STAGE_ACC = mujoco.mjtStage.mjSTAGE_ACC.value
