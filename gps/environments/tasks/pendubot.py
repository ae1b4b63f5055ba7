"""A double pendulum with a motor at the shoulder swings up."""

from __future__ import annotations

from functools import partial

from gps.environments.tasks.double_pendulum import DoublePendulum
from gps.environments.tasks.single import SingleEnv


class Pendubot(DoublePendulum):
    """Swing a double pendulum up and balance it with a motor at the shoulder; the elbow is free.

    Registered as `gps/Pendubot-v0`; see `DoublePendulum`.
    """

    driven = "shoulder"


single = partial(SingleEnv.of, Pendubot)
