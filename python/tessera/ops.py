"""All operators: those of the compiler's table (generated), and functions made of them. ``tessera.op`` is this module.

Every function takes tensors of this package, of NumPy, PyTorch or JAX, Python numbers, and symbolic values of a graph.
With a symbolic value, or inside a function that is being traced, it adds to the graph; else it runs at once, where the
tensors lie, and gives a tensor of the kind it was given.
"""

from __future__ import annotations

import builtins
import functools
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from . import _core, _ops
from ._apply import apply, axis_of, has_symbolic, tracing, view, ways
from ._ops import *  # noqa: F403
from ._ops import (
    abs,
    add,
    concat,
    div,
    eq,
    exp,
    iota,
    log,
    lt,
    matmul,
    max,
    mean,
    mul,
    ne,
    slice,
    sqrt,
    sub,
    sum,
    where,
)
from ._types import Array, Axes, DTypeLike, Operand, Ours, Size, Sizes, T
from .errors import GraphTypeError, GraphValueError, NotInRelease
from .interop import is_numpy_number
from .methods import index_plan, sizes_of
from .tree import is_tensor
from .views import axis_in, index_view

if TYPE_CHECKING:
    from .mlp import MLP
    from .numeric import NumericPolicy
    from .tensor import Tensor
    from .trace import Value

__all__: list[str] = []
__all__ += _ops.__all__
__all__ += [
    "addmm",
    "arange",
    "bmm",
    "broadcast_to",
    "cat",
    "cross_entropy",
    "dropout",
    "flash_attention",
    "flash_attn",
    "flatten",
    "full",
    "getitem",
    "linear",
    "log_softmax",
    "logsumexp",
    "mlp",
    "mm",
    "numeric",
    "ones",
    "placeholder",
    "power",
    "register",
    "silu_mul",
    "sine",
    "square",
    "squeeze",
    "stack",
    "std",
    "tensor",
    "transformer_layer",
    "transformer_stack",
    "unsqueeze",
    "var",
    "zeros",
]
# Those that the package itself has not, or has from elsewhere.
OWN_NAMES = ("mlp", "numeric", "placeholder", "randint", "register", "tensor")

F = TypeVar("F", bound=Callable[..., Any])


def composite(fn: F, static: bool = False) -> F:
    """fn is made of operators: on data it runs as one graph, compiled once for each pattern of types and sizes; with
    ``static`` for the very sizes.
    """

    what = f"{fn.__module__}.{fn.__qualname__}"

    @functools.wraps(fn)
    def run(*args: Any, **kwargs: Any) -> Any:
        if not tracing.busy:
            out = ways.run_function(what, args, kwargs)
            if out is not NotImplemented:
                return out
        if tracing.depth or has_symbolic(args) or has_symbolic(kwargs.values()):
            return fn(*args, **kwargs)
        from . import eager

        return eager.run(fn, args, kwargs, static, what)

    return run  # type: ignore[return-value]


def known_sizes(fn: F) -> F:
    """A composite of models, whose weights have one size each; known sizes make better code."""
    return composite(fn, True)


def _rank(x: Any) -> int:
    return len(x.shape)


# ---- shape ----


@overload
def reshape(x: Ours, *shape: Sizes) -> Ours: ...
@overload
def reshape(x: Array, *shape: Sizes) -> Any: ...
def reshape(x: Any, *shape: Any) -> Any:
    """The same elements in row order under another shape; one size may be -1. A view where strides can say it.

    Raises:
        ValueError: the element counts differ.
    """
    return view("reshape", x, shape=tuple(sizes_of(shape)))


def transpose(x: T, *axes: Axes, perm: Sequence[int] | None = None) -> T:
    """Axes change places; a view.

    Without axes the last two change places; ``transpose(x, 1, 2)`` lets axes 1 and 2 change places; a list, or
    ``perm``, is the new order of all axes.

    Raises:
        ValueError: an axis that x does not have, or a list that is no order of its axes.
    """
    if perm is None and len(axes) == 2 and all(hasattr(a, "__index__") for a in axes):
        rank = _rank(x)
        pair: list[Any] = [*axes]
        for a in pair:
            if not -rank <= a < rank:
                raise GraphValueError(f"transpose: axis {a} of a tensor of rank {rank}", "E_AXIS")
        order = list(range(rank))
        a, b = pair[0] % rank, pair[1] % rank
        order[a], order[b] = order[b], order[a]
        perm = order
    elif perm is None and axes:
        perm = sizes_of(axes)
    return view("transpose", x, perm=None if perm is None else tuple(perm))


