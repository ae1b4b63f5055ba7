"""Policies as flat arrays that name their kind, so that they can be read back without knowing the network.

The arrays are those of `gps.storage.serialization.flatten`, and `kind`: "controllers", or a key of
`gps.networks.NETWORKS`. Every bit survives.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from gps.linear_gaussian.types import Controller
from gps.networks import NETWORKS
from gps.policies.neural import NeuralPolicy
from gps.storage.serialization import CorruptFile, flatten, unflatten

CONTROLLERS = "controllers"
"""The kind of a stored batch of time-varying controllers."""


class _Header(NamedTuple):
    kind: str


def flatten_policy(policy: NeuralPolicy | Controller) -> dict[str, np.ndarray]:
    """Return the policy's arrays under dotted keys, and its kind.

    Raises:
        TypeError: if the class of its network is not in `NETWORKS`.
    """
    return {**flatten(_Header(_find_kind(policy))), **flatten(policy)}


def read_policy(arrays: Mapping[str, np.ndarray]) -> NeuralPolicy | Controller:
    """Return the policy that `flatten_policy` took apart.

    The numbers of a neural policy are not checked: see `gps.policies.neural.find_fault`.

    Raises:
        CorruptFile: if the kind is missing or unknown, or the arrays do not fit the kind.
    """
    kind = unflatten(_Header, {key: arrays[key] for key in ("kind",) if key in arrays}).kind
    rest = {key: array for key, array in arrays.items() if key != "kind"}
    if kind == CONTROLLERS:
        return _read_controllers(rest)
    if kind not in NETWORKS:
        raise CorruptFile(f"the kind {kind!r} is unknown; expected {', '.join([CONTROLLERS, *NETWORKS])}")
    return unflatten(NeuralPolicy[NETWORKS[kind]], rest)  # type: ignore[valid-type]


def _find_kind(policy: NeuralPolicy | Controller) -> str:
    if isinstance(policy, Controller):
        return CONTROLLERS
    for kind, network in NETWORKS.items():
        if type(policy.network) is network:
            return kind
    raise TypeError(f"a policy with the network {type(policy.network).__name__} cannot be stored; add it to NETWORKS")


def _read_controllers(arrays: Mapping[str, np.ndarray]) -> Controller:
    controllers = unflatten(Controller, arrays)
    K, k, S = controllers.feedback, controllers.feedforward, controllers.covariance
    du = k.shape[-1] if k.ndim else 0
    if k.ndim not in (2, 3) or K.ndim != k.ndim + 1 or K.shape[:-1] != k.shape or S.shape != (*k.shape, du):
        raise CorruptFile(f"controllers of shapes {K.shape}, {k.shape} and {S.shape} do not fit together")
    if any(array.dtype.kind != "f" for array in (K, k, S)):
        raise CorruptFile("the controllers' arrays are not all of real numbers")
    return controllers
