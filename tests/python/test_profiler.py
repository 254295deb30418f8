"""ts.profiler and ts.memory: what is recorded, by which line, what a trace and a table make of it."""

import inspect
import json
import threading
import time

import pytest

import tessera as ts
from tessera import _core, _peaks

B, D, K = 64, 128, 256


@ts.function
def layer(x: ts.Tensor["B", "D", ts.f32], w: ts.Tensor["D", "K", ts.f32]) -> ts.Tensor["B", "K", ts.f32]:
    h = ts.ops.matmul(x, w)  # product
    h = ts.nn.gelu(h)  # fused
    return ts.ops.softmax(h)  # row


def line_of(mark):
    text, first = inspect.getsourcelines(inspect.getmodule(line_of))
    return next(i + first + (first == 0) for i, s in enumerate(text) if s.endswith("# " + mark + "\n"))


@pytest.fixture(scope="module")
def use():
    f, x, w = ts.jit(layer), ts.randn(B, D, device="cpu"), ts.randn(D, K, device="cpu")
    f(x, w)
    return lambda: f(x, w)


@pytest.fixture(scope="module")
def prof(use):
    before = time.monotonic_ns()
    with ts.profiler.profile() as p:
        for _ in range(4):
            use()
    p.limits = before, time.monotonic_ns()
    return p


def test_calls_and_kernels_are_recorded(prof):
    assert len(prof.calls) == 4 and [e.call for e in prof.calls] == [0, 1, 2, 3]
    assert all(e.name == e.function == "layer" and e.device == "cpu" and e.thread == threading.get_ident() for e in prof.calls)
    assert len(prof.kernels) >= 8 and len(prof.kernels) % 4 == 0
    assert prof.events == sorted(prof.events, key=lambda e: (e.call, e.kind != "call", e.start_ns))


def test_kernels_lie_inside_their_call_one_after_the_other(prof):
    begin, end = prof.limits
    for call in prof.calls:
        at = call.start_ns
        assert begin <= call.start_ns and call.start_ns + call.duration_ns <= end
        for k in (k for k in prof.kernels if k.call == call.call):
            assert k.start_ns >= at and k.duration_ns >= 0
            at = k.start_ns + k.duration_ns
        assert at <= call.start_ns + call.duration_ns


def test_work_is_counted(prof):
    product = next(k for k in prof.kernels if k.kernel.startswith("matmul"))
    row = next(k for k in prof.kernels if k.kernel.startswith("softmax"))
    assert product.flops == 2 * B * D * K + B * K  # and the gelu
    assert product.bytes_read == 4 * (B * D + D * K) and product.bytes_written == 4 * B * K
    assert row.flops == 4 * B * K and row.bytes == 2 * 4 * B * K and row.cells > 0


def test_lines_are_those_of_the_program(prof):
    assert {e.file for e in prof.calls} == {__file__} and len({e.line for e in prof.calls}) == 1
    product = next(k for k in prof.kernels if k.kernel.startswith("matmul"))
    row = next(k for k in prof.kernels if k.kernel.startswith("softmax"))
    assert (product.file, product.line) == (__file__, line_of("product"))
    assert {(__file__, line_of("product")), (__file__, line_of("fused"))} <= set(product.lines)
    assert (row.file, row.line) == (__file__, line_of("row")) and row.where == f"{__file__}:{line_of('row')}"
    packs = [k for k in prof.kernels if k.kernel.startswith("pack")]
    assert all(k.line == line_of("product") and k.flops is None and k.bytes is None for k in packs)


def test_results_are_those_of_a_plain_call(use):
    want = use().tobytes()
    with ts.profiler.profile() as p:
        got = use().tobytes()
    assert got == want and len(p.calls) == 1
    assert use().tobytes() == want and len(p.calls) == 1


def test_profiles_in_one_another(use):
    with ts.profiler.profile() as outer:
        use()
        with ts.profiler.profile() as inner:
            use()
        use()
    assert len(outer.calls) == 3 and len(inner.calls) == 1
    with inner:
        use()
    assert len(inner.calls) == 2 and [e.call for e in inner.calls] == [0, 1]


