"""The one place where an operator call decides between the two ways to run: into a graph, or at once on data."""

from __future__ import annotations

import threading
from typing import Any

__all__ = ["Symbolic", "apply", "has_symbolic", "tracing"]


class Symbolic:
    """What the symbolic values of all graphs derive from."""

    __slots__ = ()


class Tracing(threading.local):
    """How many functions this thread is tracing just now."""

    depth = 0


tracing = Tracing()


def has_symbolic(operands: Any) -> bool:
    """Whether a symbolic value is among the operands, or in a list or dict of them."""
    for x in operands:
        if isinstance(x, Symbolic):
            return True
        if isinstance(x, (list, tuple)) and has_symbolic(x):
            return True
        if isinstance(x, dict) and has_symbolic(x.values()):
            return True
    return False


def apply(name: str, operands: tuple[Any, ...], attrs: tuple[tuple[str, Any], ...]) -> Any:
    """The operator ``name``: in a function that is being traced, or with a symbolic value among the operands, it
    becomes part of the graph, else it runs now."""
    if tracing.depth or has_symbolic(operands):
        from . import trace

        return trace.add_op(name, operands, attrs)
    from . import eager

    return eager.run_op(name, operands, attrs)
