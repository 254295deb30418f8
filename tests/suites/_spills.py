"""Graphs whose kernels may keep more values alive than a thread has registers, by families, for suite gpu_gates and `make spills`: attention
of every kind, products with wide epilogues, rows with functions before and behind them, pointwise work on many inputs."""
import itertools
import re
import runpy
from pathlib import Path

PROPERTIES = re.compile(
    r"Compiling entry function '(\w+)' for '\w+'\n"
    r"(?:.*\n)*?\s+(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\n"
    r"ptxas info\s+: Used (\d+) registers")

EDGES = {
    "full": "",
    "causal": "causal = true",
    "offset": "q_offset = p, causal = true",
    "window": "causal = true, window = 77",
    "window_offset": "q_offset = p, causal = true, window = 300",
}
# what is added under the scores: its parameters, its arguments
UNDER = {
    "none": ("", ""),
    "mask": ("m: bool[B, 1, S, T]", "mask = m"),
    "keys": ("m: bool[B, 1, 1, T]", "mask = m"),
    "bias": ("b: {e}[H, S, T]", "bias = b"),
    "wide_bias": ("b: f32[B, H, S, T]", "bias = b"),
    "both": ("b: {e}[H, S, T], m: bool[B, 1, S, T]", "bias = b, mask = m"),
    "factor": ("c: f32[]", "factor = c"),
    "factor_keys": ("m: bool[B, 1, 1, T], c: f32[]", "mask = m, factor = c"),
    "factor_bias": ("b: {e}[H, S, T], c: f32[]", "bias = b, factor = c"),
}
# how q, k, v and the result lie: heads outside, heads inside, cut from one tensor
LAID = {
    "heads": ("q: {e}[B, {h}, S, {d}], k: {e}[B, G, T, {d}], v: {e}[B, G, T, {d}]", "B, {h}, S, {d}", "attention(q, k, v{a})"),
    "rows": ("q: {e}[B, S, {h}, {d}], k: {e}[B, T, G, {d}], v: {e}[B, T, G, {d}]", "B, S, {h}, {d}",
             "attention(q.transpose([0, 2, 1, 3]), k.transpose([0, 2, 1, 3]), v.transpose([0, 2, 1, 3]){a}).transpose([0, 2, 1, 3])"),
}


def attention(edge, under, head="D", group=1, laid="heads", elem="bf16", behind=""):
    """One text; head "D" is open, up to 256: then every form of prefill and decode is in it."""
    h = "G" if group == 1 else "%d*G" % group
    params, args = UNDER[under]
    given = [x for x in (args, EDGES[edge]) if x]
    more = [x for x in (params.format(e=elem).replace("[H", "[" + h).replace(", H,", ", %s," % h), "p: int64[]" if "q_offset" in EDGES[edge] else "") if x]
    qkv, out, call = (x.format(e=elem, h=h, d=head, a="".join(", " + g for g in given)) for x in LAID[laid])
    if behind:
        more.append("g: %s[%s]" % (elem, out))
        call = behind % call
    return "tessera 1\ndims B, G, S, T%s\n\ngraph f(%s) -> (o: %s[%s]) {\n  o = %s\n}\n" % (", D <= 256" if head == "D" else "", ", ".join([qkv] + more), elem, out, call)


EPILOGUES = (
    "x", "x + b", "gelu(x, approximate = \"none\")", "gelu(x + b, approximate = \"tanh\")", "silu(x) * r", "gelu(x + b, approximate = \"none\") + r",
    "gelu(x + b, approximate = \"none\") * silu(r) + tanh(r)", "(x + b) * sigmoid(x + c) + r", "gelu(silu(x + b) * r + s, approximate = \"none\") * tanh(s)",
    "gelu(gelu(x + b, approximate = \"none\") * r + s, approximate = \"none\") * exp(tanh(s)) + log(1.0 + exp(r))",
    "erf(x * c + b) * gelu(r, approximate = \"none\") + erf(s) * tanh(x) + gelu(x, approximate = \"none\")",
)


def matmul(epilogue, elem="bf16", n="N", k="K", lies="x @ w", out=None):
    """A product and what is made of it; b, c along n, r, s of its shape."""
    sizes = {"w": "{e}[{n}, {k}]" if ".T" in lies else "{e}[{k}, {n}]", "b": "{o}[{n}]", "c": "{o}[{n}]", "r": "{o}[M, {n}]", "s": "{o}[M, {n}]"}
    out = out or elem
    params = ["x: %s[M, %s]" % (elem, k)] + ["%s: %s" % (p, sizes[p].format(e=elem, n=n, k=k, o=out)) for p in "wbcrs" if p == "w" or re.search(r"\b%s\b" % p, epilogue)]
    dims = ["M"] + [d for d in (n, k) if d.isalpha()]
    product = lies if out == elem else "matmul(%s, out = %s)" % (lies.replace(" @ ", ", "), out)
    body = "  z = %s\n  y = %s\n" % (product, re.sub(r"\bx\b", "z", epilogue))
    return "tessera 1\ndims %s\n\ngraph f(%s) -> (y: %s[M, %s]) {\n%s}\n" % (", ".join(dims), ", ".join(params), out, n, body)


