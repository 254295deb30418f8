"""The operators as functions, and as methods of tensors and symbolic values.

Generated from ir/ops.def by python/tools/gen_ops.py; do not edit.
"""

# ruff: noqa: A001, A002, E501
from __future__ import annotations

from ._apply import apply, axis_of, no_numpy

__all__ = ["neg", "abs", "add", "sub", "mul", "div", "floordiv", "mod", "pow", "minimum", "maximum", "clamp",
           "floor", "ceil", "round", "eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_", "where", "cast",
           "exp", "log", "sqrt", "rsqrt", "tanh", "erf", "sin", "cos", "sigmoid", "relu", "gelu", "silu", "matmul",
           "attention", "sum", "mean", "max", "min", "argmax", "softmax", "layer_norm", "rms_norm", "reshape",
           "transpose", "broadcast", "slice", "split", "concat", "pad", "gather", "embedding", "iota", "one_hot",
           "uniform", "normal", "randint", "fft", "ifft"]

# name: (operands, optional ones with ?), (attributes), class, error bound
TABLE = {
    "neg": ("x", "", "POINTWISE", "exact"),
    "abs": ("x", "", "POINTWISE", "exact"),
    "add": ("a b", "", "POINTWISE", "rounded"),
    "sub": ("a b", "", "POINTWISE", "rounded"),
    "mul": ("a b", "", "POINTWISE", "rounded"),
    "div": ("a b", "", "POINTWISE", "rounded"),
    "floordiv": ("a b", "", "POINTWISE", "exact"),
    "mod": ("a b", "", "POINTWISE", "exact"),
    "pow": ("a b", "", "POINTWISE", "ulp16"),
    "minimum": ("a b", "", "POINTWISE", "exact"),
    "maximum": ("a b", "", "POINTWISE", "exact"),
    "clamp": ("x lo hi", "", "POINTWISE", "exact"),
    "floor": ("x", "", "POINTWISE", "exact"),
    "ceil": ("x", "", "POINTWISE", "exact"),
    "round": ("x", "", "POINTWISE", "exact"),
    "eq": ("a b", "", "POINTWISE", "exact"),
    "ne": ("a b", "", "POINTWISE", "exact"),
    "lt": ("a b", "", "POINTWISE", "exact"),
    "le": ("a b", "", "POINTWISE", "exact"),
    "gt": ("a b", "", "POINTWISE", "exact"),
    "ge": ("a b", "", "POINTWISE", "exact"),
    "and": ("a b", "", "POINTWISE", "exact"),
    "or": ("a b", "", "POINTWISE", "exact"),
    "not": ("a", "", "POINTWISE", "exact"),
    "where": ("c a b", "", "POINTWISE", "exact"),
    "cast": ("x", "dtype:dtype", "POINTWISE", "rounded"),
    "exp": ("x", "", "POINTWISE", "ulp4"),
    "log": ("x", "", "POINTWISE", "ulp4"),
    "sqrt": ("x", "", "POINTWISE", "rounded"),
    "rsqrt": ("x", "", "POINTWISE", "ulp4"),
    "tanh": ("x", "", "POINTWISE", "ulp4"),
    "erf": ("x", "", "POINTWISE", "ulp4"),
    "sin": ("x", "", "POINTWISE", "ulp4"),
    "cos": ("x", "", "POINTWISE", "ulp4"),
    "sigmoid": ("x", "", "POINTWISE", "ulp4"),
    "relu": ("x", "", "POINTWISE", "exact"),
    "gelu": ("x", "approximate:enum", "POINTWISE", "ulp16"),
    "silu": ("x", "", "POINTWISE", "ulp8"),
    "matmul": ("a b", "out:dtype", "CONTRACT", "sum"),
    "attention": ("q k v mask? bias? q_offset? factor?", "scale:float causal:bool window:int", "ATTENTION", "row"),
    "sum": ("x", "axis:ints keepdims:bool", "REDUCE", "sum"),
    "mean": ("x", "axis:ints keepdims:bool", "REDUCE", "sum"),
    "max": ("x", "axis:ints keepdims:bool", "REDUCE", "exact"),
    "min": ("x", "axis:ints keepdims:bool", "REDUCE", "exact"),
    "argmax": ("x", "axis:ints keepdims:bool", "REDUCE", "exact"),
    "softmax": ("x", "axis:ints", "ROW", "row"),
    "layer_norm": ("x gamma? beta?", "eps:float", "ROW", "row"),
    "rms_norm": ("x gamma?", "eps:float", "ROW", "row"),
    "reshape": ("x", "shape:dims", "VIEW", "exact"),
    "transpose": ("x", "perm:ints", "VIEW", "exact"),
    "broadcast": ("x", "shape:dims", "VIEW", "exact"),
    "slice": ("x", "start:dims stop:dims step:ints", "VIEW", "exact"),
    "split": ("x", "n:int axis:int", "VIEW", "exact"),
    "concat": ("xs*", "axis:int", "MOVE", "exact"),
    "pad": ("x", "before:dims after:dims value:float", "MOVE", "exact"),
    "gather": ("x idx", "axis:int", "GATHER", "exact"),
    "embedding": ("table ids", "", "GATHER", "exact"),
    "iota": ("", "n:dim dtype:dtype", "MOVE", "exact"),
    "one_hot": ("ids", "n:dim dtype:dtype", "MOVE", "exact"),
    "uniform": ("key", "shape:dims low:float high:float dtype:dtype stream:int", "RANDOM", "ulp4"),
    "normal": ("key", "shape:dims mean:float std:float dtype:dtype stream:int", "RANDOM", "ulp16"),
    "randint": ("key", "shape:dims low:int high:int dtype:dtype stream:int", "RANDOM", "exact"),
    "fft": ("x", "axis:int", "NONE", "sum"),
    "ifft": ("x", "axis:int", "NONE", "sum"),
}


