"""MuJoCo writes its warnings to the terminal, and also into `MUJOCO_LOG.TXT` in the working directory: not here."""

import sys

NAME = "MUJOCO_LOG.TXT"


def switch_off() -> None:
    """Let MuJoCo, if it is loaded, write no such file. One that the user has named otherwise is still written."""
    if (mujoco := sys.modules.get("mujoco")) is None:
        return
    config = mujoco.MjLogConfig.get()
    if config.logfile == NAME:
        config.logto_file = False
        config.set()
