"""Many runs as one batch: seeds and settings, over processes of this machine or a cluster.

The disk is the truth: where each run is, how far it is and how it ended are read from the sweep's folder, by the
process that started the sweep as by the workers. So a killed worker, a lost connection or a second `gps sweep` need
no bookkeeping of their own.

    settings.py   seeds and values, as typed, to lists of runs
    folder.py     the folder of a sweep: its manifest, where runs land, how they stand
    worker.py     what a worker does: begin or resume one run
    pools.py      joblib on processes, Dask or Ray
    batch.py      all together: plan, run, retry
"""

from gps.sweeps.batch import Watch, sweep
from gps.sweeps.folder import Sweep, SweepRun

__all__ = ["Sweep", "SweepRun", "Watch", "sweep"]
