"""The stages of a run in words, for the console, the live page, and `gps.runs.Run.stage`."""

LOADING = "loading the experiment and probing its start"

_WHOLE = {"begin": "preparing the first episodes", "evaluate": "evaluating what was learned"}
_OF_ITERATION = {"sample": "sampling", "fit": "fitting the models", "improve": "improving what is learned"}


def describe_stage(iteration: int, total: int, stage: str) -> str:
    """`iteration 3 of 8: sampling`; see `gps.callbacks.Callback.on_stage`."""
    return _WHOLE.get(stage) or f"iteration {iteration} of {total}: {_OF_ITERATION.get(stage, stage)}"


def name_stage(iteration: int, stage: str) -> str:
    """`iteration 3, fit`; `the first episodes`, `the evaluation`."""
    return {"begin": "the first episodes", "evaluate": "the evaluation"}.get(stage, f"iteration {iteration}, {stage}")
