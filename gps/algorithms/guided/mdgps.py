"""Mirror descent guided policy search (Montgomery & Levine 2016): one neural policy from many local controllers.

Each iteration, for M conditions:

    sample    the global policy π (on-policy) or the local controllers p (off-policy), with their noise
    fit       local dynamics and cost; π̄, the global policy linearised around the samples of each condition and step
    C-step    p ← argmin E_p[ℓ]  subject to  KL(p ‖ π̄) ≤ ε: trajectory optimisation's trust region, about π̄
    S-step    π ← argmin Σ_i KL(π(· | o_i) ‖ p(· | x_i)) over the samples: `gps.policies.supervised`, with a warm start

so that a local controller is never farther from the policy than a step. Before the policy is trained for the first time
(see `warm_up`), the local controllers are sampled, also on-policy, and take the place of π̄.

One policy
----------
All conditions share one policy, which minimises the sum of their costs. From the first lesson on they share one
temperature α, in units of their mean cost of a step, and from the policy's first training on one multiplier of ε. With
temperatures of their own, conditions that fare badly fall silent: α follows the cost, and as it rises, their lessons
lose precision. With multipliers of their own they stand still: a multiplier falls when the cost rises, and the cost may
have risen because the others pulled on the shared policy. A policy that cannot observe which condition it is in would
never recover in them.

The step rule
-------------
The multiplier of ε follows the predicted and the actual change of the cost. p_k is the local controller with which
iteration k begins (made by the C-step of iteration k − 1), π_k the global policy with which it begins (made by the
S-step of k − 1). Let L_k(q) be the cost of q where the local dynamics and the cost expansion of iteration k play its
samples again (`gps.algorithms.local.replay`), and J_k(q) the mean cost of the samples of iteration k if q is what was
sampled, else L_k(q), with π_k linearised around the samples. What iteration k − 1 predicted, and what iteration k
finds:

              predicted                          actual
    classic   L_{k−1}(p_k) − L_{k−1}(p_{k−1})    J_k(p_k) − J_{k−1}(p_{k−1})
    global    L_{k−1}(p_k) − L_{k−1}(π_{k−1})    J_k(π_k) − J_{k−1}(π_{k−1})

and each is the sum over the conditions once the policy is trained. `classic` tests how well the model predicted the
local controllers. `global` compares with the global policy, so that a policy that imitates badly shortens the next step
as a bad model does. The rule that fits the sampling (classic off-policy, global on-policy) takes its actual change from
samples, as trajectory optimisation does; the other rule from L_k. The paper takes L everywhere. Where a fitted closed
loop is unstable, both terms of a prediction are absurd: it then promises far too much, and the step is halved. With J
as the second term it would promise harm, which says nothing about the next step.
"""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float

from gps.algorithms.guided.base import GuidedModel, GuidedState, MixedSampling
from gps.algorithms.local.base import (
    StepSize,
    make_local_record,
    make_model_record,
    make_next_state,
    make_record,
    marginals,
)
from gps.algorithms.local.replay import Replay
from gps.algorithms.local.step_size import adapt_multiplier, adapt_shared_multiplier
from gps.algorithms.local.trajopt import TrajOpt, UpdateProblem, predict_cost, temperature
from gps.players import Player
from gps.records import IterationRecord, Rollouts, mean_of_whole
from gps.sampling.policy import Policy

StepRule = Literal["classic", "global"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MDGPS(MixedSampling[TrajOpt, GuidedState]):
    """The algorithm. In the local state, `cost` is the J that the step rule compares, and `predicted` the change of L.

    Args:
        step_rule: see above; None takes the rule that fits the sampling.
    """

    step_rule: StepRule | None = None

    def improve(
        self, state: GuidedState, sampled: Policy, rollouts: Rollouts, model: GuidedModel
    ) -> tuple[GuidedState, IterationRecord]:
        """Take the C-step and the S-step. The docstring of the module says what is predicted."""
        before, local, around = state.local, model.local, model.linearised
        on_policy = sampled.player is Player.POLICY
        fitting: StepRule = "global" if on_policy else "classic"
        replay = Replay.of(rollouts, sampled.covariance, self.local.problem.limits)
        step = self.step_size(state, self.reference(state, fitting, rollouts, model, replay))
        alpha = self.local.alpha(local, rollouts)
        if state.iteration >= self.warm_up:
            alpha = np.full_like(alpha, temperature(self.local.entropy, local.sample_costs, rollouts.mask))
        problem = UpdateProblem(local, around, step.bound, alpha)
        new = self.local.solve(problem, before.eta)
        predicted = predict_cost(replay, local, new.controller) - self.compared_cost(state, fitting, model, replay)
        replayed = predict_cost(replay, local, around if on_policy else before.controllers)
        result = self.local.judge(before, rollouts, problem, new, predicted, replayed)
        taught = self.teach(state, rollouts, model, result.controllers, result.usable)

        # On-policy, the linearised policy takes the place of the sampled one.
        ran = around if on_policy else before.controllers
        there = new.previous_marginals if on_policy else marginals(local.dynamics, before.controllers)
        side = make_local_record(before, ran, local.dynamics, there, step, result)
        global_model = make_model_record(local.prior)
        record = make_record(before, sampled, rollouts, local.sample_costs, result, side, taught.record, global_model)
        after = make_next_state(before, rollouts, step, result, prior=local.prior, reward=local.reward)
        return GuidedState(after, taught.training, model.policy_prior), record

    def reference(
        self, state: GuidedState, fitting: StepRule, rollouts: Rollouts, model: GuidedModel, replay: Replay
    ) -> Float[np.ndarray, "M"]:
        """J_k(p_k) or J_k(π_k); `fitting` is the rule that fits the sampling."""
        if not state.trained or self.step_rule in (fitting, None):
            return mean_of_whole(model.local.sample_costs, rollouts.counted)
        return self.compared_cost(state, fitting, model, replay)

    def compared_cost(
        self, state: GuidedState, fitting: StepRule, model: GuidedModel, replay: Replay
    ) -> Float[np.ndarray, "M"]:
        """L_k(p_k) or L_k(π_k)."""
        compared = model.linearised if (self.step_rule or fitting) == "global" else state.local.controllers
        return predict_cost(replay, model.local, compared)

    def step_size(self, state: GuidedState, reference: Float[np.ndarray, "M"]) -> StepSize:
        """The bound on this iteration's update; `reference` is J_k(p_k) or J_k(π_k)."""
        local, before = self.local, state.local
        actual = reference - before.cost
        adapt = adapt_shared_multiplier if state.trained else adapt_multiplier
        multiplier = adapt(before.multiplier, before.predicted, actual, local.min_multiplier, local.max_multiplier)
        return StepSize(reference, actual, multiplier, local.kl_step * multiplier)
