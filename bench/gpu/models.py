"""Graphs compiled by tsc on a GPU, against PyTorch by turns in one process: right first (float64), then timed.

    python bench/gpu/models.py [TSC [CLASS,CLASS…|all [SECONDS]]]

TSC: the compiler; when not given, the one built or unpacked around this file. What is measured how, and where it is kept: measure.py."""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from artifact import Artifact
from exact import exact_attention
from layer import BLOCK, LAYER
from measure import alternate, begin, failed, finish, report

HOME = Path(__file__).resolve().parents[2]
TSC = sys.argv[1] if len(sys.argv) > 1 else next((str(p) for p in (HOME / "build/tsc", HOME / "bin/tsc") if p.exists()), "tsc")
CLASSES = sys.argv[2].split(",") if len(sys.argv) > 2 and sys.argv[2] != "all" else None
SECONDS = float(sys.argv[3]) if len(sys.argv) > 3 else 0.5
ARCH = "sm_90"
FOLDER = Path(tempfile.mkdtemp(prefix="tessera-bench-"))
BF16 = torch.bfloat16


def rand(*shape, dtype=BF16, scale=1.0):
    return (torch.randn(*shape, device="cuda", dtype=torch.float32) * scale).to(dtype)


def empty(*shape, dtype=BF16):
    return torch.full(shape, float("nan"), device="cuda", dtype=dtype)


def compiled(name, text):
    source = FOLDER / (re.sub(r"\W+", "_", name) + ".tg")
    source.write_text("tessera 1\n" + text)
    subprocess.run([TSC, str(source), "-o", str(source.with_suffix(".so")), "--arch", ARCH], check=True)
    return Artifact(str(source.with_suffix(".so")))


def matmul():
    shapes = [(4096,) * 3, (8192,) * 3, (8192, 6144, 4096), (8192, 4096, 14336), (8192, 14336, 4096), (2048,) * 3, (1024,) * 3, (1, 14336, 4096), (16, 14336, 4096),
              (64, 4096, 4096), (128, 14336, 4096), (1000, 3000, 2000), (3000, 1000, 4096), (257, 4096, 4096)]
    forms = {"nt": ("b: bf16[N, K]", "a @ b.T", (0, 1)), "nn": ("b: bf16[K, N]", "a @ b", (0, 0)), "tn": ("b: bf16[K, N]", "a.T @ b", (1, 0)), "tt": ("b: bf16[N, K]", "a.T @ b.T", (1, 1))}
    for form, (b_text, expr, (ta, tb)) in forms.items():
        art = compiled("matmul_" + form, "dims M, N, K\n\ngraph f(a: bf16[%s], %s) -> (c: bf16[M, N]) {\n  c = %s\n}\n" % ("K, M" if ta else "M, K", b_text, expr))
        for m, n, k in [*shapes, (16384,) * 3] if form in ("nt", "nn") else [*shapes[:5], (16384,) * 3]:
            a, b, c = rand(*((k, m) if ta else (m, k))), rand(*((n, k) if tb else (k, n))), empty(m, n)
            at, bt = a.T if ta else a, b.T if tb else b
            run = art.bind([a, b], [c])
            run()
            few = [slice(0, min(m, 512)), slice(max(m - 512, 0), m)]
            report("matmul", "%s %dx%dx%d" % (form, m, n, k), torch.cat([c[f] for f in few]), torch.cat([at[f].double() @ bt.double() for f in few]), 4e-3,
                   alternate(run, lambda: torch.matmul(at, bt, out=c), SECONDS), "TFLOP/s", 2e-9 * m * n * k)


MATMUL_20 = """nt 1 14336 4096, nn 8 4096 14336, nt 16 14336 4096, nn 32 4096 4096, nt 64 4096 4096, nn 64 6144 4096, nt 128 14336 4096, nn 128 4096 4096,
nt 257 4096 4096, nn 1000 3000 2000, nt 3000 1000 4096, nt 512 512 8192, nt 1024 1024 1024, nn 1536 1536 1536, nt 2048 2048 2048, nn 2304 2304 4096,
nt 4095 4095 4095, nn 1023 2047 511, nt 777 1111 4096, nn 640 5120 2560"""


