"""What test_docs.py and test_docs_api.py share: the blocks of a page run one after another, as a reader would type them.

    ```python    runs, in one namespace for the page
    ```sh        runs in bash, in the page's folder
    ```text      stands in what the block before it printed; … is anything
    ```c, tg     is written to the file that a comment above it names: <!-- use.c -->
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import tessera

ROOT = Path(__file__).resolve().parents[2]
GUIDES = ["docs/python.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs/guides").glob("*.md"))]
API = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs/api").glob("*.md") if "```python" in p.read_text())
BLOCK = re.compile(r"(?:^<!-- (?P<file>[\w./-]+) -->\n)?^```(?P<kind>\S*)[^\n]*\n(?P<text>.*?)^```$", re.M | re.S)
KINDS = {"python", "sh", "text", "c", "tg"}


def blocks(text):
    """(line, kind, file, text) of each block; what only the site shows, in braces, is none."""
    for m in BLOCK.finditer(text):
        if not m["kind"].startswith("{"):
            yield text.count("\n", 0, m.start("text")), m["kind"], m["file"], m["text"]


def shows(printed, text):
    """Whether these lines were printed; … stands for anything."""
    return re.search(r"\s*\n".join(re.escape(line.rstrip()).replace("…", ".*?") for line in text.splitlines()), printed, re.S) is not None


def tools(folder, root, build):
    """A folder of commands as an installation has them; `make wheel` is that of the tree and writes into the page's folder."""
    folder.mkdir()
    for name, text in {
        "tessera-tsc": f'exec {sys.executable} -m tessera "$@"',
        "python": f'exec {sys.executable} "$@"',
        "make": f'case "$*" in wheel) exec /usr/bin/make -s -C {root} BUILD={os.path.relpath(build, root)} DIST_DIR="$PWD/dist" wheel ;; esac\n'
                'exec /usr/bin/make "$@"',
    }.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)


def run(page, root, build_folder, tmp_path, monkeypatch, capfd):
    """All blocks of the page, in a folder of its own."""
    text = (root / page).read_text()
    found = list(blocks(text))
    assert {kind for _, kind, _, _ in found} <= KINDS, "a block of no known kind"
    assert page == "docs/python.md" or not re.search(r"^(?: {4}|\t)", BLOCK.sub("", text), re.M), "a block without a fence runs nowhere"
    assert any(kind == "python" for _, kind, _, _ in found)
    tools(tmp_path / "tools", root, build_folder.resolve())
    package = Path(next(iter(tessera.__path__))).resolve().parent
    here = tmp_path / "page"
    here.mkdir()
    monkeypatch.chdir(here)
    environment = {**os.environ, "PYTHONPATH": os.fspath(package), "PATH": f"{tmp_path / 'tools'}:{os.environ['PATH']}", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    program = tmp_path / (Path(page).stem + ".py")  # with the page's own line numbers, for what reads its source
    lines = [""] * text.count("\n")
    for at, kind, _, block in found:
        if kind == "python":
            lines[at : at + block.count("\n")] = block.rstrip("\n").split("\n")
    program.write_text("\n".join(lines) + "\n")
    names, printed = {"__name__": "__main__"}, ""
    for at, kind, file, block in found:
        where = f"{page}, line {at + 1}"
        if kind == "python":
            exec(compile("\n" * at + block, str(program), "exec"), names)
            printed = "".join(capfd.readouterr())
        elif kind == "sh":
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            assert done.returncode == 0, f"{where}\n{done.stdout}"
            printed = done.stdout
        elif kind == "text":
            assert shows(printed, block), f"{where}: printed was\n{printed}"
        else:
            assert file, f"{where}: no comment names the file"
            (here / file).write_text(block)
