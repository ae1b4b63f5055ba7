"""Benchmarks: one command each; every number is printed with a reference."""
