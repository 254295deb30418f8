"""Operators inside ``jax.jit``: each call is one custom call of the compiled program, on the CPU and on NVIDIA GPUs.

::

    import jax
    from tessera.jax import op as t_op

    @jax.jit
    def step(x, W):
        return t_op.matmul(x, W)

``op`` has all of ``tessera.ops``. ``wrap`` does the same for a function made of operators, a ``ts.function``, or
anything else that ``ts.jit`` takes; a ``ts.function`` called inside ``jax.jit`` does it by itself. Shapes and element
types are the compiler's, so what does not fit is a TypeError or ValueError while JAX traces. ``jax.vmap``,
``jax.shard_map`` and ``jax.pmap`` work; derivatives are not in this release.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import re
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from . import _core, ops, trace
from ._apply import apply, has_symbolic, tracing
from ._vmap import NoAxis, prime_above, with_axis
from .dtypes import as_dtype
from .eager import Pattern
from .errors import ArgumentTypeError, GraphTypeError, GraphValueError, NotInRelease, TesseraError
from .missing import GRAD
from .module import CompiledModule, Module
from .tree import flatten, is_tensor, unflatten

try:
    import jax
    import jax.numpy as jnp
except ImportError as e:
    raise ImportError(
        "tessera.jax needs the package 'jax', which is not installed (pip install jax)", name="jax"
    ) from e

__all__ = ["op", "wrap"]

_LOCK = threading.Lock()
_targets: dict[str, str] = {}  # of files that XLA knows, the names it knows them by

Specs = tuple[tuple[str, tuple[int, ...]], ...]  # (element type, sizes) of each array


# ---- graphs ---------------------------------------------------------------------------------------------------------


class Graph:
    """A function traced for arrays of some types and sizes."""

    def __init__(self, context: trace.Context, results: Sequence[trace.Value], out_tree: Any) -> None:
        self.context, self.results, self.out_tree = context, list(results), out_tree

    def canonical(self) -> Graph:
        """With the results in element types that JAX has just now: without x64, int64 becomes int32."""
        with trace.entered(self.context):
            for i, v in enumerate(self.results):
                have = v.dtype.storage
                want = as_dtype(jax.dtypes.canonicalize_dtype(_jax_dtype(have, "a result")))
                if want != have:
                    self.results[i] = self.context.op("cast", (v,), (("dtype", want.name),))
        return self

    def text(self) -> str:
        return self.context.text([(_free(f"y{i}", self.context.names), v) for i, v in enumerate(self.results)])


def _free(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name += "_"
    return name


class Traced:
    """A Python function with everything about a call but the arrays: which arguments they are, and all others."""

    def __init__(
        self, fn: Callable[..., Any], name: str, signature: inspect.Signature, tree: Any, names: Sequence[str]
    ) -> None:
        self.fn, self.name, self.signature, self.tree, self.names = fn, name, signature, tree, tuple(names)
        self.options: tuple[str, ...] = tuple(getattr(fn, "options", ()))
        self.calls: dict[Any, Call] = {}

    def graph(self, specs: Sequence[tuple[str, Sequence[Any]]]) -> Graph:
        """The graph for these types and sizes, which may be names."""
        context = trace.Context(_free("jax_" + re.sub(r"\W+", "_", self.name), self.names))
        with trace.entered(context):
            values = [context.param(n, t, dims) for n, (t, dims) in zip(self.names, specs, strict=True)]
            bound = inspect.BoundArguments(self.signature, unflatten(self.tree, iter(values)))  # type: ignore[arg-type]
            out = self.fn(*bound.args, **bound.kwargs)
            found: list[tuple[str, Any]] = []
            out_tree = flatten(out, "y", found)
            results = [context.use(v, "f32") for _, v in found]
        if not results:
            raise GraphTypeError(f"{self.name} gives {type(out).__name__}, and no tensor")
        return Graph(context, results, out_tree)


class Batched:
    """Another one with an axis more in front of some arrays."""

    def __init__(self, inner: Traced | Batched, batched: tuple[bool, ...]) -> None:
        self.inner, self.batched = inner, batched
        self.name: str = inner.name
        self.names: tuple[str, ...] = inner.names
        self.options: tuple[str, ...] = inner.options
        self.calls: dict[Any, Call] = {}

    def graph(self, specs: Sequence[tuple[str, Sequence[Any]]]) -> Graph:
        within = self.inner.graph([(t, d[1:] if b else d) for (t, d), b in zip(specs, self.batched, strict=True)])
        context = trace.Context(within.context.name)
        with trace.entered(context):
            values = [context.param(n, t, dims) for n, (t, dims) in zip(self.names, specs, strict=True)]
            results = with_axis(within.context, within.results, values, self.batched)
        if not all(b for _, b in results):
            raise NoAxis("a result does not depend on the axis")
        return Graph(context, [v for v, _ in results], within.out_tree)


# ---- calls ----------------------------------------------------------------------------------------------------------


class Call:
    """What serves calls with arrays of these types and sizes: the shapes of the results, and, compiled when it is first
    asked for, the custom call."""

    def __init__(self, of: Traced | Batched, specs: Specs) -> None:
        self.of, self.specs = of, specs
        self.policy = trace.current_numerics()
        known = of.graph(specs).canonical()
        self.out_tree = known.out_tree
        self.shapes = [
            jax.ShapeDtypeStruct(tuple(int(d) for d in v.shape), _jax_dtype(v.dtype.storage, of.name))
            for v in known.results
        ]
        self._batched: dict[tuple[bool, ...], Batched | None] = {}
        self._known = known
        self._lock = threading.RLock()
        self.target, self.constants = self._compile()
        self.run = jax.jit(_differentiable(of.name, self.shapes, _mappable(self)))

    def _compile(self) -> tuple[str, list[Any]]:
        """The name by which XLA knows the artifact, and the arrays it gets beside the arguments."""
        from . import backend

        try:
            pattern = Pattern(prefix=_prefix(self.of.names))
            graph = self.of.graph([(t, pattern.of(d)) for t, d in self.specs]).canonical()
        except (GraphTypeError, GraphValueError, NoAxis):
            graph = self._known  # only these very sizes
        for source in graph.context.captured:
            if callable(source) and not is_tensor(source):
                raise GraphTypeError(
                    f"{self.of.name}: random numbers inside jax.jit need their key as an argument; without one they"
                    " would be drawn once, when JAX traces",
                    "E_ARGUMENTS",
                )
        made = backend.build_text(
            graph.text(),
            graph.context.name,
            _device(),
            graph.context.names,
            self.of.options,
            where=graph.context.where,
        )
        with jax.ensure_compile_time_eval():  # the call outlives what is being traced
            return _target(made.program), [_copied(s) for s in graph.context.captured]

    def execute(self, *arrays: Any) -> tuple[Any, ...]:
        """The custom call on these arrays."""
        arrays = (*arrays, *self.constants)
        axes = frozenset().union(*(_varying(x) for x in arrays)) if arrays else frozenset()
        arrays = tuple(_vary(x, axes - _varying(x)) for x in arrays)
        results = jax.ffi.ffi_call(self.target, tuple(self.shapes))(*arrays)
        return tuple(_vary(y, axes - _varying(y)) for y in results)

    def with_axis(self, batched: tuple[bool, ...], size: int) -> Call | None:
        """The call on arrays that have an axis more where ``batched`` says so; None where no one graph does that."""
        with self._lock:
            if batched not in self._batched:
                self._batched[batched] = self._try_axis(batched)
            found = self._batched[batched]
        if found is None or size == 0:
            return None
        specs = tuple((t, (size, *d) if b else d) for (t, d), b in zip(self.specs, batched, strict=True))
        with self._lock, trace.numerics(self.policy or {}):
            return _call_for(found, specs)

    def _try_axis(self, batched: tuple[bool, ...]) -> Batched | None:
        prime = prime_above([d for _, dims in self.specs for d in dims] + [d for s in self.shapes for d in s.shape])
        of = Batched(self.of, batched)
        try:
            with trace.numerics(self.policy or {}):
                of.graph([(t, (prime, *d) if b else d) for (t, d), b in zip(self.specs, batched, strict=True)])
        except (NoAxis, TesseraError):
            return None
        return of


def _prefix(names: Sequence[str]) -> str:
    """What names of sizes begin with, so that none is an argument's."""
    prefix = "n"
    while any(re.fullmatch(prefix + r"\d+", n) for n in names):
        prefix += "_"
    return prefix


