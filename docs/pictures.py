"""Draw the pictures of the lessons from the records of runs: `python docs/pictures.py LESSON RUN [RUN ...]`.

It writes LESSON.svg into the current directory; those of the site are in docs/pictures. The commands of the lessons
make the runs.
"""

import sys
from collections.abc import Callable

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import gps
from gps.evaluation import restore
from gps.planning.played import find_planned
from gps.runs import Run

GREY, BLUE, ORANGE, GREEN, RED = "#9aa4ae", "#2b6cb0", "#d9700f", "#2f9e5b", "#c0392b"

plt.rcParams.update({
    "figure.figsize": (7.4, 2.9), "figure.constrained_layout.use": True, "svg.hashsalt": "gps", "font.size": 9.5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10, "axes.titlelocation": "left",
    "legend.frameon": False, "lines.linewidth": 1.6,
})  # fmt: skip


def draw_one_plan(run: Run) -> Figure:
    """Where the data are, where the plan goes, and where the rod went."""
    figure, (plane, time) = plt.subplots(1, 2)
    data = np.concatenate([record.rollouts.states[0, 0] for record in run.iterations])
    plan, actual = plan_again(run), run.evaluation().rollouts.states[0, 0]
    _draw_plane(plane, data, plan, actual)
    _draw_heights(time, plan, actual, run)
    return figure


def draw_add_data(run: Run) -> Figure:
    """The data of each iteration, and what the last plan expected against what came."""
    figure, (plane, time) = plt.subplots(1, 2)
    *_, last = run.iterations
    data = np.concatenate([record.rollouts.states[0, 0] for record in run.iterations[:-1]])
    plan, actual = last.planner.planned_states[0], last.rollouts.states[0, 0]
    _draw_plane(plane, data, plan, actual)
    _draw_heights(time, plan, actual, run)
    return figure


def draw_replan(run: Run) -> Figure:
    """The cost of each episode, and the first and the last episode."""
    figure, (costs, time) = plt.subplots(1, 2)
    _draw_costs(costs, run)
    _draw_episodes(time, run)
    return figure


def draw_backprop(run: Run) -> Figure:
    """The cost of each episode, and the size of the gradient against the number of steps that it goes through."""
    figure, (costs, gradient) = plt.subplots(1, 2)
    _draw_costs(costs, run)
    _draw_expected_costs(costs, run)
    found = [record for record in run.iterations if record.optimisation is not None]
    found = [record for record in found if record.optimisation.gradient_norms is not None]
    for i, record in enumerate(found):
        norms = record.optimisation.gradient_norms
        gradient.semilogy(np.arange(1, len(norms)), norms[1:], color=BLUE, alpha=0.25 + 0.75 * (i + 1) / len(found))
    gradient.set(title="gradient by the first action", xlabel="steps ahead", ylabel="∂ cost / ∂ action")
    return figure


def draw_pilco(run: Run) -> Figure:
    """What the Gaussian process expected of the first and the last policy, with two deviations, and what came."""
    planned = [record for record in run.iterations if record.planner is not None]
    planned = [record for record in planned if record.planner.planned_deviations is not None]
    figure, axes = plt.subplots(1, 2, sharey=True)
    for axis, record in zip(axes, (planned[0], planned[-1]), strict=True):
        mean, deviation = record.planner.planned_states[0, :, 0], record.planner.planned_deviations[0, :, 0]
        t = np.arange(len(mean)) * _time_step(run)
        axis.fill_between(t, mean - 2 * deviation, mean + 2 * deviation, color=BLUE, alpha=0.2, linewidth=0)
        axis.plot(t, mean, "--", color=BLUE, label="expected, with 2σ")
        axis.plot(t, record.rollouts.states[0, 0, :, 0], color=ORANGE, label="happened")
        axis.set(title=f"episode {record.iteration + 1}: cost {record.mean_cost[0]:.1f}", xlabel="time, s")
    axes[0].set(ylabel="angle, rad (0: upright)", ylim=(-4, 9))
    axes[0].legend()
    return figure


def draw_local_models(run: Run) -> Figure:
    """The samples of three iterations, and the deviations of the noise that they were made with."""
    figure, (time, noise) = plt.subplots(1, 2)
    chosen = _pick(len(run.iterations), 3)
    for shade, k in zip((GREY, BLUE, ORANGE), chosen, strict=True):
        record = run.iterations[k]
        states = record.rollouts.states[0]
        t = np.arange(states.shape[1]) * _time_step(run)
        time.plot(t, states[:, :, 0].T, color=shade, label=[f"iteration {k}", *[None] * (len(states) - 1)])
        deviation = np.sqrt(record.local.controllers.covariance[0, :, 0, 0])
        noise.semilogy(np.arange(len(deviation)) * _time_step(run), deviation, color=shade, label=f"iteration {k}")
    time.set(title="samples", xlabel="time, s", ylabel="angle, rad (0: upright)")
    noise.set(title="standard deviation of the action", xlabel="time, s", ylabel="share of the motor's torque")
    time.legend()
    return figure


def draw_controllers(*runs: Run) -> Figure:
    """The samples of the first iteration of each run, which differ in what they execute, and their costs."""
    figure, axes = plt.subplots(1, 3, sharey=True)
    for axis, colour, run in zip(axes, (RED, BLUE, GREEN), runs, strict=True):
        record = run.iterations[0]
        states = record.rollouts.states[0]
        axis.plot(np.arange(states.shape[1]) * _time_step(run), states[:, :, 0].T, color=colour, linewidth=1)
        name, cost = run.config.algorithm.controller.execute, record.mean_cost[0]
        axis.set(title=f"{name}: cost {cost:.3g}", xlabel="time, s")
    axes[0].set(ylabel="angle, rad (0: upright)")
    return figure


