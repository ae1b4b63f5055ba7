"""The commands of `gps`, one module each.

A command's module docstring is its help; `add_arguments(parser)` says what it takes, and `main(args)` does it and
returns the exit code. What is slow to import is imported within `main`, so that `gps --help` answers at once.
"""

NAMES = (
    "run", "resume", "sweep", "list", "show", "report", "view", "compare", "evaluate", "render", "export", "check",
    "new",
)  # fmt: skip
"""In the order of `gps --help`."""
