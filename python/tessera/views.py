"""Views of tensors: reshape, transpose, slice, split and broadcast without copying, where strides can say the
result."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from . import _core
from ._dtype_table import DTYPE_TABLE
from .errors import GraphTypeError, GraphValueError

__all__ = ["VIEWS", "axis_in", "can_view", "index_view"]


def axis_in(axis: int, rank: int, what: str) -> int:
    """The axis, counted from the first."""
    try:
        axis = operator.index(axis)
    except TypeError:
        raise GraphTypeError(f"{what}: an axis is an int, not {type(axis).__name__}", "E_ATTR") from None
    if not -rank <= axis < rank:
        raise GraphValueError(f"{what}: axis {axis} of a tensor of rank {rank}", "E_AXIS")
    return axis % rank


def full_shape(t: Any, shape: Sequence[Any]) -> tuple[int, ...]:
    """The shape of a reshape, with -1 found."""
    sizes = [int(d) for d in shape]
    if sizes.count(-1) > 1 or min(sizes, default=0) < -1:
        raise GraphValueError(f"reshape: {tuple(sizes)} is no shape", "E_SIZE")
    if -1 in sizes:
        rest = prod([d for d in sizes if d != -1])
        if rest == 0 or t.size % rest:
            raise GraphValueError(f"reshape: {t.size} elements do not fill {tuple(sizes)} evenly", "E_ELEMENT_COUNT")
        sizes[sizes.index(-1)] = t.size // rest
    if prod(sizes) != t.size:
        raise GraphValueError(
            f"reshape keeps the element count: {tuple(t.shape)} has {t.size}, the new shape {tuple(sizes)}"
            f" {prod(sizes)}",
            "E_ELEMENT_COUNT",
        )
    return tuple(sizes)


def compact_strides(shape: Sequence[int]) -> tuple[int, ...]:
    strides, n = [], 1
    for d in reversed(shape):
        strides.append(n)
        n *= max(d, 1)
    return tuple(reversed(strides))


def view_strides(shape: Sequence[int], strides: Sequence[int], new: Sequence[int]) -> tuple[int, ...] | None:
    """Strides with which the memory of (shape, strides) reads as ``new``; None when there are none."""
    if prod(new) == 0:
        return compact_strides(new)
    old = [(d, s) for d, s in zip(shape, strides, strict=True) if d != 1]
    out: list[int] = []
    i = 0
    todo = list(new)
    while todo or i < len(old):
        if todo and todo[0] == 1:
            out.append(1)
            todo.pop(0)
            continue
        if not todo or i >= len(old):
            return None
        # a run of old axes that lie one in the other, matched with a run of new ones
        group_new, have = [todo.pop(0)], old[i][0]
        last_size, last_stride = old[i]
        i += 1
        want = group_new[0]
        while want != have:
            if want < have:
                if not todo:
                    return None
                group_new.append(todo.pop(0))
                want *= group_new[-1]
            else:
                if i >= len(old) or last_stride != old[i][0] * old[i][1]:
                    return None
                last_size, last_stride = old[i]
                have *= last_size
                i += 1
        strides_here, n = [], last_stride
        for d in reversed(group_new):
            strides_here.append(n)
            n *= d
        out += reversed(strides_here)
    return tuple(out)


def _reshape(t: Any, shape: Sequence[Any]) -> Any:
    new = full_shape(t, shape)
    strides = compact_strides(new) if t.is_contiguous() else view_strides(t.shape, t.strides, new)
    if strides is None:
        t = t._copy_to(t.device)  # compact
        strides = compact_strides(new)
    return t._view(0, new, strides)


def _transpose(t: Any, perm: Sequence[int] | None) -> Any:
    rank = t.ndim
    if perm is None:
        if rank < 2:
            raise GraphValueError(
                f"transpose: without perm the last two axes change places, and this has rank {rank}", "E_RANK"
            )
        order = [*range(rank - 2), rank - 1, rank - 2]
    else:
        order = [axis_in(a, rank, "transpose") for a in perm]
        if sorted(order) != list(range(rank)):
            raise GraphValueError(f"transpose: {list(perm)} does not name each of {rank} axes once", "E_AXIS")
    return t._view(0, [t.shape[a] for a in order], [t.strides[a] for a in order])


def _slice(t: Any, start: Sequence[Any], stop: Sequence[Any], step: Sequence[int] | None) -> Any:
    if len(start) != t.ndim or len(stop) != t.ndim or (step is not None and len(step) != t.ndim):
        raise GraphValueError(f"slice: one start, stop and step for each of {t.ndim} axes", "E_RANK")
    offset, shape, strides = 0, [], []
    for i, size in enumerate(t.shape):
        a, b, s = int(start[i]), int(stop[i]), int(step[i]) if step is not None else 1
        a, b = a + size if a < 0 else a, b + size if b < 0 else b
        if s < 1 or not 0 <= a <= b <= size:
            raise GraphValueError(f"slice: {a}:{b}:{s} of axis {i}, which has {size}", "E_RANGE")
        shape.append((b - a + s - 1) // s)
        strides.append(t.strides[i] * s)
        offset += a * t.strides[i] if shape[-1] else 0
    return t._view(offset if prod(shape) else 0, shape, strides)


def _split(t: Any, n: int, axis: int) -> Any:
    axis = axis_in(axis, t.ndim, "split")
    size = t.shape[axis]
    if n < 1 or size % n:
        raise GraphValueError(f"split: axis {axis} has {size}, which is not {n} equal parts", "E_SHAPE_MISMATCH")
    part, strides = size // n, t.strides
    shape = [*t.shape]
    shape[axis] = part
    step = part * strides[axis] if 0 not in shape else 0
    return tuple([t._view(i * step, shape, strides) for i in range(n)])


def _broadcast(t: Any, shape: Sequence[Any]) -> Any:
    new = [int(d) for d in shape]
    lead = len(new) - t.ndim
    if (
        lead < 0
        or any(d < 0 for d in new)
        or any(d not in (1, n) for d, n in zip(t.shape, new[max(lead, 0) :], strict=True))
    ):
        raise GraphValueError(f"broadcast: {tuple(t.shape)} does not stretch to {tuple(new)}", "E_BROADCAST")
    strides = [0] * lead + [s if d == n else 0 for d, n, s in zip(t.shape, new[lead:], t.strides, strict=True)]
    return t._view(0, new, strides)


VIEWS: dict[str, Callable[..., Any]] = {
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "split": _split,
    "broadcast": _broadcast,
}


_dtype_of = _core.TensorBase.dtype.__get__  # type: ignore[attr-defined]
_PACKED = frozenset(name for name, _, bits, _ in DTYPE_TABLE if bits < 8)


def can_view(t: Any) -> bool:
    """Elements of less than a byte have no address of their own."""
    return _dtype_of(t) not in _PACKED


def index_view(t: Any, index: Any) -> Any:
    """``t[index]`` in one step; None for what is no plain index, or lies outside, which others say."""
    items = list(index) if isinstance(index, tuple) else [index]
    left = t.ndim - sum(i is not None and i is not Ellipsis for i in items)
    if left < 0 or not can_view(t):
        return None
    sizes, strides = t.shape, t.strides
    offset, axis, wide = 0, 0, False
    shape: list[int] = []
    steps: list[int] = []
    for i in items:
        if i is None:
            shape.append(1)
            steps.append(1)
            continue
        if i is Ellipsis:
            if wide:
                return None
            wide = True
            shape += sizes[axis : axis + left]
            steps += strides[axis : axis + left]
            axis += left
            continue
        n, s = sizes[axis], strides[axis]
        if type(i) is int:
            if not -n <= i < n:
                return None
            offset += (i + n if i < 0 else i) * s
        elif type(i) is slice:
            try:
                a, b, c = i.indices(n)
            except TypeError:
                return None
            if c < 1:
                return None
            d = (b - a + c - 1) // c if b > a else 0
            offset += a * s if d else 0
            shape.append(d)
            steps.append(s * c)
        else:
            return None
        axis += 1
    if 0 in shape:
        offset = 0
    return t._view(offset, [*shape, *sizes[axis:]], [*steps, *strides[axis:]])
