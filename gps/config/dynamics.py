"""`[algorithm.dynamics]`: how the local dynamics are fitted."""

from typing import Annotated, Any, Literal

from pydantic import Field

from gps.config.section import Section, named, plugged


class MixtureConfig(Section):
    """A Gaussian mixture over [x; u; x'] of all conditions."""

    clusters: int = Field(default=20, ge=1, description="at most this many")
    points_per_cluster: int = Field(
        default=40, ge=1, description="fewer clusters are used while there are fewer points for each"
    )
    memory: int = Field(default=2, ge=1, description="iterations whose samples the mixture is fitted to")
    em_steps: int = Field(default=5, ge=1, description="steps of expectation-maximisation in each iteration")
    max_points: int = Field(default=4000, ge=1, description="the mixture is fitted to at most this many, evenly spread")


class MixturePriorConfig(MixtureConfig):
    """A Gaussian mixture as the prior of the fit at each time step."""

    name: Literal["gmm"] = "gmm"
    strength: float = Field(default=1.0, ge=0, description="pseudo-count of the prior, in samples")


class NoPriorConfig(Section):
    """No prior: each time step is fitted to its own samples alone."""

    name: Literal["none"] = "none"


class PluginPriorConfig(Section):
    """A prior of another package, by the name of its entry point in the group `gps.dynamics`."""

    name: Literal["plugin"] = "plugin"
    plugin: str = Field(min_length=1, description="the name of the entry point; its own keys may stand beside `name`")
    options: dict[str, Any] = Field(default={}, description="keyword arguments of what makes it")


class DynamicsConfig(Section):
    """`[algorithm.dynamics]`: how the local dynamics are fitted."""

    fit: Literal["bayesian", "least_squares"] = Field(
        default="bayesian",
        description="under the prior (version 2.0 of the lecture), or by linear regression (version 1.0)",
    )
    ridge: float = Field(
        default=1e-6, ge=0, description="added to the covariance of [x; u], relative to each dimension's spread"
    )
    center: Literal["posterior", "sample"] = Field(
        default="posterior", description="the point that the model passes through: posterior mean or samples' mean"
    )
    prior: Annotated[
        Annotated[MixturePriorConfig | NoPriorConfig | PluginPriorConfig, Field(discriminator="name")],
        plugged("gps.dynamics"),
        named("gmm"),
        Field(description="what is believed before the samples of a time step are seen"),
    ] = MixturePriorConfig()
