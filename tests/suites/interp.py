"""The interpreter against NumPy: for every operator, seeded random graphs of a few sizes, types and attributes, evaluated by
`tsc eval` in f64 (compared to NumPy's float64 within rounding) and at declared types (within what their roundings allow)."""
import math
from dataclasses import dataclass

import numpy as np

PARALLEL = True
ROUNDS = 4  # graphs of each kind
SIZES = [1, 2, 3, 4, 5, 7, 8]
FLOATS = ["f32", "f64", "f16", "bf16"]
INTS = ["int64", "int32"]
NUMPY = {"f32": np.float32, "f64": np.float64, "f16": np.float16, "bf16": np.float32, "int64": np.int64, "int32": np.int32,
         "int16": np.int16, "int8": np.int8, "uint8": np.uint8, "bool": np.bool_, "complex64": np.complex64}

# Relative to the largest element, u being half a unit in the last place of the declared type (2^-24 for f32, 2^-11 for f16, 2^-8 for bf16).
# 16-bit types are computed in f32, whose errors vanish beside the one rounding at the end: u. f32 and f64 are computed in themselves: the
# longest chains here (norms: mean, difference, square, mean, root, quotient, scale, shift) round eight times, each u of at most the largest
# value, and sums of up to 64 terms are added in pairs or as chains whose roundings average out below one of these: 8 u.
LOOSE = {"f64": 8 * 2**-53, "f32": 8 * 2**-24, "f16": 2**-11, "bf16": 2**-8, "complex64": 8 * 2**-24}


@dataclass
class Case:
    name: str
    body: str
    inputs: dict  # name: (type, array)
    results: dict  # name: (type, expected)
    symbolic: bool = False
    declared: bool = True  # also compared at declared types


def bf16(x):
    """x (float32) rounded to bf16."""
    bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return bits.astype(np.uint32).view(np.float32)


def quantised(t, x):
    """Values x as type t holds them, in NumPy's nearest type."""
    return bf16(x) if t == "bf16" else np.asarray(x).astype(NUMPY[t])


class Maker:
    """Random inputs from one seed."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def pick(self, xs):
        return xs[self.rng.integers(len(xs))]

    def shape(self, lo=1, hi=3, zero=True):
        dims = [int(self.pick(SIZES)) for _ in range(self.rng.integers(lo, hi + 1))]
        if zero and dims and self.rng.random() < 0.08:
            dims[self.rng.integers(len(dims))] = 0
        return tuple(dims)

    def array(self, t, shape, lo=-4.0, hi=4.0):
        if t == "bool":
            return self.rng.random(shape) < 0.5
        if t == "complex64":
            return (self.rng.normal(size=shape) + 1j * self.rng.normal(size=shape)).astype(np.complex64)
        if t in INTS or "int" in t:
            low = max(-9, 0 if t == "uint8" else -9)
            return self.rng.integers(low, 10, shape).astype(NUMPY[t])
        return quantised(t, self.rng.uniform(lo, hi, shape).astype(np.float32))

    def stretched(self, shape):
        """A shape that broadcasts to this one."""
        cut = self.rng.integers(len(shape) + 1)
        return tuple(1 if self.rng.random() < 0.3 else d for d in shape[cut:])

    def axes(self, rank):
        """Some axes, possibly negative, and the attribute's text; None is all."""
        if self.rng.random() < 0.25:
            return None, ""
        some = sorted(self.rng.choice(rank, self.rng.integers(1, rank + 1), replace=False).tolist())
        text = [a - rank if self.rng.random() < 0.5 else a for a in some]
        return tuple(some), ", axis = %s" % (text[0] if len(text) == 1 else text)


def wide(x):
    return x.astype(np.float64) if x.dtype.kind == "f" else x


# ---- operators ----------------------------------------------------------------------------------------------------------------
def erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


