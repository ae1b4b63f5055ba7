"""Algorithms that improve one local controller for each condition."""
