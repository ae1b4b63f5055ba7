"""Rules for environments: starts, repeatability, independence of the batch, limits, rewards."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from gps import builders
from gps.conformance.finding import Finding, Level
from gps.environments.contract import BatchEnvironment
from gps.environments.disturbed import LAST_ACTION
from gps.environments.parts import whole
from gps.experiment import Experiment
from gps.linear_gaussian.initial import zero
from gps.policies.played import LocalControllers
from gps.records import Rollouts
from gps.sampling import collect

STEPS = 25
"""Steps of the rollouts with random actions, at most."""


def roll_out(
    built: Experiment,
    environment: BatchEnvironment | None = None,
    samples: int | None = None,
    observe: bool = True,
    alike: bool = False,
    steps: int = STEPS,
) -> Rollouts:
    """Rollouts with the same random actions in each call; the samples of a condition differ.

    Args:
        environment: in place of the experiment's.
        samples: how many of each condition's samples are played; None for all.
        alike: play the actions of the first condition in all conditions.
    """
    space = built.environment.single_action_space
    M, N, T, du = len(built.conditions), built.samples, min(built.horizon, steps), space.shape[0]
    low, high = np.where(np.isfinite(space.low), space.low, -1.0), np.where(np.isfinite(space.high), space.high, 1.0)
    actions = np.random.default_rng(0).uniform(low, high, (M, N, T, du))
    if alike:
        actions[:] = actions[:1]
    still = LocalControllers(zero(M, T, built.starts.states.shape[1], du, 0.0))
    batch = built.environment if environment is None else environment
    whole_at = built.config.environment.whole_at
    return collect(batch, still, built.conditions, actions[:, :samples], built.config.seed, observe, whole_at)


class Listener:
    """A batch environment that compares the action in the info with the one that counts as applied.

    Attributes:
        difference: the first difference, in words; empty while there is none.
    """

    def __init__(self, environment: BatchEnvironment) -> None:
        self._environment, self.difference = environment, ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._environment, name)

    def step(self, actions: Any) -> Any:
        *stepped, info = self._environment.step(actions)
        logged = info.get("action")
        if logged is not None and not self.difference:
            space = self.single_action_space
            applied = np.asarray(info.get("applied_action", np.clip(actions, space.low, space.high)))
            if np.shape(logged) == applied.shape and (wrong := np.argwhere(np.asarray(logged) != applied)).size:
                i, entry = wrong[0]
                self.difference = f"entry {entry} was {logged[i][entry]:.4g} where {applied[i, entry]:.4g} was given"
        return *stepped, info


def check_log(listener: Listener) -> Iterator[Finding]:
    """A warning where the info's `action` is not the action that was given."""
    if listener.difference:
        yield Finding(
            'the info\'s "action" is the action that was given',
            f"{listener.difference}; it counts as a log, and the given action as applied",
            'report an action that the environment changes (a filter, a delay) as info["applied_action"]; a mere log '
            "may stay",
            Level.WARNING,
        )


def check_starts(*trials: Rollouts) -> Finding:
    rule = "a condition starts in the same state each time"
    spread = np.ptp(np.concatenate([trial.states[:, :, 0] for trial in trials], axis=1), axis=1)
    if not spread.any():
        return Finding(rule)
    m, entry = np.unravel_index(spread.argmax(), spread.shape)
    return Finding(
        rule,
        f"in condition {m}, entry {entry} of the start differs by {spread.max():.3g} between samples",
        "let reset depend on the condition (its seed and options) alone: draw with self.np_random after "
        "super().reset(seed=seed), and set everything that the last episode changed",
    )


def check_repeats(one: Rollouts, two: Rollouts) -> Finding:
    return _compare(
        "the same start and actions lead to the same states and rewards",
        one,
        two,
        "seed everything random in step from reset's seed, and leave nothing behind from one episode to the next",
    )


def check_batch_size(batch: Rollouts, built: Experiment, directory: Path) -> Finding:
    with closing(builders.make_environment(built.config.environment, directory, len(built.conditions))) as fewer:
        alone = roll_out(built, fewer, samples=1, observe=False)
    return _compare(
        "a simulation does the same in a batch of any size",
        batch,
        alone,
        "let no simulation depend on another: step must not change variables of the class or the module",
    )


def _compare(rule: str, one: Rollouts, two: Rollouts, remedy: str) -> Finding:
    """Compare the samples that both have."""
    samples = min(one.mask.shape[1], two.mask.shape[1])
    for name in ("mask", "states", "rewards"):
        different = getattr(one, name)[:, :samples] != getattr(two, name)[:, :samples]
        if different.any():
            m, n, t = np.argwhere(different)[np.argwhere(different)[:, 2].argmin()][:3]
            what = {"mask": "the length of the episode", "states": "the state", "rewards": "the reward"}[name]
            return Finding(rule, f"{what} differs, first in condition {m}, sample {n}, step {t}", remedy)
    return Finding(rule)


def check_limits(rollouts: Rollouts, built: Experiment) -> Finding:
    rule = "actions are applied within the limits of the action space"
    space = built.environment.single_action_space
    outside = ((rollouts.actions < space.low) | (rollouts.actions > space.high)) & rollouts.mask[..., None]
    if not outside.any():
        return Finding(rule)
    m, n, t, entry = np.argwhere(outside)[0]
    value = rollouts.actions[m, n, t, entry]
    return Finding(
        rule,
        f"entry {entry} was {value:.4g} in condition {m}, sample {n}, step {t}",
        'report the action in the space\'s own units as info["applied_action"], or widen the action space',
    )


def check_passive(environment: BatchEnvironment) -> Finding | None:
    """Warn of joints in the state that no action can move, and list those without an actuator.

    None if the environment is no MuJoCo simulation.
    """
    if (snapshot := environment.snapshot(0)) is None:
        return None
    from gps.environments.mujoco.passive import find_passive, find_unactuated

    rule = "actions can move every joint in the state"
    layout = environment.state_layout
    named = {name for kind, _, name in (whole(part).partition(":") for part in layout) if kind in ("qpos", "qvel")}
    everything = "qpos" in layout or "qvel" in layout
    still, unactuated = (
        [name for name in find(snapshot[0]) if everything or name in named] for find in (find_passive, find_unactuated)
    )
    if not still:
        return Finding(f"{rule}; without an actuator: {', '.join(unactuated)}" if unactuated else rule)
    return Finding(
        rule,
        f"no actuator moves {', '.join(still)}, not even through other bodies",
        'unless the cost depends on them, list the other joints in environment.state: "qpos:JOINT", "qvel:JOINT"',
        Level.WARNING,
    )


def check_memory(built: Experiment) -> Finding:
    rule = "the state holds the last action, which a delay or a rate limit makes part of it"
    if LAST_ACTION in built.environment.state_layout:
        return Finding(rule)
    noise = built.config.environment.noise
    which = f"a delay of {noise.delay} steps" if noise.delay else f"a rate limit of {noise.rate_limit}"
    return Finding(
        rule,
        f"{which} lets the next state depend on actions that the controllers do not see",
        f'add "{LAST_ACTION}" to environment.state',
    )


def check_reward(rollouts: Rollouts) -> Finding:
    rule = "the reward varies"
    rewards = rollouts.rewards[rollouts.mask]
    if np.ptp(rewards) > 0:
        return Finding(rule)
    return Finding(
        rule,
        f"it was {rewards[0]:g} in all {len(rewards)} steps",
        "there is nothing to learn from: say what a step costs in [[cost]] sections",
    )
