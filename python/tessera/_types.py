"""What the annotations of the package are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, SupportsIndex, TypeVar

from ._core import Dim
from .dtypes import DType
from .methods import TensorMethods

__all__ = ["Array", "Axes", "DTypeLike", "Operand", "Ours", "Size", "Sizes", "T", "Tile"]


class Array(Protocol):
    """A tensor of this package, a symbolic value, or an array of NumPy, PyTorch, JAX or another library."""

    @property
    def shape(self) -> Any: ...
    @property
    def dtype(self) -> Any: ...


class _OtherDType(Protocol):
    """An element type of NumPy, PyTorch or JAX."""

    @property
    def itemsize(self) -> Any: ...


class Tile(TensorMethods):
    """``ts.Tile["B*H", "S", "D", ts.bf16]``: the type of a kernel's operand, in annotations."""

    __slots__ = ()

    def __class_getitem__(cls, items: Any) -> Any:
        from .annot import TileSpec, parse_spec

        return parse_spec(items, TileSpec)

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes."""
        raise NotImplementedError

    @property
    def dtype(self) -> DType:
        """The element type."""
        raise NotImplementedError


T = TypeVar("T", bound=Array)  # a result of the operand's kind
Ours = TypeVar("Ours", bound=TensorMethods)  # the same, for tensors of this package, symbolic values and tiles alone
Operand = Array | float
Size = SupportsIndex | str | Dim
Sizes = Size | Sequence[Size]
Axes = int | Sequence[int]
DTypeLike = DType | str | type | _OtherDType
