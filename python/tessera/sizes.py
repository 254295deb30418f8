"""The sizes of a signature: which names the arguments give, which follow from them, and what is one size as a whole.

``"3*D"`` gives D; ``"S+1"`` gives S; ``"B*H"`` gives H where another argument gives B, is checked where both are given,
and is one size, under a name of its own, where neither is.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from . import _core
from .annot import Sym, evaluate_size
from .errors import TesseraError

__all__ = ["Sizes", "misfit", "names_in", "solve"]

_NAME = re.compile(r"[A-Za-z_]\w*")
_SCALED = re.compile(r"\(*\s*(?:\d+\s*\*\s*([A-Za-z_]\w*)|([A-Za-z_]\w*)\s*\*\s*\d+|([A-Za-z_]\w*))\s*\)*")


def names_in(text: str) -> list[str]:
    """The names in a size."""
    return _NAME.findall(text)


def scaled_name(text: str) -> str | None:
    """D of ``"D"`` and of ``"3*D"``, which the compiler solves itself."""
    m = _SCALED.fullmatch(text.strip())
    return m[m.lastindex] if m and m.lastindex else None


def canonical(text: str) -> str:
    """One text for all ways to write a size: ``"H*B"`` is ``"B*H"``."""
    builder = _core.Builder("sizes")
    for name in sorted(names_in(text)):
        builder.dim(name)
    return str(builder.dim(text))


def solve(text: str, name: str, whole: str) -> str | None:
    """What ``name`` is, as text, where ``text`` is the size ``whole``; None where that does not say it."""

    def walk(node: ast.expr, value: str) -> str | None:
        if isinstance(node, ast.Name):
            return value if node.id == name else None
        if not isinstance(node, ast.BinOp):
            return None
        a, b = ast.unparse(node.left), ast.unparse(node.right)
        if name in names_in(b):
            if name in names_in(a):
                return None
            if isinstance(node.op, ast.Sub):
                return walk(node.right, f"({a}) - ({value})")
            if isinstance(node.op, (ast.FloorDiv, ast.Mod)):
                return None
            node, a, b = ast.BinOp(node.right, node.op, node.left), b, a
        if isinstance(node.op, ast.Add):
            return walk(node.left, f"({value}) - ({b})")
        if isinstance(node.op, ast.Sub):
            return walk(node.left, f"({value}) + ({b})")
        return walk(node.left, f"({value}) // ({b})") if isinstance(node.op, ast.Mult) else None

    tree = ast.parse(text.strip(), mode="eval")
    return walk(tree.body, whole)


class Sizes:
    """What the names in the dims of arguments stand for.

    ``dims`` are those of the arguments as the graph declares them; ``names`` gives for each name that is not simply
    itself what it is, in an order in which they can be evaluated; ``wholes`` are sizes under a name of their own, by
    their canonical text; ``checks`` say which axis of which argument is held against which size when it is called.
    """

    def __init__(self, dims: Sequence[Sequence[Any]], taken: Iterable[str]) -> None:
        self.names: dict[str, str] = {}
        self.wholes: dict[str, str] = {}
        self.checks: dict[int, dict[int, str]] = {}
        self.least: dict[str, int] = {}
        self.syms: dict[str, Sym] = {}
        self.hidden: dict[str, str] = {}  # names that only a whole has
        self.shown: dict[str, str] = {}  # names that the graph alone has, and what annotations have in their place
        texts = [d for ds in dims for d in ds if isinstance(d, str)]
        used = {n for d in texts for n in names_in(d)}
        self.taken = {*taken, *used}
        for n in sorted(used.intersection(taken)):  # an argument has this name
            self.names[n] = self._fresh(n)
            self.shown[self.names[n]] = n
        self.syms = {self.names.get(d, str(d)): d for d in texts if isinstance(d, Sym)}
        given = {alone for d in texts if (alone := scaled_name(d))}
        self.given = frozenset(given)
        self.dims: list[list[Any]] = [[*ds] for ds in dims]
        todo = [(i, k) for i, ds in enumerate(dims) for k, d in enumerate(ds) if isinstance(d, str)]
        todo = [(i, k) for i, k in todo if not given.issuperset(names_in(dims[i][k]))]
        while todo:
            solved = next((at for at in todo if self._solve(*at, given)), None)
            if solved is None:  # each a size of its own
                for i, k in todo:
                    text = canonical(dims[i][k])
                    written = str(dims[i][k])
                    self.dims[i][k] = self.wholes.get(text) or self.wholes.setdefault(text, self._fresh(text))
                    self.shown.setdefault(self.dims[i][k], written)
                    self.hidden.update({n: text for n in names_in(text) if n not in given})
                break
            todo = [(i, k) for i, k in todo if (i, k) != solved and not given.issuperset(names_in(dims[i][k]))]

    def _fresh(self, text: str) -> str:
        name = re.sub(r"\W+", "_", text.replace("+", "plus").replace("-", "minus")).strip("_")
        name = name if name.isidentifier() else f"n_{name}"
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def _solve(self, i: int, k: int, given: set[str]) -> bool:
        text = str(self.dims[i][k])
        unknown = [n for n in names_in(text) if n not in given]
        if len(unknown) != 1:
            return False
        whole = self._fresh(canonical(text))
        found = solve(text, unknown[0], whole)
        if found is None:
            self.taken.discard(whole)
            return False
        given.add(unknown[0])
        self.shown[whole] = text
        self.dims[i][k] = whole
        self.names[unknown[0]] = found
        self.checks.setdefault(i, {})[k] = text
        if len(set(names_in(text))) == 1:
            self.least[whole] = max(1, int(evaluate_size(text, lambda name: 1)))
        return True

    def as_written(self, e: TesseraError) -> TesseraError:
        """e, whose text speaks of sizes as the annotations do."""
        if self.shown:
            said, place, rest = str(e).partition("\n  /")  # a path is no size
            e.args = (_NAME.sub(lambda m: self.shown.get(m[0], m[0]), said) + place + rest, *e.args[1:])
        return e

    def enter(self, context: Any, multiples: dict[str, int]) -> None:
        """Tells a graph of them. ``multiples`` are what is known besides."""
        builder = context.builder
        for name in {**self.syms, **self.least, **multiples}:
            d = self.syms.get(name)
            least, most = (d.min, d.max) if d is not None else (self.least.get(name, 1), None)
            builder.declare(name, least, most, math.lcm(multiples.get(name, 1), d.multiple_of if d is not None else 1))
        for name in sorted(self.given):
            context.sizes[name] = builder.dim(self.names.get(name, name))
        for name, text in self.names.items():
            context.sizes[name] = evaluate_size(text, context._name_of_size)
        context.hidden_names.update(self.hidden)
        context.wholes.update({text: builder.dim(name) for text, name in self.wholes.items()})


def misfit(
    arguments: Sequence[tuple[str, Sequence[Any], Sequence[int]]], multiples: dict[str, int]
) -> tuple[int, str] | None:
    """The first argument (name, sizes as its annotation has them, sizes that it has) that does not fit, and what else
    its sizes follow from, to stand behind "wanted …, found …"; None where nothing is wrong."""
    known: dict[str, tuple[int, str]] = {}
    todo: list[tuple[int, str, int]] = []
    for i, (name, dims, shape) in enumerate(arguments):
        if len(dims) != len(shape):
            return i, ""
        for d, n in zip(dims, shape, strict=True):
            if not isinstance(d, str):
                if d != n:
                    return i, ""
            elif not d.isidentifier():
                todo.append((i, str(d), n))
            else:
                have, giver = known.setdefault(str(d), (n, name))
                if have != n:
                    return i, f"; {d} is {have}" + (f" by argument {giver!r}" if giver != name else "")
                low, high, multiple = (d.min, d.max, d.multiple_of) if isinstance(d, Sym) else (1, None, 1)
                multiple = math.lcm(multiple, multiples.get(d, 1))
                if n < low or (high is not None and n > high) or n % multiple:
                    most = f" and at most {high}" if high is not None else ""
                    return i, f"; {d} is at least {low}{most}" + (f", a multiple of {multiple}" if multiple > 1 else "")

    def value(text: str, more: dict[str, int]) -> int:
        return int(evaluate_size(text, lambda name: more[name] if name in more else known[name][0]))

    def given(text: str) -> str:
        names = [n for n in dict.fromkeys(names_in(text)) if n in known]
        parts = [f"{n} is {known[n][0]} by argument {known[n][1]!r}" for n in names]
        return f" ({', '.join(parts)})" if parts else ""

    moved = True
    while todo and moved:
        moved = False
        for at in [*todo]:
            i, text, n = at
            unknown = [x for x in dict.fromkeys(names_in(text)) if x not in known]
            if not unknown and value(text, {}) != n:
                return i, f"; {text} is {value(text, {})}{given(text)}, found {n}"
            found = solve(text, unknown[0], str(n)) if len(unknown) == 1 else None
            if found is not None:
                one = value(found, {})
                if one < 1 or value(text, {unknown[0]: one}) != n:
                    return i, f"; {text} cannot be {n}{given(text)}"
                known[unknown[0]] = one, arguments[i][0]
            if found is not None or not unknown:
                todo.remove(at)
                moved = True
    wholes: dict[str, tuple[int, str]] = {}
    for i, text, n in todo:
        have, giver = wholes.setdefault(canonical(text), (n, arguments[i][0]))
        if have != n:
            return i, f"; {text} is {have}" + (f" by argument {giver!r}" if giver != arguments[i][0] else "")
        if n < 1:
            return i, f"; {text} is at least 1"
    return None


def learn(dims: Sequence[Any], shape: Sequence[Any], sizes: dict[str, Any]) -> None:
    """The names that stand alone are these sizes, unless they are known."""
    for d, have in zip(dims, shape, strict=False):
        if isinstance(d, str) and d.isidentifier():
            sizes.setdefault(str(d), have)


def match(
    dims: Sequence[Any],
    shape: Sequence[Any],
    sizes: dict[str, Any],
    wholes: dict[str, Any],
    differ: Callable[..., bool],
) -> tuple[Any, ...] | None:
    """The sizes that dims say of an argument of this shape, what its names stand for being added to ``sizes``; None
    where they differ."""
    wanted = [have if isinstance(d, str) else d for d, have in zip(dims, shape, strict=True)]
    todo = [k for k, d in enumerate(dims) if isinstance(d, str)]
    if any(map(differ, wanted, shape)):
        return None
    learn(dims, shape, sizes)
    for _ in dims:  # each turn may give a name to another
        for k in todo:
            text = str(dims[k])
            unknown = [n for n in names_in(text) if n not in sizes]
            found = solve(text, unknown[0], "whole") if len(unknown) == 1 else None
            if found is not None:
                known = {**sizes, "whole": shape[k]}
                sizes[unknown[0]] = evaluate_size(found, known.__getitem__)
    for k in todo:
        text = str(dims[k])
        if all(n in sizes for n in names_in(text)):
            wanted[k] = evaluate_size(text, sizes.__getitem__)
        else:
            wanted[k] = wholes.setdefault(canonical(text), shape[k])
        if differ(wanted[k], shape[k]):
            return None
    return tuple(wanted)
