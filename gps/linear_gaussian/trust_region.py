"""One controller update inside a KL trust region.

For each condition, over linear-Gaussian controllers p:

    minimise    E_p[ Σ_t ℓ_t(x, u) ] − α Σ_t E[ H(p(· | x_t)) ]
    subject to  Σ_t E KL(p(· | x_t) ‖ p̄(· | x_t)) ≤ T·ε       ("total"), or
                     E KL(p(· | x_t) ‖ p̄(· | x_t)) ≤ ε  ∀ t   ("per_step").

Given the multiplier η ≥ 0 of the constraint, the Lagrangian is a maximum-entropy LQR problem with the cost ℓ − η log p̄
and the temperature α + η, which `riccati.backward` solves exactly (in deviations from p̄: see `deviations`). What
remains is the search for η: the dual is concave with slope KL(η) − bound, and KL falls as η grows (Levine & Abbeel
2014, sec. 3; Levine et al. 2015).

The search sees only `(log η, log KL/bound)`. How it moves is a `StepRule`; the loop is written once. A Quu that is not
positive definite at some η moves the lower end of the bracket up: it never changes η behind the search's back.
The controller returned is always the one that was evaluated at the η returned, and its KL is within the bound.
"""

import dataclasses
from functools import partial
from typing import Literal, NamedTuple, Protocol

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gps.backend import WHOLE_LOOPS, jax, jnp
from gps.linear_gaussian.deviations import from_deviations, in_deviations
from gps.linear_gaussian.kl import Reference, controller_kl
from gps.linear_gaussian.riccati import BackwardPass, backward, forward
from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics, Marginals
from gps.status import Status

LARGEST_SMALL = 40
"""Entries of z up to which each recursion is compiled into one kernel; larger matrices are a library's business."""

MAX_ETA = 1e100  # only a model that grows beyond all measure asks for more


class Point(NamedTuple):
    """One evaluation of the dual: where (`log_eta`, -inf is η = 0) and `excess` = log(KL / bound); NaN: infeasible.

    Both have the shape of the constraint: () for the total KL, (T,) per step.
    """

    log_eta: Float[Array, "..."]
    excess: Float[Array, "..."]


class Bracket(NamedTuple):
    """The nearest points known on either side of the root: excess is positive or NaN at `low`, negative at `high`."""

    low: Point
    high: Point

    @classmethod
    def unknown(cls, shape: tuple[int, ...]) -> "Bracket":
        return cls(Point(jnp.full(shape, -jnp.inf), jnp.full(shape, jnp.nan)),
                   Point(jnp.full(shape, jnp.inf), jnp.full(shape, jnp.nan)))  # fmt: skip

    def narrowed(self, point: Point) -> "Bracket":
        too_far = ~(point.excess <= 0)  # NaN counts as too far
        low = _choose(too_far & (point.log_eta >= self.low.log_eta), point, self.low)
        high = _choose(~too_far & (point.log_eta <= self.high.log_eta), point, self.high)
        return Bracket(low, high)


def _choose(condition, yes: Point, no: Point) -> Point:
    return Point(jnp.where(condition, yes.log_eta, no.log_eta), jnp.where(condition, yes.excess, no.excess))


class StepRule(Protocol):
    """How the search moves: the next log η, element by element, from the last two feasible points."""

    def start(self, shape: tuple[int, ...]): ...

    def propose(self, state, previous: Point, point: Point, bracket: Bracket): ...


def _flipped(previous: Point, point: Point):
    """Where the excess has changed its sign; nowhere before two points are known (NaN)."""
    return previous.excess * point.excess < 0


