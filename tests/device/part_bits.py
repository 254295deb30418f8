"""Bits that may not change: over 100 runs, in 64 threads with a session each on 16 streams, under graph capture and replay; and with batch_invariant, which row of
which batch up to 64 it is."""
import random

import lab as kit
import torch
from layer import LAYER
from part_diff import architectures

BF16, F32 = torch.bfloat16, torch.float32
THREADS, STREAMS, RUNS = 64, 16, 100
BATCH, SIZES = 64, (2, 3, 7, 15, 16, 17, 31, 33, 48, 63, 64)


def rand(*shape, dtype=BF16, scale=1.0):
    return (torch.randn(*shape, device="cuda") * scale).to(dtype)


def raw(t):
    """The bits of a tensor, as integers."""
    return t.contiguous().view({1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[t.element_size()])


def layer_inputs(b, s, d):
    return [rand(b, s, d), rand(d, 3 * d, scale=d ** -0.5), rand(d, d, scale=d ** -0.5), rand(d, 4 * d, scale=d ** -0.5)]


# name: text, inputs, results
GRAPHS = {
    "matmul": ("dims M, N, K\n\ngraph f(a: bf16[M, K], b: bf16[N, K]) -> (c: bf16[M, N]) {\n  c = a @ b.T\n}\n",
               lambda: ([rand(300, 2048), rand(520, 2048)], [((300, 520), BF16)])),
    "few_rows": ("dims M, N, K\n\ngraph f(a: bf16[M, K], b: bf16[N, K]) -> (c: bf16[M, N]) {\n  c = a @ b.T\n}\n",
                 lambda: ([rand(4, 8192), rand(1024, 8192)], [((4, 1024), BF16)])),
    "attention": ("dims B, H, S, D <= 256\n\ngraph f(q: bf16[B, H, S, D], k: bf16[B, H, S, D], v: bf16[B, H, S, D]) -> (o: bf16[B, H, S, D]) {\n  o = attention(q, k, v, causal = true)\n}\n",
                  lambda: ([rand(2, 4, 300, 64) for _ in range(3)], [((2, 4, 300, 64), BF16)])),
    "decode": ("dims B, H, T, D <= 256\n\ngraph f(q: bf16[B, 8*H, 1, D], k: bf16[B, H, T, D], v: bf16[B, H, T, D]) -> (o: bf16[B, 8*H, 1, D]) {\n  o = attention(q, k, v)\n}\n",
               lambda: ([rand(2, 16, 1, 128), rand(2, 2, 5000, 128), rand(2, 2, 5000, 128)], [((2, 16, 1, 128), BF16)])),
    "rows": ("dims R, N\n\ngraph f(x: bf16[R, N], w: bf16[N]) -> (y: bf16[R, N], z: f32[R], c: f32[N]) {\n  y = rms_norm(x, w, eps = 1e-5)\n  z = sum(cast(x, f32), axis = -1)\n  c = sum(cast(x, f32), axis = 0)\n}\n",
             lambda: ([rand(100, 30000), rand(30000)], [((100, 30000), BF16), ((100,), F32), ((30000,), F32)])),
    "layer": (LAYER, lambda: (layer_inputs(2, 100, 512), [((2, 100, 512), BF16)])),
}

# name: text whose first input has the batch on axis 0, rows of it, other inputs, the result's shape behind the batch
ROWS = {
    "matmul": ("dims B, N, K\n\ngraph f(a: bf16[B, K], b: bf16[N, K]) -> (c: bf16[B, N]) {\n  c = a @ b.T\n}\n", (4096,), lambda: [rand(1024, 4096)], (1024,)),
    "matmul_nn": ("dims B, N, K\n\ngraph f(a: bf16[B, K], b: bf16[K, N]) -> (c: bf16[B, N]) {\n  c = a @ b\n}\n", (776,), lambda: [rand(776, 520)], (520,)),
    "matmul_odd": ("dims B, N, K\n\ngraph f(a: bf16[B, K], b: bf16[N, K]) -> (c: bf16[B, N]) {\n  c = a @ b.T\n}\n", (1001,), lambda: [rand(333, 1001)], (333,)),
    "gelu": ("dims B, N, K\n\ngraph f(a: bf16[B, K], b: bf16[N, K], w: bf16[N]) -> (c: bf16[B, N]) {\n  c = gelu(a @ b.T + w, approximate = \"tanh\")\n}\n", (2048,), lambda: [rand(4096, 2048), rand(4096)], (4096,)),
    "attention": ("dims B, H, S, D <= 256\n\ngraph f(q: bf16[B, H, S, D]) -> (o: bf16[B, H, S, D]) {\n  o = attention(q, q, q, causal = true)\n}\n",
                  (4, 130, 128), lambda: [], (4, 130, 128)),
    "attention_one": ("dims B, H, T, D <= 256\n\ngraph f(q: bf16[B, 2*H, 1, D], k: bf16[B, H, T, D], v: bf16[B, H, T, D]) -> (o: bf16[B, 2*H, 1, D]) {\n  o = attention(q, k, v)\n}\n",
                      (8, 1, 64), lambda: [rand(BATCH, 4, 3000, 64), rand(BATCH, 4, 3000, 64)], (8, 1, 64)),
    "norm": ("dims B, N\n\ngraph f(x: bf16[B, N], w: bf16[N]) -> (y: bf16[B, N]) {\n  y = softmax(rms_norm(x, w, eps = 1e-5), axis = -1)\n}\n", (20000,), lambda: [rand(20000)], (20000,)),
    "mlp": ("dims B, K, N\n\ngraph f(x: bf16[B, K], u: bf16[K, N], d: bf16[N, K], w: bf16[K]) -> (y: bf16[B, K]) {\n  h = rms_norm(x, w, eps = 1e-5)\n  y = x + silu(h @ u) @ d\n}\n",
            (512,), lambda: [rand(512, 1536, scale=0.05), rand(1536, 512, scale=0.05), rand(512)], (512,)),
}
PER_ROW = {"attention_one": (0, 1, 2)}  # inputs that have the batch, where it isn't the first alone


def results_of(shapes):
    return [torch.full(s, float("nan"), device="cuda", dtype=t) for s, t in shapes]


def changes(run, out, want):
    """In how many results of RUNS runs, each into fresh NaN, bits differ; a number that still lies on the GPU."""
    changed = torch.zeros((), dtype=torch.int64, device="cuda")
    for _ in range(RUNS):
        for t in out:
            t.fill_(float("nan"))
        run()
        for t, w in zip(out, want):
            changed += (raw(t) != w).any()
    return changed


def many_runs(art, inputs, shapes):
    out = results_of(shapes)
    run = art.bind(inputs, out)
    run()
    want = [raw(t).clone() for t in out]
    changed = changes(run, out, want)
    torch.cuda.synchronize()
    return want, "bits changed in %d results of %d runs" % (int(changed), RUNS) if int(changed) else None


def threads(art, inputs, shapes, want):
    """A session for each thread, streams shared by four threads each; nothing waits before the end."""
    streams = [torch.cuda.Stream() for _ in range(STREAMS)]
    torch.cuda.synchronize()
    sessions = [art.another() for _ in range(THREADS)]

    def work(i):
        with torch.cuda.stream(streams[i % STREAMS]):
            out = results_of(shapes)
            run = sessions[i].bind(inputs, out)
            n = int(changes(run, out, want))
        return "bits changed in %d results" % n if n else None

    wrong = kit.threads_do(THREADS, work)
    for s in sessions:
        s.close()
    return wrong


def capture(art, inputs, shapes, want):
    """Captured, replayed 20 times, the second half with other values in the same memory; then run plainly again."""
    out = results_of(shapes)
    stream = torch.cuda.Stream()
    inputs = [t.clone() for t in inputs]
    with torch.cuda.stream(stream):
        run = art.bind(inputs, out)
        run()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            run()
            run()
        for i in range(10):
            for t in out:
                t.fill_(float("nan"))
            graph.replay()
            stream.synchronize()
            if any(not torch.equal(raw(t), w) for t, w in zip(out, want)):
                return "replay %d has other bits" % i
        inputs[0].copy_(inputs[0].flip(0))
        for t in out:
            t.fill_(float("nan"))
        graph.replay()
        stream.synchronize()
        replayed = [raw(t).clone() for t in out]
        run()
        stream.synchronize()
        if any(not torch.equal(raw(t), w) for t, w in zip(out, replayed)):
            return "with other values a replay and a run differ"
        if all(torch.equal(raw(t), w) for t, w in zip(out, want)):
            return "other values gave the same bits: the replay read nothing"
    return None


def capture_unprepared(art, inputs, shapes):
    """Sizes that a session has not seen, under capture: an error before anything is enqueued, and the capture goes on."""
    import artifact

    fresh, out, stream = art.another(), results_of(shapes), torch.cuda.Stream()
    x = torch.zeros(8, device="cuda")
    message = ""
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        graph = torch.cuda.CUDAGraph()
        run = fresh.bind(inputs, out)
        with torch.cuda.graph(graph, stream=stream):
            x += 1
            try:
                run()
            except artifact.Refused as e:
                message = str(e)
        graph.replay()
        stream.synchronize()
        run()
        stream.synchronize()
    fresh.close()
    if float(x[0]) != 1:
        return "the capture around it did not go on"
    if not message:
        return None  # it needed no memory: allowed
    return None if "captur" in message or "prepare" in message else "the error does not say why: " + message


def invariant(path, name, row, others, result):
    """Every row alone, and batches of all sizes at random places: row i of the whole batch, bit by bit."""
    import artifact

    art = artifact.Artifact(str(path))
    rng = random.Random(3)
    x, more = rand(BATCH, *row), others()
    batched = PER_ROW.get(name, (0,))
    whole = torch.full((BATCH,) + result, float("nan"), device="cuda", dtype=BF16)
    art.bind([x] + more, [whole])()
    places = [(i, 1) for i in range(BATCH)] + [(rng.randrange(BATCH - n + 1), n) for n in SIZES for _ in range(2)]
    changed = []
    for at, n in places:
        inputs = [t[at:at + n].contiguous() if k in batched else t for k, t in enumerate([x] + more)]
        out = torch.full((n,) + result, float("nan"), device="cuda", dtype=BF16)
        art.bind(inputs, [out])()
        torch.cuda.synchronize()
        if not torch.equal(raw(out), raw(whole[at:at + n])):
            changed.append("%d..%d" % (at, at + n))
    if bool(whole.isnan().any()):
        return "NaN in the result"
    art.close()
    return "rows %s have other bits by themselves" % " ".join(changed[:20]) if changed else None


def run(lab):
    import artifact

    torch.manual_seed(11)
    jobs = [(arch, "bits_" + name, text) for arch in architectures() for name, (text, _) in GRAPHS.items()]
    jobs += [(arch, "rows_" + name, "numerics { batch_invariant = true }\n" + text) for arch in architectures() for name, (text, *_) in ROWS.items()]
    made = dict(zip(((arch, name) for arch, name, _ in jobs), lab.map(lambda job: lab.compile(job[1], job[2], job[0].rstrip("a")), jobs)))
    for arch in architectures():
        for name, (_, make) in GRAPHS.items():
            at = "%s/%s" % (arch, name)
            art = artifact.Artifact(str(made[arch, "bits_" + name]))
            inputs, shapes = make()
            want, wrong = many_runs(art, inputs, shapes)
            yield at + "/100-runs", not wrong, wrong
            wrong = threads(art, inputs, shapes, want)
            yield at + "/64-threads-16-streams", not wrong, wrong
            wrong = capture(art, inputs, shapes, want)
            yield at + "/capture", not wrong, wrong
            wrong = capture_unprepared(art, inputs, shapes)
            yield at + "/capture-unprepared", not wrong, wrong
        for name, (_, row, others, result) in ROWS.items():
            wrong = invariant(made[arch, "rows_" + name], name, row, others, result)
            yield "%s/batch-invariant/%s" % (arch, name), not wrong, wrong
