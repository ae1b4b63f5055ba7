"""The README keeps its promises: its Python example runs, and what it names exists."""

import itertools
import os
import re
import shlex
from pathlib import Path

import gps
from gps import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def test_the_example_runs_and_inserts_the_peg(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"<!-- tested.*?-->\n```python\n(.*?)```", README, re.S)
    code = [line for line in example.splitlines() if line.strip()]
    assert len(code) <= 15
    monkeypatch.chdir(tmp_path)
    os.symlink(ROOT / "experiments", tmp_path / "experiments")
    exec(compile(example, "README.md", "exec"), {})
    assert "inserted: True" in capsys.readouterr().out


def test_it_is_short():
    assert len(README.split()) <= 700


def test_the_commands_of_each_door_can_be_typed_so():
    parser = cli._parser()
    doors = README[README.index("## Three doors") : README.index("## What it reaches")]
    blocks = [block.splitlines() for block in re.findall(r"```sh\n(.*?)```", doors, re.S)]
    assert [len(block) for block in blocks] == [3, 3, 3]
    for line in itertools.chain(*blocks):
        program, *arguments = shlex.split(line, comments=True)
        assert program == "gps"
        parser.parse_args(arguments)
        assert all((ROOT / word).exists() for word in arguments if word.startswith(("experiments/", "docs/")))


def test_its_pictures_are_there_and_small():
    pictures = re.findall(r"!\[.+?\]\((.*?)\)", README)
    assert len(pictures) == 2 and all((ROOT / path).stat().st_size < 300_000 for path in pictures)


def test_every_experiment_that_is_shipped_is_among_the_results_and_the_other_way_round():
    results = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    shipped = {path.parent.name for path in ROOT.glob("experiments/*/experiment.toml")}
    assert {name for name in shipped if f"experiments/{name}" in results} == shipped
    assert all((ROOT / "experiments" / name / "README.md").is_file() for name in shipped)
    assert {name for name in re.findall(r"experiments/(\w+)", README + results)} <= shipped


def test_the_citation_has_the_version():
    assert f"version: {gps.__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_every_dependency_has_its_reason():
    text, page = (ROOT / "setup.cfg").read_text(), (ROOT / "docs/install.md").read_text(encoding="utf-8")
    required = re.search(r"install_requires =\n(.*?)\n\n", text, re.S).group(1)
    for package in re.findall(r"^\s+([\w-]+)", required, re.M):
        assert re.search(rf"^\|.*\b{package}\b.*\|", page, re.M), package
    extras = re.findall(r"^(\w+) =$", text[text.index("[options.extras_require]") :], re.M)
    assert [extra for extra in extras if f"`{extra}`" not in page] == []
