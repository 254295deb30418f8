"""Speed of what tsc makes, beside peers on this machine: `make bench`, in less than three minutes.

Everything that is compared runs in alternation, in short blocks, so that a busy or throttled machine slows both sides; a ratio is the
median of the ratios of neighbouring blocks, above 1 where Tessera is faster. Results are checked for equality before they are timed.
Writes bench/results/DATE.json. Usage: run.py --build DIR [--quick]
"""

import argparse
import ctypes
import datetime
import json
import os
import pathlib
import re
import statistics
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "examples" / "minilm"), str(ROOT / "bench")]
os.environ.setdefault("OPENBLAS_NUM_THREADS", str(len(os.sched_getaffinity(0))))

import numpy as np  # noqa: E402
import threadpoolctl  # noqa: E402

import artifact  # noqa: E402
import minilm_onnx  # noqa: E402
import quickstart  # noqa: E402

MATMUL = "tessera 1\ngraph f(a: f32[1024, 1024], b: f32[1024, 1024]) -> (c: f32[1024, 1024]) {\n  c = a @ b\n}\n"
ROWS = 'tessera 1\ndims M\nweights W = "rows.safetensors"\ngraph f(x: f32[M, 384]) -> (y: f32[M, 1536]) {\n  y = x @ W."w"\n}\n'
PRICE = """tessera 1
dims M
weights W = "{name}.safetensors"
graph f(x: f32[M, {k}]) -> (y: f32[M, {n}]) {{
  y = x @ W."w"
}}
"""
CUT = """tessera 1
dims M
weights W = "{name}.safetensors"
graph f(x: f32[M, {k}]) -> (y: f32[M, {n}]) {{
  y = slice(x, [0, 0], [M, {part}]) @ W."w0" + slice(x, [0, {part}], [M, 2 * {part}]) @ W."w1" + (slice(x, [0, 2 * {part}], [M, 3 * {part}]) @ W."w2" + slice(x, [0, 3 * {part}], [M, {k}]) @ W."w3")
}}
"""


class Bench:
    """Where things are, and the table in the making."""

    def __init__(self, build: pathlib.Path, quick: bool, tsc: pathlib.Path | None = None, say=lambda line: print(line, flush=True)):
        self.tsc_path, self.quick, self.say = tsc or build / "tsc", quick, say
        self.folder = build / "bench"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rows = []

    def row(self, what: str, value: float, unit: str, detail: str, limit: str = "", ok: bool | None = None) -> None:
        """Print and keep one line; ok says whether the stated limit is kept."""
        self.rows.append({"what": what, "value": round(value, 4), "unit": unit, "detail": detail, "limit": limit, "ok": ok})
        verdict = "" if ok is None else f"   {limit}: {'yes' if ok else 'NO'}"
        self.say(f"  {what:<58} {value:9.3f} {unit:<8} {detail}{verdict}")

    def tsc(self, *args: object) -> None:
        subprocess.run([str(a) for a in (self.tsc_path, *args)], check=True)

    def gcc(self, source: str, out: pathlib.Path, *more: object) -> None:
        command = ["gcc", "-std=gnu17", "-O2", "-I", ROOT / "include", ROOT / "bench" / source, "-o", out, *more]
        subprocess.run([str(c) for c in command], check=True)


def bind(model: artifact.Model, graph: str, inputs: dict) -> tuple:
    """A call without arguments that runs the graph, and its outputs: everything that NumPy and ctypes cost is done before."""
    outputs = model.run(graph, inputs)
    number = model.graphs().index(graph)
    ins, outs = model.tensors(number)
    keep = [model._tensor(a[t.name.decode()], t.dtype) for a, ts in ((inputs, ins), (outputs, outs)) for t in ts]
    given = (ctypes.POINTER(artifact.DLTensor) * len(ins))(*map(ctypes.pointer, keep[: len(ins)]))
    taken = (ctypes.POINTER(artifact.DLTensor) * len(outs))(*map(ctypes.pointer, keep[len(ins) :]))
    pointer, number32 = ctypes.c_void_p, ctypes.c_int32
    function = ctypes.CFUNCTYPE(number32, pointer, number32, pointer, number32, pointer, number32, pointer, pointer)(model.api.run)
    error = artifact.Error()

    def call() -> None:
        if function(model.session, number, given, len(ins), taken, len(outs), None, ctypes.byref(error)):
            raise artifact.TesseraError(error.message.decode())

    call.keep = (model, keep, inputs)
    return call, outputs


