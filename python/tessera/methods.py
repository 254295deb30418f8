"""The operators and methods that tensors and symbolic values share. Each is a call of a function of ``tessera.ops``."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Self

from . import _core
from ._apply import apply, axis_of, no_numpy
from ._ops import OpMethods
from .errors import GraphTypeError, GraphValueError
from .interop import is_numpy_number

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from ._types import Axes, DTypeLike, Operand, Sizes

__all__ = ["TensorMethods", "index_plan"]

_ops_module: ModuleType | None = None


def _ops() -> Any:
    global _ops_module
    if _ops_module is None:
        from . import ops

        _ops_module = ops
    return _ops_module


def sizes_of(shape: tuple[Any, ...]) -> tuple[Any, ...]:
    """``f(2, 3)`` and ``f((2, 3))`` mean the same."""
    return tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (list, tuple)) else shape


def index_plan(shape: tuple[Any, ...], index: Any) -> tuple[list[Any], list[Any], list[int], list[Any]]:
    """An index as the operators' sizes: (start, stop, step) by axis of x, and the shape after integers have dropped
    their axes and None has added some."""
    items = list(index) if isinstance(index, tuple) else [index]
    rank = len(shape)
    taken = sum(1 for i in items if i is not None and i is not Ellipsis)
    if sum(1 for i in items if i is Ellipsis) > 1:
        raise GraphValueError("an index has at most one ...", "E_INDEX")
    if taken > rank:
        raise GraphValueError(f"{taken} indices for a tensor of rank {rank}", "E_INDEX")
    if not any(i is Ellipsis for i in items):
        items.append(Ellipsis)
    start: list[Any] = []
    stop: list[Any] = []
    step: list[int] = []
    out: list[Any] = []
    for item in items:
        axis = len(start)
        item = item.item() if is_numpy_number(item) else item
        if item is None:
            out.append(1)
        elif item is Ellipsis:
            for d in shape[axis : axis + rank - taken]:
                start.append(0)
                stop.append(d)
                step.append(1)
                out.append(d)
        elif isinstance(item, slice):
            a, b, s = _bounds(item, shape[axis], axis)
            start.append(a)
            stop.append(b)
            step.append(s)
            out.append((b - a + (s - 1)) // s if s > 1 else b - a)
        elif not isinstance(item, bool) and (hasattr(item, "__index__") or isinstance(item, _core.Dim)):
            if hasattr(item, "shape"):
                raise GraphTypeError(
                    "an index is an int, a slice, None or ...; to choose by a tensor use tessera.ops.gather", "E_INDEX"
                )
            i: Any = item if isinstance(item, _core.Dim) else operator.index(item)
            size = shape[axis]
            if isinstance(i, int):
                if isinstance(size, int) and not -size <= i < size:
                    raise IndexError(f"index {i} is out of range for axis {axis} of size {size}")
                i = size + i if i < 0 else i
            start.append(i)
            stop.append(i + 1)
            step.append(1)
        else:
            raise GraphTypeError(f"an index is an int, a slice, None or ..., not {type(item).__name__}", "E_INDEX")
    return start, stop, step, out


def _bounds(s: slice, size: Any, axis: int) -> tuple[Any, Any, int]:
    s = slice(*(x.item() if is_numpy_number(x) else x for x in (s.start, s.stop, s.step)))
    step = 1 if s.step is None else operator.index(s.step)
    if step < 1:
        raise GraphValueError(f"slices run forward; the step on axis {axis} is {step}", "E_INDEX")
    try:
        known = slice(*(None if x is None else operator.index(x) for x in (s.start, s.stop))).indices(
            operator.index(size)
        )
        return known[0], max(known[0], known[1]), step
    except TypeError:  # symbolic sizes
        pass
    a = 0 if s.start is None else s.start
    b = size if s.stop is None else s.stop
    return (size + a if isinstance(a, int) and a < 0 else a), (size + b if isinstance(b, int) and b < 0 else b), step


def _no_ddof(what: str, ddof: int) -> None:
    if ddof != 0:
        raise GraphTypeError(f"{what}: the variance is the biased one, with ddof=0; found ddof={ddof}", "E_ARGUMENTS")


class TensorMethods(OpMethods):
    """Operators and methods. ``x.f(a)`` is ``tessera.ops.f(x, a)``."""

    __slots__ = ()
    __array_priority__ = 1000
    __hash__ = object.__hash__

    # ---- arithmetic ----

    def __add__(self, other: Operand) -> Self:
        return apply("add", (self, other), ())

    def __radd__(self, other: Operand) -> Self:
        return apply("add", (other, self), ())

    def __sub__(self, other: Operand) -> Self:
        return apply("sub", (self, other), ())

    def __rsub__(self, other: Operand) -> Self:
        return apply("sub", (other, self), ())

    def __mul__(self, other: Operand) -> Self:
        return apply("mul", (self, other), ())

    def __rmul__(self, other: Operand) -> Self:
        return apply("mul", (other, self), ())

    def __truediv__(self, other: Operand) -> Self:
        return apply("div", (self, other), ())

    def __rtruediv__(self, other: Operand) -> Self:
        return apply("div", (other, self), ())

    def __floordiv__(self, other: Operand) -> Self:
        return apply("floordiv", (self, other), ())

    def __rfloordiv__(self, other: Operand) -> Self:
        return apply("floordiv", (other, self), ())

    def __mod__(self, other: Operand) -> Self:
        return apply("mod", (self, other), ())

    def __rmod__(self, other: Operand) -> Self:
        return apply("mod", (other, self), ())

    def __pow__(self, other: Operand) -> Self:
        return _ops().power(self, other)

    def __rpow__(self, other: Operand) -> Self:
        return _ops().power(other, self)

    def __matmul__(self, other: Operand) -> Self:
        return apply("matmul", (self, other), ())

    def __rmatmul__(self, other: Operand) -> Self:
        return apply("matmul", (other, self), ())

    def __neg__(self) -> Self:
        return apply("neg", (self,), ())

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> Self:
        return apply("abs", (self,), ())

    # ---- comparison and logic ----

    def __eq__(self, other: object) -> Self:  # type: ignore[override]
        if other is None or isinstance(other, (str, bytes)):
            return NotImplemented
        return apply("eq", (self, other), ())

    def __ne__(self, other: object) -> Self:  # type: ignore[override]
        if other is None or isinstance(other, (str, bytes)):
            return NotImplemented
        return apply("ne", (self, other), ())

    def __lt__(self, other: Operand) -> Self:
        return apply("lt", (self, other), ())

    def __le__(self, other: Operand) -> Self:
        return apply("le", (self, other), ())

    def __gt__(self, other: Operand) -> Self:
        return apply("gt", (self, other), ())

    def __ge__(self, other: Operand) -> Self:
        return apply("ge", (self, other), ())

    def __and__(self, other: Operand) -> Self:
        return apply("and", (self, other), ())

    def __or__(self, other: Operand) -> Self:
        return apply("or", (self, other), ())

    def __invert__(self) -> Self:
        return apply("not", (self,), ())

    # ---- shape ----

    def reshape(self, *shape: Sizes) -> Self:
        """The same elements in row order under another shape; one size may be -1. Sizes come one by one or as a
        list."""
        return _ops().reshape(self, sizes_of(shape))

    view = reshape

    def transpose(self, *axes: Axes) -> Self:  # type: ignore[override]
        """Without axes the last two change places; two axes change places; as many as there are give their new
        order."""
        return _ops().transpose(self, *axes)

    def permute(self, *axes: Axes) -> Self:
        """Axis i of the result is axis ``axes[i]``."""
        return _ops().transpose(self, sizes_of(axes))

    @property
    def T(self) -> Self:
        """The last two axes change places."""
        return _ops().transpose(self)

    mT = T

    def swapaxes(self, a: int, b: int) -> Self:
        """Axes a and b change places."""
        return _ops().transpose(self, a, b)

    def split(
        self,
        n: int | Sequence[int] | None = None,
        axis: int | None = None,
        *,
        dim: int | None = None,
        sections: int | Sequence[int] | None = None,
    ) -> tuple[Self, ...]:
        """Equal parts along an axis, as a tuple; see ``tessera.split``."""
        return _ops().split(self, n, axis, dim=dim, sections=sections)

    def flatten(self, start: int = 0, end: int = -1) -> Self:
        """Axes start to end become one."""
        return _ops().flatten(self, start, end)

    def squeeze(self, axis: Axes | None = None, *, dim: Axes | None = None) -> Self:
        """Without axes of size 1, or without that one, or those."""
        return _ops().squeeze(self, axis, dim=dim)

    def unsqueeze(self, axis: int | None = None, *, dim: int | None = None) -> Self:
        """With an axis of size 1 more, at that place of the result."""
        return _ops().unsqueeze(self, axis, dim=dim)

    def expand(self, *shape: Sizes) -> Self:
        """Repeated along axes of size 1 and new leading ones."""
        return _ops().broadcast(self, sizes_of(shape))

    broadcast_to = expand

    def __getitem__(self, index: Any) -> Self:
        """``x[1, a:b, ..., None, ::2]``: integers drop their axis, None adds one; views, no copies."""
        return _ops().getitem(self, index)

    # ---- type ----

    def astype(self, dtype: DTypeLike) -> Self:
        """The elements in another type; see ``tessera.ops.cast``."""
        return _ops().cast(self, dtype)

    def float(self) -> Self:
        return _ops().cast(self, "f32")

    def bfloat16(self) -> Self:
        return _ops().cast(self, "bf16")

    def half(self) -> Self:
        return _ops().cast(self, "f16")

    def square(self) -> Self:
        return _ops().square(self)

    def std(
        self,
        axis: Axes | None = None,
        keepdims: bool = False,
        *,
        dim: Axes | None = None,
        dtype: None = None,
        out: None = None,
        ddof: int = 0,
    ) -> Self:
        """The root of the biased variance over the axes."""
        no_numpy("std", dtype, out)
        _no_ddof("std", ddof)
        return _ops().std(self, axis_of(axis, dim), keepdims)

    def var(
        self,
        axis: Axes | None = None,
        keepdims: bool = False,
        *,
        dim: Axes | None = None,
        dtype: None = None,
        out: None = None,
        ddof: int = 0,
    ) -> Self:
        """The biased variance over the axes."""
        no_numpy("var", dtype, out)
        _no_ddof("var", ddof)
        return _ops().var(self, axis_of(axis, dim), keepdims)