@dataclasses.dataclass(frozen=True)
class Secant:
    """Safeguarded secant on (log η, log KL): KL(η) is close to a power law, so a few evaluations are enough.

    With the bound per step, the KL of a step depends on the η of all the others: what was found while they moved is
    neither a bracket nor a slope to trust far. There the exponent stays within [1/2, 3], and an element that overshoots
    moves half as far, until it does so no more.
    """

    exponent: float = 0.7  # of the power law, until two points are known
    max_move: float = 7.0  # a factor of about 1000 in η

    def start(self, shape):
        return jnp.ones(shape)

    def propose(self, gain, previous, point, bracket):
        coupled = point.log_eta.ndim > 0
        low, high = bracket
        slope = (point.excess - previous.excess) / (point.log_eta - previous.log_eta)
        slope = jnp.where(slope < -1e-3, slope, -self.exponent)  # also where it is NaN
        if coupled:
            slope = jnp.clip(slope, -3.0, -0.5)
            gain = jnp.where(_flipped(previous, point), 0.5 * gain, jnp.minimum(1.2 * gain, 1.0))
        target = point.log_eta + jnp.clip(-gain * point.excess / slope, -self.max_move, self.max_move)
        if coupled:
            return gain, target
        inside = (target > low.log_eta) & (target < high.log_eta)
        # Outside a bracket with two good ends: the chord (regula falsi), else the middle.
        weight = jnp.clip(low.excess / (low.excess - high.excess), 0.1, 0.9)
        weight = jnp.where(jnp.isnan(weight), 0.5, weight)
        return gain, jnp.where(inside, target, low.log_eta + weight * (high.log_eta - low.log_eta))


@dataclasses.dataclass(frozen=True)
class DualGradient:
    """Dual gradient ascent on η, as in the lecture: η ← η + step · (KL(η) − bound).

    The step length halves where the slope changes its sign and grows by half where it does not; η changes by at most
    a factor of ten. The dual's scale is the cost's, unknown beforehand, so a fixed step length would not do.
    """

    step: float = 1.0  # first step length, relative to η / bound

    def start(self, shape):
        return jnp.full(shape, self.step)

    def propose(self, step, previous, point, bracket):
        step = jnp.where(_flipped(previous, point), 0.5, jnp.where(jnp.isnan(previous.excess), 1.0, 1.5)) * step
        slope = jnp.exp(jnp.minimum(point.excess, 50.0)) - 1.0  # (KL − bound) / bound
        return step, point.log_eta + jnp.log(jnp.clip(1.0 + step * slope, 0.1, 10.0))


STEP_RULES = {"secant": Secant(), "gradient": DualGradient()}


