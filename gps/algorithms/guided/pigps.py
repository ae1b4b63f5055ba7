"""Path integral guided policy search (Chebotar, Kalakrishnan, Yahya, Li, Schaal & Levine 2017): a policy that is taught
by its own samples, weighed by what they cost.

It is mirror descent guided policy search (`mdgps`) with an optimiser of local controllers that learns from samples in
place of the trust region's LQR: PI², which needs no dynamics and no derivative of the cost, or PILQR. Each
iteration, for M conditions and N samples of each:

    sample    the policy with its noise:  u_it = μ(o_it) + e_it,  e_it ~ N(0, Σ_π), within the environment's limits
    fit       π̄_t = N(K_t x + k_t, Σ̄_t), the policy linearised around the samples; Σ̄_t = Σ_π + what a line leaves of μ
    C-step    p ← argmin E_p[ℓ]  subject to  KL(p ‖ π̄) ≤ ε, by the samples: the optimiser's update of π̄
    S-step    π ← argmin Σ_i KL(π(· | o_i) ‖ p(· | x_i)) over the samples: `gps.policies.supervised`, with a warm start

Before the policy was trained for the first time (see `warm_up`), the local controllers are sampled and take the place
of π̄.

The C-step with PI²
-------------------
The samples are draws of π̄, as far as it is the policy, so that PI²'s update of π̄ is the step. With the cost-to-go
S_it of each sample, and a temperature η_t that meets the bound (`path_integral`):

    w_it ∝ exp(−S_it / η_t),   KL(w_t ‖ 1/N) = ε
    p_t = N(K_t x + k'_t, Σ'_t),   k'_t = Σ_i w_it (u_it − K_t x_it)
    Σ'_t = λ Σ̄_t + (1 − λ) Σ_i w_it e'_it e'_itᵀ,   e'_it = u_it − K_t x_it − k'_t,   and nowhere below a floor

The gains K_t are those of the linearised policy: PI² never changes gains, and the policy's own may change in each
iteration. k_t has no part in k'_t, as the weights sum to one. What a line leaves of μ, r_it = μ(o_it) − K_t x_it − k_t,
has one, as if it had been noise: k'_t − k_t = Σ_i w_it (e_it + r_it).

What the S-step teaches
-----------------------
At each sampled observation o_it the action K_t x_it + k'_t, within the environment's limits, with the precision Σ'_t⁻¹:
what the policy does there on its line, and the same weighted noise for all samples of a step. The policy's covariance
becomes the inverse of the mean precision over conditions and steps, which is not above the mean of the Σ'_t: by this
the noise falls, and by the weights where λ < 1; by what a line leaves of μ it grows. The floor, relative to the first
controllers', ends the fall.

Off-policy
----------
With `off_policy` the local controllers are sampled, and the C-step is the optimiser's update of them: they learn
as they would without a policy, bit for bit, and the policy imitates what they have learned. Nothing draws them to it.

The step rule is the optimiser's own: the change of the samples' mean cost that its weights (and PILQR's model)
predicted, beside what it was. On-policy both are those of the policy.

On-policy, noise is to be white
-------------------------------
With `controller.smoothing` the policy lost its feedback: on the nine-slot peg the gains were gone in six iterations.
Noise that lasts has moved the states by the time that k'_t follows it, and a policy that knows no time may take the
one for a function of the other, of the wrong sign. PI² mends no gains.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
from jaxtyping import Float

from gps.algorithms.guided.base import UNLIMITED, GuidedModel, Limits, global_policy, linearised, supervised
from gps.algorithms.local.base import LocalOptimiser, LocalState, chosen
from gps.dynamics.mixture import MixturePrior
from gps.linear_gaussian.types import Controller
from gps.policies.neural import Network
from gps.policies.supervised import Options, Training
from gps.records import IterationRecord, Rollouts
from gps.sampling import Policy

Local = TypeVar("Local", bound=LocalState)


@dataclasses.dataclass(frozen=True)
class PIGPSState(Generic[Local, Network]):
    """The state of the optimiser of local controllers; the policy with all that its training goes on from."""

    local: Local
    training: Training[Network]
    policy_prior: MixturePrior | None  # of [x; u]

    @property
    def iteration(self) -> int:
        return self.local.iteration

    @property
    def controllers(self) -> Controller:
        return self.local.controllers

    @property
    def trained(self) -> bool:
        """Whether there is a global policy yet."""
        return self.training.calls > 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class PIGPS:
    """The algorithm.

    Args:
        local: the optimiser of local controllers, which may be any that learns from samples of the controllers in its
            state. Its settings are those of the C-step.
        training: of the policy, before the first step.
        options: of the supervised step.
        policy_prior: of the linearisation; None linearises by least squares.
        warm_up: iterations at the start that improve the local controllers alone.
        limits: of the actions; see `gps.algorithms.guided.asked`.
        sampling: whose rollouts are taken, the global policy's or the local controllers'.
    """

    local: LocalOptimiser = dataclasses.field(kw_only=False)
    training: Training
    options: Options
    policy_prior: MixturePrior | None = None
    warm_up: int = 0
    limits: Limits = UNLIMITED
    sampling: Literal["on_policy", "off_policy"] = "on_policy"

    learns_from_observations: ClassVar[bool] = True

    @property
    def state_type(self) -> Any:
        """Of what `begin` and `improve` return."""
        return PIGPSState[self.local.state_type, type(self.training.policy.network)]

    @property
    def cost(self) -> Callable:
        """That of the optimiser, a JAX function of (x, u, t)."""
        return self.local.cost

    @property
    def needs_derivatives(self) -> bool:
        """Whether the cost must have any."""
        return self.local.needs_derivatives

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> PIGPSState:
        """The state before the first iteration."""
        return PIGPSState(self.local.begin(controllers, starts), self.training, self.policy_prior)

    def policy(self, state: PIGPSState) -> Policy:
        """What is sampled: the global policy, if it is there and the sampling is on-policy, or the controllers."""
        return global_policy(state) if self._on_policy(state) else self.local.policy(state.local)

    def final(self, state: PIGPSState) -> Policy:
        """The global policy; the local controllers before there is one."""
        return global_policy(state) if state.trained else self.local.final(state.local)

    def further(self, state: PIGPSState) -> dict[str, Policy]:
        """The local controllers, to be evaluated beside the policy."""
        return {"local": self.local.final(state.local)} if state.trained else {}

    def costs(self, rollouts: Rollouts) -> Float[np.ndarray, "M N T"]:
        """What each step cost."""
        return self.local.costs(rollouts)

    def _on_policy(self, state: PIGPSState) -> bool:
        return self.sampling == "on_policy" and state.trained

    def fit(self, state: PIGPSState, rollouts: Rollouts, seed: int) -> GuidedModel:
        """What the optimiser wants to know of the samples, and the global policy linearised around them."""
        return GuidedModel(self.local.fit(state.local, rollouts, seed), *linearised(state, rollouts, seed))

    def improve(self, state: PIGPSState, rollouts: Rollouts, model: GuidedModel) -> tuple[PIGPSState, IterationRecord]:
        """The C-step, the S-step, and the record of the iteration: the optimiser's, and the policy's side of it."""
        optimiser, before, sampled = self.local, state.local, self._on_policy(state)
        if sampled:  # what ran is the policy, which the linearised one stands for, its noise included
            before = dataclasses.replace(before, controllers=model.linearised)
            optimiser = dataclasses.replace(optimiser, execution="max_entropy")
        after, record = optimiser.improve(before, rollouts, model.local)
        usable = np.array([status.improved for status in record.statuses])
        teachers = chosen(usable, record.improved, state.controllers)  # what has no update is left as it was
        settings = self.options, self.warm_up, self.limits
        taught = supervised(state, rollouts, model, teachers, usable, *settings, sampled=sampled)
        after = dataclasses.replace(after, controllers=teachers)
        record = dataclasses.replace(record, improved=teachers, policy=taught.record)
        return PIGPSState(after, taught.training, model.policy_prior), record
