"""``ts.Module``: a model as an object. Tensors and modules among its attributes, also in lists, tuples and dicts there,
are its parameters and children."""

from __future__ import annotations

import functools
import inspect
import operator
import types
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, overload

from . import _core
from ._constants import Constant, watch
from .annot import hints_of
from .dtypes import DType
from .errors import ArgumentTypeError, ArgumentValueError, GraphValueError
from .interop import kind_of
from .tree import flatten, is_tensor

if TYPE_CHECKING:
    from ._decorators import Foreign, HasForward, P, R
    from .trace import Value

__all__ = ["Module"]

changes = [0]  # what is known of the parts of modules holds as long as no module has changed


class Mark:
    """Stands for the structure of a module and for what is constant in it. Dispatchers know marks by their addresses,
    so marks live for ever."""

    __slots__ = ("module",)
    all: ClassVar[list[Mark]] = []

    def __init__(self, module: Module) -> None:
        self.module = weakref.ref(module)
        Mark.all.append(self)


_core.add_constant_type(Mark)


def parts_of(module: Module) -> tuple[Any, ...]:
    """The module's mark and its tensors, as an argument for dispatchers."""
    parts: tuple[Any, ...]
    seen, parts, watched = module.__dict__.get("_parts", (-1, (), ()))
    if seen == changes[0]:
        for x, now, then in watched:
            at = x if now is None else now(x)
            if len(at) != len(then) or not all(map(operator.is_, at, then)):
                break
        else:
            return parts
    seen = changes[0]
    leaves: list[tuple[Any, Any]] = []
    tree = flatten(module, None, leaves)
    marks = module.__dict__.setdefault("_marks", {})
    mark = marks.get(tree) or marks.setdefault(tree, Mark(module))
    parts = (mark, *[x for _, x in leaves])
    module.__dict__["_parts"] = seen, parts, watch(v for m in module.modules() for v in m._attributes().values())
    return parts


def _holds(x: Any) -> bool:
    """Whether x is a list, tuple or dict with tensors or modules in it."""
    if isinstance(x, (list, tuple, dict)):
        return any(is_tensor(v) or isinstance(v, Module) or _holds(v) for v in _content(x))
    return False


def _content(x: Any) -> tuple[Any, ...]:
    return tuple(x.values()) if isinstance(x, dict) else tuple(x)


