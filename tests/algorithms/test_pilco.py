"""PILCO: its expected cost against Monte Carlo, the textbook and finite differences; what it survives; that it learns."""
