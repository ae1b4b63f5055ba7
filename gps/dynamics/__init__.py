"""Local models of the dynamics, and their priors."""
