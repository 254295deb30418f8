"""``@ts.kernel``: programs on tiles, read from their Python source into the ``kernel`` blocks of the graph format.

The body is not run: its statements are translated one by one (``Reader``), so loops over tiles stay loops and
``m = m_new`` of a place writes it. What does not depend on the kernel's own names (``128 // 2``, a constant of the
module, ``ts.bf16``) is evaluated by Python. The compiler checks the text; its errors name the Python line.
"""

from __future__ import annotations

import ast
import functools
import inspect
import json
import linecache
import math
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from . import _core
from ._where import user_line
from .annot import TensorSpec, hints_of
from .dtypes import DType, as_dtype
from .eager import tensor_of
from .errors import ArgumentTypeError, ArgumentValueError, GraphTypeError, TesseraError
from .function import JitFunction
from .interop import is_numpy_number, kind_of
from .missing import TILE
from .numeric import NumericPolicy
from .trace import Record, Value, current
from .tree import is_tensor

__all__ = ["Kernel", "kernel"]

_BINARY = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.MatMult: "@",
}
_NAME = re.compile(r"[A-Za-z_]\w*")
_COMPARE = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}


class _Size(str):
    """The text of a size."""


class _Refused(Exception):
    def __init__(self, node: ast.AST, text: str) -> None:
        super().__init__(text)
        self.node = node


