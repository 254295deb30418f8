"""From the text of a graph to a shared object: the compiler as a child process, and its words as exceptions.

::

    build(text, name="layer", archs=("sm_90",)) -> Path of a .so in the disk cache

The compiler is the one of this package, or the file that ``$TESSERA_TSC`` names. A ``tsc`` that happens to be on PATH
is TypeScript's more often than not and is never run.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import selectors
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from . import _core, cache
from ._progress import Display
from ._where import user_line
from .errors import ArgumentTypeError, ArgumentValueError, CompileError
from .missing import absent

__all__ = ["ARCHS", "CompilerWarning", "build", "headers", "native_archs", "ptxas_path", "run_tsc", "tsc_path"]

#: What ``--arch`` makes code for, oldest first: the compiler's own table. Code of those with an "a" there (sm_90a) runs
#: on these GPUs alone, PTX of the others on newer ones too.
ARCHS = tuple(a.removesuffix("a") for a in _core.archs())
EXACT = tuple(a[:-1] for a in _core.archs() if a.endswith("a"))

HERE = Path(__file__).resolve().parent

class CompilerWarning(UserWarning):
    """What the compiler says of a graph that it compiles."""


Diagnostic = tuple[str, str, int, int, str]
Where = Callable[[str], "tuple[str, int] | None"]


# ---- programs -------------------------------------------------------------------------------------------------------


def headers() -> Path:
    """The folder to compile C programs with: it holds ``tessera/tessera.h``."""
    return HERE / "include"


def tsc_path() -> Path:
    """The compiler: the file that ``$TESSERA_TSC`` names, else the package's own."""
    named = os.environ.get("TESSERA_TSC")
    path = Path(named) if named else HERE / "bin" / "tsc"
    if path.is_file() and os.access(path, os.X_OK):
        foreign = _foreign(path) if named else None
        if not foreign:
            return path
        raise CompileError(f"TESSERA_TSC names '{path}', which is {foreign}, not Tessera's compiler", "E_TOOL")
    if named:
        raise CompileError(f"TESSERA_TSC names '{path}', which is no program", "E_TOOL")
    text = f"Tessera's compiler is missing: there is no program '{path}'; install the package again, or set TESSERA_TSC"
    other = shutil.which("tsc")
    if other:
        text += f" ('{other}' on PATH is {_foreign(Path(other)) or 'another program'} and is not used)"
    raise CompileError(text, "E_TOOL")


def _foreign(path: Path) -> str | None:
    """What a program is that is not ours, by its first bytes; None when nothing speaks against it."""
    with contextlib.suppress(OSError):
        with open(path, "rb") as f:
            head = f.read(4096)
        if head.startswith(b"#!") and (b"node" in head.split(b"\n", 1)[0] or b"typescript" in head.lower()):
            return "TypeScript's compiler"
        if not head.startswith((b"#!", b"\x7fELF")):
            return "no program of this system"
    return None


@lru_cache(maxsize=16)
def _identity(path: str, size: int, mtime_ns: int) -> str:
    """What tells one build of the compiler from another: its hash where the package has it, else its time."""
    with contextlib.suppress(OSError):
        recorded = Path(path + ".sha256").read_text().split()
        if len(recorded) == 2 and int(recorded[1]) == size:
            return recorded[0]
    return f"{size}-{mtime_ns}"


def tsc_identity() -> str:
    path = tsc_path().resolve()
    st = path.stat()
    return _identity(str(path), st.st_size, st.st_mtime_ns)


