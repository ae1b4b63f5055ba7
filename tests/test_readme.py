"""The README keeps its promises: its Python example runs, and what it names exists."""

import os
import re
from pathlib import Path

import gps

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
    prose = re.sub(r"```.*?```", "", README, flags=re.S)
    assert len(prose.split()) <= 700


def test_its_links_lead_somewhere():
    for page in (ROOT / "README.md", *ROOT.glob("docs/*.md")):
        for target in re.findall(r"\]\((?!https?:|#|generated/)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_experiment_that_is_shipped_is_among_the_results_and_the_other_way_round():
    results = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    shipped = {path.parent.name for path in ROOT.glob("experiments/*/experiment.toml")}
    assert {name for name in shipped if f"experiments/{name}" in results} == shipped
    assert all((ROOT / "experiments" / name / "README.md").is_file() for name in shipped)
    assert {name for name in re.findall(r"experiments/(\w+)", README + results)} <= shipped


def test_the_citation_has_the_version():
    assert f"version: {gps.__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_every_dependency_has_its_reason():
    text = (ROOT / "setup.cfg").read_text()
    required = re.search(r"install_requires =\n(.*?)\n\n", text, re.S).group(1)
    for package in re.findall(r"^\s+([\w-]+)", required, re.M):
        assert re.search(rf"^\|.*\b{package}\b.*\|", README, re.M), package
