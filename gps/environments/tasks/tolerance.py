"""The shape of the DeepMind Control Suite's rewards (Tassa et al. 2018, sec. 2.2): 1 in an interval, less outside."""

from __future__ import annotations

import numpy as np

from gps.environments.contract import Floats


def tolerate(values: Floats, margin: float) -> Floats:
    """1 at zero, 0.1 at the margin: the suite's `tolerance` about zero with its default, a bell curve."""
    return 0.1 ** ((values / margin) ** 2)


def tolerate_until(values: Floats, margin: float) -> Floats:
    """1 at zero, 0 from the margin on: the suite's `tolerance` about zero with a parabola."""
    return np.maximum(0.0, 1.0 - (values / margin) ** 2)
