"""All algorithms of this library by name, so that a new one is tested without naming it."""

from gps.builders.algorithms import BUILDERS
from gps.config.algorithms import PluginAlgorithmConfig

SECTIONS = {
    section.model_fields["name"].default: section for section in BUILDERS if section is not PluginAlgorithmConfig
}
"""Name of an algorithm -> its section of the configuration."""

VARIANTS = [
    (name, sampling)
    for name, section in SECTIONS.items()
    for sampling in (("on_policy", "off_policy") if "sampling" in section.model_fields else (None,))
]
"""Name of an algorithm, and how it samples if it has the choice."""