def test_an_exception_ends_the_profile(use):
    with pytest.raises(ZeroDivisionError), ts.profiler.profile() as p:
        use()
        1 / 0  # noqa: B018
    use()
    assert len(p.calls) == 1


def test_all_threads_are_seen(use):
    with ts.profiler.profile() as p:
        crew = [threading.Thread(target=lambda: [use() for _ in range(5)]) for _ in range(4)]
        for t in crew:
            t.start()
        for t in crew:
            t.join()
    assert len(p.calls) == 20 and len({e.call for e in p.calls}) == 20
    for call in p.calls:
        mine = [k for k in p.kernels if k.call == call.call]
        assert mine and all(k.thread == call.thread for k in mine)


def test_eager_operators_are_calls(use):
    x = ts.randn(8, 8, device="cpu")
    with ts.profiler.profile() as p:
        ts.ops.exp(x)  # eager
    assert len(p.calls) == 1 and p.calls[0].line == line_of("eager")
    assert p.kernels and p.kernels[0].file == __file__


def test_a_listener_that_fails_disturbs_no_call(use, recwarn, monkeypatch):
    seen = []
    monkeypatch.setattr("sys.unraisablehook", lambda u: seen.append(u.exc_type))
    _core.profile_listen(lambda *said: 1 / 0)
    try:
        use()
    finally:
        _core.profile_listen(None)
    assert seen == [ZeroDivisionError]
    with pytest.raises(TypeError, match="wanted something to call"):
        _core.profile_listen(3)


def test_compilations_are_seen(tmp_path, cache_folder):
    @ts.function
    def fresh(x: ts.Tensor["B", 3, ts.f32]):
        return x * 3.0 + 1.0

    x = ts.randn(2, 3, device="cpu")
    with ts.profiler.profile() as p:
        ts.jit(fresh)(x)  # compiled
        y = ts.jit(fresh)(x)  # looked up
    assert y.shape == (2, 3) and len(p.calls) == 2
    first = p.compilations[0]
    assert first.name == "fresh" and (first.file, first.line) == (__file__, line_of("compiled")) and first.duration_ns > 10**6
    assert "compilations or looks into the cache: " in str(p)
    p.export_chrome_trace(tmp_path / "t.json")
    spans = check_trace(tmp_path / "t.json")["X"]
    assert {e["cat"] for e in spans} == {"compile", "call", "kernel"}


def test_rows_are_sums(prof):
    for by in ("kernel", "line", "function"):
        rows = prof.rows(by)
        assert sum(r.ns for r in rows) == sum(k.duration_ns for k in prof.kernels)
        assert sum(r.count for r in rows) == len(prof.kernels)
        assert sum(r.flops for r in rows) == sum(k.flops or 0 for k in prof.kernels)
        assert [r.ns for r in rows] == sorted((r.ns for r in rows), reverse=True)
    assert len(prof.rows("function")) == 1
    calls = prof.rows("call")
    assert sum(r.ns for r in calls) == sum(c.duration_ns for c in prof.calls)
    with pytest.raises(ValueError, match="by: wanted one of kernel, line"):
        prof.rows("colour")


def test_the_roofline_is_what_the_peaks_ask_for(prof, monkeypatch):
    peak = _peaks.Peak(1e12, 4e12, 1e11, "a machine")
    monkeypatch.setattr("tessera.profiler.peak_of", lambda device: peak)
    row = next(r for r in prof.rows("kernel") if r.name.startswith("softmax"))
    want = 4 * max(4 * B * K / 1e12, 8 * B * K / 1e11)
    assert row.roofline == pytest.approx(100 * want / (row.ns * 1e-9))
    assert peak.least(4 * 10**12, 1, True) == 1 and peak.least(4 * 10**12, 1, False) == 4 and peak.least(1, 10**11, True) == 1


