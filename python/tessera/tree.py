"""Arguments and results as trees: dicts, lists, tuples and modules with tensors at the leaves, anything else being
static.

``flatten`` takes a tree apart into named leaves (``weights.w_qkv``, ``layers.0``) and a key, which is equal for trees
of one structure with equal static parts, and from which ``unflatten`` builds the tree again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from . import _core
from ._apply import Symbolic
from .errors import GraphTypeError

__all__ = ["flatten", "is_tensor", "unflatten"]

_LEAF = ("leaf",)
_NAN = float("nan")
_kinds: dict[type, bool] = {}
_STATIC = (bool, int, float, complex, str, bytes, type(None))


def is_tensor(x: Any) -> bool:
    """Whether x is a tensor of any library: ours, or one that DLPack, the buffer or the array protocol reaches."""
    cls = type(x)
    known = _kinds.get(cls)
    if known is None:
        known = issubclass(cls, (_core.TensorBase, Symbolic)) or (
            not issubclass(cls, (*_STATIC, dict, list, tuple, type, memoryview, bytearray))
            and any(
                hasattr(cls, a) for a in ("__dlpack__", "__array_interface__", "__cuda_array_interface__", "__array__")
            )
            and hasattr(cls, "shape")
        )
        _kinds[cls] = known
    return known


def flatten(x: Any, name: str | None, leaves: list[tuple[Any, Any]]) -> Any:
    """Appends the leaves of x, each with its name (none where ``name`` is None), and gives the key of its structure."""
    if is_tensor(x):
        leaves.append((name, x))
        return _LEAF
    if isinstance(x, dict):
        for k in x if name is not None else ():
            if not isinstance(k, (str, int)):
                raise GraphTypeError(f"{name}: the keys of a dict argument are strings, not {type(k).__name__}")
        return ("dict", type(x), tuple([(k, flatten(v, _below(name, k), leaves)) for k, v in x.items()]))
    if isinstance(x, (list, tuple)):
        return ("list", type(x), tuple([flatten(v, _below(name, i), leaves) for i, v in enumerate(x)]))
    own = getattr(x, "__tessera_flatten__", None)
    if own is not None and not isinstance(x, type):
        return ("object", x, flatten(own(), name, leaves))
    if type(x) is float:  # 0.0 and -0.0 are equal and not the same, and NaN is the same and not equal
        return ("static", float, _NAN if x != x else x, x.hex())
    try:
        hash(x)
    except TypeError:
        raise GraphTypeError(
            f"argument {name!r}: a {type(x).__name__} is neither a tensor nor a dict, list or tuple of such, and cannot"
            " be told from others when the function is called again"
        ) from None
    return ("static", type(x), x)


def _below(name: str | None, part: Any) -> str | None:
    return None if name is None else f"{name}.{part}" if name else str(part)


def unflatten(key: Any, leaves: Iterator[Any]) -> Any:
    """The tree that ``key`` describes, with the next leaves in it."""
    kind = key[0]
    if kind == "leaf":
        return next(leaves)
    if kind == "static":
        return key[2]
    if kind == "dict":
        items = {k: unflatten(sub, leaves) for k, sub in key[2]}
        return items if key[1] is dict else key[1](items)
    if kind == "list":
        parts = [unflatten(sub, leaves) for sub in key[2]]
        if key[1] is list or key[1] is tuple:
            return key[1](parts)
        return key[1](*parts) if hasattr(key[1], "_fields") else key[1](parts)
    return key[1].__tessera_unflatten__(unflatten(key[2], leaves))


def leaves_of(x: Any, name: str = "") -> list[tuple[str, Any]]:
    """The named leaves of x."""
    found: list[tuple[str, Any]] = []
    flatten(x, name, found)
    return found


def any_leaf(x: Any, test: Callable[[Any], bool]) -> bool:
    """Whether a leaf passes the test; stops at what is no tree."""
    if isinstance(x, (list, tuple)):
        return any(any_leaf(v, test) for v in x)
    if isinstance(x, dict):
        return any(any_leaf(v, test) for v in x.values())
    return test(x)
