"""Many runs as one batch: seeds and settings, over processes of this machine or a cluster.

The disk is the only source of state: the process that started the sweep and the workers both read from the sweep's
folder where each run is, how far it is and how it ended. So a killed worker, a lost connection or a second `gps sweep`
needs no bookkeeping of its own.

    settings.py   parse seeds and values into lists of runs
    folder.py     the folder of a sweep: manifest, run directories, state of the runs
    worker.py     begin or resume one run in a worker
    pools.py      joblib on processes, Dask or Ray
    batch.py      plan, run, retry
"""

from gps.sweeps.batch import Watch, sweep
from gps.sweeps.folder import Sweep, SweepRun

__all__ = ["Sweep", "SweepRun", "Watch", "sweep"]
