"""Operators on data: views without copying, everything else through a graph of that operator, compiled once for each
pattern of types and sizes. In a pattern a size of 1 stands for itself, equal sizes share a name, so that one
compilation serves all batches."""

from __future__ import annotations

import operator
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from types import FunctionType
from typing import Any

from . import _core, trace
from ._apply import apply, tracing, ways
from ._ops import TABLE
from .dtypes import DType, as_dtype
from .errors import ArgumentTypeError, ArgumentValueError, GraphTypeError, GraphValueError, TesseraError
from .interop import as_kind, is_numpy_number
from .tree import flatten, is_tensor, unflatten
from .views import VIEWS, can_view

__all__ = ["run", "run_op"]

_made: dict[Any, Any] = {}
_lock = threading.Lock()
_making: dict[Any, threading.Lock] = {}
_NUMBERS = (bool, int, float)
EXACT = 1 << 63  # of a way: it is for the very sizes


class InsideJax(Exception):
    """A value that JAX traces, which has no data: the call becomes part of JAX's program (``tessera.jax``)."""


def traced_by_jax(x: Any) -> bool:
    core = sys.modules.get("jax.core")
    return core is not None and isinstance(x, core.Tracer)


def tensor_of(x: Any, what: str) -> Any:
    """x as a tensor of ours, without copying."""
    if isinstance(x, _core.TensorBase):
        return x
    if not is_tensor(x):
        raise ArgumentTypeError(f"{what}: wanted a tensor or a number, found {type(x).__name__}", "E_ARGUMENTS")
    try:
        return _core.as_tensor(x)
    except (TypeError, ValueError, BufferError, AttributeError) as e:
        if traced_by_jax(x):
            raise InsideJax from None
        raise ArgumentTypeError(f"{what}: wanted a tensor, found {type(x).__name__}: {e}", "E_ARGUMENTS") from None


class Pattern:
    """The sizes of one call as names: equal ones share a name."""

    def __init__(self, static: bool = False, prefix: str = "n") -> None:
        self.static, self.prefix = static, prefix
        self.sizes: dict[int, str] = {}

    def of(self, shape: tuple[int, ...]) -> tuple[Any, ...]:
        if self.static:
            return tuple(shape)
        return tuple(d if d < 2 else self.sizes.setdefault(d, f"{self.prefix}{len(self.sizes)}") for d in shape)


def same_device(tensors: list[Any], what: str) -> str:
    """The device that all lie on."""
    first = tensors[0].device if tensors else "cpu"
    for i, t in enumerate(tensors):
        if t.device != first:
            raise ArgumentValueError(f"{what}: tensor {i + 1}: wanted on {first}, as the first, found on {t.device}")
    return first


def run_op(name: str, operands: tuple[Any, ...], attrs: tuple[tuple[str, Any], ...]) -> Any:
    """The operator on data, or on what JAX traces."""
    try:
        return _run_op(name, operands, attrs)
    except InsideJax:
        from . import jax

        return jax.operator(name)(*operands, attrs=attrs)


def _run_op(name: str, operands: tuple[Any, ...], attrs: tuple[tuple[str, Any], ...]) -> Any:
    view = VIEWS.get(name)
    if view is not None and not isinstance(operands[0], _NUMBERS):
        t = tensor_of(operands[0], name)
        if can_view(t):
            out = view(t, **dict(attrs))
            if t is operands[0]:
                return out
            if name == "broadcast":  # many elements in one place
                return _read_only(as_kind(out, operands))
            return tuple(as_kind(o, operands) for o in out) if isinstance(out, tuple) else as_kind(out, operands)
    if any(map(is_numpy_number, operands)) and not all(is_numpy_number(x) or isinstance(x, _NUMBERS) for x in operands):
        return apply(name, tuple([x.item() if is_numpy_number(x) else x for x in operands]), attrs)
    for key, value in attrs:
        if isinstance(value, _core.Dim):
            raise GraphTypeError(f"{name}: {key} is a symbolic size, which has no value outside of its graph", "E_ATTR")
    if not any(x is not None and not isinstance(x, _NUMBERS) for x in operands):
        # numbers alone: each becomes a tensor of rank 0
        literal = trace._literal_type(name, operands)
        fixed = tuple(None if x is None else trace_literal(x, literal) for x in operands)
        return _call(name, fixed, attrs)
    return _call(name, operands, attrs)


