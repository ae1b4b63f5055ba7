"""The known kinematics of a second-order system: which velocity integrates to which position. It loads fast."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mechanics:
    """The place of a second-order mechanical system in the state vector.

    Attributes:
        position: the slice of the generalised positions, nv wide.
        velocity: the slice of the generalised velocities, nv wide.
        actuation: (nv, nu), which action drives which degree of freedom. A joint's own actuator has 1 there,
            whatever its gear; other transmissions have their moment at the reference pose divided by the
            gear. The row of a degree of freedom without an actuator is zero.
        dt: the control period in seconds.
    """

    position: slice
    velocity: slice
    actuation: NDArray[np.float64]
    dt: float
