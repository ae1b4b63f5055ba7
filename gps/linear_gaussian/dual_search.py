"""The search for the multiplier η of a trust region.

The search sees only `(log η, log KL/bound)`. A `StepRule` decides how it moves, a `Constraint` says what is bounded,
and the loop is the same for all. An infeasible η (a Quu that is not positive definite) raises the lower end of the
bracket; it changes η in no other way.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

from jaxtyping import Bool, Float, Int

from gps.backend import Array, jax, jnp
from gps.linear_gaussian.types import Controller, Marginals

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
    neither a safe bracket nor an exact slope. There the exponent stays within [1/2, 3], [1/5, 3] once all KL are near
    their bounds, and an element halves its moves while it overshoots.
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
            near = jnp.max(point.excess) < 1
            slope = jnp.clip(slope, -3.0, jnp.where(near, -0.2, -0.5))
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


STEP_RULES: dict[str, StepRule] = {"secant": Secant(), "gradient": DualGradient()}


class Constraint(Protocol):
    """The quantity that the trust region bounds."""

    def shape(self, T: int) -> tuple[int, ...]:
        """Return the shape of η."""

    def limit(self, per_step: Float[Array, ""], T: int) -> Float[Array, ""]:
        """Return the bound on `measure` that follows from a bound of `per_step` nats per time step."""

    def measure(self, kl: Float[Array, "T"]) -> Float[Array, "..."]:
        """Return the bounded quantity, of the shape of η, from the KL divergence of each step."""

    def correct(
        self, log_eta: Float[Array, "..."], previous: Point, point: Point, bracket: Bracket, floor: Float[Array, ""]
    ) -> Float[Array, "..."]:
        """Return the rule's proposal, corrected by what is known of this constraint; `floor` is the lowest log η."""


def _drop_slack(log_eta, previous: Point, point: Point, floor):
    """Send an η to the floor that a straight line through two points would leave within the bound there.

    log KL flattens as η falls, so the line is above it.
    """
    slope = (point.excess - previous.excess) / (point.log_eta - previous.log_eta)
    slack = point.excess + jnp.abs(slope) * (point.log_eta - floor) < 0
    return jnp.where(slack, floor, log_eta)


class Total:
    """The KL of the whole trajectory is at most T·ε, with one η."""

    def shape(self, T):
        return ()

    def limit(self, per_step, T):
        return per_step * T

    def measure(self, kl):
        return jnp.sum(kl)

    def correct(self, log_eta, previous, point, bracket, floor):
        # The root is inside the bracket, and every eta below an infeasible one is infeasible.
        log_eta = _drop_slack(log_eta, previous, point, floor)
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

    def correct(self, log_eta, previous, point, bracket, floor):
        return _drop_slack(log_eta, previous, point, floor)


class Largest(Total):
    """The largest KL of a step is bounded, with one factor on the η of all steps."""

    def measure(self, kl):
        return jnp.max(kl)


CONSTRAINTS: dict[str, Constraint] = {"total": Total(), "per_step": PerStep()}


class Candidate(NamedTuple):
    """A controller, the η it was found at, and its KL divergence."""

    controller: Controller
    marginals: Marginals
    log_eta: Float[Array, "..."]
    kl: Float[Array, "T"]


class Trace(NamedTuple):
    """The evaluations in their order: log η and KL, with the bound per step those of the step farthest from it."""

    log_eta: Float[Array, "evaluations"]
    kl: Float[Array, "evaluations"]


class SearchState(NamedTuple):
    """The state of the search for η."""

    point: Point  # the last feasible one; NaN while there is none
    bracket: Bracket
    next_log_eta: Float[Array, "..."]
    rule: Float[Array, "..."]
    best: Candidate  # the best one within the bound
    evaluations: Int[Array, ""]
    done: Bool[Array, ""]
    inactive: Bool[Array, ""]
    trace: Trace

    @property
    def feasible(self) -> Bool[Array, ""]:
        """True if an η was feasible."""
        return jnp.any(~jnp.isnan(self.point.excess))


