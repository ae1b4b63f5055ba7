"""The result of a baseline: its learning curve and its final score, and the file that `gps compare` reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gps.baselines.episodes import EpisodeSum
from gps.storage.folders import replace_file
from gps.storage.serialization import write_npz


@dataclasses.dataclass(frozen=True)
class BaselineScore:
    """A run of a baseline. Arrays (k,) have an entry for each round of M N episodes.

    Attributes:
        name: of the agent.
        steps: environment steps at the end of each round.
        cost, reward: of an episode, mean over the round; NaN where no episode was whole.
        success: share of the round; None where the environment does not report success.
        final_cost: of the final policy without exploration, mean over the conditions.
        final_return: the same, None without rewards.
        final_solved: by condition; empty where the environment does not report success.
        about: the package and its settings, in a sentence.
        task: the settings that must agree between runs that are compared, as JSON.
        settings: all that the run depends on, as JSON: a file with the same need not be made again.
    """

    name: str
    seed: int
    episodes: int
    steps: np.ndarray
    cost: np.ndarray
    reward: np.ndarray
    success: np.ndarray | None
    final_cost: float
    final_return: float | None
    final_solved: tuple[bool, ...]
    about: str
    task: str
    settings: str

    def write(self, path: Path) -> None:
        """Write the file atomically; see `gps.inspect.comparison.foreign` about its layout."""
        arrays = {
            "steps": self.steps, "cost": self.cost, "final_cost": np.array(self.final_cost),
            "seed": np.array(self.seed), "episodes": np.array(self.episodes), "name": np.array(self.name),
            "about": np.array(self.about), "task": np.array(self.task), "settings": np.array(self.settings),
        }  # fmt: skip
        if self.final_return is not None:
            arrays |= {"return": self.reward, "final_return": np.array(self.final_return)}
        if self.success is not None:
            arrays |= {"success": self.success, "final_solved": np.array(self.final_solved)}
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as temporary:
            write_npz(temporary, arrays)


def read_settings(path: Path) -> str:
    """Return the settings of a score on disk; empty if there is none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return str(stored["settings"])
    except (OSError, ValueError, KeyError, EOFError):
        return ""


def average_rounds(finished: Sequence[EpisodeSum], size: int) -> dict[str, np.ndarray | None]:
    """Return the means over rounds of `size` episodes: steps, cost, reward and success, by name.

    Episodes of a round that was not finished are left out, unless there is no other.
    """
    count = max(len(finished) // size, 1)
    rounds = [finished[k * size : (k + 1) * size] for k in range(count)]
    known = [[episode.cost for episode in some if np.isfinite(episode.cost)] for some in rounds]
    flags = [[episode.success for episode in some if episode.success is not None] for some in rounds]
    return {
        "steps": np.array([some[-1].steps for some in rounds]),
        "cost": np.array([np.mean(costs) if costs else np.nan for costs in known]),
        "reward": np.array([np.mean([episode.reward for episode in some]) for some in rounds]),
        "success": np.array([np.mean(some) for some in flags]) if all(flags) else None,
    }