def split(
    x: T,
    n: int | Sequence[int] | None = None,
    axis: int | None = None,
    *,
    dim: int | None = None,
    sections: int | Sequence[int] | None = None,
) -> tuple[T, ...]:
    """Equal parts along an axis (the last one, if none is named), or parts of the sizes listed, as a tuple of views.

    Args:
        x: a tensor.
        n: how many parts, or the size of each; ``sections`` is another name.
        axis: which axis; ``dim`` is another name.

    Raises:
        ValueError: the axis is no multiple of the number of parts, or the sizes listed do not add up to it.
    """
    n = sections if n is None else n
    axis = axis_of(axis, dim, -1)
    if n is None:
        raise GraphTypeError("split: how many parts? split(x, sections=3, dim=-1)", "E_ARGUMENTS")
    if hasattr(n, "__index__"):
        return view("split", x, n=n, axis=axis)  # type: ignore[no-any-return]
    rank = _rank(x)
    axis = axis_in(axis, rank, "split")
    sizes = [_part(size) for size in n]
    start: Any = 0
    parts = []
    for size in sizes:
        index: list[Any] = [builtins.slice(None)] * rank
        index[axis] = builtins.slice(start, start + size)
        parts.append(tuple(index))
        start = start + size
    rest = x.shape[axis] - start
    if isinstance(rest, int) and rest != 0:  # else it is a size that the sizes of a call decide
        raise GraphValueError(
            f"split: axis {axis} has {x.shape[axis]}, and the parts {tuple(sizes)} add up to {start}",
            "E_SHAPE_MISMATCH",
        )
    return tuple([getitem(x, index) for index in parts])


def _part(size: Any) -> Any:
    """The size of a part of ``split``."""
    if not isinstance(size, _core.Dim):
        try:
            size = operator.index(size)
        except TypeError:
            raise GraphTypeError(f"split: a part has a size, not {type(size).__name__}", "E_ATTR") from None
        if size < 0:
            raise GraphValueError(f"split: a part of size {size}", "E_SIZE")
    return size


@overload
def getitem(x: Ours, index: Any) -> Ours: ...
@overload
def getitem(x: Array, index: Any) -> Any: ...
def getitem(x: Any, index: Any) -> Any:
    """``x[index]``: ints, slices, None and ``...``; a view."""
    if not tracing.depth and isinstance(x, _core.TensorBase):
        made = index_view(x, index)
        if made is not None:
            return made
    start, stop, step, out = index_plan(tuple(x.shape), index)
    whole = (
        all(isinstance(a, int) and a == 0 for a in start)
        and all(map(_core.same_size, stop, x.shape))
        and all(s == 1 for s in step)
    )
    y = x if whole else slice(x, tuple(start), tuple(stop), None if all(s == 1 for s in step) else tuple(step))
    return y if len(out) == len(start) and _rank(y) == len(out) and None not in _items(index) else reshape(y, out)


def _items(index: Any) -> list[Any]:
    return [i for i in (index if isinstance(index, tuple) else (index,)) if i is None or not hasattr(i, "shape")]


@overload
def flatten(x: Ours, start: int = 0, end: int = -1) -> Ours: ...
@overload
def flatten(x: Array, start: int = 0, end: int = -1) -> Any: ...
def flatten(x: Any, start: int = 0, end: int = -1) -> Any:
    """Axes start to end become one; a tensor without axes gets one.

    Raises:
        ValueError: an axis that x does not have, or the end lies before the start.
    """
    rank = _rank(x)
    a, b = axis_in(start, rank or 1, "flatten"), axis_in(end, rank or 1, "flatten")
    if a > b:
        raise GraphValueError(f"flatten: from axis {start} to axis {end}, which lies before it", "E_AXIS")
    n: Any = 1
    for d in x.shape[a : b + 1]:
        n = n * d
    return reshape(x, (*x.shape[:a], n, *x.shape[b + 1 :]))


