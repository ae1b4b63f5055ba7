"""Make an experiment with an environment and a cost of your own, to start from."""

from __future__ import annotations

import argparse
from pathlib import Path

from gps.commands._common import OK
from gps.errors import ConfigError

KINDS = ("gymnasium", "mjcf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="to be made; its name is the experiment's")
    parser.add_argument(
        "--kind",
        choices=KINDS,
        default=KINDS[0],
        help="what the environment is: a gymnasium.Env in Python, or a MuJoCo model without Python; default: gymnasium",
    )


def main(args: argparse.Namespace) -> int:
    from importlib.resources import files

    target = Path(args.directory)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target}: exists already and is not empty; choose another name")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for source in sorted(files("gps.templates").joinpath(args.kind).iterdir(), key=lambda file: file.name):
            text = source.read_text(encoding="utf-8")
            if source.name == "README.md":
                text = text.format(name=target.resolve().name, path=target)
            (target / source.name).write_text(text, encoding="utf-8")
            print(target / source.name)
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written: {error.strerror}") from None
    print(f"next: gps check {target}, then gps run {target}")
    return OK