UNARY = {
    "neg": (np.negative, FLOATS + INTS), "abs": (np.abs, FLOATS + INTS), "floor": (np.floor, FLOATS), "ceil": (np.ceil, FLOATS), "round": (np.rint, FLOATS),
    "exp": (np.exp, FLOATS), "tanh": (np.tanh, FLOATS), "erf": (erf, FLOATS), "sin": (np.sin, FLOATS), "cos": (np.cos, FLOATS),
    "sigmoid": (sigmoid, FLOATS), "relu": (lambda x: np.maximum(x, 0), FLOATS + INTS), "silu": (lambda x: x * sigmoid(x), FLOATS), "not": (np.logical_not, ["bool"]),
}
POSITIVE = {"log": np.log, "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x)}
BINARY = {
    "add": (np.add, FLOATS + INTS), "sub": (np.subtract, FLOATS + INTS), "mul": (np.multiply, FLOATS + INTS), "div": (np.divide, FLOATS),
    "floordiv": (lambda a, b: np.where(b == 0, 0, a // np.where(b == 0, 1, b)), INTS), "mod": (lambda a, b: np.where(b == 0, 0, a % np.where(b == 0, 1, b)), INTS),
    "minimum": (np.minimum, FLOATS + INTS), "maximum": (np.maximum, FLOATS + INTS), "and": (np.logical_and, ["bool"]), "or": (np.logical_or, ["bool"]),
}
COMPARE = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}
INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "floordiv": "//", "mod": "%", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "and": "and", "or": "or"}


def call(m, op, a, b):
    """op(a, b), as a call or as its infix form."""
    return "%s %s %s" % (a, INFIX[op], b) if op in ("and", "or") or (op in INFIX and m.rng.random() < 0.5) else "%s(%s, %s)" % (op, a, b)


def pointwise(m):
    for op, (f, types) in UNARY.items():
        t = m.pick(types)
        x = m.array(t, m.shape(0))
        body = "not x" if op == "not" else "-x" if op == "neg" else "%s(x)" % op
        yield Case(op, body, {"x": (t, x)}, {"y": (t, f(wide(x)))}, symbolic=True)
    for op, f in POSITIVE.items():
        t = m.pick(FLOATS)
        x = m.array(t, m.shape(0), 0.125, 9)
        yield Case(op, "%s(x)" % op, {"x": (t, x)}, {"y": (t, f(wide(x)))}, symbolic=True)
    t, form = m.pick(FLOATS), m.pick(["none", "tanh"])
    x = m.array(t, m.shape())
    v = wide(x)
    want = v / 2 * (1 + erf(v / math.sqrt(2))) if form == "none" else v / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)))
    yield Case("gelu", 'gelu(x, approximate = "%s")' % form, {"x": (t, x)}, {"y": (t, want)}, symbolic=True)
    for op, (f, types) in BINARY.items():
        t, shape = m.pick(types), m.shape(0)
        x, y = m.array(t, shape), m.array(t, m.stretched(shape))
        if op == "div":
            y = np.where(np.abs(y) < 0.25, quantised(t, 1), y).astype(y.dtype)
        yield Case(op, call(m, op, "x", "w"), {"x": (t, x), "w": (t, y)}, {"y": (t, f(wide(x), wide(y)))}, symbolic=True)
    t, shape = m.pick(FLOATS), m.shape()
    x, y = m.array(t, shape, 0.5, 3), m.array(t, shape, -2, 2)
    yield Case("pow", "x ** w", {"x": (t, x), "w": (t, y)}, {"y": (t, wide(x) ** wide(y))}, symbolic=True)
    for op, f in COMPARE.items():
        t, shape = m.pick(FLOATS + INTS), m.shape(0)
        x, y = m.array(t, shape), m.array(t, m.stretched(shape))
        y = np.where(m.rng.random(y.shape) < 0.3, x.reshape(-1)[0] if x.size else 0, y).astype(y.dtype)
        yield Case(op, call(m, op, "x", "w"), {"x": (t, x), "w": (t, y)}, {"y": ("bool", f(x, y))}, symbolic=True)
    t, shape = m.pick(FLOATS + INTS + ["bool"]), m.shape()
    c, x, y = m.array("bool", m.stretched(shape)), m.array(t, shape), m.array(t, m.stretched(shape))
    yield Case("where", "where(c, x, w)", {"c": ("bool", c), "x": (t, x), "w": (t, y)}, {"y": (t, np.where(c, wide(x), wide(y)))}, symbolic=True)
    t = m.pick(FLOATS + INTS)
    x = m.array(t, m.shape())
    lo, hi = (-2, 3) if t in INTS else (-1.5, 2.25)
    yield Case("clamp", "clamp(x, %s, %s)" % (lo, hi), {"x": (t, x)}, {"y": (t, np.clip(wide(x), lo, hi))}, symbolic=True)


