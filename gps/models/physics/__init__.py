"""Physics with unknown parameters as a global model: a simulator whose masses or gains are fitted to data."""
