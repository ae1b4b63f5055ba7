"""Path integral guided policy search (Chebotar, Kalakrishnan, Yahya, Li, Schaal & Levine 2017): a policy learns from
its own samples, weighted by their cost.

It is mirror descent guided policy search (`mdgps`) with an optimiser of local controllers that learns from samples in
place of the trust region's LQR: PI², which needs no dynamics and no derivative of the cost, or PILQR. Each
iteration, for M conditions and N samples of each:

    sample    the policy with its noise:  u_it = μ(o_it) + e_it,  e_it ~ N(0, Σ_π), within the environment's limits
    fit       π̄_t = N(K_t x + k_t, Σ̄_t), the policy linearised around the samples; Σ̄_t = Σ_π + the residual of μ
    C-step    p ← argmin E_p[ℓ]  subject to  KL(p ‖ π̄) ≤ ε, by the samples: the optimiser's update of π̄
    S-step    π ← argmin Σ_i KL(π(· | o_i) ‖ p(· | x_i)) over the samples: `gps.policies.supervised`, with a warm start

Before the policy is trained for the first time (see `warm_up`), the local controllers are sampled and take the place of
π̄.

The C-step with PI²
-------------------
The samples are draws of π̄, as far as the linearisation is right, so PI²'s update of π̄ is the step. With the cost-to-go
S_it of each sample, and a temperature η_t that meets the bound (`path_integral`):

    w_it ∝ exp(−S_it / η_t),   KL(w_t ‖ 1/N) = ε
    p_t = N(K_t x + k'_t, Σ'_t),   k'_t = Σ_i w_it (u_it − K_t x_it)
    Σ'_t = λ Σ̄_t + (1 − λ) Σ_i w_it e'_it e'_itᵀ,   e'_it = u_it − K_t x_it − k'_t,   and nowhere below a floor

The gains K_t are those of the linearised policy: PI² never changes gains, and the policy's own may change in each
iteration. k_t drops out of k'_t, because the weights sum to one. The residual of the linearisation,
r_it = μ(o_it) − K_t x_it − k_t, counts as if it had been noise: k'_t − k_t = Σ_i w_it (e_it + r_it).

What the S-step teaches
-----------------------
At each sampled observation o_it the action K_t x_it + k'_t, within the environment's limits, with the precision Σ'_t⁻¹:
the linearised policy's action, plus the same weighted noise for all samples of a step. The policy's covariance becomes
the inverse of the mean precision over conditions and steps, which is not above the mean of the Σ'_t. That lowers the
noise, and so do the weights where λ < 1; the residual of the linearisation raises it. The floor, relative to the first
controllers' noise, bounds it from below.

Off-policy
----------
Off-policy the local controllers are sampled, and the C-step is the optimiser's update of them: they learn as they would
without a policy, bit for bit, and the policy imitates what they have learned. Nothing draws them to it.

The step rule is the optimiser's own: it compares the change of the samples' mean cost that its weights (and PILQR's
model) predicted with the change that came. On-policy both are those of the policy.

On-policy, use white noise
--------------------------
With `controller.smoothing` the policy lost its feedback: on the nine-slot peg the gains were gone in six iterations.
Smooth noise has already moved the states when k'_t follows it. A policy without time as an input may take the action
for a function of the state, with the wrong sign, and PI² does not correct gains.
"""

import dataclasses
from typing import Any

import numpy as np

from gps.algorithms.guided.base import GuidedModel, GuidedState, MixedSampling, represent
from gps.algorithms.local.base import LocalOptimiser
from gps.algorithms.local.verdict import choose
from gps.players import Player
from gps.records import IterationRecord, Rollouts
from gps.sampling.policy import Policy


@dataclasses.dataclass(frozen=True, kw_only=True)
class PIGPS(MixedSampling[LocalOptimiser[Any], GuidedState]):
    """The algorithm. `local` may be any optimiser that learns from samples of the controllers in its state."""

    def improve(
        self, state: GuidedState, sampled: Policy, rollouts: Rollouts, model: GuidedModel
    ) -> tuple[GuidedState, IterationRecord]:
        """Take the C-step and the S-step. The record is the optimiser's, with the policy's side added."""
        before = state.local
        if sampled.player is Player.POLICY:  # the linearised policy stands for it, its noise included
            before = dataclasses.replace(before, controllers=model.linearised)
        controllers = represent(sampled, model)
        after, record = self.local.improve(before, controllers, rollouts, model.local)
        assert record.local is not None
        usable = np.array([status.improved for status in record.statuses])
        teachers = choose(usable, record.local.improved, state.local.controllers)  # the others are left as they were
        taught = self.teach(state, rollouts, model, teachers, usable)
        local = dataclasses.replace(record.local, improved=teachers)
        record = dataclasses.replace(record, player=sampled.player, local=local, policy=taught.record)
        after = dataclasses.replace(after, controllers=teachers)
        return GuidedState(after, taught.training, model.policy_prior), record
