"""The typed forms of the page's data: facts and pieces of a run, and the arrays of one iteration.

The page receives them as JSON objects whose keys are the names of the fields; see `gps.inspect.report.page.to_json`.
Lists named after a quantity have an entry for each condition; None stands for a number that is not finite.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, Self

from gps.inspect.report.names import EntryGroup, SpatialPoint
from gps.inspect.report.packing import Packed
from gps.inspect.report.places import Places
from gps.players import Player

Number = float | None

Numbers = list[Number]

# -- the whole run ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Role:
    """The words for a `gps.players.Player`."""

    one: str  # the player of one condition
    all: str  # the players of all conditions
    acted: str  # a sentence about a rollout
    has_policy: bool  # True if the global policy acts

    @classmethod
    def of(cls, player: Player) -> Self:
        """Return the words for a player."""
        return cls(player.one, player.all, player.acted, player.has_policy)


@dataclasses.dataclass(frozen=True)
class StartScore:
    """The result from one start without noise."""

    player: Player
    cost: Number  # of an episode; None without a whole one
    successes: int | None  # None where the environment has no success flag
    rollouts: int
    returns: Number  # None without rewards
    seconds: Number = None  # of an action, wall clock; None where it is unknown
    distance: Number = None  # at the end, m; what it is from and to says `Facts.goal`

    @property
    def solved(self) -> bool:
        """True if all rollouts succeeded."""
        return self.successes == self.rollouts


@dataclasses.dataclass(frozen=True)
class PolicyFacts:
    """The facts about a global policy and its teacher. Scores are empty before the evaluation."""

    teacher: Player
    unseen: list[StartScore]  # of the policy, from the test conditions
    taught: list[StartScore]  # of its teacher, from the conditions
    starts: list[str]  # the test conditions in words
    places: Places | None


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The sizes of a run: conditions, samples, time steps, entries of the state and of the action."""

    M: int
    N: int
    T: int
    dx: int
    du: int


@dataclasses.dataclass(frozen=True)
class Axes:
    """The sizes of a run and the names along its axes."""

    sizes: Sizes
    times: list[int]  # the time steps that are kept
    entries: list[str]  # the names of the state's entries
    groups: list[EntryGroup]
    points: list[SpatialPoint]
    actions: list[str]  # the names of the action's entries
    units: list[str] = dataclasses.field(default_factory=list)  # of the state's entries; "" for none or an unknown one
    action_units: list[str] = dataclasses.field(default_factory=list)
    low: Numbers = dataclasses.field(default_factory=list)  # limits of the action's entries; None without one
    high: Numbers = dataclasses.field(default_factory=list)
    dt: Number = None  # control period, s; None where it is unknown


@dataclasses.dataclass(frozen=True)
class Facts:
    """The facts about a run: its experiment and its current state."""

    name: str
    description: str
    path: str
    seed: int
    started: str  # ISO 8601, UTC
    algorithm: str
    execute: str  # `controller.execute` of the configuration
    planned: int  # iterations
    state: Literal["running", "finished", "stopped"]
    players: dict[str, Role]  # by the value of a `Player`
    evaluation: list[StartScore]  # of what was learned, from the conditions; empty before the evaluation
    conditions: list[str]  # in words
    first: list[str]  # what the probe and the first samples found, in words
    policy: PolicyFacts | None
    environment: str
    experiment: str  # TOML
    command: str
    versions: dict[str, str]
    axes: Axes | None  # None before the first iteration
    goal: str = "the distance to the goal"  # what the distances of the scores are


@dataclasses.dataclass(frozen=True)
class LocalPiece:
    """The local controllers' side of an iteration."""

    expected: Numbers  # the cost that the last update's forecast promised
    predicted: Numbers  # the change of the cost that it promised
    kl: Numbers  # of the update, nats over the trajectory
    bound: Numbers  # on `kl`
    per_step: bool  # True if each time step has a bound of its own
    kl_steps: Packed  # (M, T, 1), nats
    eta: Numbers
    trace: list[list[list[Number]]]  # η and KL of each evaluation; KL None: no controller
    trust: Numbers  # |L̂ − J| / |J|: how far the model's cost of the samples is from their own
    entropy: Numbers  # nats, mean over time
    multiplier: Numbers
    fitted: bool  # True if there are fitted dynamics
    model_error: Numbers  # of the last iteration's dynamics on this one's data
    radius: Numbers  # spectral radius of the closed loop over the episode, per step; None without fitted dynamics


