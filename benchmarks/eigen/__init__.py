"""The compiled reference: a whole controller update in C++ with Eigen, built on demand, called by ctypes.

    library = build()  # takes a minute once; None, with a warning, if it cannot be built
    answer = library.update(problem, bound=100.0)
    seconds = library.time_update(problem, bound=100.0)

The source is `update.cpp` in this folder. The shared library is kept in the user's cache folder under a name derived
from the source, the compiler, its flags and the processor.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

from benchmarks.problems import STATUS, Update, check_search

SOURCE = Path(__file__).with_name("update.cpp")
FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-DNDEBUG", "-DEIGEN_DONT_PARALLELIZE")


class Library:
    """The built library; its methods take a `benchmarks.problems.LQRProblem` or an object with the same fields."""

    def __init__(self, path):
        self.path = Path(path)
        library = ctypes.CDLL(str(self.path))
        self._update, self._evaluate = library.gps_update, library.gps_evaluate
        array, number, size = ctypes.c_void_p, ctypes.c_double, ctypes.c_longlong
        problem = [size] * 3 + [array] * 10
        self._update.argtypes = problem + [number] * 4 + [ctypes.c_int] + [array] * 3 + [array] * 3 + [size, array]
        self._evaluate.argtypes = problem + [number] * 2 + [array] * 4
        self._update.restype = self._evaluate.restype = ctypes.c_int

    def update(self, problem, bound, alpha=0.0, eta0=1.0, tolerance=1e-3, fixed_sizes=True):
        """Return the result of the whole KL-constrained update as an `Update`.

        `bound` is in nats, summed over the horizon. With `fixed_sizes` the problems of the sizes
        (6, 2) and (14, 7) use code compiled for them; all others use the code for any size.
        """
        return self._run(problem, bound, alpha, eta0, tolerance, fixed_sizes, 1)[0]

    def time_update(self, problem, bound, alpha=0.0, eta0=1.0, tolerance=1e-3, fixed_sizes=True, repeats=50, warm_up=3):
        """Return the median seconds of one update, measured inside the library around each of `repeats` calls."""
        self._run(problem, bound, alpha, eta0, tolerance, fixed_sizes, warm_up)
        return float(np.median(self._run(problem, bound, alpha, eta0, tolerance, fixed_sizes, repeats)[1]))

    def evaluate(self, problem, eta, alpha=0.0):
        """Return K, k, Sigma and the KL at a given eta; the KL is infinite if a Quu is not PD."""
        inputs, (K, k, Sigma) = _prepare_inputs(problem), _make_outputs(problem)
        kl = ctypes.c_double()
        outputs = _get_pointers((K, k, Sigma))
        self._evaluate(*_get_sizes(problem), *_get_pointers(inputs), alpha, eta, *outputs, ctypes.byref(kl))
        return K, k, Sigma, kl.value

    def _run(self, problem, bound, alpha, eta0, tolerance, fixed_sizes, repeats):
        check_search(bound, alpha, eta0, tolerance)
        inputs, outputs = _prepare_inputs(problem), _make_outputs(problem)
        seconds = np.zeros(repeats)
        eta, kl, evaluations = ctypes.c_double(), ctypes.c_double(), ctypes.c_int()
        status = self._update(
            *_get_sizes(problem), *_get_pointers(inputs), bound, alpha, eta0, tolerance, int(fixed_sizes),
            *_get_pointers(outputs), ctypes.byref(eta), ctypes.byref(kl), ctypes.byref(evaluations), repeats,
            seconds.ctypes.data,
        )  # fmt: skip
        return Update(*outputs, eta.value, kl.value, evaluations.value, STATUS[status]), seconds


def _prepare_inputs(p):
    """Return the problem's ten arrays as row-major doubles in the order of the C++ signature."""
    T, dx, du = p.T, p.dx, p.du
    dz = dx + du
    shapes = {
        "F": (T - 1, dx, dz), "c": (T - 1, dx), "W": (T - 1, dx, dx),
        "initial_mean": (dx,), "initial_cov": (dx, dx),
        "C": (T, dz, dz), "g": (T, dz), "K": (T, du, dx), "k": (T, du), "Sigma": (T, du, du),
    }  # fmt: skip
    arrays = [np.ascontiguousarray(getattr(p, name), dtype=np.float64) for name in shapes]
    for array, (name, shape) in zip(arrays, shapes.items(), strict=True):
        if array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}; T={T}, dx={dx}, du={du} need {shape}")
    return arrays


