"""Experts: who says what to do in a state, so that a policy can learn it from what it observes."""
