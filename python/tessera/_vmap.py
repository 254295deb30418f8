"""A traced graph with one axis more in front of some of its inputs: what ``jax.vmap`` asks for.

Each operator is added again with the axis in front of those operands that have it, and the compiler says what comes
out. That is the operator on every element along the axis if the sizes say so: the axis has a prime size that nothing
else has, axes of attributes are counted from the end, and operands that broadcast are brought to one rank before; then
a result with the axis in front and the old sizes behind it can only be that. Where one is not, ``NoAxis`` is raised and
the caller does it element by element.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import trace
from ._ops import TABLE
from .errors import GraphTypeError, GraphValueError

__all__ = ["NoAxis", "prime_above", "with_axis"]

_BROADCASTS = ("POINTWISE", "CONTRACT")


class NoAxis(Exception):
    """The graph does not take the axis as it is."""


def prime_above(sizes: Sequence[int]) -> int:
    """A prime that is larger than every size."""
    n = max([1009, *sizes]) | 1
    while any(n % k == 0 for k in range(3, int(n**0.5) + 1, 2)) or n in sizes:
        n += 2
    return n


def with_axis(
    old: trace.Context, results: Sequence[trace.Value], inputs: Sequence[trace.Value], batched: Sequence[bool]
) -> list[tuple[trace.Value, bool]]:
    """The results again, in the current graph, from ``inputs`` in the place of old's; with each whether it has the
    axis.

    Raises:
        NoAxis: an operator does something else to the axis.
    """
    again = _Again(old, inputs, batched)
    for v in results:
        again.make(v)
    return [again.find(v) for v in results]


class _Again:
    """The values of a graph in another one, the current one, that has the axis."""

    def __init__(self, old: trace.Context, inputs: Sequence[trace.Value], batched: Sequence[bool]) -> None:
        new = trace.current()
        assert new is not None
        self.old, self.new = old, new
        self.axis = str(next(v.shape[0] for v, b in zip(inputs, batched, strict=True) if b))
        self.made: dict[tuple[int, int], tuple[trace.Value, bool]] = {
            (id(p.record), 0): (v, b) for p, v, b in zip(old.params, inputs, batched, strict=True)
        }

    def find(self, v: trace.Value) -> tuple[trace.Value, bool]:
        """What stands for v."""
        m, batched = self.made[id(v.record), v.index]
        if batched and [str(d) for d in m.shape] != [self.axis, *(str(d) for d in v.shape)]:
            raise NoAxis(f"{v.record.name} gives {m._text()}")
        return m, batched

    def make(self, v: trace.Value) -> None:
        """v, and all that it is made of."""
        todo = [v]
        while todo:
            r = todo[-1].record
            if (id(r), todo[-1].index) in self.made:
                todo.pop()
                continue
            need = [o for o in r.operands if isinstance(o, trace.Value) and (id(o.record), o.index) not in self.made]
            if need:
                todo.extend(need)
                continue
            results, batched = self._record(todo.pop())
            for i, m in enumerate(results):
                self.made[id(r), i] = (m, batched)

    def _record(self, v: trace.Value) -> tuple[tuple[trace.Value, ...], bool]:
        """The results of the record that gave v, and whether they have the axis."""
        r, new = v.record, self.new
        if r.kind == "const":
            return (new.capture(r.attrs),), False
        if r.kind == "scalar":
            return (new.scalar(r.name, r.attrs),), False
        if r.kind == "dim":
            return (new.size_value(r.attrs, "int64"),), False
        if r.kind == "param":
            at = next(i for i, p in enumerate(self.old.hidden_params) if p.record is r)
            return (new.hidden(r.name, v.dtype, v.shape, self.old.captured[at]),), False
        if r.kind != "op":
            raise NoAxis(f"a {r.kind} has no rule for one axis more")
        return self._operator(r)

    def _operator(self, r: trace.Record) -> tuple[tuple[trace.Value, ...], bool]:
        found = [self.find(o) if isinstance(o, trace.Value) else (o, False) for o in r.operands]
        ranks = [len(o.shape) if isinstance(o, trace.Value) else 0 for o in r.operands]
        if not any(b for _, b in found):
            return self.new.add(r.name, tuple(o for o, _ in found), r.attrs, r.numerics, r.place), False
        operands = [o for o, _ in found]
        if TABLE[r.name][2] in _BROADCASTS:
            operands = [
                _widened(self.new, o, max(ranks) - n) if b else o for (o, b), n in zip(found, ranks, strict=True)
            ]
        try:
            attrs = _from_the_end(r.name, r.attrs, ranks[0] if ranks else 0)
            return self.new.add(r.name, tuple(operands), attrs, r.numerics, r.place), True
        except (GraphTypeError, GraphValueError) as e:
            raise NoAxis(str(e)) from None


def _widened(new: trace.Context, x: trace.Value, n: int) -> trace.Value:
    """x with n axes of size 1 behind its first."""
    if not n:
        return x
    made: trace.Value = new.op("reshape", (x,), (("shape", (x.shape[0], *[1] * n, *x.shape[1:])),))
    return made


def _from_the_end(name: str, attrs: Any, rank: int) -> tuple[tuple[str, Any], ...]:
    """The attributes with axes counted from the end, which an axis more in front does not move."""
    kinds = dict(word.split(":") for word in TABLE[name][1].split())
    made = []
    for key, value in attrs:
        if key == "axis" and kinds.get(key) in ("int", "ints") and value is not None:
            value = tuple(_below(a, rank) for a in value) if isinstance(value, (list, tuple)) else _below(value, rank)
        made.append((key, value))
    return tuple(made)


def _below(axis: int, rank: int) -> int:
    return axis - rank if axis >= 0 else axis