def _device() -> str:
    """Where JAX computes unless it is told otherwise; the artifact has code for the CPU in any case."""
    return "cuda" if jax.default_backend() == "gpu" else "cpu"


def _target(program: Any) -> str:
    """Registers the artifact with XLA, once in this process."""
    with _LOCK:
        name = _targets.get(program.path)
        if name is None:
            key = os.path.basename(os.path.dirname(program.path))
            name = f"tessera.{program.name}.{key}"
            handler = program.xla_handler()
            for platform in ("cpu", "CUDA"):
                jax.ffi.register_ffi_target(name, handler, platform=platform)
            _targets[program.path] = name
    return name


def _differentiable(name: str, shapes: Sequence[Any], execute: Any) -> Any:
    """execute, with derivatives: zeros where no result has any, else the error that there are none yet."""
    made: Any = jax.custom_jvp(execute)
    discrete = not any(jnp.issubdtype(s.dtype, jnp.inexact) for s in shapes)

    @made.defjvp  # type: ignore[untyped-decorator]
    def rule(primals: Any, tangents: Any) -> Any:
        if not discrete:
            raise NotInRelease(f"the derivative of tessera's {name} is not in this release: {GRAD}")
        import numpy as np

        return execute(*primals), tuple(np.zeros(s.shape, jax.dtypes.float0) for s in shapes)

    return made