class Reader:
    """Translates the body of one kernel. ``lines`` are those of the text, ``places`` their Python lines."""

    def __init__(self, kernel: Kernel, tree: ast.FunctionDef, first: int, scope: dict[str, Any]) -> None:
        self.kernel, self.first, self.scope = kernel, first, scope
        self.lines: list[str] = []
        self.places: list[int] = []
        self.names: dict[str, Any] = {}  # Python name: the text that stands for it
        self.made: set[str] = set(kernel.words.values())
        self.cells: set[str] = set()  # names of places that can be written again
        self.depth = 1
        self.results: list[str] = []
        self.shared = 0
        self.tree = tree
        for name in kernel.params:
            self.names[name] = kernel.words[name]

    # ---- statements ----

    def read(self) -> None:
        body = self.tree.body
        if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body = body[1:]
        self._block(self._grid(body))

    def _grid(self, body: list[ast.stmt]) -> list[ast.stmt]:
        """Loops around everything are the axes of the grid; what stands in them is left."""
        body = [s for s in body if not self._does_nothing(s)]
        if any("*" in str((spec.dims or ("",))[0]) for spec in self.kernel.specs.values() if spec.dims):
            return body  # the leading product is an axis already
        axes: list[str] = []
        where: ast.stmt | None = None
        while len(body) == 1 and isinstance(body[0], ast.For) and self._word(body[0].iter) == "range":
            where, start, stop, step = body[0], *self._range(body[0])
            name = self._target(where.target)
            self.names[name] = self._fresh(name)
            axes.append(f"{self.names[name]} in {start}..{stop}" + ("" if step == "1" else f" step {step}"))
            body = where.body
        if where is not None:
            self.put(where, "grid " + ", ".join(axes))
        return body

    def _does_nothing(self, stmt: ast.stmt) -> bool:
        value = getattr(stmt, "value", None)
        if isinstance(stmt, ast.Pass):
            return True
        if value is None or self._word(value) != "context":
            return False
        if isinstance(stmt, ast.Assign) and isinstance(stmt.targets[0], ast.Name):
            self.names[stmt.targets[0].id] = None
        return True

    def put(self, node: ast.AST, text: str) -> None:
        self.lines.append("  " * self.depth + text)
        self.places.append(self.first + getattr(node, "lineno", 1) - 1)

    def _block(self, body: Sequence[ast.stmt]) -> None:
        for stmt in body:
            if isinstance(stmt, ast.Assign):
                if len(stmt.targets) != 1:
                    raise _Refused(stmt, "a kernel assigns to one name at a time")
                self._assign(stmt, stmt.targets[0], stmt.value)
            elif isinstance(stmt, ast.AnnAssign) and stmt.value is not None:
                self._assign(stmt, stmt.target, stmt.value)
            elif isinstance(stmt, ast.AugAssign):
                load = ast.copy_location(ast.Name(id=getattr(stmt.target, "id", ""), ctx=ast.Load()), stmt)
                self._assign(stmt, stmt.target, ast.copy_location(ast.BinOp(load, stmt.op, stmt.value), stmt))
            elif isinstance(stmt, ast.Expr):
                self._call_statement(stmt)
            elif isinstance(stmt, ast.For):
                self._loop(stmt)
            elif not isinstance(stmt, ast.Pass):
                raise _Refused(
                    stmt,
                    f"{type(stmt).__name__.lower()} has no meaning in a kernel: its statements are assignments, loops"
                    " over ts.tile.range, and the words of ts.tile",
                )

    def _assign(self, stmt: ast.stmt, target: ast.expr, value: ast.expr) -> None:
        word = self._word(value)
        if isinstance(target, ast.Tuple):
            if isinstance(value, ast.Attribute) and value.attr == "shape":
                sizes = self._shape(value)
                if len(sizes) != len(target.elts):
                    raise _Refused(stmt, f"{len(target.elts)} names for {len(sizes)} sizes")
                for t, s in zip(target.elts, sizes, strict=True):
                    self.names[self._target(t)] = s
                return
            if not all(isinstance(t, ast.Name) for t in target.elts):
                raise _Refused(target, "a kernel assigns to names")
            text = self._text(value)
            words = []
            for t in target.elts:
                name = self._target(t)
                if name in self.cells:
                    raise _Refused(t, f"{name!r} is a place; give the result a name of its own and assign that")
                words.append(self._fresh(name))
            self.put(stmt, f"{', '.join(words)} = {text}")
            for t, w in zip(target.elts, words, strict=True):
                self.names[self._target(t)] = w
            return
        name = self._target(target)
        if word == "context":
            self.names[name] = None
            return
        known, constant = self._constant(value)
        if known and name not in self.cells:
            self.names[name] = constant
            return
        if isinstance(value, ast.Subscript) and self._is_shape(value.value):
            self.names[name] = self._size(value)
            return
        text = self._text(value)
        if name in self.cells:
            self.put(stmt, f"set {self.names[name]} = {text}")
            return
        made = self._fresh(name)
        self.put(stmt, f"{made} = {text}")
        self.names[name] = made
        if word in ("alloc_shared", "alloc_register"):
            self.cells.add(name)
        if word == "alloc_shared":
            self._count_shared(value)

    def _count_shared(self, call: ast.expr) -> None:
        assert isinstance(call, ast.Call)
        sizes = [self._constant(a)[1] for a in call.args]
        dtype = next((self._constant(k.value)[1] for k in call.keywords if k.arg == "dtype"), None)
        if all(isinstance(n, int) for n in sizes) and isinstance(dtype, DType):
            self.shared += math.prod(sizes) * dtype.bits // 8
        most = max(shared for name, shared in _core.targets() if name.startswith("sm_"))
        if self.shared > most:
            raise _Refused(call, f"{self.shared} bytes of shared memory; a cell has at most {most}")

    def _target(self, t: ast.expr) -> str:
        if not isinstance(t, ast.Name):
            raise _Refused(t, "a kernel assigns to names; ts.tile.store and ts.tile.fill write elsewhere")
        if t.id in self.kernel.params:
            raise _Refused(t, f"{t.id!r} is a parameter of the kernel; ts.tile.store({t.id}, …) writes a result")
        return t.id

    def _fresh(self, name: str) -> str:
        made, n = _safe(name), 1
        while made in self.made:
            n += 1
            made = _safe(f"{name}_{n}")
        self.made.add(made)
        return made

    def _call_statement(self, stmt: ast.Expr) -> None:
        word = self._word(stmt.value)
        if word is None:
            raise _Refused(stmt, "a value that nothing takes: assign it, or store it with ts.tile.store")
        call = stmt.value
        assert isinstance(call, ast.Call)
        if word == "context":
            return
        if word == "store":
            self._store(call)
        elif word in ("fill", "load_async", "barrier", "update_accumulator"):
            self.put(stmt, self._text(call))
        else:
            raise _Refused(stmt, f"the result of ts.tile.{word} is not used")

    def _store(self, call: ast.Call) -> None:
        if len(call.args) != 2 or call.keywords:
            raise _Refused(call, "ts.tile.store takes a result and a tile: store(O[…], tile)")
        base = call.args[0].value if isinstance(call.args[0], ast.Subscript) else call.args[0]
        if not isinstance(base, ast.Name) or base.id not in self.kernel.specs:
            raise _Refused(call.args[0], "ts.tile.store writes a ts.Tile parameter of the kernel")
        if base.id not in self.results:
            self.results.append(base.id)
        self.put(call, f"store({self._text(call.args[0])}, {self._text(call.args[1])})")

    def _range(self, stmt: ast.For) -> tuple[str, str, str]:
        """Start, stop and step of a loop over tiles."""
        if self._word(stmt.iter) != "range" or stmt.orelse:
            raise _Refused(stmt, "loops of a kernel run over ts.tile.range(extent, step=…)")
        call = stmt.iter
        assert isinstance(call, ast.Call)
        step: ast.expr | None = None
        for k in call.keywords:
            if k.arg != "step":
                raise _Refused(call, f"ts.tile.range has no argument {k.arg!r}")
            step = k.value
        args = list(call.args)
        if len(args) == 3:
            step = args.pop()
        if not 1 <= len(args) <= 2:
            raise _Refused(call, "ts.tile.range(stop, step=…) or ts.tile.range(start, stop, step=…)")
        start = self._size(args[0]) if len(args) == 2 else _Size("0")
        return start, self._size(args[-1]), _Size("1") if step is None else self._size(step)

    def _loop(self, stmt: ast.For) -> None:
        start, stop, step_text = self._range(stmt)
        outer_names, outer_cells = dict(self.names), set(self.cells)
        name = self._target(stmt.target)
        if name in self.cells:
            raise _Refused(stmt.target, f"{name!r} is a place already")
        carried = [
            n
            for n in _rebound(stmt.body)
            if n in self.names and n not in self.cells and n != name and not self._plain(n)
        ]
        var = self._fresh(name)
        self.names[name] = var
        inner = {}
        if carried:
            pairs = []
            for n in carried:
                inner[n] = self._fresh(n)
                pairs.append(f"{inner[n]} = {self.names[n]}")
            results = [self._fresh(n) for n in carried]
            self.put(
                stmt, f"{', '.join(results)} = for {var} in {start}..{stop} step {step_text} with {', '.join(pairs)} {{"
            )
            self.names.update(inner)
        else:
            self.put(stmt, f"for {var} in {start}..{stop} step {step_text} {{")
        self.depth += 1
        self._block(stmt.body)
        if carried:
            self.put(stmt, "yield " + ", ".join(str(self.names[n]) for n in carried))
        self.depth -= 1
        self.put(stmt, "}")
        # what the body made ends with it, as in the format
        self.names, self.cells = outer_names, outer_cells
        if carried:
            self.names.update(zip(carried, results, strict=True))

    def _plain(self, name: str) -> bool:
        return not isinstance(self.names[name], str) or isinstance(self.names[name], _Size)

    # ---- expressions ----

    def _word(self, node: ast.expr) -> str | None:
        """The word of ts.tile that is called, or None."""
        if not isinstance(node, ast.Call):
            return None
        fn = self._outer(node.func)
        word: str | None = getattr(fn, "__tessera_word__", None)
        if word in TILE:  # of a later release, which it says
            try:
                fn()
            except TesseraError as e:
                self.kernel._note(e, (self.kernel.file, self.first + node.lineno - 1))
                raise
        return word

    def _outer(self, node: ast.expr) -> Any:
        """What an expression means outside the kernel; None when it speaks of the kernel's own names."""
        if any(isinstance(n, ast.Name) and n.id in self.names for n in ast.walk(node)):
            return None
        try:
            return eval(compile(ast.Expression(node), self.kernel.file, "eval"), self.scope)
        except NameError as e:
            raise _Refused(node, str(e)) from None
        except Exception:
            return None

    def _constant(self, node: ast.expr) -> tuple[bool, Any]:
        """(True, number or element type) where Python knows it already."""
        names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.id in self.names]
        if any(isinstance(self.names[n], str) or self.names[n] is None for n in names):
            return False, None
        scope = {**self.scope, **{n: self.names[n] for n in names}}
        try:
            value = eval(compile(ast.Expression(node), self.kernel.file, "eval"), scope)
        except NameError as e:
            raise _Refused(node, str(e)) from None
        except Exception:
            return False, None
        if isinstance(value, (bool, int, float, DType)):
            return True, value
        return False, None

    def _is_shape(self, node: ast.expr) -> bool:
        return (
            isinstance(node, ast.Attribute)
            and node.attr == "shape"
            and isinstance(node.value, ast.Name)
            and node.value.id in self.kernel.specs
        )

    def _shape(self, node: ast.expr) -> list[_Size]:
        if not self._is_shape(node):
            raise _Refused(node, "sizes are those of the kernel's parameters: Q.shape[1]")
        assert isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        return [_Size(d) for d in self.kernel.specs[node.value.id].dims or ()]

    def _size(self, node: ast.expr) -> _Size:
        """An expression of sizes."""
        known, value = self._constant(node)
        if known:
            if not isinstance(value, int) or isinstance(value, bool):
                raise _Refused(node, f"{value!r} is no size")
            return _Size(value)
        if isinstance(node, ast.Subscript) and self._is_shape(node.value):
            ok, axis = self._constant(node.slice)
            sizes = self._shape(node.value)
            if not ok or not isinstance(axis, int) or not -len(sizes) <= axis < len(sizes):
                raise _Refused(node, f"a shape of {len(sizes)} sizes has no such axis")
            return sizes[axis]
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            return _Size(f"({self._size(node.left)} {_BINARY[type(node.op)]} {self._size(node.right)})")
        if isinstance(node, ast.Name) and node.id in self.names:
            return _Size(self.names[node.id])
        raise _Refused(node, "a size is made of numbers and sizes of the kernel's parameters (Q.shape[1])")

    def _text(self, node: ast.expr) -> str:
        known, value = self._constant(node)
        if known:
            return _literal(value)
        if isinstance(node, ast.Name):
            if self.names.get(node.id) is None:
                raise _Refused(node, f"{node.id!r} is no tile, number or size")
            return str(self.names[node.id])
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            return f"({self._text(node.left)} {_BINARY[type(node.op)]} {self._text(node.right)})"
        if isinstance(node, ast.UnaryOp):
            if isinstance(node.op, ast.USub):
                return f"(-{self._text(node.operand)})"
            if isinstance(node.op, (ast.Not, ast.Invert)):
                return f"(not {self._text(node.operand)})"
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitAnd, ast.BitOr)):
            word = "and" if isinstance(node.op, ast.BitAnd) else "or"
            return f"({self._text(node.left)} {word} {self._text(node.right)})"
        if isinstance(node, ast.Compare):
            if len(node.ops) != 1 or type(node.ops[0]) not in _COMPARE:
                raise _Refused(node, "comparisons of a kernel are a < b and the like, one at a time")
            return f"({self._text(node.left)} {_COMPARE[type(node.ops[0])]} {self._text(node.comparators[0])})"
        if isinstance(node, ast.Subscript):
            if self._is_shape(node.value):
                return f"({self._size(node)})"
            items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return f"{self._text(node.value)}[{', '.join(self._index(i) for i in items)}]"
        if isinstance(node, ast.Attribute) and node.attr == "T":
            return f"{self._text(node.value)}.T"
        if isinstance(node, ast.Call):
            return self._call(node)
        raise _Refused(node, f"{ast.unparse(node)} has no meaning in a kernel")

    def _index(self, node: ast.expr) -> str:
        if isinstance(node, ast.Slice):
            if node.step is not None:
                raise _Refused(node, "a slice of a kernel has no step")
            return f"{self._text(node.lower) if node.lower else ''}:{self._text(node.upper) if node.upper else ''}"
        if isinstance(node, ast.Constant) and node.value is None:
            return "none"
        if isinstance(node, ast.Constant) and node.value is Ellipsis:
            return "..."
        return self._text(node)

    def _call(self, node: ast.Call) -> str:
        word = self._word(node)
        args = node.args
        if word is not None:
            if word in ("range", "store", "context"):
                raise _Refused(node, f"ts.tile.{word} has no value here")
            name: str = word
        elif isinstance(node.func, ast.Attribute) and self._outer(node.func) is None:
            name, args = node.func.attr, [node.func.value, *args]  # a method of a tile
        else:
            fn = self._outer(node.func)
            name = str(getattr(fn, "__name__", ""))
            if fn is None or not getattr(fn, "__module__", "").startswith(__name__.partition(".")[0]):
                raise _Refused(
                    node, f"{ast.unparse(node.func)} is neither a word of ts.tile nor an operator of tessera"
                )
        if any(isinstance(a, ast.Starred) for a in args) or any(k.arg is None for k in node.keywords):
            raise _Refused(node, "calls of a kernel name each argument")
        parts = [self._argument(a) for a in args]
        parts += [f"{k.arg} = {self._argument(k.value)}" for k in node.keywords]
        return f"{name}({', '.join(parts)})"

    def _argument(self, node: ast.expr) -> str:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            known = _dtype_of(node.value)
            return known if known else json.dumps(node.value, ensure_ascii=False)
        return self._text(node)