def cast(m):
    a, b = m.pick(FLOATS + INTS + ["int16", "int8", "uint8", "bool"]), m.pick(FLOATS + INTS + ["int16", "int8", "bool"])
    x = m.array(a, m.shape())
    v = wide(x)
    if b == "bool":
        want = v != 0
    elif b in FLOATS:
        want = wide(quantised(b, v))
    else:
        want = np.trunc(v).astype(NUMPY[b])
    yield Case("cast", "cast(x, %s)" % b, {"x": (a, x)}, {"y": (b, want)}, symbolic=True)
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 127.9, -128.9, 0.5], np.float32)
    yield Case("cast", "cast(x, int8)", {"x": ("f32", x)}, {"y": ("int8", np.array([0, 127, -128, 127, -128, 127, -128, 0], np.int8))})
    x = np.array([500, 448, 464, 465, 1e-3, -17, 2**-9, 2**-10], np.float32)
    yield Case("cast", "cast(cast(x, fp8_e4m3), f32)", {"x": ("f32", x)}, {"y": ("f32", np.array([448, 448, 448, 448, 2**-9 * 1.0 if 1e-3 > 2**-10 else 0, -16, 2**-9, 0]))})


def matmul(m):
    b, s = m.shape(0, 2, zero=False), [int(m.pick(SIZES)) for _ in range(3)]
    t = m.pick(FLOATS)
    x, w = m.array(t, b + (s[0], s[1])), m.array(t, m.stretched(b) + (s[1], s[2]))
    yield Case("matmul", "x @ w", {"x": (t, x), "w": (t, w)}, {"y": (t, wide(x) @ wide(w))}, symbolic=True)
    t, u = m.pick(FLOATS[:1] + FLOATS[2:]), m.pick(["int8", "uint8", "bf16", "f16"])
    x, w = m.array(t, (s[0], s[1])), m.array(u, (s[1], s[2]))
    yield Case("matmul", "matmul(x, w, out = f32)", {"x": (t, x), "w": (u, w)}, {"y": ("f32", wide(x) @ wide(w))}, symbolic=True)
    x, w = m.array("int8", (s[0], s[1])), m.array("int8", (s[1], s[2]))
    yield Case("matmul", "matmul(x, w, out = int32)", {"x": ("int8", x), "w": ("int8", w)}, {"y": ("int32", x.astype(np.int32) @ w.astype(np.int32))})
    t = m.pick(INTS)
    x, w = m.array(t, (s[0], s[1])), m.array(t, (s[1], s[2]))
    yield Case("matmul", "x @ w.T", {"x": (t, x), "w": (t, w.T.copy())}, {"y": (t, x @ w)})


