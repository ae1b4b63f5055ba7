"""`python -m gps` is the `gps` command."""

import sys

from gps.cli import script

sys.exit(script())
