#!/usr/bin/env python3
"""Writes docs/python-names.md from tests/python/spec_names.py: every name that the documents promise, and its state. test_names.py runs each."""
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/python"))
GROUPS = {
    "A": "The core", "B": "Types and annotations", "C": "Operators and layers", "D": "Kernels", "G": "Numerics", "K": "Profiler and memory",
    "L": "Ahead of time", "N": "JAX",
}


def page():
    import spec_names

    lines = [
        "# Names of the Python package",
        "Every name that the project's documents promise for these groups, and whether this release has it. Each is used by a test (`tests/python/spec_names.py`,",
        "from which this page is made); those of later releases raise `tessera.errors.NotInRelease`.",
    ]
    for group, title in GROUPS.items():
        lines += ["", f"## {title}", "| name | state |", "| --- | --- |"]
        for g, name, _ in spec_names.NAMES:
            if g == group:
                lines.append(f"| `{name}` | {'a later release' if name in spec_names.NOT_YET else 'works'} |".replace("`@ts.jit over @ts.distribute`", "`@ts.jit` over `@ts.distribute`"))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "docs/python-names.md").write_text(page())
