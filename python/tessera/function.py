"""``@ts.function`` and ``ts.jit``: Python functions over tensors that are traced into graphs, compiled, and called as
they are.

Arguments with ``ts.Tensor[…]`` annotations keep their named sizes open: one compilation serves all. Those without an
annotation are compiled for the shapes they come with; numbers, strings and other objects among them are constants of
the trace; a number for a parameter annotated ``float`` is an input. Dicts, lists, tuples and modules of tensors become
named inputs (``weights.w_qkv``).
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

from . import _core, trace
from ._apply import Symbolic, tracing
from ._hints import MaybeSpec, TupleSpec, inside, mapped, meanings_of, takes_numbers
from ._hints import spec_text as _spec_text
from .annot import DictSpec, TensorSpec
from .dtypes import DType, as_dtype
from .eager import Hidden, InsideJax, same_device, tensor_of
from .errors import ArgumentTypeError, ArgumentValueError, GraphTypeError, GraphValueError, TesseraError
from .interop import is_numpy_number
from .module import Mark, Module, parts_of
from .numeric import NumericPolicy
from .sizes import Sizes, learn, match, misfit
from .tree import any_leaf, flatten, is_tensor, unflatten

__all__ = ["Compiled", "Function", "function", "jit"]


class Leaf:
    """One tensor argument of a trace: its name, type and sizes (ints, names, text)."""

    __slots__ = ("dims", "dtype", "name")

    def __init__(self, name: str, dtype: DType, dims: tuple[Any, ...]) -> None:
        self.name, self.dtype, self.dims = name, dtype, dims

    def key(self) -> tuple[Any, ...]:
        return self.name, self.dtype, self.dims


class Compiled:
    """A traced function: its graph, and what is compiled of it for each kind of device."""

    def __init__(self, owner: Function, leaves: Sequence[Leaf], tree: Any) -> None:
        self.owner = owner
        self.leaves = tuple(leaves)
        self.context, results, self.out_tree = owner._trace(self.leaves, tree)
        self.results = [name for name, _ in results]
        self.text: str = self.context.text(results, owner.policy.keys() if owner.policy else None)
        self.captured = tuple(self.context.captured)
        self.hidden = Hidden(self.captured)
        self.names = tuple(self.context.names)
        kind = self.out_tree[0]
        flat = kind == "leaf" or (
            kind == "list" and self.out_tree[1] is tuple and all(k[0] == "leaf" for k in self.out_tree[2])
        )
        self.as_it_is = flat and (kind == "leaf") == (len(results) == 1)
        self._by_device: dict[str, Any] = {}
        self._lock = threading.Lock()

    def callable_for(self, device: str) -> Any:
        """The compiled graph for a device, compiled when it is first asked for."""
        kind = device.partition(":")[0]
        made = self._by_device.get(kind)
        if made is None:
            with self._lock:
                made = self._by_device.get(kind)
                if made is None:
                    made = self._by_device[kind] = self._build(device)
        return made

    def _build(self, device: str) -> Any:
        from .backend import build_text

        return build_text(
            self.text, self.context.name, device, self.names, self.owner.options, where=self.context.where
        )

    def device_of(self, leaves: Sequence[Any]) -> str:
        tensors = [tensor_of(x, self.owner.__name__) for x in leaves if not isinstance(x, (bool, int, float))]
        return same_device(tensors, self.owner.__name__)

    def call(self, leaves: Sequence[Any]) -> Any:
        device = self.device_of(leaves)
        out = self.callable_for(device)(*leaves, *self.hidden.on(device))
        return out if self.as_it_is else self.rebuild(out)

    def way(self, leaves: Sequence[Any]) -> tuple[Any, tuple[Any, ...], tuple[Any, ...], Any]:
        """What a dispatcher wants to know of these arguments, and of those like them."""
        device = self.device_of(leaves)
        after = tuple([_core.as_tensor(x) for x in self.hidden.on(device)])
        return self.callable_for(device), tuple(leaves), after, None if self.as_it_is else self.rebuild

    def placed(self, e: TesseraError) -> TesseraError:
        """e, which the graph's run raised, with the Python line of the operator that it speaks of, where one alone can
        be meant, and sizes as annotations have them."""
        said = str(e)
        name = re.match(r"\w+", said)
        words = set(re.findall(r"[\w.]+", said))
        line = rf"^ +(\S+): [^=]*= {name[0] if name else '-'}\(([^,)]*)"
        lines = re.findall(line, self.text, re.MULTILINE)
        places = {self.context.where(made) for made, operand in lines if operand in words}
        place = places.pop() if len(places) == 1 else None
        if place is not None:
            e.args = (f"{said}\n  {place[0]}, line {place[1]}", *e.args[1:])
        return e if self.context.as_written is None else self.context.as_written(e)

    def rebuild(self, out: Any) -> Any:
        return unflatten(self.out_tree, iter(out if isinstance(out, tuple) else (out,)))

    def __repr__(self) -> str:
        inputs = ", ".join(f"{x.name}: {x.dtype}[{', '.join(map(str, x.dims))}]" for x in self.leaves)
        return f"<tessera.Compiled {self.owner.__name__}({inputs}) for {', '.join(self._by_device) or 'no device yet'}>"

    @property
    def program(self) -> Any:
        """The loaded artifact of the first device it was compiled for."""
        return next(iter(self._by_device.values())).program if self._by_device else None


class _Slowly(Exception):
    """The quick way does not do for this call; ``found``: the trace and the tensors that do, where they are known."""

    found: tuple[Compiled, list[Any]] | None = None


class Function:
    """A function over tensors that is compiled when it is called."""

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        policy: NumericPolicy | None = None,
        options: Sequence[str] = (),
        name: str | None = None,
        first: tuple[Any, ...] = (),
    ) -> None:
        """``first`` are arguments that go before those of each call: the module of a method."""
        functools.update_wrapper(self, fn)
        if first:
            signature = inspect.signature(fn)
            self.__signature__ = signature.replace(parameters=[*signature.parameters.values()][len(first) :])
        self.fn = fn
        self.policy = policy.for_operators() if policy is not None else None
        self.options = tuple(options)
        self.__name__: str = name or str(getattr(fn, "__name__", type(fn).__name__))
        self._plan: list[tuple[str, Any, inspect.Parameter]] | None = None
        self._signature: inspect.Signature | None = None
        self._returns: Any = None
        self._variants: dict[Any, Compiled] = {}
        self._lock = threading.RLock()
        self._first = first
        self._fast: Any = None  # the dispatcher, where arguments have an order
        self._order: tuple[tuple[str, Any, bool], ...] = ()  # of arguments: name, default, whether it goes by name
        self._positional = 0  # how many of them go by position
        self._shown: dict[str, TensorSpec] = {}  # of arguments whose errors show another annotation than they have
        self._ordered = False
        self._modules = bool(first)  # whether there are modules among the arguments
        self._takes_numbers: list[bool] = []  # where a Python number is an input

    # ---- what the signature says ----

    def _prepare(self) -> list[tuple[str, Any, inspect.Parameter]]:
        if self._plan is None:
            with self._lock:
                signature = inspect.signature(self.fn)
                hints = meanings_of(self.fn)
                plan = [(name, hints.get(name), p) for name, p in signature.parameters.items()]
                self._returns = hints.get("return")
                self._signature = signature
                if not any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for _, _, p in plan):
                    self._ordered = True
                    self._order = tuple([(name, p.default, p.kind is not p.POSITIONAL_ONLY) for name, _, p in plan])
                    self._positional = sum(p.kind is not p.KEYWORD_ONLY for _, _, p in plan)
                self._plan = plan
                self._takes_numbers = [takes_numbers(hints.get(n)) for n, _, _ in self._order]
                if self._ordered:
                    self._fast = _core.Dispatcher(self._miss, self._takes_numbers)
        return self._plan

    @property
    def signature(self) -> inspect.Signature:
        self._prepare()
        assert self._signature is not None
        return self._signature

    # ---- calls ----

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        fast = self._fast
        if fast is not None and not tracing.busy:
            given: Any = (*self._first, *args)
            if kwargs or len(given) != len(self._order) or len(given) > self._positional:
                given = self._in_order(given, kwargs)
            if given is not None:
                try:
                    if self._modules:
                        given = [parts_of(x) if isinstance(x, Module) else x for x in given]
                    return fast(*given)
                except _Slowly as e:
                    if e.found is not None:
                        return e.found[0].call(e.found[1])
                except InsideJax:
                    pass
                except (ArgumentTypeError, ArgumentValueError) as e:
                    raise self._said_better(e, args, kwargs) from None
                except TypeError as e:
                    if isinstance(e, TesseraError):
                        raise
                    # what is no tensor at all: below, its name is known
        try:
            return self._call_slowly(args, kwargs)
        except InsideJax:
            return self._inside_jax(*self._first, *args, **kwargs)

    @functools.cached_property
    def _inside_jax(self) -> Callable[..., Any]:
        from . import jax

        if not self._first:
            return jax.wrap(self)
        return jax.wrap(type(self)(self.fn, policy=self.policy, options=self.options, name=self.__name__))

    def _in_order(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """All arguments by position; None where they do not fit the signature."""
        n = len(args)
        if n > self._positional:
            return None
        full, used = [*args], 0
        for name, default, by_name in self._order[n:]:
            if by_name and name in kwargs:
                full.append(kwargs[name])
                used += 1
            elif default is inspect.Parameter.empty:
                return None
            else:
                full.append(default)
        return full if used == len(kwargs) else None

    def _call_slowly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The call in full generality: inside a graph, with trees of tensors, by name."""
        self._prepare()
        args = (*self._first, *args)
        if tracing.depth or any_leaf(args, _symbolic) or (kwargs and any_leaf(kwargs, _symbolic)):
            return self._inline(args, kwargs)
        compiled, leaves = self._resolve(self._bind(args, kwargs))
        try:
            return compiled.call(leaves)
        except (ArgumentTypeError, ArgumentValueError) as e:
            raise self._said_better(e, args[len(self._first) :], kwargs) from None

    def _said_better(self, e: TesseraError, args: tuple[Any, ...], kwargs: dict[str, Any]) -> TesseraError:
        """What is wrong with the arguments in the words of the annotations, where that is what e speaks of."""
        try:
            tree, leaves, tensors = self._taken(self._bind((*self._first, *args), kwargs))
            compiled = self._variants.get(self._key(tree, leaves))
            arguments: list[tuple[str, tuple[Any, ...], tuple[int, ...]]] = []
            texts: list[str] = []
            for leaf, x in zip(leaves, tensors, strict=True):
                if isinstance(x, (bool, int, float)):
                    arguments.append((leaf.name, (), ()))
                    texts.append("")
                    continue
                t = tensor_of(x, leaf.name)
                wanted = self._shown.get(leaf.name)
                dims = leaf.dims if wanted is None or wanted.dims is None else wanted.dims
                spec = _spec_text(TensorSpec(dims, leaf.dtype))
                texts.append(f"argument {leaf.name!r}: wanted {spec}, found {_type_text(t)}")
                if as_dtype(t.dtype).name != leaf.dtype.name:
                    return ArgumentTypeError(texts[-1], "E_TYPE_MISMATCH")
                if len(t.shape) != len(dims):
                    return ArgumentValueError(texts[-1], "E_RANK")
                arguments.append((leaf.name, dims, tuple(t.shape)))
            wrong = misfit(arguments, compiled.context.multiples if compiled is not None else {})
            if wrong is not None:
                return ArgumentValueError(texts[wrong[0]] + wrong[1], "E_SHAPE_MISMATCH")
            return e if compiled is None else compiled.placed(e)
        except (TesseraError, InsideJax, KeyError, TypeError, ValueError):
            return e

    def _miss(self, args: Any) -> Any:
        """A call that the dispatcher has nothing for: what to call, from now on too."""
        if any_leaf(args, _symbolic):
            raise _Slowly
        marks = [x[0] if type(x) is tuple and x and type(x[0]) is Mark else None for x in args]
        values: list[Any] = [x if m is None else m.module() for x, m in zip(args, marks, strict=True)]
        if not self._modules and any(isinstance(x, Module) for x in values):
            self._modules = True
            raise _Slowly
        compiled, leaves = self._resolve(dict(zip([name for name, _, _ in self._order], values, strict=True)))
        numbers = any(is_numpy_number(x) and self._takes_value(i) for i, x in enumerate(values))  # not those given
        changed = numbers or any(m is not None and parts_of(x)[0] is not m for x, m in zip(values, marks, strict=True))
        if changed or any(isinstance(s, types.FunctionType) for s in compiled.captured):  # made anew by each call
            slowly = _Slowly()
            slowly.found = compiled, leaves
            raise slowly
        return compiled.way(leaves)

    def _takes_value(self, i: int) -> bool:
        if self._plan is None:
            return False
        hint = self._plan[i][1]
        return (hint.value if isinstance(hint, MaybeSpec) else hint) in (float, *_CONSTANTS)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        for name in kwargs:
            p = self.signature.parameters.get(name)
            if p is None and not any(q.kind is q.VAR_KEYWORD for q in self.signature.parameters.values()):
                raise ArgumentTypeError(f"{self.__name__}: no argument named {name!r}", "E_ARGUMENTS")
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as e:
            raise ArgumentTypeError(f"{self.__name__}: {e}", "E_ARGUMENTS") from None
        bound.apply_defaults()
        return dict(bound.arguments)

    def _resolve(self, values: dict[str, Any]) -> tuple[Compiled, list[Any]]:
        """The trace for these arguments, and the tensors among them in its order."""
        tree, leaves, tensors = self._taken(values)
        key = self._key(tree, leaves)
        try:
            compiled = self._variants.get(key)
        except TypeError:
            raise GraphTypeError(f"{self.__name__}: an argument that is no tensor has to be hashable") from None
        if compiled is None:
            with self._lock:
                compiled = self._variants.get(key)
                if compiled is None:
                    compiled = self._variants[key] = Compiled(self, leaves, tree)
        return compiled, tensors

    @staticmethod
    def _key(tree: Any, leaves: Sequence[Leaf]) -> Any:
        return tree, tuple([leaf.key() for leaf in leaves]), trace.numerics_key()

    def _taken(self, values: dict[str, Any]) -> tuple[Any, list[Leaf], list[Any]]:
        """The structure of arguments, what their annotations say of the tensors among them, and these."""
        plan = self._prepare()
        leaves: list[Leaf] = []
        tensors: list[Any] = []
        parts = []
        for i, (name, hint, p) in enumerate(plan):
            title = "module" if i < len(self._first) and "module" not in values else name
            value = values[name]
            part: Any
            if p.kind is p.VAR_POSITIONAL:  # what is annotated is each of them
                each = [self._argument(f"{title}.{k}", hint, v, leaves, tensors) for k, v in enumerate(value)]
                part = ("list", tuple, tuple(each))
            elif p.kind is p.VAR_KEYWORD:
                named = [(k, self._argument(f"{title}.{k}", hint, v, leaves, tensors)) for k, v in value.items()]
                part = ("dict", dict, tuple(named))
            elif value is None and p.default is None:
                part = ("static", type(None), None)
            else:
                part = self._argument(title, hint, value, leaves, tensors)
            parts.append((name, part))
        return tuple(parts), leaves, tensors

    def _argument(self, name: str, hint: Any, value: Any, leaves: list[Leaf], tensors: list[Any]) -> Any:
        """The structure of one argument; its tensors are appended."""
        if isinstance(hint, MaybeSpec):
            if value is None:
                return ("static", type(None), None)
            hint = hint.value
        if isinstance(hint, TensorSpec) and hint.dims is not None:
            return self._annotated(name, hint, value, leaves, tensors)
        if hint is float and is_numpy_number(value):
            value = value.item()
        if hint in _CONSTANTS:
            value = _constant(name, hint, value)
        if hint is float and isinstance(value, (int, float)):
            try:
                tensors.append(float(value))
            except OverflowError:
                raise ArgumentValueError(
                    f"argument {name!r}: wanted a number of f32, found an int beyond all floats", "E_ARGUMENTS"
                ) from None
            leaves.append(Leaf(name, as_dtype("f32"), ()))
            return ("leaf",)
        if hint is float:
            if not is_tensor(value):
                raise ArgumentTypeError(
                    f"argument {name!r}: wanted a number, found {type(value).__name__}", "E_ARGUMENTS"
                )
            return self._annotated(name, TensorSpec((), as_dtype("f32")), value, leaves, tensors)
        each = None if isinstance(hint, DictSpec) else inside(hint, value, _unlike(f"argument {name!r}"))
        if each is not None:
            parts = [self._argument(f"{name}.{k}", h, x, leaves, tensors) for k, h, x in each]
            return ("list", type(value), tuple(parts))
        inner = hint.value if isinstance(hint, DictSpec) else None
        if isinstance(hint, DictSpec) and not isinstance(value, dict):
            raise ArgumentTypeError(
                f"argument {name!r}: wanted a dict of tensors, found {type(value).__name__}", "E_ARGUMENTS"
            )
        if (isinstance(hint, TensorSpec) or hint is _tensor_class()) and not is_tensor(value):
            raise ArgumentTypeError(f"argument {name!r}: wanted a tensor, found {type(value).__name__}", "E_ARGUMENTS")
        for k, x in value.items() if isinstance(hint, DictSpec) else ():
            if not isinstance(k, str):
                raise ArgumentTypeError(
                    f"argument {name!r}: wanted keys of text, found {k!r} of {type(k).__name__}", "E_ARGUMENTS"
                )
            if not is_tensor(x):
                wanted = "a tensor" if inner is None else _spec_text(inner)
                raise ArgumentTypeError(
                    f"argument '{name}.{k}': wanted {wanted}, found {type(x).__name__}", "E_ARGUMENTS"
                )
        found: list[tuple[str, Any]] = []
        tree = flatten(value, name, found)
        for path, x in found:
            if inner is not None and inner.dims is not None:
                self._annotated(path, inner, x, leaves, tensors)
            else:
                t = tensor_of(x, f"argument {path!r}")
                leaves.append(Leaf(path, as_dtype(t.dtype), tuple(t.shape)))
                tensors.append(x)
        return tree

    def _annotated(self, name: str, spec: TensorSpec, value: Any, leaves: list[Leaf], tensors: list[Any]) -> Any:
        dims: tuple[Any, ...] = spec.dims or ()
        dtype = spec.dtype
        if isinstance(value, (bool, int, float)) and not dims:
            leaves.append(Leaf(name, dtype or as_dtype(type(value)), ()))
            tensors.append(value)
            return ("leaf",)
        if not is_tensor(value):
            raise ArgumentTypeError(
                f"argument {name!r}: wanted {_spec_text(spec)}, found {type(value).__name__}", "E_ARGUMENTS"
            )
        t = tensor_of(value, f"argument {name!r} ({_spec_text(spec)})")
        if dtype is None or Ellipsis in dims:
            dtype = dtype or as_dtype(t.dtype)
            if Ellipsis in dims:
                at = dims.index(Ellipsis)
                rest = len(t.shape) - (len(dims) - 1)
                if rest < 0:
                    raise ArgumentValueError(
                        f"argument {name!r}: wanted {_spec_text(spec)}, found"
                        f" {t.dtype}[{', '.join(map(str, t.shape))}]",
                        "E_RANK",
                    )
                dims = (*dims[:at], *t.shape[at : at + rest], *dims[at + 1 :])
        leaves.append(Leaf(name, dtype, dims))
        tensors.append(value)
        return ("leaf",)

    # ---- tracing ----

    def _trace(self, leaves: Sequence[Leaf], tree: Any) -> tuple[trace.Context, list[tuple[str, trace.Value]], Any]:
        """Traces the function; once more with what was found of its sizes, where it takes some apart evenly."""
        multiples: dict[str, int] = {}
        for _ in range(4):
            context, results, out_tree = self._trace_once(leaves, tree, multiples)
            found = {k: v for k, v in context.multiples.items() if multiples.get(k, 1) % v}
            if not found:
                break
            multiples = {**multiples, **context.multiples}
        return context, results, out_tree

    def _trace_once(
        self, leaves: Sequence[Leaf], tree: Any, multiples: dict[str, int]
    ) -> tuple[trace.Context, list[tuple[str, trace.Value]], Any]:
        sizes = Sizes([leaf.dims for leaf in leaves], [leaf.name for leaf in leaves])
        taken = sizes.taken
        name = self.__name__ if self.__name__.isidentifier() else "f"
        while name in taken:
            name += "_"
        context = self._context(name)
        code = getattr(inspect.unwrap(self.fn), "__code__", None)
        context.place = (code.co_filename, code.co_firstlineno) if code is not None else None
        context.as_written = sizes.as_written
        try:
            return self._traced_into(context, sizes, leaves, tree, multiples)
        except TesseraError as e:
            sizes.as_written(e)
            raise

    def _traced_into(
        self, context: trace.Context, sizes: Sizes, leaves: Sequence[Leaf], tree: Any, multiples: dict[str, int]
    ) -> tuple[trace.Context, list[tuple[str, trace.Value]], Any]:
        with trace.entered(context):
            sizes.enter(context, multiples)
            values = iter([self._input(context, leaf, sizes, i) for i, leaf in enumerate(leaves)])
            args: list[Any] = []
            kwargs: dict[str, Any] = {}
            for (name, part), (_, _, p) in zip(tree, self._plan or (), strict=True):
                value = unflatten(part, values)
                if p.kind is p.VAR_POSITIONAL:
                    args += value
                elif p.kind is p.VAR_KEYWORD:
                    kwargs |= value
                elif p.kind is p.KEYWORD_ONLY:
                    kwargs[name] = value
                else:
                    args.append(value)
            out = self._result(context, self.fn(*args, **kwargs))
            found: list[tuple[str, Any]] = []
            out_tree = flatten(out, "", found)
            if not found:
                raise GraphTypeError(f"{self.__name__} gives {type(out).__name__}, and no tensor")
            results = self._named(context, found, sizes.taken | {context.name})
        return context, results, out_tree

    def _input(self, context: trace.Context, leaf: Leaf, sizes: Sizes, i: int) -> trace.Value:
        """An argument as a value, its sizes held against what they are made of when it is called."""
        v = context.param(leaf.name, leaf.dtype, sizes.dims[i])
        shape = [*v.shape]
        for k, text in sizes.checks.get(i, {}).items():
            shape[k] = context.size(text)
        found = self._reshaped(context, v, shape)
        return v if found is None else found

    def _reshaped(self, context: trace.Context, v: trace.Value, shape: Sequence[Any] | None) -> trace.Value | None:
        """v, whose sizes are these; what cannot be decided is checked at each call. None where they cannot be."""
        if shape is None:
            return None
        if len(shape) == len(v.shape) and all(map(_core.same_size, shape, v.shape)):
            return v
        try:
            return context.op("reshape", (v,), (("shape", tuple(shape)),))  # type: ignore[no-any-return]
        except GraphValueError:
            return None

    def _context(self, name: str) -> trace.Context:
        """The graph to trace into."""
        return trace.Context(name)

    def _named(
        self, context: trace.Context, found: Sequence[tuple[str, Any]], taken: set[str]
    ) -> list[tuple[str, trace.Value]]:
        results = []
        for i, (path, x) in enumerate(found):
            name = (f"out.{path}" if path.isdigit() else path) or "out"
            while name in taken:
                name = name + "_" if not path.isdigit() else f"out_{i}"
            taken = taken | {name}
            results.append((name, context.use(x, "f32")))
        return results

    def _result(self, context: trace.Context, out: Any) -> Any:
        """The result as the annotation says: float types are converted, anything else that differs is an error."""
        known = dict(context.sizes), dict(context.wholes)

        def part(what: str, spec: TensorSpec, x: Any) -> Any:
            if not is_tensor(x):
                raise wrong(what)(_spec_text(spec), type(x).__name__)
            return self._checked(context, x, spec, what, *known)

        def wrong(what: str) -> Callable[[str, str], GraphTypeError]:
            which = "" if what == "result" else f" as {what.replace('.', ' ', 1)}"
            return lambda wanted, found: GraphTypeError(
                f"{self.__name__} is to give {wanted}{which}, and gives {found}", "E_ARGUMENTS"
            )

        return mapped(self._returns, out, "result", part, wrong)

    def _checked(
        self,
        context: trace.Context,
        out: Any,
        spec: TensorSpec,
        what: str,
        sizes: dict[str, Any],
        wholes: dict[str, Any],
    ) -> Any:
        v, said = context.use(out, "f32"), what.replace(".", " ", 1)
        if spec.dims is not None and Ellipsis not in spec.dims:
            found = None
            if len(spec.dims) == len(v.shape):
                found = self._reshaped(context, v, match(spec.dims, v.shape, sizes, wholes, _differ))
            if found is None:
                raise GraphValueError(
                    f"{self.__name__}: the {said} is {v._text()}, and its annotation says {_spec_text(spec)}",
                    "E_SHAPE_MISMATCH",
                )
            v = found
        if spec.dtype is not None and spec.dtype.name != v.dtype.name:
            if not (spec.dtype.is_float and v.dtype.is_float):
                raise GraphTypeError(
                    f"{self.__name__}: the {said} is {v._text()}, and its annotation says {_spec_text(spec)}",
                    "E_TYPE_MISMATCH",
                )
            v = context.op("cast", (v,), (("dtype", spec.dtype.name),))
        return v

    # ---- inside another trace ----

    def _inline(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Inside a graph the function's operators are added to it; annotated arguments are held against what comes
        in."""
        plan = self._prepare()
        context = trace.context_of(_leaves((args, kwargs)))
        assert context is not None
        sizes: dict[str, Any] = {}
        wholes: dict[str, Any] = {}
        bound = self._bind(args, kwargs)

        def learned(name: str, spec: TensorSpec, x: Any) -> Any:
            dims = spec.dims or ()
            if is_tensor(x) and Ellipsis not in dims and len(x.shape) == len(dims):
                learn(dims, x.shape, sizes)
            return x

        def matched(name: str, spec: TensorSpec, x: Any) -> Any:
            return x if spec.dims is None else self._matched(context, name, spec, x, sizes, wholes)

        def wrong(name: str) -> Callable[[str, str], ArgumentTypeError]:
            return _unlike(f"{self.__name__}: argument {name!r}")

        for leaf in learned, matched:
            for name, hint, p in plan:
                x = bound[name]
                if p.kind is p.VAR_POSITIONAL:  # what is annotated is each of them
                    bound[name] = tuple(mapped(hint, v, f"{name}.{k}", leaf, wrong) for k, v in enumerate(x))
                elif p.kind is p.VAR_KEYWORD:
                    bound[name] = {k: mapped(hint, v, f"{name}.{k}", leaf, wrong) for k, v in x.items()}
                elif x is not None or p.default is not None:
                    bound[name] = mapped(hint, x, name, leaf, wrong)
        for name, hint, p in plan:
            absent = p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or (bound[name] is None and p.default is None)
            if isinstance(hint, MaybeSpec):
                hint, absent = hint.value, absent or bound[name] is None
            if hint in _CONSTANTS and not absent:
                bound[name] = _constant(name, hint, bound[name])
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for name, _, p in plan:
            if p.kind is p.VAR_POSITIONAL:
                positional += bound[name]
            elif p.kind is p.VAR_KEYWORD:
                named |= bound[name]
            elif p.kind is p.KEYWORD_ONLY:
                named[name] = bound[name]
            else:
                positional.append(bound[name])
        outer = context.sizes, context.wholes
        context.sizes, context.wholes = sizes, wholes
        try:
            with self.policy or nullcontext():
                return self._result(context, self.fn(*positional, **named))
        finally:
            context.sizes, context.wholes = outer

    def _matched(
        self,
        context: trace.Context,
        name: str,
        spec: TensorSpec,
        x: Any,
        sizes: dict[str, Any],
        wholes: dict[str, Any],
    ) -> Any:
        if not is_tensor(x) and not isinstance(x, (bool, int, float)):
            raise GraphTypeError(
                f"{self.__name__}: argument {name!r}: wanted {_spec_text(spec)}, found {type(x).__name__}",
                "E_ARGUMENTS",
            )
        v = context.use(x, spec.dtype or "f32")
        dims = spec.dims or ()
        if Ellipsis in dims:
            at, rest = dims.index(Ellipsis), len(v.shape) - (len(dims) - 1)
            dims = (*dims[:at], *v.shape[at : at + max(rest, 0)], *dims[at + 1 :])
        found = None
        if len(dims) == len(v.shape) and (spec.dtype is None or spec.dtype.name == v.dtype.name):
            found = self._reshaped(context, v, match(dims, v.shape, sizes, wholes, _differ))
        if found is None:
            bound = ", ".join(f"{k} = {s}" for k, s in sizes.items())
            raise GraphValueError(
                f"{self.__name__}: argument {name!r}: wanted {_spec_text(spec)}, found {v._text()}"
                + (f" ({bound})" if bound else ""),
                "E_SHAPE_MISMATCH",
            )
        return found

    # ---- looking inside ----

    def lower(self, *args: Any, **kwargs: Any) -> Compiled:
        """The trace for these arguments; with none, that of the annotations alone.

        Raises:
            TypeError: without arguments, where a parameter has no annotation with sizes and a type.
        """
        plan = self._prepare()
        if args or kwargs or not plan or self._first:
            return self._resolve(self._bind((*self._first, *args), kwargs))[0]
        leaves: list[Leaf] = []
        parts = []
        for name, hint, _ in plan:
            part = _annotated_alone(name, hint, leaves)
            if part is None:
                raise ArgumentTypeError(
                    f"{self.__name__}: parameter {name!r} has no annotation that says its sizes and type; give example"
                    " arguments",
                    "E_ARGUMENTS",
                )
            parts.append((name, part))
        tree = tuple(parts)
        key = (tree, tuple([leaf.key() for leaf in leaves]), trace.numerics_key())
        with self._lock:
            if key not in self._variants:
                self._variants[key] = Compiled(self, leaves, tree)
            return self._variants[key]

    def tg(self, *args: Any, **kwargs: Any) -> str:
        """The graph as a ``.tg`` text, for these arguments, or for the annotations alone."""
        return self.lower(*args, **kwargs).text

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<tessera.{type(self).__name__} {self.__name__}{inspect.signature(self)}>"

    def __copy__(self) -> Function:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Function:
        return self

    def __reduce__(self) -> Any:
        """By name, as functions are; what was compiled is found on disk again."""
        module, name = str(self.fn.__module__), str(getattr(self.fn, "__qualname__", self.__name__))
        try:
            there = _named(module, name)
        except (ImportError, AttributeError):
            there = None
        if there is self:
            return name
        if there is None or getattr(there, "fn", there) is not self.fn or self._first:
            raise TypeError(
                f"{self.__name__}: a compiled function is pickled by its name, and {module}.{name} is not it;"
                " define it at the top of a module, or save it with ts.aot.compile"
            )
        return _again, (type(self), module, name, self.policy, self.options)


class JitFunction(Function):
    """What ``ts.jit`` gives."""


def _named(module: str, name: str) -> Any:
    return functools.reduce(getattr, name.split("."), importlib.import_module(module))


def _again(cls: type[Function], module: str, name: str, policy: Any, options: tuple[str, ...]) -> Function:
    there = _named(module, name)
    return cls(getattr(there, "fn", there), policy=policy, options=options)


def _annotated_alone(name: str, hint: Any, leaves: list[Leaf]) -> Any:
    """The structure of an argument as far as its annotation says it; None where that is not all."""
    if isinstance(hint, MaybeSpec):
        return _annotated_alone(name, hint.value, leaves)
    if isinstance(hint, TupleSpec):
        parts = [_annotated_alone(f"{name}.{i}", h, leaves) for i, h in enumerate(hint.parts)]
        return None if None in parts else ("list", hint.kind, tuple(parts))
    if hint is float:
        leaves.append(Leaf(name, as_dtype("f32"), ()))
        return ("leaf",)
    if not isinstance(hint, TensorSpec) or hint.dims is None or hint.dtype is None or Ellipsis in hint.dims:
        return None
    leaves.append(Leaf(name, hint.dtype, hint.dims))
    return ("leaf",)


def _unlike(what: str) -> Callable[[str, str], ArgumentTypeError]:
    return lambda wanted, found: ArgumentTypeError(f"{what}: wanted {wanted}, found {found}", "E_ARGUMENTS")


_CONSTANTS = (int, bool, str)  # annotations of arguments that are constants of the compilation


def _constant(name: str, hint: Any, value: Any) -> Any:
    """The value of an argument annotated ``int``, ``bool`` or ``str``: of that type (a bool is an int, as everywhere),
    NumPy's numbers as Python's, or inside a graph a size for an int."""
    if is_numpy_number(value):
        value = value.item()
    if isinstance(value, hint) or (hint is int and isinstance(value, _core.Dim)):
        return value
    wanted = {int: "an int", bool: "a bool", str: "text"}[hint]
    raise ArgumentTypeError(f"argument {name!r}: wanted {wanted}, found {type(value).__name__}", "E_ARGUMENTS")


def _tensor_class() -> Any:
    from .tensor import Tensor

    return Tensor


def _symbolic(x: Any) -> bool:
    return isinstance(x, Symbolic)


def _leaves(x: Any) -> Iterator[Any]:
    if isinstance(x, (list, tuple)):
        for v in x:
            yield from _leaves(v)
    elif isinstance(x, dict):
        yield from _leaves(list(x.values()))
    else:
        yield x


def _differ(a: Any, b: Any) -> bool:
    """Whether two sizes cannot be equal: different numbers, or two names."""
    if isinstance(a, int) and isinstance(b, int):
        return a != b
    if _core.same_size(a, b):
        return False
    return str(a).isidentifier() and str(b).isidentifier()


def _type_text(t: Any) -> str:
    return f"{t.dtype}[{', '.join(map(str, t.shape))}]"


def function(
    fn: Callable[..., Any] | None = None, *, policy: NumericPolicy | None = None, options: Sequence[str] = ()
) -> Any:
    """Makes a Python function over tensors one that is traced, compiled and then called. It is called as it was before.

    ::

        @ts.function
        def attention(q: ts.Tensor["B", "H", "S", "D", ts.bf16], …) -> ts.Tensor["B", "H", "S", "D", ts.bf16]:
            return ts.nn.flash_attention(q, k, v, causal=True)

    Args:
        fn: the function.
        policy: a numeric policy for all of it; see ``tessera.op.numeric``.
        options: more options for the compiler.
    """
    if fn is None:
        return lambda f: function(f, policy=policy, options=options)
    if isinstance(fn, Function):
        return fn
    if not callable(fn):
        raise GraphTypeError(f"function: wanted a function, found {type(fn).__name__}")
    return Function(fn, policy=policy, options=options)


def jit(fn: Any = None, *, policy: NumericPolicy | None = None, options: Sequence[str] = ()) -> Any:
    """A compiled function of a function, a ``ts.function``, a ``ts.Module`` or a ``ts.kernel``; a decorator too.

    Compilation happens at the first call, and again for arguments that what there is does not serve: other types,
    other sizes of arguments without annotation, another kind of device. Artifacts are kept on disk, so another process
    finds them.

    Args:
        fn: what to compile.
        policy: a numeric policy for all of it; see ``tessera.op.numeric``.
        options: more options for the compiler.
    """
    if fn is None:
        return lambda f: jit(f, policy=policy, options=options)
    special = getattr(type(fn), "__tessera_jit__", None)
    if special is not None:
        return special(fn, policy=policy, options=options)
    if isinstance(fn, Function):
        return JitFunction(fn.fn, policy=policy or fn.policy, options=options or fn.options, name=fn.__name__)
    if isinstance(fn, type) or not callable(fn):
        raise GraphTypeError(
            "jit: wanted a function, a Module or a kernel, found"
            f" {fn.__name__ if isinstance(fn, type) else type(fn).__name__}"
        )
    return JitFunction(fn, policy=policy, options=options)
