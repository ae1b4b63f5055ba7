"""One controller update inside a KL trust region.

For each condition, over linear-Gaussian controllers p:

    minimise    E_p[ Σ_t ℓ_t(x, u) ] − α Σ_t E[ H(p(· | x_t)) ]
    subject to  Σ_t E KL(p(· | x_t) ‖ p̄(· | x_t)) ≤ T·ε       ("total"), or
                     E KL(p(· | x_t) ‖ p̄(· | x_t)) ≤ ε  ∀ t   ("per_step").

Given the multiplier η ≥ 0 of the constraint, the Lagrangian is a maximum-entropy LQR problem with the cost ℓ − η log p̄
and the temperature α + η, which `riccati.backward` solves exactly (in deviations from p̄: see `deviations`). This
leaves a search for η: the dual is concave with slope KL(η) − bound, and KL falls as η grows (Levine & Abbeel 2014,
sec. 3; Levine et al. 2015).

The search sees only `(log η, log KL/bound)`. A `StepRule` decides how it moves; the loop is the same for all rules. A
Quu that is not positive definite at some η raises the lower end of the bracket; it changes η in no other way. The
returned controller is the one evaluated at the returned η, and its KL is within the bound.
"""

import dataclasses
from functools import partial
from typing import Literal, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from gps.backend import WHOLE_LOOPS, Array, jax, jnp
from gps.linear_gaussian.deviations import from_deviations, to_deviations
from gps.linear_gaussian.kl import Reference, controller_kl
from gps.linear_gaussian.riccati import BackwardPass, backward, forward
from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics, Marginals
from gps.status import Status

LARGEST_SMALL = 40
"""Largest z for which each recursion is compiled into one kernel; larger matrix products are left to a library."""

MAX_ETA = 1e100  # only a model that diverges needs more


class Point(NamedTuple):
    """One evaluation of the dual: `log_eta` (-inf for η = 0) and `excess` = log(KL / bound), NaN if infeasible.

    Both have the shape of the constraint: () for the total KL, (T,) per step.
    """

    log_eta: Float[Array, "..."]
    excess: Float[Array, "..."]


class Bracket(NamedTuple):
    """The nearest known points on either side of the root: excess is positive or NaN at `low`, negative at `high`."""

    low: Point
    high: Point

    @classmethod
    def unknown(cls, shape: tuple[int, ...]) -> "Bracket":
        """The bracket before any point is known."""
        return cls(Point(jnp.full(shape, -jnp.inf), jnp.full(shape, jnp.nan)),
                   Point(jnp.full(shape, jnp.inf), jnp.full(shape, jnp.nan)))  # fmt: skip

    def narrow(self, point: Point) -> "Bracket":
        """Return the bracket with `point` as one of its ends, if it is nearer to the root."""
        too_far = ~(point.excess <= 0)  # NaN counts as too far
        low = _choose(too_far & (point.log_eta >= self.low.log_eta), point, self.low)
        high = _choose(~too_far & (point.log_eta <= self.high.log_eta), point, self.high)
        return Bracket(low, high)


def _choose(condition, yes: Point, no: Point) -> Point:
    return Point(jnp.where(condition, yes.log_eta, no.log_eta), jnp.where(condition, yes.excess, no.excess))