def reductions(m):
    for op, f in {"sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min}.items():
        t = m.pick(FLOATS if op == "mean" else FLOATS + INTS)
        x = m.array(t, m.shape(zero=op == "sum"))
        axis, text = m.axes(x.ndim)
        keep = m.rng.random() < 0.5
        want = f(wide(x), axis=axis, keepdims=keep)
        yield Case(op, "%s(x%s%s)" % (op, text, ", keepdims = true" if keep else ""), {"x": (t, x)}, {"y": (t, np.asarray(want))}, symbolic=True)
    t = m.pick(FLOATS + INTS)
    x = m.array(t, m.shape(zero=False))
    axis = int(m.rng.integers(x.ndim))
    yield Case("argmax", "argmax(x, axis = %d)" % (axis - x.ndim), {"x": (t, x)}, {"y": ("int64", np.asarray(np.argmax(x, axis)))}, symbolic=True)
    axes, text = m.axes(x.ndim)
    whole = tuple(a % x.ndim for a in (axes if isinstance(axes, tuple) else range(x.ndim) if axes is None else (axes,)))
    rows = np.moveaxis(x, whole, range(-len(whole), 0)).reshape([n for i, n in enumerate(x.shape) if i not in whole] + [-1])
    yield Case("argmax", "argmax(x%s)" % text, {"x": (t, x)}, {"y": ("int64", np.asarray(np.argmax(rows, -1)))}, symbolic=True)
    yield Case("argmax", "argmax(x)", {"x": (t, x)}, {"y": ("int64", np.asarray(np.argmax(x)))})
    t = m.pick(FLOATS)
    x = m.array(t, m.shape(zero=False))
    axis = int(m.rng.integers(x.ndim))
    e = np.exp(wide(x) - wide(x).max(axis, keepdims=True))
    yield Case("softmax", "softmax(x, axis = %d)" % axis, {"x": (t, x)}, {"y": (t, e / e.sum(axis, keepdims=True))}, symbolic=True)


def norms(m):
    t = m.pick(FLOATS)
    shape = m.shape(zero=False)[:-1] + (int(m.pick([4, 5, 8, 32])),)
    x, g, b = m.array(t, shape), m.array(t, shape[-1:]), m.array(t, shape[-1:])
    eps = float(m.pick([1e-5, 0.1]))
    v = wide(x)
    normal = (v - v.mean(-1, keepdims=True)) / np.sqrt(v.var(-1, keepdims=True) + eps)
    yield Case("layer_norm", "layer_norm(x, g, b, eps = %r)" % eps, {"x": (t, x), "g": (t, g), "b": (t, b)}, {"y": (t, normal * wide(g) + wide(b))}, symbolic=True)
    yield Case("layer_norm", "layer_norm(x, eps = %r)" % eps, {"x": (t, x)}, {"y": (t, normal)})
    normal = v / np.sqrt((v * v).mean(-1, keepdims=True) + eps)
    yield Case("rms_norm", "rms_norm(x, g, eps = %r)" % eps, {"x": (t, x), "g": (t, g)}, {"y": (t, normal * wide(g))}, symbolic=True)


def attention(m):
    b, g, s, d, n, e = (int(m.pick([1, 2, 3, 5])) for _ in range(6))
    h = g * int(m.pick([1, 2, 3]))
    t = m.pick(FLOATS)
    q, k, v = m.array(t, (b, h, s, d), -2, 2), m.array(t, (b, g, n, d), -2, 2), m.array(t, (b, g, n, e))
    args, attrs, inputs = "", "", {"q": (t, q), "k": (t, k), "v": (t, v)}
    scale = 1 / math.sqrt(d)
    if m.rng.random() < 0.3:
        scale = 0.25
        attrs += ", scale = 0.25"
    if m.rng.random() < 0.3:
        scale *= float(wide(factor := m.array(t, ())))
        inputs["c"] = (t, factor)
        args += ", factor = c"
    scores = np.einsum("bhsd,bhtd->bhst", wide(q), np.repeat(wide(k), h // g, 1)) * scale
    seen = np.ones((b, h, s, n), bool)
    if m.rng.random() < 0.5:
        mask = m.rng.random(m.pick([(b, 1, 1, n), (s, n), (n,), (b, h, s, n)])) < 0.6
        inputs["mask"] = ("bool", mask)
        args += ", mask = mask"
        seen &= mask
    if m.rng.random() < 0.4:
        bias = m.array(t, m.pick([(h, s, n), (1, 1, s, n)]))
        inputs["bias"] = (t, bias)
        args += ", bias = bias"
        scores = scores + wide(bias)
    offset = 0
    if m.rng.random() < 0.5:
        offset = int(m.rng.integers(0, 4))
        inputs["o"] = ("int64", np.array(offset, np.int64))
        args += ", q_offset = o"
    i, j = np.arange(s)[:, None] + offset, np.arange(n)[None, :]
    if m.rng.random() < 0.5:
        attrs += ", causal = true"
        seen &= j <= i
    if m.rng.random() < 0.3:
        w = int(m.rng.integers(1, 4))
        attrs += ", window = %d" % w
        seen &= j > i - w
    p = np.where(seen, np.exp(scores - np.where(seen, scores, -np.inf).max(-1, keepdims=True, initial=-1e30)), 0)
    total = p.sum(-1, keepdims=True)
    want = np.einsum("bhst,bhte->bhse", p / np.where(total == 0, 1, total), np.repeat(wide(v), h // g, 1))
    yield Case("attention", "attention(q, k, v%s%s)" % (args, attrs), inputs, {"y": (t, want)})


def movement(m):
    t = m.pick(FLOATS + INTS + ["int8", "int16", "bool"])
    x = m.array(t, m.shape(1, 4))
    ins = {"x": (t, x)}
    n = x.size
    parts = [d for d in range(1, n + 1) if n % d == 0] if n else [3]
    a = int(m.pick(parts))
    new = [a, n // a] if n else [3, 0]
    yield Case("reshape", "reshape(x, %s)" % (new if not n or m.rng.random() < 0.5 else [a, -1]), ins, {"y": (t, wide(x).reshape(new))})
    perm = m.rng.permutation(x.ndim).tolist()
    yield Case("transpose", "transpose(x, %s)" % perm, ins, {"y": (t, wide(x).transpose(perm))}, symbolic=True)
    small = m.array(t, m.stretched(x.shape))
    shape = [2] + list(x.shape)
    yield Case("broadcast", "broadcast(x, %s)" % shape, {"x": (t, small)}, {"y": (t, np.broadcast_to(wide(small), shape))})
    lo = [int(m.rng.integers(0, d + 1)) for d in x.shape]
    hi = [int(m.rng.integers(k, d + 1)) for k, d in zip(lo, x.shape)]
    step = [int(m.rng.integers(1, 4)) for _ in lo]
    index = tuple(slice(*k) for k in zip(lo, hi, step))
    yield Case("slice", "slice(x, %s, %s, %s)" % (lo, hi, step), ins, {"y": (t, wide(x)[index])})
    yield Case("slice", "x[%s]" % ", ".join("%d:%d:%d" % k for k in zip(lo, hi, step)), ins, {"y": (t, wide(x)[index])})
    axis = int(m.rng.integers(x.ndim))
    other = list(x.shape)
    other[axis] = 2
    w = m.array(t, tuple(other))
    yield Case("concat", "concat([x, w, x], axis = %d)" % axis, {"x": (t, x), "w": (t, w)}, {"y": (t, np.concatenate([wide(x), wide(w), wide(x)], axis))})
    k = int(m.pick([d for d in range(1, 9) if x.shape[axis] % d == 0]))
    names = ["y%d" % i for i in range(k)]
    yield Case("split", "split(x, %d, axis = %d)" % (k, axis - x.ndim), ins, {name: (t, part) for name, part in zip(names, np.split(wide(x), k, axis))})
    before, after = ([int(m.rng.integers(0, 3)) for _ in x.shape] for _ in range(2))
    value = 0 if t == "bool" else 2
    yield Case("pad", "pad(x, before = %s, after = %s, value = %d)" % (before, after, value), ins, {"y": (t, np.pad(wide(x), list(zip(before, after)), constant_values=value))})


def gathers(m):
    t = m.pick(FLOATS + INTS + ["int8", "bool"])
    x = m.array(t, m.shape(zero=False))
    axis = int(m.rng.integers(x.ndim))
    size = x.shape[axis]
    u = m.pick(INTS)
    idx = m.rng.integers(-2, size + 2, m.shape(0, 2)).astype(NUMPY[u])

    def take(v, axis):
        ok = (idx >= 0) & (idx < v.shape[axis])
        out = np.take(v, np.where(ok, idx, 0), axis)
        return np.where(ok.reshape((1,) * axis + idx.shape + (1,) * (v.ndim - axis - 1)), out, np.zeros_like(out))

    yield Case("gather", "gather(x, i, axis = %d)" % axis, {"x": (t, x), "i": (u, idx)}, {"y": (t, take(wide(x), axis))})
    table = m.array(t, (int(m.pick(SIZES)), int(m.pick(SIZES))))
    yield Case("embedding", "embedding(x, i)", {"x": (t, table), "i": (u, idx)}, {"y": (t, take(wide(table), 0))})
    n, t = int(m.pick(SIZES)), m.pick(FLOATS + INTS)
    yield Case("one_hot", "one_hot(i, %d, dtype = %s)" % (n, t), {"i": (u, idx)}, {"y": (t, (idx[..., None] == np.arange(n)).astype(np.float64 if t in FLOATS else NUMPY[t]))})
    yield Case("iota", "iota(%d, dtype = %s)" % (n, t), {}, {"y": (t, np.arange(n).astype(np.float64 if t in FLOATS else NUMPY[t]))})


def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(q >> 32) ^ c[1] ^ k[0], q & 0xFFFFFFFF, (p >> 32) ^ c[3] ^ k[1], p & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def randoms(m):
    seed, step = int(m.rng.integers(-(2**63), 2**63, dtype=np.int64)), int(m.rng.integers(0, 2**40))
    key = {"key": ("int64", np.array([seed, step], np.int64))}
    s = seed % 2**64
    n, stream = 7, int(m.rng.integers(0, 65536))
    w = [philox([i, 0, stream, step % 2**32], [s % 2**32, (s >> 32) ^ (step >> 32)]) for i in range(n)]
    tail = ", stream = %d)" % stream
    u = np.array([(x[0] >> 8) * 2.0**-24 for x in w])
    yield Case("uniform", "uniform(key, [%d]%s" % (n, tail), key, {"y": ("f32", u)})
    u = np.array([(((x[1] << 32) | x[0]) >> 11) * 2.0**-53 for x in w])
    yield Case("uniform", "uniform(key, [%d], low = -2.0, high = 6.0, dtype = f64%s" % (n, tail), key, {"y": ("f64", u * 8 - 2)})
    u, v = np.array([((x[0] >> 8) + 1) * 2.0**-24 for x in w]), np.array([(x[1] >> 8) * 2.0**-24 for x in w])
    yield Case("normal", "normal(key, [%d], mean = 1.0, std = 2.0%s" % (n, tail), key, {"y": ("f32", 1 + 2 * np.sqrt(-2 * np.log(u)) * np.cos(2 * math.pi * v))})
    lo = int(m.rng.integers(-100, 100))
    span = int(m.rng.integers(1, 1000))
    yield Case("randint", "randint(key, [%d], %d, %d%s" % (n, lo, lo + span, tail), key, {"y": ("int64", np.array([lo + (x[0] * span >> 32) for x in w]))})


def spectral(m):
    x = m.array("complex64", m.shape(zero=False))
    axis = int(m.rng.integers(x.ndim))
    for op, f in {"fft": np.fft.fft, "ifft": np.fft.ifft}.items():
        yield Case(op, "%s(x, axis = %d)" % (op, axis), {"x": ("complex64", x)}, {"y": ("complex64", f(x.astype(np.complex128), axis=axis))})


FAMILIES = [pointwise, cast, matmul, reductions, norms, attention, movement, gathers, randoms, spectral]


# ---- running ------------------------------------------------------------------------------------------------------------------
def type_text(t, shape, symbolic):
    return "%s[%s]" % (t, ", ".join("D%d" % d if symbolic and d != 1 else str(d) for d in shape))


def program(case):
    """The case as a .tg: one graph, sizes written out or as symbols, one for each size."""
    def sig(values):
        return ", ".join("%s: %s" % (n, type_text(t, np.shape(a), case.symbolic)) for n, (t, a) in values.items())

    sizes = sorted({d for t, a in case.inputs.values() for d in np.shape(a) if d != 1}) if case.symbolic else []
    dims = "dims %s\n" % ", ".join(("0 <= D%d" if d == 0 else "D%d") % d for d in sizes) if sizes else ""
    return "tessera 1\n%sgraph f(%s) -> (%s) {\n  %s = %s\n}\n" % (dims, sig(case.inputs), sig(case.results), ", ".join(case.results), case.body)


def differs(got, want, within):
    """Why got is not want, or nothing. Floats: within of the largest element; everything else: equal."""
    if got.shape != np.shape(want):
        return "shape %s, wanted %s" % (got.shape, np.shape(want))
    if got.dtype.kind not in "fc":
        return "" if np.array_equal(got, want) else "got %s, wanted %s" % (got.tolist(), np.asarray(want).tolist())
    want = np.asarray(want, np.complex128 if got.dtype.kind == "c" else np.float64)
    scale = np.max(np.abs(want), initial=1e-30)
    error = np.max(np.abs(got.astype(want.dtype) - want), initial=0)
    return "" if error <= within * scale else "error %.3g of %.3g\ngot %s\nwanted %s" % (error, scale, got.tolist(), want.tolist())


def read(path, t):
    """A result as tsc writes it: bf16 are its 16 bits."""
    x = np.load(path)
    if t == "bf16" and x.dtype == np.uint16:
        return (x.astype(np.uint32) << 16).view(np.float32)
    return x


def evaluate(ctx, case, folder, declared):
    argv = [ctx.tsc, "eval", folder / "f.tg"]
    for name, (_, x) in case.inputs.items():
        np.save(folder / (name + ".npy"), x)
        argv += ["--input", "%s=%s" % (name, folder / (name + ".npy"))]
    for name in case.results:
        argv += ["--output", "%s=%s" % (name, folder / (name + ".out.npy"))]
    r = ctx.run(argv + (["--declared"] if declared else []))
    if r.code:
        return "exit %d\n%s" % (r.code, r.err)
    for name, (t, want) in case.results.items():
        got = read(folder / (name + ".out.npy"), t)
        within = LOOSE.get(t, 0) if declared else 1e-6 if t == "complex64" else 1e-13
        why = differs(got, want, within)
        if why:
            return "%s%s: %s" % ("at declared types, " if declared else "", name, why)
    return ""


def try_case(ctx, number, case):
    folder = ctx.tmp / str(number)
    folder.mkdir()
    text = program(case)
    (folder / "f.tg").write_text(text)
    why = evaluate(ctx, case, folder, False) or evaluate(ctx, case, folder, True)
    return why and "%s\n%s" % (text, why)


def run(ctx):
    with np.errstate(all="ignore"):
        cases = [(k, c) for k in range(ROUNDS) for f in FAMILIES for c in f(Maker([k, FAMILIES.index(f)]))]
    results = ctx.map(lambda item: try_case(ctx, item[0], item[1][1]), list(enumerate(cases)))
    seen = set()
    for (number, (k, case)), why in zip(enumerate(cases), results):
        seen.add(case.name)
        yield "%s/%d.%d" % (case.name, k, number), not why, why
    listed = [line.split("(")[0] for line in ctx.run([ctx.tsc, "--list-ops"]).out.splitlines() if line and not line.startswith(" ")]
    missing = [op for op in listed if op not in seen]
    yield "every-operator-is-compared", listed and not missing, "not compared: %s" % missing
