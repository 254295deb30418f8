"""Graphs from symbolic tensors: ``op.tensor`` and ``op.placeholder`` are inputs, ``graph.module`` names a graph and
its outputs, ``graph.compile`` compiles one, ``.save`` writes it for other programs."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from . import _core, trace
from .dtypes import as_dtype
from .errors import ArgumentTypeError, GraphTypeError, GraphValueError
from .missing import OPERATORS, absent
from .tree import is_tensor

__all__ = ["CompiledGraph", "GraphModule", "backward", "compile", "module", "training_step"]

_open = threading.local()
_loose: weakref.ref[trace.Context] | None = None
_TARGETS = ("auto", "cpu", "cuda", "hip", "ptx")
PTX_ARCH = "sm_80"  # portable PTX: every later GPU takes it


def _context() -> trace.Context:
    """The graph that new symbolic tensors go to: that of the ``graph.module`` around, else one that lives as long as
    its tensors."""
    global _loose
    stack = getattr(_open, "stack", None)
    if stack:
        return stack[-1].context  # type: ignore[no-any-return]
    if trace.current() is not None:
        raise GraphTypeError(
            "op.tensor and op.placeholder make inputs, which a function that is being traced has as its arguments"
        )
    context = _loose() if _loose is not None else None
    if context is None:
        context = trace.Context("main")
        _loose = weakref.ref(context)
    return context


def symbol(shape: Any, dtype: Any, name: str | None) -> trace.Value:
    """``op.tensor`` and ``op.placeholder``."""
    if isinstance(shape, str) or not hasattr(shape, "__iter__"):
        shape = (shape,)
    context = _context()
    wanted = name or f"x{len(context.params)}"
    if name is not None and name in context.names and getattr(_open, "stack", None):
        raise GraphValueError(f"placeholder: there is an input {name!r} already", "E_ASSIGNED_TWICE")
    v = context.param(context.fresh_name(wanted), as_dtype(dtype), tuple(shape))
    v.record.attrs = name or ""  # as it was given: graphs by themselves name their inputs anew
    return v


def input_names(inputs: Sequence[trace.Value]) -> list[str]:
    """The names of a graph's inputs: those that were given, else x0, x1, … by place."""
    names: list[str] = []
    for i, p in enumerate(inputs):
        name = p.record.name if p.record.attrs is None else p.record.attrs or f"x{i}"
        while name in names:
            name += "_"
        names.append(name)
    return names


def free_inputs(roots: Sequence[trace.Value]) -> list[trace.Value]:
    """The ``op.tensor`` inputs that the values come from, in the order in which they were made."""
    seen: set[int] = set()
    found: dict[int, trace.Record] = {}
    todo: list[Any] = list(roots)
    while todo:
        x = todo.pop()
        if not isinstance(x, trace.Value) or id(x.record) in seen:
            continue
        seen.add(id(x.record))
        if x.record.kind == "param":
            found[id(x.record)] = x.record
        todo.extend(trace._flat(x.record.operands))
    return [p for p in roots[0].context.params if id(p.record) in found]


Signature = tuple[str, str, tuple[Any, ...]]


