"""A neural policy that is to be trained, and how: what every algorithm that trains one is given."""

import dataclasses
from typing import Generic

from gps.dynamics.mixture import MixturePrior
from gps.policies.neural import Layered
from gps.policies.supervised import Options, Training


@dataclasses.dataclass(frozen=True)
class Learner(Generic[Layered]):
    """A policy before its first training step, and the settings of its training.

    Args:
        training: the untrained policy, with everything that its training goes on from.
        options: of the supervised step.
        prior: of the policy's linearisation around samples, over [x; u]; None linearises by least squares.
    """

    training: Training[Layered]
    options: Options
    prior: MixturePrior | None = None

    @property
    def network_type(self) -> type:
        return type(self.training.policy.network)
