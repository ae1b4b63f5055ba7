"""The reference of the Python API, from docstrings: the public names, and the contracts of plug-ins."""

import gps

CONTRACTS = {
    "Run a loop": ["gps.experiment", "gps.callbacks", "gps.runs"],
    "Records": ["gps.records", "gps.status", "gps.players", "gps.metrics"],
    "The problem": ["gps.problem", "gps.linear_gaussian.types"],
    "Policies": ["gps.sampling.policy", "gps.policies.played"],
    "Algorithms": ["gps.algorithms.algorithm", "gps.algorithms.guided.base"],
    "Dynamics": ["gps.dynamics.prior", "gps.dynamics.regression"],
    "Global models": ["gps.models.model", "gps.models.belief", "gps.models.prior"],
    "Planners and experts": ["gps.planning.planner", "gps.experts.contract"],
    "Environments": ["gps.environments.contract"],
    "Ladders": ["gps.ladder"],
    "Watch a run": ["gps.inspect.tensorboard", "gps.inspect.wandb", "gps.inspect.notebook_progress"],
    "Errors": ["gps.errors"],
}
"""The modules of the reference, under their headings."""


def make_pages() -> dict[str, str]:
    """Return the pages of the reference by name, without `.md`; "index" leads to the others."""
    public = [name for name in gps.__all__ if name not in ("Callback", "Run", "Sweep")]
    lines = [
        "# Python API",
        "Everything that a program needs is in `gps`; the modules below are the contracts that "
        "[plug-ins](/plugins.md) are written against.",
        "## gps",
        *(_directive("autofunction", f"gps.{name}") for name in public),
        *(_directive("autoclass", f"gps.{name}", ":members:") for name in ("Callback", "Run", "Sweep")),
    ]
    pages = {}
    for heading, modules in CONTRACTS.items():
        lines.append(f"## {heading}")
        lines.append("\n".join(f"- [{module}]({module}.md)" for module in modules))
        for module in modules:
            members = _directive("automodule", module, ":members:", ":undoc-members:", ":no-index:")
            pages[module] = f"# {module}\n\n{members}\n"
    toctree = "\n".join(module for modules in CONTRACTS.values() for module in modules)
    lines.append(f"```{{toctree}}\n:hidden:\n\n{toctree}\n```")
    return {**pages, "index": "\n\n".join(lines) + "\n"}


def _directive(kind: str, name: str, *options: str) -> str:
    body = "\n".join(f"   {option}" for option in options)
    return f"```{{eval-rst}}\n.. {kind}:: {name}\n{body}\n```"
