"""A double pendulum with a motor at the elbow swings up."""

from __future__ import annotations

from functools import partial

from gps.environments.tasks.double_pendulum import DoublePendulum
from gps.environments.tasks.single import SingleEnv


class Acrobot(DoublePendulum):
    """Swing a double pendulum up and balance it with a motor at the elbow; the shoulder is free.

    Registered as `gps/Acrobot-v0`; see `DoublePendulum`.
    """

    driven = "elbow"


single = partial(SingleEnv.of, Acrobot)
