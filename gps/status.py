"""How an update or a training ended: a code with its label, its severity, what it means, and what to do about it.

The codes are stored in run directories. Everything that is said of a status in any view is written here.
"""

import enum
from typing import TYPE_CHECKING, Self


class Severity(enum.IntEnum):
    """The urgency of a status for a person."""

    OK = 0
    NOTE = 1  # as intended, but worth knowing
    WARNING = 2  # some samples or some of the update were lost
    ERROR = 3  # there is no new controller or policy


class _Outcome(enum.IntEnum):
    """An enumeration whose members are written `NAME = code, label, severity, sentence, remedy`."""

    label: str  # one or two words, for a table
    severity: Severity
    sentence: str  # what it means
    remedy: str  # what to do about it; empty where nothing needs to be done

    if not TYPE_CHECKING:  # checkers would take these for the arguments of a lookup by code, `Status(3)`

        def __new__(cls, code: int, label: str, severity: Severity, sentence: str, remedy: str = "") -> Self:
            member = int.__new__(cls, code)
            member._value_ = code
            member.label, member.severity, member.sentence, member.remedy = label, severity, sentence, remedy
            return member

    @property
    def ok(self) -> bool:
        """True if all went as intended."""
        return self.severity is Severity.OK


_OK, _NOTE, _WARNING, _ERROR = Severity


class Status(_Outcome):
    """How the update of one condition ended."""

    OK = 0, "ok", _OK, "The update went as intended."
    BOUND_INACTIVE = 1, "inactive", _OK, "The optimum lies inside the trust region, whose bound does not matter."
    SEARCH_EXHAUSTED = (
        2,
        "exhausted",
        _WARNING,
        "The search for eta spent its evaluations; the best controller within the bound was kept.",
        'If it happens often, lower algorithm.kl_step, or choose algorithm.solver = "secant".',
    )
    NO_FEASIBLE_ETA = (
        3,
        "no η",
        _ERROR,
        "No eta gave a positive definite Quu; the controller was left as it was.",
        "Give every action a cost, or lower algorithm.kl_step.",
    )
    NO_VALID_SAMPLES = (
        4,
        "no samples",
        _ERROR,
        "No usable sample was left; the controller was left as it was.",
        "Lower the noise of the first controllers, or look at why the episodes end.",
    )
    SAMPLES_DROPPED = (
        5,
        "dropped",
        _WARNING,
        "Some samples ended early or were not finite; what they lack was left out of the fit.",
        "If many end early, lower the noise of the first controllers.",
    )
    NOT_FINITE = (
        6,
        "not finite",
        _ERROR,
        "The fit or the update was not finite; the controller was left as it was.",
        "Take more samples or a prior; look for very large states, actions or costs.",
    )
    NO_PREFERENCE = (
        7,
        "no choice",
        _WARNING,
        "All samples cost the same, or there is but one; the controller was left as it was.",
        "Take at least two samples, with noise that makes a difference to the cost.",
    )
    NONE_WHOLE = (
        8,
        "cut short",
        _WARNING,
        "Every sample ended early; what they lack was left out of the fit.",
        "Lower the noise of the first controllers, or shorten environment.horizon.",
    )
    TAUGHT = 9, "ok", _OK, "The expert labelled every step of the samples; there is no trust region."
    NO_EXPERT = (
        10,
        "no expert",
        _NOTE,
        "The expert knows too little to give advice yet; it learned from the samples.",
    )
    NO_ADVICE = (
        11,
        "no advice",
        _ERROR,
        "The expert had no advice in any state of the samples; they teach nothing.",
        "Look at the expert's actions and precisions: they must be finite.",
    )
    ADVICE_MISSING = (
        12,
        "partly",
        _WARNING,
        "The expert had no advice in some states; they teach nothing.",
        "Look at the expert's actions and precisions: they must be finite.",
    )

    UNTRUSTED = (
        13,
        "model wrong",
        _WARNING,
        "The model does not reproduce the cost of its own samples, or promises more than there is to gain; the update "
        "is worth little.",
        "Take more samples, a prior, or less noise; a contact or a steep cost needs a smaller algorithm.kl_step.",
    )

    SHORTENED = (
        14,
        "shortened",
        _NOTE,
        "The last update made the cost rise much; it was taken back for a smaller step from an earlier controller.",
    )
    RETURNED = (
        15,
        "returned",
        _WARNING,
        "Two updates in a row made the cost rise much; the next samples are those of an earlier controller again.",
        "Take more samples or a prior, or lower algorithm.kl_step.",
    )

    CLIPPED = (
        16,
        "clipped",
        _WARNING,
        "The limits changed most of the actions, so the samples say little about what the actions do.",
        "Lower the noise of the first controllers (initial.spread, initial.noise), or give the actions a larger cost.",
    )
    ALIKE = (
        17,
        "alike",
        _WARNING,
        "All samples are the same, so nothing can be learned from how they differ.",
        'Let the controllers explore: algorithm.controller.execute = "max_entropy" or "fixed_noise".',
    )
    FLAT_REWARD = (
        18,
        "no reward",
        _WARNING,
        "The reward was the same in every step of every sample, so there is nothing to improve.",
        "Let the first controllers reach where the reward differs, or write a cost with a formula.",
    )
    LEARNED = 19, "ok", _OK, "The model learned from the samples; the next plans are made in it."
    NO_MODEL = (
        20,
        "no model",
        _NOTE,
        "The model has too few samples to plan in it yet; the base policy goes on.",
    )
    NO_REWARD = (
        21,
        "reward unknown",
        _NOTE,
        "The reward is not learned yet, so nothing can be planned or optimised; the base policy goes on.",
        "Let the first episodes be longer, and reach where the reward differs.",
    )

    @property
    def failed(self) -> bool:
        """True if a new controller (or advice) was due and there is none."""
        return self.severity is Severity.ERROR or self is Status.NO_PREFERENCE

    @property
    def improved(self) -> bool:
        """True if there is a new controller, or advice."""
        return not self.failed and self is not Status.NO_EXPERT