def block(call, seconds: float, best: dict | None = None, key: int = 0) -> float:
    """Median seconds of a call, over a block of about that length, after one that warms up; best[key] keeps the shortest."""
    time.sleep(0.01)  # threads of the other side that spin go to sleep
    call()
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    if best is not None:
        best[key] = min(times + [best.get(key, times[0])])
    return statistics.median(times)


def alternate(calls: list, blocks: int, seconds: float, best: dict | None = None) -> list[list[float]]:
    """Medians of the blocks of each call, the calls taking turns, each going first equally often."""
    found = [[] for _ in calls]
    for i in range(blocks):
        order = range(len(calls)) if i % 2 == 0 else reversed(range(len(calls)))
        for k in order:
            found[k].append(block(calls[k], seconds, best, k))
    return found


def ratio(theirs: list[float], ours: list[float]) -> float:
    return statistics.median(t / o for t, o in zip(theirs, ours))


def tree_bytes(pid: int) -> int:
    """Proportional memory of a process and all below it, in bytes."""
    total, todo = 0, [pid]
    while todo:
        p = todo.pop()
        try:
            total += 1024 * int(re.search(r"^Pss: +(\d+)", pathlib.Path(f"/proc/{p}/smaps_rollup").read_text(), re.M).group(1))
            for task in pathlib.Path(f"/proc/{p}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        except (OSError, AttributeError):
            continue
    return total


def compiling(b: Bench, so: pathlib.Path) -> None:
    """tsc minilm.tg -o minilm.so: seconds, and the peak of the whole process tree, which is looked at in a run of its own."""
    weights = quickstart.model_folder() / "model.safetensors"
    command = [str(c) for c in (b.tsc_path, ROOT / "examples" / "minilm" / "minilm.tg", "-o", so, "--weights-file", weights)]
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(command, check=True)
        times.append(time.perf_counter() - start)
    b.row("tsc minilm.tg -o minilm.so", min(times), "s", "best of 3", "below 8 s", min(times) < 8)
    process = subprocess.Popen(command)
    peak, usage = 0, None
    while not usage:
        peak = max(peak, tree_bytes(process.pid))
        time.sleep(0.003)
        pid, _, used = os.wait4(process.pid, os.WNOHANG)
        usage = used if pid else None
    process.returncode = 0
    peak = max(peak, usage.ru_maxrss * 1024)  # of the largest process, which the looks may have missed
    b.row("its peak memory", peak / 1e6, "MB", "of all its processes together", "below 500 MB", peak < 500e6)
    b.row("size of minilm.so over its weights", so.stat().st_size / weights.stat().st_size, "x", "", "at most 1.1", so.stat().st_size <= 1.1 * weights.stat().st_size)


def first_answer(b: Bench, so: pathlib.Path) -> None:
    b.gcc("first.c", b.folder / "first", "-ldl")
    times = [float(subprocess.run([str(b.folder / "first"), str(so)], check=True, capture_output=True, text=True).stdout) for _ in range(11)]
    took = statistics.median(times)
    b.row("dlopen to first answer, batch 1 length 16", took, "ms", "median of 11 processes, file in the page cache", "below 50 ms", took < 50)


def sessions(b: Bench, so: pathlib.Path, threads: int):
    """Our model, and ONNX Runtime's sessions with as many threads: with and without spinning."""
    import onnxruntime
    from safetensors.numpy import load_file

    path = b.folder / "minilm.onnx"
    if not path.exists():
        path.write_bytes(minilm_onnx.build(load_file(str(quickstart.model_folder() / "model.safetensors"))))
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads, o.inter_op_num_threads = threads, 1
    o.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    peers = [onnxruntime.InferenceSession(str(path), o, providers=["CPUExecutionProvider"])]
    if threads > 1:  # its threads spin between operators unless told not to, which is slow where other processes run
        o.add_session_config_entry("session.intra_op.allow_spinning", "0")
        peers.append(onnxruntime.InferenceSession(str(path), o, providers=["CPUExecutionProvider"]))
    return artifact.Model(so, "minilm", threads=threads), peers


def against_onnx(b: Bench, so: pathlib.Path) -> None:
    rng = np.random.default_rng(7)
    for threads in sorted({1, min(2, len(os.sched_getaffinity(0)))}):
        model, peers = sessions(b, so, threads)
        for batch, length, seconds in ((1, 128, 0.25), (1, 16, 0.15), (32, 128, 0.5)):
            inputs = {"ids": rng.integers(1000, 30000, (batch, length)), "mask": np.ones((batch, length), np.int64)}
            inputs["mask"][0, length * 3 // 4 :] = 0
            call, outputs = bind(model, "embed", inputs)
            error = float(np.abs(peers[0].run(["y"], inputs)[0] - outputs["y"]).max())
            if not error < 2e-5:
                sys.exit(f"bench: ONNX Runtime and minilm.so differ by {error} at batch {batch} length {length}")
            blocks = 3 if b.quick else 9 if batch == 1 else 4
            best = {}
            calls = [call, *(lambda p=p: p.run(["y"], inputs) for p in peers)]
            ours, *others = alternate(calls, blocks, 0.05 if b.quick else seconds, best)
            theirs = min(others, key=statistics.median)
            r = ratio(theirs, ours)
            floor = ("within 3x", r > 1 / 3) if (batch, length) == (1, 128) else ("", None)
            b.row(f"MiniLM {batch} x {length}, {threads} thread{'s'[: threads > 1]}: speed over ONNX Runtime", r, "x",
                  f"{statistics.median(ours) * 1e3:.2f} ms against {statistics.median(theirs) * 1e3:.2f} ms; best runs {best[0] * 1e3:.2f} against {min(best[k] for k in range(1, len(calls))) * 1e3:.2f} ms", *floor)


def matmul(b: Bench) -> None:
    """f32 1024^3 on one thread, both operands inputs: against the peak and NumPy's OpenBLAS."""
    (b.folder / "mm.tg").write_text(MATMUL)
    b.tsc(b.folder / "mm.tg", "-o", b.folder / "mm.so", "--name", "mm")
    b.gcc("peak.c", b.folder / "peak.so", "-shared", "-fPIC")
    peak = ctypes.CDLL(str(b.folder / "peak.so")).fma_peak
    peak.restype, peak.argtypes = ctypes.c_double, [ctypes.c_long]
    rng = np.random.default_rng(1)
    x, y = (rng.standard_normal((1024, 1024), np.float32) for _ in range(2))
    call, outputs = bind(artifact.Model(b.folder / "mm.so", "mm", threads=1), "f", {"a": x, "b": y})
    out = np.empty_like(x)
    if not is_product(outputs["c"], x, y):
        sys.exit("bench: matmul is wrong")
    peaks, ours, theirs = [], [], []
    with threadpoolctl.threadpool_limits(1):
        for _ in range(3 if b.quick else 9):
            peaks.append(peak(2_000_000))
            ours.append(2.147483648 / block(call, 0.15))
            theirs.append(2.147483648 / block(lambda: np.matmul(x, y, out=out), 0.15))
    share = statistics.median(o / p for o, p in zip(ours, peaks))
    b.row("matmul f32 1024^3, 1 thread: share of the FMA peak", share, "x", f"{statistics.median(ours):.0f} of {statistics.median(peaks):.0f} GFLOP/s")
    b.row("matmul f32 1024^3, 1 thread: speed over OpenBLAS", statistics.median(o / t for o, t in zip(ours, theirs)), "x",
          f"{statistics.median(ours):.0f} against {statistics.median(theirs):.0f} GFLOP/s")


def is_product(c: np.ndarray, x: np.ndarray, y: np.ndarray) -> bool:
    """Is c the float32 product of x and y? Element by element within (K + 8) 2^-24 of the sum of its terms' sizes: each of K products and sums
    rounds by at most 2^-24 of a partial sum no larger than that, in any order."""
    bound = (x.shape[1] + 8) * 2.0**-24 * (np.abs(x).astype(np.float64) @ np.abs(y).astype(np.float64))
    return bool((np.abs(c - x.astype(np.float64) @ y.astype(np.float64)) <= bound).all())


def nanoseconds(command: list, pattern: str) -> float:
    text = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout
    return float(re.search(pattern, text).group(1))


def program(b: Bench, so: pathlib.Path) -> None:
    """The executable's own threads against the .so's, batch 1 length 128, mean of a run, processes taking turns."""
    exe, count = b.folder / "minilm", "5" if b.quick else "25"
    b.tsc(ROOT / "examples" / "minilm" / "minilm.tg", "--emit", "exe", "-o", exe, "--weights-file", quickstart.model_folder() / "model.safetensors")
    given = []
    for name, array in (("ids", np.random.default_rng(5).integers(1000, 30000, (1, 128))), ("mask", np.ones((1, 128), np.int64))):
        np.save(b.folder / f"{name}.npy", array)
        given += ["--input", f"{name}={b.folder / name}.npy"]
    ours, theirs = [], []
    for i in range(3 if b.quick else 9):
        for k in (0, 1) if i % 2 == 0 else (1, 0):
            if k == 0:
                ours.append(nanoseconds([exe, *given, "--threads", "2", "--bench", count], r"mean (\d+) ns") * 1e-6)
            else:
                theirs.append(nanoseconds([b.tsc_path, "run", so, *given, "--threads", "2", "--bench", count], r"mean ([\d.]+) ms"))
    r = ratio(theirs, ours)
    b.row("executable --threads 2: speed over the .so's two threads", r, "x", f"{statistics.median(ours):.2f} ms against {statistics.median(theirs):.2f} ms",
          "at least 0.9", r >= 0.9)


def invariance(b: Bench) -> None:
    """What the rule costs that a row has the same bits in any batch.

    It forbids cutting K by the number of rows, which OpenBLAS may do. Here x[M, 384] @ W[384, 1536] on one thread stands beside OpenBLAS,
    and the few-rows kernel beside the general one at their border; price() measures the price itself."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(2)
    w = rng.standard_normal((384, 1536), np.float32)
    save_file({"w": w}, str(b.folder / "rows.safetensors"))
    (b.folder / "rows.tg").write_text(ROWS)
    b.tsc(b.folder / "rows.tg", "-o", b.folder / "rows.so", "--name", "rows")
    model = artifact.Model(b.folder / "rows.so", "rows", threads=1)
    x = rng.standard_normal((64, 384), np.float32)
    alone, numpy_alone, border = model.run("f", {"x": x[:1]})["y"], x[:1] @ w, {}
    with threadpoolctl.threadpool_limits(1):
        for rows in (1, 4, 16, 17, 64):
            call, outputs = bind(model, "f", {"x": np.ascontiguousarray(x[:rows])})
            if not np.array_equal(outputs["y"][:1], alone):
                sys.exit(f"bench: row 0 has other bits in a batch of {rows}")
            theirs_same = np.array_equal((x[:rows] @ w)[:1], numpy_alone)
            out, part = np.empty((rows, 1536), np.float32), np.ascontiguousarray(x[:rows])
            ours, theirs = alternate([call, lambda: np.matmul(part, w, out=out)], 3 if b.quick else 9, 0.03)
            border[rows] = statistics.median(ours) / rows
            b.row(f"invariant matmul, {rows} row{'s'[: rows > 1]}, 1 thread: speed over OpenBLAS", ratio(theirs, ours), "x",
                  f"{statistics.median(ours) * 1e6:.0f} us against {statistics.median(theirs) * 1e6:.0f} us; OpenBLAS {'keeps' if theirs_same else 'changes'} row 0's bits")
    b.row("few-rows kernel at 16 rows over the general one at 17", border[17] / border[16], "x", "time per row; the same bits by either")


def only_variant(so: pathlib.Path, number: int) -> tuple[pathlib.Path, str]:
    """The artifact with one variant of its only step for every size, and that variant's label: the plan's choices become copies of one."""
    data = bytearray(so.read_bytes())
    plan = data.find(b"TSPLAN1\0")
    strings, choices = (struct.unpack_from("<II", data, plan + 72 + 8 * i) for i in (0, 13))  # TsPlanHeader: spans from byte 72
    if choices[1] != 2:
        sys.exit(f"bench: {so.name} has {choices[1]} variants, wanted 2")
    first = plan + choices[0]
    chosen = bytearray(data[first + 24 * number : first + 24 * number + 24])
    at = plan + strings[0] + struct.unpack_from("<I", chosen, 16)[0]
    struct.pack_into("<I", chosen, 0, 0xFFFFFFFF)  # no guard
    data[first : first + 48] = chosen * 2
    out = so.with_suffix(f".{number}.so")
    out.write_bytes(data)
    return out, data[at : data.index(0, at)].decode()


def price(b: Bench) -> None:
    """Price of the rule: the variant that the compiler takes for so many rows against the fastest of its own, each forced for that size.

    Beside it a schedule that the rule forbids to take for some row counts alone, written as a graph: K cut in four, the products added."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(3)
    prices, cuts = [], []
    for k, n, many in ((384, 1536, (1, 4, 16, 17, 64)), (4096, 4096, (1,))):
        w = rng.standard_normal((k, n), np.float32)
        whole, cut = f"price{k}", f"cut{k}"
        for name, text, weights in ((whole, PRICE, {"w": w}), (cut, CUT, {f"w{i}": part for i, part in enumerate(w.reshape(4, k // 4, n))})):
            save_file(weights, str(b.folder / f"{name}.safetensors"))
            (b.folder / f"{name}.tg").write_text(text.format(name=name, k=k, n=n, part=k // 4))
            b.tsc(b.folder / f"{name}.tg", "-o", b.folder / f"{name}.so", "--name", name)
        (few, few_label), (general, _) = (only_variant(b.folder / f"{whole}.so", i) for i in (0, 1))
        bound = int(re.search(r"m <= (\d+)", few_label).group(1))
        for threads in sorted({1, min(2, len(os.sched_getaffinity(0)))}):
            models = [artifact.Model(so, name, threads=threads) for so, name in ((few, whole), (general, whole), (b.folder / f"{cut}.so", cut))]
            for rows in many:
                x = rng.standard_normal((rows, k), np.float32)
                calls, outputs = zip(*(bind(m, "f", {"x": x}) for m in models))
                if not np.array_equal(outputs[0]["y"], outputs[1]["y"]) or not all(is_product(o["y"], x, w) for o in outputs):
                    sys.exit(f"bench: the variants differ at {rows} x {k} x {n}")
                times = alternate(list(calls), 3 if b.quick else 7, 0.01 if b.quick else 0.03)
                chosen, best = times[rows > bound], min(times[:2], key=statistics.median)
                prices.append(ratio(chosen, best))
                cuts.append(ratio(chosen, times[2]))
                shown = ", ".join(f"{what} {statistics.median(t) * 1e6:.0f} us" for what, t in zip(("few rows", "general", "K in 4 parts"), times))
                b.row(f"price of the rule, {rows} x {k} x {n}, {threads} thread{'s'[: threads > 1]}", prices[-1], "x", f"takes {('few rows', 'general')[rows > bound]}; {shown}")
    cases = f"median of {len(prices)} cases; {{:.2f}} at worst"
    b.row("price of batch invariance: chosen over fastest own variant", statistics.median(prices), "x", cases.format(max(prices)))
    b.row("price of batch invariance: chosen over K cut in four", statistics.median(cuts), "x", cases.format(max(cuts)))


def machine() -> str:
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    wide = " with AVX-512" if "avx512f" in pathlib.Path("/proc/cpuinfo").read_text() else ""
    return f"{model.group(1) if model else 'unknown CPU'}{wide}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter blocks: that everything runs, not how fast")
    args = parser.parse_args()
    b, start, today = Bench(args.build.resolve(), args.quick), time.perf_counter(), datetime.date.today().isoformat()
    print(f"bench: {machine()}, {today}; ratios are medians over alternating blocks, above 1 is faster")
    if os.getloadavg()[0] > 0.5:
        print("bench: other work runs on this machine: comparisons on two threads say little, best runs more than medians")
    so = b.folder / "minilm.so"
    compiling(b, so)
    first_answer(b, so)
    against_onnx(b, so)
    program(b, so)
    matmul(b)
    invariance(b)
    price(b)
    took = time.perf_counter() - start
    results = pathlib.Path(ROOT / "bench" / "results")
    results.mkdir(exist_ok=True)
    path = results / f"{today}.json" if not b.quick else b.folder / "quick.json"
    path.write_text(json.dumps({"date": today, "machine": machine(), "seconds": round(took), "rows": b.rows}, indent=1) + "\n")
    bad = [r["what"] for r in b.rows if r["ok"] is False]
    print(f"{took:.0f} s; written to {os.path.relpath(path)}" + "".join(f"\nlimit not kept: {w}" for w in bad))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
