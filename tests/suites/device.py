"""The GPU suite and bench, as far as a machine without a GPU shows: what is missing is a failure and never a skip, guards are read as the compiler means
them, results of other code are refused, limits are held, and the runtime's side of tests/device/host.c and bench/gpu/first.c works on the fake driver."""
import json
import os
import sys

PARALLEL = True

NO_GPU = """
class cuda:
    is_available = staticmethod(lambda: False)
__version__ = "0"
"""

BENCH = """
import os, sys, types
sys.path.insert(0, sys.argv[1])
import torch
driver = types.ModuleType("driver")
timed = []
driver.alternate = lambda ours, peer, seconds: timed.append(1) or (1.0, 2.0, 2.0)
driver.version = lambda: "13.0"
sys.modules["driver"] = driver
torch.cuda.is_available, torch.cuda.get_device_name = (lambda: True), (lambda i=0: "NVIDIA Some GPU")
import artifact, measure
measure.ceilings = lambda: {"GB/s": 4000, "TFLOP/s": 700}
measure.Pair.cold, measure.Pair.throttled = (lambda self: (1.0, 1.5)), (lambda self, s: (1.0, 1.2))
measure.begin(sys.argv[2], 0.2)
x = torch.ones(3)
for cls, what, code, value in eval(sys.argv[3]):
    artifact.BOUND.add(code)
    measure.report(cls, what, x * value, x.double(), 1e-3, measure.alternate(None, None, 0.2), "TFLOP/s", 500.0)
status = measure.finish()
print("timed %d, status %d" % (len(timed), status))
"""


def missing_is_failure(ctx):
    folder = ctx.tmp / "torch"
    folder.mkdir()
    (folder / "torch.py").write_text(NO_GPU)
    env = dict(os.environ, PYTHONPATH=str(folder), PATH="/usr/bin:/bin")
    done = ctx.run([sys.executable, "tests/device/run.py", "--build", ctx.build], env=env)
    good = done.code == 1 and "sees no GPU" in done.out and "FAIL device: compute-sanitizer is neither" in done.out and done.out.rstrip().endswith("failed") and "\n0 passed, " in done.out
    yield "no-gpu-is-a-failure", good, done.out + done.err
    (folder / "torch.py").write_text("raise ImportError('no such package')\n")
    done = ctx.run([sys.executable, "tests/device/run.py", "--build", ctx.tmp], env=env)
    yield "no-torch-is-a-failure", done.code == 1 and "PyTorch can't be imported" in done.out and "tsc is not there" in done.out, done.out + done.err
    done = ctx.run([sys.executable, "tests/device/run.py", "nonsense"], env=env)
    yield "no-such-part", done.code == 2 and "no such part: nonsense" in done.err, done.out + done.err
    done = ctx.run(["make", "-n", "check", "DEVICE=tpu"])
    yield "no-such-device", done.code == 2 and "there are cpu and cuda" in done.err, done.out + done.err


def rows(ctx, tsc, what):
    done = ctx.run([sys.executable, ctx.tmp / "bench.py", ctx.root / "bench/gpu", tsc, repr(what)], env=dict(os.environ, RESULTS=str(ctx.tmp / "results")))
    return done.out + done.err


def bench(ctx):
    """Rows stand while the artifact is the same, are measured again when it is not, and are refused with another compiler."""
    (ctx.tmp / "bench.py").write_text(BENCH)
    one, two = ctx.tmp / "one", ctx.tmp / "two"
    one.write_text("a compiler")
    two.write_text("another")
    all_ = [("matmul", "a", "x1", 1), ("matmul", "b", "x1", 1), ("norm", "a", "y1", 1)]
    out = rows(ctx, one, all_)
    yield "bench/measures", "timed 3, status 0" in out and "3 rows, 0 wrong" in out, out
    out = rows(ctx, one, all_)
    yield "bench/goes-on", "timed 0, status 0" in out and out.count("as measured before") == 3, out
    out = rows(ctx, one, [("matmul", "a", "x2", 1)])
    yield "bench/other-artifact-again", "timed 1, status 0" in out and "3 rows, 0 wrong" in out, out
    out = rows(ctx, two, [("norm", "a", "y1", 1)])
    yield "bench/same-artifact-of-another-compiler-stands", "timed 0, status 0" in out and "2 rows of other code refused" in out and "1 rows, 0 wrong" in out, out
    out = rows(ctx, two, [("norm", "a", "y1", 1.1)])
    yield "bench/wrong-is-failure", "timed 0, status 1" in out and "WRONG: norm a" in out, out
    kept = json.loads(next((ctx.tmp / "results").glob("gpu-nvidia-some-gpu-*.json")).read_text())
    yield "bench/file", [(r["class"], r["what"]) for r in kept["rows"]] == [("norm", "a")] and kept["ceilings"]["GB/s"] == 4000, str(kept)
    next((ctx.tmp / "results").glob("*.json")).write_text("{ no json")
    out = rows(ctx, two, all_)
    yield "bench/damaged-file", "timed 3, status 0" in out, out


