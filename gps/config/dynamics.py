"""`[algorithm.dynamics]`: how to fit the local dynamics."""

from typing import Annotated, Any, Literal

from pydantic import Field

from gps.config.model import (
    GaussianProcessModelConfig,
    LinearModelConfig,
    NeuralModelConfig,
    PhysicsModelConfig,
    StoredModelConfig,
)
from gps.config.section import Section, plugin_names, usual_name


class MixtureConfig(Section):
    """A Gaussian mixture over the points [x; u; x'] of all conditions."""

    clusters: int = Field(default=20, ge=1, le=10_000, description="largest number of clusters")
    points_per_cluster: int = Field(
        default=40,
        ge=1,
        description="smallest number of points per cluster; with fewer points, fewer clusters are used",
    )
    memory: int = Field(
        default=2, ge=1, description="number of latest iterations whose samples the mixture is fitted to"
    )
    em_steps: int = Field(default=5, ge=1, le=10_000, description="steps of expectation-maximisation in each iteration")
    max_points: int = Field(
        default=4000, ge=1, description="largest number of points that the mixture is fitted to, evenly spread"
    )


class MixturePriorConfig(MixtureConfig):
    """A Gaussian mixture as the prior of the fit at each time step."""

    name: Literal["gmm"] = "gmm"
    strength: float = Field(default=1.0, ge=0, description="pseudo-count of the prior, in samples")


class NoPriorConfig(Section):
    """No prior: each time step is fitted only to its own samples."""

    name: Literal["none"] = "none"


class PluginPriorConfig(Section):
    """A prior from another package, named by its entry point in the group `gps.dynamics`."""

    name: Literal["plugin"] = "plugin"
    plugin: str = Field(min_length=1, description="name of the entry point; the prior's own keys may follow `name`")
    options: dict[str, Any] = Field(default={}, description="keyword arguments of the entry point")


class ModelPriorKeys(Section):
    """Keys of the priors that are global models, in addition to those of the model."""

    strength: float | None = Field(
        default=None,
        gt=0,
        description="trust in the model's prediction and slopes; 1: as it claims; default: by the samples' marginal "
        "likelihood, in each iteration",
    )
    degrees: float | None = Field(
        default=None, gt=0, description="trust in the model's noise, in samples; default: by marginal likelihood"
    )


class LinearPriorConfig(ModelPriorKeys, LinearModelConfig):
    """A linear model of all states as the prior."""


class NeuralPriorConfig(ModelPriorKeys, NeuralModelConfig):
    """An ensemble of neural networks as the prior."""


class GaussianProcessPriorConfig(ModelPriorKeys, GaussianProcessModelConfig):
    """A Gaussian process as the prior."""


class PhysicsPriorConfig(ModelPriorKeys, PhysicsModelConfig):
    """The simulator with fitted parameters as the prior."""


class StoredPriorConfig(ModelPriorKeys, StoredModelConfig):
    """A model that `gps fit` has written as the prior."""


class DynamicsConfig(Section):
    """`[algorithm.dynamics]`: how to fit the local dynamics."""

    fit: Literal["bayesian", "least_squares"] = Field(
        default="bayesian",
        description="Bayesian regression under the prior, or least squares",
    )
    ridge: float = Field(
        default=1e-6,
        ge=0,
        description="ridge added to the covariance of [x; u], relative to each dimension's mean square deviation",
    )
    center: Literal["posterior", "sample"] = Field(
        default="posterior",
        description="the point that the model passes through: the posterior mean or the samples' mean; the slopes are "
        "those of the posterior in both cases, with its term of the gap between samples and prior",
    )
    prior: Annotated[
        Annotated[
            MixturePriorConfig
            | NoPriorConfig
            | LinearPriorConfig
            | NeuralPriorConfig
            | GaussianProcessPriorConfig
            | PhysicsPriorConfig
            | StoredPriorConfig
            | PluginPriorConfig,
            Field(discriminator="name"),
        ],
        plugin_names("gps.dynamics"),
        usual_name("gmm"),
        Field(description="prior of the dynamics at a time step"),
    ] = MixturePriorConfig()
