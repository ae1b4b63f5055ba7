"""The reacher of the DeepMind Control Suite with a large target."""

from __future__ import annotations

from functools import partial

from gps.environments.tasks.single import SingleEnv
from gps.environments.tasks.suite_reacher import SuiteReacher


class SuiteReacherEasy(SuiteReacher):
    """Reach a target of 5 cm radius.

    Registered as `gps/SuiteReacherEasy-v0`; see `SuiteReacher`.
    """

    target = 0.05


single = partial(SingleEnv.of, SuiteReacherEasy)