@overload
def squeeze(x: Ours, axis: Axes | None = None, *, dim: Axes | None = None) -> Ours: ...
@overload
def squeeze(x: Array, axis: Axes | None = None, *, dim: Axes | None = None) -> Any: ...
def squeeze(x: Any, axis: Any = None, *, dim: Any = None) -> Any:
    """Without axes of size 1, or without that one, or those.

    Raises:
        ValueError: an axis that x does not have, that is named twice, or whose size is not known to be 1.
    """
    axis = axis_of(axis, dim)
    rank = _rank(x)
    if axis is None:
        return reshape(x, tuple(d for d in x.shape if not (isinstance(d, int) and d == 1)))
    gone = [axis_in(a, rank, "squeeze") for a in (axis if isinstance(axis, (list, tuple)) else (axis,))]
    for a in gone:
        if not (isinstance(x.shape[a], int) and x.shape[a] == 1):
            raise GraphValueError(f"squeeze: axis {a} of {tuple(x.shape)} has not size 1", "E_AXIS")
    if len({*gone}) < len(gone):
        raise GraphValueError(f"squeeze: {axis} names an axis twice", "E_AXIS")
    return reshape(x, tuple(d for i, d in enumerate(x.shape) if i not in gone))


@overload
def unsqueeze(x: Ours, axis: int | None = None, *, dim: int | None = None) -> Ours: ...
@overload
def unsqueeze(x: Array, axis: int | None = None, *, dim: int | None = None) -> Any: ...
def unsqueeze(x: Any, axis: Any = None, *, dim: Any = None) -> Any:
    """With an axis of size 1 more, at that place of the result."""
    axis = axis_of(axis, dim)
    if axis is None:
        raise GraphTypeError("unsqueeze: which axis? unsqueeze(x, 0)", "E_ARGUMENTS")
    shape = list(x.shape)
    shape.insert(axis_in(axis, len(shape) + 1, "unsqueeze"), 1)
    return reshape(x, shape)


@overload
def broadcast_to(x: Ours, shape: Sequence[Size]) -> Ours: ...
@overload
def broadcast_to(x: Array, shape: Sequence[Size]) -> Any: ...
def broadcast_to(x: Any, shape: Sequence[Any]) -> Any:
    """x repeated along new leading axes and axes of size 1."""
    return view("broadcast", x, shape=tuple(shape))


def cat(xs: Sequence[T], axis: int | None = None, *, dim: int | None = None) -> T:
    """Another name of ``concat``."""
    return concat(xs, axis, dim=dim)


@overload
def stack(xs: Sequence[Ours], axis: int | None = None, *, dim: int | None = None) -> Ours: ...
@overload
def stack(xs: Sequence[Array], axis: int | None = None, *, dim: int | None = None) -> Any: ...
def stack(xs: Sequence[Any], axis: int | None = None, *, dim: int | None = None) -> Any:
    """The tensors, which have one shape, side by side along a new axis, the first if none is named."""
    axis = axis_of(axis, dim, 0)
    return concat([unsqueeze(x, axis) for x in xs], axis)


@overload
def cast(x: Ours, dtype: DTypeLike) -> Ours: ...
@overload
def cast(x: Array, dtype: DTypeLike) -> Any: ...
def cast(x: Any, dtype: Any) -> Any:
    """x in another element type; x itself where that is its own.

    Floats round to nearest even (past the largest: infinity, or the largest where the type has none); to integers
    toward zero, saturating, NaN gives 0; to bool x != 0.
    """
    from .dtypes import as_dtype

    t = as_dtype(dtype)
    if getattr(x, "dtype", None) == t and hasattr(x, "_view"):
        return x
    return apply("cast", (x,), (("dtype", t.name),))


# ---- reductions ----


