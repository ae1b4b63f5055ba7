"""Batches of MuJoCo simulations: the environment, its conditions, and its cameras."""

from gps.environments.mujoco.env import MujocoEnv

__all__ = ["MujocoEnv"]
