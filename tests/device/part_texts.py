"""The kernel texts of examples/kernels that the simulator runs in `make check`: here on the GPU, against the simulator's own result and against float64,
on sizes that have tails everywhere; each text once more on sizes that fill the machine, against float64."""
import lab as kit
import torch

BF16 = torch.bfloat16
UNIT = 2.0 ** -8  # what rounding to bf16 may move a result: half a unit in the last place


def normal(*shape, dtype=BF16):
    return torch.randn(*shape, device="cuda").to(dtype)


def matmul(sizes, box_b, bias, nn=False):
    """(buffers, results, numbers, maps, grid, want, bound)"""
    import driver

    m, n, k, sms = sizes
    a, b, c = normal(m, k), normal(k, n) if nn else normal(n, k), torch.full((m, n), float("nan"), device="cuda", dtype=BF16)
    bt, a64 = (b if nn else b.T).double(), a.double()
    want, bound = a64 @ bt, 8 * k ** 0.5 * 2.0 ** -24 * (a64.abs() @ bt.abs())
    more = {"bias": normal(n, dtype=torch.float32)} if bias else {}
    if bias:
        want = torch.nn.functional.gelu(want + more["bias"].double(), approximate="tanh")
        bound = 1.2 * bound + 2.0 ** -12  # what tanh's approximation may err, ops.def
    ctas = min(sms, -(-m // 128) * -(-n // 256))
    maps = [driver.tensor_map(a, (128, 64)), driver.tensor_map(b, box_b), driver.tensor_map(c, (64, 64))] if box_b else []
    numbers = {"M": m, "N": n, "K": k}
    if box_b:
        numbers["ctas"] = ctas
    return {"A": a, "B": b, **more, "C": c}, "C", numbers, maps, ctas if box_b else -(-m // 128) * -(-n // 128), want, bound + UNIT * want.abs()


def attention(sizes):
    import driver

    h, s, _, sms = sizes
    q, k, v = (normal(h, s, 128) for _ in range(3))
    o = torch.full_like(q, float("nan"))
    scale = torch.full((), 128 ** -0.5 * 1.4426950408889634, device="cuda")
    p = (q.double() @ k.double().mT * 128 ** -0.5).masked_fill(torch.ones(s, s, device="cuda", dtype=torch.bool).triu(1), float("-inf")).softmax(-1)
    want, around = p @ v.double(), p @ v.double().abs()
    ctas = min(h * -(-s // 128), sms)
    maps = [driver.tensor_map(t, (1, 128, 64)) for t in (q, k, v)] + [driver.tensor_map(o, (1, 64, 64))]
    return {"Q": q, "K": k, "V": v, "O": o, "scale": scale}, "O", {"H": h, "S": s, "ctas": ctas}, maps, ctas, want, 2.0 ** -7 * around + UNIT * want.abs()


def layer_norm(sizes, ctas, per_sm):
    r, n, _, sms = sizes
    x, w, b = normal(r, n), normal(n, dtype=torch.float32), normal(n, dtype=torch.float32)
    y, eps = torch.full_like(x, float("nan")), torch.full((), 1e-5, device="cuda")
    bare = torch.nn.functional.layer_norm(x.double(), (n,)) * w.double()
    want = bare + b.double()
    cells = max(1, min(r, sms * per_sm // ctas))
    return {"X": x, "w": w, "b": b, "Y": y, "eps": eps}, "Y", {"R": r, "N": n, "ctas": cells}, [], cells * ctas, want, 2.0 ** -18 * (bare.abs() + b.double().abs()) + UNIT * want.abs()


def softmax(sizes):
    r, n, _, _ = sizes
    x = normal(r, n)
    y = torch.full_like(x, float("nan"))
    want = x.double().softmax(-1)
    return {"X": x, "Y": y}, "Y", {"R": r, "N": n}, [], 4 * r, want, (2.0 ** -18 + UNIT) * want


# text: symbol, threads, shared bytes, what makes its arguments, sizes for the simulator, sizes for the machine
TEXTS = {
    "matmul_sm90a": ("matmul", 384, 229440, lambda s: matmul(s, (256, 64), False), ((1, 8, 8), (130, 264, 72), (257, 520, 136)), (4096, 4096, 1024)),
    "matmul_nn_sm90a": ("matmul_nn", 384, 229440, lambda s: matmul(s, (64, 64), False, True), ((1, 8, 8), (130, 264, 72)), (4096, 4096, 1024)),
    "linear_gelu_sm90a": ("linear_gelu", 384, 229440, lambda s: matmul(s, (256, 64), True), ((1, 8, 8), (130, 264, 72)), (2048, 4096, 1024)),
    "attention_sm90a": ("attention", 384, 229472, attention, ((2, 1, 0), (2, 100, 0), (1, 300, 0)), (16, 2048, 0)),
    "layer_norm_sm90a": ("layer_norm", 128, 32, lambda s: layer_norm(s, 1, 4), ((5, 776, 0), (3, 4096, 0)), (8192, 4096, 0)),
    "layer_norm_cluster_sm90a": ("layer_norm", 256, 256, lambda s: layer_norm(s, 4, 1), ((3, 20000, 0),), (512, 65536, 0)),
    "softmax_cluster_sm90a": ("softmax", 256, 65808, softmax, ((2, 40000, 0), (1, 8, 0)), (512, 65536, 0)),
    "linear_gelu_sm80": ("linear_gelu", 128, 98304, lambda s: matmul(s, None, True), ((1, 8, 8), (130, 264, 72)), (4096, 2048, 1024)),
}


def run(lab):
    import driver

    torch.manual_seed(5)
    sms = torch.cuda.get_device_properties(0).multi_processor_count
    own = kit.native(torch.cuda.get_device_capability(0))
    there = {p.stem for p in (kit.HOME / "examples/kernels").glob("*_sm*.tile")}
    yield "every-text-is-known", there == set(TEXTS), " ".join(sorted(there ^ set(TEXTS)))
    for text, (symbol, threads, shared, make, small, large) in TEXTS.items():
        if "sm90a" in text and own != "sm_90a":
            continue
        kind, arch = ("cubin", "sm_90") if "sm90a" in text else ("ptx", "sm_80")
        source, image = kit.HOME / ("examples/kernels/%s.tile" % text), lab.tmp / ("%s.%s" % (text, kind))
        made = lab.run([lab.tsc, source, "-o", image, "--arch", arch])
        yield text + "/is-made", made.code == 0 and image.exists(), made.err
        if made.code:
            continue
        kernel = driver.Kernel(image.read_bytes(), symbol, threads, shared)
        for sizes in small + (large,):
            name = "%s/%s" % (text, "x".join(str(n) for n in sizes if n))
            few = sizes is not large
            buffers, result, numbers, maps, grid, want, bound = make(sizes + (2 if few else sms,))
            kernel.bind(grid, list(buffers.values()), list(numbers.values()), maps)()
            torch.cuda.synchronize()
            wrong = kit.beyond(buffers[result], want, bound)
            yield name + "/float64", not wrong, wrong
            if not few:
                continue
            inputs = {k: t.cpu() for k, t in buffers.items() if k != result}
            kit.safetensors(lab.tmp / "in.safetensors", inputs)
            argv = [lab.tsc, "eval", source, "--output", "%s=%s" % (result, lab.tmp / "out.safetensors")]
            for k in inputs:
                argv += ["--input", "%s=%s:%s" % (k, lab.tmp / "in.safetensors", k)]
            for k, n in numbers.items():
                argv += ["--num", "%s=%d" % (k, n)]
            simulated = lab.run(argv)
            if simulated.code:
                yield name + "/simulator", False, simulated.err
                continue
            # both were rounded: sums that lie on either side of a border between two values come out a whole unit apart
            wrong = kit.beyond(buffers[result].cpu(), kit.read_safetensors(lab.tmp / "out.safetensors")[result], (bound + UNIT * want.abs()).cpu())
            yield name + "/simulator", not wrong, wrong
