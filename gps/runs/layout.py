"""The layout of a run directory: format, names of files and folders. This module loads fast.

    runs/NAME/20300131T120000Z-seed0/
        run.json  experiment.toml  command.txt  versions.json  interface.json  SHA256SUMS      written once
        first.npz                         the first controllers, and what the probe before them found
        source/                           what it is built from: task.py, modules and data beside it, the model, and
                                          what it loads from elsewhere: fitted models, excerpts of the runs of experts
        run.lock                          locked by the process that writes the run, and says what it is doing
        metrics.csv                       a row for each iteration and condition: a view of the iterations
        iterations/000/ …                 one folder each
            rollouts.npz  record.npz      the core of the IterationRecord
            local.npz  training.npz  model.npz  planner.npz  optimisation.npz    its sides, those that the algorithm has
            policy.npz                    what was learned: a neural policy or local controllers
            state.npz                     the algorithm's state, from which the next iteration starts
            timing.npz  metrics.csv       what differs between two equal runs
            SHA256SUMS
        evaluation/                       what was learned, without noise; its time of an action is in timing.npz
        evaluation_unseen/                the same from the test conditions, if there are some
        evaluation_local/                 the local controllers that taught a policy
        evaluation_expert/                the expert that taught a policy

A folder is written under a name that begins with a dot, flushed to the disk, and renamed. A folder that still has such
a name is the leftover of a killed process: it is ignored, and removed when the run is resumed. All files but
`timing.npz`, `metrics.csv` and the checksums are byte for byte the same for equal runs.
"""

FORMAT = 4
"""The version of the layout above."""

INFO = "run.json"
SOURCE = "source"
INTERFACE, VERSIONS = "interface.json", "versions.json"
ITERATIONS = "iterations"
LOCK = "run.lock"
FIRST = "first.npz"
METRICS, STATE, POLICY = "metrics.csv", "state.npz", "policy.npz"
ROLLOUTS, TIMING = "rollouts.npz", "timing.npz"

SIDES = {
    "local": "local.npz",
    "policy": "training.npz",
    "model": "model.npz",
    "planner": "planner.npz",
    "optimisation": "optimisation.npz",
}
"""Side of an IterationRecord -> its file. Only the sides that an algorithm has are there."""

CORE_FILES = (ROLLOUTS, "record.npz", TIMING, STATE, METRICS)
"""The files that every iteration has."""

EVALUATION_FILES = (ROLLOUTS, METRICS)
