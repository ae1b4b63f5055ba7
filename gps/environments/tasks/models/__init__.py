"""The MJCF models of the environments that come with the package."""

from importlib.resources import files


def read(name: str) -> str:
    """The XML of the model `name`."""
    return (files(__name__) / f"{name}.xml").read_text(encoding="utf-8")