def matmul20():
    """Few rows, odd sizes, waves with a tail: the geometric mean counts."""
    art = {f: compiled("matmul_" + f, "dims M, N, K\n\ngraph f(a: bf16[M, K], b: bf16[%s]) -> (c: bf16[M, N]) {\n  c = a @ %s\n}\n" % (("N, K", "b.T") if f == "nt" else ("K, N", "b"))) for f in ("nt", "nn")}
    for line in MATMUL_20.split(","):
        form, m, n, k = [int(w) if w.isdigit() else w for w in line.split()]
        a, b, c = rand(m, k), rand(*((n, k) if form == "nt" else (k, n))), empty(m, n)
        bt = b.T if form == "nt" else b
        run = art[form].bind([a, b], [c])
        run()
        report("matmul20", "%s %dx%dx%d" % (form, m, n, k), c, a.double() @ bt.double(), 4e-3, alternate(run, lambda: torch.matmul(a, bt, out=c), SECONDS), "TFLOP/s", 2e-9 * m * n * k)


def types():
    """Products of other types: f32 and TF32 over cuBLAS in the same mode, 8-bit floats over cuBLASLt without and with fast accumulation."""
    f32, text = torch.float32, "dims M, N, K\n%s\ngraph f(a: %s[M, K], b: %s[N, K]) -> (c: %s[M, N]) {\n  c = %s\n}\n"
    arts = {mode: compiled("types_" + mode, text % (numerics, "f32", "f32", "f32", "a @ b.T")) for mode, numerics in (("f32", ""), ("tf32", 'numerics { math = "tf32" }'))}
    for mode, art in arts.items():
        for m, n, k in [(4096,) * 3, (16, 384, 1536), (128, 1536, 384), (64, 4096, 4096)]:
            a, b, c = rand(m, k, dtype=f32), rand(n, k, dtype=f32), empty(m, n, dtype=f32)
            run = art.bind([a, b], [c])
            run()
            want = a.double() @ b.double().T
            torch.backends.cuda.matmul.allow_tf32 = mode == "tf32"
            # f32: what one chain of K sums errs: partial sums grow as the root of i, each is rounded by 2^-24 of itself over the root of 3, mean square
            bound = (k / 6) ** 0.5 * 2.0 ** -24 if mode == "f32" else 2e-3
            report("types", "%s %dx%dx%d" % (mode, m, n, k), c, want, bound, alternate(run, lambda: torch.matmul(a, b.T, out=c), SECONDS),
                   "TFLOP/s", 2e-9 * m * n * k)
    torch.backends.cuda.matmul.allow_tf32 = False
    fp8, one = torch.float8_e4m3fn, torch.ones((), device="cuda")
    art = compiled("types_fp8", text % ("", "fp8_e4m3", "fp8_e4m3", "bf16", "matmul(a, b.T, out = bf16)"))
    for m, n, k in [(4096,) * 3, (8192,) * 3, (8192, 14336, 4096)]:
        a, b, c = rand(m, k, dtype=fp8), rand(n, k, dtype=fp8), empty(m, n)
        run = art.bind([a, b], [c])
        run()
        want = a[:512].double() @ b.double().T
        for fast in (False, True):
            report("types", "fp8%s %dx%dx%d" % (", over fast accumulation" if fast else "", m, n, k), c[:512], want, 4e-3,
                   alternate(run, lambda: torch._scaled_mm(a, b.T, one, one, out_dtype=BF16, use_fast_accum=fast), SECONDS), "TFLOP/s", 2e-9 * m * n * k)