@overload
def logsumexp(x: Ours, axis: Axes | None = None, keepdims: bool = False, *, dim: Axes | None = None) -> Ours: ...
@overload
def logsumexp(x: Array, axis: Axes | None = None, keepdims: bool = False, *, dim: Axes | None = None) -> Any: ...
@composite
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None) -> Any:
    """log(sum(exp(x))) over the axes (the last, if none is named), without overflow; -inf where all are -inf."""
    axis = axis_of(axis, dim, -1)
    m = max(x, axis, True)
    m = where(lt(abs(m), float("inf")), m, 0.0)  # of infinities there is no difference
    y = add(log(sum(exp(sub(x, m)), axis, True)), m)
    return y if keepdims else sum(y, axis)


def _below_largest(x: Any, axis: Any) -> tuple[Any, Any]:
    """x minus its largest over the axes, and log(sum(exp())) of that, with their sizes 1."""
    d = sub(x, max(x, axis, True))
    return d, log(sum(exp(d), axis, True))


@composite
def log_softmax(x: T, axis: Axes | None = None, *, dim: Axes | None = None) -> T:
    """x - log(sum(exp(x))) over the axes (the last, if none is named), without overflow; NaN where all are -inf, or one
    is +inf.
    """
    return sub(*_below_largest(x, axis_of(axis, dim, -1)))


@overload
def var(x: Ours, axis: Axes | None = None, keepdims: bool = False, *, dim: Axes | None = None) -> Ours: ...
@overload
def var(x: Array, axis: Axes | None = None, keepdims: bool = False, *, dim: Axes | None = None) -> Any: ...
@composite
def var(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None) -> Any:
    """The biased variance over the axes (all, if none)."""
    axis = axis_of(axis, dim)
    d = sub(x, mean(x, axis, True))
    return mean(mul(d, d), axis, keepdims)


@overload
def std(x: Ours, axis: Axes | None = None, keepdims: bool = False, *, dim: Axes | None = None) -> Ours: ...
@overload
def std(x: Array, axis: Axes | None = None, keepdims: bool = False, *, dim: Axes | None = None) -> Any: ...
@composite
def std(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None) -> Any:
    """The root of the biased variance over the axes (all, if none)."""
    return sqrt(var(x, axis_of(axis, dim), keepdims))


# ---- arithmetic ----


def square(x: T) -> T:
    """x * x."""
    return mul(x, x)


@overload
def power(a: T, b: Operand) -> T: ...
@overload
def power(a: float, b: T) -> T: ...
def power(a: Any, b: Any) -> Any:
    """a to the power b: a product where b is 1, 2 or 3, else as C's pow."""
    if isinstance(b, (int, float)) and not isinstance(b, bool) and b in (1, 2, 3) and not isinstance(a, (int, float)):
        return a if b == 1 else mul(a, a) if b == 2 else mul(mul(a, a), a)
    if isinstance(b, float) and b == 0.5:
        return sqrt(a)
    return apply("pow", (a, b), ())


def sine(x: T) -> T:
    """sin(x), the activation of SIREN."""
    return apply("sin", (x,), ())


@composite
def silu_mul(gate: T, up: Operand) -> T:
    """silu(gate) * up."""
    return mul(apply("silu", (gate,), ()), up)


# ---- products ----


def mm(a: T, b: Array) -> T:
    """The product of two matrices."""
    return matmul(a, b)


def bmm(a: T, b: Array) -> T:
    """The products of two stacks of matrices."""
    return matmul(a, b)


@composite
def addmm(c: Array, a: T, b: Array, *, alpha: float = 1.0, beta: float = 1.0) -> T:
    """alpha * a @ b + beta * c."""
    y = matmul(a, b)
    y = y if _core.same_size(alpha, 1) else mul(y, alpha)
    return add(y, c if _core.same_size(beta, 1) else mul(c, beta))


def linear(x: T, w: Array, b: Array | None = None) -> T:
    """x @ w + b, with w stored [in, out] and no bias unless it is given.

    The element types of x and w may differ; the result has x's. Sums run in f32 (f64 if one operand is f64).

    Raises:
        ValueError: x's last axis and w's first one differ; for a weight stored [out, in] write ``w.T``.
    """
    if b is None:
        return matmul(x, w)
    return _linear_bias(x, w, b)