class PolicyStatus(_Outcome):
    """How the training of the global policy ended: that of its mean, or that of its covariance."""

    OK = 0, "ok", _OK, "All steps were done; the policy of the lowest held-out loss was kept."
    STOPPED_EARLY = (
        1,
        "stopped early",
        _OK,
        "The held-out loss fell no more; the policy of the lowest one was kept.",
    )
    DIVERGED = (
        2,
        "diverged",
        _ERROR,
        "The training loss exploded or was not finite; the last good policy was kept.",
        "Lower algorithm.policy.learning_rate.",
    )
    NO_SAMPLES = (
        3,
        "no samples",
        _ERROR,
        "No sample has a positive weight; the policy was left as it was.",
        "Look at the status of the conditions: none of them could teach.",
    )
    BAD_SAMPLES = (
        4,
        "bad samples",
        _ERROR,
        "An observation, action or weight is not finite; the policy was left as it was.",
        "Look at the sample that the message names.",
    )
    BAD_PRECISION = (
        5,
        "bad precision",
        _ERROR,
        "A precision is not finite or not positive semi-definite; the policy was left as it was.",
        "Look at the covariance of the teacher that the message names.",
    )
    SINGULAR_PRECISION = (
        6,
        "singular precision",
        _WARNING,
        "The mean precision is singular; the covariance was limited from above.",
        "Give every action a cost, so that its teachers prefer some actions to others.",
    )
    COLLAPSED_COVARIANCE = (
        7,
        "collapsed covariance",
        _WARNING,
        "The covariance collapses; it was limited from below.",
        "Raise algorithm.entropy, so that the teachers keep some noise.",
    )
    WARM_UP = 8, "warm up", _OK, "Its teachers or its model learn alone at first; the policy was not trained."
    CONVERGED = 9, "converged", _OK, "The optimisation through the model converged; the best start was kept."
    ITERATIONS_SPENT = (
        10,
        "optimised",
        _OK,
        "The optimisation through the model spent its iterations; the best policy of all starts was kept.",
    )
    NOT_FINITE = (
        11,
        "not finite",
        _ERROR,
        "The expected cost or its gradient was not finite from any start; the last good policy was kept.",
        "Look for very large states in the data; lower the start's spread or the number of radial basis functions.",
    )
    FLAT = (
        12,
        "flat",
        _WARNING,
        "The expected cost does not change with the policy: it is saturated, or the model is flat around it.",
        "Widen the cost, or let the first episodes explore more.",
    )
    LEFT_FINITE = (
        13,
        "cut short",
        _NOTE,
        "The optimisation met points at which the expected cost is not finite; its last good policy was kept.",
    )
    NO_GAIN = (
        14,
        "no gain",
        _OK,
        "No start was better in the model than the last policy, which was kept.",
    )
    PARTICLES_LOST = (
        15,
        "particles lost",
        _NOTE,
        "Some imagined episodes left the data so far behind that they were stopped where they were.",
        "Take a model that says what it doubts (gp), or let the first episodes explore more.",
    )
    NO_MODEL = (
        18,
        "no model",
        _OK,
        "The model or the reward is not learned yet, so the policy cannot be trained in it; it was left as it was.",
    )
    NOT_IMPROVED = (
        19,
        "no gain",
        _OK,
        "No update lowered the cost in held-out imagined episodes; the policy was left as it was.",
        "If it goes on so, lower algorithm.kl_step or algorithm.learning_rate, or raise algorithm.episodes.",
    )
    EXPLODED = (
        20,
        "exploded",
        _ERROR,
        "The cost or its gradient was not finite in the model; the last good policy was kept.",
        "Cut the imagined episodes by algorithm.truncation, or look for a cost that overflows.",
    )
    LEFT_MODEL = (
        21,
        "left the model",
        _WARNING,
        "Many imagined episodes went far beyond the data; the policy was improved by what the model says there.",
        "Cut the imagined episodes by algorithm.truncation, lower algorithm.kl_step, or let the model see more data.",
    )
    DIGITS_LOST = (
        22,
        "digits lost",
        _WARNING,
        "Two computations of the expected cost differ: its variances are small differences of large numbers, and the "
        "search was misled.",
        "Raise algorithm.model.noise_floor, for example to 0.01.",
    )
    MOST_LOST = (
        23,
        "most lost",
        _WARNING,
        "Most imagined episodes of the new policy were not finite or left the data far behind; the last one stays.",
        "Take a model that says what it doubts (gp), or let the first episodes explore more.",
    )


