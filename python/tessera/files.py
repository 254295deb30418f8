"""Graphs as files: ``.tg`` text, ``.tsr`` packs of text and weights, ``.so`` artifacts; and such files made ready to
run here."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import cache
from .compile import (
    build,
    gpu_words,
    host_array,
    run_in_cache,
    run_tsc,
    temporary_folder,
    tsc_identity,
    write_safetensors,
)
from .errors import GraphValueError

__all__ = ["build_file", "save_graph"]


def save_graph(
    text: str,
    path: str | os.PathLike[str],
    *,
    name: str,
    archs: Sequence[str] = (),
    weights: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Writes a graph: as ``.tsr`` or ``.so`` with its weights inside, as ``.tg`` with a ``.safetensors`` beside it.

    Raises:
        ValueError: another ending.
        CompileError: the compiler refuses the graph.
    """
    out = Path(path)
    if out.suffix == ".so":
        made = build(text, name=name, archs=archs, weights=weights)
        _replace(out, made.read_bytes())
    elif out.suffix == ".tsr":
        with temporary_folder() as tmp:
            folder = Path(tmp)
            source = folder / f"{name}.tg"
            for s, arrays in (weights or {}).items():
                write_safetensors(folder / f"{s}.safetensors", {n: host_array(a) for n, a in arrays.items()})
                text = _with_file(text, s, f"{s}.safetensors")
            source.write_text(text)
            run_tsc([source, "-o", out.absolute(), "--emit", "tsr"], name=name, text=text)
    elif out.suffix == ".tg":
        for s, arrays in (weights or {}).items():
            beside = out.with_name(f"{out.stem}.{s}.safetensors")
            write_safetensors(beside, {n: host_array(a) for n, a in arrays.items()})
            text = _with_file(text, s, beside.name)
        _replace(out, text.encode())
    else:
        raise GraphValueError(f"save: {out.name} is no .tsr, .so or .tg", "E_ARGUMENTS")


def _with_file(text: str, weights: str, file: str) -> str:
    """The text with another file for a set of weights."""
    written = re.compile(rf'^weights {weights} = "[^"]*"', re.M)
    return written.sub(lambda _: f'weights {weights} = "{file}"', text, count=1)


def _replace(path: Path, data: bytes) -> None:
    """The file whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def build_file(path: str | os.PathLike[str], archs: Sequence[str] = ()) -> Path:
    """A ``.tsr`` or ``.tg`` compiled for this machine, from the disk cache where it was before."""
    source = Path(path).resolve()
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in source.stem)
    name = f"_{name}"[:100] if name[:1].isdigit() else name[:100]
    words, tool = gpu_words(archs)
    content = hashlib.sha256(source.read_bytes()).digest()
    parts: list[str | bytes] = [tsc_identity(), name, ",".join(archs), tool, content]
    if source.suffix == ".tg":  # may name files beside it
        files = sorted(source.parent.glob("*.safetensors"))
        parts += [f"{p.name} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in files]

    def make(folder: Path) -> None:
        run_in_cache([source, "-o", folder / f"{name}.so", "--name", name, *words], name=source.name)

    return cache.get(cache.key_of(*parts), make) / f"{name}.so"
