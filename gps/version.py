"""The version and the name of this package."""

__version__ = "0.1.0"

DISTRIBUTION = "guided-policy-search"
"""The name under which pip knows the package: `gps` is another project's."""
