"""Every border between two variants of a kernel, one size below it, on it, and one above: the variant that the plan's guards say is the one that runs, and its
result is right against float64, element by element.

The guards are read off `tsc inspect`. From some sizes to begin with, one dim at a time is walked and the sizes where the choice changes are kept;
a variant that no walk meets is looked for at random, and one that is never met is a failure."""
import math
import random
import re

import lab as kit
import torch
import torch.nn.functional as F
from part_diff import architectures

BF16, F32, FP8 = torch.bfloat16, torch.float32, torch.float8_e4m3fn
WALK = 520  # every size up to here, further ones in steps
MOST_WORK, MOST_BYTES = 1.2e11, 1 << 30
SAME_KIND = 2  # borders kept between the same two choices in one walk (sizes that are multiples of 8 come again and again)


# ---- guards ----------------------------------------------------------------------------------------------------------------------------------
def steps_of(inspected, target):
    """[(kernel, cells, guard or None), ...] of each step of a target's plan; cells and guard are Python's code for the very text."""
    part = inspected.split("\ntarget %s:" % target, 1)[1].split("\ntarget ")[0].split("\nmeta")[0]
    steps = []
    for line in part.split("\ngraphs", 1)[1].splitlines():
        m = re.match(r"^      .*: kernel (\S+), cells (.*?)(?:, \d+ for each multiprocessor)?(?:, when (.*))?$", line)
        if m:
            if " then " in line or "..." in line:
                raise ValueError("a formula that this suite does not read: " + line)
            kernel, cells, guard = m.groups()
            steps[-1].append((kernel, compile(cells, "cells", "eval"), compile(guard, "guard", "eval") if guard else None))
        elif re.match(r"^    \S", line) and "workspace bytes" not in line:
            steps.append([])
    return [s for s in steps if s]


WORDS = {"__builtins__": {}, "min": min, "max": max}


def choice(steps, dims):
    """The kernel of each step; None for a step that these sizes don't need, or whose grid they leave empty."""
    chosen = []
    for step in steps:
        for kernel, cells, guard in step:
            if guard is None or eval(guard, WORDS, dims):
                kernel = kernel if eval(cells, WORDS, dims) else None
                break
        else:
            kernel = None
        chosen.append(kernel)
    return tuple(chosen)


