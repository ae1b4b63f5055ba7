"""Physics with unknown parameters as a global model: a simulator whose masses, frictions or gains are fitted to data."""
