"""The blocks of docs/python.md and of the guides run (pages.py)."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import pages


@pytest.mark.parametrize("page", pages.GUIDES)
def test_the_page(page, root, build_folder, tmp_path, monkeypatch, capfd):
    pages.run(page, root, build_folder, tmp_path, monkeypatch, capfd)


def test_blocks_are_found(root):
    """Blocks are found as a reader sees them."""
    kinds = [kind for _, kind, _, _ in pages.blocks((root / "docs/python.md").read_text())]
    assert kinds.count("python") >= 6
    page = "a\n<!-- x.c -->\n```c\nint x;\n```\n```{literalinclude} b\n:lines: 1\n```\n```text\n1 … 3\n4\n```\n"
    assert list(pages.blocks(page)) == [(3, "c", "x.c", "int x;\n"), (9, "text", None, "1 … 3\n4\n")]
    assert pages.shows("0\n1 2 3 \n4\n", "1 … 3\n4\n") and not pages.shows("1 2\n4\n", "1 … 3\n4\n")
