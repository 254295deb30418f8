"""The documentation's site: `make docs` builds it from the pages of this folder (docs/docs.mk)."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "site"))

import tessera  # noqa: E402  what the API pages are made from; build/python is on the path

project = "Tessera"
copyright = "the Tessera authors"
version = release = tessera.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "cheader", "operators", "tglexer"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["site"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False

# the formats of this project have no lexer of their own
highlight_language = "none"

html_theme = "furo"
html_title = f"Tessera {release}"
html_copy_source = html_show_sourcelink = False
html_static_path = ["site/static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}


def escape_bars(app, what, name, obj, options, lines):
    """|x| is a magnitude in docstrings, not a substitution."""
    lines[:] = [line if "``" in line else line.replace("|", r"\|") for line in lines]


STUBS = {m[1]: (m[2], m[3]) for m in re.finditer(r"^def (\w+)(\(.*\)) -> (.*): \.\.\.$", Path(tessera.__file__).with_name("_ops.pyi").read_text(), re.M)}


def typed_signature(app, what, name, obj, options, signature, result):
    """The generated operators have their types in a stub, the words of kernels their parameters in a table."""
    if hasattr(obj, "__tessera_word__"):
        return tessera.tile.WORDS[obj.__name__][0], None
    return STUBS.get(obj.__name__) if what == "function" and obj.__module__ == "tessera._ops" else None


def setup(app):
    app.connect("autodoc-process-signature", typed_signature)
    app.connect("autodoc-process-docstring", escape_bars)