def invariance():
    """The price of batch_invariant: the same graph without it is the peer."""
    policy = "numerics { batch_invariant = true }\n"

    def both(name, text):
        return [compiled(name + way, head + text) for way, head in (("", ""), ("_invariant", policy))]

    product = both("price_matmul", "dims M, N, K\n\ngraph f(a: bf16[M, K], b: bf16[N, K]) -> (c: bf16[M, N]) {\n  c = a @ b.T\n}\n")
    for m, n, k in [(1, 4096, 4096), (16, 14336, 4096), (64, 4096, 4096), (512, 512, 8192), (2048, 4096, 4096), (8192,) * 3]:
        a, b, c = rand(m, k), rand(n, k), empty(m, n)
        plain, same = (art.bind([a, b], [c]) for art in product)
        same()
        report("invariance", "matmul nt %dx%dx%d" % (m, n, k), c[:512], a[:512].double() @ b.double().T, 4e-3, alternate(same, plain, SECONDS), "TFLOP/s", 2e-9 * m * n * k)
    one = both("price_decode", "dims B, H, T, D\n\ngraph f(q: bf16[B, 8*H, 1, D], k: bf16[B, H, T, D], v: bf16[B, H, T, D]) -> (o: bf16[B, 8*H, 1, D]) {\n  o = attention(q, k, v)\n}\n")
    for b, h, t, d in [(1, 8, 65536, 128), (16, 8, 8192, 128)]:
        q, k, v = rand(b, 8 * h, 1, d), rand(b, h, t, d), rand(b, h, t, d)
        o, (got, want) = empty(b, 8 * h, 1, d), exact_attention(q, k, v)
        plain, same = (art.bind([q, k, v], [o]) for art in one)
        same()
        report("invariance", "one query B%d H%d/%d T%d D%d" % (b, 8 * h, h, t, d), got(o), want, 1e-2, alternate(same, plain, SECONDS), "GB/s", 4e-6 * b * h * t * d)


def gelu():
    art = compiled("linear_gelu", "dims M, N, K\n\ngraph f(x: bf16[M, K], w: bf16[N, K], b: bf16[N]) -> (y: bf16[M, N]) {\n  y = gelu(x @ w.T + b, approximate = \"tanh\")\n}\n")
    for m, n, k in [(8192, 14336, 4096), (4096, 4096, 4096), (512, 4096, 4096)]:
        x, w, b, y = rand(m, k), rand(n, k), rand(n), empty(m, n)
        run = art.bind([x, w, b], [y])
        run()
        report("gelu", "%dx%dx%d" % (m, n, k), y[:256], F.gelu(x[:256].double() @ w.double().T + b.double(), approximate="tanh"), 4e-3,
               alternate(run, lambda: F.gelu(torch.addmm(b, x, w.T), approximate="tanh"), SECONDS), "TFLOP/s", 2e-9 * m * n * k)


# batch, heads of keys, query heads for each, length, head dim
ATTENTIONS = [(4, 16, 1, s, 128) for s in (512, 1024, 2048, 4096)] + [(2, 16, 1, 8192, 128), (1, 16, 1, 16384, 128), (4, 48, 1, 4096, 128), (2, 4, 1, 1000, 128), (4, 4, 4, 512, 128), (4, 4, 8, 4096, 128)]
ATTENTIONS += [(b, 16, 1, s, d) for d in (64, 256) for b, s in ((4, 512), (4, 1024), (4, 2048), (4, 4096), (2, 8192), (1, 16384))]
DECODES = [(32, 32, 1, 8192, 128), (4, 8, 1, 16384, 128), (32, 8, 4, 8192, 128), (16, 8, 8, 8192, 128), (1, 8, 8, 65536, 128), (32, 32, 1, 4096, 64), (16, 8, 8, 4096, 256)]


