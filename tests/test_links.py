"""Every link between the pages of the repository leads to a file that is there, and to a heading of it.

Links to other sites are not fetched, and those to the site's generated pages are checked where the site is built
(tests/test_site.py).
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "docs/**/*.ipynb", "experiments/*/README.md")
    for path in ROOT.glob(pattern)
    if not {"generated", ".ipynb_checkpoints"} & set(path.parts)
)


def read(path: Path) -> str:
    """The Markdown of a page, without its blocks of code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return re.sub(r"^(```+).*?^\1", "", text, flags=re.M | re.S)


def find_anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    anchors: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.*?) *$", text, re.M):
        plain = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = next(i for i in range(100) if (f"{slug}-{i}" if i else slug) not in anchors)
        anchors.add(f"{slug}-{number}" if number else slug)
    return anchors


def find_broken_links(path: Path) -> Iterator[str]:
    text = re.sub(r"`[^`\n]*`", "", read(path))
    for link in re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", text):
        target, _, anchor = unquote(link).partition("#")
        if re.match(r"[a-z]+:", target) or target.startswith("generated/"):
            continue
        page = (path.parent / target).resolve() if target else path
        if not page.exists():
            yield f"{link}: there is no such file"
        elif anchor and page.suffix in (".md", ".ipynb") and anchor not in find_anchors(read(page)):
            yield f"{link}: there is no such heading"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    assert list(find_broken_links(path)) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b`: c & d\n\n# A\n\n# A\n\n[x](#a-b-c--d) [y](#a-1) [z](page.md#e) [w](no.md) [v](https://a.b/c)\n"
    )
    assert list(find_broken_links(page)) == ["page.md#e: there is no such heading", "no.md: there is no such file"]