@composite
def _linear_bias(x: Any, w: Any, b: Any) -> Any:
    return add(matmul(x, w), b)


def flash_attention(
    q: T,
    k: Array,
    v: Array,
    mask: Array | None = None,
    bias: Array | None = None,
    q_offset: Operand | None = None,
    *,
    causal: bool = False,
    scale: Operand | None = None,
    window: int | None = None,
    dropout_p: float = 0.0,
    seed: int | None = None,
    attn_bias: Array | None = None,
) -> T:
    """softmax(scale * q @ k^T + bias) @ v on q[B, H, S, D], k[B, G, T, D], v[B, G, T, E], without the matrix of scores
    in memory.

    H is a multiple of G, and head h reads h // (H // G); ``scale`` is 1/sqrt(D) if none, a number, or a tensor of one
    (of q's type or f32; its value need not be known when the graph is made); ``causal`` lets row i see columns up to
    i + q_offset, ``window`` only the last ``window`` of those; ``mask`` (bool) and ``bias`` broadcast to [B, H, S, T].
    ``attn_bias`` is another name of ``bias``, ``flash_attn`` of the function. ``seed`` is for dropout, which this
    release does not have inside attention.

    Raises:
        TypeError: the element types of q, k and v differ or are no floats, or the bias is given twice.
        ValueError: ranks or sizes that do not fit.
    """
    if attn_bias is not None:
        if bias is not None:
            raise GraphTypeError("flash_attention: 'attn_bias' is 'bias' by another name; give one", "E_ARGUMENTS")
        bias = attn_bias
    if dropout_p:
        raise NotInRelease("flash_attention: dropout inside attention is not in this release; use dropout_p=0")
    factor, number = (scale, 1.0) if is_tensor(scale) else (None, scale)
    operands = (q, k, v, mask, bias, q_offset, factor)
    return apply("attention", operands, (("scale", number), ("causal", causal), ("window", window)))


flash_attn = flash_attention


@overload
def cross_entropy(
    logits: Ours,
    targets: Array,
    reduction: str = "mean",
    axis: int | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    *,
    dim: int | None = None,
) -> Ours: ...
@overload
def cross_entropy(
    logits: Array,
    targets: Array,
    reduction: str = "mean",
    axis: int | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    *,
    dim: int | None = None,
) -> Any: ...
@composite
def cross_entropy(
    logits: Any,
    targets: Any,
    reduction: str = "mean",
    axis: int | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    *,
    dim: int | None = None,
) -> Any:
    """-log softmax(logits) at the target classes, in f32.

    Args:
        logits: [..., C, ...] floats, the classes along ``axis``.
        targets: integers of the shape of logits without that axis; where they are ``ignore_index`` nothing counts.
            One that is no class otherwise has the loss of the class with the largest logit: elements are not looked
            at before the call.
        reduction: "mean" over what counts, "sum" or "none".
        axis: the axis of the classes; the last, if none is named. ``dim`` is another name.
        ignore_index: the target that does not count.
        label_smoothing: the part of each target that is spread over all classes.

    Raises:
        TypeError: targets are no integers.
        ValueError: sizes that do not fit, or another reduction.
    """
    if reduction not in ("mean", "sum", "none"):
        raise GraphValueError(f"cross_entropy: reduction is 'mean', 'sum' or 'none', not {reduction!r}", "E_ATTR")
    if not targets.dtype.is_integer:
        raise GraphTypeError(f"cross_entropy: targets are integers, not {targets.dtype}", "E_TYPE")
    rank = _rank(logits)
    at = axis_in(axis_of(axis, dim, -1), rank, "cross_entropy")
    if at != rank - 1:
        logits = transpose(logits, perm=[*(i for i in range(rank) if i != at), at])
    x = logits if logits.dtype.name in ("f32", "f64") else cast(logits, "f32")
    wide = x.dtype.name
    ids = targets if targets.dtype.name in ("int32", "int64") else cast(targets, "int32")
    x, lse = _below_largest(x, -1)  # which changes no loss, and keeps the difference of large logits
    lse = sum(lse, -1)
    loss = sub(lse, sum(where(eq(unsqueeze(ids, -1), iota(x.shape[-1], ids.dtype.name)), x, 0.0), -1))
    if label_smoothing:
        loss = add(mul(loss, 1.0 - label_smoothing), mul(sub(lse, mean(x, -1)), label_smoothing))
    counts = ne(ids, ignore_index)
    loss = where(counts, loss, 0.0)
    if reduction == "none":
        return loss
    total = sum(loss)
    return total if reduction == "sum" else div(total, sum(cast(counts, wide)))