def _members(x: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The tensors and modules in a container, by dotted name."""
    for k, v in x.items() if isinstance(x, dict) else enumerate(x):
        if is_tensor(v) or isinstance(v, Module):
            yield f"{name}.{k}", v
        elif _holds(v):
            yield from _members(v, f"{name}.{k}")


def _mapped(x: Any, name: str, fn: Callable[[str, Any], Any]) -> Any:
    """A container with other tensors: itself, but for a tuple."""
    for k, v in [*x.items()] if isinstance(x, dict) else [*enumerate(x)]:
        new = fn(f"{name}.{k}", v) if is_tensor(v) else _mapped(v, f"{name}.{k}", fn) if _holds(v) else v
        if new is v:
            continue
        if isinstance(x, tuple):
            parts = [*x[:k], new, *x[k + 1 :]]
            x = type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)
        else:
            x[k] = new
    return x


class Module:
    """A model: derive from it, call ``super().__init__()``, make tensors and modules, or lists and dicts of them, its
    attributes, and write ``forward``.

    Calling the module calls ``forward``, operator by operator; ``ts.jit(module)`` compiles it, with the parameters as
    inputs. Assigning to the name of a child replaces the child.
    """

    training: bool

    def __init__(self) -> None:
        object.__setattr__(self, "_parameters", {})
        object.__setattr__(self, "_children", {})
        object.__setattr__(self, "training", True)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; to be written by the class."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    @overload
    def __call__(self: HasForward[P, R], *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self, first: Foreign | Value, /, *args: Any, **kwargs: Any) -> Any: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    # ---- attributes ----

    def __setattr__(self, name: str, value: Any) -> None:
        parameters = self.__dict__.get("_parameters")
        if parameters is None:
            raise RuntimeError(f"{type(self).__name__}: call super().__init__() before attributes are set")
        children = self.__dict__["_children"]
        kind = children if isinstance(value, Module) else parameters if is_tensor(value) else None
        for d in (parameters, children):
            if d is not kind:
                d.pop(name, None)
        if kind is not None:
            self.__dict__.pop(name, None)
            kind[name] = value
        else:
            object.__setattr__(self, name, value)
        changes[0] += 1

    def __getattr__(self, name: str) -> Any:
        for d in ("_parameters", "_children"):
            found = self.__dict__.get(d)
            if found is not None and name in found:
                return found[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        for d in ("_parameters", "_children"):
            if name in self.__dict__[d]:
                del self.__dict__[d][name]
                break
        else:
            object.__delattr__(self, name)
        changes[0] += 1

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._children})

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles of the module hold."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_parts", "_marks")}

    # ---- what it holds ----

    def _held(self) -> Iterator[tuple[str, Any]]:
        """The lists, tuples and dicts of tensors and modules among the attributes."""
        for name, x in self.__dict__.items():
            if name[:1] != "_" and _holds(x):
                yield name, x

    def _update(self, fn: Callable[[str, Any], Any]) -> None:
        """Replaces each tensor of this module itself by what fn gives for its name and it."""
        own = self.__dict__["_parameters"]
        for name, t in own.items():
            own[name] = fn(name, t)
        for name, x in [*self._held()]:
            self.__dict__[name] = _mapped(x, name, fn)
        changes[0] += 1

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules among the attributes, and in lists, tuples and dicts there."""
        yield from self.__dict__["_children"].items()
        for name, x in self._held():
            yield from ((path, m) for path, m in _members(x, name) if isinstance(m, Module))

    def children(self) -> Iterator[Module]:
        return (m for _, m in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below, by dotted name."""
        yield prefix, self
        for name, m in self.named_children():
            yield from m.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        return (m for _, m in self.named_modules())

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """All tensors, by dotted name."""
        for name, t in self.__dict__["_parameters"].items():
            yield (f"{prefix}.{name}" if prefix else name), t
        for name, x in self._held():
            for path, t in _members(x, name):
                if not isinstance(t, Module):
                    yield (f"{prefix}.{path}" if prefix else path), t
        for name, m in self.named_children():
            yield from m.named_parameters(f"{prefix}.{name}" if prefix else name)

    def parameters(self) -> Iterator[Any]:
        return (t for _, t in self.named_parameters())

    def state_dict(self) -> dict[str, Any]:
        """The tensors by dotted name."""
        return dict(self.named_parameters())

    def load_state_dict(self, state: dict[str, Any], strict: bool = True) -> None:
        """Takes tensors (of any library) over by dotted name.

        Raises:
            ValueError: names that are missing or not known (if ``strict``), or other shapes.
        """
        own = self.state_dict()
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if strict and (missing or unknown):
            raise GraphValueError(f"load_state_dict: missing {missing}, unknown {unknown}", "E_WEIGHT_NAME")
        for name, value in state.items():
            if name not in own:
                continue
            if not is_tensor(value):
                raise ArgumentTypeError(f"load_state_dict: {name!r} is a {type(value).__name__} and no tensor")
            if tuple(value.shape) != tuple(own[name].shape):
                raise ArgumentValueError(
                    f"load_state_dict: {name!r}: wanted {tuple(own[name].shape)}, found {tuple(value.shape)}"
                )

        def new(prefix: str, name: str, old: Any) -> Any:
            value = state.get(f"{prefix}.{name}" if prefix else name, old)
            return value if kind_of(value) == kind_of(old) else _core.as_tensor(value)

        for prefix, m in self.named_modules():
            m._update(functools.partial(new, prefix))

    def to(self, *args: Any, **kwargs: Any) -> Module:
        """All tensors on another device, or in another type; see ``Tensor.to``."""
        for m in self.modules():
            m._update(lambda name, t: t.to(*args, **kwargs))
        return self

    def train(self, mode: bool = True) -> Module:
        """Sets ``training`` here and below, which ``dropout`` may ask for."""
        for m in self.modules():
            object.__setattr__(m, "training", bool(mode))
        changes[0] += 1
        return self

    def eval(self) -> Module:
        return self.train(False)

    def __repr__(self) -> str:
        lines = [f"  ({name}): " + repr(m).replace("\n", "\n  ") for name, m in self.named_children()]
        own = [*self.__dict__["_parameters"].items()]
        own += [(path, t) for name, x in self._held() for path, t in _members(x, name) if not isinstance(t, Module)]
        lines += [f"  ({name}): {t.dtype}[{', '.join(map(str, t.shape))}]" for name, t in own]
        return f"{type(self).__name__}(" + ("\n" + "\n".join(lines) + "\n" if lines else "") + ")"

    # ---- as an argument of compiled functions ----

    def _attributes(self) -> dict[str, Any]:
        """What is no parameter and no child."""
        return {k: v for k, v in self.__dict__.items() if k not in _OWN}

    def __tessera_flatten__(self) -> dict[str, Any]:
        held = dict(self._held())
        rest = {k: _as_part(v) for k, v in self._attributes().items() if k not in held}
        return {**rest, **self.__dict__["_parameters"], **self.__dict__["_children"], **held}

    def __tessera_unflatten__(self, parts: dict[str, Any]) -> Module:
        copy = object.__new__(type(self))
        own = {k: {name: parts[name] for name in self.__dict__[k]} for k in ("_parameters", "_children")}
        rest = {k: v for k, v in parts.items() if not any(k in d for d in own.values())}
        copy.__dict__.update(own)
        copy.__dict__.update({k: v.made(self, copy) if type(v) is Constant else v for k, v in rest.items()})
        return copy

    def __tessera_jit__(self, policy: Any = None, options: Any = ()) -> Any:
        return CompiledModule(self, self._compiling(policy, options))

    def _compiling(self, policy: Any = None, options: Any = (), plain: bool = False) -> Any:
        """``forward`` as a function that is compiled, of the module and the arguments."""
        from .function import Function, JitFunction

        own = self.__dict__.get("forward")
        forward: Any = inspect.getattr_static(type(self), "forward") if own is None else own
        if isinstance(forward, Function):
            policy, options = policy or forward.policy, options or forward.options
            forward = forward.fn if own is None else forward
        if own is not None:
            forward = _forward_of_its_own(own)
        elif not isinstance(forward, types.FunctionType):
            forward = _call_forward
        name = type(self).__name__
        if plain:
            return Function(forward, policy=policy, options=options, name=name)
        return JitFunction(forward, policy=policy, options=options, name=name, first=(self,))


_OWN = ("_parameters", "_children", "_parts", "_marks")


def _as_part(x: Any) -> Any:
    return x if isinstance(x, (bool, int, float, str, DType)) else Constant(x)


def _forward_of_its_own(own: Any) -> Any:
    """A function of the module and the arguments for a ``forward`` among the attributes, with its signature."""

    def forward(module: Any, *args: Any, **kwargs: Any) -> Any:
        return module.forward(*args, **kwargs)

    try:
        signature = inspect.signature(own)
    except (TypeError, ValueError):
        return _call_forward
    first = "module"
    while first in signature.parameters:
        first += "_"
    module = inspect.Parameter(first, inspect.Parameter.POSITIONAL_ONLY)
    made: Any = forward
    made.__signature__ = signature.replace(parameters=[module, *signature.parameters.values()])
    made.__annotations__ = hints_of(getattr(own, "__func__", own))
    return made


def _call_forward(module: Any, *args: Any, **kwargs: Any) -> Any:
    return module.forward(*args, **kwargs)


def _jit_again(module: Module, policy: Any, options: tuple[str, ...]) -> Any:
    return module.__tessera_jit__(policy=policy, options=options)


class CompiledModule:
    """A module whose ``forward`` is compiled; attributes are those of the module, which may change as before."""

    module: Module

    def __init__(self, module: Module, function: Any) -> None:
        self.__dict__.update(module=module, _function=function, _own=module.__dict__.get("forward"))

    @property
    def function(self) -> Any:
        """What is called: ``forward`` as it is now."""
        known = self.__dict__
        own = self.module.__dict__.get("forward")
        if own is not known["_own"]:
            old = known["_function"]
            known["_function"] = self.module._compiling(old.policy, old.options)
            known["_own"] = own
        return known["_function"]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> Any:
        """The trace for these arguments."""
        return self.function.lower(*args, **kwargs)

    def tg(self, *args: Any, **kwargs: Any) -> str:
        """The graph as a ``.tg`` text."""
        return str(self.lower(*args, **kwargs).text)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "module" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.module, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.module, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self.module)})

    def __repr__(self) -> str:
        return f"jit({self.module!r})"

    def __reduce__(self) -> Any:
        return _jit_again, (self.module, self.function.policy, self.function.options)
