"""Global models of the dynamics: one model for all states, fitted to all samples. `model` holds their protocols."""
