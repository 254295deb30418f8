"""``Tensor``: elements on a device, with the operators and methods of the package. Views share memory; nothing here
changes elements."""

from __future__ import annotations

import operator
import struct
from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

from . import _core
from .annot import TensorSpec, parse_spec
from .dtypes import DType, as_dtype
from .errors import ArgumentTypeError, GraphTypeError, GraphValueError
from .interop import is_numpy_number
from .methods import TensorMethods

if TYPE_CHECKING:
    from ._types import DTypeLike, Sizes

__all__ = ["Tensor", "as_tensor", "empty", "filled", "tensor"]

MOST_SHOWN = 1000  # elements that repr prints in full


class Tensor(_core.TensorBase, TensorMethods):
    """A tensor. ``Tensor["B", "S", ts.bf16]`` is the type of tensors in annotations.

    It has ``shape``, ``dtype``, ``device`` ("cpu", "cuda:0"), ``strides`` (in elements), ``ndim``, ``size``,
    ``nbytes`` and ``data_ptr``; NumPy, PyTorch and JAX read it without a copy by the buffer protocol, ``__array__``,
    DLPack and ``__cuda_array_interface__``.
    """

    __slots__ = ("__weakref__",)

    def __class_getitem__(cls, items: Any) -> TensorSpec:
        return parse_spec(items)

    @property
    def dtype(self) -> DType:
        """The element type."""
        return DType(_core.TensorBase.dtype.__get__(self))

    # ---- to Python ----

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self.size != 1:
            raise GraphValueError(f"item: a tensor of {self.size} elements is no number")
        return self._item()

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return _nest(_elements(self), tuple(self.shape))

    def numpy(self) -> Any:
        """A NumPy array over the same memory (of a copy, for a tensor on a GPU); bf16 and the types below 16 bits want
        ml_dtypes."""
        import numpy

        return numpy.asarray(self if self.device == "cpu" else self.cpu())

    def torch(self) -> Any:
        """A PyTorch tensor over the same memory."""
        import torch

        return torch.from_dlpack(self)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise GraphValueError(
                f"a tensor of {self.size} elements is neither true nor false; reduce it to one element first"
            )
        return bool(self.item())

    def __index__(self) -> int:
        if not self.dtype.is_integer or self.ndim:
            raise TypeError(f"{_text(self)} is no index")
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __setitem__(self, index: Any, value: Any) -> None:
        raise GraphTypeError("tensors do not change; tessera.where, tessera.cat and tessera.ops.pad make new ones")

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("a tensor of rank 0 has no length")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        if self.size != 1:
            raise TypeError(f"format {spec!r} wants one element, and {_text(self)} has {self.size}")
        return format(self.item(), spec)

    def __repr__(self) -> str:
        shown = f"shape={tuple(self.shape)}, dtype={self.dtype}" + (
            "" if self.device == "cpu" else f", device='{self.device}'"
        )
        if self.size > MOST_SHOWN:
            return f"tessera.Tensor({shown})"
        return f"tessera.Tensor({_show(self.tolist())}, {shown})"

    def __str__(self) -> str:
        return _show(self.tolist()) if self.size <= MOST_SHOWN else repr(self)

    # ---- where it lies ----

    def to(self, *args: Any, device: Any = None, dtype: DTypeLike | None = None) -> Tensor:
        """On another device, or in another type: ``x.to("cuda")``, ``x.to(ts.bf16)``, ``x.to("cpu", ts.f32)``. x
        itself where nothing changes."""
        for a in args:
            if (isinstance(a, str) and (a == "cpu" or a.startswith("cuda"))) or type(a).__name__ == "device":
                device = str(a)
            else:
                dtype = a
        out = self if dtype is None else self.astype(dtype)
        if device is not None:
            device = "cuda:0" if str(device) == "cuda" else str(device)
            out = out if out.device == device else out._copy_to(device)
        return out

    def cpu(self) -> Tensor:
        """On the CPU."""
        return self.to(device="cpu")

    def cuda(self, index: int = 0) -> Tensor:
        """On a GPU."""
        return self.to(device=f"cuda:{index}")

    def contiguous(self) -> Tensor:
        """The same elements in row order without gaps; x itself where they lie so."""
        return self if self.is_contiguous() else self._copy_to(self.device)

    def clone(self) -> Tensor:
        """A copy."""
        return self._copy_to(self.device)

    detach = contiguous

    def __copy__(self) -> Tensor:
        return self.clone()

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        return self.clone()

    def __reduce__(self) -> tuple[Any, ...]:
        host = self.cpu()
        return _restore, (host.tobytes(), self.dtype.name, tuple(self.shape))


