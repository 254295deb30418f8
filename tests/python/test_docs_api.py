"""The examples on the pages of the API run (pages.py)."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import pages


@pytest.mark.parametrize("page", pages.API)
def test_the_page(page, root, build_folder, tmp_path, monkeypatch, capfd):
    pages.run(page, root, build_folder, tmp_path, monkeypatch, capfd)