class CompiledGraph:
    """A graph with its outputs, compiled for a target: called with data, saved to a file."""

    def __init__(self, outputs: Sequence[tuple[str, trace.Value]], name: str, target: str = "auto") -> None:
        if not outputs:
            raise GraphValueError("compile: the graph has no output", "E_RESULTS")
        self.name, self.target = name, target
        self.outputs = list(outputs)
        self.inputs = free_inputs([v for _, v in outputs])
        self.names = input_names(self.inputs)
        self._calls: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._context: trace.Context | None = None

    def _lowered(self) -> tuple[trace.Context, list[tuple[str, trace.Value]]]:
        """The graph by itself, its parameters as inputs that calls fill in."""
        taken = set(self.names)
        name = self.name if self.name.isidentifier() and self.name not in taken else "main"
        context = trace.Context(name)
        with trace.entered(context):
            for p, given in zip(self.inputs, self.names, strict=True):
                sizes = [d if isinstance(d, int) else str(d) for d in p.shape]
                context.bind(p, context.param(given, p.dtype, sizes))
            results = []
            for out, v in self.outputs:
                while out in taken or out == name:
                    out += "_"
                taken.add(out)
                results.append((out, context.bring(v)))
        return context, results

    @property
    def tg(self) -> str:
        """The graph as a ``.tg`` text, with parameters as inputs."""
        context, results = self._lowered()
        return context.text(results)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the outputs: data for the inputs in the order in which they were made, or by name, or a dict of
        them."""
        from .backend import build
        from .eager import Hidden, same_device, tensor_of

        data = bind_inputs(self.inputs, args, kwargs)
        device = same_device(
            [tensor_of(x, given) for x, given in zip(data, self.names, strict=True) if is_tensor(x)], self.name
        )
        kind = device.partition(":")[0]
        made = self._calls.get(kind)
        if made is None:
            with self._lock:
                made = self._calls.get(kind)
                if made is None:
                    context, results = self._lowered()
                    made = self._calls[kind] = (build(context, results, device), Hidden(context.captured))
        call, parameters = made
        out = call(*data, *parameters.on(device))
        if len(self.outputs) == 1:
            return out
        return dict(zip((name for name, _ in self.outputs), out, strict=True))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the graph with its parameters: ``.tsr`` (text and weights, for every loader of this project), ``.so``
        (compiled for the target), or ``.tg`` (text; weights beside it)."""
        from .files import save_graph

        weights: dict[str, Any] = {}
        context, results = self._with_weights(weights)
        sets = {"W": weights} if weights else {}
        save_graph(context.text(results), path, name=context.name, archs=archs_of(self.target), weights=sets)

    def _with_weights(self, weights: dict[str, Any]) -> tuple[trace.Context, list[tuple[str, trace.Value]]]:
        context = _WeightContext(self.name if self.name.isidentifier() else "main", weights)
        with trace.entered(context):
            for p, given in zip(self.inputs, self.names, strict=True):
                sizes = [d if isinstance(d, int) else str(d) for d in p.shape]
                context.bind(p, context.param(given, p.dtype, sizes))
            taken = set(context.names)
            results = []
            for out, v in self.outputs:
                while out in taken or out == context.name:
                    out += "_"
                taken.add(out)
                results.append((out, context.bring(v)))
        return context, results

    def __repr__(self) -> str:
        return (
            f"<tessera graph {self.name}: {', '.join(self.names)} ->"
            f" {', '.join(n for n, _ in self.outputs)}, target {self.target}>"
        )


class _WeightContext(trace.Context):
    """A graph whose parameters are tensors of a weight file."""

    def __init__(self, name: str, weights: dict[str, Any]) -> None:
        super().__init__(name)
        self.weights = weights

    def parameter(self, tensor: Any, name: str) -> trace.Value:
        have = self._have.get(id(tensor))
        if have is None:
            if name in self.weights:
                raise GraphValueError(
                    f"two parameters are named {name!r}; give operators names of their own", "E_WEIGHT_TWICE"
                )
            if not self.weights:
                self.builder.weights_file("W", "W.safetensors")
            self.weights[name] = tensor
            ident = self.builder.weight("W", name, as_dtype(tensor.dtype).name, tuple(tensor.shape))
            have = self._have[id(tensor)] = trace.Value(
                self, ident, trace.Record("parameter", name, (), tensor, None, ("", 0))
            )
            self._keep.append(tensor)
        return have