def dropout(x: T, p: float = 0.1, training: bool = True, *, key: Array | None = None) -> T:
    """Elements become 0 with probability p, the others are divided by 1 - p; x itself where ``training`` is false.

    ``key``, an int64[2] of seed and step, says which; without it every call takes the next key of
    ``tessera.manual_seed``'s sequence.
    """
    if is_numpy_number(p):
        p = p.item()  # type: ignore[attr-defined]
    if not isinstance(p, (int, float)):
        raise GraphTypeError(f"dropout: argument 'p': wanted a number, found {type(p).__name__}", "E_ATTR")
    if not 0 <= p < 1:
        raise GraphValueError(f"dropout: p is from 0 up to but not 1, not {p}", "E_ATTR")
    if not training or p == 0:
        return x
    if key is None:
        from . import random

        key = random.key_here(x)
    return _dropout(x, key, p)


@composite
def _dropout(x: Any, key: Any, p: float) -> Any:
    u = apply("uniform", (key,), (("shape", tuple(x.shape)),))
    return where(apply("ge", (u, p), ()), mul(x, 1.0 / (1.0 - p)), 0.0)


# ---- transformer ----

_LAYER = {
    "w_qkv": 2,
    "w_out": 2,
    "w_mlp": 2,
    "w_mlp2": 2,
    "b_qkv": 1,
    "b_out": 1,
    "b_mlp": 1,
    "b_mlp2": 1,
    "ln_gamma": 1,
    "ln_beta": 1,
}


def _layer_weights(weights: Any, what: str) -> dict[str, Any]:
    if not isinstance(weights, dict):
        raise GraphTypeError(
            f"{what}: weights are a dict of tensors (w_qkv, w_out, w_mlp), not a {type(weights).__name__}",
            "E_ARGUMENTS",
        )
    unknown = [k for k in weights if k not in _LAYER]
    missing = [k for k in ("w_qkv", "w_out", "w_mlp") if k not in weights]
    if unknown or missing:
        raise GraphValueError(
            f"{what}: weights are w_qkv, w_out, w_mlp and, if there are such, {', '.join(list(_LAYER)[3:])}; "
            + (f"unknown: {', '.join(map(str, unknown))}" if unknown else f"missing: {', '.join(missing)}"),
            "E_WEIGHT_NAME",
        )
    return weights


