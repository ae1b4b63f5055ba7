"""Benchmarks: one command each; every number is printed beside a reference."""
