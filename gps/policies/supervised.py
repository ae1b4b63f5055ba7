"""The supervised step of guided policy search: fit a policy to local controllers by their KL divergence.

Minimise over the policy N(μ(o), Σ), for samples i with weights w_i, teachers' actions u_i and precisions P_i,

    Σ_i w_i [ ½ (μ(o_i) − u_i)ᵀ P_i (μ(o_i) − u_i) + ½ tr(P_i Σ) − ½ log det Σ + λ_iᵀ μ(o_i) ] / Σ_i w_i,

which without λ is, up to a constant, the mean KL(π(· | o_i) ‖ N(u_i, P_i⁻¹)) in nats (Levine, Finn, Darrell & Abbeel
2016, sec. 4.3; the S-step of Montgomery & Levine 2016). The mean and the covariance separate: Σ = (Σ w_i P_i / Σ w_i)⁻¹
in closed form, and the network by mini-batches and Adam (`gps.networks.fitting`). λ is BADMM's multiplier of the
constraint on the mean action: it is *added*, so a positive λ pushes the action down. A penalty weight ν multiplies P
(or, with λ divided by it, w).

A call starts from the policy and the moments of the call before (`gps.policies.normalisation`).
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gps.backend import Array, jax, jnp
from gps.errors import PolicyError
from gps.linear_gaussian.linalg import is_semi_definite
from gps.networks.fitting import AdamState, FitOptions, fit_parameters
from gps.policies.neural import Layered, NeuralPolicy, mean_of_one
from gps.policies.normalisation import normalise
from gps.policies.training import Training
from gps.status import PolicyStatus

__all__ = ["Fit", "Options", "Samples", "Training", "not_trained", "objective", "shared_covariance", "train"]


class Samples(NamedTuple):
    """The n samples that a policy imitates. A sample of weight 0 is left out, whatever it holds."""

    observations: Any  # (n, do), or Pixels of (n, H, W, C) and (n, dv)
    actions: Float[np.ndarray, "n du"]
    precisions: Float[np.ndarray, "n du du"]
    weights: Float[np.ndarray, "n"]
    linear: Float[np.ndarray, "n du"] | None = None  # λ
    groups: Int[np.ndarray, "n"] | None = None  # samples of a group (an episode) are held out together


@dataclasses.dataclass(frozen=True)
class Options(FitOptions):
    """Options of the training: the loop's, and the covariance's.

    Args:
        ridge: added to the mean precision, relative to the mean of its diagonal.
        least_deviation, most_deviation: limits of the policy's standard deviations, in units of `output_scale`.
    """

    ridge: float = 1e-9
    least_deviation: float = 1e-3
    most_deviation: float = 1e2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.ridge >= 0:
            raise PolicyError("need ridge >= 0")
        if not 0 < self.least_deviation <= self.most_deviation:
            raise PolicyError("need 0 < least_deviation <= most_deviation")


@dataclasses.dataclass(frozen=True)
class Fit:
    """The result of a supervised step. Losses are the mean part of the objective above, in nats."""

    outcome: PolicyStatus
    covariance_outcome: PolicyStatus
    message: str  # a sentence for each outcome that is not ok
    steps: int  # steps done
    best_step: int  # the step whose network was kept
    training_loss: Float[np.ndarray, "checks"]  # mean over the mini-batches since the last check
    held_out_loss: Float[np.ndarray, "looks"]  # before the first step, and at each check

    @property
    def ok(self) -> bool:
        return self.outcome.ok and self.covariance_outcome.ok


# -- the objective ---------------------------------------------------------------------------------------------------


class _Targets(NamedTuple):
    """The samples as the loss reads them, without their weights."""

    observations: Any
    actions: Array
    precisions: Array
    linear: Array | None


def _make_targets(samples: Samples) -> _Targets:
    return _Targets(samples.observations, samples.actions, samples.precisions, samples.linear)


def objective(policy: NeuralPolicy, samples: Samples) -> Array:
    """The mean part of the objective: Σ w_i [½ eᵀPe + λᵀμ] / Σ w_i, e = μ(o_i) − u_i. In nats; JAX."""
    return _weighted_sum(policy.network, policy, _make_targets(samples), samples.weights) / jnp.sum(samples.weights)


def _weighted_sum(network: Any, policy: NeuralPolicy, targets: _Targets, weights: Array) -> Array:
    """The sum Σ w_i [½ eᵀPe + λᵀμ] for the policy with another network: the loss of `fit_parameters`."""
    policy = dataclasses.replace(policy, network=network)
    mean = _mean_of_each(policy, targets.observations, len(weights))
    e = mean - targets.actions
    loss = 0.5 * jnp.einsum("ni,nij,nj->n", e, targets.precisions, e)
    if targets.linear is not None:
        loss = loss + jnp.sum(targets.linear * mean, axis=-1)
    return jnp.sum(weights * loss)


def _usual_loss(_: NeuralPolicy, targets: _Targets, weights: Array) -> Array:
    """The loss of the constant policy with the mean action, at least 1 nat."""
    mean_action = jnp.average(targets.actions, axis=0, weights=weights)
    e = targets.actions - mean_action
    constant = 0.5 * jnp.average(jnp.einsum("ni,nij,nj->n", e, targets.precisions, e), weights=weights)
    return jnp.maximum(constant, 1.0)


def _mean_of_each(policy: NeuralPolicy, observations: Any, n: int) -> Float[Array, "n du"]:
    """The mean actions of n observations, at most `max_batch` of them at once."""
    max_batch = policy.network.max_batch
    if n <= max_batch:
        return jax.vmap(mean_of_one, (None, 0))(policy, observations)
    return jax.lax.map(lambda one: mean_of_one(policy, one), observations, batch_size=max_batch)


def shared_covariance(
    precisions: Float[np.ndarray, "n du du"],
    weights: Float[np.ndarray, "n"],
    scale: Float[np.ndarray, "du"],
    options: Options,
) -> tuple[Float[np.ndarray, "du du"], PolicyStatus]:
    """Return Σ = (Σ w_i P_i / Σ w_i)⁻¹, its standard deviations (in units of `scale`) limited by the options."""
    mean = np.einsum("n,nij->ij", weights, precisions) / weights.sum()
    mean = 0.5 * (mean + mean.T) * np.outer(scale, scale)
    eigenvalues, vectors = np.linalg.eigh(mean)
    # So small a ridge decides only what rounding would decide.
    eigenvalues = eigenvalues + options.ridge * np.trace(mean) / len(mean)
    low, high = options.most_deviation**-2, options.least_deviation**-2
    limited = np.clip(eigenvalues, low, high)
    covariance = (vectors / limited) @ vectors.T * np.outer(scale, scale)
    singular, collapsed = (eigenvalues < low).any(), (eigenvalues > high).any()
    one = PolicyStatus
    outcome = one.SINGULAR_PRECISION if singular else one.COLLAPSED_COVARIANCE if collapsed else one.OK
    return 0.5 * (covariance + covariance.T), outcome


# -- one supervised step ---------------------------------------------------------------------------------------------


def train(training: Training[Layered], samples: Samples, options: Options = Options()) -> tuple[Training[Layered], Fit]:
    """Do one supervised step: return the policy that imitates `samples` better, and what happened.

    The same arguments give the same bits. Numerical trouble is an outcome of the fit, not an error. A diverging
    training returns to the network of the lowest held-out loss, or to the given policy, and resets Adam's moments; the
    covariance, which does not depend on the network, is new nevertheless.

    Raises:
        PolicyError: if the samples have shapes that do not fit each other or the policy.
    """
    samples = _check_samples(training.policy, samples)
    kept = np.flatnonzero(samples.weights != 0)
    if not len(kept) or not (samples.weights > 0).any():
        return training, not_trained(PolicyStatus.NO_SAMPLES)
    samples = jax.tree.map(lambda array: array[kept], samples)
    trouble = _find_trouble(samples, kept)
    if trouble is not None:
        return training, not_trained(*trouble)

    rng = np.random.default_rng(training.key)
    next_key = rng.integers(1 << 32, size=2, dtype=np.uint32)
    given, training = training, normalise(training, jax.tree.leaves(samples.observations)[-1], samples.actions)
    policy = training.policy
    end = fit_parameters(
        _weighted_sum,
        AdamState(policy.network, training.first, training.second, training.count),
        _make_targets(samples),
        samples.weights,
        rng,
        options,
        context=policy,
        usual_loss=_usual_loss,
        groups=samples.groups,
        gather_by_batch=policy.network.image_shape is not None,
    )
    covariance, covariance_outcome = shared_covariance(
        samples.precisions, samples.weights, policy.output_scale, options
    )
    best = end.best
    first, second, count = best.first, best.second, best.adam_steps
    if end.diverged:
        outcome = PolicyStatus.DIVERGED
        first, second = (jax.tree.map(np.zeros_like, moments) for moments in (first, second))
        count = np.zeros_like(count)
    else:
        outcome = PolicyStatus.STOPPED_EARLY if end.stopped_early else PolicyStatus.OK
    policy = dataclasses.replace(policy, network=best.parameters, covariance=covariance)
    if end.diverged and best.step == 0 and given.calls:
        policy = dataclasses.replace(given.policy, covariance=covariance)
    fit = Fit(
        outcome,
        covariance_outcome,
        " ".join(one.sentence for one in (outcome, covariance_outcome) if not one.ok),
        steps=end.steps,
        best_step=int(best.step),
        training_loss=end.training_loss,
        held_out_loss=end.held_out_loss,
    )
    return Training(policy, first, second, count, training.calls + 1, next_key), fit


def not_trained(outcome: PolicyStatus, detail: str = "") -> Fit:
    """The result of a step that left the policy as it was."""
    message = "" if outcome.ok else f"{outcome.sentence} {detail}".strip()
    return Fit(outcome, PolicyStatus.OK, message, 0, 0, np.zeros(0), np.zeros(0))


def _check_samples(policy: NeuralPolicy, samples: Samples) -> Samples:
    """Return the samples in float64, observations as the network takes them; PolicyError for bad shapes."""
    observations = policy.network.check(samples.observations)
    n, du = len(jax.tree.leaves(observations)[0]), policy.network.action_size
    expected = {"actions": (n, du), "precisions": (n, du, du), "weights": (n,), "linear": (n, du), "groups": (n,)}
    arrays = {}
    for name, shape in expected.items():
        value = getattr(samples, name)
        if value is None:
            continue
        arrays[name] = np.asarray(value, dtype=int if name == "groups" else float)
        if arrays[name].shape != shape:
            raise PolicyError(f"{name} of shape {arrays[name].shape}; expected {shape} for {n} observations")
    return samples._replace(observations=jax.tree.map(np.asarray, observations), **arrays)


def _find_trouble(samples: Samples, kept: Int[np.ndarray, "k"]) -> tuple[PolicyStatus, str] | None:
    """Return why training on these samples is impossible, and where; `kept` are the samples' numbers."""
    vectors = jax.tree.leaves(samples.observations)
    named = {"the observation": vectors[-1], "the action": samples.actions, "the weight": samples.weights[:, None]}
    if samples.linear is not None:
        named["the linear term"] = samples.linear
    if len(vectors) > 1 and vectors[0].dtype.kind == "f":
        named["the image"] = vectors[0].reshape(len(kept), -1)
    for what, array in named.items():
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if bad.size:
            return PolicyStatus.BAD_SAMPLES, f"Not finite: {what} of sample {kept[bad[0]]}."
    if (samples.weights < 0).any():
        return PolicyStatus.BAD_SAMPLES, f"The weight of sample {kept[np.argmin(samples.weights)]} is negative."
    bad = np.flatnonzero(~np.isfinite(samples.precisions).all(axis=(1, 2)))
    if bad.size:
        return PolicyStatus.BAD_PRECISION, f"The precision of sample {kept[bad[0]]} is not finite."
    bad = np.flatnonzero(~is_semi_definite(samples.precisions))
    if bad.size:
        least = np.linalg.eigvalsh(samples.precisions[bad[0]])[0]
        return PolicyStatus.BAD_PRECISION, f"The precision of sample {kept[bad[0]]} has the eigenvalue {least:.1e}."
    return None
