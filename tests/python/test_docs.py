"""The programs of docs/python.md run, one after another, as a reader would type them."""

import re

PAGE = "docs/python.md"


def test_the_page(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (root / PAGE).read_text()
    blocks = [(text.count("\n", 0, m.start(1)), m[1]) for m in re.finditer(r"```python\n(.*?)```", text, re.S)]
    assert len(blocks) >= 6
    page = tmp_path / "page.py"
    lines = [""] * text.count("\n")
    for at, block in blocks:
        lines[at : at + block.count("\n")] = block.rstrip("\n").split("\n")
    page.write_text("\n".join(lines) + "\n")  # with the page's own line numbers
    exec(compile(page.read_text(), str(page), "exec"), {"__name__": "__main__"})
    assert "kernel scaled" in capsys.readouterr().out