def borders(steps, base, dim, limit):
    """First sizes of a new choice when this dim goes from 1 to its limit and the others stay."""
    def at(v):
        return choice(steps, dict(base, **{dim: v}))

    found, times = [], {}
    was = at(1)
    for v in range(2, min(limit, WALK) + 1):
        now = at(v)
        if now != was:
            pair = frozenset((was, now))
            times[pair] = times.get(pair, 0) + 1
            if times[pair] <= SAME_KIND:
                found.append(v)
        was = now
    v, step = WALK // 64 * 64, 64
    while v < limit:
        further = min(limit, max(v + step, int(v * 1.1) // 64 * 64))
        a, b = v, further
        if at(a) != at(b):
            for unit in (64, 8, 1):
                if unit < 8 and at(a + 1) not in (at(a), at(b)):
                    break  # between multiples of 8 another variant runs
                while b - a > unit:
                    middle = a + (b - a) // 2 // unit * unit
                    if middle == a:
                        break
                    a, b = (middle, b) if at(middle) == at(a) else (a, middle)
            found.append(b)
        v = further
    return found


# ---- graphs ----------------------------------------------------------------------------------------------------------------------------------
class Case:
    """A graph: its text, sizes to begin from, the largest size of each dim, work and bytes for given sizes, and make(dims) -> inputs, want, bound, type of the result."""

    def __init__(self, name, text, bases, limits, work, make, most=MOST_WORK):
        self.name, self.text, self.bases, self.limits, self.work, self.make, self.most = name, text, bases, limits, work, make, most


def rand(*shape, dtype=BF16):
    return torch.randn(*shape, device="cuda").to(dtype)


def eights(kind, *shape):
    """8-bit floats of both signs, of one, or whole numbers up to 8."""
    x = torch.randint(0, 9, shape, device="cuda").float() if kind == 2 else torch.randn(*shape, device="cuda")
    return (x.abs() if kind else x).to(FP8)


def unit(dtype):
    """What rounding to the nearest may move a number, as a part of it: half a step at the lower end of a power of two."""
    return {BF16: 2.0 ** -8, torch.float16: 2.0 ** -11, F32: 2.0 ** -24, torch.float64: 2.0 ** -53}[dtype]


def product(name, a, b, expr, dtype, ta, tb, bias=False, batch=False, tf32=False):
    word = {BF16: "bf16", torch.float16: "f16", F32: "f32", torch.float64: "f64", FP8: "fp8_e4m3"}[dtype]
    out = F32 if dtype == FP8 else dtype
    more = ", w: %s[N]" % word if bias else ""
    lead = "P, " if batch else ""
    text = "dims %sM, N, K\n\ngraph f(a: %s[%s%s], b: %s[%s%s]%s) -> (c: %s[%sM, N]) {\n  c = %s\n}\n" % (
        lead, word, lead, a, word, lead, b, more, "f32" if dtype == FP8 else word, lead, expr)
    if tf32:
        text = "numerics { math = \"tf32\" }\n" + text

    def make(d):
        m, n, k = d["M"], d["N"], d["K"]
        p = [d["P"]] if batch else []
        kind = (m + n + k) % 3 if dtype == FP8 else 0
        x, y = (eights(kind, *s) if dtype == FP8 else rand(*s, dtype=dtype) for s in ((*p, *((k, m) if ta else (m, k))), (*p, *((n, k) if tb else (k, n)))))
        x64, y64 = (x.mT if ta else x).double(), (y.mT if tb else y).double()
        want, terms = x64 @ y64, x64.abs() @ y64.abs()
        # sums of K products in f32, in any order and by tensor cores; then what the rest does
        bound = (8 * k ** 0.5 + 16) * 2.0 ** -24 * terms
        if dtype == torch.float64:  # ours, and what it is compared with
            bound = 2 * (8 * k ** 0.5 + 16) * 2.0 ** -53 * terms
        if tf32:  # both operands to 11 bits
            bound = bound + 2.0 ** -10 * terms
        if dtype == FP8:  # what is cut off, as docs/gpu.md derives it: losses of both signs, of one, none
            bound = (bound + 2.0 ** -8 * terms / k ** 0.5 + 2.0 ** -11 * want.abs(), bound + 2.0 ** -8 * terms, 0)[kind]
        inputs = [x, y]
        if bias:
            inputs.append(rand(n, dtype=dtype))
            want = F.gelu(want + inputs[2].double(), approximate="tanh")
            bound = 1.2 * bound + 2.0 ** -12
        if out == torch.float16:
            bound = bound + 2.0 ** -25  # half of the smallest step there is
        return inputs, want, bound + unit(out) * want.abs(), out

    one = {"P": 2} if batch else {}
    bases = [dict(one, M=m, N=n, K=k) for m, n, k in ((64, 256, 128), (300, 520, 256), (8, 1024, 512), (2048, 1024, 64))]
    limits = dict(M=20000, N=20000, K=9000, **({"P": 40} if batch else {}))
    return Case(name, text, bases, limits, lambda d: (2.0 * d.get("P", 1) * d["M"] * d["N"] * d["K"], 8.0 * d.get("P", 1) * (d["M"] * d["N"] * 3 + d["M"] * d["K"] * 2 + d["N"] * d["K"] * 2)), make,
                MOST_WORK if dtype not in (F32, torch.float64) or tf32 else MOST_WORK / 4)


WINDOW = 100


def heads(name, causal, group, queries="S", edge=None):
    """edge: None, or "window", "mask", "bias": what else decides which keys count."""
    one = queries == "1"
    param = {"mask": ", m: bool[B, 1, %s, T]" % queries, "bias": ", m: bf16[1, %sH, %s, T]" % ("%d*" % group if group > 1 else "", queries)}.get(edge, "")
    word = {"mask": ", mask = m", "bias": ", bias = m", "window": ", window = %d" % WINDOW}.get(edge, "")
    text = ("dims B, H, %sT, D <= 256\n\ngraph f(q: bf16[B, %sH, %s, D], k: bf16[B, H, T, D], v: bf16[B, H, T, D]%s) -> (o: bf16[B, %sH, %s, D]) {\n  o = attention(q, k, v%s, causal = %s)\n}\n"
            % ("" if one else "S, ", "%d*" % group if group > 1 else "", queries, param, "%d*" % group if group > 1 else "", queries, word, str(causal).lower()))

    def make(d):
        b, h, s, t, e = d["B"], d["H"], d.get("S", 1), d["T"], d["D"]
        q, k, v = rand(b, group * h, s, e), rand(b, h, t, e), rand(b, h, t, e)
        # some keys, the first and the last among them, get a good part of all weight: one that is lost shows
        q[..., 0] = e ** 0.5
        k[..., 0] = 0
        k[:, :, [0, t - 1, t // 2, *random.sample(range(t), min(t, 5))], 0] = math.log(max(t, 8) / 8)
        kk, vv = (x.double().repeat_interleave(group, 1) for x in (k, v))
        scores = q.double() @ kk.mT * e ** -0.5
        more = []
        if causal:
            scores = scores.masked_fill(torch.ones(s, t, device="cuda", dtype=torch.bool).triu(1), float("-inf"))
        if edge == "window":
            scores = scores.masked_fill(torch.ones(s, t, device="cuda", dtype=torch.bool).tril(-WINDOW), float("-inf"))
        if edge == "mask":
            more = [torch.rand(b, 1, s, t, device="cuda") < 0.7]
            more[0][:, :, s // 2] = False  # a row in which nothing counts
            scores = scores.masked_fill(~more[0], float("-inf"))
        if edge == "bias":
            more = [rand(1, group * h, s, t)]
            scores = scores + more[0].double()
        p = scores.softmax(-1).nan_to_num(0.0)
        want = p @ vv
        # a weight is rounded to bf16, by 2^-8 of it at most (half a step of 2^-7 at the lower end of its power of two); scores and sums are f32
        return [q, k, v, *more], want, (unit(BF16) + 2.0 ** -12) * (p @ vv.abs()) + unit(BF16) * want.abs() + 1e-30, BF16

    bases = [dict(B=1, H=2, T=t, D=d, **({} if one else {"S": s})) for s, t, d in ((200, 200, 64), (17, 300, 128), (130, 130, 256), (65, 130, 40))]
    limits = dict(B=4, H=8, T=4000 if edge else 17000, D=256, **({} if one else {"S": 1100 if edge else 2200}))
    return Case(name, text, bases, limits, lambda d: (4.0 * d["B"] * d["H"] * group * d.get("S", 1) * d["T"] * d["D"], 40.0 * d["B"] * d["H"] * group * (d.get("S", 1) * d["T"] + (d["T"] + d.get("S", 1)) * d["D"])), make)


def along(name, params, expr, make, out="bf16[R, N]", longest=400000, elem="bf16"):
    text = "dims R, N\n\ngraph f(x: bf16[R, N]%s) -> (y: %s) {\n  y = %s\n}\n" % (params, out, expr)
    text = text.replace("bf16", elem)
    bases = [dict(R=3, N=256), dict(R=70, N=1000), dict(R=1025, N=64), dict(R=2, N=70000)]
    return Case(name, text, bases, dict(R=70000, N=longest), lambda d: (0.0, 40.0 * d["R"] * d["N"]), make)


def norm(rms, dtype=BF16):
    def make(d):
        r, n = d["R"], d["N"]
        x, w, b = rand(r, n, dtype=dtype), rand(n, dtype=dtype), rand(n, dtype=dtype)
        bare = (F.rms_norm(x.double(), (n,), eps=1e-5) if rms else F.layer_norm(x.double(), (n,), eps=1e-5)) * w.double()
        want = bare if rms else bare + b.double()
        # one element alone: the mean is it, and the difference is nothing but rounding, times 1/sqrt(eps)
        bound = 2.0 ** -16 * (bare.abs() + b.double().abs() + w.double().abs()) + unit(dtype) * want.abs()
        return [x, w] + ([] if rms else [b]), want, bound, dtype
    return make


def softmax(d):
    x = rand(d["R"], d["N"])
    want = x.double().softmax(-1)
    return [x], want, (unit(BF16) + 2.0 ** -16) * want + 1e-38, BF16


def total(axis):
    def make(d):
        x = rand(d["R"], d["N"])
        want, terms = x.double().sum(axis), x.double().abs().sum(axis)
        return [x], want, (8 * x.shape[axis] ** 0.5 + 8) * 2.0 ** -24 * terms, F32
    return make


def largest(d):
    x = rand(d["R"], d["N"])
    return [x], x.double().amax(-1), 0.0, BF16


def where_largest(d):
    r, n = d["R"], d["N"]
    x = torch.stack([torch.randperm(n, device="cuda") for _ in range(min(r, 64))]).repeat(-(-r // 64), 1)[:r].to(F32)
    return [x], x.argmax(-1), 0.0, torch.int64


def chain(d):
    x, z = rand(d["R"], d["N"]), rand(d["R"], d["N"])
    part = F.silu(x.double()) * z.double()
    want = part + x.double()
    return [x, z], want, unit(BF16) * want.abs() + 2.0 ** -18 * (part.abs() + x.double().abs()), BF16


def rows_and_columns(d):
    x, w, c = rand(d["R"], d["N"]), rand(d["N"]), rand(d["R"], 1)
    part = x.double() * w.double()
    want = part + c.double()
    return [x, w, c], want, unit(BF16) * want.abs() + 2.0 ** -23 * part.abs(), BF16


def turned(d):
    x, z = rand(d["R"], d["N"]), rand(d["N"], d["R"])
    want = x.double().T + z.double()
    return [x, z], want, unit(BF16) * want.abs(), BF16


def rows_of(d):
    table, ids = rand(1000, d["N"]), torch.randint(0, 1000, (d["R"],), device="cuda")
    return [table, ids], table[ids].double(), 0.0, BF16


KERNEL = """dims H, S, T, D <= 256

kernel tiles(Q: bf16[H, S, D], K: bf16[H, T, D], V: bf16[H, T, D], scale: f32[]) -> (O: bf16[H, S, D]) {
  grid b in 0..H, i in 0..S step 128
  q = load(Q[b, i:i + 128, :])
  m0: f32[128] = -inf
  l0: f32[128] = 0
  a0: f32[128, D] = 0

  m, l, acc = for j in 0..T step 64 with m = m0, l = l0, acc = a0 {
    s = q @ load(K[b, j:j + 64, :]).T * scale
    seen = (j + iota(64))[none, :] <= (i + iota(128))[:, none]
    m1, l1, p = online_softmax(where(seen, s, -inf), m, l)
    yield m1, l1, update_accumulator(acc, p @ load(V[b, j:j + 64, :]), m, m1, l, l1)
  }

  store(O[b, i:i + 128, :], acc / l)
}

graph f(q: bf16[H, S, D], k: bf16[H, T, D], v: bf16[H, T, D], scale: f32[]) -> (o: bf16[H, S, D]) {
  o = tiles(q, k, v, scale)
}
"""


def users_kernel():
    """A kernel of one's own: causal attention whose scale is known at run time alone."""
    def make(d):
        q, k, v = rand(d["H"], d["S"], d["D"]), rand(d["H"], d["T"], d["D"]), rand(d["H"], d["T"], d["D"])
        scale = torch.tensor(0.7 * d["D"] ** -0.5, device="cuda")
        scores = (q.double() @ k.double().mT * scale.double()).masked_fill(torch.ones(d["S"], d["T"], device="cuda", dtype=torch.bool).triu(1), float("-inf"))
        p = scores.softmax(-1)
        want = p @ v.double()
        return [q, k, v, scale], want, (unit(BF16) + 2.0 ** -12) * (p @ v.double().abs()) + unit(BF16) * want.abs() + 1e-30, BF16

    bases = [dict(H=2, S=s, T=t, D=d) for s, t, d in ((200, 200, 64), (17, 300, 128), (130, 130, 72), (65, 130, 40), (70, 200, 256))]
    return Case("kernel", KERNEL, bases, dict(H=8, S=1100, T=4000, D=256), lambda d: (4.0 * d["H"] * d["S"] * d["T"] * d["D"], 40.0 * d["H"] * (d["S"] * d["T"] + (d["T"] + d["S"]) * d["D"])), make)


FORMS = {"nt": ("M, K", "N, K", "a @ b.T", False, True), "nn": ("M, K", "K, N", "a @ b", False, False), "tn": ("K, M", "K, N", "a.T @ b", True, False), "tt": ("K, M", "N, K", "a.T @ b.T", True, True)}


def cases():
    for form, (a, b, expr, ta, tb) in FORMS.items():
        yield product("matmul_" + form, a, b, expr, BF16, ta, tb)
    yield product("matmul_f16", "M, K", "N, K", "a @ b.T", torch.float16, False, True)
    yield product("matmul_f32", "M, K", "K, N", "a @ b", F32, False, False)
    yield product("matmul_f64", "M, K", "K, N", "a @ b", torch.float64, False, False)
    yield product("matmul_tf32", "M, K", "K, N", "a @ b", F32, False, False, tf32=True)
    yield product("matmul_fp8", "M, K", "N, K", "matmul(a, b.T, out = f32)", FP8, False, True)
    yield product("matmul_gelu", "M, K", "N, K", 'gelu(a @ b.T + w, approximate = "tanh")', BF16, False, True, bias=True)
    yield product("matmul_batch", "M, K", "K, N", "a @ b", BF16, False, False, batch=True)
    yield heads("attention_full", False, 1)
    yield heads("attention_causal", True, 1)
    yield heads("attention_group", False, 4)
    yield heads("attention_window", True, 1, edge="window")
    yield heads("attention_mask", False, 2, edge="mask")
    yield heads("attention_bias", True, 1, edge="bias")
    yield heads("attention_one_mask", False, 4, "1", edge="mask")
    yield heads("attention_one", False, 1, "1")
    yield heads("attention_one_group", False, 8, "1")
    yield along("layer_norm", ", w: bf16[N], b: bf16[N]", "layer_norm(x, w, b, eps = 1e-5)", norm(False))
    yield along("rms_norm", ", w: bf16[N]", "rms_norm(x, w, eps = 1e-5)", norm(True))
    yield along("layer_norm_f32", ", w: bf16[N], b: bf16[N]", "layer_norm(x, w, b, eps = 1e-5)", norm(False, F32), elem="f32")
    yield along("rms_norm_f32", ", w: bf16[N]", "rms_norm(x, w, eps = 1e-5)", norm(True, F32), elem="f32")
    yield along("softmax", "", "softmax(x, axis = -1)", softmax)
    yield along("sum", "", "sum(cast(x, f32), axis = -1)", total(-1), "f32[R]")
    yield along("sum_of_rows", "", "sum(cast(x, f32), axis = 0)", total(0), "f32[N]")
    yield along("max", "", "max(x, axis = -1)", largest, "bf16[R]")
    yield along("chain", ", z: bf16[R, N]", "silu(x) * z + x", chain)
    yield along("rows_and_columns", ", w: bf16[N], c: bf16[R, 1]", "x * w + c", rows_and_columns)
    yield along("turned", ", z: bf16[N, R]", "x.T + z", turned, "bf16[N, R]")
    yield along("argmax", "", "argmax(x, axis = -1)", where_largest, "int64[R]", elem="f32")
    gather = along("gather", "", "gather(x, i)", rows_of)
    gather.text = "dims R, N\n\ngraph f(x: bf16[1000, N], i: int64[R]) -> (y: bf16[R, N]) {\n  y = gather(x, i)\n}\n"
    yield gather
    yield users_kernel()


# ---- running ---------------------------------------------------------------------------------------------------------------------------------
def fits(case, dims):
    work, size = case.work(dims)
    return work <= case.most and size <= MOST_BYTES and all(1 <= dims[k] <= v for k, v in case.limits.items())


def sizes_that_choose(case, steps, kernel):
    """Sizes at random for a variant that no walk met, or None."""
    rng = random.Random(kernel)
    for _ in range(20000):
        dims = {}
        for k, most in case.limits.items():
            v = int(most ** rng.random())
            dims[k] = max(1, v - v % rng.choice((1, 8, 64, 128))) or 1
        if fits(case, dims) and kernel in choice(steps, dims):
            return dims
    return None


def points(case, steps):
    """[(dims, choice)], each once, and the kernels that no sizes choose."""
    found, seen = {}, set()

    def take(dims):
        if fits(case, dims):
            chosen = choice(steps, dims)
            found[tuple(sorted(dims.items()))] = chosen
            seen.update(chosen)

    def walk(base):
        take(base)
        for dim, limit in case.limits.items():
            for v in borders(steps, base, dim, limit):
                for w in (v - 1, v, v + 1):
                    take(dict(base, **{dim: w}))

    for base in case.bases:
        walk(base)
    missing = []
    for kernel in (k for step in steps for k, _, _ in step):
        if kernel not in seen:
            base = sizes_that_choose(case, steps, kernel)
            if base:
                walk(base)
            else:
                missing.append(kernel)
    return [(dict(k), v) for k, v in found.items()], missing


def check(art, case, dims, chosen):
    """None, or what is wrong with one run."""
    inputs, want, bound, dtype = case.make(dims)
    got = torch.full(tuple(want.shape), float("nan") if dtype.is_floating_point else -1, device="cuda", dtype=dtype)
    art.bind(inputs, [got])()
    ran = tuple(re.search(r", kernel (\S+?),", line).group(1) for line in art.explain() if ", kernel " in line)
    torch.cuda.synchronize()
    chosen = tuple(k for k in chosen if k)
    if ran != chosen:
        return "the guards say %s, what ran is %s" % (chosen, ran)
    return kit.beyond(got, want, bound)


def one_case(lab, arch, case):
    import artifact

    target = "sm_90a" if arch == "sm_90a" else arch
    name = "%s/%s" % (case.name, target)
    path = lab.compile(case.name, case.text, arch.rstrip("a"))
    steps = steps_of(lab.run([lab.tsc, "inspect", path]).out, target)
    tried, missing = points(case, steps)
    out = [(name + "/variants-are-met", not missing, "no sizes tried choose %s" % " ".join(missing))]
    art = artifact.Artifact(str(path))
    for dims, chosen in tried:
        text = ",".join("%s=%d" % kv for kv in dims.items())
        try:
            wrong = check(art, case, dims, chosen)
        except Exception as e:
            wrong = "%s: %s" % (type(e).__name__, str(e)[:300])
        out.append(("%s/%s" % (name, text), not wrong, wrong))
    art.close()
    return len(steps), sum(len(s) for s in steps), len(tried), out


def run(lab):
    torch.manual_seed(7)
    jobs = [(arch, case) for arch in architectures() for case in cases()]
    variants = tried = 0

    def one(job):
        try:
            return one_case(lab, *job)
        except Exception as e:
            return 0, 0, 0, [("%s/%s" % (job[1].name, job[0]), False, "%s: %s" % (type(e).__name__, e))]

    for _, n, points_, results in lab.map(one, jobs):
        variants += n
        tried += points_
        yield from results
    lab.note("guards: %d variants of %d graphs and architectures, %d sizes around their borders" % (variants, len(jobs), tried))
