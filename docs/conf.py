"""The site of the documentation: `sphinx-build --fail-on-warning docs build/site`."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "_ext")]

import gps  # noqa: E402

project = "gps"
author = "The gps authors"
copyright = "The gps authors, MIT licence"
release = version = gps.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx-mathjax-offline",
    "pages",  # docs/_ext: pages made from the package and from experiments/
    "docstrings",
]
exclude_patterns = ["README.md"]

# Markdown as GitHub reads it.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # the tests execute the notebooks

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
default_role = "literal"
smartquotes = False
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "gps"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
copybutton_prompt_text = "$ "
