"""Programs of the documents (SPEC S1, S2, S4, S7, S8) on a GPU, where their inputs lie, at sizes that it has time for; prints `ok NAME`, `FAIL NAME: why`, `note …`."""
import sys
import time
from pathlib import Path

import checks
import torch

import tessera as ts

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python" / "spec"))
from test_s01 import attention  # noqa: E402
from test_s02 import transformer_layer  # noqa: E402
from test_s04 import fused_attention_kernel  # noqa: E402
from test_s08 import model as mixed  # noqa: E402


def exact(q, k, v, causal):
    """(attention in float64, sums of weight times |v|)"""
    s = q.double() @ k.double().mT * q.shape[-1] ** -0.5
    if causal:
        s = s.masked_fill(torch.ones(s.shape[-2:], device="cuda", dtype=torch.bool).triu(1), float("-inf"))
    p = s.softmax(-1)
    return p @ v.double(), p @ v.double().abs()


def near(got, want, terms):
    """Weights and the result are rounded to bf16, each by 2^-8 of it at most; the rest is f32."""
    bad = ~((got.double() - want).abs() <= (2.0 ** -8 + 2.0 ** -12) * terms + 2.0 ** -8 * want.abs() + 1e-30)
    assert not bad.any(), "%d of %d elements are beyond their bound" % (int(bad.sum()), bad.numel())


def s1_and_s7():
    for shape in ((64, 2, 256, 64), (1, 2, 512, 64), (2, 3, 77, 128)):
        q, k, v = (ts.randn(*shape, dtype=ts.bf16) for _ in range(3))
        o = attention(q, k, v)
        assert o.device == q.device == "cuda:0"
        near(torch.from_dlpack(o), *exact(*map(torch.from_dlpack, (q, k, v)), True))
    host = [t.to("cpu") for t in (q, k, v)]
    assert attention(*host).device == "cpu"


def s2():
    compiled = ts.jit(transformer_layer)
    for b, s, d in ((2, 100, 512), (1, 128, 4096), (4, 2048, 4096)):
        x, ws = ts.randn(b, s, d, dtype=ts.bf16), [ts.randn(d, n * d, dtype=ts.bf16) * d ** -0.5 for n in (3, 1, 4)]
        out = torch.from_dlpack(compiled(x, *ws)).double()
        tx, (wq, wo, wm) = torch.from_dlpack(x).double(), [torch.from_dlpack(w).double() for w in ws]
        for i in range(b):
            q, k, v = (t.reshape(1, s, 16, d // 16).transpose(1, 2) for t in (tx[i:i + 1] @ wq).split(d, -1))
            h = torch.nn.functional.layer_norm(tx[i:i + 1] + exact(q, k, v, True)[0].transpose(1, 2).reshape(1, s, d) @ wo, (d,))
            want = h + torch.nn.functional.gelu(h @ wm, approximate="tanh") @ wm.T
            far = float((out[i] - want[0]).norm() / want.norm())
            assert far < 1.2e-2, "row %d of B%d S%d D%d is %.1e from float64" % (i, b, s, d, far)  # a handful of bf16 values one after another


def s4():
    q, k, v = (ts.randn(6, 300, 64, dtype=ts.bf16) for _ in range(3))
    near(torch.from_dlpack(ts.jit(fused_attention_kernel)(q, k, v, scale=0.125)), *exact(*map(torch.from_dlpack, (q, k, v)), False))


def s8():
    x, w = ts.randn(2, 64, 256, dtype=ts.bf16), ts.randn(256, 512, dtype=ts.f32).to(ts.fp8_e4m3)
    y = torch.from_dlpack(mixed(x, w)).double()
    a, b = torch.from_dlpack(x).double(), torch.from_dlpack(w.to(ts.f32)).double()
    want, terms = a @ b, a.abs() @ b.abs()
    assert ((y - want).abs() <= (256 + 8) * 2.0 ** -24 * terms + 2.0 ** -8 * want.abs()).all()


def torch_in_torch_out():
    f, q = ts.jit(attention), torch.randn(1, 4, 200, 64, device="cuda").bfloat16()
    with torch.cuda.stream(torch.cuda.Stream()):
        o = f(q, q, q)
        assert type(o) is torch.Tensor and o.device == q.device
        near(o, *exact(q, q, q, True))


def profile():
    x, ws = ts.randn(1, 128, 1024, dtype=ts.bf16), [ts.randn(1024, n * 1024, dtype=ts.bf16) for n in (3, 1, 4)]
    f = ts.jit(transformer_layer)
    f(x, *ws)
    with ts.profiler.profile() as prof:
        f(x, *ws)
    assert prof.kernels and all(k.duration_ns > 0 for k in prof.kernels)


def figures():
    f, d = ts.jit(transformer_layer), 4096
    ws = [ts.randn(d, n * d, dtype=ts.bf16) * d ** -0.5 for n in (3, 1, 4)]
    for s in (128, 2048):
        x = ts.randn(1 if s == 128 else 4, s, d, dtype=ts.bf16)
        for _ in range(20):
            f(x, *ws)
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(50):
            f(x, *ws)
        host = time.perf_counter() - start
        torch.cuda.synchronize()
        print("note ts.jit of the layer, S %d: %.1f us a call, of them %.1f on the host" % (s, (time.perf_counter() - start) / 50 * 1e6, host / 50 * 1e6))


status = checks.run((s1_and_s7, s2, s4, s8, torch_in_torch_out, profile))
figures()
sys.exit(status)