class ModelStatus(_Outcome):
    """How the last fit of a global model ended."""

    OK = 0, "ok", _OK, "The model was fitted to all data."
    STOPPED_EARLY = 1, "stopped early", _OK, "The held-out loss fell no more; the model of the lowest one was kept."
    TOO_FEW_POINTS = (
        2,
        "too few points",
        _NOTE,
        "There are too few transitions for a model yet.",
        "Collect more episodes, or longer ones.",
    )
    DIVERGED = (
        3,
        "diverged",
        _ERROR,
        "The training loss exploded or was not finite; the last good model was kept.",
        "Lower the model's learning_rate; look for very large states.",
    )
    NO_VARIATION = (
        4,
        "no variation",
        _WARNING,
        "The data never vary, so there is nothing to learn from them; the last good model was kept.",
        "Let the first episodes explore.",
    )
    JITTERED = (
        5,
        "jittered",
        _NOTE,
        "A kernel matrix was not positive definite, as near duplicates make it; its diagonal was raised.",
    )
    NOT_IDENTIFIABLE = (
        6,
        "not identifiable",
        _WARNING,
        "The data do not fix some combination of the parameters.",
        "Fit fewer parameters, give some of them narrower bounds, or excite the system in other ways.",
    )
    NOT_CONVERGED = (
        7,
        "not converged",
        _WARNING,
        "The fit spent its evaluations; the best parameters so far were kept.",
    )
    NOT_FINITE = (
        8,
        "not finite",
        _ERROR,
        "The fit was not finite; the last good model was kept.",
        "Look for very large states or actions in the data.",
    )
