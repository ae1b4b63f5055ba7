"""Batches of any Gymnasium environment: one environment per simulation, stepped in this process or in several."""