def ptxas_path() -> Path | None:
    """NVIDIA's assembler: in PATH, in CUDA's folder, or in this environment's packages. None: the driver does it."""
    import sysconfig

    folders = [Path(p) / "bin" for p in (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")) if p]
    for site in dict.fromkeys((sysconfig.get_path("platlib"), sysconfig.get_path("purelib"))):
        folders += [Path(site) / p for p in ("nvidia/cu13/bin", "nvidia/cuda_nvcc/bin", "triton/backends/nvidia/bin")]
    found = shutil.which("ptxas")
    candidates = [Path(found)] if found else []
    candidates += [f / "ptxas" for f in [*folders, Path("/usr/local/cuda/bin")]]
    return next((p for p in candidates if p.is_file() and os.access(p, os.X_OK)), None)


def native_archs() -> tuple[str, ...]:
    """What to make code for on this machine: one architecture for each kind of GPU in it."""
    found = {arch_for(sm) for _, sm, _ in _core.gpus()}
    return tuple(a for a in ARCHS if a in found)


def arch_for(sm: int) -> str | None:
    """The newest architecture whose code a GPU of compute capability ``sm`` (90 for 9.0) runs."""
    fits = [a for a in ARCHS if (int(a[3:]) == sm if a in EXACT else int(a[3:]) <= sm)]
    return fits[-1] if fits else None


def check_archs(archs: str | Iterable[str]) -> tuple[str, ...]:
    """The architectures, each once, oldest first; ``sm_90a``, ``90`` and ``90a`` are ``sm_90``, and text is one of
    them. ValueError for one that is not known, NotInRelease for AMD's."""
    wanted = set()
    for a in (archs,) if isinstance(archs, str) else archs:
        if not isinstance(a, str):
            raise ArgumentTypeError(f"architectures are text such as 'sm_90', not {type(a).__name__}", "E_ARGUMENTS")
        if a.startswith("gfx"):
            absent(f"architecture {a!r}", "code for AMD GPUs comes in a later release")
        a = "sm_" + a if a[:1].isdigit() else a
        wanted.add(a.removesuffix("a") if a.removesuffix("a") in EXACT else a)
    unknown = sorted(wanted - set(ARCHS) - {"cpu"})
    if unknown:
        raise ArgumentValueError(f"unknown architecture '{unknown[0]}': there are {', '.join(ARCHS)}")
    return tuple(a for a in ARCHS if a in wanted)


# ---- what it says ---------------------------------------------------------------------------------------------------

_LINE = re.compile(
    r"(?:tsc|(?P<file>[^\n]*?):(?P<line>\d+):(?P<column>\d+)): "
    r"(?P<severity>error|warning|note)(?:\[(?P<code>\w+)\])?: (?P<text>.*)"
)
_HINT = re.compile(r"^ *(?:\^~* +)?hint: (.*)")


def read_diagnostics(said: str) -> list[Diagnostic]:
    """What tsc printed, as records (severity, code, line, column, text); a hint is a line of the text before it."""
    found: list[Diagnostic] = []
    for line in said.splitlines():
        m, hint = _LINE.fullmatch(line), _HINT.search(line)
        if m:
            found.append((m["severity"], m["code"] or "", int(m["line"] or 0), int(m["column"] or 0), m["text"]))
        elif hint and found:
            found[-1] = (*found[-1][:4], f"{found[-1][4]}\nhint: {hint[1]}")
    return found


def _names_on(text: str, line: int) -> list[str]:
    """The values that a line of .tg gives a name to."""
    lines = text.splitlines()
    head = lines[line - 1].split("=", 1)[0] if 0 < line <= len(lines) else ""
    return re.findall(r"[%A-Za-z_][\w.%]*", re.sub(r":[^,]*", "", head))


def _place(text: str, line: int, where: Where | None) -> tuple[str, int] | None:
    """The Python file and line that asked for what stands on a line of the text; where that is not known, or there is
    no line, those of the function."""
    if where is None:
        return None
    lines = text.splitlines()
    inside = getattr(where, "in_kernel", None)
    head = _kernel_head(lines, line)
    if head is not None and inside is not None:
        end = next((n for n in range(head, len(lines)) if lines[n].startswith("}")), head)
        found = inside(lines[head].split("(")[0].split()[1].strip("`"), line - 1 - head, end + 1 - head)
    else:
        shown = lines[line - 1] if 0 < line <= len(lines) else ""
        names = _names_on(text, line) + re.findall(r"[%A-Za-z_][\w.%]*", shown.partition("=")[2])
        found = next((p for n in names if (p := where(n))), None)
    return found or getattr(where, "whole", None)


def _kernel_head(lines: Sequence[str], line: int) -> int | None:
    """The index of the first line of the kernel that a line of the text stands in."""
    for n in range(min(line, len(lines)) - 1, -1, -1):
        if lines[n].startswith("kernel "):
            return n
        if lines[n].startswith("graph ") or (lines[n].startswith("}") and n != line - 1):
            return None
    return None


def _warn(said: str, text: str, where: Where | None) -> None:
    for severity, code, line, _, words in read_diagnostics(said):
        if severity == "warning":
            place = _place(text, line, where) or user_line()
            file, number = place if place[0] else ("tessera", 1)
            warnings.warn_explicit(f"{words} [{code}]", CompilerWarning, file, number)


def _failure(said: str, status: int, text: str, where: Where | None) -> CompileError:
    diagnostics = read_diagnostics(said)
    errors = [d for d in diagnostics if d[0] == "error"] or diagnostics
    if not errors:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        last = "".join(c if c.isprintable() or c == "\n" else "?" for c in said.strip()[-2000:])
        return CompileError(f"the compiler {how}" + (f": {last}" if last else ""), "E_INTERNAL")
    shown = []
    for _, _, line, _, words in errors:
        place = _place(text, line, where)
        shown.append(words + (f"\n  {place[0]}, line {place[1]}" if place else ""))
    return CompileError("\n".join(shown), errors[0][1], diagnostics)


# ---- running it -----------------------------------------------------------------------------------------------------


def run_tsc(words: Sequence[str | Path], *, name: str, text: str = "", where: Where | None = None) -> None:
    """Run the compiler to its end. Its warnings become Python's, CompileError has its words when it fails.

    ``name`` is shown while it runs; ``where`` tells the Python line of a value of ``text``.
    """
    argv = [str(tsc_path()), *map(str, words)]
    reader, writer = os.pipe()
    # Nobody writes to the lifeline: it is closed when this process ends, killed or not, and the compiler goes with it.
    lifeline, held = os.pipe()
    try:
        child = subprocess.Popen(
            [*argv, "--lifeline", str(lifeline), "--progress", str(writer)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=(writer, lifeline),
        )
    except BaseException as error:  # with the lifeline a compiler ends whose start was interrupted
        os.close(reader)
        os.close(held)
        if isinstance(error, OSError):
            raise CompileError(f"cannot start the compiler '{argv[0]}': {error.strerror}", "E_TOOL") from error
        raise
    finally:
        os.close(writer)
        os.close(lifeline)
    try:
        said = _listen(child, reader, Display(name))
    except BaseException:
        child.kill()
        raise
    finally:
        os.close(reader)
        os.close(held)
        if child.stderr:
            child.stderr.close()
        child.wait()
    if child.returncode:
        raise _failure(said, child.returncode, text, where)
    _warn(said, text, where)


def _listen(child: subprocess.Popen[bytes], progress: int, display: Display) -> str:
    assert child.stderr is not None
    said, told, errors = bytearray(), bytearray(), child.stderr.fileno()
    with selectors.DefaultSelector() as ready, display:
        ready.register(progress, selectors.EVENT_READ)
        ready.register(errors, selectors.EVENT_READ)
        while ready.get_map():
            # A signal that comes right before the wait does not end it: Python hears of it a second later.
            for key, _ in ready.select(min(display.patience() or 1.0, 1.0)):
                part = os.read(key.fd, 65536)
                if not part:
                    ready.unregister(key.fd)
                elif key.fd == errors:
                    said += part
                else:
                    told += part
                    *lines, rest = bytes(told).split(b"\n")
                    told = bytearray(rest)
                    if lines:
                        display.tell(lines[-1].decode("ascii", "replace"))
            display.show()
    return said.decode(errors="replace")


# ---- weights --------------------------------------------------------------------------------------------------------

_SAFETENSORS = {
    "f64": "F64", "f32": "F32", "f16": "F16", "bf16": "BF16", "fp8_e4m3": "F8_E4M3", "fp8_e5m2": "F8_E5M2",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
}

Host = tuple[str, tuple[int, ...], memoryview]


def host_array(array: Any) -> Host:
    """Type, sizes and bytes, compact, of anything that is a tensor."""
    t = _core.as_tensor(array)
    if t.device != "cpu":
        t = t._copy_to("cpu")
    return str(t.dtype), tuple(t.shape), memoryview(t.tobytes())


def write_safetensors(path: Path, arrays: Mapping[str, Host]) -> None:
    """The published format of weights; data begin at multiples of 64."""
    import json

    head: dict[str, Any] = {}
    at = 0
    for name, (dtype, shape, data) in arrays.items():
        if dtype not in _SAFETENSORS:
            raise ValueError(f"weights '{name}' are {dtype}, which a safetensors file cannot hold")
        head[name] = {"dtype": _SAFETENSORS[dtype], "shape": list(shape), "data_offsets": [at, at + data.nbytes]}
        at += data.nbytes
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for _, _, data in arrays.values():
            f.write(data)


# ---- what others call -----------------------------------------------------------------------------------------------


def gpu_words(archs: Sequence[str]) -> tuple[list[str], str]:
    """The options for GPUs, and what of this machine they bring into the artifact."""
    if not archs:
        return [], ""
    ptxas = ptxas_path()
    words = ["--arch", ",".join(archs), "--ptxas", os.fspath(ptxas) if ptxas else "none"]
    if not ptxas:
        return words, "none"
    st = ptxas.resolve().stat()
    return words, f"{st.st_size}-{st.st_mtime_ns}"


def run_in_cache(words: Sequence[str | Path], *, name: str, text: str = "", where: Where | None = None) -> None:
    """``run_tsc`` into an entry of the cache: a full disk is an OSError, and so the cache goes elsewhere."""
    try:
        run_tsc(words, name=name, text=text, where=where)
    except CompileError as error:
        full = (os.strerror(e) in str(error) for e in (errno.ENOSPC, errno.EDQUOT, errno.EROFS))
        if error.code == "E_FILE" and any(full):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise


def c_name(name: str) -> str:
    """The C identifier that a model of this name has: ASCII letters, digits and _ stay, others become _."""
    made = re.sub(r"[^A-Za-z0-9_]", "_", name)[:100] or "_"
    return f"_{made[:99]}" if made[0].isdigit() else made


def build(
    text: str,
    *,
    name: str,
    archs: Iterable[str] = (),
    weights: Mapping[str, Mapping[str, Any]] | None = None,
    options: Sequence[str] = (),
    where: Where | None = None,
) -> Path:
    """The text compiled to a shared object in the disk cache, once however many processes ask.

    ``weights`` holds the tensors of each ``weights`` of the text, which go into the file. ``options`` are words for the
    compiler. CompileError with the compiler's diagnostics when it refuses. The file, and the model in it, have the C
    name of ``name``.
    """
    name = c_name(name)
    archs = check_archs(archs)
    words, tool = gpu_words(archs)
    sets = {s: {n: host_array(a) for n, a in arrays.items()} for s, arrays in (weights or {}).items()}
    parts: list[str | bytes] = [tsc_identity(), name, text, ",".join(archs), tool, "\0".join(options)]
    for s, arrays in sets.items():
        for n, (dtype, shape, data) in arrays.items():
            parts += [s, n, dtype, repr(shape), hashlib.sha256(data).digest()]

    def make(folder: Path) -> None:
        source = folder / f"{name}.tg"
        source.write_text(text)
        more: list[str] = []
        for s, arrays in sets.items():
            write_safetensors(folder / f"{s}.safetensors", arrays)
            more += ["--weights-file", f"{s}={folder / s}.safetensors"]
        argv: list[str | Path] = [source, "-o", folder / f"{name}.so", "--name", name, *words, *more, *options]
        run_in_cache(argv, name=name, text=text, where=where)
        for s in sets:
            (folder / f"{s}.safetensors").unlink()

    return cache.get(cache.key_of(*parts), make) / f"{name}.so"


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tessera-")


def main(argv: Sequence[str] | None = None) -> int:
    """``tessera-tsc``: the package's compiler, with these words."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        path = os.fspath(tsc_path())
        os.execv(path, ["tsc", *words])
    except CompileError as error:
        print(f"tessera-tsc: {error}", file=sys.stderr)
    except OSError as error:
        print(f"tessera-tsc: cannot start '{path}': {error.strerror}", file=sys.stderr)
    return 3
