"""Artifacts with code for GPUs, as files, on the fake driver of tests/fakecuda/: a shared object, a program and an object, run on the GPU
and on the CPU with the same results, and the same files without any driver. What the runtime does there is tested by test_cuda."""
import json
import os
import random
import re
import struct
import zlib

PARALLEL = True

ALLOWED_UNDEFINED = {"dlopen", "dlsym", "pthread_create", "pthread_join"}
CUDA_LIMIT = 32 * 1024


def npy(path, values, shape, fortran=False):
    head = repr({"descr": "<f4", "fortran_order": fortran, "shape": tuple(shape)}).encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head + struct.pack("<%df" % len(values), *values))


def files(ctx, fake):
    """The model as every kind of file, with code for GPUs and without."""
    for kind in ("so", "exe", "obj"):
        for name, more in (("toy", []), ("cpu", ["cpu"])):
            made = ctx.run([fake / "toy", kind, ctx.tmp / (name + "." + kind), fake / "toy_kernels.o"] + more)
            yield "made/%s-%s" % (name, kind), made.code == 0, made.err


def what_is_in_them(ctx):
    def undefined(path):
        rows = [line.split() for line in ctx.run(["readelf", "--dyn-syms", "-W", path]).out.splitlines()]
        return {r[7] for r in rows if len(r) > 7 and r[0][:-1].isdigit() and r[6] == "UND"}, {r[4] for r in rows if len(r) > 7 and r[0][:-1].isdigit() and r[6] == "UND"}

    def needed(path):
        return re.findall(r"\(NEEDED\).*\[(.*)\]", ctx.run(["readelf", "-dW", path]).out)

    names, binding = undefined(ctx.tmp / "toy.so")
    yield "so/undefined-are-allowed-and-weak", names == ALLOWED_UNDEFINED and binding == {"WEAK"}, str(names)
    symbols = ctx.run(["readelf", "--dyn-syms", "-W", ctx.tmp / "toy.so"]).out
    yield "so/no-handler-for-xla-with-states", "toy_tessera" in symbols and "_xla" not in symbols, symbols
    yield "so/needs-nothing", needed(ctx.tmp / "toy.so") == [], str(needed(ctx.tmp / "toy.so"))
    yield "cpu-so/has-no-dlopen", undefined(ctx.tmp / "cpu.so")[0] == {"pthread_create", "pthread_join"}, str(undefined(ctx.tmp / "cpu.so")[0])
    yield "exe/needs-the-c-library", set(needed(ctx.tmp / "toy.exe")) == {"libc.so.6", "libdl.so.2"}, str(needed(ctx.tmp / "toy.exe"))
    yield "cpu-exe/needs-nothing", needed(ctx.tmp / "cpu.exe") == [], str(needed(ctx.tmp / "cpu.exe"))
    for kind in ("so", "exe", "obj"):
        inside = [b"cuTensorMapEncodeTiled" in (ctx.tmp / (n + "." + kind)).read_bytes() for n in ("toy", "cpu")]
        yield "%s/runtime-for-gpus-only-where-it-is-used" % kind, inside == [True, False], str(inside)
    total = 0
    for line in ctx.run(["readelf", "-SW", ctx.build / "rtlib_cuda.o"]).out.splitlines():
        m = re.match(r"\s*\[\s*\d+\]\s+(\S+)\s+\S+\s+\S+\s+\S+\s+(\S+)\s+\S+\s+(\S*)", line)
        total += int(m.group(2), 16) if m and "A" in m.group(3) else 0
    ctx.note("runtime code for GPUs, in artifacts that have some: %d bytes" % total)
    yield "runtime-for-gpus-below-32-KB", 0 < total < CUDA_LIMIT, "%d bytes" % total


def without_driver(ctx):
    """What a machine without a driver gives, on any machine: a libcuda.so.1 that can't be loaded."""
    folder = ctx.tmp / "without"
    folder.mkdir(exist_ok=True)
    (folder / "libcuda.so.1").write_text("no library " * 100)
    return {"LD_LIBRARY_PATH": os.fspath(folder)}


def runs(ctx, with_gpu):
    """(name, command, environment) that all have to give the same y."""
    so, exe = ctx.tmp / "toy.so", ctx.tmp / "toy.exe"
    for device in ("auto", "cuda", "cuda:0", "cpu"):
        yield "tsc-run-" + device, [ctx.tsc, "run", so, "--graph", "chain", "--device", device], with_gpu
        yield "exe-" + device, [exe, "--device", device], with_gpu
    yield "tsc-run-without-driver", [ctx.tsc, "run", so, "--graph", "chain"], without_driver(ctx)
    yield "exe-without-driver", [exe], without_driver(ctx)
    yield "cpu-exe", [ctx.tmp / "cpu.exe"], with_gpu


