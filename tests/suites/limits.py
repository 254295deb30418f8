"""What a user waits for and pays: compile time and memory, time to the first answer, size of the file. By bench/run.py's own functions."""

import re
import resource
import sys

TIMEOUT = 300
LAYER = "tests/golden/tg/quickstart_layer.tg"


def gpu_layer(ctx):
    """The transformer layer for two GPU architectures: less than 20 s of one core for all processes together, so on two cores as well, and
    less than 1 MB of code for sm_80. That of sm_90a, with eight tiles for each matmul of open sizes, is printed: it is more."""
    ptxas = next(ctx.root.glob(".venv/lib/python3*/site-packages/nvidia/cu13/bin/ptxas"), "ptxas")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    r = ctx.run([ctx.tsc, ctx.root / LAYER, "-o", ctx.tmp / "layer.so", "--arch", "sm_80,sm_90", "--ptxas", ptxas], timeout=200)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    yield "layer for sm_80,sm_90", not r.code and 0.1 < seconds < 20, "%.1f s of processors, wanted below 20 s %s" % (seconds, r.err)
    inspected = ctx.run([ctx.tsc, "inspect", ctx.tmp / "layer.so"]).out
    code = dict(re.findall(r"(?m)^target (\w+):.*\n  modules: \d+, cubins of (\d+) bytes", inspected))
    ctx.note("layer for sm_80,sm_90: %.1f s of processors; cubins of %s bytes" % (seconds, code))
    yield "layer, code for sm_80", 0 < int(code.get("sm_80", 0)) < 1_000_000, "%s bytes, wanted below 1 MB" % code.get("sm_80")


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