BEFORE = ("x", "x + r", "silu(x) * r", "gelu(x + b, approximate = \"none\") + r", "tanh(gelu(x + b, approximate = \"none\") * r + s)")
BEHIND = ("y", "y * r", "gelu(y * g + b, approximate = \"none\")", "silu(y * g + b) * r + s", "gelu(tanh(y * g + b) * r + s, approximate = \"none\") * silu(x)")
ROWS = ("softmax(x, axis = -1)", "layer_norm(x, g, b, eps = 1e-5)", "rms_norm(x, g)", "sum(x, axis = -1, keepdims = true)", "max(x, axis = -1, keepdims = true)", "sum(x, axis = 0, keepdims = true)")


def rows(row, before, behind, elem="bf16", n="N"):
    body = "  z = %s\n  y0 = %s\n  y = %s\n" % (before, re.sub(r"\bx\b", "z", row), re.sub(r"\by\b", "y0", behind))
    params = ["x: %s[M, %s]" % (elem, n)] + ["%s: %s[%s]" % (p, elem, n if p in "bg" else "M, " + n) for p in "bgrs" if re.search(r"\b%s\b" % p, " ".join((before, row, behind)))]
    result = "M, " + n
    if "keepdims" in row and behind == "y":
        result = "1, " + n if "axis = 0" in row else "M, 1"
    return "tessera 1\ndims %s\n\ngraph f(%s) -> (y: %s[%s]) {\n%s}\n" % ("M, " + n if n.isalpha() else "M", ", ".join(params), elem, result, body)


def pointwise(inputs, elem="f32", word="+", kind="flat"):
    """One result of many inputs: in one chain, each behind a function, in pairs (all alive until the last), along other dims."""
    shape = {"flat": "N", "rows": "M, N", "bias": "M, N"}[kind]
    names = ["x%d" % i for i in range(inputs)]
    shapes = {x: "N" if kind == "bias" and i % 2 else shape for i, x in enumerate(names)}
    if word == "+":
        value = " + ".join(names)
    elif word == "tanh":
        value = " * ".join("tanh(%s)" % x for x in names)
    elif word == "gelu":
        value = " + ".join("gelu(%s, approximate = \"none\")" % x for x in names)
    else:  # a tree, whose leaves all come before its root
        level = names
        while len(level) > 1:
            level = ["(%s * %s + %s)" % (a, b, a) if b else a for a, b in itertools.zip_longest(level[::2], level[1::2])]
        value = level[0]
    dims = "M, N" if "M" in shape else "N"
    return "tessera 1\ndims %s\n\ngraph f(%s) -> (y: %s[%s]) {\n  y = %s\n}\n" % (dims, ", ".join("%s: %s[%s]" % (x, elem, shapes[x]) for x in names), elem, shape, value)


def layers():
    """(name, text) of the bench's layer and block, open and of known widths, and of a gated pair of products."""
    made = runpy.run_path(str(Path(__file__).resolve().parents[2] / "bench" / "gpu" / "layer.py"))
    for name, text, width in (("layer", made["LAYER"], 4096), ("block", made["BLOCK"], 512)):
        yield "layers/" + name, "tessera 1\n" + text
        yield "layers/%s-%d" % (name, width), "tessera 1\n" + re.sub(r"D multiple_of \d+", "D = %d" % width, text)
    yield "layers/gated", "tessera 1\ndims M, D, F\n\ngraph f(x: bf16[M, D], a: bf16[D, F], b: bf16[D, F], c: bf16[F, D]) -> (y: bf16[M, D]) {\n  y = (silu(x @ a) * (x @ b)) @ c\n}\n"


