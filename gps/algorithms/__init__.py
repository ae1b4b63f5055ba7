"""Algorithms, one page each. The loop in `gps.experiment` runs them without knowing which."""