def test_tables_are_text(prof):
    text = str(prof)
    assert text.startswith(f"4 calls, {len(prof.kernels)} kernels on cpu: ") and "peaks of the CPU, measured with" in text
    assert "by kernel" in text and "by line" in text and f"test_profiler.py:{line_of('product')}" in text
    head, *rows = prof.table("kernel").splitlines()
    assert head.split() == ["what", "count", "time", "share", "FLOP", "FLOP/s", "bytes", "B/s", "roofline"]
    assert len(rows) == len(prof.rows("kernel")) and all(len(r) <= len(head) + 60 for r in rows)
    assert any(r.startswith("softmax") and r.count("%") == 2 for r in rows)
    head, *rows = prof.table("call").splitlines()
    assert head.split() == ["what", "count", "time", "share", "kernels", "host"] and len(rows) == 1
    assert prof.rows("call")[0].inside == sum(k.duration_ns for k in prof.kernels)
    rows = prof.rows("kernel")
    assert prof.table("kernel", limit=1).endswith(f"and {len(rows) - 1} more")
    assert str(ts.profiler.Profile()) == "no call of a compiled function was seen"


def check_trace(path):
    """The rules of the Trace Event Format that the viewers go by; the events by phase."""
    trace = json.loads(path.read_text(encoding="utf-8"))
    assert set(trace) >= {"traceEvents", "displayTimeUnit"} and trace["displayTimeUnit"] in ("ms", "ns")
    phases, open_until = {}, {}
    for e in trace["traceEvents"]:
        assert isinstance(e["name"], str) and e["name"] and isinstance(e["pid"], int) and isinstance(e["tid"], int)
        phases.setdefault(e["ph"], []).append(e)
        if e["ph"] != "X":
            continue
        assert e["ts"] >= 0 and e["dur"] >= 0
        stack = open_until.setdefault((e["pid"], e["tid"]), [])
        while stack and stack[-1] <= e["ts"] + 1e-6:
            stack.pop()
        assert not stack or e["ts"] + e["dur"] <= stack[-1] + 1e-3  # spans of a track nest
        stack.append(e["ts"] + e["dur"])
    assert set(phases) <= {"M", "X", "C"}
    named = {(e["pid"], e["tid"]) for e in phases["M"] if e["name"] == "thread_name"}
    assert {(e["pid"], e["tid"]) for e in phases.get("X", [])} <= named
    assert all(list(e["args"].values())[0] >= 0 for e in phases.get("C", []))
    return phases


def test_the_trace_is_valid(prof, tmp_path):
    path = tmp_path / "trace.json"
    prof.export_chrome_trace(str(path))
    spans = check_trace(path)["X"]
    assert len(spans) == len(prof.events)
    kernel = next(e for e in spans if e["cat"] == "kernel" and e["args"]["kernel"].startswith("softmax"))
    assert kernel["args"]["flops"] == 4 * B * K and kernel["args"]["line"].endswith(f"test_profiler.py:{line_of('row')}")
    assert min(e["ts"] for e in spans) == 0
    ts.profiler.Profile().export_chrome_trace(path)
    assert [e["ph"] for e in json.loads(path.read_text())["traceEvents"]] == ["M"]


def test_a_trace_of_a_gpu_has_its_track(tmp_path):
    p = ts.profiler.Profile()
    call = ts.profiler.Event("call", "f", 1000, 500, "cuda:0", 7)
    kernels = [ts.profiler.Event("kernel", f"k{i}", 1200 + 400 * i, 400, "cuda:0", 7, flops=10, bytes_read=1, bytes_written=2) for i in range(2)]
    p.events.extend([call, *kernels])
    path = tmp_path / "gpu.json"
    p.export_chrome_trace(path)
    phases = check_trace(path)
    assert len({e["tid"] for e in phases["X"]}) == 2
    assert sorted(e["args"]["name"] for e in phases["M"] if e["name"] == "thread_name") == ["GPU cuda:0", "thread 7"]


