"""The lessons of docs/learn keep their promises: each command runs, and a run makes the lesson's picture.

The runs are cut to two iterations here, and are whole with `-m slow`.
"""

import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import pytest

from gps import cli

ROOT = Path(__file__).parents[1]
LESSONS = sorted(page for page in (ROOT / "docs/learn").glob("*.md") if page.stem != "index")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder from which the commands of a lesson find what they name."""
    for name in ("docs/learn", "experiments"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read_commands(page: Path) -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    return [shlex.split(line) for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def draw(lesson: str, *runs: str) -> None:
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs/pictures.py")
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    pictures.main(lesson, *runs)


def follow(page: Path, *more: str) -> None:
    """Type the commands of a lesson."""
    for program, *arguments in read_commands(page):
        if program == "gps":
            options = more if arguments[0] == "run" else ()
            assert cli.main([*arguments, *options]) == 0, arguments
        else:
            assert (program, arguments[0]) == ("python", "docs/pictures.py")
            draw(*arguments[1:])


@pytest.mark.parametrize("page", LESSONS, ids=lambda page: page.stem)
def test_a_lesson_can_be_followed(page, folder):
    follow(page, "--iterations", "2")
    assert "<svg" in (folder / f"{page.stem}.svg").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("page", LESSONS, ids=lambda page: page.stem)
def test_a_lesson_reaches_what_it_shows(page, folder, capsys):
    follow(page)
    final = r"^  condition 0  cost +(\S+)"
    reached = [float(cost) for cost in re.findall(final, capsys.readouterr().out, re.M)]
    for cost in map(float, re.findall(final, page.read_text(encoding="utf-8"), re.M)):
        assert any(abs(other - cost) <= 0.3 * cost for other in reached), (cost, reached)


@pytest.mark.parametrize("page", LESSONS, ids=lambda page: page.stem)
def test_a_lesson_has_its_parts(page):
    text = page.read_text(encoding="utf-8")
    assert re.search(r"^\$\$$", text, re.M) and "lec-11.pdf" in text
    (picture,) = re.findall(r"!\[.+\]\((.*?\.svg)\)", text)
    assert (page.parent / picture).resolve() == ROOT / f"docs/pictures/{page.stem}.svg"
    assert f"({page.name})" in (ROOT / "docs/learn/index.md").read_text(encoding="utf-8")