def bind_inputs(inputs: Sequence[trace.Value], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The data for each input, by place or by name."""
    names = input_names(inputs)
    only = args[0] if args else None
    if isinstance(only, dict) and len(args) == 1 and not kwargs:
        args, kwargs = (), only
    if len(args) > len(names):
        raise ArgumentTypeError(
            f"the graph has {len(names)} inputs ({', '.join(names)}), found {len(args)}", "E_ARGUMENTS"
        )
    data = dict(zip(names, args, strict=False))
    for name, x in kwargs.items():
        if name not in names or name in data:
            raise ArgumentTypeError(
                f"the graph has no input {name!r}" if name not in names else f"input {name!r} is given twice",
                "E_ARGUMENTS",
            )
        data[name] = x
    missing = [n for n in names if n not in data]
    if missing:
        raise ArgumentTypeError(f"no data for {', '.join(missing)}", "E_ARGUMENTS")
    return [data[n] for n in names]


def call_value(v: trace.Value, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A symbolic value called: its free inputs take the arguments; with symbolic ones the result is symbolic again."""
    from ._apply import has_symbolic

    if has_symbolic(args) or has_symbolic(kwargs.values()):
        inputs = free_inputs([v])
        data = bind_inputs(inputs, args, kwargs)
        context = trace.context_of(data)
        assert context is not None
        return substitute(context, v, inputs, data)
    if v._compiled is None:
        v._compiled = CompiledGraph([("y", v)], "main")
    return v._compiled(*args, **kwargs)


def substitute(
    context: trace.Context, v: trace.Value, inputs: Sequence[trace.Value], data: Sequence[Any]
) -> trace.Value:
    """v with data in the place of its inputs, in ``context``."""
    sizes: dict[str, Any] = {}
    bound = []
    for p, x in zip(inputs, data, strict=True):
        to = context.use(x, p.dtype)
        if len(to.shape) != len(p.shape) or to.dtype.name != p.dtype.name:
            raise GraphValueError(
                f"input {p.record.name!r}: wanted {p._text()}, found {to._text()}", "E_SHAPE_MISMATCH"
            )
        for d, have in zip(p.shape, to.shape, strict=True):
            if isinstance(d, int):
                if isinstance(have, int) and have != d:
                    raise GraphValueError(
                        f"input {p.record.name!r}: wanted {p._text()}, found {to._text()}", "E_SHAPE_MISMATCH"
                    )
            elif str(d).isidentifier():
                sizes.setdefault(str(d), have)
        bound.append((p, to))
    old_sizes, old_imports = context.sizes, context._imports
    context.sizes, context._imports = {**old_sizes, **sizes}, [*old_imports, {}]
    try:
        for p, to in bound:
            context.bind(p, to)
        return context.again(v)
    finally:
        context.sizes, context._imports = old_sizes, old_imports


class GraphModule:
    """A named graph under construction, to be used as a context: ``with graph.module("name") as G:``.

    ``op.placeholder`` and ``op.tensor`` inside are its inputs, ``G.output(name, value)`` its outputs. It is called
    with data, compiled and saved as what ``graph.compile`` gives.
    """

    def __init__(self, name: str) -> None:
        if not name.isidentifier():
            raise GraphValueError(f"module: {name!r} is no name", "E_SYNTAX")
        self.name = name
        self.context = trace.Context(name)
        self.context.import_inputs = True
        self.outputs: list[tuple[str, trace.Value]] = []
        self._compiled: CompiledGraph | None = None

    def __enter__(self) -> GraphModule:
        _open.__dict__.setdefault("stack", []).append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        _open.stack.pop()

    def output(self, name: str, value: Any) -> None:
        """Makes ``value`` an output.

        Raises:
            TypeError: value is not symbolic.
            ValueError: there is such an output.
        """
        if not isinstance(value, trace.Value):
            raise GraphTypeError(
                f"output {name!r}: wanted a value of the graph, found {type(value).__name__}", "E_NOT_A_VALUE"
            )
        if any(n == name for n, _ in self.outputs):
            raise GraphValueError(f"output: there is an output {name!r} already", "E_ASSIGNED_TWICE")
        self.outputs.append((name, value if value.context is self.context else self.context.bring(value)))
        self._compiled = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._compiled is None:
            self._compiled = compile(self)
        return self._compiled(*args, **kwargs)

    @property
    def tg(self) -> str:
        """The graph as a ``.tg`` text."""
        return compile(self).tg

    def __repr__(self) -> str:
        return f"<tessera graph module {self.name}: {', '.join(n for n, _ in self.outputs) or 'no output yet'}>"


def module(name: str = "main") -> GraphModule:
    """A named graph; see ``GraphModule``."""
    return GraphModule(name)


def archs_of(target: str) -> tuple[str, ...]:
    """The architectures beside the CPU that a target names."""
    if target == "cpu":
        return ()
    if target == "ptx":
        return (PTX_ARCH,)
    if target in ("auto", "cuda"):
        from . import compile as compiler

        return tuple(compiler.native_archs()) or ((PTX_ARCH,) if target == "cuda" else ())
    return (target,)


def compile(value: Any, target: str = "auto", *, name: str | None = None) -> CompiledGraph:
    """A graph compiled for a target.

    Args:
        value: a symbolic value, a dict of such by name, or a ``graph.module``.
        target: "auto" (the CPU, and the GPUs of this machine), "cpu", "cuda", "ptx" (portable code for GPUs), or an
            architecture ("sm_90").
        name: of the graph.

    Raises:
        NotInRelease: target "hip".
        TypeError: a target that is no text.
        ValueError: another target.
    """
    if not isinstance(target, str):
        raise GraphTypeError(
            f"compile: argument 'target': wanted {', '.join(map(repr, _TARGETS))} or an architecture such as 'sm_90',"
            f" found {type(target).__name__}",
            "E_ATTR",
        )
    if target == "hip" or target.startswith("gfx"):
        return absent(f"graph.compile(target={target!r})", "code for AMD GPUs")
    if target not in _TARGETS:
        from . import compile as compiler

        try:
            (target,) = compiler.check_archs(target)
        except ValueError:
            raise GraphValueError(
                f"compile: argument 'target': wanted {', '.join(map(repr, _TARGETS))} or an architecture"
                f" ({', '.join(compiler.ARCHS)}), found {target!r}",
                "E_ATTR",
            ) from None
    if isinstance(value, GraphModule):
        return CompiledGraph(value.outputs, name or value.name, target)
    if isinstance(value, trace.Value):
        return CompiledGraph([("y", value)], name or "main", target)
    if isinstance(value, dict) and value and all(isinstance(v, trace.Value) for v in value.values()):
        return CompiledGraph(list(value.items()), name or "main", target)
    raise GraphTypeError(
        f"compile: wanted a symbolic value, a dict of such or a graph.module, found {type(value).__name__}",
        "E_NOT_A_VALUE",
    )


class Loaded:
    """A loaded file: its graphs by name, called with tensors."""

    def __init__(self, program: Any) -> None:
        self.program = program
        self._calls: dict[str, Any] = {}
        for i, g in enumerate(program.graphs):
            self._calls[g] = _core.Callable(program, i, [x[0] for x in program.inputs(i)])

    @property
    def graphs(self) -> list[str]:
        """The names of its graphs."""
        return list(self._calls)

    def inputs(self, graph: str | None = None) -> list[tuple[str, str, tuple[Any, ...]]]:
        """(name, dtype, sizes) of a graph's inputs."""
        return list(self.program.inputs(self._number(graph)))

    def outputs(self, graph: str | None = None) -> list[tuple[str, str, tuple[Any, ...]]]:
        """(name, dtype, sizes) of a graph's outputs."""
        return list(self.program.outputs(self._number(graph)))

    def _number(self, graph: str | None) -> int:
        names = self.graphs
        if graph is None:
            if len(names) != 1:
                raise ArgumentTypeError(f"which graph? there are {', '.join(names)}", "E_ARGUMENTS")
            return 0
        if graph not in names:
            raise GraphValueError(f"no graph {graph!r}; there are {', '.join(names)}", "E_UNKNOWN_NAME")
        return names.index(graph)

    def __call__(self, *args: Any, graph: str | None = None, **kwargs: Any) -> Any:
        """Runs a graph (the only one, if none is named) with tensors by place or by name."""
        number = self._number(graph)
        names = [x[0] for x in self.program.inputs(number)]
        only = args[0] if args else None
        if isinstance(only, dict) and len(args) == 1:
            args, kwargs = (), {**only, **kwargs}
        if kwargs:
            unknown = [k for k in kwargs if k not in names[len(args) :]]
            missing = [n for n in names[len(args) :] if n not in kwargs]
            if unknown or missing:
                raise ArgumentTypeError(
                    f"{self.graphs[number]} takes {', '.join(names)}"
                    + (f"; unknown: {', '.join(unknown)}" if unknown else "")
                    + (f"; missing: {', '.join(missing)}" if missing else ""),
                    "E_ARGUMENTS",
                )
            args = (*args, *(kwargs[n] for n in names[len(args) :]))
        return self._calls[self.graphs[number]](*args)

    def __getattr__(self, name: str) -> Any:
        calls = self.__dict__.get("_calls", {})
        if name in calls:
            return calls[name]
        raise AttributeError(f"no graph {name!r}; there are {', '.join(calls)}")

    def __repr__(self) -> str:
        return f"<tessera model {self.program.path}: {', '.join(self._calls)}>"


def load(path: str | os.PathLike[str]) -> Loaded:
    """A saved model: a ``.so`` of the compiler is loaded, a ``.tsr`` or ``.tg`` compiled for this machine first (once;
    it is cached).

    Raises:
        OSError: there is no such file.
        ValueError: the file is none of these.
    """
    p = Path(path)
    if p.suffix not in (".so", ".tsr", ".tg"):
        raise GraphValueError(f"load: {p.name} is no .so, .tsr or .tg", "E_ARGUMENTS")
    if not p.exists():
        raise FileNotFoundError(2, "load: no such file", str(p))
    if p.suffix == ".so":
        return Loaded(_core.load(str(p.resolve())))
    from .compile import native_archs
    from .files import build_file

    return Loaded(_core.load(str(build_file(p, native_archs()))))


def training_step(fn: Any = None, *, module: str | None = None) -> Any:
    """A step of training. Not in this release."""
    return absent("tessera.graph.training_step", OPERATORS["grad"])


def backward(loss: Any) -> Any:
    """The gradients of a loss. Not in this release."""
    return absent("tessera.graph.backward", OPERATORS["grad"])