def _mappable(call: Call) -> Any:
    """The call, with what jax.vmap does to it: one call with an axis more, or one after the other."""
    made: Any = jax.custom_batching.custom_vmap(call.execute)

    @made.def_vmap  # type: ignore[untyped-decorator]
    def rule(size: int, batched: Sequence[bool], *arrays: Any) -> Any:
        which = tuple(bool(b) for b in batched)
        one = call.with_axis(which, size)
        if one is not None:
            return one.run(*arrays), (True,) * len(call.shapes)

        def each(mapped: Any) -> Any:
            it = iter(mapped)
            return call.run(*(next(it) if b else x for x, b in zip(arrays, which, strict=True)))

        mapped = tuple(x for x, b in zip(arrays, which, strict=True) if b)
        return jax.lax.map(each, mapped), (True,) * len(call.shapes)

    return made


def _call_for(of: Traced | Batched, specs: Specs) -> Call:
    policy = trace.current_numerics()
    key = (specs, bool(jax.config.jax_enable_x64), tuple(sorted(policy.items())) if policy else None)
    found = of.calls.get(key)
    if found is None:
        found = of.calls.setdefault(key, Call(of, specs))
    return found


# ---- arrays ---------------------------------------------------------------------------------------------------------


def _jax_dtype(t: Any, what: str) -> Any:
    if t.bits >= 8:
        with contextlib.suppress(TypeError):
            return jnp.dtype(t.numpy_name)
    raise ArgumentTypeError(f"{what}: JAX's custom calls take no elements of type {t.name}", "E_TYPE")


_types: dict[Any, str] = {}  # of JAX, by our names


def _spec(x: Any, name: str, path: str) -> tuple[str, tuple[int, ...]]:
    found = _types.get(x.dtype)
    if found is None:
        what = f"{name}: argument {path!r}"
        try:
            t = as_dtype(x.dtype)
        except GraphTypeError as e:
            raise ArgumentTypeError(f"{what}: {e}", e.code) from None
        _jax_dtype(t, what)
        found = _types[x.dtype] = t.name
    return found, x.shape


def _array(x: Any) -> Any:
    """x, of any library, as an array of JAX."""
    if isinstance(x, jax.Array):
        return x
    if not hasattr(x, "__dlpack__") or type(x).__module__.startswith("numpy"):
        return jnp.asarray(x)
    return jax.dlpack.from_dlpack(x)


