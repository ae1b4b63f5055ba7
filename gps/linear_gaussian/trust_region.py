"""One controller update inside a KL trust region.

For each condition, over linear-Gaussian controllers p:

    minimise    E_p[ Σ_t ℓ_t(x, u) ] − α Σ_t E[ H(p(· | x_t)) ]
    subject to  Σ_t E KL(p(· | x_t) ‖ p̄(· | x_t)) ≤ T·ε       ("total"), or
                     E KL(p(· | x_t) ‖ p̄(· | x_t)) ≤ ε  ∀ t   ("per_step").

Given the multiplier η ≥ 0 of the constraint, the Lagrangian is a maximum-entropy LQR problem with the cost ℓ − η log p̄
and the temperature α + η, which `riccati.backward` solves exactly (in deviations from p̄: see `deviations`). This
leaves a search for η: the dual is concave with slope KL(η) − bound, and KL falls as η grows (Levine & Abbeel 2014,
sec. 3; Levine et al. 2015).

`dual_search` is that search. The returned controller is the one evaluated at the returned η, and its KL is within the
bound. Per step, where the search finds no η for all steps at once, a common factor on all of them meets every bound.
"""

import dataclasses
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gps.backend import WHOLE_LOOPS, Array, jax, jnp
from gps.linear_gaussian.deviations import from_deviations, to_deviations
from gps.linear_gaussian.dual_search import CONSTRAINTS, STEP_RULES, Candidate, DualSearch, Largest, SearchState, Trace
from gps.linear_gaussian.kl import Reference, controller_kl
from gps.linear_gaussian.riccati import BackwardPass, backward, forward
from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics, Marginals
from gps.status import Status

LARGEST_SMALL = 40
"""Largest z for which each recursion is compiled into one kernel; larger matrix products are left to a library."""


class Update(NamedTuple):
    """The result for each of M conditions. `eta` has shape (M,), or (M, T) with the bound per step.

    `trace_log_eta` and `trace_kl` record the search, evaluation by evaluation (NaN after the last; a KL of NaN means an
    infeasible η). With the bound per step they show the step that was farthest from its bound.
    """

    controller: Controller
    marginals: Marginals  # of the state, under `controller`
    previous_marginals: Marginals  # under the controller p̄, in the same dynamics
    eta: Float[Array, "M ..."]
    kl: Float[Array, "M T"]
    evaluations: Int[Array, "M"]
    status: Int[Array, "M"]  # of Status
    trace_log_eta: Float[Array, "M evaluations"]
    trace_kl: Float[Array, "M evaluations"]

    @property
    def statuses(self) -> list[Status]:
        """The status of each condition."""
        return [Status(int(code)) for code in np.asarray(self.status)]


class _Deviations(NamedTuple):
    """The problem in deviations from the previous controller, which is N(0, Σ̄) there: η weighs only deviations."""

    dynamics: LinearDynamics
    cost: CostExpansion
    reference: Reference

    @classmethod
    def of(cls, dynamics: LinearDynamics, cost: CostExpansion, previous: Controller) -> "_Deviations":
        return cls(*to_deviations(dynamics, cost, previous), Reference.of(previous).in_deviations())

    def solve(self, eta: Float[Array, "T"], alpha) -> BackwardPass:
        """Return the maximum-entropy controller of the Lagrangian: cost ℓ − η log p̄ and temperature α + η."""
        dx = self.dynamics.offset.shape[-1]
        hessian = self.cost.hessian.at[:, dx:, dx:].add(eta[:, None, None] * self.reference.precision)
        return backward(self.dynamics, dataclasses.replace(self.cost, hessian=hessian), alpha + eta)

    def evaluate(self, log_eta: Float[Array, "..."], alpha, previous: Controller) -> Candidate:
        """Return the controller of an η, in actions, and its KL from `previous`."""
        result = self.solve(jnp.broadcast_to(jnp.exp(log_eta), self.cost.gradient.shape[:1]), alpha)
        # The KL is that of the rounded sum, which is returned: a model that explodes magnifies its last digits.
        new = from_deviations(result.controller, previous)
        dK, dk = new.feedback - previous.feedback, new.feedforward - previous.feedforward
        rounded = Controller(dK, dk, new.covariance)
        marginals = forward(self.dynamics, rounded)
        return Candidate(new, marginals, log_eta, controller_kl(rounded, result.logdet, self.reference, marginals))

    def keep(self, previous: Controller, shape: tuple[int, ...]) -> Candidate:
        """Return the previous controller, at η = ∞."""
        K, k = previous.feedback, previous.feedforward
        stay = Controller(jnp.zeros_like(K), jnp.zeros_like(k), previous.covariance)
        kl = jnp.zeros(self.cost.gradient.shape[:1])
        return Candidate(previous, forward(self.dynamics, stay), jnp.full(shape, jnp.inf), kl)


