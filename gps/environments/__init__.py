"""Environments: any MJCF model or plain Gymnasium environment as a batch of simulations, and our tasks.

Importing this package registers the ids of `IDS` (`gps/PointMass-v0`, `gps/Acrobot-v0`, …) for `gymnasium.make` and
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
    "gps/Acrobot-v0": ("acrobot", "Acrobot", 500),
    "gps/Pendubot-v0": ("pendubot", "Pendubot", 500),
    "gps/McPilcoCartPole-v0": ("mc_pilco_cart_pole", "McPilcoCartPole", 60),
    "gps/CartDoublePendulum-v0": ("cart_double_pendulum", "CartDoublePendulum", 100),
    "gps/ArmTracking-v0": ("arm_tracking", "ArmTracking", 200),
    "gps/PetsCartPole-v0": ("pets_cart_pole", "PetsCartPole", 200),
    "gps/PetsPusher-v0": ("pets_pusher", "PetsPusher", 150),
    "gps/PetsReacher-v0": ("pets_reacher", "PetsReacher", 150),
    "gps/SuitePendulum-v0": ("suite_pendulum", "SuitePendulum", 1000),
    "gps/SuiteCartPole-v0": ("suite_cart_pole", "SuiteCartPole", 1000),
    "gps/SuiteCup-v0": ("suite_cup", "SuiteCup", 1000),
    "gps/SuiteReacherEasy-v0": ("suite_reacher_easy", "SuiteReacherEasy", 1000),
    "gps/SuiteReacherHard-v0": ("suite_reacher_hard", "SuiteReacherHard", 1000),
    "gps/SuiteFinger-v0": ("suite_finger", "SuiteFinger", 1000),
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
