"""Weights & Biases: the numbers of a run as a run of a project there, while it is in progress.

The names are those of TensorBoard (`gps.inspect.scalars`), and the horizontal axis is environment steps too. With
`WANDB_MODE=offline` everything is written into RUN/wandb, and `wandb sync` sends it later.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from gps.callbacks import Callback
from gps.errors import ConfigError, install_command, one_line
from gps.inspect.scalars import ALL, Scalars, collect_evaluation_scalars, collect_hyperparameters, collect_scalars

if TYPE_CHECKING:
    from gps.config import ExperimentConfig
    from gps.records import EvaluationRecord, IterationRecord
    from gps.runs import Run

_STEPS = "environment_steps"


class WeightsAndBiases(Callback):
    """A callback that logs a run: `gps.run(…, callbacks=[WeightsAndBiases()])`, or `gps run --wandb`.

    A run that is resumed goes on in the same run there; iterations that it repeats are logged once.

    Args:
        project: the project there.
        quiet: print nothing but errors.

    Raises:
        ConfigError: if wandb is not installed, or, when the run starts, nobody is logged in.
    """

    def __init__(self, project: str = "gps", quiet: bool = False) -> None:
        try:
            import wandb
        except ImportError:
            hint = install_command("wandb")
            raise ConfigError(f"Weights & Biases needs one more package: {hint}") from None
        self._wandb: Any = wandb
        self._project, self._quiet = project, quiet
        self._run: Any = None

    def on_start(self, run: Run, config: ExperimentConfig, total: int) -> None:
        digest = hashlib.sha256(run.config.to_toml().encode()).hexdigest()[:8]
        try:
            self._run = self._wandb.init(
                project=self._project,
                group=run.name,
                name=f"{run.name} {run.path.name}",
                id=f"{run.path.name}-{digest}",
                resume="allow",
                config=collect_hyperparameters(config),
                dir=str(run.path),
                settings=self._wandb.Settings(console="off", silent=self._quiet),
            )
        except self._wandb.Error as error:
            raise ConfigError(
                f"Weights & Biases: {one_line(error)}; log in by `wandb login`, or set WANDB_MODE=offline"
            ) from None
        self._run.define_metric(_STEPS)
        self._run.define_metric("*", step_metric=_STEPS)

    def on_iteration(self, record: IterationRecord) -> None:
        self._run.log(_name_scalars(collect_scalars(record)), step=record.iteration)

    def on_evaluation(self, record: EvaluationRecord) -> None:
        """Put an evaluation without noise into the summary of the run."""
        self._run.summary.update(_name_scalars(collect_evaluation_scalars(record)))

    def on_end(self, run: Run) -> None:
        self._run.finish()


def _name_scalars(groups: Scalars) -> dict[str, float]:
    """Return the numbers of all groups by one name each: `cost` is the mean, `condition_0/cost` that of a condition."""
    return {
        name if group == ALL else f"{group}/{name}": value
        for group, scalars in groups.items()
        for name, value in scalars.items()
    }