def same_results(ctx, with_gpu):
    results, y = {}, ctx.tmp / "y.npy"
    for i, (shape, fortran) in enumerate((((3, 16), False), ((3, 16), True), ((0, 8), False), ((64, 72), False))):
        x = ctx.tmp / ("x%d.npy" % i)
        count = shape[0] * shape[1]
        values = [float(k % 23 - 11) for k in range(count)]
        npy(x, [values[k % shape[0] * shape[1] + k // shape[0]] for k in range(count)] if fortran else values, shape, fortran)
        for name, argv, env in runs(ctx, with_gpu):
            y.unlink(missing_ok=True)
            done = ctx.run(argv + ["--input", "x=%s" % x, "--output", "y=%s" % y], env=env)
            got = y.read_bytes()[-4 * count:] if done.code == 0 and count else b""
            results.setdefault(shape, got)
            yield "same/%s-%d" % (name, i), done.code == 0 and y.exists() and got == results[shape], done.err or "y differs"


def words(ctx, with_gpu):
    so, exe, x = ctx.tmp / "toy.so", ctx.tmp / "toy.exe", "x=%s" % (ctx.tmp / "x0.npy")
    cases = [
        ("no-matching-code", [ctx.tsc, "run", so, "--device", "cuda:1"], with_gpu, 3, "holds code for sm_80, sm_90a, and none that runs on cuda:1 (Fake GPU 1, sm_75)"),
        ("no-such-gpu", [ctx.tsc, "run", so, "--device", "cuda:7"], with_gpu, 3, "there is no GPU cuda:7, the NVIDIA driver shows 4"),
        ("no-driver", [ctx.tsc, "run", so, "--device", "cuda"], without_driver(ctx), 3, "there is no NVIDIA driver: libcuda.so.1 can't be loaded"),
        ("exe-no-such-gpu", [exe, "--device", "cuda:7"], with_gpu, 3, "there is no GPU cuda:7"),
        ("exe-no-code", [ctx.tmp / "cpu.exe", "--device", "cuda"], with_gpu, 3, "model 'toy' holds no code for GPUs"),
    ]
    for name, argv, env, code, text in cases:
        done = ctx.run(argv + ["--input", x], env=env)
        yield "bad/" + name, done.code == code and text in done.err, "%d %s" % (done.code, done.err)
    found = ctx.run([ctx.tsc, "--detect"], env=with_gpu)
    lines = ["cuda:0  sm_90, Fake GPU 0: --arch sm_90", "cuda:1  sm_75, Fake GPU 1: no code is made for it", "cuda:2  sm_80, Fake GPU 2: --arch sm_80"]
    yield "detect", found.code == 0 and found.out.splitlines()[1:4] == lines and "no GPU" not in found.out, found.out + found.err
    shown = ctx.run([ctx.tsc, "explain", so, "--graph", "chain", "--dims", "B=2,N=8"], env=with_gpu)
    good = "device cuda:0, Fake GPU 0, sm_90, code for sm_90a, recorded as a graph" in shown.out and "load: variant small, kernel k_copy, 2 cells, 2 CTAs of 256 threads" in shown.out
    yield "explain", good, shown.out + shown.err


def linked(ctx, with_gpu):
    """The object in a program of its own, with the model's header, on whatever device there is."""
    source = ctx.tmp / "main.c"
    source.write_text("""
#include "toy.h"
#include <stdio.h>
int main(void) {
	TesseraContext *cx; TesseraSession *s; TesseraError e = { 0, "" }; TesseraDeviceInfo d; void *x, *y;
	float in[8] = { 0, 1, 2, 3, 4, 5, 6, 7 }, out[8] = { 0 };
	if (tessera_context_create(&toy_tessera, NULL, &cx, &e) || tessera_session_create(&toy_tessera, cx, NULL, &s, &e) || tessera_device_alloc(cx, 32, &x, &e) ||
	    tessera_device_alloc(cx, 32, &y, &e) || tessera_copy(cx, x, in, 32, &e)) return puts(e.message), 1;
	tessera_device(cx, &d);
	if (toy_one(s, 1, 8, x, y, &e) || tessera_wait(cx, NULL, &e) || tessera_copy(cx, out, y, 32, &e)) return puts(e.message), 1;
	printf("%s: %g %g\\n", d.name, out[0], out[7]);
	tessera_device_release(cx, x, 32, &e);
	tessera_device_release(cx, y, 32, &e);
	tessera_session_destroy(s);
	tessera_context_destroy(cx);
	return 0;
}
""")
    built = ctx.run(["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-I", ctx.root / "include", "-I", ctx.tmp, source, ctx.tmp / "toy.obj", "-o", ctx.tmp / "main", "-lpthread"])
    yield "obj/links", built.code == 0, built.err
    for name, env, want in (("gpu", with_gpu, "Fake GPU 0: 1 8\n"), ("cpu", without_driver(ctx), "CPU: 1 8\n")):
        done = ctx.run([ctx.tmp / "main"], env=env)
        yield "obj/runs-on-the-" + name, done.out == want, done.out + done.err


MODEL = """tessera 1
dims B
graph f(x: bf16[B, 256], w: bf16[256, 512], v: bf16[512, 64]) -> (y: bf16[B, 64], z: f32[B]) {
  h = softmax(x @ w, axis = -1)
  y = h @ v
  z = sum(cast(h, f32), axis = -1)
}
"""


def refused(ctx, with_gpu, so):
    """A driver that is older than ptxas: Hopper runs the PTX of sm_80, and where that is refused too, auto is the CPU."""
    cubins, everything = dict(with_gpu, FAKE_CUDA_REFUSE="cubins"), dict(with_gpu, FAKE_CUDA_REFUSE="all")
    text = "the driver (CUDA 13.0) refused code of ptxas "
    for device in ("auto", "cuda:0"):
        shown = ctx.run([ctx.tsc, "explain", so, "--dims", "B=65", "--device", device], env=cubins)
        yield "refused/other-plan-" + device, shown.code == 0 and "sm_90, code for sm_80, " in shown.out and "compiled from PTX by the driver" in shown.out, shown.out + shown.err
    shown = ctx.run([ctx.tsc, "explain", so, "--dims", "B=65", "--device", "cuda:0"], env=everything)
    good = shown.code == 3 and "cannot load module 'm0' on cuda:0: CUDA_ERROR_NO_BINARY_FOR_GPU; " + text in shown.err and "for sm_90a" in shown.err
    yield "refused/all", good, "%d %s" % (shown.code, shown.err)
    x = "x=%s" % (ctx.tmp / "x0.npy")
    toy = ctx.tmp / "toy.so"
    for device, env, want in (("cuda:0", with_gpu, None), ("cpu", everything, None), ("cuda:3", with_gpu, "tsc: note: there is no machine code for sm_120, the driver compiled sm_80's PTX"),
                              ("auto", everything, "tsc: note: on the CPU: the driver (CUDA 13.0) refused code of ptxas 13.0 for sm_90a (CUDA_ERROR_NO_BINARY_FOR_GPU)"),
                              ("auto", without_driver(ctx), "tsc: note: on the CPU: there is no NVIDIA driver: libcuda.so.1 can't be loaded")):
        ran = ctx.run([ctx.tsc, "run", toy, "--graph", "chain", "--device", device, "--bench", "2", "--input", x], env=env)
        good = ran.code == 0 and ran.err.splitlines() == ([want] if want else []) and (want or "\n").split(": ", 1)[-1].removeprefix("note: ").removeprefix("on the CPU: ") in ran.out
        yield "refused/run-says-%s-%s" % (device, "no" if not want else want.split()[-1]), good, "%d %s %s" % (ran.code, ran.err, ran.out)
        exe = ctx.run([ctx.tmp / "toy.exe", "--graph", "chain", "--device", device, "--input", x], env=env)
        yield "refused/exe-says-%s-%s" % (device, "no" if not want else want.split()[-1]), exe.code == 0 and exe.err == ((want[5:] + "\n") if want else ""), exe.err


def compiled(ctx, with_gpu):
    """What tsc makes: the fake reads each kernel's parameters off its code, and holds launches and tensor maps to the driver's rules."""
    model, so = ctx.tmp / "mm.tg", ctx.tmp / "mm.so"
    model.write_text(MODEL)
    made = ctx.run([ctx.tsc, model, "-o", so, "--arch", "sm_80,sm_90"], timeout=120)
    yield "compiled/made", made.code == 0, made.err
    for device, target in (("cuda:0", "code for sm_90a"), ("cuda:2", "code for sm_80"), ("cuda:3", "compiled from PTX by the driver")):
        for size in (1, 63, 64, 65, 128, 1000, 40000):
            shown = ctx.run([ctx.tsc, "explain", so, "--dims", "B=%d" % size, "--device", device], env=with_gpu)
            good = shown.code == 0 and "fakecuda" not in shown.err and target in shown.out and shown.out.count("CTAs of") == 4
            yield "compiled/%s-%d" % (device, size), good, shown.err + shown.out
    yield from refused(ctx, with_gpu, so)
    host = ctx.run([ctx.tsc, "explain", so, "--dims", "B=65", "--device", "cpu"], env=with_gpu)
    yield "compiled/cpu", host.code == 0 and "CTAs" not in host.out, host.err


WIDE = """tessera 1
dims B, S, D
graph f(q: f32[B, 4, S, 300], k: f32[B, 4, S, 300], v: f32[B, 4, S, 300]) -> (o: f32[B, 4, S, 300]) {
  o = attention(q, k, v, causal = true)
}
graph g(q: f32[B, 4, S, D], k: f32[B, 4, S, D], v: f32[B, 4, S, D], x: f32[B, S]) -> (p: f32[B, 4, S, D], e: f32[B, S]) {
  p = attention(q, k, v, causal = true)
  e = exp(x)
}
"""


def unserved(ctx, with_gpu):
    """Sizes without a variant: said when they are known to be such, and by explain; a grid that no GPU has likewise."""
    model, so = ctx.tmp / "wide.tg", ctx.tmp / "wide.so"
    model.write_text(WIDE)
    made = ctx.run([ctx.tsc, model, "-o", so, "--arch", "sm_80,sm_90", "--ptxas", "none"], timeout=120)
    want = "wide.tg:4:7: warning[W_NO_VARIANT]: 'o' has no code for head dim 300 on sm_80, sm_90a, where it takes head dim <= 256: this graph fails there when it is prepared"
    yield "unserved/warning", made.code == 0 and made.err.count("W_NO_VARIANT") == 1 and want in made.err, made.err
    one = ctx.tmp / "one.tg"  # one query is read in spans, by a step that does a part of the work
    one.write_text("tessera 1\ngraph f(q: bf16[2, 4, 1, 300], k: bf16[2, 4, 257, 300]) -> (o: bf16[2, 4, 1, 300]) {\n  o = attention(q, k, k)\n}\n")
    made = ctx.run([ctx.tsc, one, "-o", ctx.tmp / "one.so", "--arch", "sm_80,sm_90", "--ptxas", "none"], timeout=120)
    want = want.replace("wide.tg:4", "one.tg:3")
    yield "unserved/warning-of-one-query", made.code == 0 and made.err.count("W_NO_VARIANT") == 1 and want in made.err, made.err
    quiet = ctx.run([ctx.tsc, model, "-o", ctx.tmp / "quiet.so", "--graph", "g", "--arch", "sm_90", "--ptxas", "none"], timeout=120)
    yield "unserved/open-sizes-are-quiet", quiet.code == 0 and quiet.err == "", quiet.err
    for name, graph, dims, code, text in (("known", "f", "B=1,S=8", 1, "step 'o': no variant but 'head dim <= 256, wide' for B = 1, S = 8"),
                                          ("open", "g", "B=1,S=8,D=300", 1, "step 'p': no variant but 'head dim <= 256' for B = 1, S = 8, D = 300"),
                                          ("grid", "g", "B=3000000000,S=64,D=4", 1, "a GPU's has at most 2147483647 cells, for B = 3000000000, S = 64, D = 4"), ("served", "g", "B=1,S=8,D=256", 0, "")):
        for target in (["--arch", "sm_80"], ["--arch", "sm_90"], ["--device", "cuda:0"]):
            shown = ctx.run([ctx.tsc, "explain", so, "--graph", graph, "--dims", dims] + target, env=with_gpu)
            good = shown.code == code and (text in shown.err or (target[0] == "--device" and name == "grid" and "at most 2147483647 cells" in shown.err))
            yield "unserved/explain-%s-%s" % (name, target[1]), good and (code or not shown.err), "%d %s" % (shown.code, shown.err)


WEIGHTS = {"up": (37, 130), "mid": (130, 130), "qkv": (130, 90), "bias": (130,)}
LAYERS = """tessera 1
dims B
weights W = "w.safetensors"
graph f(x: bf16[B, 37]) -> (y: bf16[B, 90], z: bf16[B, 130]) {
  h = x @ W."up" + W."bias"
  z = h @ W."mid".T
  y = gelu(h) @ W."qkv"
}
"""


def uploads(ctx, with_gpu):
    """Weights that lie in panels inside the artifact reach the GPU as they stand in their file."""
    rng, at, header, data = random.Random(5), 0, {}, b""
    for name, shape in WEIGHTS.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + 2 * count]}
        data += bytes(rng.choice((0, 60, 61, 62, 189)) if i % 2 else rng.randrange(256) for i in range(2 * count))
        at += 2 * count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (ctx.tmp / "w.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (ctx.tmp / "layers.tg").write_text(LAYERS)
    lines = []
    for name, more in (("inside", []), ("beside", ["--weights", "external"])):
        made = ctx.run([ctx.tsc, "layers.tg", "-o", name + ".so", "--arch", "sm_90"] + more, cwd=ctx.tmp, timeout=120)
        env = dict(with_gpu, FAKE_CUDA_UPLOADS=os.fspath(ctx.tmp / (name + ".log")))
        shown = ctx.run([ctx.tsc, "explain", ctx.tmp / (name + ".so"), "--dims", "B=5"], env=env)
        yield "uploads/" + name, made.code == 0 and shown.code == 0 and "code for sm_90a" in shown.out, made.err + shown.err
        lines.append(sorted((ctx.tmp / (name + ".log")).read_text().split("\n")) if shown.code == 0 else name)
    yield "uploads/same-bytes", lines[0] == lines[1] and len(lines[0]) == len(WEIGHTS) + 1, str(lines)


LARGE = {"f32_rows": ("F32", (3001, 1024)), "bf16_columns": ("BF16", (2500, 2111)), "bf16_rows": ("BF16", (2111, 2500)), "wide": ("F32", (3, 800000))}
LARGE_GRAPH = """tessera 1
dims B
weights W = "large.safetensors"
graph f(x: f32[B, 3001], y: bf16[B, 2111], z: f32[B, 3]) -> (a: f32[B, 1024], b: bf16[B, 2500], c: bf16[B, 2500], d: f32[B, 800000]) {
  a = x @ W."f32_rows"
  b = y @ W."bf16_columns".T
  c = y @ W."bf16_rows"
  d = z @ W."wide"
}
"""


def large_uploads(ctx, with_gpu):
    """Weights of more than a piece are put together some rows at a time, be the panels along rows or across them."""
    rng, at, header, data = random.Random(9), 0, {}, {}
    for name, (dtype, shape) in LARGE.items():
        data[name] = rng.randbytes(shape[0] * shape[1] * (4 if dtype == "F32" else 2))
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data[name])]}
        at += len(data[name])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (ctx.tmp / "large.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data.values()))
    (ctx.tmp / "large.tg").write_text(LARGE_GRAPH)
    made = ctx.run([ctx.tsc, "large.tg", "-o", "large.so", "--arch", "sm_90", "--ptxas", "none"], cwd=ctx.tmp, timeout=200)
    inspected = ctx.run([ctx.tsc, "inspect", "large.so"], cwd=ctx.tmp).out
    (ctx.tmp / "large.safetensors").unlink()  # what lies inside needs no file
    yield "uploads/large-in-panels", made.code == 0 and inspected.count("panels of") >= len(LARGE), made.err + inspected[:3000]
    shown = ctx.run([ctx.tsc, "explain", ctx.tmp / "large.so", "--dims", "B=5"], env=dict(with_gpu, FAKE_CUDA_UPLOADS=os.fspath(ctx.tmp / "large.log")))
    copies = [line.split() for line in (ctx.tmp / "large.log").read_text().splitlines()] if shown.code == 0 else []
    left, pieces = dict(data), []
    while copies and left:  # the weights in the plan's order: whose first bytes are these?
        name = next((n for n, d in left.items() if "%08x" % zlib.crc32(d[: int(copies[0][0])]) == copies[0][1]), None)
        if not name:
            break
        want, n = left.pop(name), 0
        count = 0
        while n < len(want) and copies and "%08x" % zlib.crc32(want[n : n + int(copies[0][0])]) == copies[0][1]:
            n, count = n + int(copies.pop(0)[0]), count + 1
        pieces.append((name, count, n == len(want)))
    good = not copies and not left and all(whole for _, _, whole in pieces) and dict((n, c) for n, c, _ in pieces) == {"f32_rows": 3, "bf16_columns": 3, "bf16_rows": 3, "wide": 3}
    yield "uploads/large-in-pieces", good, "%s %s %s" % (pieces, copies, shown.err)


def run(ctx):
    fake = ctx.build / "fakecuda"
    with_gpu = {"LD_LIBRARY_PATH": os.fspath(fake.resolve()), "FAKE_CUDA": os.fspath((fake / "toy.so").resolve())}
    yield from files(ctx, fake)
    yield from what_is_in_them(ctx)
    yield from same_results(ctx, with_gpu)
    yield from words(ctx, with_gpu)
    yield from linked(ctx, with_gpu)
    yield from compiled(ctx, with_gpu)
    yield from unserved(ctx, with_gpu)
    yield from uploads(ctx, with_gpu)
    yield from large_uploads(ctx, with_gpu)
