"""The one place where an operator call decides between the two ways to run: into a graph, or at once on data."""

from __future__ import annotations

import threading
from typing import Any

from . import _core
from .errors import GraphTypeError

__all__ = ["Symbolic", "apply", "axis_of", "has_symbolic", "no_numpy", "tracing", "view", "ways"]


class Symbolic:
    """What the symbolic values of all graphs derive from."""

    __slots__ = ()


class Tracing(threading.local):
    """How many functions this thread is tracing just now; ``busy`` counts the policies too that it is inside of."""

    depth = 0
    busy = 0


tracing = Tracing()
ways = _core.Ways()  # what was compiled of operators, by the patterns of their operands
_run_op = ways.run_op


def has_symbolic(operands: Any) -> bool:
    """Whether a symbolic value or size is among the operands, or in a list or dict of them."""
    for x in operands:
        if isinstance(x, (Symbolic, _core.Dim)):
            return True
        if isinstance(x, (list, tuple)) and has_symbolic(x):
            return True
        if isinstance(x, dict) and has_symbolic(x.values()):
            return True
    return False


def apply(name: str, operands: tuple[Any, ...], attrs: tuple[tuple[str, Any], ...]) -> Any:
    """The operator ``name``: in a function that is being traced, or with a symbolic value among the operands, it
    becomes part of the graph, else it runs now."""
    if not tracing.busy:
        out = _run_op(name, operands, attrs)
        if out is not NotImplemented:
            return out
    if tracing.depth or has_symbolic(operands):
        from .trace import add_op

        return add_op(name, operands, attrs)
    from .eager import run_op

    return run_op(name, operands, attrs)


def axis_of(axis: Any, dim: Any, default: Any = None) -> Any:
    """``axis`` and ``dim`` are two words for the same, in every function and method."""
    if dim is None:
        return default if axis is None else axis
    if axis is not None:
        raise GraphTypeError("axis and dim are two words for the same; give one", "E_ARGUMENTS")
    return dim


def no_numpy(what: str, dtype: Any, out: Any) -> None:
    """NumPy's functions call the methods of these names with arguments of their own: None is what they mean by
    nothing."""
    for name, value in (("dtype", dtype), ("out", out)):
        if value is not None:
            raise GraphTypeError(
                f"{what}: tensors know no '{name}': tessera.{what} makes a new tensor of its own, which"
                " tessera.cast gives another type",
                "E_ARGUMENTS",
            )


def view(name: str, x: Any, **attrs: Any) -> Any:
    """The same for an operator that data need not be copied for."""
    if not tracing.depth and isinstance(x, _core.TensorBase):
        from .views import VIEWS, can_view

        if can_view(x):
            return VIEWS[name](x, **attrs)
    return apply(name, (x,), tuple(attrs.items()))
