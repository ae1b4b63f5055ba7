"""Time-varying linear-Gaussian controllers, dynamics and quadratic costs, and the maths that connects them."""
