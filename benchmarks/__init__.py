"""Benchmarks: one command each, every number printed beside what it is compared with."""
