"""The warm start: normalise a policy's inputs and outputs anew, and keep the function that it computes.

Each call of the supervised step normalises the input by its own samples, since the first samples span little of what
comes later. The layer that the input enters is rewritten so that the policy stays the same function, except that it
becomes flatter in an input that now goes far beyond its earlier range. Adam's moments of that layer follow the change
of variables. The output's scale is the size of the first call's actions, and stays until actions of another size come.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from gps.policies.neural import Layered
from gps.policies.training import Training

_FAR = 100.0
"""Factor beyond which an input or output counts as rescaled."""
_SAME = 1e-6
"""An input with a smaller deviation, relative to its mean, is constant."""


def normalise(
    training: Training[Layered], vectors: Float[np.ndarray, "n dv"], actions: Float[np.ndarray, "n du"]
) -> Training[Layered]:
    """Return the same policy with inputs normalised by `vectors`, and an output scale that suits `actions`."""
    training = _scale_output(training, actions)
    policy = training.policy
    mean, scale = vectors.mean(axis=0), vectors.std(axis=0)
    scale = np.where(scale > _SAME * np.maximum(np.abs(mean), _SAME), scale, 1.0)
    if training.calls == 0:
        return dataclasses.replace(training, policy=dataclasses.replace(policy, input_mean=mean, input_scale=scale))

    # Slopes learned where an input hardly moved are noise where it moves a hundred times as far, and each training that
    # starts from them would diverge: they are used as the slopes of an input that moved as far as it does now.
    reach = scale + np.abs(mean - policy.input_mean)
    former = np.where(reach > _FAR * policy.input_scale, reach, policy.input_scale)
    # The old input is D x + δ in the new one x: W becomes D W, and b becomes b + δᵀ W. Gradients transform with the
    # inverse, so do first moments; second moments as if the layer's inputs and the constant 1 were uncorrelated.
    D = (scale / former)[:, None]
    δ = ((mean - policy.input_mean) / former)[:, None]
    W, b = policy.network.input_layer
    dtype = W.dtype
    network = policy.network.with_input_layer((D * W).astype(dtype), (b + (δ * W).sum(axis=0)).astype(dtype))
    W, b = training.first.input_layer
    first = training.first.with_input_layer(((W - δ * b) / D).astype(dtype), b)
    W, b = training.second.input_layer
    second = training.second.with_input_layer(((W + δ**2 * b) / D**2).astype(dtype), b)
    new = dataclasses.replace(policy, network=network, input_mean=mean, input_scale=scale)
    return dataclasses.replace(training, policy=new, first=first, second=second)


def _scale_output(training: Training[Layered], actions: Float[np.ndarray, "n du"]) -> Training[Layered]:
    """Set the output's scale in the first call; change it in a later one if it is off by a factor of `_FAR`."""
    policy, size = training.policy, np.sqrt((actions**2).mean(axis=0))
    if training.calls == 0:
        scaled = dataclasses.replace(policy, output_scale=np.where(size > 0, size, 1.0))
        return dataclasses.replace(training, policy=scaled)
    off = (size > 0) & (np.maximum(size, policy.output_scale) > _FAR * np.minimum(size, policy.output_scale))
    if not off.any():
        return training
    scale = np.where(off, size, policy.output_scale)
    # The last layer becomes W r, b r, and gradients transform with the inverse: the same function. A policy whose
    # actions were far too large shrinks with the scale, since no training would bring it down.
    r = np.minimum(policy.output_scale / scale, 1.0)

    def multiply(network, factor):
        return network.with_output_layer(*((array * factor).astype(array.dtype) for array in network.output_layer))

    return dataclasses.replace(
        training,
        policy=dataclasses.replace(policy, network=multiply(policy.network, r), output_scale=scale),
        first=multiply(training.first, 1 / r),
        second=multiply(training.second, 1 / r**2),
    )