def neg(x):
    """-x; flips the sign of a zero and of NaN.

    The result has the operands' broadcast shape and type. Element types: f32 f64 f16 bf16 int64 int32. Error of
    compiled code: exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("neg", (x,), ())


def abs(x):
    """|x|; the smallest integer stays itself.

    The result has the operands' broadcast shape and type. Element types: f32 f64 f16 bf16 int64 int32. Error of
    compiled code: exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("abs", (x,), ())


def add(a, b):
    """a + b.

    Broadcasts: trailing axes align and only a literal size of 1 stretches. The result has the operands' broadcast
    shape and type. Element types: f32 f64 f16 bf16 int64 int32. Error of compiled code: rounded.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("add", (a, b), ())


def sub(a, b):
    """a - b.

    Broadcasts: trailing axes align and only a literal size of 1 stretches. The result has the operands' broadcast
    shape and type. Element types: f32 f64 f16 bf16 int64 int32. Error of compiled code: rounded.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("sub", (a, b), ())


def mul(a, b):
    """a * b.

    Broadcasts: trailing axes align and only a literal size of 1 stretches. The result has the operands' broadcast
    shape and type. Element types: f32 f64 f16 bf16 int64 int32. Error of compiled code: rounded.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("mul", (a, b), ())


def div(a, b):
    """a / b of floats; for integers see floordiv.

    Broadcasts: trailing axes align and only a literal size of 1 stretches. The result has the operands' broadcast
    shape and type. Element types: f32 f64 f16 bf16. Error of compiled code: rounded.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("div", (a, b), ())


def floordiv(a, b):
    """the quotient of integers rounded down; 0 where b is 0; the smallest integer by -1 wraps to itself.

    Broadcasts: trailing axes align and only a literal size of 1 stretches. The result has the operands' broadcast
    shape and type. Element types: int64 int32. Error of compiled code: exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("floordiv", (a, b), ())


def mod(a, b):
    """a - b*floordiv(a, b), with the sign of b; 0 where b is 0.

    Broadcasts: trailing axes align and only a literal size of 1 stretches. The result has the operands' broadcast
    shape and type. Element types: int64 int32. Error of compiled code: exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("mod", (a, b), ())


def pow(a, b):
    """a to the power b as C's pow: a**0 is 1 and 1**b is 1 also for NaN, a negative a with a fractional b gives NaN.

    Broadcasts: trailing axes align and only a literal size of 1 stretches. The result has the operands' broadcast
    shape and type. Element types: f32 f64 f16 bf16. Error of compiled code: ulp16.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("pow", (a, b), ())


def minimum(a, b):
    """the smaller of a and b, NaN if either is; of two zeros either sign.

    Broadcasts: trailing axes align and only a literal size of 1 stretches. The result has the operands' broadcast
    shape and type. Element types: f32 f64 f16 bf16 int64 int32. Error of compiled code: exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("minimum", (a, b), ())


def maximum(a, b):
    """the larger of a and b, NaN if either is; of two zeros either sign.

    Broadcasts: trailing axes align and only a literal size of 1 stretches. The result has the operands' broadcast
    shape and type. Element types: f32 f64 f16 bf16 int64 int32. Error of compiled code: exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("maximum", (a, b), ())


def clamp(x, lo, hi):
    """minimum(maximum(x, lo), hi).

    Broadcasts: trailing axes align and only a literal size of 1 stretches. The result has the operands' broadcast
    shape and type. Element types: f32 f64 f16 bf16 int64 int32. Error of compiled code: exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("clamp", (x, lo, hi), ())


