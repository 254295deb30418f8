"""The site of the documentation: `make docs` builds it without a warning, every link in it leads somewhere, every operator and every function of
the C interface is on a page, and every program of the documents has a page and a test."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest


class Page(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.links, self.ids = [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs[k] for k in ("id", "name") if attrs.get(k)}
        self.links += [attrs[k] for k in ("href", "src") if attrs.get(k)]


@pytest.fixture(scope="module")
def site(root, build_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "html"
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    words = ["make", "--no-print-directory", f"BUILD={os.path.relpath(build_folder, root)}", f"DOCS_OUT={out}", f"PY={sys.executable}", "docs"]
    made = subprocess.run(words, cwd=root, env=env, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    return out


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html")}


def dead(pages, site):
    """Links to files of the site that are not there, or to places in pages that they do not have."""
    found = []
    for path, page in pages.items():
        for link in page.links:
            to = urlsplit(link)
            if to.scheme or to.netloc or link == "#":
                continue
            at = Path(os.path.normpath(path.parent / unquote(to.path))) if to.path else path
            if not at.exists() or (to.fragment and at in pages and unquote(to.fragment) not in pages[at].ids):
                found.append(f"{path.relative_to(site)}: {link}")
    return found


def test_every_page_is_there(site, root, pages):
    sources = {p.relative_to(root / "docs").with_suffix(".html") for p in (root / "docs").rglob("*.md")}
    assert sources and not [p for p in sources if site / p not in pages]


def test_links_lead_somewhere(site, pages):
    assert sum(len(p.links) for p in pages.values()) > 1000
    assert not dead(pages, site)


def test_it_needs_no_network(pages):
    """Scripts, styles, fonts and pictures are the site's own."""
    for path in pages:
        loaded = re.findall(r"<(?:script|img|link)\b[^>]*?(?:src|href)=\"(https?:[^\"]*)\"", path.read_text())
        assert not loaded, (path, loaded)


def test_what_the_tables_have_is_on_the_pages(site, root, pages):
    from tessera import _ops, memory, nn, ops, profiler, tile

    shown = {i for p in pages.values() for i in p.ids}
    wanted = {f"tessera.ops.{n}" for n in [*_ops.__all__, *ops.__all__]}
    wanted |= {f"{m.__name__}.{n}" for m in (memory, nn, profiler, tile) for n in m.__all__}
    wanted |= {f"tessera.{n}" for n in ("function", "jit", "Module", "Tensor", "randn", "methods.TensorMethods.reshape", "aot.compile", "aot.load", "load", "cache.clear")}
    missing = wanted - shown - {"tessera.nn.Module"}  # which is tessera.Module
    assert not missing
    functions = set(re.findall(r"^static inline .*?\b(tessera_\w+)\(", (root / "include/tessera/tessera.h").read_text(), re.M)) - {"tessera_version_error"}
    assert len(functions) > 20 and not [f for f in functions if f"c.{f}" not in shown] and "c.None" not in shown


def test_programs_of_the_documents_have_pages(root):
    tests = {p.stem.removeprefix("test_") for p in (root / "tests/python/spec").glob("test_s*.py")}
    programs = {p.stem: p.read_text() for p in (root / "docs/programs").glob("s*.md")}
    assert tests <= set(programs), "tests/python/spec has programs without a page in docs/programs"
    index = (root / "docs/programs/index.md").read_text()
    for name, text in programs.items():
        included = re.findall(r"```\{literalinclude\} \.\./\.\./(\S+)", text)
        assert included, f"{name}.md shows no program of a test"
        assert not re.search(r"^ {4}|^```[^{\n]", text, re.M), f"{name}.md has a program of its own, which nothing runs"
        assert f"[S{int(name[1:])}]({name}.md)" in index and all(f"`{path}`" in index for path in included), f"docs/programs/index.md lacks {name}"


def test_a_mistake_is_an_error(root, tmp_path):
    """A link to nowhere, a program that is not there and a name that the package lacks stop the build."""
    (tmp_path / "docs").mkdir()
    shutil.copytree(root / "docs/site", tmp_path / "docs/site")
    shutil.copy(root / "docs/conf.py", tmp_path / "docs")
    wrong = "[x](no-such-page.md) [y](#nowhere)\n\n```{literalinclude} conf.py\n:pyobject: nothing\n```\n\n```{eval-rst}\n.. autofunction:: tessera.no_such\n```\n"
    (tmp_path / "docs/index.md").write_text("# A page\n" + wrong)
    words = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", tmp_path / "docs", tmp_path / "out"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    for said in ("no-such-page.md", "nowhere", "nothing", "no_such"):
        assert said in done.stderr, done.stderr