class StepRule(Protocol):
    """How the search moves: the next log η, element by element, from the last two feasible points."""

    def start(self, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Return the rule's state before the first evaluation; `shape` is that of η."""

    def propose(
        self, state: Float[Array, "..."], previous: Point, point: Point, bracket: Bracket
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Return the rule's new state and the next log η.

        Args:
            state: the rule's state after the last feasible point.
            previous: the feasible point before `point`; NaN if there is none.
            point: the newest evaluation. If it is infeasible, the proposal is discarded.
            bracket: already narrowed to `point`.
        """


def _has_flipped(previous: Point, point: Point) -> Bool[Array, "..."]:
    """True where the excess has changed its sign; False while fewer than two points are known (NaN)."""
    return previous.excess * point.excess < 0


@dataclasses.dataclass(frozen=True)
class Secant:
    """Safeguarded secant on (log η, log KL): KL(η) is close to a power law, so a few evaluations are enough.

    With the bound per step, the KL of a step depends on the η of all steps, so points found while the others moved give
    neither a safe bracket nor an exact slope. There the exponent stays within [1/2, 3], and an element halves its moves
    while it overshoots.
    """

    exponent: float = 0.7  # of the power law, used until two points are known
    max_move: float = 7.0  # a factor of about 1000 in η

    def start(self, shape):
        return jnp.ones(shape)

    def propose(self, gain, previous, point, bracket):
        coupled = point.log_eta.ndim > 0
        low, high = bracket
        slope = (point.excess - previous.excess) / (point.log_eta - previous.log_eta)
        slope = jnp.where(slope < -1e-3, slope, -self.exponent)  # also if it is NaN
        if coupled:
            slope = jnp.clip(slope, -3.0, -0.5)
            gain = jnp.where(_has_flipped(previous, point), 0.5 * gain, jnp.minimum(1.2 * gain, 1.0))
        target = point.log_eta + jnp.clip(-gain * point.excess / slope, -self.max_move, self.max_move)
        if coupled:
            return gain, target
        inside = (target > low.log_eta) & (target < high.log_eta)
        # Outside the bracket: the chord between two feasible ends (regula falsi), otherwise the middle.
        weight = jnp.clip(low.excess / (low.excess - high.excess), 0.1, 0.9)
        weight = jnp.where(jnp.isnan(weight), 0.5, weight)
        return gain, jnp.where(inside, target, low.log_eta + weight * (high.log_eta - low.log_eta))


@dataclasses.dataclass(frozen=True)
class DualGradient:
    """Dual gradient ascent on η: η ← η + step · (KL(η) − bound).

    As in Sergey Levine, CS 294-112 Deep Reinforcement Learning (Fall 2017), lecture 11, "Model-Based Planning and
    Control", http://rail.eecs.berkeley.edu/deeprlcourse-fa17/. The step length halves when the slope changes its sign
    and grows by half otherwise; η changes by at most a factor of ten. A fixed step length would not work, because the
    dual has the scale of the cost, which is not known in advance.
    """

    step: float = 1.0  # first step length, relative to η / bound

    def start(self, shape):
        return jnp.full(shape, self.step)

    def propose(self, step, previous, point, bracket):
        step = jnp.where(_has_flipped(previous, point), 0.5, jnp.where(jnp.isnan(previous.excess), 1.0, 1.5)) * step
        slope = jnp.exp(jnp.minimum(point.excess, 50.0)) - 1.0  # (KL − bound) / bound
        return step, point.log_eta + jnp.log(jnp.clip(1.0 + step * slope, 0.1, 10.0))


STEP_RULES = {"secant": Secant(), "gradient": DualGradient()}


class Constraint(Protocol):
    """The quantity that the trust region bounds."""

    def shape(self, T: int) -> tuple[int, ...]:
        """Return the shape of η."""

    def limit(self, per_step: Float[Array, ""], T: int) -> Float[Array, ""]:
        """Return the bound on `measure` that follows from a bound of `per_step` nats per time step."""

    def measure(self, kl: Float[Array, "T"]) -> Float[Array, "..."]:
        """Return the bounded quantity, of the shape of η, from the KL divergence of each step."""

    def keep_inside(self, log_eta: Float[Array, "..."], bracket: Bracket) -> Float[Array, "..."]:
        """Return the rule's proposal, moved into the bracket if the bracket can be trusted."""


class Total:
    """The KL of the whole trajectory is at most T·ε, with one η."""

    def shape(self, T):
        return ()

    def limit(self, per_step, T):
        return per_step * T

    def measure(self, kl):
        return jnp.sum(kl)

    def keep_inside(self, log_eta, bracket):
        # The root is inside the bracket, and every eta below an infeasible one is infeasible.
        low, high = bracket.low.log_eta, jnp.minimum(bracket.high.log_eta, jnp.log(MAX_ETA))
        outside = ((log_eta <= low) | (log_eta >= high)) & jnp.isfinite(low)
        return jnp.where(outside, 0.5 * (low + high), log_eta)


class PerStep:
    """The KL of each time step is at most ε, with one η per step. They are coupled, so no bracket holds."""

    def shape(self, T):
        return (T,)

    def limit(self, per_step, T):
        return per_step

    def measure(self, kl):
        return kl

    def keep_inside(self, log_eta, bracket):
        return log_eta


CONSTRAINTS: dict[str, Constraint] = {"total": Total(), "per_step": PerStep()}


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


class _Candidate(NamedTuple):
    """A controller, the η it was found at, and its KL divergence."""

    controller: Controller  # in deviations
    marginals: Marginals
    log_eta: Float[Array, "..."]
    kl: Float[Array, "T"]


class _Search(NamedTuple):
    """The state of the search for η."""

    point: Point  # the last feasible one
    bracket: Bracket
    next_log_eta: Float[Array, "..."]
    rule: tuple
    best: _Candidate
    evaluations: Int[Array, ""]
    done: Bool[Array, ""]
    inactive: Bool[Array, ""]
    trace: tuple[Float[Array, "evaluations"], Float[Array, "evaluations"]]


def _update_one(dynamics, cost, previous, bound, alpha, eta, *, constraint, rule, tolerance, max_evaluations):
    """Update the controller of one condition; `bound` is ε, `eta` the first η to try."""
    T = cost.gradient.shape[0]
    shape = constraint.shape(T)
    problem = _Deviations.of(dynamics, cost, previous)
    # Aim a little below the bound, so that a KL within the tolerance of the aim is within the bound.
    aim = constraint.limit(bound * (1.0 - tolerance), T)
    # Below this η, the controller equals that of η = 0 to many digits.
    floor = jnp.log(jnp.maximum(1e-6 * jnp.min(alpha), 1e-300))

    def evaluate(log_eta):
        result = problem.solve(jnp.broadcast_to(jnp.exp(log_eta), (T,)), alpha)
        marginals = forward(problem.dynamics, result.controller)
        kl = controller_kl(result.controller, result.logdet, problem.reference, marginals)
        return _Candidate(result.controller, marginals, log_eta, kl)

    def step(search: _Search) -> _Search:
        candidate = evaluate(search.next_log_eta)
        feasible = jnp.all(jnp.isfinite(candidate.kl))
        kl = constraint.measure(candidate.kl)
        excess = jnp.where(feasible, jnp.log(jnp.maximum(kl, 1e-300) / aim), jnp.nan)
        tried = Point(search.next_log_eta, excess)
        bracket = search.bracket.narrow(tried)
        within = jnp.all(excess <= jnp.log1p(tolerance))
        inactive = (excess <= 0) & (tried.log_eta <= floor)
        done = jnp.all((jnp.abs(excess) <= tolerance) | inactive)
        # Of the controllers within the bound, keep the one that uses most of it; finally the one that converged.
        better = within & (done | (jnp.sum(candidate.kl) >= jnp.sum(search.best.kl)))
        best = jax.tree.map(partial(jnp.where, better), candidate, search.best)

        # The rule sees only feasible points. From an infeasible one, go half the way back to the last feasible one.
        rule_state, onward = rule.propose(search.rule, search.point, tried, bracket)
        onward = constraint.keep_inside(onward, bracket)
        known = search.point.log_eta
        back = jnp.where(jnp.isnan(known), tried.log_eta + jnp.log(10.0), 0.5 * (tried.log_eta + known))
        choose = partial(jnp.where, feasible)
        point, rule_state = jax.tree.map(choose, (tried, rule_state), (search.point, search.rule))
        proposal: Array = choose(onward, back)
        proposal = jnp.minimum(jnp.where(proposal < floor, -jnp.inf, proposal), jnp.log(MAX_ETA))

        worst = jnp.argmax(jnp.abs(jnp.where(inactive, 0.0, excess)))
        trace = tuple(
            row.at[search.evaluations].set(jnp.ravel(value)[worst])
            for row, value in zip(search.trace, (tried.log_eta, jnp.where(feasible, kl, jnp.nan)), strict=True)
        )
        evaluations = search.evaluations + 1
        return _Search(point, bracket, proposal, rule_state, best, evaluations, done, jnp.all(inactive), trace)

    nothing = Point(jnp.full(shape, jnp.nan), jnp.full(shape, jnp.nan))
    stay = Controller(*map(jnp.zeros_like, (previous.feedback, previous.feedforward)), previous.covariance)
    keep = _Candidate(stay, forward(problem.dynamics, stay), jnp.full(shape, jnp.inf), jnp.zeros(T))
    empty = jnp.full(max_evaluations, jnp.nan)
    no = jnp.zeros((), bool)
    start = _Search(
        point=nothing,
        bracket=Bracket.unknown(shape),
        next_log_eta=jnp.broadcast_to(jnp.maximum(jnp.log(eta), floor), shape),
        rule=rule.start(shape),
        best=keep,
        evaluations=jnp.zeros((), int),
        done=no,
        inactive=no,
        trace=(empty, empty),
    )
    search = jax.lax.while_loop(lambda s: ~s.done & (s.evaluations < max_evaluations), step, start)
    found = jnp.all(jnp.isfinite(search.best.log_eta) | (search.best.log_eta == -jnp.inf))
    status = jnp.select(
        [search.done & search.inactive, search.done, found],
        [int(Status.BOUND_INACTIVE), int(Status.OK), int(Status.SEARCH_EXHAUSTED)],
        int(Status.NO_FEASIBLE_ETA),
    )
    best = search.best
    return Update(
        from_deviations(best.controller, previous), best.marginals, keep.marginals, jnp.exp(best.log_eta), best.kl,
        search.evaluations, status, *search.trace,
    )  # fmt: skip


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