def _make_outputs(p):
    return np.empty((p.T, p.du, p.dx)), np.empty((p.T, p.du)), np.empty((p.T, p.du, p.du))


def _get_sizes(p):
    return p.T, p.dx, p.du


def _get_pointers(arrays):
    return [array.ctypes.data for array in arrays]


def build() -> "Library | None":
    """Compile the library, or find it in the cache, and load it.

    Returns a `Library`, or None with a warning of one sentence if the compiler or Eigen's headers are missing, or the
    compiler fails.
    """
    compiler = find_compiler()
    if compiler is None:
        return _warn("no C++ compiler was found: install Debian's g++ (and libeigen3-dev), or set CXX")
    headers = find_eigen()
    if headers is None:
        return _warn("Eigen's headers were not found: install Debian's libeigen3-dev, or set EIGEN_INCLUDE")
    path = find_cache_folder() / f"update-{_make_key(compiler, headers)}.so"
    if not path.exists():
        error = _compile(compiler, headers, path)
        if error:
            return _warn(f"{compiler} failed on {SOURCE.name} (Eigen is Debian's libeigen3-dev): {error}")
    return Library(path)


def find_compiler():
    """Return the path of the C++ compiler, $CXX, g++ or clang++; None if there is none."""
    candidates = (os.environ.get("CXX"), "g++", "clang++")
    return next((found for name in candidates if name and (found := shutil.which(name))), None)


def find_eigen():
    """Return the folder that contains Eigen/Dense, or None."""
    candidates = [os.environ.get("EIGEN_INCLUDE")]
    if shutil.which("pkg-config"):
        answer = subprocess.run(["pkg-config", "--cflags-only-I", "eigen3"], capture_output=True, text=True)
        candidates += [flag[2:] for flag in answer.stdout.split() if flag.startswith("-I")]
    candidates += ["/usr/include/eigen3", "/usr/local/include/eigen3"]
    for prefix in (os.environ.get("CONDA_PREFIX"), sys.prefix):
        candidates += [f"{prefix}/include/eigen3", f"{prefix}/Library/include/eigen3"] if prefix else []
    return next((Path(c) for c in candidates if c and (Path(c) / "Eigen" / "Dense").is_file()), None)


def find_cache_folder():
    """Return $XDG_CACHE_HOME/gps/benchmarks, with the usual default."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gps" / "benchmarks"


def _make_key(compiler, headers):
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout
    target = platform.machine() + _read_processor_flags()
    parts = (SOURCE.read_text(), compiler, version, str(headers), " ".join(FLAGS), target)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


def _read_processor_flags():
    """Return the processor's feature flags, on which -march=native depends, if the system lists them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _compile(compiler, headers, path):
    """Compile to `path` by an atomic rename (two processes may build at once); return a line of the error, or None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(suffix=".so", dir=path.parent)
    os.close(handle)
    command = [compiler, *FLAGS, f"-I{headers}", str(SOURCE), "-o", partial]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        os.unlink(partial)
        lines = answer.stderr.splitlines()
        return next((line for line in lines if "error" in line), lines[0] if lines else "no message")
    os.replace(partial, path)
    return None


def _warn(reason):
    warnings.warn(f"the compiled reference is left out because {reason}.", stacklevel=3)
    return None
