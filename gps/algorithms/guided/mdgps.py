"""Mirror descent guided policy search (Montgomery & Levine 2016): one neural policy from many local controllers.

Each iteration, for M conditions:

    sample    the global policy π (on-policy) or the local controllers p (off-policy), with their noise
    fit       local dynamics and cost; π̄, the global policy linearised around the samples of each condition and step
    C-step    p ← argmin E_p[ℓ]  subject to  KL(p ‖ π̄) ≤ ε: trajectory optimisation's trust region, about π̄
    S-step    π ← argmin Σ_i KL(π(· | o_i) ‖ p(· | x_i)) over the samples: `gps.policies.supervised`, with a warm start

so that what a local controller learns is never farther from the policy than a step. Before the policy was trained for
the first time (see `warm_up`), the local controllers are sampled, also on-policy, and take the place of π̄.

One policy
----------
It is one policy for all conditions, and what it minimises is the sum of their costs. From the first lesson on they
have one temperature α, in units of the mean cost of a step of all, and from the policy's first training on one
multiplier of ε. With their own, those that fare badly fall silent: α follows the cost, and as it rises the precision of
what they teach falls; the multiplier falls with the cost, and what raised the cost may be the pull of the others on the
policy that they share. A policy that does not see what tells its teachers apart is then lost for these conditions.

The step rule
-------------
The multiplier of ε follows the predicted and the actual change of the cost. p_k is the local controller with which
iteration k begins (made by the C-step of iteration k − 1), π_k the global policy with which it begins (made by the
S-step of k − 1). Let L_k(q) be the expected cost of q under the local dynamics and the cost expansion of iteration k,
and J_k(q) the mean cost of the samples of iteration k if q is what was sampled, else L_k(q), with π_k linearised around
the samples. What iteration k − 1 predicted, and what iteration k finds:

              predicted                          actual
    classic   L_{k−1}(p_k) − L_{k−1}(p_{k−1})    J_k(p_k) − J_{k−1}(p_{k−1})
    global    L_{k−1}(p_k) − L_{k−1}(π_{k−1})    J_k(π_k) − J_{k−1}(π_{k−1})

and each is the sum over the conditions once the policy is trained. `classic` asks of the model alone whether it
predicted well what the local controllers do. `global` compares with what became of the global policy, so that a policy
that imitates badly shortens the next step as a bad model does. The rule of what is sampled (classic off-policy, global
on-policy) finds by samples, as trajectory optimisation does; the other by L_k. The paper takes L in all places. Where a
fitted closed loop is unstable, both terms of a prediction are absurd: it then promises far too much, and the step is
halved. With J in place of its second term it would promise harm, which tells nothing of the next step.
"""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float

from gps.algorithms.guided.base import Guided, GuidedModel, GuidedState, expected, global_policy
from gps.algorithms.local.base import Step, marginals, recorded
from gps.algorithms.local.step_size import adapted, adapted_together
from gps.algorithms.local.trajopt import Problem, temperature
from gps.records import IterationRecord, Rollouts, mean_of_whole
from gps.sampling import Policy


@dataclasses.dataclass(frozen=True, kw_only=True)
class MDGPS(Guided):
    """The algorithm. Of its state, `cost` is the J of what the step rule compares, and `predicted` the change of L.

    Args:
        sampling: whose rollouts are taken, the global policy's or the local controllers'.
        step_rule: see above; None takes that of what is sampled.
    """

    sampling: Literal["on_policy", "off_policy"] = "on_policy"
    step_rule: Literal["classic", "global"] | None = None

    def policy(self, state: GuidedState) -> Policy:
        """What is sampled: the global policy, if it is there and the sampling is on-policy, or the controllers."""
        return global_policy(state) if self._on_policy(state) else super().policy(state)

    def _on_policy(self, state: GuidedState) -> bool:
        return self.sampling == "on_policy" and state.trained

    def improve(
        self, state: GuidedState, rollouts: Rollouts, model: GuidedModel
    ) -> tuple[GuidedState, IterationRecord]:
        """The C-step, the S-step, and the record of the iteration. The docstring above says what is predicted."""
        local, around = model.local, model.linearised
        reference = self.reference(state, rollouts, model)
        step = self.rule(state, reference)
        alpha = self.alpha(local, rollouts)
        if state.iteration >= self.warm_up:
            alpha = np.full_like(alpha, temperature(self.entropy, local.sample_costs, rollouts.mask))
        problem = Problem(local, around, step.bound, alpha)
        new = self.solved(problem, state.eta)
        predicted = expected(local, new.controller) - self.compared(state, model)
        result = self.result(state, rollouts, problem, new, predicted)
        sampled = self._on_policy(state)
        taught = self.taught(state, rollouts, model, result, sampled=sampled)

        # What ran is, on-policy, the global policy, which the linearised one stands for.
        ran = dataclasses.replace(state, controllers=around if sampled else state.controllers)
        there = new.previous_marginals if sampled else marginals(local, state.controllers)
        record = recorded(ran, rollouts, step, local, there, result, taught.record)
        return self.next_state(state, rollouts, step, model, result, taught), record

    def reference(self, state: GuidedState, rollouts: Rollouts, model: GuidedModel) -> Float[np.ndarray, "M"]:
        """J_k(p_k) or J_k(π_k)."""
        sampled = "global" if self._on_policy(state) else "classic"
        if not state.trained or self.step_rule in (sampled, None):
            return mean_of_whole(model.local.sample_costs, rollouts.mask)
        return self.compared(state, model)

    def compared(self, state: GuidedState, model: GuidedModel) -> Float[np.ndarray, "M"]:
        """L_k(p_k) or L_k(π_k)."""
        ran = "global" if self._on_policy(state) else "classic"
        return expected(model.local, model.linearised if (self.step_rule or ran) == "global" else state.controllers)

    def rule(self, state: GuidedState, reference: Float[np.ndarray, "M"]) -> Step:
        """The bound on this iteration's update; `reference` is J_k(p_k) or J_k(π_k)."""
        actual = reference - state.cost
        rule = adapted_together if state.trained else adapted
        multiplier = rule(state.multiplier, state.predicted, actual, self.min_multiplier, self.max_multiplier)
        return Step(reference, actual, multiplier, self.kl_step * multiplier)
