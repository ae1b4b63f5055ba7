"""Environments: any MJCF model or plain Gymnasium environment as a batch of simulations, and seven tasks.

Importing this package registers the ids `gps/PointMass-v0`, `gps/Reacher-v0`, `gps/CartPoleSwingUp-v0`,
`gps/PendulumSwingUp-v0`, `gps/PegInsertion-v0`, `gps/BlockPushing-v0` and `gps/Door-v0` for `gymnasium.make` and
`gymnasium.make_vec`. It loads neither MuJoCo nor a model. `gps.environments.contract` is the type of every batch
environment; `gps.environments.mujoco` has `MujocoEnv`, the base of all tasks; `gps.environments.gymnasium_mujoco` has
Gymnasium's own MuJoCo environments on the same base; `gps.environments.plain.adapter` makes a batch of any other
environment.
"""

import gymnasium

_TASKS = {  # id -> module, class, steps of an episode
    "gps/PointMass-v0": ("point_mass", "PointMass", 100),
    "gps/Reacher-v0": ("reacher", "Reacher", 100),
    "gps/CartPoleSwingUp-v0": ("cart_pole", "CartPoleSwingUp", 40),
    "gps/PendulumSwingUp-v0": ("pendulum", "PendulumSwingUp", 100),
    "gps/PegInsertion-v0": ("peg_insertion", "PegInsertion", 100),
    "gps/BlockPushing-v0": ("block_pushing", "BlockPushing", 100),
    "gps/Door-v0": ("door", "Door", 100),
}

IDS = tuple(_TASKS)
"""The ids that this package registers."""

for _id, (_module, _class, _steps) in _TASKS.items():
    if _id not in gymnasium.registry:
        gymnasium.register(
            _id,
            entry_point=f"{__name__}.tasks.{_module}:single",
            vector_entry_point=f"{__name__}.tasks.{_module}:{_class}",
            max_episode_steps=_steps,
        )