_core.set_tensor_type(Tensor)


def _restore(data: bytes, dtype: str, shape: tuple[int, ...]) -> Any:
    return _core.from_buffer(bytearray(data), dtype, shape)


def _text(t: Any) -> str:
    return f"{t.dtype}[{', '.join(map(str, t.shape))}]"


# ---- elements as Python numbers ----

_FORMATS = {
    "f32": "f",
    "f64": "d",
    "f16": "e",
    "int64": "q",
    "int32": "i",
    "int16": "h",
    "int8": "b",
    "uint8": "B",
    "bool": "?",
}
_SMALL = {
    "fp8_e4m3": (4, 3, 7),
    "fp8_e5m2": (5, 2, 15),
    "fp6_e2m3": (2, 3, 1),
    "fp6_e3m2": (3, 2, 3),
    "fp4_e2m1": (2, 1, 1),
}


def _small(name: str, code: int) -> float:
    """The value of a float of 8 bits or less."""
    e_bits, m_bits, bias = _SMALL[name]
    sign = -1.0 if code >> (e_bits + m_bits) & 1 else 1.0
    e, m = code >> m_bits & ((1 << e_bits) - 1), code & ((1 << m_bits) - 1)
    if name == "fp8_e4m3" and e == 15 and m == 7:
        return float("nan")
    if name == "fp8_e5m2" and e == 31:
        return sign * float("inf") if m == 0 else float("nan")
    if e == 0:
        return float(sign * m * 2.0 ** (1 - bias - m_bits))
    return float(sign * (1 + m / (1 << m_bits)) * 2.0 ** (e - bias))


