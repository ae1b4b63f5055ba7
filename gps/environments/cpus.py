"""Find how many simulations can run at the same time."""

import os
import re


def count_threads() -> int:
    """The number in the variable `GPS_THREADS`, or without it the number of CPUs that this process may use.

    Raises:
        ValueError: if the variable is not a number.
    """
    text = os.environ.get("GPS_THREADS", "")
    if text:
        if not re.fullmatch(r"[1-9]\d{0,4}", text):
            raise ValueError(f"the environment variable GPS_THREADS must be a whole number of at least 1, got {text!r}")
        return int(text)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
