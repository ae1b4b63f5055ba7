"""Lets the tests of every folder import `benchmarks` and the helpers that lie beside this file."""

import sys
from pathlib import Path

TESTS = Path(__file__).parent
sys.path[:0] = [str(path) for path in (TESTS, TESTS.parent) if str(path) not in sys.path]