def _dtype_of(text: str) -> str | None:
    try:
        return as_dtype(text).name
    except TesseraError:
        return None


def _safe(name: str) -> str:
    """In backticks any name will do, a keyword too; ``Kernel.text`` has them only where they are needed."""
    return f"`{name}`"


def _literal(value: Any) -> str:
    if isinstance(value, DType):
        return value.name
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    digits, e, exponent = repr(value).partition("e")
    return f"{digits}e{int(exponent)}" if e else digits


def _rebound(body: Sequence[ast.stmt]) -> list[str]:
    """The names that statements assign to, in order, inner loops too."""
    found: list[str] = []
    for stmt in body:
        for node in ast.walk(stmt):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id not in found:
                found.append(node.id)
    return found


class Kernel:
    """A kernel: called with tensors it compiles and runs; called in a ``ts.function`` it becomes part of the graph.

    Parameters annotated ``ts.Tile[…]`` are tensors; those that ``ts.tile.store`` writes are the results, and may be
    given at a call (they are written then) or left out (results are new tensors). Numbers are constants of the
    compilation.
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.__name__: str = fn.__name__
        self.signature = inspect.signature(fn)
        self.params: list[str] = []
        self.specs: dict[str, TensorSpec] = {}
        self.written: dict[str, TensorSpec] = {}  # the same as the annotations have them
        self.numbers: list[str] = []
        self.floats: list[str] = []
        self.words: dict[str, str] = {}
        self.results: list[str] = []
        self.lines: list[str] = []
        self.file, self.first = "", 0
        self.places: list[tuple[str, int]] = []
        self._own: Any = None
        self._read()

    @property
    def inputs(self) -> list[str]:
        """The names of the operands that are no results: tensors and numbers."""
        return [n for n in self.params if n not in self.results]

    @property
    def text(self) -> str:
        """The ``kernel`` block of the graph format."""
        return str(_core.format("tessera 1\n\n" + self._source())).partition("\n")[2].lstrip("\n")

    def _source(self) -> str:
        return "\n".join(self.lines) + "\n"

    def _read(self) -> None:
        try:
            source, first = inspect.getsourcelines(self.fn)
            self.file = inspect.getsourcefile(self.fn) or "<kernel>"
        except (OSError, TypeError):
            raise GraphTypeError(
                f"kernel {self.__name__!r}: its source cannot be read, and a kernel is read from it", "E_KERNEL"
            ) from None
        tree = ast.parse(textwrap.dedent("".join(source))).body[0]
        if not isinstance(tree, ast.FunctionDef):
            raise GraphTypeError("a kernel is a plain function", "E_KERNEL")
        self.first = first
        hints = hints_of(self.fn)
        for name, p in self.signature.parameters.items():
            if p.kind not in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY):
                raise self._error(
                    tree, f"parameter {name!r}: a kernel has no *args, **kwargs or keyword-only parameters", "E_KERNEL"
                )
            hint = hints.get(name)
            self.params.append(name)
            self.words[name] = _safe(name)
            if isinstance(hint, TensorSpec):
                if hint.dims is None or hint.dtype is None or Ellipsis in hint.dims:
                    raise self._error(
                        tree,
                        f'parameter {name!r}: a kernel needs its sizes and element type: ts.Tile["S", "D", ts.bf16]',
                        "E_KERNEL",
                    )
                self.specs[name] = hint
            elif hint in (float, int):
                self.numbers.append(name)
                if hint is float:
                    self.floats.append(name)
            else:
                raise self._error(
                    tree, f"parameter {name!r}: wanted ts.Tile[…], float or int, found {hint!r}", "E_KERNEL"
                )
        self.written = dict(self.specs)
        self._find_ones()
        code = self.fn.__code__
        scope = {**self.fn.__globals__, "__builtins__": __builtins__}
        for name, cell in zip(code.co_freevars, self.fn.__closure__ or (), strict=False):
            try:
                scope[name] = cell.cell_contents
            except ValueError:
                continue
        reader = Reader(self, tree, first, scope)
        try:
            reader.read()
        except _Refused as e:
            raise self._error(e.node, str(e), "E_KERNEL") from None
        self.results = [n for n in self.params if n in reader.results]
        if not self.results:
            raise self._error(tree, "nothing is stored: ts.tile.store(O[…], tile) writes a result", "E_KERNEL")
        operands = []
        for name in self.inputs:
            spec = self.specs.get(name)
            operands.append(f"{self.words[name]}: {_type(spec) if spec else 'f32[]'}")
        results = [f"{self.words[name]}: {_type(self.specs[name])}" for name in self.results]
        head = f"kernel {_safe(self.__name__)}({', '.join(operands)}) -> ({', '.join(results)}) {{"
        self.lines = [head, *reader.lines, "}"]
        here = self.first + tree.lineno - 1
        self.places = [(self.file, n) for n in (here, *reader.places, here)]

    def _error(self, node: ast.AST, text: str, code: str) -> GraphTypeError:
        e = GraphTypeError(f"kernel {self.__name__!r}: {text}", code)
        self._note(e, (self.file, self.first + getattr(node, "lineno", 1) - 1))
        return e

    def _note(self, e: TesseraError, place: tuple[str, int]) -> None:
        e.where = place  # type: ignore[attr-defined]
        line = linecache.getline(*place).strip()
        e.add_note(
            f'  File "{place[0]}", line {place[1]}, in kernel {self.__name__}' + (f"\n    {line}" if line else "")
        )

    def _sizes(self) -> list[str]:
        return [str(d) for spec in self.specs.values() for d in spec.dims or ()]

    def _find_ones(self) -> None:
        """Of a product such as "B*H", whose factors no operand gives by themselves, only the whole is known: the first
        name stands for it, and the others, under names of their own, for 1."""
        sizes = self._sizes()
        used = {n for d in sizes for n in _NAME.findall(d)}
        alone = {d for d in sizes if _NAME.fullmatch(d)}
        self.ones: set[str] = set()
        for name, spec in self.specs.items():
            dims: list[Any] = []
            for d in spec.dims or ():
                parts = [p.strip() for p in str(d).split("*")]
                if len(parts) > 1 and all(_NAME.fullmatch(p) for p in parts) and not alone.intersection(parts):
                    ones = [f"one_{p}" if f"one_{p}" not in used else f"one_{p}_{len(used)}" for p in parts[1:]]
                    self.ones.update(ones)
                    dims.append("*".join([parts[0], *ones]))
                else:
                    dims.append(d)
            self.specs[name] = type(spec)(tuple(dims), spec.dtype)

    def _graph_spec(self, name: str) -> TensorSpec:
        spec = self.specs[name]
        dims = tuple(
            "*".join(p for p in (q.strip() for q in d.split("*")) if p not in self.ones) if isinstance(d, str) else d
            for d in spec.dims or ()
        )
        return TensorSpec(dims, spec.dtype)

    def check(self) -> None:
        """Has the compiler check the kernel by itself; raises with the Python line."""
        from .trace import Context

        self._declare(Context(self.__name__))

    def _declare(self, context: Any) -> str:
        known = context.kernels
        if self not in known:
            try:
                names = {n: f"{n} = 1" if n in self.ones else n for d in self._sizes() for n in _NAME.findall(d)}
                head = ["tessera 1"] + ([f"dims {', '.join(names.values())}"] if names else [])
                text = "\n".join([*head, self._source()])
                known[self] = context.builder.kernel(text, [*([self.places[0]] * len(head)), *self.places])[0]
            except TesseraError as e:
                place = getattr(e, "where", None)
                if place is not None:
                    self._note(e, place)
                raise
        return str(known[self])

    def __hash__(self) -> int:
        return id(self)

    def add_to(self, context: Any, operands: Sequence[Any], place: tuple[str, int]) -> tuple[Value, ...]:
        """The kernel as a node of a graph: values and numbers in, values out."""
        name = self._declare(context)
        given = [
            context.use(x, "f32").id if isinstance(x, Value) or not isinstance(x, (int, float)) else x for x in operands
        ]
        record = Record("kernel", self.__name__, tuple(operands), self, None, place)
        ids = context.builder.call_kernel(name, given, place[0] or None, place[1])
        return tuple(Value(context, i, record, n) for n, i in enumerate(ids))

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        for name in kwargs:
            if name not in self.params:
                raise ArgumentTypeError(f"{self.__name__}: no argument named {name!r}", "E_ARGUMENTS")
        order = self.params if len(args) + len(kwargs) == len(self.params) else self.inputs
        if len(args) > len(order):
            wanted, written = ", ".join(self.inputs), ", ".join(self.results)
            raise ArgumentTypeError(
                f"{self.__name__}: wanted {len(self.inputs)} arguments ({wanted}), and {written} if it is written,"
                f" found {len(args) + len(kwargs)}",
                "E_ARGUMENTS",
            )
        bound = dict(zip(order, args, strict=False))
        for name, value in kwargs.items():
            if name in bound:
                raise ArgumentTypeError(f"{self.__name__}: argument {name!r} is given twice", "E_ARGUMENTS")
            bound[name] = value
        for name in self.inputs:
            if name not in bound:
                default = self.signature.parameters[name].default
                if default is inspect.Parameter.empty:
                    raise ArgumentTypeError(f"{self.__name__}: argument {name!r} is missing", "E_ARGUMENTS")
                bound[name] = default
        for name in self.numbers:
            if is_numpy_number(bound[name]):
                bound[name] = bound[name].item()
            if isinstance(bound[name], bool) or not isinstance(bound[name], (int, float, Value)):
                raise ArgumentTypeError(
                    f"argument {name!r}: wanted a number, found {type(bound[name]).__name__}", "E_ARGUMENTS"
                )
            if name in self.floats and isinstance(bound[name], int):
                try:
                    bound[name] = float(bound[name])
                except OverflowError:
                    raise ArgumentValueError(
                        f"argument {name!r}: wanted a number of f32, found an int beyond all floats", "E_ARGUMENTS"
                    ) from None
        return bound

    def symbolic(self, bound: dict[str, Any]) -> Any:
        """Called while a function is being traced."""
        context = current() or next(x.context for x in bound.values() if isinstance(x, Value))
        out = self.add_to(context, [bound[n] for n in self.inputs], user_line())
        return out[0] if len(out) == 1 else out

    def function(self) -> Callable[..., Any]:
        """A plain function of the operands that calls the kernel, with the annotations of its tensors."""

        def call(*args: Any) -> Any:
            return self.symbolic(dict(zip(self.inputs, args, strict=True)))

        call.__name__ = call.__qualname__ = self.__name__
        call.__doc__ = self.fn.__doc__
        call.__module__ = self.fn.__module__
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        call.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in self.inputs])  # type: ignore[attr-defined]
        call.__annotations__ = {n: self._graph_spec(n) for n in self.inputs if n in self.specs}
        return call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._own is None:
            self._own = JitKernel(self)
        return self._own(*args, **kwargs)

    @classmethod
    def __tessera_jit__(cls, fn: Kernel, policy: NumericPolicy | None = None, options: Sequence[str] = ()) -> JitKernel:
        return JitKernel(fn, policy=policy, options=options)


class JitKernel(JitFunction):
    """A compiled kernel: ``ts.jit(kernel)``."""

    def __init__(self, kernel: Kernel, *, policy: NumericPolicy | None = None, options: Sequence[str] = ()) -> None:
        super().__init__(kernel.function(), policy=policy, options=options, name=kernel.__name__)
        self.kernel = kernel
        self._shown = kernel.written
        self._numbers = [
            (i, float if n in kernel.floats else int) for i, n in enumerate(kernel.inputs) if n in kernel.numbers
        ]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from ._apply import has_symbolic, tracing

        kernel = self.kernel
        plain = not kwargs and len(args) == len(kernel.inputs) and not tracing.depth
        if plain and all(type(args[i]) is t for i, t in self._numbers) and not has_symbolic(args):
            return super().__call__(*args)
        bound = kernel._bind(args, kwargs)
        if tracing.depth or has_symbolic(bound.values()):
            return kernel.symbolic(bound)
        given = [n for n in kernel.results if n in bound]
        for n in given:
            _check_given(bound[n], kernel.written[n], n)
        out = super().__call__(*[bound[n] for n in kernel.inputs])
        if not given:
            return out
        results = dict(zip(kernel.results, out if isinstance(out, tuple) else (out,), strict=True))
        for n in given:
            _copy_into(bound[n], results[n], n)
            results[n] = bound[n]
        made = tuple(results.values())
        return made[0] if len(made) == 1 else made


def _check_given(to: Any, spec: TensorSpec, name: str) -> None:
    """What is given for a result can be written, and has its element type: nothing is converted on the way."""
    if not is_tensor(to):
        raise ArgumentTypeError(f"argument {name!r}: wanted {_type(spec)}, found {type(to).__name__}", "E_ARGUMENTS")
    t = tensor_of(to, f"argument {name!r}")
    if spec.dtype is not None and as_dtype(t.dtype).name != spec.dtype.name:
        raise ArgumentTypeError(f"argument {name!r}: wanted {_type(spec)}, found {t.dtype}{_shape_text(t)}", "E_TYPE")
    if len(t.shape) != len(spec.dims or ()):
        raise ArgumentValueError(f"argument {name!r}: wanted {_type(spec)}, found {t.dtype}{_shape_text(t)}", "E_RANK")
    if kind_of(to) == "jax":
        raise ArgumentTypeError(
            f"argument {name!r}: arrays of JAX cannot be written; leave it out, and the result is new", "E_ARGUMENTS"
        )
    if t.read_only:
        raise ArgumentValueError(f"argument {name!r} is to be written, and is read-only")


def _copy_into(to: Any, made: Any, name: str) -> None:
    """Writes a result into the tensor or array that was given for it."""
    if tuple(to.shape) != tuple(made.shape):
        raise ArgumentValueError(
            f"argument {name!r}: wanted {_shape_text(made)}, found {_shape_text(to)}", "E_SHAPE_MISMATCH"
        )
    if isinstance(to, _core.TensorBase):
        if not to.is_contiguous():
            raise ArgumentValueError(f"argument {name!r} is to be written, and is not contiguous")
        to._copy_from(_core.as_tensor(made))
    elif hasattr(to, "copy_"):  # PyTorch
        to.copy_(made if kind_of(made) == "torch" else sys.modules["torch"].from_dlpack(_core.as_tensor(made)))
    elif hasattr(to, "__setitem__") and hasattr(to, "flags"):  # NumPy
        to[...] = made if kind_of(made) == "numpy" else _core.as_tensor(made)._copy_to("cpu")
    else:
        raise ArgumentTypeError(
            f"argument {name!r}: a {type(to).__name__} cannot be written; leave it out, and the result is new",
            "E_ARGUMENTS",
        )


def _shape_text(x: Any) -> str:
    return "[" + ", ".join(str(d) for d in x.shape) + "]"


def _type(spec: TensorSpec | None) -> str:
    assert spec is not None and spec.dtype is not None
    return f"{spec.dtype}[{', '.join(str(d) for d in spec.dims or ())}]"


def kernel(fn: Callable[..., Any]) -> Kernel:
    """Makes a Python function over ``ts.Tile[…]`` parameters a kernel; see ``tessera.tile`` for its words.

    Errors: ``TypeError`` with the Python line for what has no meaning in a kernel; the compiler's own errors
    (sizes, types, cells that write the same elements) when it is compiled or checked with ``.check()``.
    """
    if isinstance(fn, Kernel):
        return fn
    if not callable(fn) or not hasattr(fn, "__code__"):
        raise GraphTypeError(f"kernel: wanted a function, found {type(fn).__name__}", "E_KERNEL")
    return Kernel(fn)
