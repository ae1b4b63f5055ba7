"""The commands of `gps`, one module each.

A command's module docstring is its help; `add_arguments(parser)` declares its arguments, and `main(args)` runs it and
returns the exit code. Slow imports are made within `main`, so that `gps --help` answers at once.
"""

NAMES = (
    "run", "resume", "sweep", "ladder", "tune", "baseline", "list", "show", "report", "view", "compare", "evaluate",
    "render", "export", "fit", "check", "new",
)  # fmt: skip
"""The names of the commands, in the order of `gps --help`."""
