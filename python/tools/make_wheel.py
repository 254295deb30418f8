"""Packs build/python/tessera into dist/tessera_ml-VERSION-cp311-abi3-manylinux_…_x86_64.whl: make_wheel.py BUILD DIST.

The programs are stripped, the platform's tag is what their ELF files ask of the C library, and the same tree gives the same bytes. As the
build backend that pyproject.toml names it serves ``pip install .`` too, which runs make.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# what every Linux with glibc has, as the manylinux policy lists it
ALLOWED = {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "ld-linux-x86-64.so.2"}
STRIPPED = {"bin/tsc": "--strip-all", "bin/tsc-load": "--strip-all", "_core.abi3.so": "--strip-unneeded"}
# tsc carries these libraries; their terms travel with it
CARRIED = ["llvm-22-dev", "liblld-22-dev", "libyaml-dev", "liblz4-dev", "zlib1g-dev", "libzstd-dev", "libc6-dev", "libstdc++-12-dev"]


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def readelf(*words: str) -> str:
    return subprocess.run(["readelf", "-W", *words], check=True, capture_output=True, text=True).stdout


def platform_tag(files: list[Path]) -> str:
    """manylinux_2_NN_x86_64: the newest version of glibc's symbols that any of the files wants. A library beyond glibc is an error."""
    newest = (2, 17)
    for path in files:
        needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", readelf("-d", os.fspath(path))))
        if needed - ALLOWED:
            raise SystemExit(f"make_wheel: {path.name} needs {', '.join(sorted(needed - ALLOWED))}, which not every system has")
        versions = re.findall(r"Name: GLIBC_(\d+)\.(\d+)", readelf("-V", os.fspath(path)))
        newest = max([newest, *((int(a), int(b)) for a, b in versions)])
    return f"manylinux_{newest[0]}_{newest[1]}_x86_64"


def gather(package: Path, work: Path) -> dict[str, Path]:
    """Name in the package -> file, the programs stripped into ``work``."""
    found = {}
    for path in sorted(package.rglob("*")):
        name = path.relative_to(package).as_posix()
        if path.is_dir() or "__pycache__" in path.parts or path.suffix == ".pyc":
            continue
        if name in STRIPPED:
            copy = work / Path(name).name
            subprocess.run([os.environ.get("STRIP", "strip"), STRIPPED[name], "-o", copy, path.resolve()], check=True)
            path = copy
        found[name] = path
    missing = [n for n in ("__init__.py", "include/tessera/tessera.h", *STRIPPED) if n not in found]
    if missing:
        raise SystemExit(f"make_wheel: {package} has no {', '.join(missing)}: run make python")
    return found


def metadata(p: dict) -> str:
    lines = ["Metadata-Version: 2.4", f"Name: {p['name']}", f"Version: {p['version']}", f"Summary: {p['description']}"]
    lines += [f"Requires-Python: {p['requires-python']}", f"License-Expression: {p['license']}", "License-File: LICENSE"]
    lines += [f"Classifier: {c}" for c in p["classifiers"]]
    return "\n".join([*lines, "Description-Content-Type: text/markdown", "", (ROOT / p["readme"]).read_text()])


def licences() -> dict[str, bytes]:
    texts = {"LICENSE": (ROOT / "LICENSE").read_bytes()}
    for package in CARRIED:
        path = Path("/usr/share/doc") / package / "copyright"
        if path.exists():
            texts[f"carried/{package}.txt"] = path.read_bytes()
    return texts


class Writer:
    """A zip file whose bytes depend on what goes in alone, and the RECORD of it."""

    def __init__(self, path: Path) -> None:
        self.zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
        self.date = time.gmtime(max(int(os.environ.get("SOURCE_DATE_EPOCH", 0)), 315532800))[:6]
        self.record: list[str] = []

    def add(self, name: str, data: bytes, mode: int = 0o644) -> None:
        info = zipfile.ZipInfo(name, self.date)
        info.external_attr = (stat.S_IFREG | mode) << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        info.create_system = 3
        self.zip.writestr(info, data)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        self.record.append(f"{name},sha256={digest},{len(data)}")

    def close(self, record: str) -> None:
        self.add(record, "\n".join([*self.record, f"{record},,", ""]).encode())
        self.zip.close()


def make(build: Path, dist: Path) -> Path:
    p = project()
    dist.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        files = gather(build / "python" / "tessera", Path(work))
        tag = "cp311-abi3-" + platform_tag([files[n] for n in STRIPPED])
        base = f"{p['name'].replace('-', '_')}-{p['version']}"
        target = dist / f"{base}-{tag}.whl"
        out = Writer(target.with_suffix(".part"))
        for name, path in files.items():
            out.add(f"tessera/{name}", path.read_bytes(), 0o755 if name.startswith("bin/") or name.endswith(".so") else 0o644)
        tsc = files["bin/tsc"].read_bytes()
        out.add("tessera/bin/tsc.sha256", f"{hashlib.sha256(tsc).hexdigest()} {len(tsc)}\n".encode())
        info = f"{base}.dist-info"
        for name, data in licences().items():
            out.add(f"{info}/licenses/{name}", data)
        out.add(f"{info}/METADATA", metadata(p).encode())
        out.add(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: tessera {p['version']}\nRoot-Is-Purelib: false\nTag: {tag}\n".encode())
        scripts = "".join(f"{name} = {call}\n" for name, call in sorted(p["scripts"].items()))
        out.add(f"{info}/entry_points.txt", f"[console_scripts]\n{scripts}".encode())
        out.close(f"{info}/RECORD")
        target.with_suffix(".part").replace(target)
    return target


# ---- pip install . ---------------------------------------------------------------------------------------------------------------


def build_wheel(wheel_directory: str, config_settings: object = None, metadata_directory: object = None) -> str:
    build = os.environ.get("BUILD", "build")
    jobs = len(os.sched_getaffinity(0))
    subprocess.run(["make", f"-j{jobs}", f"BUILD={build}", "python"], cwd=ROOT, check=True)
    return make(ROOT / build, Path(wheel_directory)).name


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit("usage: make_wheel.py BUILD DIST")
    path = make(Path(sys.argv[1]), Path(sys.argv[2]))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
