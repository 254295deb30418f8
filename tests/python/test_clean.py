"""The sources of the package pass ruff and mypy, with the settings of pyproject.toml."""

import os
import subprocess
import sys


def run(root, *words):
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")}
    return subprocess.run([sys.executable, "-m", *words], cwd=root, env=env, capture_output=True, text=True)


def test_ruff(root):
    done = run(root, "ruff", "check", "--no-cache", "--output-format", "concise", "python", "tests/python")
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy(root, build_folder):
    done = run(root, "mypy", "--cache-dir", build_folder / "mypy")
    assert done.returncode == 0, done.stdout + done.stderr