def floor(x):
    """the largest whole number not above x.

    The result has the operands' broadcast shape and type. Element types: f32 f64 f16 bf16. Error of compiled code:
    exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("floor", (x,), ())


def ceil(x):
    """the smallest whole number not below x.

    The result has the operands' broadcast shape and type. Element types: f32 f64 f16 bf16. Error of compiled code:
    exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("ceil", (x,), ())


def round(x):
    """the nearest whole number, halves to the even one.

    The result has the operands' broadcast shape and type. Element types: f32 f64 f16 bf16. Error of compiled code:
    exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("round", (x,), ())


def eq(a, b):
    """a == b as bool; false for NaN.

    Broadcasts: trailing axes align and only a literal size of 1 stretches. The result is bool, of the operands'
    broadcast shape. Element types: f32 f64 f16 bf16 int64 int32 bool. Error of compiled code: exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("eq", (a, b), ())


def ne(a, b):
    """a != b as bool; true for NaN.

    Broadcasts: trailing axes align and only a literal size of 1 stretches. The result is bool, of the operands'
    broadcast shape. Element types: f32 f64 f16 bf16 int64 int32 bool. Error of compiled code: exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("ne", (a, b), ())


def lt(a, b):
    """a < b as bool; false for NaN.

    Broadcasts: trailing axes align and only a literal size of 1 stretches. The result is bool, of the operands'
    broadcast shape. Element types: f32 f64 f16 bf16 int64 int32. Error of compiled code: exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("lt", (a, b), ())


def le(a, b):
    """a <= b as bool; false for NaN.

    Broadcasts: trailing axes align and only a literal size of 1 stretches. The result is bool, of the operands'
    broadcast shape. Element types: f32 f64 f16 bf16 int64 int32. Error of compiled code: exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("le", (a, b), ())


def gt(a, b):
    """a > b as bool; false for NaN.

    Broadcasts: trailing axes align and only a literal size of 1 stretches. The result is bool, of the operands'
    broadcast shape. Element types: f32 f64 f16 bf16 int64 int32. Error of compiled code: exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("gt", (a, b), ())


def ge(a, b):
    """a >= b as bool; false for NaN.

    Broadcasts: trailing axes align and only a literal size of 1 stretches. The result is bool, of the operands'
    broadcast shape. Element types: f32 f64 f16 bf16 int64 int32. Error of compiled code: exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("ge", (a, b), ())


def and_(a, b):
    """both.

    Broadcasts: trailing axes align and only a literal size of 1 stretches. The result has the operands' broadcast
    shape and type. Element types: bool. Error of compiled code: exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("and", (a, b), ())


def or_(a, b):
    """either.

    Broadcasts: trailing axes align and only a literal size of 1 stretches. The result has the operands' broadcast
    shape and type. Element types: bool. Error of compiled code: exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("or", (a, b), ())


def not_(a):
    """true where a is false.

    The result has the operands' broadcast shape and type. Element types: bool. Error of compiled code: exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("not", (a,), ())


def where(c, a, b):
    """a where c (bool) is true, else b.

    Broadcasts: trailing axes align and only a literal size of 1 stretches. The result has the broadcast shape, and
    the type of a and b. Element types: f32 f64 f16 bf16 int64 int32 bool. Error of compiled code: exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("where", (c, a, b), ())


def cast(x, dtype):
    """x in another element type: floats round to nearest even (past the largest: infinity, or the largest where the
    type has none); to integers toward zero, saturating, NaN gives 0; to bool x != 0; complex64 takes floats and
    gives nothing else.

    The result has x's shape. Element types: any. Error of compiled code: rounded.

    Args:
        x: a tensor.
        dtype: an element type (must be given).

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("cast", (x,), (("dtype", dtype),))


def exp(x):
    """e to the x.

    The result has the operands' broadcast shape and type. Element types: f32 f64 f16 bf16. Error of compiled code:
    ulp4.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("exp", (x,), ())


def log(x):
    """the natural logarithm; -inf at 0, NaN below.

    The result has the operands' broadcast shape and type. Element types: f32 f64 f16 bf16. Error of compiled code:
    ulp4.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("log", (x,), ())


def sqrt(x):
    """the square root; NaN below 0, -0 at -0.

    The result has the operands' broadcast shape and type. Element types: f32 f64 f16 bf16. Error of compiled code:
    rounded.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("sqrt", (x,), ())


def rsqrt(x):
    """1 / sqrt(x).

    The result has the operands' broadcast shape and type. Element types: f32 f64 f16 bf16. Error of compiled code:
    ulp4.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("rsqrt", (x,), ())


def tanh(x):
    """the hyperbolic tangent.

    The result has the operands' broadcast shape and type. Element types: f32 f64 f16 bf16. Error of compiled code:
    ulp4.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("tanh", (x,), ())


def erf(x):
    """the error function.

    The result has the operands' broadcast shape and type. Element types: f32 f64 f16 bf16. Error of compiled code:
    ulp4.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("erf", (x,), ())


