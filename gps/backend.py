"""JAX as this library uses it: float64, one thread per call, compiled code kept between runs.

Import JAX from here (`from gps.backend import jax, jnp`), so that the settings hold before the first array exists.

One XLA thread makes results independent of the machine's load and of the number of cores, and is the fastest choice
for the small matrices of this library; the physics uses the other cores. Settings made by the user in `XLA_FLAGS` or
`JAX_COMPILATION_CACHE_DIR` win.
"""

import os
from pathlib import Path


def _use_one_thread() -> None:
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_multi_thread_eigen" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()


def cache_directory() -> Path:
    """Where compiled code is kept: `gps/xla` in the user's cache folder (`XDG_CACHE_HOME`, else `~/.cache`)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gps" / "xla"


_use_one_thread()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

jax.config.update("jax_enable_x64", True)
if not jax.config.jax_compilation_cache_dir:
    jax.config.update("jax_compilation_cache_dir", str(cache_directory()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)

__all__ = ["cache_directory", "jax", "jnp"]
