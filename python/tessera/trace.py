"""Graphs under construction: ``Context`` over the compiler's builder, and ``Value``, a tensor of such a graph.

Shapes and types of values are the compiler's own; nothing here computes one. Each operator notes the Python line that
asked for it.
"""

from __future__ import annotations

import functools
import operator
import re
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from . import _core
from ._apply import Symbolic, tracing
from ._where import user_line
from .annot import Sym, evaluate_size
from .dtypes import DType, as_dtype
from .errors import GraphTypeError, GraphValueError, TesseraError
from .interop import is_numpy_number
from .methods import TensorMethods
from .sizes import canonical
from .tree import is_tensor

__all__ = ["Context", "Record", "Value", "add_op", "beyond_sizes", "current", "evaluate_size", "numerics"]

_local = threading.local()
_SCALARS = (bool, int, float)
_contexts: weakref.WeakValueDictionary[int, Context] = weakref.WeakValueDictionary()  # by the id of their builders
_WITNESS = re.compile(r"(?:(?:\d+|\w+)\*)*([A-Za-z_]\w*)//(\d+)\Z")
MOST_BAKED = 1024  # bytes of a captured array that becomes a literal; larger ones become hidden inputs


def current() -> Context | None:
    """The graph that a function is being traced into on this thread, or None."""
    stack = getattr(_local, "stack", None)
    return stack[-1] if stack else None


@contextmanager
def entered(context: Context) -> Iterator[Context]:
    """Makes ``context`` the current one."""
    stack = _local.__dict__.setdefault("stack", [])
    stack.append(context)
    tracing.depth += 1
    tracing.busy += 1
    try:
        yield context
    finally:
        tracing.depth -= 1
        tracing.busy -= 1
        stack.pop()


@contextmanager
def numerics(policy: dict[str, Any]) -> Iterator[None]:
    """The operators added inside carry these keys of a ``numerics`` block; the inner one wins, key by key."""
    old = getattr(_local, "numerics", None)
    _local.numerics = {**(old or {}), **policy}
    tracing.busy += 1
    try:
        yield
    finally:
        _local.numerics = old
        tracing.busy -= 1


def current_numerics() -> dict[str, Any] | None:
    return getattr(_local, "numerics", None)


def numerics_key() -> Any:
    """What tells the policies apart that hold here."""
    policy = current_numerics()
    return tuple(sorted(policy.items())) if policy else None


class Record:
    """How a value was made, so that it can be made again in another graph."""

    __slots__ = ("attrs", "kind", "name", "numerics", "operands", "place")

    def __init__(
        self,
        kind: str,
        name: str,
        operands: tuple[Any, ...],
        attrs: Any,
        policy: dict[str, Any] | None,
        place: tuple[str, int],
    ) -> None:
        self.kind, self.name, self.operands, self.attrs, self.numerics, self.place = (
            kind,
            name,
            operands,
            attrs,
            policy,
            place,
        )


