"""What annotations ask of arguments and results, also ``Optional[ts.Tensor[…]]``, ``list[ts.Tensor[…]]`` and
``tuple[ts.Tensor[…], ...]``: each tensor in such a value is held to its own ``ts.Tensor[…]``."""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Callable
from typing import Any

from .annot import DictSpec, TensorSpec, evaluator, hints_of
from .errors import GraphTypeError
from .tree import unflatten

__all__ = ["ListSpec", "MaybeSpec", "TupleSpec", "inside", "mapped", "meanings_of", "spec_text", "takes_numbers"]

DEEPEST = 16  # containers in containers
_PLAIN = (float, int, bool, str)
_SEQUENCES = (collections.abc.Sequence, collections.abc.Iterable)
_SPECS = ("Tensor[", "Tile[", "Dict[")

Wrong = Callable[[str, str], Exception]  # what is wanted, and what is found


class MaybeSpec:
    """``Optional[…]``: None, or what ``value`` says."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class ListSpec:
    """``list[…]`` or ``tuple[…, ...]``, as ``kinds`` say: each part is what ``value`` says."""

    __slots__ = ("kinds", "value")

    def __init__(self, kinds: tuple[type, ...], value: Any) -> None:
        self.kinds, self.value = kinds, value


class TupleSpec:
    """``tuple[A, B]``, or a named tuple: each part is what its own says."""

    __slots__ = ("kind", "parts")

    def __init__(self, kind: type, parts: tuple[Any, ...]) -> None:
        self.kind, self.parts = kind, parts


def _is_tensor_class(hint: Any) -> bool:
    from .tensor import Tensor

    return hint is Tensor


def _holds(hint: Any) -> bool:
    """Whether a meaning speaks of tensors."""
    if isinstance(hint, TupleSpec):
        return any(map(_holds, hint.parts))
    if isinstance(hint, (ListSpec, MaybeSpec)):
        return _holds(hint.value)
    return isinstance(hint, (TensorSpec, DictSpec)) or _is_tensor_class(hint)


class _Reader:
    """Reads the annotations of one function; ``read`` gives the text in them as what it says."""

    def __init__(self, read: Callable[[str], Any]) -> None:
        self.read = read

    def opened(self, hint: Any) -> Any:
        """hint without the names and notes around it."""
        for _ in range(DEEPEST):
            text = hint if isinstance(hint, str) else getattr(hint, "__forward_arg__", None)
            if text is not None:
                try:
                    hint = self.read(text)
                except Exception:
                    if any(word in text for word in _SPECS):
                        raise
                    return hint
            elif typing.get_origin(hint) is typing.Annotated:
                hint = typing.get_args(hint)[0]
            elif type(hint).__name__ == "TypeAliasType":
                hint = hint.__value__
            else:
                break
        return hint

    def meaning(self, hint: Any, depth: int = 0) -> Any:
        """What hint asks for; hint itself where that is nothing."""
        hint = self.opened(hint)
        if isinstance(hint, (TensorSpec, DictSpec)) or depth > DEEPEST:
            return hint
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        found: Any = None
        if origin is typing.Union or origin is types.UnionType:
            rest = [a for a in args if a is not type(None)]
            value = self.meaning(rest[0], depth + 1) if len(rest) == 1 else None
            found = MaybeSpec(value) if value is not None and (_holds(value) or value in _PLAIN) else None
        elif (origin in (list, *_SEQUENCES) and len(args) == 1) or (origin is tuple and args[1:] == (...,)):
            value = self.meaning(args[0], depth + 1)
            kinds = (origin,) if origin in (list, tuple) else (list, tuple)
            found = ListSpec(kinds, value) if _holds(value) else None
        elif origin is tuple:
            found = TupleSpec(tuple, tuple([self.meaning(a, depth + 1) for a in args]))
        elif isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields"):
            own = getattr(hint, "__annotations__", {})
            read = _Reader(evaluator(hint))
            found = TupleSpec(hint, tuple([read.meaning(own.get(n), depth + 1) for n in hint._fields]))
        if found is not None and _holds(found):
            return found
        if found is None and self.has_spec(hint, depth):
            raise GraphTypeError(
                f"{_shown(hint)} says of a tensor what is not understood; a ts.Tensor[…] stands alone, with None"
                " (Optional[…]), in list[…] and tuple[…], and in ts.Dict[str, …]"
            )
        return found if isinstance(found, MaybeSpec) else hint

    def has_spec(self, hint: Any, depth: int = 0) -> bool:
        """Whether a tensor with sizes or an element type stands somewhere in hint."""
        origin = typing.get_origin(hint)
        if depth > DEEPEST or origin is typing.Literal:
            return False
        hint = self.opened(hint) if not isinstance(hint, str) or any(word in hint for word in _SPECS) else hint
        if isinstance(hint, (TensorSpec, DictSpec)):
            return True
        inner: list[Any] = [*typing.get_args(hint)]
        if isinstance(hint, typing.TypeVar):
            inner += [hint.__bound__, *hint.__constraints__]
        inner += [*hint] if isinstance(hint, list) else []  # the arguments of Callable
        return any(self.has_spec(a, depth + 1) for a in inner)


def meanings_of(fn: Callable[..., Any]) -> dict[str, Any]:
    """What the annotations of fn ask for.

    Raises:
        TypeError: a ``ts.Tensor[…]`` stands where it is not understood.
    """
    reader = _Reader(evaluator(fn))
    found = hints_of(fn)
    for name, hint in found.items():
        try:
            found[name] = reader.meaning(hint)
        except Exception as e:
            title = getattr(fn, "__name__", "function")
            raise GraphTypeError(f"{title}: the annotation of {name!r}: {e}") from e
    return found


def takes_numbers(hint: Any) -> bool:
    """Whether Python numbers in the place of tensors are inputs."""
    if isinstance(hint, (MaybeSpec, ListSpec)):
        return takes_numbers(hint.value)
    if isinstance(hint, TupleSpec):
        return all(map(takes_numbers, hint.parts))
    return hint is float or (isinstance(hint, TensorSpec) and hint.dims is not None)


def inside(hint: Any, value: Any, wrong: Wrong) -> list[tuple[Any, Any, Any]] | None:
    """The parts of value, each as (key, what is asked of it, part); None where hint speaks of no parts."""
    if isinstance(hint, DictSpec):
        if not isinstance(value, dict):
            raise wrong(spec_text(hint), type(value).__name__)
        return [(k, hint.value, v) for k, v in value.items()]
    if isinstance(hint, ListSpec):
        if not isinstance(value, hint.kinds):
            raise wrong(spec_text(hint), type(value).__name__)
        return [(i, hint.value, v) for i, v in enumerate(value)]  # type: ignore[var-annotated,arg-type]
    if isinstance(hint, TupleSpec):
        if not isinstance(value, hint.kind):
            raise wrong(spec_text(hint), type(value).__name__)
        if len(value) != len(hint.parts):  # type: ignore[arg-type]
            raise wrong(spec_text(hint), f"a tuple of {len(value)}")  # type: ignore[arg-type]
        return [(i, h, v) for i, (h, v) in enumerate(zip(hint.parts, value, strict=True))]  # type: ignore[call-overload]
    return None


def mapped(hint: Any, value: Any, name: str, leaf: Callable[[str, TensorSpec, Any], Any], wrong: Any) -> Any:
    """value, with ``leaf(name, spec, part)`` in the place of each part that has a type of its own. ``wrong(name)``
    makes what is raised where value has another structure."""
    if isinstance(hint, MaybeSpec):
        return None if value is None else mapped(hint.value, value, name, leaf, wrong)
    if isinstance(hint, TensorSpec):
        return leaf(name, hint, value)
    parts = inside(hint, value, wrong(name))
    if parts is None:
        return value
    made = [mapped(h, v, f"{name}.{k}", leaf, wrong) for k, h, v in parts]
    if isinstance(value, dict):
        return unflatten(("dict", type(value), tuple([(k, ("leaf",)) for k, _, _ in parts])), iter(made))
    return unflatten(("list", type(value), (("leaf",),) * len(made)), iter(made))


def spec_text(hint: Any) -> str:
    """What hint asks for, as errors say it."""
    if isinstance(hint, MaybeSpec):
        return f"{spec_text(hint.value)} or None"
    if isinstance(hint, ListSpec):
        return f"a {' or '.join(k.__name__ for k in hint.kinds)} of {spec_text(hint.value)}"
    if isinstance(hint, TupleSpec):
        return f"a {hint.kind.__name__} of ({', '.join(map(spec_text, hint.parts))})"
    if isinstance(hint, DictSpec):
        return "a dict of tensors" if hint.value is None else f"a dict of {spec_text(hint.value)}"
    if isinstance(hint, TensorSpec):
        dims = (Ellipsis,) if hint.dims is None else hint.dims
        return f"{hint.dtype or 'any'}[{', '.join('...' if d is Ellipsis else str(d) for d in dims)}]"
    return "a tensor" if _is_tensor_class(hint) else _shown(hint)


def _shown(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else repr(hint).replace("typing.", "")
