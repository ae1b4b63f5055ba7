"""Planning: optimise the actions from a given state in a model."""
