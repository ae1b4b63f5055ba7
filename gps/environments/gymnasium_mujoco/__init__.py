"""Gymnasium's own MuJoCo environments, all simulations of a batch at once, bit for bit.

Each class here computes the observations, rewards, terminations and infos that `gymnasium.make(id)` computes for
the same seed and actions, to the last bit. Each is also a `MujocoEnv`: it has conditions, state parts and one
thread pool. `find_batch_class("HalfCheetah-v5")` finds the class.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gps.environments.gymnasium_mujoco.base import GymnasiumMujocoEnv

_CLASSES = {  # id -> module, class
    "Ant-v4": ("ant", "AntV4"),
    "Ant-v5": ("ant", "Ant"),
    "HalfCheetah-v4": ("half_cheetah", "HalfCheetahV4"),
    "HalfCheetah-v5": ("half_cheetah", "HalfCheetah"),
    "Hopper-v4": ("hopper", "HopperV4"),
    "Hopper-v5": ("hopper", "Hopper"),
    "Humanoid-v5": ("humanoid", "Humanoid"),
    "HumanoidStandup-v5": ("humanoid_standup", "HumanoidStandup"),
    "InvertedDoublePendulum-v4": ("inverted_double_pendulum", "InvertedDoublePendulumV4"),
    "InvertedDoublePendulum-v5": ("inverted_double_pendulum", "InvertedDoublePendulum"),
    "InvertedPendulum-v4": ("inverted_pendulum", "InvertedPendulumV4"),
    "InvertedPendulum-v5": ("inverted_pendulum", "InvertedPendulum"),
    "Pusher-v5": ("pusher", "Pusher"),
    "Reacher-v5": ("reacher", "Reacher"),
    "Swimmer-v4": ("swimmer", "SwimmerV4"),
    "Swimmer-v5": ("swimmer", "Swimmer"),
    "Walker2d-v4": ("walker2d", "Walker2dV4"),
    "Walker2d-v5": ("walker2d", "Walker2d"),
}

IDS = tuple(_CLASSES)
"""The Gymnasium ids that have a class here."""


def find_batch_class(id: str) -> type[GymnasiumMujocoEnv] | None:
    """Find the class that runs a Gymnasium id as a batch, and load MuJoCo for it; None if there is none."""
    if id not in _CLASSES:
        return None
    module, name = _CLASSES[id]
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