def everything():
    """(name, text) of the whole sweep."""
    yield from layers()
    for e in ("x + b + r", "r + gelu(x + b, approximate = \"tanh\")", "r + x"):
        yield "matmul/turned-" + re.sub(r"\W+", "-", e), matmul(e, lies="x @ w.T")
    for edge, under in itertools.product(EDGES, UNDER):
        yield "attention/%s-%s" % (edge, under), attention(edge, under, group=4)
    for edge, under, head in itertools.product(("full", "causal", "window_offset"), ("none", "mask", "bias", "both"), ("64", "128", "256", "80", "96")):
        yield "attention/%s-%s-head%s" % (edge, under, head), attention(edge, under, head=head, elem="f16")
    for edge, under in itertools.product(("full", "causal", "window"), ("none", "both", "wide_bias")):
        yield "attention/%s-%s-rows" % (edge, under), attention(edge, under, group=2, laid="rows")
        yield "attention/%s-%s-gated" % (edge, under), attention(edge, under, behind="%s * sigmoid(g) + g")
    for edge, under, elem in itertools.product(("full", "window_offset"), ("none", "both"), ("f32", "f64")):
        yield "attention/%s-%s-%s" % (edge, under, elem), attention(edge, under, elem=elem)
    for i, e in enumerate(EPILOGUES):
        yield "matmul/open-%d" % i, matmul(e)
        yield "matmul/known-%d" % i, matmul(e, n="12288", k="4096")
    for i, elem in itertools.product((0, 3, 6, 9), ("f16", "f32", "f64", "tf32", "fp8_e4m3")):
        if elem != "tf32":
            yield "matmul/%s-%d" % (elem, i), matmul(EPILOGUES[i], elem, lies="x @ w.T", out="f16" if elem == "fp8_e4m3" else None)
    for elem, n, k, lies, i in itertools.product(("f32", "f64", "bf16"), ("1", "3", "10", "130", "2046"), ("K", "5", "770"), ("x @ w", "x @ w.T"), (0, 6)):
        yield "matmul/odd-%s-%s-%s-%s%d" % (elem, n, k, "t" if "T" in lies else "n", i), matmul(EPILOGUES[i], elem, n, k, lies)
    for row, i, k in itertools.product(range(len(ROWS)), range(len(BEFORE)), range(len(BEHIND))):
        if i == k or i == 0 or k == 0:
            yield "rows/%d-%d-%d" % (row, i, k), rows(ROWS[row], BEFORE[i], BEHIND[k])
    for row, (i, k), n in itertools.product(range(len(ROWS)), ((0, 0), (4, 4)), ("768", "4096", "5000", "16384")):
        yield "rows/%d-%d-%d-known%s" % (row, i, k, n), rows(ROWS[row], BEFORE[i], BEHIND[k], "f32", n)
    for n, elem, word in itertools.product((2, 5, 12, 24, 40, 60, 80), ("f32", "bf16"), ("+", "tanh", "tree", "gelu")):
        yield "pointwise/%d-%s-%s" % (n, elem, word), pointwise(n, elem, word)
    for n, elem, kind, word in itertools.product((12, 40, 80), ("f32", "f16", "f64"), ("rows", "bias"), ("+", "tree")):
        yield "pointwise/%d-%s-%s-%s" % (n, elem, kind, word), pointwise(n, elem, word, kind)


# what suite gpu_gates holds of it: each spilled once
HELD = (
    "layers/block-512", "layers/gated", "matmul/turned-x-b-r",
    "attention/window_offset-both", "attention/causal-bias-head256", "attention/full-both-gated", "attention/full-none-f64", "matmul/known-6", "matmul/f16-6", "matmul/odd-f32-10-K-n0", "matmul/odd-f32-130-770-n0", "matmul/odd-f32-3-5-n0",
    "rows/0-3-3", "rows/1-0-0", "pointwise/60-bf16-+",
)


def held():
    """(name, text) of these."""
    made = dict(everything())
    return [(name, made[name]) for name in HELD]


def properties(said):
    """What ptxas -v says of each kernel: bytes of stack, of stores and of loads spilled, registers."""
    return {m.group(1): tuple(int(x) for x in m.groups()[1:]) for m in PROPERTIES.finditer(said)}


def spilled(seen):
    return ["%s: %d bytes of stack, %d and %d bytes spilled" % (k, *v[:3]) for k, v in sorted(seen.items()) if any(v[:3])]


def check(run, tsc, ptxas, text, arch, folder):
    """The kernels of a graph for one architecture: (how many ptxas shows, what is wrong). run(argv) gives (exit status, output)."""
    source, ptx = folder / "k.tg", folder / "k.ptx"
    source.write_text(text)
    code, said = run([tsc, source, "--emit", "ptx", "--arch", arch, "-o", ptx])
    if code:
        return 0, ["tsc: %d %s" % (code, said)]
    wanted = len(re.findall(r"(?m)^\.visible \.entry ", ptx.read_text()))
    code, said = run([ptxas, "-v", "-arch=" + ("sm_90a" if arch == "sm_90" else arch), "-O3", ptx, "-o", folder / "k.cubin"])
    if code:
        return 0, ["ptxas: %d %s" % (code, said)]
    seen = properties(said)
    return len(seen), spilled(seen) + ([] if len(seen) == wanted else ["%d kernels, ptxas shows %d" % (wanted, len(seen))])
