"""How far MuJoCo computes what depends on the positions: no further, the velocities, or the forces and accelerations."""

import mujoco

STAGE_NONE = mujoco.mjtStage.mjSTAGE_NONE.value
STAGE_VEL = mujoco.mjtStage.mjSTAGE_VEL.value
STAGE_ACC = mujoco.mjtStage.mjSTAGE_ACC.value
