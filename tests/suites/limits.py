"""What a user waits for and pays: compile time and memory, time to the first answer, size of the file, by bench/run.py's own functions;
what a call from Python costs, and how soon a process answers whose function is in the cache."""

import os
import re
import resource
import sys
import time

TIMEOUT = 600
LAYER = "tests/golden/tg/quickstart_layer.tg"


def gpu_layer(ctx):
    """The transformer layer for two GPU architectures: less than 20 s on two cores, and
    less than 1 MB of code for each, with all sizes open (the head dim too) and with the weights' sizes known."""
    ptxas = next(ctx.root.glob(".venv/lib/python3*/site-packages/nvidia/cu13/bin/ptxas"), "ptxas")
    two = ",".join(str(c) for c in sorted(os.sched_getaffinity(0))[:2])
    for _ in range(3):  # processes of others may take a core for a while
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        r = ctx.run(["taskset", "-c", two, ctx.tsc, ctx.root / LAYER, "-o", ctx.tmp / "layer.so", "--arch", "sm_80,sm_90", "--ptxas", ptxas], timeout=200)
        wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        if r.code or wall < 20:
            break
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    yield "layer for sm_80,sm_90", not r.code and 0.1 < wall < 20, "%.1f s on two cores, wanted below 20 s %s" % (wall, r.err)
    ctx.note("layer for sm_80,sm_90: %.1f s on two cores, %.1f s of processors" % (wall, seconds))
    yield from below_1_mb(ctx, "layer", "layer.so")
    fixed = re.sub(r"\bD\b", "4096", re.sub(r", D multiple_of 16", "", (ctx.root / LAYER).read_text()))
    (ctx.tmp / "fixed.tg").write_text(fixed)
    r = ctx.run([ctx.tsc, ctx.tmp / "fixed.tg", "-o", ctx.tmp / "fixed.so", "--arch", "sm_80,sm_90", "--ptxas", ptxas], timeout=200)
    yield "layer of 4096 for sm_80,sm_90", not r.code, r.err
    yield from below_1_mb(ctx, "layer of 4096", "fixed.so")


def below_1_mb(ctx, what, name):
    """The cubins of each of the two targets, as they are stored: code, symbols, tables."""
    inspected = ctx.run([ctx.tsc, "inspect", ctx.tmp / name]).out
    code = {t: int(n) for t, n in re.findall(r"(?m)^target (\w+):.*\n  modules: \d+, cubins of (\d+) bytes", inspected)}
    yield what + ", targets with code", sorted(code) == ["sm_80", "sm_90a"], sorted(code)
    for target, size in code.items():
        yield what + ", code for " + target, 0 < size < 1_000_000, "%d bytes, wanted below 1 MB" % size
        ctx.note("%s: %d bytes of code for %s" % (what, size, target))


CACHED = """
import tessera as ts

@ts.function
def f(x: ts.Tensor["N", 64, ts.f32], w: ts.Tensor[64, 64, ts.f32]):
    return ts.softmax(x @ w)

print(f(ts.randn(3, 64, device="cpu"), ts.randn(64, 64, device="cpu")).shape)
"""


def python_package(ctx):
    """A call of a compiled function beyond the runtime's own: at most 5 us with the package's tensors, 15 us with torch's. A second process
    answers within half a second. The best of three, as processes of others may take a core for a while."""
    made = ctx.run(["make", "--no-print-directory", "BUILD=%s" % os.path.relpath(ctx.build, ctx.root), "python"], timeout=300)
    env = {k: v for k, v in os.environ.items() if not k.startswith("TESSERA_")}
    env.update(PYTHONPATH=str(ctx.build / "python"), TESSERA_CACHE=str(ctx.tmp / "cache"))
    for _ in range(3):
        calls = ctx.run([sys.executable, "tests/python/bench_call.py", ctx.tsc], timeout=200, env=env)
        if not calls.code:
            break
    yield "a call from Python", not made.code and not calls.code, made.err + calls.out + calls.err
    for line in calls.out.splitlines():
        ctx.note("  " + line)
    (ctx.tmp / "cached.py").write_text(CACHED)
    seconds = []
    for _ in range(4):
        start = time.monotonic()
        r = ctx.run([sys.executable, ctx.tmp / "cached.py"], env=env)
        seconds.append(time.monotonic() - start)
        if r.code or "(3, 64)" not in r.out:
            yield "a second process", False, r.out + r.err
            return
    best = min(seconds[1:])
    ctx.note("  Python: a process that compiles answers after %.2f s, one that finds its function after %.2f s" % (seconds[0], best))
    yield "a second process", 0.01 < best < 0.5 and best < seconds[0], "%.2f s, wanted 0.5" % best


def run(ctx):
    """Yields (name, ok, message)."""
    sys.path[:0] = [str(ctx.root / "bench")]
    import run as bench

    b = bench.Bench(ctx.tmp, quick=True, tsc=ctx.tsc, say=ctx.note)
    so = b.folder / "minilm.so"
    bench.compiling(b, so)
    bench.first_answer(b, so)
    for turn in range(3):  # processes of others may take a core for a while
        bench.program(b, so)
        if b.rows[-1]["ok"]:
            break
        b.rows[-1:] = b.rows[-1:] if turn == 2 else []
    for r in b.rows:
        yield r["what"], r["ok"], f"{r['value']} {r['unit']}, wanted {r['limit']}"
    yield from gpu_layer(ctx)
    yield from python_package(ctx)
