"""Pages made from the package and from experiments/, in docs/generated, before Sphinx reads the sources.

A link of a page out of docs/ leads to the page that is made of its target.
"""

import posixpath
import re
import tomllib
from pathlib import Path
from typing import Any

import api
import configuration
from sphinx.application import Sphinx
from sphinx.util.osutil import ensuredir

ROOT = Path(__file__).parents[2]
OTHERS = {"ARCHITECTURE.md": "architecture", "CONTRIBUTING.md": "contributing", "CHANGELOG.md": "changelog"}
"""Pages that stand beside docs/, by their names on the site."""

_LINK = re.compile(r"(\]\()(?!https?:|#|mailto:|<)([^)\s#]+)(#[^)\s]*)?(\))")
_FENCE = re.compile(r"(^```.*?^```|^    .*?$)", re.M | re.S)


def relink(text: str, home: str, page: str) -> str:
    """Return a page with the links that lead out of docs/ turned to the site's pages.

    Args:
        home: directory of the page's source in the repository, such as "docs" or "experiments/reacher".
        page: directory of the page on the site, relative to docs/.
    """

    def turn(match: re.Match[str]) -> str:
        before, target, anchor, after = match[1], match[2], match[3] or "", match[4]
        path = posixpath.normpath(posixpath.join(home, target))
        if found := _site_path(path):
            return f"{before}/{found}{anchor}{after}"
        if home == "docs" or not (ROOT / path).is_file():
            return match[0]
        return f"{before}{posixpath.relpath(path, posixpath.join('docs', page))}{anchor}{after}"

    pieces = [text] if text.startswith("{") else _FENCE.split(text)  # a notebook is JSON
    return "".join(piece if i % 2 else _LINK.sub(turn, piece) for i, piece in enumerate(pieces))


def _site_path(path: str) -> str | None:
    """Return the page of a file or folder of the repository, relative to docs/."""
    if path in OTHERS:
        return f"generated/{OTHERS[path]}.md"
    if path == "README.md":
        return "index.md"
    parts = path.split("/")
    if parts[0] == "experiments" and len(parts) == 1:
        return "generated/gallery.md"
    if parts[0] == "experiments" and (ROOT / "experiments" / parts[1] / "experiment.toml").is_file():
        return f"generated/experiments/{parts[1]}.md"
    if parts[0] == "docs" and parts[-1].endswith(".md"):
        return "/".join(parts[1:])
    return None


def _experiment_page(folder: Path) -> str:
    """Return the page of an experiment: its README, a picture, and its files."""
    readme = (folder / "README.md").read_text(encoding="utf-8")
    heading, _, rest = readme.partition("\n")
    picture = _picture(folder.name)
    image = f"\n![{heading.lstrip('# ')}](../../pictures/{picture.name})\n" if picture else ""
    others = (path for path in sorted(folder.glob("*.toml")) if path.name != "experiment.toml")
    paths = [folder / "experiment.toml", *others, *sorted(folder.glob("*.py"))]
    files = [f"## {path.name}\n\n{_fence(path)}" for path in paths]
    text = relink(rest, f"experiments/{folder.name}", "generated/experiments")
    return "\n".join([heading, image, text.strip(), "", "\n\n".join(files), ""])


def _fence(path: Path) -> str:
    kind = "toml" if path.suffix == ".toml" else "python"
    return f"```{kind}\n{path.read_text(encoding='utf-8').rstrip()}\n```"


def _picture(name: str) -> Path | None:
    return next(iter(sorted((ROOT / "docs/pictures").glob(f"{name}.*"))), None)


def _gallery(folders: list[Path]) -> str:
    """Return the page of all experiments: a picture, a sentence and the command of each."""
    cards = []
    for folder in folders:
        page = f"experiments/{folder.name}.md"
        description = tomllib.loads((folder / "experiment.toml").read_text(encoding="utf-8"))["description"]
        picture = _picture(folder.name)
        image = f"[![{folder.name}](../pictures/{picture.name})]({page})\n\n" if picture else ""
        command = "ladder" if (folder / "ladder.toml").is_file() else "run"
        text = f"{image}[{folder.name}]({page}). {description}\n\n`gps {command} experiments/{folder.name}`"
        cards.append(f"```{{container}} card\n{text}\n```")
    names = "\n".join(f"experiments/{folder.name}" for folder in folders)
    return _GALLERY.format(cards="\n".join(cards), names=names)


_GALLERY = """# Gallery

Every experiment that is shipped. What moves is what was learned, without noise; where that is heavy to make, the
picture is the start. A page has the settings, the figures over seeds and the command; [all results](/results.md) are on
one page.

````{{container}} cards
{cards}
````

```{{toctree}}
:hidden:

{names}
```
"""


def generate(app: Sphinx) -> None:
    """Write the generated pages. An unchanged page keeps its file, so that Sphinx does not build it again."""
    pages = {f"configuration/{name}": text for name, text in configuration.make_pages().items()}
    pages |= {f"api/{name}": text for name, text in api.make_pages().items()}
    folders = [path.parent for path in sorted((ROOT / "experiments").glob("*/experiment.toml"))]
    pages |= {f"experiments/{folder.name}": _experiment_page(folder) for folder in folders}
    pages["gallery"] = _gallery(folders)
    for name, page in OTHERS.items():
        pages[page] = relink((ROOT / name).read_text(encoding="utf-8"), "", "generated")
    home = Path(app.srcdir) / "generated"
    for path in home.rglob("*.md"):
        if path.relative_to(home).with_suffix("").as_posix() not in pages:
            path.unlink()
    for name, text in pages.items():
        path = home / f"{name}.md"
        ensuredir(path.parent)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _relink_page(app: Sphinx, name: str, source: list[str]) -> None:
    if not name.startswith("generated/"):
        folder = posixpath.dirname(name)
        source[0] = relink(source[0], posixpath.join("docs", folder), folder)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", generate)
    app.connect("source-read", _relink_page)
    return {"parallel_read_safe": True}
