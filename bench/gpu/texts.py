"""The kernel texts of examples/kernels on a GPU: right against float64 on ragged shapes, then timed against PyTorch by turns in one process.

    python bench/gpu/texts.py FOLDER [SECONDS]

FOLDER holds NAME.cubin for sm_90a texts and NAME.ptx for sm_80 ones, as `tsc` and ptxas made them."""
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from driver import Kernel, alternate, tensor_map
from exact import exact_attention

FOLDER, SECONDS = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
SMS = torch.cuda.get_device_properties(0).multi_processor_count
BF16 = torch.bfloat16


def rand(*shape, dtype=BF16):
    return torch.randn(*shape, device="cuda", dtype=torch.float32).to(dtype)


def error(got, want):
    return ((got.double() - want).norm() / want.norm()).item()


def report(name, what, err, bound, ms=None):
    line = "%-14s %-26s error %.2e%s" % (name, what, err, "" if err < bound else "  WRONG")
    if ms:
        ours, peer, ratio, unit, amount = ms
        line += "  ours %8.3f ms  peer %8.3f ms  ratio %.3f  %.0f %s (peer %.0f)" % (ours, peer, ratio, amount / ours, unit, amount / peer)
    print(line, flush=True)


class Matmul:
    """C = A B^T (nt) or A B (nn), or with bias and tanh GELU."""

    def __init__(self, text, name, nn=False, bias=False):
        self.nn, self.bias, self.name = nn, bias, text
        self.kernel = Kernel((FOLDER / (text + ".cubin")).read_bytes(), name, 384, 229440)

    def make(self, m, n, k):
        a, b, c = rand(m, k), rand(k, n) if self.nn else rand(n, k), torch.full((m, n), float("nan"), device="cuda", dtype=BF16)
        bias = rand(n, dtype=torch.float32)
        maps = [tensor_map(a, (128, 64)), tensor_map(b, (64, 64) if self.nn else (256, 64)), tensor_map(c, (64, 64))]
        ctas = min(SMS, -(-m // 128) * -(-n // 256))
        run = self.kernel.bind(ctas, [a, b] + ([bias] if self.bias else []) + [c], [m, n, k, ctas], maps)
        bt, bias16 = b if self.nn else b.T, bias.to(BF16)

        def peer():
            if self.bias:
                F.gelu(torch.addmm(bias16, a, bt), approximate="tanh")
            else:
                torch.matmul(a, bt, out=c)

        def want():
            r = a.double() @ bt.double()
            return F.gelu(r + bias.double(), approximate="tanh") if self.bias else r

        return run, peer, c, want

    def go(self, shapes, small):
        for m, n, k in small:
            run, _, c, want = self.make(m, n, k)
            run()
            report(self.name, "%dx%dx%d" % (m, n, k), error(c, want()), 4e-3)
        for m, n, k in shapes:
            run, peer, c, want = self.make(m, n, k)
            run()
            rows = slice(0, 256)
            err = error(c[rows], want()[rows]) if m * n < 1 << 25 else float("nan")
            report(self.name, "%dx%dx%d" % (m, n, k), err if err == err else 0.0, 4e-3, (*alternate(run, peer, SECONDS), "TFLOP/s", 2e-9 * m * n * k))


def attention(shapes):
    kernel = Kernel((FOLDER / "attention_sm90a.cubin").read_bytes(), "attention", 384, 229472)
    for h, s in shapes:
        q, k, v = (rand(h, s, 128) for _ in range(3))
        o = torch.full_like(q, float("nan"))
        scale = 128 ** -0.5
        sc = torch.full((1,), scale * 1.4426950408889634, device="cuda", dtype=torch.float32)
        maps = [tensor_map(t, (1, 128, 64)) for t in (q, k, v)] + [tensor_map(o, (1, 64, 64))]
        ctas = min(h * -(-s // 128), SMS)
        run = kernel.bind(ctas, [q, k, v, o, sc], [h, s, ctas], maps)
        run()
        got, want = exact_attention(q[None], k[None], v[None], True)
        err = error(got(o[None]), want)
        q4, k4, v4 = (t.view(1, h, s, 128) for t in (q, k, v))
        from torch.nn.attention import SDPBackend, sdpa_kernel

        def peer():
            with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
                F.scaled_dot_product_attention(q4, k4, v4, is_causal=True)

        timed = (*alternate(run, peer, SECONDS), "TFLOP/s", 2e-9 * h * s * s * 128) if s >= 512 else None
        report("attention", "H%d S%d D128 causal" % (h, s), err, 8e-3, timed)


def layer_norm(name, shapes, warps, ctas, shared, per_sm):
    kernel = Kernel((FOLDER / (name + ".cubin")).read_bytes(), "layer_norm", 32 * warps, shared)
    for r, n, time in shapes:
        sets = [(rand(r, n), torch.full((r, n), float("nan"), device="cuda", dtype=BF16)) for _ in range(2 if time else 1)]
        w, b, eps = rand(n, dtype=torch.float32), rand(n, dtype=torch.float32), torch.full((1,), 1e-5, device="cuda")
        cells = min(r, SMS * per_sm // ctas)
        runs = [kernel.bind(cells * ctas, [x, w, b, y, eps], [r, n, cells]) for x, y in sets]
        runs[0]()
        x, y = sets[0]
        err = error(y[:512], F.layer_norm(x[:512].double(), (n,), w.double(), b.double()))
        w16, b16, turn = w.to(BF16), b.to(BF16), [0, 0]

        def ours():
            turn[0] += 1
            runs[turn[0] % 2]()

        def peer():
            turn[1] += 1
            F.layer_norm(sets[turn[1] % 2][0], (n,), w16, b16)

        report(name[:14], "%dx%d" % (r, n), err, 4e-3, (*alternate(ours, peer, SECONDS), "GB/s", 4e-6 * r * n) if time else None)


def matmul_sm80(shapes):
    kernel = Kernel((FOLDER / "linear_gelu_sm80.ptx").read_bytes(), "linear_gelu", 128, 98304)
    for m, n, k in shapes:
        a, b, bias = rand(m, k), rand(n, k), rand(n, dtype=torch.float32)
        c = torch.full((m, n), float("nan"), device="cuda", dtype=BF16)
        run = kernel.bind(-(-m // 128) * -(-n // 128), [a, b, bias, c], [m, n, k])
        run()
        bias16 = bias.to(BF16)
        want = F.gelu(a[:256].double() @ b.T.double() + bias.double(), approximate="tanh")
        big = m >= 2048
        report("gelu sm_80", "%dx%dx%d" % (m, n, k), error(c[:256], want), 4e-3,
               (*alternate(run, lambda: F.gelu(torch.addmm(bias16, a, b.T), approximate="tanh"), SECONDS), "TFLOP/s", 2e-9 * m * n * k) if big else None)


small = [(1, 8, 8), (130, 264, 72), (1000, 776, 520), (257, 512, 4096)]
big = [(4096, 4096, 4096), (8192, 8192, 8192)]
Matmul("matmul_sm90a", "matmul").go(big, small)
Matmul("matmul_nn_sm90a", "matmul_nn", nn=True).go(big, small)
Matmul("linear_gelu_sm90a", "linear_gelu", bias=True).go([(8192, 14336, 4096)], small)
attention([(2, 1), (2, 100), (3, 300), (16, 1024), (16, 2048), (64, 4096), (16, 16384)])
layer_norm("layer_norm_sm90a", [(5, 776, False), (65536, 4096, True)], 4, 1, 32, 4)
layer_norm("layer_norm_cluster_sm90a", [(3, 20000, False), (4096, 65536, True)], 8, 4, 256, 1)
matmul_sm80([(1, 8, 8), (130, 264, 72), (4096, 4096, 4096)])