def _layer(x: Any, w: dict[str, Any], num_heads: int, causal: bool, eps: float) -> Any:
    batch, seq, width = x.shape
    q, k, v = (
        h.reshape(batch, seq, num_heads, width // num_heads).transpose(1, 2)
        for h in split(linear(x, w["w_qkv"], w.get("b_qkv")), sections=3, dim=-1)
    )
    a = flash_attention(q, k, v, causal=causal).transpose(1, 2).reshape(batch, seq, width)
    x = _ops.layer_norm(x + linear(a, w["w_out"], w.get("b_out")), w.get("ln_gamma"), w.get("ln_beta"), eps)
    up = w.get("w_mlp2")
    h = _ops.gelu(linear(x, w["w_mlp"], w.get("b_mlp")))
    return x + linear(h, w["w_mlp"].transpose() if up is None else up, w.get("b_mlp2"))


@known_sizes
def transformer_layer(
    x: T, weights: dict[str, Any], num_heads: int = 16, causal: bool = True, eps: float = 1e-5
) -> T:
    """One transformer layer: attention with a residual, layer norm, and an MLP with gelu and a residual.

    ::

        x = layer_norm(x + attention(x @ w_qkv) @ w_out)
        x + gelu(x @ w_mlp) @ w_mlp.T

    Args:
        x: [B, S, D] floats.
        weights: a dict of ``w_qkv`` [D, 3*D], ``w_out`` [D, D], ``w_mlp`` [D, F] (F is often 4*D), and, where there
        are such, ``w_mlp2``
            [F, D] (else w_mlp transposed), the biases ``b_qkv b_out b_mlp b_mlp2``, and ``ln_gamma``, ``ln_beta``.
        num_heads: heads, by which D is divided.
        causal: each position sees itself and those before.
        eps: of the layer norm.

    Raises:
        ValueError: a weight is missing or unknown, or sizes do not fit.
    """
    if _rank(x) != 3:
        raise GraphValueError(f"transformer_layer: x is [B, S, D], not of rank {_rank(x)}", "E_RANK")
    w = _layer_weights(weights, "transformer_layer")
    for key, t in w.items():
        if _rank(t) != _LAYER[key]:
            raise GraphValueError(f"transformer_layer: {key} has rank {_LAYER[key]}, not {_rank(t)}", "E_RANK")
    return _layer(x, w, num_heads, causal, eps)


@known_sizes
def transformer_stack(
    x: T,
    weights: dict[str, Any] | Sequence[dict[str, Any]],
    num_layers: int | None = None,
    num_heads: int = 16,
    causal: bool = True,
    eps: float = 1e-5,
) -> T:
    """``num_layers`` layers (see ``transformer_layer``), one after the other, as one loop of the graph.

    Args:
        x: [B, S, D] floats.
        weights: a dict as for one layer whose tensors have the layers stacked on a first axis (``w_qkv`` [L, D, 3*D],
        …), or a list of
            such dicts, one for each layer.
        num_layers: how many; the size of the first axis, if not given.
        num_heads: heads, by which D is divided.
        causal: each position sees itself and those before.
        eps: of the layer norm.

    Raises:
        ValueError: a weight is missing or unknown, sizes do not fit, or there are not ``num_layers`` layers of weights.
    """
    if _rank(x) != 3:
        raise GraphValueError(f"transformer_stack: x is [B, S, D], not of rank {_rank(x)}", "E_RANK")
    if isinstance(weights, (list, tuple)):
        if num_layers is not None and num_layers != len(weights):
            raise GraphValueError(
                f"transformer_stack: weights for {len(weights)} layers, num_layers is {num_layers}", "E_SHAPE_MISMATCH"
            )
        for w in weights:
            x = transformer_layer(x, w, num_heads, causal, eps)
        return x
    w = _layer_weights(weights, "transformer_stack")
    for key, t in w.items():
        if _rank(t) != _LAYER[key] + 1:
            raise GraphValueError(
                f"transformer_stack: {key} has the layers on a first axis and so rank {_LAYER[key] + 1}, not"
                f" {_rank(t)}",
                "E_RANK",
            )
    layers = w["w_qkv"].shape[0]
    if num_layers is None:
        if not isinstance(layers, int):
            raise GraphTypeError(
                f"transformer_stack: the number of layers is {layers}, which is not known; give num_layers", "E_LOOP"
            )
        num_layers = layers
    for key, t in w.items():
        if isinstance(t.shape[0], int) and t.shape[0] != num_layers:
            raise GraphValueError(
                f"transformer_stack: {key} has {t.shape[0]} layers, num_layers is {num_layers}", "E_SHAPE_MISMATCH"
            )
    if num_layers == 0:
        return x
    from . import trace

    context = trace.context_of((x, *w.values()))
    assert context is not None

    def body(i: Any, h: Any) -> Any:
        return _layer(h, {key: getitem(t, i) for key, t in w.items()}, num_heads, causal, eps)

    last: Any = context.loop(num_layers, (x,), body, tuple(w.values()))[0]
    return last


# ---- symbolic tensors, operators, policies ----


def tensor(shape: Sequence[Size], dtype: DTypeLike = "f32", name: str | None = None) -> Value:
    """A symbolic tensor: an input of the graph that is built from it. Sizes are ints, names, or ``ts.sym``."""
    from . import graph

    return graph.symbol(shape, dtype, name)


def placeholder(shape: Sequence[Size], name: str | None = None, dtype: DTypeLike = "f32") -> Value:
    """A symbolic tensor by name, an input of the graph module around it."""
    from . import graph

    return graph.symbol(shape, dtype, name)


def numeric(dtype: Any = None, accum: Any = None, deterministic: bool = True, **more: Any) -> NumericPolicy:
    """A numeric policy: how operators store, sum and round. See ``tessera.numeric.NumericPolicy``."""
    from .numeric import NumericPolicy

    return NumericPolicy(dtype, accum, deterministic, **more)


def mlp(
    inputs: Any = None,
    layers: Sequence[int] | None = None,
    activation: str = "gelu",
    *,
    in_dim: int | None = None,
    hidden: Sequence[int] = (),
    out_dim: int | None = None,
    policy: NumericPolicy | None = None,
    name: str | None = None,
    seed: int = 0,
) -> MLP | Any:
    """A multi-layer perceptron.

    ``mlp(in_dim=2, hidden=[64, 64], out_dim=1)`` gives an operator to be applied; ``mlp([x, t], layers=[64, 64, 1])``
    applies one at once to the inputs, side by side on the last axis. All layers but the last have the activation.
    Weights are drawn from ``seed``: Glorot's uniform distribution, for "sine" that of SIREN; biases start at 0.

    Args:
        inputs: a tensor, or a list of tensors for the last axis.
        layers: the sizes of the hidden layers and of the result.
        activation: "gelu", "relu", "tanh", "sigmoid", "silu" or "sine".
        in_dim: the size of the input.
        hidden: the sizes of the hidden layers.
        out_dim: the size of the result.
        policy: a numeric policy; its dtype is that of the weights.
        name: the name of the operator, which its weights begin with.
        seed: of the random numbers.
    """
    from .mlp import make

    return make(inputs, layers, activation, in_dim, hidden, out_dim, policy, name, seed)


# ---- made of nothing ----


def full(shape: Sequence[Size], value: float, dtype: DTypeLike | None = None, device: Any = None) -> Tensor:
    """A tensor of one number everywhere."""
    from .dtypes import as_dtype

    t = (
        as_dtype(dtype)
        if dtype is not None
        else as_dtype("f32" if isinstance(value, float) else "bool" if isinstance(value, bool) else "int64")
    )
    if tracing.depth:
        from . import trace

        context = trace.current()
        assert context is not None
        return context.op("broadcast", (context.scalar(t, value),), (("shape", tuple(shape)),))
    from .tensor import filled

    return filled(tuple(shape), value, t, device)


def zeros(*shape: Sizes, dtype: DTypeLike = "f32", device: Any = None) -> Tensor:
    """A tensor of zeros."""
    return full(sizes_of(shape), 0, dtype, device)


def ones(*shape: Sizes, dtype: DTypeLike = "f32", device: Any = None) -> Tensor:
    """A tensor of ones."""
    return full(sizes_of(shape), 1, dtype, device)


def arange(n: Size, dtype: DTypeLike = "int64") -> Tensor:
    """0, 1, … n - 1."""
    from .dtypes import as_dtype

    return apply("iota", (), (("n", n), ("dtype", as_dtype(dtype).name)))


# ---- more names ----


def register(name: str, fn: F) -> F:
    """Makes ``fn`` reachable as ``tessera.ops.<name>``. A name of the package itself stays what it is.

    Raises:
        ValueError: the name is no identifier, or is taken by an operator.
    """
    if not name.isidentifier() or name in __all__:
        raise GraphValueError(
            f"register: {name!r} " + ("is an operator of the package" if name in __all__ else "is no name"),
            "E_UNKNOWN_OP",
        )
    globals()[name] = fn
    return fn


if not TYPE_CHECKING:  # for which a name that is no operator is an error

    def __getattr__(name: str) -> Any:
        from .missing import OPERATORS, absent, nearest

        if name in OPERATORS:
            return absent(f"tessera.ops.{name}", OPERATORS[name])
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"no operator named {name!r}" + nearest(name, __all__))