def sin(x):
    """the sine of x radians; NaN at infinities.

    The result has the operands' broadcast shape and type. Element types: f32 f64 f16 bf16. Error of compiled code:
    ulp4.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("sin", (x,), ())


def cos(x):
    """the cosine of x radians; NaN at infinities.

    The result has the operands' broadcast shape and type. Element types: f32 f64 f16 bf16. Error of compiled code:
    ulp4.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("cos", (x,), ())


def sigmoid(x):
    """1 / (1 + exp(-x)).

    The result has the operands' broadcast shape and type. Element types: f32 f64 f16 bf16. Error of compiled code:
    ulp4.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("sigmoid", (x,), ())


def relu(x):
    """maximum(x, 0).

    The result has the operands' broadcast shape and type. Element types: f32 f64 f16 bf16 int64 int32. Error of
    compiled code: exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("relu", (x,), ())


def gelu(x, approximate="tanh"):
    """none: x/2 * (1 + erf(x/sqrt(2))); tanh: x/2 * (1 + tanh(0.7978845608028654 * (x + 0.044715*x**3))); NaN at -inf.

    The result has the operands' broadcast shape and type. Element types: f32 f64 f16 bf16. Error of compiled code:
    ulp16.

    Args:
        x: a tensor.
        approximate: one of 'none', 'tanh'; "tanh" if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("gelu", (x,), (("approximate", approximate),))


def silu(x):
    """x * sigmoid(x); NaN at -inf.

    The result has the operands' broadcast shape and type. Element types: f32 f64 f16 bf16. Error of compiled code:
    ulp8.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("silu", (x,), ())


def matmul(a, b, out=None):
    """sum over k of a[..., i, k] * b[..., k, j]; leading axes broadcast; operand types may differ; the result has the
    type out, by default a's; integers alone accumulate in int32 (int64 if one operand is), all else in f32 (f64 if
    one operand is).

    Broadcasts: trailing axes align and only a literal size of 1 stretches. a[..., M, K] and b[..., K, N] give [...,
    M, N]. Element types: f32 f64 f16 bf16 int64 int32; storage types. Error of compiled code: sum.

    Args:
        a: a tensor.
        b: a tensor.
        out: an element type; None if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("matmul", (a, b), (("out", out),))


def attention(q, k, v, mask=None, bias=None, q_offset=None, factor=None, scale=None, causal=False, window=None):
    """softmax(factor * scale * q @ k^T + bias) @ v on q[B, H, S, D], k[B, G, T, D], v[B, G, T, E], where H is a
    multiple of G and head h reads h // (H // G); scale is 1/sqrt(D) if none; factor is one number (1 if absent), of
    q's type or f32; column j counts for row i where mask (bool) holds, with causal where j <= i + q_offset, with a
    window where j > i + q_offset - window; mask and bias broadcast to [B, H, S, T]; a row in which nothing counts,
    or only -inf, is 0 (or NaN where q and k alone make every score -inf); where a column that does not count has a
    NaN or an infinity in v, what it meets in the row is either NaN or what the other columns give.

    The result is [B, H, S, E], of q's type. Element types: f32 f64 f16 bf16. Error of compiled code: row.

    Args:
        q: a tensor.
        k: a tensor.
        v: a tensor.
        mask: a tensor, or None.
        bias: a tensor, or None.
        q_offset: a tensor, or None.
        factor: a tensor, or None.
        scale: a number; None if not given.
        causal: true or false; False if not given.
        window: an int; None if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("attention", (q, k, v, mask, bias, q_offset, factor), (("scale", scale), ("causal", causal), ("window", window)))


def sum(x, axis=None, keepdims=False, *, dim=None):
    """the sum over the axes (all, if none); 0 of nothing.

    The result lacks the axes, or has them with size 1 if keepdims. Element types: f32 f64 f16 bf16 int64 int32.
    Error of compiled code: sum.

    Args:
        x: a tensor.
        axis: an axis or several; ``dim`` is another name; None if not given.
        keepdims: true or false; False if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("sum", (x,), (("axis", axis_of(axis, dim)), ("keepdims", keepdims)))


def mean(x, axis=None, keepdims=False, *, dim=None):
    """the sum over the axes by their count; NaN of nothing.

    The result lacks the axes, or has them with size 1 if keepdims. Element types: f32 f64 f16 bf16. Error of
    compiled code: sum.

    Args:
        x: a tensor.
        axis: an axis or several; ``dim`` is another name; None if not given.
        keepdims: true or false; False if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("mean", (x,), (("axis", axis_of(axis, dim)), ("keepdims", keepdims)))


