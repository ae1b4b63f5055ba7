"""Train and score a baseline for each seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from gps import builders
from gps.backend import jax
from gps.baselines.agents import NAMES, AgentPolicy, import_agents, make_agent
from gps.baselines.episodes import AgentEpisodes, Objective
from gps.baselines.score import BaselineScore, average_rounds, read_settings
from gps.config import ExperimentConfig, find_experiment, load, replace_settings
from gps.errors import ConfigError, RunError, nearest
from gps.experiment import Experiment
from gps.inspect.comparison.foreign import BASELINES, describe_task
from gps.inspect.comparison.member import flatten_settings
from gps.metrics import make_evaluation_rows
from gps.players import FINAL, Player
from gps.records import EvaluationRecord
from gps.storage.write_errors import report_write_errors
from gps.sweeps.settings import parse_seeds

Say = Callable[[str], None]


def baseline(
    experiment: str | Path,
    agent: str = "sac",
    *,
    seeds: str | int | Iterable[int] | None = None,
    steps: int | None = None,
    objective: Objective = "cost",
    options: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    say: Say = lambda line: None,
) -> list[Path]:
    """Train an agent on an experiment's environment and return the files of the scores, one for each seed.

    A file that is there and was made with the same settings is kept.

    Args:
        experiment: a directory with an `experiment.toml`, or the name of an experiment that comes with the package.
        agent: `sac`, `ppo` or `td3`.
        seeds: `"0-4"`, `"0,3,5"`, or numbers; None for the experiment's own.
        steps: budget of environment steps; whole episodes are played. None: as many as the experiment's algorithm
            takes.
        objective: maximise minus the experiment's `cost`, or the environment's `reward`.
        options: arguments of the agent's class, such as `learning_rate`.
        overrides: `"section.key=value"`, like `--set` on the command line.
        out: the folder of all runs; None for `runs` in the working directory.
        say: called with a line for each seed.

    Raises:
        ConfigError: if the agent is unknown, its package is missing, or it cannot act in the environment.
        RunError: if a file cannot be written.
    """
    if agent not in NAMES:
        raise ConfigError(f"--with {agent}: expected {', '.join(NAMES[:-1])} or {NAMES[-1]}{nearest(agent, NAMES)}")
    version = import_agents().__version__
    source = find_experiment(experiment)
    config = load(source, overrides)
    source = source if source.is_dir() else source.parent
    folder = (Path("runs") if out is None else Path(out)) / source.resolve().name / BASELINES / agent
    paths = []
    for seed in [config.seed] if seeds is None else parse_seeds(seeds):
        path = folder / f"seed{seed}.npz"
        about = {"agent": agent, "package": version, "steps": steps, "objective": objective, "options": options or {}}
        settings = json.dumps({**about, "config": config.to_toml(), "seed": seed}, sort_keys=True, default=str)
        if read_settings(path) == settings:
            say(f"{agent} seed {seed}: kept {path}")
        else:
            score = _train(
                replace_settings(config, seed=seed), source, agent, steps, objective, options or {}, settings
            )
            with report_write_errors(path, RunError):
                score.write(path)
            say(f"{agent} seed {seed}: {_describe(score)}")
        paths.append(path)
    return paths


def _train(
    config: ExperimentConfig,
    source: Path,
    agent: str,
    steps: int | None,
    objective: Objective,
    options: Mapping[str, Any],
    settings: str,
) -> BaselineScore:
    with closing(Experiment(config, source)) as built:
        _require_numbers(built)
        problem, size = built.problem, len(built.conditions) * built.samples
        round_steps = size * built.horizon
        budget = (steps or config.algorithm.iterations * round_steps) // built.horizon * built.horizon
        if not budget:
            raise ConfigError(f"--steps {steps}: fewer than an episode, which has {built.horizon}")
        environment, own = built.environment, built.environment.num_envs > 1
        if own:  # a robot is there only once
            environment = builders.make_environment(config.environment, source, 1)
        try:
            cost = jax.jit(lambda x, u, t: problem.cost(x, u, t))
            episodes = AgentEpisodes(environment, problem, built.conditions, config.seed, objective, cost)
            learner = make_agent(agent, episodes, config.seed, budget, round_steps, options)
            learner.learn(total_timesteps=budget)
        finally:
            if own:
                environment.close()
        played = built.evaluate(AgentPolicy(learner, problem, len(built.conditions)))
        rows = make_evaluation_rows(EvaluationRecord(FINAL, Player.POLICY, *played))
        rewarded = bool(played.rollouts.rewards.any()) or any(item.reward for item in episodes.finished)
        means = average_rounds(episodes.finished, size)
        given = f" with {', '.join(f'{key} = {value}' for key, value in options.items())}" if options else ""
        return BaselineScore(
            name=agent,
            seed=config.seed,
            episodes=len(episodes.finished),
            final_cost=float(np.mean([row.cost for row in rows])),
            final_return=float(played.rollouts.rewards.sum(axis=2).mean()) if rewarded else None,
            final_solved=tuple(row.solved for row in rows if row.solved is not None),
            about=f"{agent.upper()} of Stable-Baselines3 {import_agents().__version__}{given}, on the {objective}",
            task=describe_task(flatten_settings(config.model_dump())),
            settings=settings,
            **means,  # type: ignore[arg-type]
        )


def _require_numbers(built: Experiment) -> None:
    """ConfigError if the agent cannot see or act."""
    if built.problem.sight.image_shape is not None:
        raise ConfigError("environment.observation: baselines see numbers alone, not pictures; remove the pictures")
    if not all(np.isfinite(limit).all() for limit in built.problem.limits):
        raise ConfigError("baselines need limits of all actions; set them in the environment's action space")


def _describe(score: BaselineScore) -> str:
    solved = f", solved {sum(score.final_solved)}/{len(score.final_solved)}" if score.final_solved else ""
    reward = "" if score.final_return is None else f", return {score.final_return:.4g}"
    return f"{score.steps[-1]:,} steps, final cost {score.final_cost:.4g}{reward}{solved}"