def attend(name, q, k, v, causal=False):
    """PyTorch's attention by cuDNN or by FlashAttention-2."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    backend = {"cudnn": SDPBackend.CUDNN_ATTENTION, "fa2": SDPBackend.FLASH_ATTENTION}[name]

    def peer():
        with sdpa_kernel(backend):
            F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1])

    return peer


def attention_graph(group, causal):
    return compiled("attention_%d_%d" % (group, causal), "dims B, G, S, T, D <= 256\n\ngraph f(q: bf16[B, %d*G, S, D], k: bf16[B, G, T, D], v: bf16[B, G, T, D]) -> (o: bf16[B, %d*G, S, D]) {\n"
                    "  o = attention(q, k, v, causal = %s)\n}\n" % (group, group, str(causal).lower()))


def attention():
    for causal in (False, True):
        arts = {g: attention_graph(g, causal) for g in (1, 4, 8)}
        for b, h, g, s, d in ATTENTIONS:
            q, k, v = rand(b, h * g, s, d), rand(b, h, s, d), rand(b, h, s, d)
            what = "B%d H%d%s S%d D%d%s" % (b, h * g, "/%d" % h if g > 1 else "", s, d, " causal" if causal else "")
            got, want = exact_attention(q, k, v, causal)
            for peer in ("cudnn", "fa2"):
                o = torch.full_like(q, float("nan"))
                run = arts[g].bind([q, k, v], [o])
                run()
                report("attention" if peer == "cudnn" else "attn-fa2", what, got(o), want, 1e-2, alternate(run, attend(peer, q, k, v, causal), SECONDS), "TFLOP/s",
                       (2e-9 if causal else 4e-9) * b * h * g * s * s * d)


def decode():
    """One query row; of the same files as attention, by guard."""
    arts = {g: attention_graph(g, False) for g in (1, 4, 8)}
    for b, h, g, t, d in DECODES:
        q, k, v = rand(b, h * g, 1, d), rand(b, h, t, d), rand(b, h, t, d)
        got, want = exact_attention(q, k, v)
        for peer in ("cudnn", "fa2"):
            o = torch.full_like(q, float("nan"))
            run = arts[g].bind([q, k, v], [o])
            run()
            report("decode" if peer == "cudnn" else "decode-fa2", "B%d H%d/%d T%d D%d" % (b, h * g, h, t, d), got(o), want, 1e-2, alternate(run, attend(peer, q, k, v), SECONDS), "GB/s read",
                   4e-6 * b * h * t * d)


def kernel():
    """Attention as kernels of one's own (examples/kernels/attention.tg) over cuDNN's, the scale a number of the text or an input."""
    kernels = (HOME / "examples/kernels/attention.tg").read_text().partition("\ngraph ")[0].removeprefix("tessera 1\n")
    graph = """
