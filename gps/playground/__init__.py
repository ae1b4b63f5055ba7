"""`gps view --sim`: what a run has learned, in a running simulation that a person can push.

`simulation` plays the controllers step by step and takes forces on bodies. `window` shows it in MuJoCo's own viewer;
`page` shows it in a browser where there is no display.
"""

from gps.playground.simulation import LiveSimulation

__all__ = ["LiveSimulation"]
