"""The pages of docs/ as their tests take them: an experiment, the commands that run it, and the keys that they name."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from gps import cli

DOCS = Path(__file__).parents[2] / "docs"


class Page:
    """A page with one experiment, the commands that run it, and tables of its keys."""

    def __init__(self, name: str) -> None:
        self.text = (DOCS / name).read_text(encoding="utf-8")
        blocks = re.findall(r"```sh\n(.*?)```", self.text, re.S)
        self.commands = [line for block in blocks for line in block.splitlines()]

    def write_experiment(self, folder: Path) -> None:
        """Write the one file whose name is the first line of its block."""
        ((name, content),) = re.findall(r"```toml\n# ([\w.]+)\n(.*?)```", self.text, re.S)
        folder.mkdir()
        (folder / name).write_text(content, encoding="utf-8")

    def run_commands(
        self,
        runs: Path,
        capsys,
        change: Callable[[str], str] = lambda word: word,
        commands: Sequence[str] | None = None,
    ) -> Iterator[tuple[list[str], str]]:
        """Run each command in the current folder, and give its arguments and what it printed.

        Args:
            runs: where the runs of the experiment are; the first takes the place of RUN in a command.
            change: what becomes of each word of a command.
            commands: some of the page's; default: all.
        """
        for command in self.commands if commands is None else commands:
            program, *words = shlex.split(command)
            assert program == "gps", command
            first = next(iter(sorted(path.parent for path in runs.glob("*/iterations"))), None)
            arguments = [str(first) if word == "RUN" else change(word) for word in words]
            assert cli.main(arguments) == 0, (command, capsys.readouterr().err)
            yield arguments, capsys.readouterr().out

    def list_missing_keys(
        self, end: str, root: type[BaseModel], sections: Mapping[str, type[BaseModel]]
    ) -> Iterator[str]:
        """The keys of the table of keys that no section has.

        Args:
            end: what follows the table.
            root, sections: of `[algorithm]`, and of the tables within it. A key without a section belongs to that of
                the key before it in its row.
        """
        rows = self.text[self.text.index("| key |") : self.text.index(end)].splitlines()[2:]
        for row in filter(None, rows):
            section, keys = root, re.findall(r"`([\w.]+)`", row.split("|")[1])
            for key in keys:
                first, _, last = key.rpartition(".")
                section = sections[first] if first else section
                if last not in section.model_fields:
                    yield key
