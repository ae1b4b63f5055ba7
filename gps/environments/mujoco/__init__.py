"""Batches of MuJoCo simulations: the environment, its conditions, and its cameras."""

from gps.environments import log_file
from gps.environments.mujoco.env import MujocoEnv

log_file.switch_off()

__all__ = ["MujocoEnv"]
