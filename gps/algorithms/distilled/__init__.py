"""Distillation: a global policy imitates an expert."""
