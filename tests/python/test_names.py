"""Every name of the documents is there and does something, or says that it belongs to a later release."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import spec_names


@pytest.mark.parametrize("name, code", [(n, c) for _, n, c in spec_names.NAMES], ids=[n for _, n, _ in spec_names.NAMES])
def test_name(name, code, tmp_path):
    absent = spec_names.run(code, tmp_path)
    assert (absent is not None) == (name in spec_names.NOT_YET), absent
    if absent is not None:
        assert "not in this release" in str(absent) or "later release" in str(absent)


def test_names_are_told_apart():
    names = [n for _, n, _ in spec_names.NAMES]
    assert len(set(names)) == len(names) and set(names) >= spec_names.NOT_YET


def test_the_page_is_fresh(root, tmp_path):
    sys.path.insert(0, str(root / "python/tools"))
    import gen_names

    assert (root / "docs/python-names.md").read_text() == gen_names.page(), "python/tools/gen_names.py writes docs/python-names.md anew"