def _update_one(dynamics, cost, previous, bound, alpha, eta, *, constraint, rule, tolerance, max_evaluations):
    """Update the controller of one condition; `bound` is ε, `eta` the first η to try."""
    T = cost.gradient.shape[0]
    shape = constraint.shape(T)
    problem = _Deviations.of(dynamics, cost, previous)
    keep = problem.keep(previous, shape)
    search = DualSearch(
        evaluate=lambda log_eta: problem.evaluate(log_eta, alpha, previous),
        constraint=constraint,
        rule=rule,
        limit=constraint.limit(bound, T),
        # Below this η, the controller equals that of η = 0 to many digits.
        floor=jnp.log(jnp.maximum(1e-6 * jnp.min(alpha), 1e-300)),
        tolerance=tolerance,
    )
    empty = jnp.full(max_evaluations, jnp.nan)
    spare = max_evaluations // 6 if shape else 0
    first = jnp.broadcast_to(jnp.log(eta), shape)
    found = search.run(first, keep, Trace(empty, empty), most=max_evaluations, spare=spare)
    end = _scale_all(search, found, max_evaluations) if shape else found
    status = jnp.select(
        [found.done & found.inactive, found.done, found.feasible | end.feasible],
        [int(Status.BOUND_INACTIVE), int(Status.OK), int(Status.SEARCH_EXHAUSTED)],
        int(Status.NO_FEASIBLE_ETA),
    )
    best = end.best
    return Update(
        best.controller, best.marginals, keep.marginals, jnp.exp(best.log_eta), best.kl, end.evaluations, status,
        *end.trace,
    )  # fmt: skip


def _scale_all(search: DualSearch, found: SearchState, max_evaluations: int) -> SearchState:
    """Where the η of the steps were not `found`, search for a common factor on them that meets all the bounds.

    There is always one, as every KL falls to zero when all η grow.
    """
    known, log_eta = found.point, jnp.where(found.feasible, found.point.log_eta, found.next_log_eta)
    worst = jnp.argmax(known.excess)
    scaled = dataclasses.replace(
        search,
        evaluate=lambda of_worst: search.evaluate(log_eta + (of_worst - log_eta[worst])),
        constraint=Largest(),
        rule=STEP_RULES["secant"],
        floor=-jnp.inf,
    )
    start = log_eta[worst] + jnp.nan_to_num(known.excess[worst])
    most = jnp.where(found.done, found.evaluations, max_evaluations)
    return scaled.run(start, found.best, found.trace, spent=found.evaluations, most=most)


def update(
    dynamics: LinearDynamics,
    cost: CostExpansion,
    previous: Controller,
    bound: Float[Array, "M"],
    alpha: Float[Array, "M ..."],
    eta: Float[Array, "M ..."],
    *,
    constraint: Literal["total", "per_step"] = "total",
    solver: str = "secant",
    tolerance: float = 1e-3,
    max_evaluations: int = 50,
) -> Update:
    """Improve M controllers at once, each inside its own trust region.

    Args:
        dynamics, cost, previous: batches of M: local dynamics, cost expansions, the controllers p̄ to stay close to.
        bound: ε, nats per time step, for each condition.
        alpha: entropy temperature α ≥ 0, in units of cost per nat: (M,), or (M, T) for one per step.
        eta: the first η to try: (M,), or (M, T) with the bound per step. The last update's η is a good choice.
        constraint: bound the `"total"` KL by T·ε, or the KL of each step by ε.
        solver: the name of a step rule: `"secant"` (`Secant`) or `"gradient"` (`DualGradient`).
        tolerance: relative, on the KL. The returned KL never exceeds the bound.
        max_evaluations: limit on evaluations of the dual. After it, the result is the best controller within the bound
            (the previous one, if there is no other) and a status that says so.
    """
    small = cost.gradient.shape[-1] <= LARGEST_SMALL
    return (_update_small if small else _update_large)(
        dynamics, cost, previous, bound, alpha, eta,
        constraint=CONSTRAINTS[constraint], rule=STEP_RULES[solver],
        tolerance=tolerance, max_evaluations=max_evaluations,
    )  # fmt: skip


def _update_all(dynamics, cost, previous, bound, alpha, eta, **options) -> Update:
    # One condition after another: its arrays stay in the cache, and its search stops when it is done. In a batch
    # (`vmap`) each would wait for the slowest, and above a few dozen entries of z the time per condition doubles.
    def one(of_one):
        return _update_one(*of_one, **options)

    return jax.lax.map(one, (dynamics, cost, previous, bound, alpha, eta))


_compiled = partial(jax.jit, static_argnames=("constraint", "rule", "tolerance", "max_evaluations"))
_update_small = _compiled(_update_all, compiler_options=WHOLE_LOOPS)
_update_large = _compiled(_update_all)


def find_indefinite(
    dynamics: LinearDynamics, cost: CostExpansion, previous: Controller, alpha: Float[Array, "..."], eta: float
) -> tuple[int, float] | None:
    """Find the step at which the backward pass of one condition meets a Quu that is not positive definite.

    Returns (t, smallest eigenvalue of Quu), or None if there is no such step. A failed search reports both.
    """
    T = cost.gradient.shape[0]
    result = jax.jit(lambda *problem: _Deviations.of(*problem).solve(jnp.full(T, eta), alpha))(dynamics, cost, previous)
    bad = np.flatnonzero(~np.isfinite(np.asarray(result.logdet)))
    if bad.size == 0:
        return None
    t = int(bad[-1])  # the recursion runs backwards
    return t, float(np.linalg.eigvalsh(np.asarray(result.quu)[t])[0])