class Value(TensorMethods, Symbolic):
    """A tensor of a graph under construction: it has a shape, a type and operators, and no elements yet.

    Sizes that are not known are symbolic; they take part in arithmetic (``D // H``) and in shapes. A value that comes
    from ``op.tensor`` inputs is called with data for them, in the order in which they were made, and computes.
    """

    __slots__ = ("__weakref__", "_compiled", "_type", "context", "id", "index", "record")

    def __init__(self, context: Context, ident: int, record: Record, index: int = 0) -> None:
        self.context, self.id, self.record, self.index = context, ident, record, index
        self._type: tuple[str, tuple[Any, ...], str | None] | None = None
        self._compiled: Any = None  # what calling it made

    def _types(self) -> tuple[str, tuple[Any, ...], str | None]:
        if self._type is None:
            self._type = self.context.builder.type(self.id)
        return self._type

    @property
    def shape(self) -> tuple[Any, ...]:
        """The sizes: ints where they are known, else symbolic."""
        return self._types()[1]

    @property
    def dtype(self) -> DType:
        name, _, accum = self._types()
        return DType(name, accum)

    @property
    def ndim(self) -> int:
        return len(self._types()[1])

    @property
    def size(self) -> Any:
        """The number of elements."""
        n: Any = 1
        for d in self.shape:
            n = n * d
        return n

    def __repr__(self) -> str:
        return f"<tessera.Value {self._text()}>"

    def __format__(self, spec: str) -> str:
        return self._text()

    def _text(self) -> str:
        return f"{self.dtype}[{', '.join(str(d) for d in self.shape)}]"

    def __bool__(self) -> bool:
        raise GraphTypeError(
            f"a value of a graph ({self._text()}) is not known yet and has no truth; use tessera.where to choose"
            " elements"
        )

    def __float__(self) -> float:
        raise GraphTypeError(f"a value of a graph ({self._text()}) is not known yet and is no number")

    __int__ = __float__

    def __index__(self) -> int:
        raise GraphTypeError(f"a value of a graph ({self._text()}) is not known yet and is no index")

    def item(self) -> float:
        return self.__float__()

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise GraphTypeError(
            f"a value of a graph ({self._text()}) has no elements that NumPy could read; use the functions of tessera"
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Computes this value for data in the place of its ``op.tensor`` inputs."""
        from . import graph

        return graph.call_value(self, args, kwargs)

    def __len__(self) -> int:
        if not self.shape or not isinstance(self.shape[0], int):
            raise GraphTypeError(f"the length of {self._text()} is not known")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        n = len(self)
        return (self[i] for i in range(n))


class Where:
    """Tells the Python line of a value of a graph's text, by its name, and of a line of a kernel in it; ``whole`` is
    where the function begins."""

    def __init__(
        self,
        values: Callable[[str], tuple[str, int] | None],
        kernels: dict[str, list[tuple[str, int]]],
        whole: tuple[str, int] | None,
    ) -> None:
        self.values, self.kernels, self.whole = values, kernels, whole

    def __call__(self, name: str) -> tuple[str, int] | None:
        return self.values(name)

    def in_kernel(self, name: str, line: int, lines: int) -> tuple[str, int] | None:
        """Line ``line`` of the ``lines`` that kernel ``name`` has in the text; 0 is its head."""
        places = self.kernels.get(name)
        return None if not places else places[line] if len(places) == lines else places[0]


def literal_of(op: str, i: int, literal: Any) -> Any:
    """The element type of a number that is operand ``i``, where numbers among tensors are of type ``literal``."""
    if op != "attention" or i < 5:
        return literal
    return "int64" if i == 5 else "f32" if as_dtype(literal).name in ("f16", "bf16") else literal  # q_offset, factor


class Context:
    """A graph under construction."""

    def __init__(self, name: str = "f") -> None:
        self.name = name
        self.builder = _core.Builder(name)
        _contexts[id(self.builder)] = self
        self.params: list[Value] = []
        self.names: list[str] = []
        self.hidden_params: list[Value] = []
        self.captured: list[Any] = []  # what goes with them: an array, or a function that makes one at each call
        self.multiples: dict[str, int] = {}  # sizes that the program divides evenly
        self._have: dict[int, Value] = {}
        self._imports: list[dict[Any, Any]] = [{}]
        self._redone: set[int] = set()  # records of this graph that are being made again
        self._keep: list[Any] = []
        self.sizes: dict[str, Any] = {}  # what names of a signature, or of another graph, stand for here
        self.wholes: dict[str, Any] = {}  # products and sums of names that are known as a whole alone
        self.hidden_names: dict[str, str] = {}  # these names, and the text of the whole
        self.kernels: dict[Any, str] = {}  # those that the graph calls, and their names in its text
        self.as_written: Callable[[TesseraError], TesseraError] | None = None  # speaks of sizes as annotations do
        self.place: tuple[str, int] | None = None  # where the function begins that is traced
        self.import_inputs = False  # op.tensor inputs of other graphs become inputs of this one

    @property
    def where(self) -> Where:
        """What tells the Python line of a part of the text."""
        return Where(self.builder.where, {name: k.places for k, name in self.kernels.items()}, self.place)

    # ---- leaves ----

    def size(self, d: Any) -> Any:
        """d (an int, text, or a size of any graph) as a size of this graph."""
        if isinstance(d, _core.Dim):
            try:
                return self.builder.dim(d)
            except (TypeError, ValueError):
                return evaluate_size(str(d), self._name_of_size)
        if isinstance(d, str):
            if isinstance(d, Sym):
                if d not in self.sizes:
                    self.builder.declare(str(d), d.min, d.max, d.multiple_of)
            elif self.wholes and not d.isidentifier():
                whole = self.wholes.get(canonical(d))
                if whole is not None:
                    return whole
            return evaluate_size(d, self._name_of_size)
        return d

    def _name_of_size(self, name: str) -> Any:
        if name in self.sizes:
            return self.sizes[name]
        if name in self.hidden_names:
            raise GraphValueError(
                f"the size {name} is not known: of it the arguments of {self.name} say no more than"
                f" {self.hidden_names[name]}",
                "E_SIZE",
            )
        return self.builder.dim(name)

    def param(self, name: str, dtype: Any, dims: Sequence[Any]) -> Value:
        """A new input."""
        t = as_dtype(dtype)
        file, line = user_line()
        ident = self.builder.param(name, t.name, [self.size(d) for d in dims], t.accum, file or None, line)
        v = Value(self, ident, Record("param", name, (), None, None, (file, line)))
        self.params.append(v)
        self.names.append(name)
        return v

    def fresh_name(self, name: str) -> str:
        """name, or name with a number behind it that no input has."""
        made, n = name, 1
        while made in self.names:
            n += 1
            made = f"{name}_{n}"
        return made

    def capture(self, array: Any, name: str = "captured") -> Value:
        """An array of the program's as a value: a literal when it is small, else a hidden input."""
        have = self._have.get(id(array))
        if have is not None:
            return have
        t = _core.as_tensor(array)
        if t.nbytes <= MOST_BAKED and t.device == "cpu" and as_dtype(t.dtype).bits >= 8:
            ident = self.builder.const(str(t.dtype), t.shape, t.tobytes())
            v = Value(self, ident, Record("const", "", (), array, None, user_line()))
        else:
            v = self.hidden(name, t.dtype, t.shape, array)
        if len(self._imports) == 1 or v.record.kind == "param":
            self._have[id(array)] = v
        self._keep.append(array)
        return v

    def hidden(self, name: str, dtype: Any, dims: Sequence[Any], source: Any) -> Value:
        """An input that the caller does not give: source is an array, or a function called for one at each call."""
        name = self.fresh_name(name)
        t = as_dtype(dtype)
        v = Value(
            self,
            self.builder.param(name, t.name, [self.size(d) for d in dims], t.accum),
            Record("param", name, (), None, None, ("", 0)),
        )
        self.names.append(name)
        self.hidden_params.append(v)
        self.captured.append(source)
        return v

    def scalar(self, dtype: Any, value: float) -> Value:
        """A literal of rank 0."""
        t = as_dtype(dtype)
        return Value(self, self.builder.scalar(t.name, value), Record("scalar", t.name, (), value, None, user_line()))

    def size_value(self, d: Any, dtype: Any) -> Value:
        """A size as a number in the graph."""
        v = Value(self, self.builder.dim_value(self.size(d)), Record("dim", "", (), d, None, user_line()))
        return v if as_dtype(dtype).name == "int64" else self.op("cast", (v,), (("dtype", as_dtype(dtype).name),))

    # ---- values of other graphs ----

    def use(self, x: Any, literal: Any) -> Value:
        """x as a value of this graph; a number becomes a literal of type ``literal``."""
        if isinstance(x, Value):
            return self.bring(x)
        if isinstance(x, _SCALARS):
            return self.scalar(literal, int(x) if isinstance(x, bool) and as_dtype(literal).name != "bool" else x)
        if isinstance(x, _core.Dim):
            return self.size_value(x, literal)
        if isinstance(x, complex):
            raise GraphTypeError("complex numbers are no operands; give a tensor of complex64", "E_LITERAL_TYPE")
        return self.capture(x)

    def bring(self, v: Value) -> Value:
        """v, or a value of this graph that is the same as v, a value of another one."""
        have = self._find(v)
        if have is not None:
            return have
        todo = [v]
        while todo:
            top = todo[-1]
            if self._find(top) is not None:
                todo.pop()
                continue
            need = [o for o in _flat(top.record.operands) if isinstance(o, Value) and self._find(o) is None]
            if need:
                todo.extend(need)
                continue
            self._make_again(top)
            todo.pop()
        found = self._find(v)
        assert found is not None
        return found

    def again(self, v: Value) -> Value:
        """v made again from what ``bind`` put in the place of its inputs, also where v is of this graph."""
        old = self._redone
        reached: set[int] = set()
        todo: list[Any] = [v]
        while todo:
            x = todo.pop()
            if isinstance(x, Value) and x.context is self and id(x.record) not in reached:
                reached.add(id(x.record))
                todo.extend(_flat(x.record.operands))
        self._redone = old | reached
        try:
            return self.bring(v)
        finally:
            self._redone = old

    def bind(self, v: Value, to: Value) -> None:
        """``to`` stands for v, a value of another graph."""
        self._imports[-1][(id(v.record), v.index)] = to
        self._keep.append(v)

    def _find(self, v: Value) -> Value | None:
        for level in reversed(self._imports):
            found = level.get((id(v.record), v.index))
            if found is not None:
                return found  # type: ignore[no-any-return]
        return v if v.context is self and id(v.record) not in self._redone else None

    def _make_again(self, v: Value) -> None:
        r = v.record
        made: tuple[Value, ...]
        if r.kind == "op":
            made = self.add(r.name, r.operands, r.attrs, r.numerics, r.place)
        elif r.kind == "const":
            made = (self.capture(r.attrs),)
        elif r.kind == "scalar":
            made = (self.scalar(r.name, r.attrs),)
        elif r.kind == "dim":
            made = (self.size_value(r.attrs, "int64"),)
        elif r.kind == "parameter":
            made = (self.parameter(r.attrs, r.name),)
        elif r.kind == "loop":
            trips, body, n = r.attrs
            made = self.loop(trips, r.operands[:n], body, r.operands[n:])
        elif r.kind == "kernel":
            made = r.attrs.add_to(self, r.operands, r.place)
        elif self.import_inputs:
            made = (self.param(r.name, v.dtype, [str(d) if not isinstance(d, int) else d for d in v.shape]),)
        else:
            raise GraphValueError(
                f"{r.name!r} ({v._text()}) is an input of another graph and no argument of {self.name!r}",
                "E_UNKNOWN_NAME",
            )
        level = self._imports[0] if r.kind in ("param", "parameter") else self._imports[-1]
        for i, m in enumerate(made):
            level[(id(r), i)] = m
        self._keep.append(r)

    def parameter(self, tensor: Any, name: str) -> Value:
        """A trainable or given tensor of a model, by its name."""
        have = self._have.get(id(tensor))
        if have is None:
            have = self.hidden(name, tensor.dtype, tensor.shape, tensor)
            have.record = Record("parameter", name, (), tensor, None, ("", 0))
            self._have[id(tensor)] = have
            self._keep.append(tensor)
        return have

    # ---- operators ----

    def op(self, name: str, operands: tuple[Any, ...], attrs: tuple[tuple[str, Any], ...] = ()) -> Any:
        """Adds an operator: its result, or a tuple of them."""
        made = self.add(name, operands, attrs, current_numerics(), user_line())
        return made[0] if len(made) == 1 and name != "split" else made

    def add(
        self,
        name: str,
        operands: tuple[Any, ...],
        attrs: tuple[tuple[str, Any], ...],
        policy: dict[str, Any] | None,
        place: tuple[str, int],
    ) -> tuple[Value, ...]:
        for i, x in enumerate(operands):
            if not (x is None or isinstance(x, (*_SCALARS, complex, _core.Dim)) or is_tensor(x)):
                raise GraphTypeError(
                    f"{name}: operand {i + 1}: wanted a tensor or a number, found {type(x).__name__}", "E_ARGUMENTS"
                )
        operands = tuple([x.item() if is_numpy_number(x) else x for x in operands])
        literal = _literal_type(name, operands)
        used = tuple(
            None if x is None else self.use(x, literal_of(name, i, literal))
            for i, x in enumerate(operands)
        )
        ids = [None if x is None else x.id for x in used]
        given = {key: self._attr(value) for key, value in attrs if value is not None}
        if name == "reshape":
            self._note_multiples(given["shape"])
        results = self.builder.op(name, ids, given, file=place[0] or None, line=place[1], numerics=policy or None)
        record = Record("op", name, used, tuple(given.items()), policy, place)
        return tuple(Value(self, ident, record, i) for i, ident in enumerate(results))

    def _attr(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [self.size(v) for v in value]
        if isinstance(value, _core.Dim):
            return self.size(value)
        if isinstance(value, DType):
            return value.name
        if isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, Value):
            raise GraphTypeError(
                "an attribute is known when the graph is made; it cannot be a value of the graph", "E_ATTR"
            )
        if hasattr(value, "__index__"):
            return int(value)
        if hasattr(value, "__float__"):
            return float(value)
        return as_dtype(value).name

    def _note_multiples(self, shape: Any) -> None:
        """A reshape that has a size D//16 takes D apart evenly: D is a multiple of 16 whenever it runs."""
        for d in shape if isinstance(shape, list) else ():
            if isinstance(d, _core.Dim):
                m = _WITNESS.match(str(d))
                if m:
                    have = self.multiples.get(m[1], 1)
                    self.multiples[m[1]] = have if have % int(m[2]) == 0 else have * int(m[2])

    def loop(
        self, trips: int, carried: tuple[Any, ...], body: Callable[..., Any], reads: tuple[Any, ...] = ()
    ) -> tuple[Value, ...]:
        """A loop of the graph, kept folded: ``body(index, *values)`` is traced once and gives the values of the next
        iteration. ``reads`` are the values from outside that the body uses."""
        if self._redone:
            raise GraphTypeError("a loop of a graph cannot be applied once more in it; write it in a ts.function")
        start = [self.use(c, "f32") for c in carried]
        index, args = self.builder.loop_begin(trips, [c.id for c in start])
        self._imports.append({})
        place = user_line()
        inside = [Value(self, a, Record("loop-arg", "", (), None, None, place)) for a in args]
        after = body(index, *inside)
        after = after if isinstance(after, (list, tuple)) else (after,)
        ids = [self.use(a, "f32").id for a in after]
        self._imports.pop()
        made = self.builder.loop_end(ids)
        record = Record("loop", "", (*carried, *reads), (trips, body, len(carried)), None, place)
        return tuple(Value(self, ident, record, i) for i, ident in enumerate(made))

    # ---- the end ----

    def text(self, results: Sequence[tuple[str, Value]], policy: dict[str, Any] | None = None) -> str:
        """The graph as a canonical .tg text."""
        params = [p.id for p in (*self.params, *self.hidden_params)]
        return str(self.builder.text([(name, v.id) for name, v in results], params, policy or None))


def _flat(operands: Any) -> Iterator[Any]:
    for o in operands:
        if isinstance(o, (list, tuple)):
            yield from _flat(o)
        else:
            yield o


def _literal_type(name: str, operands: tuple[Any, ...]) -> str:
    """The type that a number among the operands takes: that of the others."""
    for x in operands[1:] if name == "where" else operands:
        if isinstance(x, Value):
            return x.dtype.name
        if x is not None and not isinstance(x, (*_SCALARS, _core.Dim, complex)):
            return str(_core.as_tensor(x).dtype)
    among = operands[1:] if name == "where" else operands
    numbers = [x for x in among if isinstance(x, _SCALARS)]
    if any(isinstance(x, _core.Dim) for x in among) and not any(isinstance(x, float) for x in numbers):
        return "int64" if "int64" in _operators()[name] else "f32"
    return (
        "f32"
        if any(isinstance(x, float) for x in numbers)
        else "bool"
        if all(isinstance(x, bool) for x in numbers)
        else "int64"
    )


@functools.cache
def _operators() -> dict[str, tuple[str, ...]]:
    """The element types that operators take."""
    return {op["name"]: tuple(op["types"]) for op in _core.ops()}


def context_of(operands: Any) -> Context | None:
    """The graph that an operator on these operands goes to: the current one, else that of the first symbolic
    operand."""
    inside = current()
    if inside is not None:
        return inside
    for x in _flat(operands):
        if isinstance(x, Value):
            return x.context
        if isinstance(x, _core.Dim) and id(x.builder) in _contexts:
            return _contexts[id(x.builder)]
    return None


def _graph_of(operands: Any) -> Context:
    context = context_of(operands)
    if context is None:
        raise GraphTypeError("a size is a number in its own graph alone, which is not there any more", "E_NOT_A_VALUE")
    return context


def beyond_sizes(name: str, a: Any, b: Any) -> Any:
    """Python's operator ``name`` on a size and what is no size, such as ``D ** -0.5``: a number of the graph, f32[],
    or with a tensor what the operator gives. Between sizes and integers it is division alone that gets here.
    NotImplemented for what is no operand. A float without a fraction is compared as the integer that it is."""
    if is_numpy_number(a) or is_numpy_number(b):
        a, b = (x.item() if is_numpy_number(x) else x for x in (a, b))
        return getattr(operator, "truediv" if name == "div" else name)(a, b)
    tensors = is_tensor(a) or is_tensor(b)
    if not tensors:
        if not all(isinstance(x, (int, float, _core.Dim)) for x in (a, b)):
            return NotImplemented
        if name in ("eq", "ne") and isinstance(b, float) and b.is_integer():
            return getattr(operator, name)(a, int(b))
        if name not in ("add", "sub", "mul", "div", "pow"):
            return NotImplemented
        if name == "pow" and isinstance(b, _core.Dim) and not isinstance(a, float):
            return NotImplemented
    context = _graph_of((a, b))
    if tensors:
        return context.op(name, (a, b))
    x, y = (context.size_value(n, "f32") if isinstance(n, _core.Dim) else n for n in (a, b))
    if name != "pow":
        return context.op(name, (x, y))
    from . import ops

    return context.op("rsqrt", (x,)) if b == -0.5 else ops.power(x, y)


def add_op(name: str, operands: tuple[Any, ...], attrs: tuple[tuple[str, Any], ...]) -> Any:
    """The operator, in the graph of its symbolic operands."""
    return _graph_of(operands).op(name, operands, attrs)
