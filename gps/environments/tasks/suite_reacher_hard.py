"""The reacher of the DeepMind Control Suite with a small target."""

from __future__ import annotations

from functools import partial

from gps.environments.tasks.single import SingleEnv
from gps.environments.tasks.suite_reacher import SuiteReacher


class SuiteReacherHard(SuiteReacher):
    """Reach a target of 1.5 cm radius.

    Registered as `gps/SuiteReacherHard-v0`; see `SuiteReacher`.
    """

    target = 0.015


single = partial(SingleEnv.of, SuiteReacherHard)
