"""Planning in a model: what to do from a given state."""