def test_peaks_are_kept_and_looked_up(tmp_path, monkeypatch):
    monkeypatch.setenv("TESSERA_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "cache" / "cpu_peak.json"
    first = _peaks._cpu()
    assert first.flops > 1e9 and first.bytes > 1e7 and json.loads(path.read_text())["times"] == 1
    for times in range(2, 6):
        again = _peaks._cpu()
        assert again.flops >= first.flops and json.loads(path.read_text())["times"] == times
    monkeypatch.setattr(_peaks, "_measure", lambda threads: pytest.fail("measured again"))
    assert _peaks._cpu() == again
    monkeypatch.setattr(_peaks, "_measure", lambda threads: (5.0, 7.0))
    for wrong in ("", "[]", "{}", '{"model": 1}', path.read_text().replace('"threads": ', '"threads": 1000')):
        path.write_text(wrong)
        assert (_peaks._cpu().flops, _peaks._cpu().bytes) == (5e9, 7e9)
    monkeypatch.setattr(_core, "gpus", lambda: [("NVIDIA H200", 90, 1), ("Somebody's GPU", 90, 1)])
    h200 = _peaks._gpu("cuda:0")
    assert h200.half == 989e12 and h200.bytes == 4.8e12 and "NVIDIA H200" in h200.text
    assert _peaks._gpu("cuda:1") is None and _peaks._gpu("cuda:2") is None


def test_memory_of_tensors_is_counted():
    ts.memory.reset_peak("cpu")
    before = ts.memory.memory_allocated("cpu")
    assert ts.memory.max_memory_allocated("cpu") == before
    a = ts.empty(1000, 1000, dtype=ts.f32, device="cpu")
    assert ts.memory.memory_allocated("cpu") == before + 4_000_000
    b = ts.empty(1000, 500, dtype=ts.bf16, device="cpu")
    assert ts.memory.memory_allocated("cpu") == before + 5_000_000 <= ts.memory.memory_reserved("cpu")
    del a, b
    assert ts.memory.memory_allocated("cpu") == before
    assert ts.memory.max_memory_allocated("cpu") == before + 5_000_000
    assert ts.memory.get_memory_usage("cpu") == pytest.approx((before + 5_000_000) / 1e9)
    ts.memory.reset_peak("cpu")
    assert ts.memory.max_memory_allocated("cpu") == before
    ts.memory.empty_cache("cpu")
    assert ts.memory.get_memory_usage() >= 0
    with pytest.raises((ValueError, TypeError)):
        ts.memory.memory_allocated("mars")


@ts.function
def stack(x, weights):
    return ts.nn.transformer_stack(x, weights, num_layers=12)  # stack


def test_s5_profiles_twelve_layers(tmp_path, monkeypatch):
    """The program of SPEC S5, small: profile and trace."""
    monkeypatch.chdir(tmp_path)
    sizes = {"w_qkv": 96, "w_out": 32, "w_mlp": 128}
    weights = {k: ts.randn(12, 32, n, device="cpu") * 0.1 for k, n in sizes.items()}
    inputs, model_jit = ts.randn(2, 8, 32, device="cpu"), ts.jit(stack)
    model_jit(inputs, weights)
    with ts.profiler.profile() as prof:
        model_jit(inputs, weights)
    prof.export_chrome_trace("model_profile.json")
    attention = [k for k in prof.kernels if k.kernel.startswith("attention")]
    assert len(attention) == 12 and len({k.kernel for k in attention}) == 1 and len({k.flops for k in attention}) == 1
    products = [k for k in prof.kernels if k.kernel.startswith("matmul")]
    assert sum(k.flops for k in products) >= 12 * 2 * 16 * 32 * (96 + 32 + 128 + 128)
    assert {(k.file, k.line) for k in attention + products} == {(__file__, line_of("stack"))}
    spans = check_trace(tmp_path / "model_profile.json")["X"]
    assert len(spans) == 1 + len(prof.kernels)
    assert "by line" in str(prof)
