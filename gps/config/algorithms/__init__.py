"""`[algorithm]`: the algorithm and its settings. One module for each family; base classes hold shared keys."""

from typing import Annotated, Literal

from pydantic import Field

from gps.config.algorithms.distilled import DAggerConfig, PLATOConfig
from gps.config.algorithms.guided import BADMMConfig, GuidedBase, MDGPSConfig, PIGPSConfig, PILQRGPSConfig
from gps.config.algorithms.local import ModelBasedConfig, PI2Config, PILQRConfig, TrajOptConfig
from gps.config.algorithms.through_models import (
    MBRLConfig,
    MCPILCOConfig,
    MPPIGPSConfig,
    PILCOConfig,
    PolicyBackpropConfig,
)
from gps.config.expert import ExpertConfig
from gps.config.section import plugin_names, usual_name


class PluginAlgorithmConfig(ModelBasedConfig, GuidedBase):
    """An algorithm from another package, by the name of its entry point in the group `gps.algorithms`.

    It may use the sections of all families: local model and trust region, policy, expert.
    """

    name: Literal["plugin"] = "plugin"
    plugin: str = Field(min_length=1, description="the name of the entry point; its own keys are options")
    expert: ExpertConfig | None = Field(default=None, description="the expert of an algorithm that has one")


AlgorithmConfig = Annotated[
    Annotated[
        TrajOptConfig
        | PI2Config
        | PILQRConfig
        | MDGPSConfig
        | BADMMConfig
        | PIGPSConfig
        | PILQRGPSConfig
        | DAggerConfig
        | PLATOConfig
        | MBRLConfig
        | PolicyBackpropConfig
        | PILCOConfig
        | MCPILCOConfig
        | MPPIGPSConfig
        | PluginAlgorithmConfig,
        Field(discriminator="name"),
    ],
    plugin_names(
        "gps.algorithms", tuple(key for key in PluginAlgorithmConfig.model_fields if key not in ("name", "plugin"))
    ),
    usual_name("trajopt"),
    Field(description="the algorithm and its settings"),
]
"""`[algorithm]`."""
