"""JAX with the settings of this library: float64, one thread per call, compiled code cached between runs.

Import JAX from here (`from gps.backend import jax, jnp`), so that the settings are made before the first array exists.

One XLA thread makes results independent of the machine's load and of the number of cores, and is the fastest choice
for the small matrices of this library; the physics uses the other cores. A loop over time whose steps are small is
compiled into one kernel, several times faster than one kernel per operation. The user's own settings in `XLA_FLAGS` or
`JAX_COMPILATION_CACHE_DIR` take precedence.

The settings hold for the whole process: JAX has one set of them. XLA reads its flags once, when JAX computes for the
first time, so a program that used JAX before is warned that its results may differ in the last bits.

Raises:
    BackendError: if JAX cannot start on the platform that `JAX_PLATFORMS` names.
"""

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from gps.errors import BackendError, one_line

_FLAGS = {
    "xla_cpu_multi_thread_eigen": "false",
    # A loop becomes one kernel if a step touches fewer bytes than this, which fit in the L2 cache.
    "xla_backend_extra_options": f"xla_cpu_small_while_loop_byte_threshold={2**18}",
}

WHOLE_LOOPS = {"xla_disable_hlo_passes": "dot-library-rewriter"}
"""Compiler options for a function that spends its time in loops of small matrix products.

They make the products part of the loop's kernel. By default XLA calls a library for each product, which is better for
the large products of neural networks but prevents the loop from becoming one kernel.
"""


def _set_flags() -> None:
    given = os.environ.get("XLA_FLAGS", "")
    ours = [f"--{name}={value}" for name, value in _FLAGS.items() if name not in given]
    if ours and _has_started():
        warnings.warn(
            "JAX was used before gps was imported, so gps could not set XLA's flags: the same seed gives other bits "
            "than in other programs; import gps.backend before the first computation with JAX, or set "
            f"XLA_FLAGS='{' '.join(ours)}'",
            stacklevel=2,
        )
    os.environ["XLA_FLAGS"] = " ".join([given, *ours]).strip()


def _has_started() -> bool:
    """True if XLA has read its flags: JAX has computed something in this process, or listed its devices."""
    bridge = sys.modules.get("jax._src.xla_bridge")  # no public function says it
    return bridge is not None and bridge.backends_are_initialized()


def cache_directory() -> Path | None:
    """The folder of compiled code: `gps/xla` in the user's cache folder (`XDG_CACHE_HOME`, by default `~/.cache`).

    None if there is none that can be written: a user may have no home.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gps" / "xla"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def _require_platform() -> None:
    """Start JAX if the user chose its platform. Without a choice it falls back to the CPU by itself."""
    platforms = jax.config.jax_platforms  # type: ignore[attr-defined]  # JAX makes its options at run time
    if not platforms:
        return
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        reason = one_line(error) or "there is no such device"
        raise BackendError(
            f"JAX_PLATFORMS={platforms}: JAX cannot start there: {reason}; set JAX_PLATFORMS=cpu, or unset it"
        ) from None


_set_flags()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

jax.config.update("jax_enable_x64", True)
if not jax.config.jax_compilation_cache_dir and (_folder := cache_directory()):  # type: ignore[attr-defined]
    jax.config.update("jax_compilation_cache_dir", str(_folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    warnings.filterwarnings("ignore", r"Error (read|writ)ing persistent compilation cache")  # the disk may be full
_require_platform()

import numpy as np  # noqa: E402

if TYPE_CHECKING:
    Array: TypeAlias = Any
else:
    Array = np.ndarray | jax.Array
"""A NumPy or a JAX array: records hold the first, compiled functions see the second.

At run time jaxtyping checks its shape. Type checkers know no common type of both that has their methods.
"""

__all__ = ["WHOLE_LOOPS", "Array", "cache_directory", "jax", "jnp"]