@dataclasses.dataclass(frozen=True)
class DualSearch:
    """Search for the η at which a controller uses its bound, or for η = 0 if that is within the bound.

    Args:
        evaluate: returns the candidate of a log η; its KL is not finite if η is infeasible. −inf stands for η = 0.
        constraint, rule: what is bounded, and how the search moves.
        limit: the bound on `constraint.measure`.
        floor: at this log η and below it, η is 0.
        tolerance: relative, on the KL: it ends between limit · exp(−2 · tolerance) and the limit itself.
    """

    evaluate: Callable[[Float[Array, "..."]], Candidate]
    constraint: Constraint
    rule: StepRule
    limit: Float[Array, ""]
    floor: Float[Array, ""]
    tolerance: float

    def run(
        self, log_eta: Float[Array, "..."], best: Candidate, trace: Trace, spent=0, most=None, spare=0
    ) -> SearchState:
        """Search from `log_eta`.

        Args:
            best: the candidate to return if none is better.
            trace: of earlier searches; it has room for all evaluations.
            spent, most: evaluations before this search, and after it at most.
            spare: evaluations that it leaves to another search if it has found nothing within the bound.
        """
        unknown, no = jnp.full(log_eta.shape, jnp.nan), jnp.zeros((), bool)
        start = SearchState(
            point=Point(unknown, unknown),
            bracket=Bracket.unknown(log_eta.shape),
            next_log_eta=jnp.maximum(log_eta, self.floor),
            rule=self.rule.start(log_eta.shape),
            best=best,
            evaluations=jnp.asarray(spent),
            done=no,
            inactive=no,
            trace=trace,
        )

        def goes_on(search: SearchState):
            left = most - search.evaluations - jnp.where(jnp.any(search.best.kl > 0), 0, spare)
            return ~search.done & (left > 0)

        return jax.lax.while_loop(goes_on, self._step, start)

    def _step(self, search: SearchState) -> SearchState:
        at_floor = search.next_log_eta <= self.floor
        candidate = self.evaluate(jnp.where(at_floor, -jnp.inf, search.next_log_eta))
        feasible = jnp.all(jnp.isfinite(candidate.kl))
        kl = self.constraint.measure(candidate.kl)
        # Aim a little below the bound, so that a KL within the tolerance of the aim is within the bound.
        excess = jnp.log(jnp.maximum(kl, 1e-300) / self.limit) + self.tolerance
        point = Point(search.next_log_eta, jnp.where(feasible, excess, jnp.nan))
        within = feasible & jnp.all(kl <= self.limit)
        inactive = (point.excess <= 0) & at_floor
        done = within & jnp.all((point.excess >= -self.tolerance) | inactive)
        # Of the controllers within the bound, keep the one that uses most of it; finally the one that converged.
        better = within & (done | (jnp.sum(candidate.kl) >= jnp.sum(search.best.kl)))

        worst = jnp.argmax(jnp.abs(jnp.where(inactive, 0.0, point.excess)))
        shown = point.log_eta, jnp.where(feasible, kl, jnp.nan)
        rows = zip(search.trace, shown, strict=True)
        trace = Trace(*(row.at[search.evaluations].set(jnp.ravel(value)[worst]) for row, value in rows))
        bracket = search.bracket.narrow(point)
        following, rule, next_log_eta = self._move(search, point, bracket, feasible)
        return SearchState(
            point=following,
            bracket=bracket,
            next_log_eta=jnp.clip(next_log_eta, self.floor, jnp.log(MAX_ETA)),
            rule=rule,
            best=jax.tree.map(partial(jnp.where, better), candidate, search.best),
            evaluations=search.evaluations + 1,
            done=done,
            inactive=jnp.all(inactive),
            trace=trace,
        )

    def _move(self, search: SearchState, tried: Point, bracket: Bracket, feasible: Bool[Array, ""]):
        """Return the last feasible point, the rule's state and the next log η.

        The rule sees only feasible points. From an infeasible one, go half the way back to the last feasible one.
        """
        rule, onward = self.rule.propose(search.rule, search.point, tried, bracket)
        onward = self.constraint.correct(onward, search.point, tried, bracket, self.floor)
        known = search.point.log_eta
        back = jnp.where(jnp.isnan(known), tried.log_eta + jnp.log(10.0), 0.5 * (tried.log_eta + known))
        return jax.tree.map(partial(jnp.where, feasible), (tried, rule, onward), (search.point, search.rule, back))
