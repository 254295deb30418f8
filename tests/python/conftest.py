"""What several files of tests share: where the tree and its build are, and stand-ins for the compiler."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("TESSERA_BUILD", ROOT / "build"))


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def build_folder():
    return BUILD


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    """An empty disk cache for this test alone."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TESSERA_CACHE", os.fspath(folder))
    return folder


@pytest.fixture
def script(tmp_path, monkeypatch):
    """script(text): a shell script as the compiler; $TSC in it is the real one, $LOG a file whose lines script.log() gives."""
    real, log = BUILD / "tsc", tmp_path / "tsc.log"

    def make(text):
        path = tmp_path / "compiler"
        path.write_text(f"#!/bin/bash\nTSC={real}\nLOG={log}\n{text}\n")
        path.chmod(0o755)
        monkeypatch.setenv("TESSERA_TSC", os.fspath(path))
        return path

    make.log = lambda: log.read_text().split() if log.exists() else []
    return make


@pytest.fixture
def python(tmp_path):
    """python(text, **environment): starts a Python on this text, with the package that is tested; its Popen."""
    started = []

    def start(text, argv=(), **environment):
        # the folder above the package, as this process found it
        import tessera

        home = os.path.dirname(next(iter(tessera.__path__)))
        env = {**os.environ, "PYTHONPATH": home, **environment}
        p = subprocess.Popen([sys.executable, "-c", text, *argv], env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(p)
        return p

    yield start
    for p in started:
        if p.poll() is None:
            p.kill()
        p.communicate()
