"""What of a module is constant in what is compiled of it: numbers, text, enums and containers of them by value, also
those that change; functions and other objects by identity."""

from __future__ import annotations

import collections
import dataclasses
import enum
import types
from collections.abc import Callable, Iterable
from typing import Any

from .tree import is_tensor

__all__ = ["Constant", "watch"]

_VALUES = (bool, int, str, bytes, type(None), enum.Enum, type)
_LISTS = (list, tuple, collections.deque)
_SETS = (set, frozenset)


class Same:
    """x, which is equal to itself alone; it lives as long as this."""

    __slots__ = ("x",)

    def __init__(self, x: Any) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return type(other) is Same and other.x is self.x

    def __hash__(self) -> int:
        return id(self.x)

    def __repr__(self) -> str:
        x = self.x
        return f"{x.__module__}.{x.__qualname__}" if hasattr(x, "__qualname__") else type(x).__qualname__


def _is_record(x: Any) -> bool:
    return dataclasses.is_dataclass(x) and not isinstance(x, type)


def _values(x: Any) -> list[Any]:
    """Those of the fields of a record."""
    return [getattr(x, f.name, None) for f in dataclasses.fields(x)]


def key_of(x: Any, above: tuple[int, ...] = ()) -> Any:
    """What tells x from other constants."""
    if isinstance(x, float):  # 0.0 and -0.0 are equal and not the same
        return type(x), x.hex()
    if isinstance(x, complex):
        return type(x), x.real.hex(), x.imag.hex()
    if isinstance(x, _VALUES):
        return type(x), x
    if id(x) in above:
        return "above", above.index(id(x))
    below = (*above, id(x))
    if isinstance(x, _LISTS):
        return type(x), tuple([key_of(v, below) for v in x])
    if isinstance(x, (dict, types.MappingProxyType)):
        return type(x), tuple([(key_of(k, below), key_of(v, below)) for k, v in x.items()])
    if isinstance(x, _SETS):
        return type(x), frozenset([key_of(v, below) for v in x])
    if _is_record(x):
        return type(x), tuple([key_of(v, below) for v in _values(x)])
    own_hash: Any = type(x).__hash__
    if callable(x) or is_tensor(x) or own_hash is object.__hash__:
        return Same(x)
    try:
        hash(x)
    except TypeError:
        return Same(x)
    return type(x), x


class Constant:
    """A value that is known when a function is traced, as it is now."""

    __slots__ = ("key", "value")

    def __init__(self, value: Any) -> None:
        self.key = key_of(value)
        self.value = made(value, {}, None, None)

    def __eq__(self, other: object) -> bool:
        return type(other) is Constant and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return repr(self.key)

    def made(self, old: Any, new: Any) -> Any:
        """The value, which the trace may change; methods of ``old`` are those of ``new``."""
        return made(self.value, {}, old, new)


def made(x: Any, have: dict[int, Any], old: Any, new: Any) -> Any:
    """A copy of lists, dicts and sets, and of those in them; anything else itself."""
    cls = type(x)
    if cls is types.MethodType and x.__self__ is old and old is not None:
        return types.MethodType(x.__func__, new)
    if id(x) in have:
        return have[id(x)]
    if cls is list:
        have[id(x)] = items = []
        items += [made(v, have, old, new) for v in x]
        return items
    if cls is dict:
        have[id(x)] = entries = {}
        entries.update({k: made(v, have, old, new) for k, v in x.items()})
        return entries
    if cls is tuple:
        parts = tuple([made(v, have, old, new) for v in x])
        return x if all(a is b for a, b in zip(parts, x, strict=True)) else parts
    return set(x) if cls is set else x


Reader = Callable[[Any], list[Any]]


def _entries(x: Any) -> list[Any]:
    return [*x, *x.values()]


def watch(values: Iterable[Any]) -> tuple[tuple[Any, Reader | None, tuple[Any, ...]], ...]:
    """The containers among values and in them that may change, each with what reads it, and what it holds now."""
    found: list[tuple[Any, Reader | None, tuple[Any, ...]]] = []
    seen: set[int] = set()
    todo = [*values]
    for x in todo:
        if isinstance(x, (str, bytes, int, float, type(None))) or id(x) in seen:
            continue
        seen.add(id(x))
        if isinstance(x, (dict, types.MappingProxyType)):
            found.append((x, _entries, tuple(_entries(x))))
            todo += x.values()
        elif isinstance(x, (*_LISTS, *_SETS)):
            if not isinstance(x, (tuple, frozenset)):
                found.append((x, None, tuple(x)))
            todo += x
        elif _is_record(x):
            fields = _values(x)
            if not type(x).__dataclass_params__.frozen:
                found.append((x, _values, tuple(fields)))
            todo += fields
    return tuple(found)