def max(x, axis=None, keepdims=False, *, dim=None):
    """the largest over the axes, NaN if any is; of nothing -inf or the smallest integer.

    The result lacks the axes, or has them with size 1 if keepdims. Element types: f32 f64 f16 bf16 int64 int32.
    Error of compiled code: exact.

    Args:
        x: a tensor.
        axis: an axis or several; ``dim`` is another name; None if not given.
        keepdims: true or false; False if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("max", (x,), (("axis", axis_of(axis, dim)), ("keepdims", keepdims)))


def min(x, axis=None, keepdims=False, *, dim=None):
    """the smallest over the axes, NaN if any is; of nothing inf or the largest integer.

    The result lacks the axes, or has them with size 1 if keepdims. Element types: f32 f64 f16 bf16 int64 int32.
    Error of compiled code: exact.

    Args:
        x: a tensor.
        axis: an axis or several; ``dim`` is another name; None if not given.
        keepdims: true or false; False if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("min", (x,), (("axis", axis_of(axis, dim)), ("keepdims", keepdims)))


def argmax(x, axis=None, keepdims=False, *, dim=None):
    """where the largest is, as int64: the lowest index of several, the first NaN if there is one, 0 of nothing; over
    several axes the index counts them row by row.

    The result is int64 and lacks the axes. Element types: f32 f64 f16 bf16 int64 int32. Error of compiled code:
    exact.

    Args:
        x: a tensor.
        axis: an axis or several; ``dim`` is another name; None if not given.
        keepdims: true or false; False if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("argmax", (x,), (("axis", axis_of(axis, dim)), ("keepdims", keepdims)))


def softmax(x, axis=None, *, dim=None):
    """exp(x - m) / sum(exp(x - m)) over the axes with m their largest; NaN where all are -inf.

    The result has x's shape and type. Element types: f32 f64 f16 bf16. Error of compiled code: row.

    Args:
        x: a tensor.
        axis: an axis or several; ``dim`` is another name; -1 if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("softmax", (x,), (("axis", axis_of(axis, dim, -1)),))


def layer_norm(x, gamma=None, beta=None, eps=1e-05):
    """(x - mean) / sqrt(variance + eps) * gamma + beta over the last axis, with the biased variance.

    The result has x's shape and type. Element types: f32 f64 f16 bf16. Error of compiled code: row.

    Args:
        x: a tensor.
        gamma: a tensor, or None.
        beta: a tensor, or None.
        eps: a number; 1e-05 if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("layer_norm", (x, gamma, beta), (("eps", eps),))


def rms_norm(x, gamma=None, eps=1e-05):
    """x / sqrt(mean(x*x) + eps) * gamma over the last axis.

    The result has x's shape and type. Element types: f32 f64 f16 bf16. Error of compiled code: row.

    Args:
        x: a tensor.
        gamma: a tensor, or None.
        eps: a number; 1e-05 if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("rms_norm", (x, gamma), (("eps", eps),))


def reshape(x, shape):
    """the same elements in row order under another shape; one size may be -1.

    The result has the shape given. Element types: any. Error of compiled code: exact.

    Args:
        x: a tensor.
        shape: a list of sizes (must be given).

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("reshape", (x,), (("shape", shape),))


def transpose(x, perm=None):
    """axis i of the result is axis perm[i] of x; without perm the last two axes change places.

    Sizes change places with their axes. Element types: any. Error of compiled code: exact.

    Args:
        x: a tensor.
        perm: ints, one for each axis; None if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("transpose", (x,), (("perm", perm),))


def broadcast(x, shape):
    """x repeated along new leading axes and axes of size 1.

    The result has the shape given. Element types: any. Error of compiled code: exact.

    Args:
        x: a tensor.
        shape: a list of sizes (must be given).

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("broadcast", (x,), (("shape", shape),))


def slice(x, start, stop, step=None):
    """start, start + step, ... below stop, for each axis; negative literals count from the end; nothing is clamped.

    Axis i has (stop[i] - start[i] + step[i] - 1) // step[i] elements. Element types: any. Error of compiled code:
    exact.

    Args:
        x: a tensor.
        start: a list of sizes (must be given).
        stop: a list of sizes (must be given).
        step: ints, one for each axis; None if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("slice", (x,), (("start", start), ("stop", stop), ("step", step)))


def split(x, n, axis=None, *, dim=None):
    """n equal parts along the axis, as n results.

    A tuple of n results, each with size // n elements on the axis. Element types: any. Error of compiled code:
    exact.

    Args:
        x: a tensor.
        n: an int (must be given).
        axis: an int; ``dim`` is another name; -1 if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("split", (x,), (("n", n), ("axis", axis_of(axis, dim, -1))))


def concat(xs, axis=None, *, dim=None):
    """the operands one after the other along the axis.

    Sizes add up along the axis and agree on the others. Element types: any. Error of compiled code: exact.

    Args:
        xs: a list of tensors.
        axis: an int; ``dim`` is another name; 0 if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("concat", tuple(xs), (("axis", axis_of(axis, dim, 0)),))


