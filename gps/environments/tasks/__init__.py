"""The tasks of this package: MuJoCo models with rewards and goals."""
