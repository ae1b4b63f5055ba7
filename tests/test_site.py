"""The site of docs/: it builds without a warning, no link is broken, and every key of a file has a meaning."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("sphinx", reason="the site needs the extra `docs`")
pytest.importorskip("furo")
pytest.importorskip("myst_nb")

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs/_ext"))

import configuration  # noqa: E402
from docstrings import mark_up  # noqa: E402


class Page(HTMLParser):
    """What a page links to, and the places in it that can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name == "id":
                self.places.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The pages of the site by their paths, built anew."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "docs", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": ""})
    assert done.returncode == 0, done.stderr
    return {path: Page(path.read_text(encoding="utf-8")) for path in out.rglob("*.html")}


def test_every_link_inside_the_site_leads_somewhere(site):
    broken = []
    for path, page in site.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link == "#":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            found = target.is_file() and (not parts.fragment or target.suffix != ".html" or target not in site
                                          or unquote(parts.fragment) in site[target].places)  # fmt: skip
            if not found:
                broken.append(f"{path.name}: {link}")
    assert not broken


def test_a_page_loads_nothing_from_elsewhere(site):
    for path in site:
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|img|iframe)[^>]*src="(?:https?:)?//', text), path.name
        assert not re.findall(r'<link[^>]*rel="stylesheet"[^>]*href="(?:https?:)?//', text), path.name


def test_every_experiment_has_its_page_and_its_picture(site):
    names = {path.parent.name for path in ROOT.glob("experiments/*/experiment.toml")}
    assert names <= {path.stem for path in site}
    assert names <= {path.stem for path in ROOT.glob("docs/pictures/*.webp")}


def test_the_pictures_are_small():
    shown = [path for path in ROOT.glob("docs/**/*") if path.suffix in (".svg", ".webp", ".ipynb")]
    sizes = {path.name: path.stat().st_size for path in shown if "generated" not in path.parts}
    assert max(sizes.values()) < 300_000 and sum(sizes.values()) < 4_000_000, sizes


def test_every_key_has_a_meaning_a_type_and_a_default():
    count = 0
    for section in configuration.sections():
        assert section.__doc__, section
        for key, field in configuration.keys(section):
            if key != "name":
                row = configuration._row(key, field)
                cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
                assert len(cells) == 4 and all(cells), (section, row)
                count += 1
    assert count > 400


def test_docstrings_are_plain_text():
    assert mark_up(["A `name_` and x_ of *args, |x|."]) == [r"A ``name_`` and x\_ of \*args, \|x\|."]
    assert mark_up(["Like", "", "    a*b", "", "Args:", "    x: a*b"]) == [
        "Like", "", "::", "", "    a*b", "", "", "Args:", r"    x: a\*b",
    ]  # fmt: skip