def draw_trust_region(near: Run, far: Run) -> Figure:
    """The costs with and without a bound, and what each update predicted against what came."""
    figure, (costs, changes) = plt.subplots(1, 2)
    for run, colour, name in ((near, BLUE, "with the bound"), (far, RED, "without")):
        cost = [record.mean_cost[0] for record in run.iterations]
        costs.semilogy(cost, "o-", color=colour, label=name, markersize=3.5)
        last = [record.local.last for record in run.iterations[1:]]
        predicted, actual = (np.array([getattr(change, key)[0] for change in last]) for key in ("predicted", "actual"))
        changes.plot(predicted, actual, "o", color=colour, markersize=4)
    costs.set(title="mean cost of the samples", xlabel="iteration")
    costs.legend()
    changes.set_xscale("symlog", linthresh=1)
    changes.set_yscale("symlog", linthresh=1)
    ends = np.array([min(changes.get_xlim()[0], changes.get_ylim()[0]), max(changes.get_xlim()[1], 1)])
    changes.plot(ends, ends, color=GREY, linewidth=1, zorder=0)
    changes.set(title="change of the cost by an update", xlabel="predicted", ylabel="came")
    return figure


def draw_guided(run: Run) -> Figure:
    """The cost of the samples, and where the policy succeeds: at the places trained on, and at others."""
    figure, (costs, places) = plt.subplots(1, 2, gridspec_kw={"width_ratios": [1.5, 1]})
    means = np.array([record.mean_cost for record in run.iterations])
    costs.semilogy(means, color=BLUE, alpha=0.3, linewidth=1)
    costs.semilogy(means.mean(axis=1), "o-", color=BLUE, markersize=3.5, label="mean of the nine places")
    costs.set(title="cost of the samples", xlabel="iteration")
    costs.legend()
    environment = run.config.environment
    for what, given, marker in (("final", environment.conditions, "s"), ("unseen", environment.test_conditions, "o")):
        evaluation = run.evaluation(what)
        if evaluation is None:  # the policy is not trained yet
            continue
        slots = np.array([condition["slot"] for condition in given])
        won = evaluation.rollouts.succeeded[:, 0]
        label = f"{'trained' if what == 'final' else 'unseen'}: {won.sum()}/{len(won)}"
        places.scatter(*slots[won].T, marker=marker, color=GREEN if what == "unseen" else BLUE, label=label)
        places.scatter(*slots[~won].T, marker="x", color=RED)
    places.set(title="places of the slot, m", aspect="equal")
    places.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
    return figure


def plan_again(run: Run) -> np.ndarray:
    """Return the states (T, dx) that the plan from the first start expects in the last model."""
    with restore(run) as (built, state):
        policy = built.algorithm.learned(state)
        policy.act(built.starts.states[:, None], 0)
        planned = find_planned(policy).states[0, 0]
    return planned[np.isfinite(planned).all(axis=1)]


def _draw_plane(axis: Axes, data: np.ndarray, plan: np.ndarray, actual: np.ndarray) -> None:
    axis.plot(data[:, 0], data[:, 1], ".", color=GREY, markersize=4, label="data")
    axis.plot(plan[:, 0], plan[:, 1], "--", color=BLUE, label="plan")
    axis.plot(actual[:, 0], actual[:, 1], color=ORANGE, label="happened")
    axis.set(title="where the data are", xlabel="angle, rad (0: upright, π: hanging)", ylabel="velocity, rad/s")
    axis.legend()


def _draw_heights(axis: Axes, plan: np.ndarray, actual: np.ndarray, run: Run) -> None:
    for states, style, colour in ((plan, "--", BLUE), (actual, "-", ORANGE)):
        axis.plot(np.arange(len(states)) * _time_step(run), np.cos(states[:, 0]), style, color=colour)
    axis.set(title="height of the tip, m", xlabel="time, s", ylim=(-1.1, 1.1))


def _draw_costs(axis: Axes, run: Run) -> None:
    axis.plot([record.mean_cost[0] for record in run.iterations], "o-", color=ORANGE, markersize=4, label="happened")
    axis.set(title="cost of an episode", xlabel="iteration")


def _draw_expected_costs(axis: Axes, run: Run) -> None:
    known = [(record.iteration, record.planner.predicted[0]) for record in run.iterations if record.planner is not None]
    axis.plot(*np.transpose(known), "o--", color=BLUE, markersize=4, label="expected by the model")
    axis.legend()


def _draw_episodes(axis: Axes, run: Run) -> None:
    last = run.evaluation().rollouts.states[0, 0]
    for states, colour, label in ((run.iterations[0].rollouts.states[0, 0], GREY, "random"), (last, ORANGE, "planned")):
        axis.plot(np.arange(len(states)) * _time_step(run), np.cos(states[:, 0]), color=colour, label=label)
    axis.set(title="height of the tip, m", xlabel="time, s", ylim=(-1.1, 1.1))
    axis.legend()


def _pick(count: int, wanted: int) -> list[int]:
    return [round(k) for k in np.linspace(0, count - 1, wanted)]


def _time_step(run: Run) -> float:
    return run.interface.dt


LESSONS: dict[str, Callable[..., Figure]] = {
    "one_plan": draw_one_plan, "add_data": draw_add_data, "replan": draw_replan, "backprop": draw_backprop,
    "pilco": draw_pilco, "local_models": draw_local_models, "controllers": draw_controllers,
    "trust_region": draw_trust_region, "guided": draw_guided,
}  # fmt: skip


def main(lesson: str, *runs: str) -> None:
    figure = LESSONS[lesson](*(gps.load_run(run) for run in runs))
    figure.savefig(f"{lesson}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