def guards(ctx):
    """What the suite reads off `tsc inspect` chooses the kernel that `tsc explain` chooses, at every border that it finds."""
    sys.path.insert(0, str(ctx.root / "tests/device"))
    import part_guards as g

    for case in g.cases():
        if case.name not in ("matmul_nt", "matmul_batch", "attention_causal", "attention_one", "softmax", "turned"):
            continue
        (ctx.tmp / (case.name + ".tg")).write_text("tessera 1\n" + case.text)
        made = ctx.run([ctx.tsc, case.name + ".tg", "-o", case.name + ".so", "--arch", "sm_80,sm_90", "--ptxas", "none"], cwd=ctx.tmp, timeout=240)
        inspected = ctx.run([ctx.tsc, "inspect", case.name + ".so"], cwd=ctx.tmp).out
        for target in ("sm_80", "sm_90a"):
            steps = g.steps_of(inspected, target) if made.code == 0 else []
            points, unmet = g.points(case, steps) if steps else ([], ["all"])
            yield "guards/%s/%s/every-variant" % (case.name, target), len(points) > 8 and not unmet, "%s %s" % (made.err, unmet)

            def explained(point):
                dims, chosen = point
                words = ",".join("%s=%d" % kv for kv in dims.items())
                done = ctx.run([ctx.tsc, "explain", case.name + ".so", "--arch", target, "--dims", words], cwd=ctx.tmp)
                return words, chosen, done

            some = points[:: max(1, len(points) // 24)]
            wrong = ["%s: %s\n%s" % (words, chosen, done.out + done.err) for words, chosen, done in ctx.map(explained, some)
                     if done.code or any("kernel %s," % k not in done.out for k in chosen if k)]
            yield "guards/%s/%s/as-explained" % (case.name, target), bool(some) and not wrong, "\n".join(wrong[:3])


LIMITS = """
measure.begin(sys.argv[2], 0.2)
for what, value, most, code in eval(sys.argv[3]):
    measure.kept("call", what, code) or (timed.append(1), measure.keep("call", what, "us", value, limit=most, code=code))
status = measure.finish()
print("timed %d, status %d" % (len(timed), status))
"""

FIRST = """
import pathlib, python
good = python.Starter("good", [sys.executable, "-c", "import time; t = time.monotonic_ns(); print('at %d process' % t); print('at %d answer' % (t + 5000000)); open('y', 'w')"], pathlib.Path("y"))
bad = python.Starter("bad", [sys.executable, "-c", "print('at 5 process'); raise SystemExit('no such model')"], pathlib.Path("z"))
for one in (good, bad, bad):
    one.run()
print(good.failure, good.parts().partition("answer")[2], good.total() > 5)
print(bad.runs, bad.failure)
"""


def limits(ctx):
    """Figures with limits: kept, gone on from, and one that is over its limit is a failure. Processes to a first answer: their steps, and what they said."""
    head = BENCH[: BENCH.index("measure.begin")]
    (ctx.tmp / "bench.py").write_text(head + LIMITS)
    tsc = ctx.tmp / "one"
    out = rows(ctx, tsc, [("a", 2.0, 5.0, "x"), ("b", 9.0, None, "x")])
    yield "limits/kept", "timed 2, status 0" in out and "at most 5.00: yes" in out, out
    out = rows(ctx, tsc, [("a", 2.0, 5.0, "x"), ("b", 9.0, None, "y")])
    yield "limits/goes-on", "timed 1, status 0" in out and out.count("as measured before") == 1, out
    out = rows(ctx, tsc, [("a", 7.0, 5.0, "y")])
    yield "limits/not-kept-is-failure", "timed 1, status 1" in out and "limit not kept: call a" in out and "at most 5.00: NO" in out, out
    (ctx.tmp / "bench.py").write_text(head + FIRST)
    done = ctx.run([sys.executable, ctx.tmp / "bench.py", ctx.root / "bench/gpu"], cwd=ctx.tmp)
    good = "None  5 True\n" in done.out and "[] status 1: no such model\n" in done.out and done.out.count("bad: status 1") == 1
    yield "first-answers/steps", good, done.out + done.err


def first(ctx):
    """The C program that says what a first answer consists of, on the fake driver."""
    fake = ctx.build / "fakecuda"
    env = dict(os.environ, LD_LIBRARY_PATH=str(fake.resolve()), FAKE_CUDA=str((fake / "toy.so").resolve()))
    (ctx.tmp / "n.tg").write_text("tessera 1\ndims B\ngraph f(x: f32[B, 64]) -> (y: f32[B, 64]) {\n  y = softmax(x, axis = -1)\n}\n")
    made = ctx.run([ctx.tsc, "n.tg", "-o", "n.so", "--arch", "sm_90", "--ptxas", "none"], cwd=ctx.tmp)
    (ctx.tmp / "x").write_bytes(bytes(3 * 64 * 4))
    program, model = ctx.build / "device/first", ctx.tmp / "n.so"
    done = ctx.run([program, model, "x=3x64:%s" % (ctx.tmp / "x"), ctx.tmp / "y"], env=env)
    steps = [line.split(" ", 2) for line in done.out.splitlines()]
    times = [int(s[1]) for s in steps]
    good = made.code == done.code == 0 and [s[0] for s in steps] == ["at"] * len(steps) and steps[-1][2] == "answer" and times == sorted(times)
    yield "first/steps", good and (ctx.tmp / "y").stat().st_size == 3 * 64 * 4, made.err + done.out + done.err
    for name, words, code, say in (("short-file", ["x=4x64:%s" % (ctx.tmp / "x")], 1, "has other bytes"), ("no-input", [], 2, "usage"), ("other-input", ["z=3x64:z"], 2, "'x' is not given")):
        done = ctx.run([program, model, *words, *([ctx.tmp / "y"] if words else [])], env=env)
        yield "first/" + name, done.code == code and say in done.err, done.out + done.err


def host(ctx):
    """The program that sanitizers watch, on the fake driver: two sets of shapes, costs, and words for what is wrong."""
    fake = ctx.build / "fakecuda"
    env = dict(os.environ, LD_LIBRARY_PATH=str(fake.resolve()), FAKE_CUDA=str((fake / "toy.so").resolve()))
    (ctx.tmp / "m.tg").write_text("tessera 1\ndims B\ngraph f(x: bf16[B, 64], w: bf16[64, 32]) -> (y: bf16[B, 32]) {\n  y = softmax(x @ w, axis = -1)\n}\n")
    made = ctx.run([ctx.tsc, "m.tg", "-o", "m.so", "--arch", "sm_90", "--ptxas", "none"], cwd=ctx.tmp)
    program = ctx.build / "device/host"
    done = ctx.run([program, ctx.tmp / "m.so", "--cost", "x=3x64", "w=64x32", "+", "x=70x64", "w=64x32"], env=env)
    good = made.code == 0 and done.code == 0 and done.out.count("launches 2") == 2 and done.out.count("run_ns ") == 2 and done.out.endswith("ok\n")
    yield "host/runs", good, made.err + done.out + done.err
    done = ctx.run([program, ctx.tmp / "m.so", "x=3x64"], env=env)
    yield "host/no-shape", done.code == 2 and "input 'w' has no shape" in done.err, done.out + done.err
    done = ctx.run([program, ctx.tmp / "m.so", "x=3x63", "w=64x32"], env=env)
    yield "host/wrong-shape", done.code == 1 and "'x'" in done.err, done.out + done.err
    done = ctx.run([ctx.build / "device/tests", "nonsense"])
    yield "tests/usage", done.code == 2 and "usage" in done.err, done.err
    done = ctx.run([ctx.build / "device/tests", "test_diff", "1", "neg"], timeout=120)
    yield "tests/run-on-the-cpu-too", done.code == 0 and "ok neg f32" in done.out, done.out + done.err


def run(ctx):
    yield from missing_is_failure(ctx)
    yield from bench(ctx)
    yield from limits(ctx)
    yield from first(ctx)
    yield from host(ctx)
    yield from guards(ctx)