@dataclasses.dataclass(frozen=True)
class PolicyPiece:
    """The global policy's side of an iteration."""

    teacher: Player
    existed: bool  # True if there was a trained policy before the training
    trained: bool  # True if there is one after it
    status: str  # the name of a `gps.status.PolicyStatus`
    label: str
    severity: str
    sentence: str
    remedy: str
    ok: bool
    kl: Numbers  # to the teacher after training, nats a step
    kl_steps: Packed  # (M, T, 1), nats
    loss: tuple[Number, Number]  # before and after
    steps: int
    training: Numbers  # loss at each check
    held_out: Numbers
    deviation: Numbers  # of each action's noise
    message: str


@dataclasses.dataclass(frozen=True)
class ModelPiece:
    """The global model's side of an iteration. None where the model has no such number."""

    name: str  # the kind of model, in words; "" where it is only the prior of local dynamics
    points: int | None  # transitions that it was fitted to
    status: str  # the name of a `gps.status.ModelStatus`
    sentence: str
    remedy: str
    ok: bool
    message: str
    coverage: Numbers | None  # within 1σ and 2σ
    mixture: bool  # True if it is a mixture, whose clusters are in the `Detail`
    training: Numbers | None  # loss at each check
    held_out: Numbers | None
    one_step: Numbers | None  # error of each entry, units of the state
    horizon: list[Numbers] | None  # the same for each step ahead


@dataclasses.dataclass(frozen=True)
class PlannerPiece:
    """The planner's side of an iteration."""

    predicted: Numbers  # cost as planned at the start of the episodes
    actual: Numbers  # of the same steps
    steps: int | None  # that the plan of the start had; None: a whole episode
    seconds: float | None  # of a plan, mean over conditions and steps
    fallbacks: list[int] | None  # actions without a plan
    effective: Packed | None  # (M, T, 1), candidates that weigh in a plan
    planned: bool  # True if the planned states are known; they are in the `Detail`


@dataclasses.dataclass(frozen=True)
class OptimisationPiece:
    """The side of a policy that is optimised through a model."""

    status: str  # the name of a `gps.status.PolicyStatus`
    label: str
    sentence: str
    remedy: str
    ok: bool
    message: str
    loss: tuple[Number, Number]  # in the model, before and after
    losses: Numbers  # after each step
    kl: Number  # from the last policy, nats
    gradients: Numbers | None  # |∂ (cost h steps ahead) / ∂ (first action)|


@dataclasses.dataclass(frozen=True)
class Piece:
    """One iteration on the page: the core, and the sides of its algorithm."""

    iteration: int
    steps: int  # of the environment, in total
    episodes: int  # in total
    player: Player  # who was sampled
    costs: list[Numbers]  # of each sample that is kept; None if it ended early
    succeeded: list[list[int]]
    cost: Numbers  # mean over the samples
    cost_error: Numbers  # standard error of the mean
    successes: list[int] | None  # None where the environment has no success flag
    samples: int
    short: list[int]  # episodes that ended early
    saturated: Numbers
    status: list[str]  # names of `gps.status.Status`
    ok: list[bool]
    message: list[str]
    seconds: Numbers  # to sample, fit and improve
    horizon: int  # steps of an episode
    excitation: list[Numbers] | None = None  # (M, du), how far the samples' actions differ; None for a single sample
    local: LocalPiece | None = None
    policy: PolicyPiece | None = None
    model: ModelPiece | None = None
    planner: PlannerPiece | None = None
    optimisation: OptimisationPiece | None = None
    words: list[list[str]] = dataclasses.field(default_factory=list)  # sentences for each condition
    model_words: list[str] = dataclasses.field(default_factory=list)  # sentences about the global model


