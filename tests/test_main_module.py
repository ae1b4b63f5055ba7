"""`python -m gps` is the `gps` command."""

import subprocess
import sys


def test_the_package_runs_as_a_module():
    said = subprocess.run([sys.executable, "-m", "gps", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("gps ")
    wrong = subprocess.run([sys.executable, "-m", "gps", "show", "nowhere"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "gps: error" in wrong.stderr