graph f(q: bf16[B, H, S, D], k: bf16[B, H, S, D], v: bf16[B, H, S, D]%s) -> (o: bf16[B, H, S, D]) {
  %s = %s(q.reshape([B*H, S, D]), k.reshape([B*H, S, D]), v.reshape([B*H, S, D]), %s)
  o = r.reshape([B, H, S, D])
}
"""
    for d in (64, 128):
        q, k, v = (rand(4, 16, 4096, d) for _ in range(3))
        number, scale = repr(d ** -0.5), torch.full((), d ** -0.5, device="cuda")
        for name, results in (("attention_tiles", "r"), ("causal_tiles", "r, _")):
            causal = name == "causal_tiles"
            got, want = exact_attention(q, k, v, causal)
            for scaled, text, inputs in (("number", graph % ("", results, name, number), [q, k, v]), ("input", graph % (", scale: f32[]", results, name, "scale"), [q, k, v, scale])):
                o = torch.full_like(q, float("nan"))
                run = compiled("%s_%d_%s" % (name, d, scaled), kernels + text).bind(inputs, [o])
                run()
                report("kernel", "%s D%d, scale a%s %s" % (name, d, "n" * (scaled == "input"), scaled), got(o), want, 1e-2, alternate(run, attend("cudnn", q, k, v, causal), SECONDS),
                       "TFLOP/s", (2e-9 if causal else 4e-9) * q.shape[0] * q.shape[1] * q.shape[2] ** 2 * d)


LONG_ROWS = [(2 ** 28 // n, n) for n in (256, 1024, 4096, 8192, 16384, 32768, 65536)]
OTHER_ROWS = [(65536, 777), (4096, 4097), (2048, 50257), (1024, 131072), (512, 262144), (1000, 777), (512, 1024), (16, 768), (1, 4096)]


def by_turns(runs):
    """A function that calls the next of `runs` each time."""
    at = [0]

    def call():
        at[0] = (at[0] + 1) % len(runs)
        runs[at[0]]()

    return call


def rows(name, text, peer_of, want_of, weights):
    """Three classes: long rows over eager PyTorch, the same over torch.compile, odd and few ones over eager."""
    art = compiled(name, text)
    for r, n in LONG_ROWS + OTHER_ROWS:
        sets = [(rand(r, n), empty(r, n)) for _ in range(2)]
        ws = [rand(n) for _ in range(weights)]
        runs = [art.bind([x] + ws, [y]) for x, y in sets]
        runs[0]()
        few = slice(0, min(r, 128))
        want = want_of(sets[0][0][few].double(), n, *[w.double() for w in ws])
        torch._dynamo.reset()
        peers = [(name, peer_of), (name + "/compile", torch.compile(peer_of, dynamic=False))] if (r, n) in LONG_ROWS else [(name + "/odd", peer_of)]
        for cls, peer in peers:
            report(cls, "%dx%d" % (r, n), sets[0][1][few], want, 5e-3, alternate(by_turns(runs), by_turns([lambda x=x: peer(x, n, *ws) for x, _ in sets]), SECONDS), "GB/s", 4e-6 * r * n)


def norm():
    def layer(x, n, w, b):
        return F.layer_norm(x, (n,), w, b)

    def rms(x, n, w):
        return F.rms_norm(x, (n,), w, 1e-5)

    rows("layer_norm", "dims R, N\n\ngraph f(x: bf16[R, N], w: bf16[N], b: bf16[N]) -> (y: bf16[R, N]) {\n  y = layer_norm(x, w, b, eps = 1e-5)\n}\n", layer, layer, 2)
    rows("rms_norm", "dims R, N\n\ngraph f(x: bf16[R, N], w: bf16[N]) -> (y: bf16[R, N]) {\n  y = rms_norm(x, w, eps = 1e-5)\n}\n", rms, rms, 1)


def softmax():
    def peer(x, n):
        return F.softmax(x, -1)

    rows("softmax", "dims R, N\n\ngraph f(x: bf16[R, N]) -> (y: bf16[R, N]) {\n  y = softmax(x, axis = -1)\n}\n", peer, peer, 0)


def bytes_of(*tensors):
    return sum(t.numel() * t.element_size() for t in tensors)


def against_compile(cls, name, text, f, make, shapes, dtype=BF16, bound=5e-3, touched=bytes_of):
    """One graph over torch.compile; make(*shape) gives the inputs."""
    art = compiled(name, text)
    for shape in shapes:
        sets = [make(*shape) for _ in range(2)]
        torch._dynamo.reset()
        best = torch.compile(f, dynamic=False)
        outs = [torch.full(best(*x).shape, float("nan"), device="cuda").to(dtype) for x in sets]  # compact, whatever the peer's strides
        runs = [art.bind(x, [y]) for x, y in zip(sets, outs)]
        runs[0]()
        want = f(*[t.double() if t.is_floating_point() else t for t in sets[0]])
        report(cls, "%s %s" % (name, "x".join(map(str, shape))), outs[0], want.double(), bound, alternate(by_turns(runs), by_turns([lambda x=x: best(*x) for x in sets]), SECONDS),
               "GB/s", 1e-6 * touched(*sets[0], outs[0]))


def chain():
    def scaled_fp8(x):
        return (x * 0.5).clamp(-448.0, 448.0).to(torch.float8_e4m3fn)

    def gated(x):
        a, b = x.chunk(2, -1)
        return F.silu(a) * b

    two = "dims R, N\n\ngraph f(x: bf16[%s], z: bf16[R, N]) -> (y: bf16[R, N]) {\n  y = %s\n}\n"
    one = "dims R, N\n\ngraph f(x: %s) -> (y: %s) {\n%s}\n"
    against_compile("chain", "silu(x)*z+x", two % ("R, N", "silu(x) * z + x"), lambda x, z: F.silu(x) * z + x, lambda r, n: [rand(r, n), rand(r, n)],
                    [(16384, 8192), (1001, 999), (8191, 8191)])
    against_compile("chain", "rows and columns", "dims R, N\n\ngraph f(x: bf16[R, N], g: bf16[N], c: bf16[R, 1]) -> (y: bf16[R, N]) {\n  y = x * g + c\n}\n",
                    lambda x, g, c: x * g + c, lambda r, n: [rand(r, n), rand(n), rand(r, 1)], [(16384, 8192), (16383, 8191)])
    against_compile("chain", "transposed", two % ("N, R", "silu(x.T) + z"), lambda x, z: F.silu(x.T) + z, lambda r, n: [rand(n, r), rand(r, n)], [(8192, 8192), (8193, 8191)])
    against_compile("chain", "heads", "dims B, S, H, D\n\ngraph f(x: bf16[B, S, H, D]) -> (y: bf16[B, H, S, D]) {\n  y = x.transpose([0, 2, 1, 3]) * 0.5\n}\n",
                    lambda x: x.transpose(1, 2).contiguous() * 0.5, lambda *s: [rand(*s)], [(8, 4096, 32, 128), (8, 4096, 32, 80)])
    against_compile("chain", "table rows", "dims V, D, T\n\ngraph f(t: bf16[V, D], i: int64[T], p: bf16[T, D]) -> (y: bf16[T, D]) {\n  y = gather(t, i, axis = 0) + p\n}\n",
                    lambda t, i, p: t[i] + p, lambda n, d: [rand(50257, d), torch.randint(0, 50257, (n,), device="cuda"), rand(n, d)], [(131072, 1024)],
                    touched=lambda t, i, p, y: bytes_of(i, p, p, y))
    against_compile("chain", "to fp8", one % ("bf16[R, N]", "fp8_e4m3[R, N]", "  y = cast(clamp(x * 0.5, -448.0, 448.0), fp8_e4m3)\n"), scaled_fp8, lambda r, n: [rand(r, n)],
                    [(16384, 8192)], torch.float8_e4m3fn, 5e-2)
    against_compile("chain", "gelu f32", one % ("f32[R, N]", "f32[R, N]", "  y = gelu(x, approximate = \"tanh\")\n"), lambda x: F.gelu(x, approximate="tanh"),
                    lambda r, n: [rand(r, n, dtype=torch.float32)], [(8192, 8192)], torch.float32, 1e-6)
    against_compile("chain", "gated halves", one % ("bf16[R, 2*N]", "bf16[R, N]", "  a, b = split(x, 2, axis = -1)\n  y = silu(a) * b\n"), gated, lambda r, n: [rand(r, 2 * n)],
                    [(16384, 8192)])


def sums():
    along = "dims R, N\n\ngraph f(x: bf16[R, N]) -> (y: f32[R]) {\n  y = sum(cast(x, f32), axis = 1)\n}\n"
    across = "dims R, N\n\ngraph f(x: bf16[R, N]) -> (y: f32[N]) {\n  y = sum(cast(x, f32), axis = 0)\n}\n"
    against_compile("sums", "of rows", along, lambda x: x.float().sum(1) if x.dtype is BF16 else x.sum(1), lambda r, n: [rand(r, n)],
                    [(1, 2 ** 28), (8, 2 ** 24), (264, 2 ** 20), (4096, 65536), (65536, 4096)], torch.float32, 1e-4)
    against_compile("sums", "of columns", across, lambda x: x.float().sum(0) if x.dtype is BF16 else x.sum(0), lambda r, n: [rand(r, n)],
                    [(2 ** 20, 64), (2 ** 22, 8), (65536, 4096)], torch.float32, 1e-4)


def peers(f):
    """Eager PyTorch, and torch.compile for these very sizes in both of its ways."""
    torch._dynamo.reset()
    return [("eager", f)] + [(name, torch.compile(f, mode=mode, dynamic=False)) for name, mode in (("compile", None), ("max-autotune", "max-autotune"))]


class Block(torch.nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.ln1, self.ln2 = torch.nn.LayerNorm(d), torch.nn.LayerNorm(d)
        self.attn = torch.nn.MultiheadAttention(d, heads, batch_first=True)
        self.ffn = torch.nn.Sequential(torch.nn.Linear(d, 4 * d), torch.nn.GELU(), torch.nn.Linear(4 * d, d))

    def forward(self, x):
        h = self.ln1(x)
        x = x + self.attn(h, h, h, need_weights=False)[0]
        return x + self.ffn(self.ln2(x))


@torch.no_grad()
def block():
    module = Block(512, 8).cuda().eval().to(BF16)
    for p in module.parameters():
        if p.dim() == 1:
            p.add_(rand(*p.shape, scale=0.1))
    exact = Block(512, 8).cuda().eval().double()
    exact.load_state_dict({k: v.double() for k, v in module.state_dict().items()})
    attn, ffn = module.attn, module.ffn
    weights = [module.ln1.weight, module.ln1.bias, attn.in_proj_weight, attn.in_proj_bias, attn.out_proj.weight, attn.out_proj.bias,
               module.ln2.weight, module.ln2.bias, ffn[0].weight, ffn[0].bias, ffn[2].weight, ffn[2].bias]
    b, s, d = 8, 1024, 512
    for name, text in (("any width", BLOCK), ("width 512", BLOCK.replace("D multiple_of 64", "D = 512"))):
        x, y = rand(b, s, d), empty(b, s, d)
        run = compiled("block_" + name, text).bind([x] + [w.detach() for w in weights], [y])
        run()
        for peer_name, peer in peers(module):
            report("block", "B%d S%d D%d %s against %s" % (b, s, d, name, peer_name), y, exact(x.double()), 2e-2, alternate(run, lambda: peer(x), SECONDS), "TFLOP/s",
                   1e-9 * b * s * d * (24 * d + 4 * s))


def layer():
    art = compiled("layer", LAYER)

    def plain(x, w_qkv, w_out, w_mlp):
        b, s, d = x.shape
        q, k, v = (t.reshape(b, s, 16, d // 16).transpose(1, 2) for t in (x @ w_qkv).split(d, -1))
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, s, d) @ w_out
        h = F.layer_norm(x + o, (d,))
        return h + F.gelu(h @ w_mlp, approximate="tanh") @ w_mlp.T

    for b, s, d in [(4, 2048, 4096), (8, 1024, 512), (1, 128, 4096), (2, 100, 512)]:
        x = rand(b, s, d)
        ws = [rand(d, 3 * d, scale=d ** -0.5), rand(d, d, scale=d ** -0.5), rand(d, 4 * d, scale=d ** -0.5)]
        y = torch.full_like(x, float("nan"))
        run = art.bind([x] + ws, [y])
        run()
        want = plain(x.double(), *[w.double() for w in ws])
        for name, peer in peers(plain):
            report("layer", "B%d S%d D%d against %s" % (b, s, d, name), y, want, 2e-2, alternate(run, lambda: peer(x, *ws), SECONDS), "TFLOP/s",
                   2e-9 * b * s * d * d * 12 + 2e-9 * b * s * s * d)
    s = art.stats()
    print("layer: %d launches, %d graph runs, %d plain runs, workspace %d MB" % (s.launches, s.graph_runs, s.plain_runs, s.workspace_bytes >> 20))


def python(part=None):
    """ts.jit, what a call costs, and first answers: a file of its own."""
    import python

    python.run(TSC, FOLDER, SECONDS, [part] if part else python.PARTS)


ALL = ("matmul", "matmul20", "gelu", "attention", "kernel", "decode", "norm", "softmax", "chain", "sums", "layer", "block", "types", "invariance", "python")
PARTS = ("python/call", "python/start")
unknown = set(CLASSES or ()) - {*ALL, *PARTS}
if unknown:
    sys.exit("bench: no class %s; there are %s" % (", ".join(sorted(unknown)), ", ".join(ALL + PARTS)))
begin(TSC, SECONDS)
for name in CLASSES or ALL:
    try:
        globals()[name.partition("/")[0]](*[name] * ("/" in name))
    except Exception as e:
        failed(name, e)
sys.exit(finish())