def _elements(t: Tensor) -> list[Any]:
    data = (t if t.device == "cpu" else t._copy_to("cpu")).tobytes()
    name, n = t.dtype.name, t.size
    if name in _FORMATS:
        return list(struct.unpack(f"={n}{_FORMATS[name]}", data))
    if name == "bf16":
        return list(struct.unpack(f"={n}f", b"".join(b"\0\0" + data[i : i + 2] for i in range(0, 2 * n, 2))))
    if name == "complex64":
        flat = struct.unpack(f"={2 * n}f", data)
        return [complex(a, b) for a, b in zip(flat[::2], flat[1::2], strict=True)]
    if name in ("int4", "fp4_e2m1"):
        codes = [data[i // 2] >> 4 * (i % 2) & 15 for i in range(n)]
        return [c - 16 if c > 7 else c for c in codes] if name == "int4" else [_small(name, c) for c in codes]
    return [_small(name, c) for c in data]


def _nest(flat: list[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    if len(shape) == 1:
        return flat
    step = prod(shape[1:])
    return [_nest(flat[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def _show(x: Any) -> str:
    if isinstance(x, list):
        return "[" + ", ".join(_show(v) for v in x) + "]"
    return f"{x:.6g}" if isinstance(x, float) else str(x)


# ---- making ----


def default_device() -> str:
    """Where new tensors lie: what ``set_default_device`` said, else the first GPU, else the CPU."""
    from . import random

    return random.default_device()


def empty(*shape: Sizes, dtype: DTypeLike = "f32", device: Any = None) -> Tensor:
    """A tensor whose elements are not set."""
    from .methods import sizes_of

    return _core.empty(_sizes(sizes_of(shape)), as_dtype(dtype).name, str(device or default_device()))  # type: ignore[no-any-return]


def _sizes(shape: tuple[Any, ...]) -> tuple[int, ...]:
    try:
        sizes = tuple([operator.index(d) for d in shape])
    except TypeError:
        raise GraphTypeError(f"sizes are ints, not {shape!r}", "E_SIZE") from None
    if any(d < 0 for d in sizes):
        raise GraphValueError(f"{sizes} is no shape", "E_SIZE")
    return sizes


def as_tensor(x: Any) -> Tensor:
    """x as a tensor of ours over the same memory: an array of NumPy, PyTorch or JAX, a buffer, or anything with
    ``__dlpack__``.

    Raises:
        TypeError: x is none of these.
    """
    return x if isinstance(x, Tensor) else _core.as_tensor(x)  # type: ignore[no-any-return]


def _shape_of(data: Any) -> tuple[int, ...]:
    shape = []
    while isinstance(data, (list, tuple)):
        shape.append(len(data))
        if not data:
            break
        data = data[0]
    return tuple(shape)


def _flat_into(data: Any, shape: tuple[int, ...], out: list[Any]) -> None:
    if not shape:
        data = data.item() if is_numpy_number(data) else data
        if isinstance(data, (list, tuple)) or not isinstance(data, (bool, int, float, complex)):
            raise ArgumentTypeError(
                f"tensor: the elements of lists are numbers, not {type(data).__name__}; tessera.stack joins tensors"
                if not isinstance(data, (list, tuple))
                else "tensor: the lists are of different depths"
            )
        out.append(data)
        return
    if not isinstance(data, (list, tuple)) or len(data) != shape[0]:
        raise GraphValueError("tensor: the lists are of different lengths", "E_SHAPE_MISMATCH")
    for d in data:
        _flat_into(d, shape[1:], out)


def tensor(data: Any, dtype: DTypeLike | None = None, device: Any = None) -> Tensor:
    """A tensor with a copy of the data: nested lists of numbers, a number, or an array of any library.

    Floats are f32, ints int64, bools bool, unless ``dtype`` says otherwise.
    """
    from . import ops
    from .tree import is_tensor

    if is_tensor(data):
        t = _core.as_tensor(data)
        t = t._copy_to(str(device or t.device))
        return t if dtype is None else ops.cast(t, dtype)  # type: ignore[no-any-return]
    shape = _shape_of(data)
    flat: list[Any] = []
    _flat_into(data, shape, flat)
    if dtype is None:
        kind = (
            "complex64"
            if any(isinstance(x, complex) for x in flat)
            else (
                "f32"
                if not flat or any(isinstance(x, float) for x in flat)
                else "bool"
                if all(isinstance(x, bool) for x in flat)
                else "int64"
            )
        )
    else:
        kind = as_dtype(dtype).name
    wide = kind if kind in _FORMATS else "f32" if as_dtype(kind).is_float else "int32"
    if kind == "complex64":
        packed = struct.pack(f"={2 * len(flat)}f", *(part for x in flat for part in (complex(x).real, complex(x).imag)))
        wide = kind
    else:
        try:
            packed = struct.pack(f"={len(flat)}{_FORMATS[wide]}", *(bool(x) if wide == "bool" else x for x in flat))
        except (struct.error, OverflowError) as e:
            raise GraphTypeError(f"tensor: the numbers do not fit {kind}: {e}", "E_LITERAL_TYPE") from None
    t = _core.from_buffer(bytearray(packed), wide, shape)
    if wide != kind:
        t = ops.cast(t, kind)
    where = str(device or default_device())
    return t if where == "cpu" else t._copy_to(where)  # type: ignore[no-any-return]


def filled(shape: tuple[Any, ...], value: float, dtype: DType, device: Any = None) -> Tensor:
    """A tensor of one number everywhere."""
    sizes = _sizes(shape)
    where = str(device or default_device())
    one = tensor([value], dtype=dtype, device="cpu")
    if dtype.bits >= 8:
        return one._view(0, sizes, [0] * len(sizes))._copy_to(where)  # type: ignore[no-any-return]
    nibble = one.tobytes()[0] & 15
    data = bytes([nibble | nibble << 4]) * ((prod(sizes) + 1) // 2)
    t = _core.from_buffer(bytearray(data), dtype.name, sizes)
    return t if where == "cpu" else t._copy_to(where)  # type: ignore[no-any-return]
