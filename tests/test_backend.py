"""JAX is set up on any platform, or one sentence says why not."""

import os

import pytest
from helpers.processes import run_python

STRANGER = "import os; os.getuid = lambda: 2**31 - 5"  # a user without an entry in the list of users
USE = "import jax; jax.numpy.ones(2) + 1"


def _environment(**changes: str | None) -> dict[str, str]:
    merged = {**os.environ, "XLA_FLAGS": None, "JAX_PLATFORMS": None, "JAX_COMPILATION_CACHE_DIR": None, **changes}
    return {key: value for key, value in merged.items() if value is not None}


@pytest.mark.parametrize("place", [{"HOME": None, "XDG_CACHE_HOME": None}, {"XDG_CACHE_HOME": "/proc/no/cache"}])
def test_without_a_folder_for_its_cache_jax_works(place):
    code = f"{STRANGER}; import gps.backend as b; assert b.cache_directory() is None; print(float(b.jnp.ones(2).sum()))"
    done = run_python("-W", "error", "-c", code, env=_environment(**place))
    assert (done.returncode, done.stdout, done.stderr) == (0, "2.0\n", "")


@pytest.mark.parametrize("platform", ["cuda", "no_such_platform"])
def test_a_platform_that_is_not_here_is_one_sentence(platform, slider):
    done = run_python("-m", "gps.cli", "run", slider, "--out", slider, env=_environment(JAX_PLATFORMS=platform))
    if done.returncode == 0:
        pytest.skip("this machine has the device")
    assert done.returncode == 2
    assert done.stderr.startswith(f"gps: error: JAX_PLATFORMS={platform}: JAX cannot start there: ")
    assert done.stderr.endswith("; set JAX_PLATFORMS=cpu, or unset it\n") and done.stderr.count("\n") == 1


def test_jax_used_before_is_warned_of():
    late = run_python("-W", "error", "-c", f"{USE}; import gps.backend", env=_environment())
    assert late.returncode == 1 and "JAX was used before gps was imported" in late.stderr
    remedy = late.stderr.rpartition("XLA_FLAGS='")[2].partition("'")[0]
    early = run_python("-W", "error", "-c", f"import gps.backend; {USE}", env=_environment())
    told = run_python("-W", "error", "-c", f"{USE}; import gps.backend", env=_environment(XLA_FLAGS=remedy))
    assert [done.stderr for done in (early, told)] == ["", ""]


def test_the_flags_survive_a_second_import():
    code = "import gps.backend, importlib; importlib.reload(gps.backend)"
    done = run_python("-W", "error", "-c", f"import gps.backend; {USE}; {code}", env=_environment())
    assert done.stderr == ""