def _copied(x: Any) -> Any:
    """An array that the function takes from outside, on whichever device XLA wants it."""
    import numpy as np

    return jnp.asarray(np.asarray(_core.as_tensor(x)._copy_to("cpu")))


def _varying(x: Any) -> frozenset[Any]:
    """The axes of the mesh of a shard_map along which x differs."""
    t = jax.typeof(x)
    kind = getattr(t, "mat", None)
    return frozenset(getattr(t, "vma", ()) if kind is None else kind.varying)


def _vary(x: Any, axes: frozenset[Any]) -> Any:
    return jax.lax.pcast(x, tuple(sorted(axes, key=str)), to="varying") if axes else x


# ---- what programs call ---------------------------------------------------------------------------------------------


def wrap(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function made of operators (also a ``ts.function``, ``ts.jit`` or ``ts.Module``) as a function over arrays of
    JAX, inside ``jax.jit`` and outside of it: all of it is one custom call.

    Arguments are arrays, dicts, lists and tuples of them, and anything else is a constant of the trace.

    Raises:
        TypeError: element types or arguments that the function does not take.
        ValueError: ranks or sizes that do not fit.
    """
    if not callable(fn):
        raise GraphTypeError(f"wrap: wanted a function, found {type(fn).__name__}", "E_ARGUMENTS")
    if isinstance(fn, (Module, CompiledModule)):
        return _wrapped_module(fn if isinstance(fn, CompiledModule) else fn.__tessera_jit__())
    name = str(getattr(fn, "__name__", type(fn).__name__))
    signature = inspect.signature(fn)
    traced: dict[Any, Traced] = {}

    @functools.wraps(fn, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        if tracing.depth or has_symbolic(args) or has_symbolic(kwargs.values()):
            return fn(*args, **kwargs)
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as e:
            raise ArgumentTypeError(f"{name}: {e}", "E_ARGUMENTS") from None
        leaves: list[tuple[str, Any]] = []
        tree = flatten(dict(bound.arguments), "", leaves)
        if not leaves:
            return _outside(fn(*args, **kwargs))
        arrays = [_array(x) for _, x in leaves]
        specs = tuple(_spec(x, name, path) for x, (path, _) in zip(arrays, leaves, strict=True))
        names = tuple(path for path, _ in leaves)
        of = traced.get((tree, names))
        if of is None:
            of = traced.setdefault((tree, names), Traced(fn, name, signature, tree, names))
        made = _call_for(of, specs)
        return unflatten(made.out_tree, iter(made.run(*arrays)))

    return call


def _wrapped_module(model: CompiledModule) -> Callable[..., Any]:
    """A module, whose parameters are arguments too: they may change."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if tracing.depth or has_symbolic(args) or has_symbolic(kwargs.values()):
            return model(*args, **kwargs)
        return model.function._inside_jax(model.module, *args, **kwargs)

    call.__name__ = type(model.module).__name__
    return call


def _outside(out: Any) -> Any:
    """What an operator without arrays gives, with arrays of JAX in it."""
    if isinstance(out, (list, tuple)):
        return type(out)(_outside(x) for x in out)
    return _array(out) if isinstance(out, _core.TensorBase) else out


@functools.cache
def operator(name: str) -> Callable[..., Any]:
    """The operator of the table, for calls of ``tessera.ops`` with what JAX traces."""

    def fn(*x: Any, attrs: tuple[tuple[str, Any], ...]) -> Any:
        return apply(name, x, attrs)

    fn.__name__ = name
    return wrap(fn)


@functools.cache
def composite(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The same for its functions that are made of operators."""
    return wrap(fn)


class _Operators:
    """All of ``tessera.ops``, over arrays of JAX."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(ops, name)
        if callable(found) and not isinstance(found, type):
            found = wrap(found)
        setattr(self, name, found)
        return found

    def __dir__(self) -> list[str]:
        return list(ops.__all__)

    def __repr__(self) -> str:
        return "<the operators of tessera over arrays of JAX>"


if TYPE_CHECKING:
    from . import op as op
else:
    op = _Operators()