def pad(x, before, after, value=0.0):
    """x with value around it: before[i] and after[i] elements on axis i.

    Axis i has before[i] + size + after[i] elements. Element types: any. Error of compiled code: exact.

    Args:
        x: a tensor.
        before: a list of sizes (must be given).
        after: a list of sizes (must be given).
        value: a number; 0.0 if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("pad", (x,), (("before", before), ("after", after), ("value", value)))


def gather(x, idx, axis=None, *, dim=None):
    """slices of x along the axis by the integers in idx, whose axes take the axis's place; an index outside 0 <= i <
    size gives zeros.

    The axis of x gives way to the axes of idx. Element types: any. Error of compiled code: exact.

    Args:
        x: a tensor.
        idx: a tensor.
        axis: an int; ``dim`` is another name; 0 if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("gather", (x, idx), (("axis", axis_of(axis, dim, 0)),))


def embedding(table, ids):
    """gather(table, ids, axis = 0) of a matrix: row ids[...] for each id.

    [V, D] and ids[...] give [..., D]. Element types: any. Error of compiled code: exact.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("embedding", (table, ids), ())


def iota(n, dtype="int64"):
    """0, 1, ... n - 1.

    The result is [n]. Element types: f32 f64 f16 bf16 int64 int32. Error of compiled code: exact.

    Args:
        n: a size (must be given).
        dtype: an element type; "int64" if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("iota", (), (("n", n), ("dtype", dtype)))


def one_hot(ids, n, dtype="f32"):
    """1 at position ids[...] of a new last axis of size n, else 0; an id outside it gives zeros.

    ids[...] gives [..., n]. Element types: int64 int32. Error of compiled code: exact.

    Args:
        ids: a tensor.
        n: a size (must be given).
        dtype: an element type; "f32" if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("one_hot", (ids,), (("n", n), ("dtype", dtype)))


def uniform(key, shape, low=0.0, high=1.0, dtype="f32", stream=None):
    """low + u*(high - low) with u even on 0 <= u < 1.

    The result has the shape given. Element types: int64 int32. Error of compiled code: ulp4.

    Args:
        key: a tensor.
        shape: a list of sizes (must be given).
        low: a number; 0.0 if not given.
        high: a number; 1.0 if not given.
        dtype: an element type; "f32" if not given.
        stream: an int; None if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("uniform", (key,), (("shape", shape), ("low", low), ("high", high), ("dtype", dtype), ("stream", stream)))


def normal(key, shape, mean=0.0, std=1.0, dtype="f32", stream=None):
    """mean + z*std with z of the standard normal distribution (Box-Muller).

    The result has the shape given. Element types: int64 int32. Error of compiled code: ulp16.

    Args:
        key: a tensor.
        shape: a list of sizes (must be given).
        mean: a number; 0.0 if not given.
        std: a number; 1.0 if not given.
        dtype: an element type; "f32" if not given.
        stream: an int; None if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("normal", (key,), (("shape", shape), ("mean", mean), ("std", std), ("dtype", dtype), ("stream", stream)))


def randint(key, shape, low, high, dtype="int64", stream=None):
    """integers even on low <= x < high, at most 2**31 different ones.

    The result has the shape given. Element types: int64 int32. Error of compiled code: exact.

    Args:
        key: a tensor.
        shape: a list of sizes (must be given).
        low: an int (must be given).
        high: an int (must be given).
        dtype: an element type; "int64" if not given.
        stream: an int; None if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("randint", (key,), (("shape", shape), ("low", low), ("high", high), ("dtype", dtype), ("stream", stream)))


