"""The heart: time-varying linear-Gaussian controllers, dynamics and costs, and the maths between them."""