class Update(NamedTuple):
    """The result for each of M conditions. `eta` has shape (M,), or (M, T) with the bound per step.

    `trace_log_eta` and `trace_kl` hold the search, evaluation by evaluation (NaN after the last; a KL of NaN is an
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
        return [Status(int(code)) for code in np.asarray(self.status)]


class _Deviations(NamedTuple):
    """The problem in deviations from the previous controller, which is N(0, Σ̄) there: η weighs on them alone."""

    dynamics: LinearDynamics
    cost: CostExpansion
    reference: Reference

    @classmethod
    def of(cls, dynamics: LinearDynamics, cost: CostExpansion, previous: Controller) -> "_Deviations":
        return cls(*in_deviations(dynamics, cost, previous), Reference.of(previous).centred())

    def solve(self, eta: Float[Array, "T"], alpha) -> BackwardPass:
        """The maximum-entropy controller of the Lagrangian: cost ℓ − η log p̄ and temperature α + η."""
        dx = self.dynamics.offset.shape[-1]
        hessian = self.cost.hessian.at[:, dx:, dx:].add(eta[:, None, None] * self.reference.precision)
        return backward(self.dynamics, dataclasses.replace(self.cost, hessian=hessian), alpha + eta)


class _Candidate(NamedTuple):
    controller: Controller  # in deviations
    marginals: Marginals
    log_eta: Float[Array, "..."]
    kl: Float[Array, "T"]


class _Search(NamedTuple):
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
    """The update of one condition; `bound` is ε, `eta` the first η to try."""
    T = cost.gradient.shape[0]
    shape = () if constraint == "total" else (T,)
    problem = _Deviations.of(dynamics, cost, previous)
    # Aim a little below the bound: within the tolerance of the aim is then within the bound.
    aim = bound * (1.0 - tolerance) * (T if constraint == "total" else 1.0)
    # Below this η, the controller is that of η = 0 to many digits.
    floor = jnp.log(jnp.maximum(1e-6 * jnp.min(alpha), 1e-300))

    def evaluate(log_eta):
        result = problem.solve(jnp.broadcast_to(jnp.exp(log_eta), (T,)), alpha)
        marginals = forward(problem.dynamics, result.controller)
        kl = controller_kl(result.controller, result.logdet, problem.reference, marginals)
        return _Candidate(result.controller, marginals, log_eta, kl)

    def step(search: _Search) -> _Search:
        candidate = evaluate(search.next_log_eta)
        feasible = jnp.all(jnp.isfinite(candidate.kl))
        kl = jnp.sum(candidate.kl) if constraint == "total" else candidate.kl
        excess = jnp.where(feasible, jnp.log(jnp.maximum(kl, 1e-300) / aim), jnp.nan)
        tried = Point(search.next_log_eta, excess)
        bracket = search.bracket.narrowed(tried)
        within = jnp.all(excess <= jnp.log1p(tolerance))
        inactive = (excess <= 0) & (tried.log_eta <= floor)
        done = jnp.all((jnp.abs(excess) <= tolerance) | inactive)
        # Among the controllers within the bound, the one that uses most of it; at last the one that converged.
        better = within & (done | (jnp.sum(candidate.kl) >= jnp.sum(search.best.kl)))
        best = jax.tree.map(partial(jnp.where, better), candidate, search.best)

        # The rule knows feasible points alone. From an infeasible one, half the way back to the last of them.
        rule_state, onward = rule.propose(search.rule, search.point, tried, bracket)
        if constraint == "total":  # the root is inside the bracket, and what lies below an infeasible eta is so too
            low, high = bracket.low.log_eta, jnp.minimum(bracket.high.log_eta, jnp.log(MAX_ETA))
            outside = ((onward <= low) | (onward >= high)) & jnp.isfinite(low)
            onward = jnp.where(outside, 0.5 * (low + high), onward)
        known = search.point.log_eta
        back = jnp.where(jnp.isnan(known), tried.log_eta + jnp.log(10.0), 0.5 * (tried.log_eta + known))
        choose = partial(jnp.where, feasible)
        point, rule_state = jax.tree.map(choose, (tried, rule_state), (search.point, search.rule))
        proposal = choose(onward, back)
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
        alpha: entropy temperature α ≥ 0, in units of cost per nat: (M,), or (M, T) where each step has its own.
        eta: the first η to try: (M,), or (M, T) with the bound per step; that of the last update is a good one.
        constraint: bound the `"total"` KL by T·ε, or the KL of each step by ε.
        solver: `"secant"`, or `"gradient"` as in the lecture.
        tolerance: relative, on the KL. The KL returned never exceeds the bound.
        max_evaluations: of the dual; when they are spent, the best controller within the bound is returned (the
            previous one, if there is no other), with a status that says so.
    """
    small = cost.gradient.shape[-1] <= LARGEST_SMALL
    return (_update_small if small else _update_large)(
        dynamics, cost, previous, bound, alpha, eta,
        constraint=constraint, rule=STEP_RULES[solver], tolerance=tolerance, max_evaluations=max_evaluations,
    )  # fmt: skip


def _update_all(dynamics, cost, previous, bound, alpha, eta, **options) -> Update:
    # One condition after another: its arrays stay in the cache, and it stops when it is done. As a batch (`vmap`) each
    # would wait for the slowest, and above a few dozen entries of z the time per condition doubles.
    def one(of_one):
        return _update_one(*of_one, **options)

    return jax.lax.map(one, (dynamics, cost, previous, bound, alpha, eta))


_compiled = partial(jax.jit, static_argnames=("constraint", "rule", "tolerance", "max_evaluations"))
_update_small = _compiled(_update_all, compiler_options=WHOLE_LOOPS)
_update_large = _compiled(_update_all)


def first_indefinite(
    dynamics: LinearDynamics, cost: CostExpansion, previous: Controller, alpha: Float[Array, "..."], eta: float
) -> tuple[int, float] | None:
    """Where the backward pass of one condition meets a Quu that is not positive definite: (t, smallest eigenvalue).

    None if it does not. This is what the sentence of a failed search names.
    """
    T = cost.gradient.shape[0]
    result = jax.jit(lambda *problem: _Deviations.of(*problem).solve(jnp.full(T, eta), alpha))(dynamics, cost, previous)
    bad = np.flatnonzero(~np.isfinite(np.asarray(result.logdet)))
    if bad.size == 0:
        return None
    t = int(bad[-1])  # the recursion runs backwards
    return t, float(np.linalg.eigvalsh(np.asarray(result.quu)[t])[0])
