"""Local dynamics models and their priors."""
