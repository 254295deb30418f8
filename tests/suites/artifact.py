"""Artifacts made from a hand-written plan and three kernels compiled by gcc: the ABI and the artifact writer without the compiler."""
import os
import socket
import stat
import struct
import subprocess

PARALLEL = True

LAYERS = [[2, 3, 4, 5], [-1, 1, 0.5, 2], [1, -2, 3, 0.25]]


def npy(path, values, shape, descr="<f4", fortran=False, code="f"):
    head = repr({"descr": descr, "fortran_order": fortran, "shape": tuple(shape)}).encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head + struct.pack("<%d%s" % (len(values), code), *values))


def floats(path):
    data = path.read_bytes()
    start = 10 + struct.unpack("<H", data[8:10])[0]
    return list(struct.unpack("<%df" % ((len(data) - start) // 4), data[start:]))


def chain(values, n):
    result = []
    for i, x in enumerate(values):
        for layer in LAYERS:
            x = x * layer[i % n % 4] + 1
        result.append(x)
    return result


class Maker:
    def __init__(self, ctx):
        self.ctx, self.e2e = ctx, ctx.build / "e2e"

    def __call__(self, kind, name, out, piece=None):
        argv = [self.e2e / "artifact_make", kind, name, self.e2e / "artifact_kernels.o", out]
        return self.ctx.run(argv + ([piece] if piece else []))


def abi(ctx, make):
    for name in ("toy", "second"):
        made = make("so", name, ctx.tmp / (name + ".so"))
        yield "so-is-made", made.code == 0, made.err
    result = ctx.run([make.e2e / "artifact_use", "all", ctx.tmp / "toy.so", ctx.tmp / "second.so"], timeout=120)
    for line in result.out.splitlines():
        word, _, rest = line.partition(" ")
        name, _, why = rest.partition(": ")
        yield "abi/" + name, word == "ok", why
    yield "abi/ends", result.code == 0 and not result.timed_out, "ended with %d %s" % (result.code, result.err)


def exe_answers(ctx, exe):
    x = [float(i) for i in range(24)]
    npy(ctx.tmp / "x.npy", x, (3, 8))
    npy(ctx.tmp / "xf.npy", [x[i % 3 * 8 + i // 3] for i in range(24)], (3, 8), fortran=True)
    npy(ctx.tmp / "x0.npy", [], (0, 8))
    for name, want in (("x", chain(x, 8)), ("xf", chain(x, 8)), ("x0", [])):
        for threads in ("1", "2", "5"):
            y = ctx.tmp / "y.npy"
            y.unlink(missing_ok=True)
            result = ctx.run([exe, "--input", "x=%s" % (ctx.tmp / (name + ".npy")), "--output", "y=%s" % y, "--threads", threads])
            yield "exe/%s-%s-threads" % (name, threads), result.code == 0 and floats(y) == want, result.err
    shown = ctx.run([exe, "--help"])
    yield "exe/help", shown.code == 0 and "chain(x: f32[B, N]) -> (y: f32[B, N])" in shown.out, shown.out
    why = ctx.run([exe, "--input", "x=%s" % (ctx.tmp / "x.npy"), "--explain"])
    yield "exe/explain", why.out.count("layer: variant small, kernel layer, 3 cells") == 3, why.out


def exe_errors(ctx, exe):
    tmp, x = ctx.tmp, "x=%s" % (ctx.tmp / "x.npy")
    npy(tmp / "bad_type.npy", [1.0] * 8, (1, 8), "<f8", code="d")
    npy(tmp / "big_endian.npy", [1.0] * 8, (1, 8), ">f4")
    npy(tmp / "short.npy", [1.0] * 8, (2, 8))
    npy(tmp / "huge.npy", [], (2**62, 2**62))
    npy(tmp / "rank.npy", [1.0] * 8, (1, 1, 8))
    npy(tmp / "multiple.npy", [1.0] * 6, (1, 6))
    (tmp / "empty.npy").write_bytes(b"")
    (tmp / "cut.npy").write_bytes((tmp / "x.npy").read_bytes()[:40])
    (tmp / "text.npy").write_text("no array at all")
    os.mkfifo(tmp / "pipe")
    (tmp / "circle").symlink_to("circle")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(os.path.relpath(tmp / "sock"))
    cases = [
        ("type", ["--input", "x=%s/bad_type.npy" % tmp], 1, "holds elements '<f8', wanted f32"),
        ("big-endian", ["--input", "x=%s/big_endian.npy" % tmp], 1, "little-endian"),
        ("short", ["--input", "x=%s/short.npy" % tmp], 1, "ends before its data"),
        ("huge", ["--input", "x=%s/huge.npy" % tmp], 1, "more than 2^63"),
        ("empty", ["--input", "x=%s/empty.npy" % tmp], 1, "no .npy file"),
        ("cut", ["--input", "x=%s/cut.npy" % tmp], 1, "ends inside its header"),
        ("text", ["--input", "x=%s/text.npy" % tmp], 1, "no .npy file"),
        ("rank", ["--input", "x=%s/rank.npy" % tmp], 1, "input 'x': rank is 3, wanted 2"),
        ("multiple", ["--input", "x=%s/multiple.npy" % tmp], 1, "dim N is 6, wanted a multiple of 4"),
        ("missing-file", ["--input", "x=%s/none.npy" % tmp], 3, "none.npy': No such file or directory"),
        ("no-input", ["--output", "y=%s/e.npy" % tmp], 2, "input 'x' is missing"),
        ("unknown-input", ["--input", x, "--input", "z=" + x[2:]], 2, "has no input 'z'"),
        ("twice", ["--input", x, "--input", x], 2, "given twice"),
        ("unknown-output", ["--input", x, "--output", "q=%s/e.npy" % tmp], 2, "has no output 'q'"),
        ("no-equals", ["--input", "x.npy"], 2, "option '--input' can't be 'x.npy'"),
        ("no-value", ["--input"], 2, "wants a value"),
        ("option", ["--inptu", "x"], 2, "unknown option '--inptu'; nearest: --input; see --help"),
        ("option-at-the-end", ["--bogus"], 2, "unknown option '--bogus'; see --help"),
        ("option-of-100000-letters", ["g" * 100000], 2, "unknown option '%s…'; see --help" % ("g" * 60)),
        ("input-of-100000-letters", ["--input", "g" * 100000 + "=x.npy"], 2, "has no input '%s…'; see --help" % ("g" * 60)),
        ("flag-with-value", ["--help=1"], 2, "option '--help' takes no value"),
        ("threads", ["--input", x, "--threads", "many"], 2, "option '--threads'"),
        ("graph", ["--input", x, "--graph", "none"], 2, "no graph 'none'"),
        ("graph-near", ["--input", x, "--graph", "chian"], 2, "no graph 'chian'; nearest: chain; see --help"),
        ("input-pipe", ["--input", "x=%s/pipe" % tmp], 3, "pipe': it is a pipe, not a regular file"),
        ("input-socket", ["--input", "x=%s/sock" % tmp], 3, "sock': it is a socket, not a regular file"),
        ("input-folder", ["--input", "x=%s" % tmp], 3, "': it is a folder, not a regular file"),
        ("input-device", ["--input", "x=/dev/zero"], 3, "'/dev/zero': it is a device, not a regular file"),
        ("output-pipe", ["--input", x, "--output", "y=%s/pipe" % tmp], 3, "pipe': it is a pipe that nobody reads"),
        ("output-socket", ["--input", x, "--output", "y=%s/sock" % tmp], 3, "sock': it is a socket"),
        ("output-folder", ["--input", x, "--output", "y=%s" % tmp], 3, "': Is a directory"),
        ("output-circle", ["--input", x, "--output", "y=%s/circle" % tmp], 3, "circle': Too many levels of symbolic links"),
        ("output-full-device", ["--input", x, "--output=y=/dev/full"], 3, "'/dev/full': No space left on device"),
        ("folder", ["--input", x, "--output", "y=%s/none/e.npy" % tmp], 3, "e.npy': No such file or directory"),
        ("full", ["--input", x, "--output", "y=/dev/full/e.npy"], 3, "e.npy': Not a directory"),
    ]
    for name, args, code, text in cases:
        result = ctx.run([exe] + args)
        clean = not list(tmp.glob("e.npy*"))
        yield "exe/bad-" + name, result.code == code and text in result.err and clean, "%d %s" % (result.code, result.err)


def exe_outputs(ctx, exe):
    """Where the program's output goes: links lead to their file and stay, devices and read pipes are written, the rest is renamed into place."""
    folder, x = ctx.tmp / "outputs", "x=%s" % (ctx.tmp / "x.npy")
    (folder / "there").mkdir(parents=True)
    (folder / "old.npy").write_bytes(b"old")
    for name, to in (("link.npy", "there/new.npy"), ("over.npy", "old.npy"), ("null", "/dev/null"), ("out", "/dev/stdout")):
        (folder / name).symlink_to(to)
    want = chain([float(i) for i in range(24)], 8)
    for name in ("link.npy", "over.npy", "n" * 251 + ".npy"):
        result = ctx.run([exe, "--input", x, "--output", "y=%s" % (folder / name)])
        good = result.code == 0 and floats(folder / name) == want and (folder / name).is_symlink() == (len(name) < 20)
        yield "exe/output-" + name[:9], good, result.err
    null = ctx.run([exe, "--input", x, "--output", "y=%s" % (folder / "null")])
    yield "exe/output-device", null.code == 0 and stat.S_ISCHR(os.stat(folder / "null").st_mode), null.err
    shown = subprocess.run([exe, "--input", x, "--output", "y=%s" % (folder / "out")], capture_output=True, timeout=60)
    yield "exe/output-pipe", shown.returncode == 0 and shown.stdout == (folder / "old.npy").read_bytes(), shown.stderr.decode()
    left = [n for n in os.listdir(folder) + os.listdir(folder / "there") if ".tmp" in n]
    yield "exe/output-leaves-nothing", not left, str(left)


def objects(ctx, make):
    """Two .o artifacts with their generated headers in one program, as C and as C++, position independent and not."""
    for name in ("toy", "second"):
        made = [make("obj", name, ctx.tmp / (name + ".o")), make("header", name, ctx.tmp / (name + ".o"))]
        yield "obj-is-made", all(m.code == 0 for m in made), made[0].err + made[1].err
    source = """
#include "toy.h"
#include "second.h"
#include <stdio.h>
static float one(const TesseraModel *m, int second) {
	TesseraContext *cx; TesseraSession *s; TesseraError e = { 0, "" };
	float x[8] = { 0, 1, 2, 3, 4, 5, 6, 7 }, y[8] = { 0 };
	if (tessera_context_create(m, NULL, &cx, &e) || tessera_session_create(m, cx, NULL, &s, &e) ||
	    (second ? second_chain(s, 2, 4, x, y, &e) : toy_chain(s, 2, 4, x, y, &e))) { puts(e.message); return -1; }
	tessera_session_destroy(s);
	tessera_context_destroy(cx);
	return y[7];
}
#ifdef __cplusplus
extern "C"
#endif
void *toy_xla(void *);
int main(void)
{
	if (toy_xla(NULL)) /* the jump into the runtime, linked in */
		return 3;
	printf("%g %g %d\\n", one(&toy_tessera, 0), one(&second_tessera, 1), toy_graph_sum + second_dim_N);
	return 0;
}
"""
    want = "%g %g 2\n" % (chain(list(range(8)), 4)[7], chain(list(range(8)), 4)[7])
    for what, argv, suffix in (
        ("c99-pie", ["gcc", "-std=c99", "-pie", "-fPIE"], "c"),
        ("c99-no-pie", ["gcc", "-std=c99", "-no-pie"], "c"),
        ("c++11", ["g++", "-std=c++11"], "cc"),
    ):
        program = ctx.tmp / ("main." + suffix)
        program.write_text(source)
        argv = argv + ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wno-unused-function", "-I", ctx.root / "include", "-I", ctx.tmp]
        built = ctx.run(argv + [program, ctx.tmp / "toy.o", ctx.tmp / "second.o", "-o", ctx.tmp / "main", "-lpthread"])
        yield "obj/%s-links" % what, built.code == 0, built.err
        result = ctx.run([ctx.tmp / "main"])
        yield "obj/%s-runs" % what, result.out == want, result.out + result.err
    names = ctx.run(["nm", "-g", "--defined-only", ctx.tmp / "toy.o"]).out.split()[2::3]
    yield "obj/two-global-names", sorted(names) == ["toy_tessera", "toy_xla"], str(names)
    large = ctx.run(["readelf", "-SW", ctx.tmp / "toy.o"]).out
    line = next((l for l in large.splitlines() if ".tessera.weights" in l), "")
    yield "obj/weights-in-a-large-section", " Al " in line, line


def streamed(ctx, make):
    """Weights from a file give the same bytes as from memory; a failure of any kind leaves nothing."""
    out, blob = ctx.tmp / "out", ctx.tmp / "blob"
    out.mkdir()
    flat = [v for layer in LAYERS[1:] for v in layer + [0] * 12]
    blob.write_bytes(b"head" + struct.pack("<32f", *flat))
    made = make("so", "toy", out / "a.so", "file:4:%s" % blob)
    same = made.code == 0 and (out / "a.so").read_bytes() == (ctx.tmp / "toy.so").read_bytes()
    yield "weights-from-a-file-are-the-same-bytes", same, made.err
    yield "nothing-beside-it", [p.name for p in out.iterdir()] == ["a.so"], str(list(out.iterdir()))
    (out / "a.so").write_bytes(b"old")
    for name, piece in (("short", "file:100:%s" % blob), ("missing", "file:0:%s" % (ctx.tmp / "none"))):
        bad = make("so", "toy", out / "a.so", piece)
        yield "weights-%s-leave-nothing" % name, bad.code == 3 and "E_FILE" in bad.err and (out / "a.so").read_bytes() == b"old" and len(
            list(out.iterdir())) == 1, bad.err
    bad = make("so", "toy", ctx.tmp / "no-folder" / "a.so")
    yield "no-folder", bad.code == 3 and "E_FILE" in bad.err, bad.err
    yield ("full-disk", *full_disk(ctx, make))


def full_disk(ctx, make):
    """A file system of 64 KB, mounted for this in a name space of its own."""
    at = ctx.tmp / "small"
    at.mkdir()
    argv = " ".join("'%s'" % a for a in (make.e2e / "artifact_make", "exe", "toy", make.e2e / "artifact_kernels.o", at / "a"))
    script = "mount -t tmpfs -o size=96k tmpfs %s || exit 77; %s; echo rc=$?; ls -A %s" % (at, argv, at)
    result = ctx.run(["unshare", "-m", "sh", "-c", script])
    if "rc=" not in result.out:
        return None, "no mounting here: " + result.err
    return result.out == "rc=3\n" and "E_FILE" in result.err, result.out + result.err


def external(ctx, make):
    folder = ctx.tmp / "ext"
    folder.mkdir()
    file, so = folder / "w.bin", folder / "toy.so"
    file.write_bytes(b"8 bytes." + b"".join(struct.pack("<4f", *l) for l in LAYERS) + b"\0" * 5000)
    made = make("so", "toy", so, "external:%s" % file)
    yield "external/is-made", made.code == 0, made.err

    def use(path=None):
        return ctx.run([make.e2e / "artifact_use", "weights", so] + ([path] if path else [])).out

    yield "external/beside", use() == "ok 192\n", use()
    good = file.read_bytes()
    file.rename(ctx.tmp / "w.bin")
    yield "external/missing", "w.bin' can't be read: No such file or directory" in use(), use()
    os.mkfifo(file)
    yield "external/pipe", "w.bin' can't be read: it is a pipe, not a regular file" in use(), use()
    yield "external/device", "'/dev/zero' can't be read: it is a device, not a regular file" in use("/dev/zero"), use("/dev/zero")
    file.unlink()
    yield "external/by-folder", use(ctx.tmp) == "ok 192\n", use(ctx.tmp)
    yield "external/by-file", use(ctx.tmp / "w.bin") == "ok 192\n", use(ctx.tmp / "w.bin")
    file.write_bytes(good[:-1])
    yield "external/wrong-size", "wanted 5056" in use() and "not the file" in use(), use()
    file.write_bytes(good[:-1] + b"!")
    yield "external/wrong-hash", "another SHA-256" in use(), use()


def packs(ctx, make):
    made = make("tsr", "toy", ctx.tmp / "toy.tsr")
    yield "tsr-is-made", made.code == 0, made.err
    for kind in ("so", "tsr", "o"):
        shown = ctx.run([make.e2e / "artifact_make", "inspect", ctx.tmp / ("toy." + kind)])
        yield "inspect/" + kind, shown.code == 0 and "workspace bytes = 2*64*((4*B*N + 63)//64)" in shown.out and "tessera 1" in shown.out, shown.out
    data = (ctx.tmp / "toy.so").read_bytes()
    bad = ctx.tmp / "bad.so"
    crashes = []
    for i in range(400):
        broken = bytearray(data[: len(data) * i // 400] if i % 2 else data)
        for k in range(8):
            if broken:
                broken[(i * 7919 + k * 104729) % len(broken)] ^= 1 << (i + k) % 8
        bad.write_bytes(broken)
        result = ctx.run([make.e2e / "artifact_make", "inspect", bad])
        if result.code not in (0, 1) or (result.code == 1 and "E_PACK_BAD" not in result.err):
            crashes.append((i, result.code, result.err[-200:]))
    yield "inspect/damaged-files", not crashes, str(crashes[:3])


def run(ctx):
    make = Maker(ctx)
    yield from abi(ctx, make)
    exe = ctx.tmp / "toy"
    made = make("exe", "toy", exe)
    yield "exe-is-made", made.code == 0 and os.access(exe, os.X_OK), made.err
    if made.code == 0:
        yield from exe_answers(ctx, exe)
        yield from exe_errors(ctx, exe)
        yield from exe_outputs(ctx, exe)
    yield from objects(ctx, make)
    yield from streamed(ctx, make)
    yield from external(ctx, make)
    yield from packs(ctx, make)