@dataclasses.dataclass(frozen=True)
class Remark:
    """A problem, or its likely cause, in consecutive iterations and in one or more conditions.

    The text is that of iteration `worst` and the first of the conditions; a finding about the policy has no condition.
    """

    kind: str
    severity: str  # "error", "warning" or "note"
    first: int
    last: int
    worst: int
    conditions: tuple[int, ...]
    text: str
    remedy: str = ""  # what to do about it
    weight: float = 1.0  # compares findings of one kind


@dataclasses.dataclass(frozen=True)
class Overview:
    """The page's charts and tables over all iterations."""

    facts: Facts
    summary: list[str]
    findings: list[Remark]
    pieces: list[Piece]
    kept: list[int] | None = None  # the iterations whose details a file holds; None on a live page
    stamps: list[int] | None = None  # of the pieces, on a live page


# -- one iteration ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class SampleArrays:
    """The samples that are kept, (M, N, T, …); NaN after the end of an episode."""

    states: Packed
    actions: Packed
    succeeded: list[list[int]]
    numbers: list[int]  # which samples they are
    spread: list[Numbers]  # (M, dx), of each entry of the state; see `gps.inspect.report.measures.measure_spread`


@dataclasses.dataclass(frozen=True)
class Tube:
    """Means and standard deviations of states and actions, (M, T, …)."""

    state_mean: Packed
    state_std: Packed
    action_mean: Packed
    action_std: Packed


@dataclasses.dataclass(frozen=True)
class NoiseArrays:
    """Whole covariances at a few of the time steps that are kept."""

    at: list[int]  # places among the kept steps
    covariance: Packed  # (M, at, du²)


@dataclasses.dataclass(frozen=True)
class ControllerArrays:
    """Controllers at the time steps that are kept."""

    feedback: Packed
    noise_std: Packed
    noise: NoiseArrays


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Controllers, and the states and actions under them; no tube without a model to compute it with."""

    controller: ControllerArrays
    tube: Tube | None


@dataclasses.dataclass(frozen=True)
class ErrorArrays:
    """The one-step error of the fitted dynamics on the next iteration's samples."""

    by_step: Packed  # log10, (M, T-1, dx)
    by_entry: list[Numbers]
    overall: Numbers


@dataclasses.dataclass(frozen=True)
class MixtureArrays:
    """Clusters over [x; u] in units of the samples' standard deviations, and the samples' two principal axes."""

    weights: Numbers
    means: Packed
    covariances: Packed
    center: Numbers
    scale: Numbers
    axes: Any  # two rows
    explained: Numbers  # share of the variance along each axis


@dataclasses.dataclass(frozen=True)
class PlanArrays:
    """The plan of the first sample of each condition, and its distance to the data that the model had learned from.

    A distance is that to the nearest state of earlier iterations, in standard deviations of theirs, root mean square
    over the entries.
    """

    states: Packed  # (M, T, dx), as planned
    planned: Packed | None  # (M, T, 1), distances of the planned states; None without earlier iterations
    actual: Packed | None  # (M, T, 1), distances of the states that came
    deviations: Packed | None = None  # (M, T, dx), of the planned states; None where the planner does not say


@dataclasses.dataclass(frozen=True)
class Detail:
    """The arrays of one iteration: its samples, and what the algorithm has besides."""

    samples: SampleArrays
    ran: Drawn | None  # the sampled controllers; if the policy was sampled, its linearisation
    beside: Drawn | None  # the teachers where the policy was sampled, otherwise the policy
    model: ErrorArrays | None
    mixture: MixtureArrays | None
    plan: PlanArrays | None = None


@dataclasses.dataclass(frozen=True)
class EpisodeArrays:
    """The first episode from each start that is kept, (starts, T, …)."""

    starts: list[int]
    states: Packed
    actions: Packed


@dataclasses.dataclass(frozen=True)
class Ends:
    """The episodes without noise of a policy and its teacher. None where there was no such evaluation."""

    final: EpisodeArrays  # of the policy, from the conditions
    unseen: EpisodeArrays | None  # of the policy, from the test conditions
    taught: EpisodeArrays | None  # of the teacher, from the conditions
