"""`python -m benchmarks [NAME ...]`: print the tables of the named benchmarks, or of all (about seven minutes).

| name | measurement |
|---|---|
| `update` | one KL-constrained controller update, compared with a compiled kernel and optimised NumPy |
| `dynamics` | the mixture prior and the fits of local dynamics |
| `sampling` | closed-loop rollouts, linear-Gaussian and neural, compared with MuJoCo's own batch stepping |
| `gymnasium_batch` | Gymnasium's MuJoCo environments, compared with its own vector environment |
| `iteration` | a whole iteration of the peg insertion: physics and the rest |
| `peg` | the whole `gps run` of the peg insertion: wall clock and memory, first and second run |
| `report` | `gps report` of 20 iterations: seconds and size; the cost of `--live` for a run |
| `sweep` | 8 seeds by `gps sweep` with two jobs, compared with the same runs in sequence |
| `ensemble` | training and predicting with an ensemble of networks, compared with its matrix products alone |
| `gaussian_process` | hyperparameters of a Gaussian process, compared with scikit-learn; drawn functions; moments |
| `identification` | the parameters of a simulator from one recording, compared with `mujoco.sysid` if it is there |
| `planning` | a round of CEM, an action of iCEM, MPPI on the true half-cheetah, iterative LQR |
| `mc_pilco` | the cost of a policy by particles under functions drawn from a Gaussian process, with its gradient |
| `pilco` | a policy's expected cost in a Gaussian process and its gradient, compared with TorchRL if it is there |
| `policies` | a supervised step of a neural policy, alone and compared with sampling; the cost of acting |

`python -m benchmarks.seeds` makes the learning tables, `python -m benchmarks.rewards` the table of rewards without a
formula, `python -m benchmarks.guided` the table of the algorithms of guided policy search,
`python -m benchmarks.priors` the errors of the priors of local dynamics by the number of samples, and
`python -m benchmarks.adaptation` one attempt at unseen slots with a model of other ones. Absolute times depend on the
machine and its load; the ratios, which are measured in one run, are what counts.
"""

import importlib
import os
import sys

NAMES = (
    "update", "dynamics", "sampling", "gymnasium_batch", "iteration", "peg", "report", "sweep", "ensemble",
    "gaussian_process", "identification", "planning", "pilco", "mc_pilco", "policies",
)  # fmt: skip


def main() -> int:
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")  # before NumPy is imported
    chosen = sys.argv[1:] or NAMES
    unknown = [name for name in chosen if name not in NAMES]
    if unknown:
        print(
            __doc__
            if unknown[0] in ("-h", "--help")
            else f"unknown benchmark {unknown[0]!r}; known: {', '.join(NAMES)}"
        )
        return 2
    for name in chosen:
        importlib.import_module(f"benchmarks.{name}").main()
        print(flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
