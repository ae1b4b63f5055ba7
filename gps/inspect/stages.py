"""The stages of a run in words, for the console and the live page."""

LOADING = "loading the experiment and probing its start"
EVALUATING = "evaluating what was learned"

_STAGES = {"sample": "sampling", "fit": "fitting the models", "improve": "improving what is learned"}


def describe_stage(iteration: int, total: int, stage: str) -> str:
    """`iteration 3 of 8: sampling`; see `gps.callbacks.Callback.on_stage`."""
    return f"iteration {iteration} of {total}: {_STAGES.get(stage, stage)}"
