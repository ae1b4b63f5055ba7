"""The tasks that come with this package: MuJoCo models of our own, with their rewards and goals."""
