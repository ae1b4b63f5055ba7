"""Create an experiment with your own environment and cost, from a template."""

from __future__ import annotations

import argparse
from pathlib import Path

from gps.commands._common import OK
from gps.errors import ConfigError
from gps.storage.write_errors import report_write_errors

KINDS = ("gymnasium", "mjcf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "directory", metavar="DIR", help="directory to create; its name becomes the name of the experiment"
    )
    parser.add_argument(
        "--kind",
        choices=KINDS,
        default=KINDS[0],
        help="kind of environment: a gymnasium.Env in Python, or a MuJoCo model without Python; default: gymnasium",
    )


def main(args: argparse.Namespace) -> int:
    from importlib.resources import files

    target = Path(args.directory)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target}: exists and is not empty; choose another name")
    with report_write_errors(target, ConfigError):
        target.mkdir(parents=True, exist_ok=True)
        for source in sorted(files("gps.templates").joinpath(args.kind).iterdir(), key=lambda file: file.name):
            text = source.read_text(encoding="utf-8")
            if source.name == "README.md":
                text = text.format(name=target.resolve().name, path=target)
            (target / source.name).write_text(text, encoding="utf-8")
            print(target / source.name)
    print(f"next: gps check {target}, then gps run {target}")
    return OK
