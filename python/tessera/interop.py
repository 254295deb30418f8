"""Tensors from elsewhere and back: DLPack, and results of the kind that the operands had."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from . import _core

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = ["as_kind", "from_dlpack", "kind_of", "to_dlpack"]


def from_dlpack(x: Any, *, stream: Any = None) -> Tensor:
    """A tensor over the same memory as x: a capsule, or an object with ``__dlpack__``. Nothing is copied.

    Raises:
        TypeError: x is neither.
        BufferError: the producer cannot lend it.
    """
    return _core.from_dlpack(x, stream)


def to_dlpack(x: Any) -> Any:
    """x as a DLPack capsule, which one consumer takes once. Nothing is copied."""
    return _core.to_dlpack(x if isinstance(x, _core.TensorBase) else _core.as_tensor(x))


def is_numpy_number(x: Any) -> bool:
    """Whether x is a number of NumPy, ``np.int64(3)``, which is a number like Python's beside tensors."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(x, numpy.generic)


def kind_of(x: Any) -> str:
    """The library of a tensor: "tessera", "torch", "jax", "numpy" or "other"."""
    if isinstance(x, _core.TensorBase):
        return "tessera"
    root = type(x).__module__.partition(".")[0]
    return {"torch": "torch", "jax": "jax", "jaxlib": "jax", "numpy": "numpy"}.get(root, "other")


def as_kind(t: Any, operands: tuple[Any, ...]) -> Any:
    """A result of the kind that its operands call for: torch before JAX before NumPy (where there is nothing else),
    else ours."""
    kinds = {kind_of(x) for x in operands if x is not None and not isinstance(x, (bool, int, float))}
    if "torch" in kinds:
        return sys.modules["torch"].from_dlpack(t)
    if "jax" in kinds:
        if getattr(t, "read_only", False):  # a view of a JAX array, and JAX may reuse what it is given
            t = t.clone()
        return sys.modules["jax"].dlpack.from_dlpack(t)
    if kinds == {"numpy"}:
        return t.numpy()
    return t