def fft(x, axis=None, *, dim=None):
    """the discrete Fourier transform along the axis: sum over j of x[j] * exp(-2 pi i j k / n).

    The result has x's shape and type. Element types: complex64. Error of compiled code: sum.

    Args:
        x: a tensor.
        axis: an int; ``dim`` is another name; -1 if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("fft", (x,), (("axis", axis_of(axis, dim, -1)),))


def ifft(x, axis=None, *, dim=None):
    """its inverse: sum over k of x[k] * exp(2 pi i j k / n), divided by n.

    The result has x's shape and type. Element types: complex64. Error of compiled code: sum.

    Args:
        x: a tensor.
        axis: an int; ``dim`` is another name; -1 if not given.

    Raises:
        TypeError: an operand is no tensor, or of an element type that is not listed.
        ValueError: ranks, axes or sizes that do not fit.
    """
    return apply("ifft", (x,), (("axis", axis_of(axis, dim, -1)),))


class OpMethods:
    """Every operator whose first operand is a tensor, as a method: ``x.exp()`` is ``exp(x)``."""

    __slots__ = ()

    def neg(self):
        """The operator ``neg`` on this tensor."""
        return apply("neg", (self,), ())

    def abs(self):
        """The operator ``abs`` on this tensor."""
        return apply("abs", (self,), ())

    def add(self, b):
        """The operator ``add`` on this tensor."""
        return apply("add", (self, b), ())

    def sub(self, b):
        """The operator ``sub`` on this tensor."""
        return apply("sub", (self, b), ())

    def mul(self, b):
        """The operator ``mul`` on this tensor."""
        return apply("mul", (self, b), ())

    def div(self, b):
        """The operator ``div`` on this tensor."""
        return apply("div", (self, b), ())

    def floordiv(self, b):
        """The operator ``floordiv`` on this tensor."""
        return apply("floordiv", (self, b), ())

    def mod(self, b):
        """The operator ``mod`` on this tensor."""
        return apply("mod", (self, b), ())

    def pow(self, b):
        """The operator ``pow`` on this tensor."""
        return apply("pow", (self, b), ())

    def minimum(self, b):
        """The operator ``minimum`` on this tensor."""
        return apply("minimum", (self, b), ())

    def maximum(self, b):
        """The operator ``maximum`` on this tensor."""
        return apply("maximum", (self, b), ())

    def clamp(self, lo, hi):
        """The operator ``clamp`` on this tensor."""
        return apply("clamp", (self, lo, hi), ())

    def floor(self):
        """The operator ``floor`` on this tensor."""
        return apply("floor", (self,), ())

    def ceil(self):
        """The operator ``ceil`` on this tensor."""
        return apply("ceil", (self,), ())

    def round(self):
        """The operator ``round`` on this tensor."""
        return apply("round", (self,), ())

    def eq(self, b):
        """The operator ``eq`` on this tensor."""
        return apply("eq", (self, b), ())

    def ne(self, b):
        """The operator ``ne`` on this tensor."""
        return apply("ne", (self, b), ())

    def lt(self, b):
        """The operator ``lt`` on this tensor."""
        return apply("lt", (self, b), ())

    def le(self, b):
        """The operator ``le`` on this tensor."""
        return apply("le", (self, b), ())

    def gt(self, b):
        """The operator ``gt`` on this tensor."""
        return apply("gt", (self, b), ())

    def ge(self, b):
        """The operator ``ge`` on this tensor."""
        return apply("ge", (self, b), ())

    def and_(self, b):
        """The operator ``and_`` on this tensor."""
        return apply("and", (self, b), ())

    def or_(self, b):
        """The operator ``or_`` on this tensor."""
        return apply("or", (self, b), ())

    def not_(self):
        """The operator ``not_`` on this tensor."""
        return apply("not", (self,), ())

    def where(self, a, b):
        """The operator ``where`` on this tensor."""
        return apply("where", (self, a, b), ())

    def cast(self, dtype):
        """The operator ``cast`` on this tensor."""
        return apply("cast", (self,), (("dtype", dtype),))

    def exp(self):
        """The operator ``exp`` on this tensor."""
        return apply("exp", (self,), ())

    def log(self):
        """The operator ``log`` on this tensor."""
        return apply("log", (self,), ())

    def sqrt(self):
        """The operator ``sqrt`` on this tensor."""
        return apply("sqrt", (self,), ())

    def rsqrt(self):
        """The operator ``rsqrt`` on this tensor."""
        return apply("rsqrt", (self,), ())

    def tanh(self):
        """The operator ``tanh`` on this tensor."""
        return apply("tanh", (self,), ())

    def erf(self):
        """The operator ``erf`` on this tensor."""
        return apply("erf", (self,), ())

    def sin(self):
        """The operator ``sin`` on this tensor."""
        return apply("sin", (self,), ())

    def cos(self):
        """The operator ``cos`` on this tensor."""
        return apply("cos", (self,), ())

    def sigmoid(self):
        """The operator ``sigmoid`` on this tensor."""
        return apply("sigmoid", (self,), ())

    def relu(self):
        """The operator ``relu`` on this tensor."""
        return apply("relu", (self,), ())

    def gelu(self, approximate="tanh"):
        """The operator ``gelu`` on this tensor."""
        return apply("gelu", (self,), (("approximate", approximate),))

    def silu(self):
        """The operator ``silu`` on this tensor."""
        return apply("silu", (self,), ())

    def matmul(self, b, out=None):
        """The operator ``matmul`` on this tensor."""
        return apply("matmul", (self, b), (("out", out),))

    def attention(self, k, v, mask=None, bias=None, q_offset=None, factor=None, scale=None, causal=False, window=None):
        """The operator ``attention`` on this tensor."""
        return apply("attention", (self, k, v, mask, bias, q_offset, factor), (("scale", scale), ("causal", causal), ("window", window)))

    def sum(self, axis=None, keepdims=False, *, dim=None, dtype=None, out=None):
        """The operator ``sum`` on this tensor."""
        no_numpy("sum", dtype, out)
        return apply("sum", (self,), (("axis", axis_of(axis, dim)), ("keepdims", keepdims)))

    def mean(self, axis=None, keepdims=False, *, dim=None, dtype=None, out=None):
        """The operator ``mean`` on this tensor."""
        no_numpy("mean", dtype, out)
        return apply("mean", (self,), (("axis", axis_of(axis, dim)), ("keepdims", keepdims)))

    def max(self, axis=None, keepdims=False, *, dim=None, dtype=None, out=None):
        """The operator ``max`` on this tensor."""
        no_numpy("max", dtype, out)
        return apply("max", (self,), (("axis", axis_of(axis, dim)), ("keepdims", keepdims)))

    def min(self, axis=None, keepdims=False, *, dim=None, dtype=None, out=None):
        """The operator ``min`` on this tensor."""
        no_numpy("min", dtype, out)
        return apply("min", (self,), (("axis", axis_of(axis, dim)), ("keepdims", keepdims)))

    def argmax(self, axis=None, keepdims=False, *, dim=None, dtype=None, out=None):
        """The operator ``argmax`` on this tensor."""
        no_numpy("argmax", dtype, out)
        return apply("argmax", (self,), (("axis", axis_of(axis, dim)), ("keepdims", keepdims)))

    def softmax(self, axis=None, *, dim=None):
        """The operator ``softmax`` on this tensor."""
        return apply("softmax", (self,), (("axis", axis_of(axis, dim, -1)),))

    def layer_norm(self, gamma=None, beta=None, eps=1e-05):
        """The operator ``layer_norm`` on this tensor."""
        return apply("layer_norm", (self, gamma, beta), (("eps", eps),))

    def rms_norm(self, gamma=None, eps=1e-05):
        """The operator ``rms_norm`` on this tensor."""
        return apply("rms_norm", (self, gamma), (("eps", eps),))

    def reshape(self, shape):
        """The operator ``reshape`` on this tensor."""
        return apply("reshape", (self,), (("shape", shape),))

    def transpose(self, perm=None):
        """The operator ``transpose`` on this tensor."""
        return apply("transpose", (self,), (("perm", perm),))

    def broadcast(self, shape):
        """The operator ``broadcast`` on this tensor."""
        return apply("broadcast", (self,), (("shape", shape),))

    def slice(self, start, stop, step=None):
        """The operator ``slice`` on this tensor."""
        return apply("slice", (self,), (("start", start), ("stop", stop), ("step", step)))

    def split(self, n, axis=None, *, dim=None):
        """The operator ``split`` on this tensor."""
        return apply("split", (self,), (("n", n), ("axis", axis_of(axis, dim, -1))))

    def pad(self, before, after, value=0.0):
        """The operator ``pad`` on this tensor."""
        return apply("pad", (self,), (("before", before), ("after", after), ("value", value)))

    def gather(self, idx, axis=None, *, dim=None):
        """The operator ``gather`` on this tensor."""
        return apply("gather", (self, idx), (("axis", axis_of(axis, dim, 0)),))

    def embedding(self, ids):
        """The operator ``embedding`` on this tensor."""
        return apply("embedding", (self, ids), ())

    def one_hot(self, n, dtype="f32"):
        """The operator ``one_hot`` on this tensor."""
        return apply("one_hot", (self,), (("n", n), ("dtype", dtype)))

    def uniform(self, shape, low=0.0, high=1.0, dtype="f32", stream=None):
        """The operator ``uniform`` on this tensor."""
        return apply("uniform", (self,), (("shape", shape), ("low", low), ("high", high), ("dtype", dtype), ("stream", stream)))

    def normal(self, shape, mean=0.0, std=1.0, dtype="f32", stream=None):
        """The operator ``normal`` on this tensor."""
        return apply("normal", (self,), (("shape", shape), ("mean", mean), ("std", std), ("dtype", dtype), ("stream", stream)))

    def randint(self, shape, low, high, dtype="int64", stream=None):
        """The operator ``randint`` on this tensor."""
        return apply("randint", (self,), (("shape", shape), ("low", low), ("high", high), ("dtype", dtype), ("stream", stream)))

    def fft(self, axis=None, *, dim=None):
        """The operator ``fft`` on this tensor."""
        return apply("fft", (self,), (("axis", axis_of(axis, dim, -1)),))

    def ifft(self, axis=None, *, dim=None):
        """The operator ``ifft`` on this tensor."""
        return apply("ifft", (self,), (("axis", axis_of(axis, dim, -1)),))
