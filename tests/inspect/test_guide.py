"""The guide to reports and live pages: its commands are ones that the command line takes, its Python compiles."""

import re
import shlex
from pathlib import Path

import pytest
from helpers.runs import make_run

from gps import cli
from gps.runs import control, load_run

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/inspect.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.S)


@pytest.mark.parametrize("line", [line for block in blocks("sh") for line in block.splitlines()])
def test_its_commands(line):
    program, *arguments = shlex.split(line)
    assert program == "gps"
    chosen = cli._parser().parse_args(arguments)
    experiment = getattr(chosen, "experiment", None)
    assert experiment is None or (ROOT / experiment / "experiment.toml").is_file()


def test_its_python(tmp_path):
    _, script, callback = blocks("python")
    (tmp_path / "run").mkdir()
    exec(compile(re.sub(r'Path\("runs/.*?"\)', f"Path({str(tmp_path / 'run')!r})", script), "inspect.md", "exec"), {})
    assert control.read_request(tmp_path / "run") == "pause"
    compile(callback, "inspect.md", "exec")


def test_its_notebook(tmp_path, capsys, monkeypatch):
    made = make_run(tmp_path, iterations=1)
    monkeypatch.chdir(tmp_path)
    script = blocks("python")[0].replace('"runs/reacher"', repr(str(made.path)))
    exec(compile(script, "inspect.md", "exec"), {})
    assert capsys.readouterr().out.startswith(f"{load_run(made.path)}\nIteration 0: ")