def _read_only(x: Any) -> Any:
    """x, which is not to be written to where its library can say so."""
    flags: Any = getattr(x, "flags", None)
    if hasattr(flags, "writeable"):
        flags.writeable = False
    return x


def trace_literal(x: Any, literal: str) -> Any:
    from .tensor import tensor

    return tensor(x, dtype=literal)


class Hidden:
    """The arguments that a caller does not give: arrays, copied to a device once, and what each call makes."""

    def __init__(self, sources: Sequence[Any]) -> None:
        self.sources = tuple(sources)
        self._placed: dict[str, list[Any]] = {}

    def on(self, device: str) -> list[Any]:
        """The arguments, on the device."""
        placed = self._placed.get(device)
        if placed is None:
            placed = [None if isinstance(s, FunctionType) else on_device(s, device) for s in self.sources]
            self._placed[device] = placed
        return [on_device(s(), device) if p is None else p for s, p in zip(self.sources, placed, strict=True)]


def on_device(x: Any, device: str) -> Any:
    """x itself where it lies there, else a copy that does."""
    t = _core.as_tensor(x)
    return x if t.device == device else t._copy_to(device)


def _frozen(value: Any) -> Any:
    """An attribute as numbers, text and tuples of them."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple([_index(v) for v in value])
    return value.name if isinstance(value, DType) else _index(value)


def _index(value: Any) -> Any:
    try:
        return operator.index(value)
    except TypeError:
        return value


def once(key: Any, make: Callable[[], Any]) -> Any:
    """What ``make`` makes, once for each key however many threads ask."""
    with _lock:
        lock = _making.setdefault(key, threading.Lock())
    try:
        with lock:
            made = _made.get(key)
            if made is None:
                made = _made[key] = make()
        return made
    finally:
        with _lock:
            _making.pop(key, None)


def _call(name: str, operands: tuple[Any, ...], attrs: tuple[tuple[str, Any], ...]) -> Any:
    given, attrs = attrs, tuple([(k, _frozen(v)) for k, v in attrs])
    changed = any(v is not w for (_, v), (_, w) in zip(given, attrs, strict=True))
    if changed and not tracing.busy:
        out = ways.run_op(name, operands, attrs)
        if out is not NotImplemented:
            return out
    policy = trace.numerics_key()
    arrays: list[Any] = []
    tensors: list[Any] = []
    literal: str | None = None
    for i, x in enumerate(operands):
        if x is not None and not isinstance(x, _NUMBERS):
            t = tensor_of(x, f"{name}: operand {i + 1}")
            tensors.append(t)
            if literal is None and not (name == "where" and i == 0):
                literal = t.dtype
        if x is not None:
            arrays.append(x)
    literal = literal or trace._literal_type(name, operands)
    device = same_device(tensors, name)
    for static in (False, True):
        pattern = Pattern(static)
        it = iter(tensors)
        slots: list[Any] = []
        passed: list[Any] = []
        flags = EXACT if static else 0
        for x in operands:
            if x is None:
                slots.append(None)
            elif isinstance(x, _NUMBERS):
                wants_float = isinstance(x, float) and not as_dtype(literal).is_float
                if wants_float or name == "pow":
                    slots.append(("baked", x, repr(x)))  # 0.0 and -0.0 are equal and not the same
                    flags |= 1 << sum(s is not None for s in slots) - 1
                else:
                    slots.append("number")
                    passed.append(x)
            else:
                t = next(it)
                slots.append((t.dtype, pattern.of(t.shape)))
                passed.append(x)
        try:
            hash(attrs)
        except TypeError:
            raise GraphTypeError(
                f"{name}: attributes are numbers, strings, element types and lists of numbers, not {attrs!r}", "E_ATTR"
            ) from None
        key = (name, tuple(slots), repr(attrs), literal, device[:4], policy)
        try:
            made = _made.get(key) or once(key, partial(_compile_op, name, slots, attrs, literal, device))
        except (GraphValueError, GraphTypeError):
            if static:
                raise
            continue
        out = made(*passed)
        if policy is None and not tracing.busy:
            for words in (attrs, given) if changed else (attrs,):
                ways.add(name, operands, words, True, made, flags)
        return out
    raise AssertionError("not reached")


def _compile_op(name: str, slots: list[Any], attrs: tuple[tuple[str, Any], ...], literal: str, device: str) -> Any:
    from .backend import build

    context = trace.Context("op_" + name)
    values: list[Any] = []
    words = TABLE[name][0].replace("?", "").split()
    with trace.entered(context):
        for i, slot in enumerate(slots):
            word = f"{words[0][:-1]}{i}" if words and words[0].endswith("*") else words[i]
            if slot is None:
                values.append(None)
            elif slot == "number":
                values.append(context.param(word, trace.literal_of(name, i, literal), ()))
            elif slot[0] == "baked":
                values.append(slot[1])
            else:
                values.append(context.param(word, slot[0], slot[1]))
        out = context.op(name, tuple(values), attrs)
    results = [("y", out)] if not isinstance(out, tuple) else [(f"y{i}", o) for i, o in enumerate(out)]
    return build(context, results, device)


def run(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], known: bool = False, what: str = ""
) -> Any:
    """A function made of operators, on data, as one graph; ``known``: for the very sizes; ``what``: the name under
    which it is found again without coming here."""
    try:
        return _run(fn, args, kwargs, known, what)
    except InsideJax:
        from . import jax

        return jax.composite(fn)(*args, **kwargs)


def _run(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], known: bool, what: str) -> Any:
    leaves: list[tuple[str, Any]] = []
    tree = flatten((args, kwargs), "", leaves)
    tensors = [tensor_of(x, fn.__name__) for _, x in leaves]
    device = same_device(tensors, fn.__name__)
    policy = trace.numerics_key()
    for static in (True,) if known else (False, True):
        pattern = Pattern(static)
        specs = tuple((t.dtype, pattern.of(t.shape)) for t in tensors)
        key = (fn, tree, specs, device[:4], policy)
        try:
            made = _made.get(key) or once(key, partial(_compile_fn, fn, tree, specs, device))
        except (GraphValueError, GraphTypeError):
            if static:
                raise
            continue
        call, out_tree, hidden = made
        out = call(*[x for _, x in leaves], *hidden.on(device))
        if what and policy is None and out_tree == ("leaf",) and not hidden.sources and not tracing.busy:
            ways.add(what, args, kwargs, False, call, EXACT if static else 0)
        return unflatten(out_tree, iter(out if isinstance(out, tuple) else (out,)))
    raise AssertionError("not reached")


def _compile_fn(fn: Callable[..., Any], tree: Any, specs: tuple[Any, ...], device: str) -> Any:
    from .backend import build

    context = trace.Context("fn_" + fn.__name__.strip("_"))
    with trace.entered(context):
        values = [context.param(f"x{i}", dtype, dims) for i, (dtype, dims) in enumerate(specs)]
        args, kwargs = unflatten(tree, iter(values))
        out = fn(*args, **kwargs)
        found: list[tuple[str, Any]] = []
        out_tree = flatten(out, "y", found)
        results = [(f"y{i}", context.use(v, "f32")) for i, (_, v) in enumerate(found)]
    if not results:
        raise TesseraError(f"{fn.__name__} gives no tensor")
    return build(context, results, device), out_tree, Hidden(context.captured)
