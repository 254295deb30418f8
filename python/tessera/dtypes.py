"""Element types: ``ts.bf16``, ``ts.f32``, … and ``ts.bf16 @ ts.accum(ts.f32)`` for storage with a wider sum.

``str(dtype)`` is the name in ``.tg`` texts. Wherever a dtype is wanted, its name, a NumPy or PyTorch dtype, or
``float``, ``int`` and ``bool`` (f32, int64, bool) do as well.
"""

from __future__ import annotations

from typing import Any, Final

from . import _core
from ._dtype_table import DTYPE_TABLE
from .errors import GraphTypeError

__all__ = ["Accum", "DType", "accum", "as_dtype"]

_KINDS: Final = {name: kind for name, kind, _, _ in DTYPE_TABLE}
_BITS: Final = {name: bits for name, _, bits, _ in DTYPE_TABLE}
_COMPUTE: Final = frozenset(name for name, _, _, compute in DTYPE_TABLE if compute)
# Other names of the same types: those of NumPy, PyTorch, ml_dtypes, and the short ones.
_ALIASES: Final = {
    "float32": "f32",
    "fp32": "f32",
    "float": "f32",
    "float64": "f64",
    "fp64": "f64",
    "double": "f64",
    "float16": "f16",
    "fp16": "f16",
    "half": "f16",
    "bfloat16": "bf16",
    "i64": "int64",
    "i32": "int32",
    "i16": "int16",
    "i8": "int8",
    "i4": "int4",
    "u8": "uint8",
    "long": "int64",
    "int": "int32",
    "bool_": "bool",
    "float8_e4m3fn": "fp8_e4m3",
    "float8_e5m2": "fp8_e5m2",
    "float6_e2m3fn": "fp6_e2m3",
    "float6_e3m2fn": "fp6_e3m2",
    "float4_e2m1fn": "fp4_e2m1",
    "cfloat": "complex64",
}
_NUMPY: Final = {
    "f32": "float32",
    "f64": "float64",
    "f16": "float16",
    "bf16": "bfloat16",
    "bool": "bool",
    "fp8_e4m3": "float8_e4m3fn",
    "fp8_e5m2": "float8_e5m2",
    "fp6_e2m3": "float6_e2m3fn",
    "fp6_e3m2": "float6_e3m2fn",
    "fp4_e2m1": "float4_e2m1fn",
}


class Accum:
    """The type that sums run in, as ``ts.accum(ts.f32)``; written behind a dtype with ``@``."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: DType) -> None:
        self.dtype = dtype

    def __repr__(self) -> str:
        return f"tessera.accum({self.dtype!r})"


class DType:
    """An element type. There is one object for each name and accumulator."""

    __slots__ = ("accum", "name")
    _made: dict[tuple[str, str | None], DType] = {}  # noqa: RUF012
    name: str
    accum: str | None

    def __new__(cls, name: str, accum: str | None = None) -> DType:
        made = cls._made.get((name, accum))
        if made is None:
            if name not in _KINDS:
                raise GraphTypeError(f"no element type {name!r}; there are {', '.join(_KINDS)}", "E_TYPE")
            if accum is not None and _KINDS.get(accum) != "F" and _KINDS[name] not in "IU":
                raise GraphTypeError(f"accum: sums of {name} run in a float type, not {accum}", "E_NUMERICS")
            made = object.__new__(cls)
            object.__setattr__(made, "name", name)
            object.__setattr__(made, "accum", accum)
            made = cls._made.setdefault((name, accum), made)
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("element types do not change")

    def __reduce__(self) -> tuple[Any, ...]:
        return DType, (self.name, self.accum)

    def __matmul__(self, other: object) -> DType:
        if isinstance(other, Accum):
            return DType(self.name, other.dtype.name)
        if isinstance(other, DType):
            return DType(self.name, other.name)
        return NotImplemented

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DType):
            return self is other
        if isinstance(other, str):
            return self.name == _ALIASES.get(other, other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name if self.accum is None else f"{self.name}@{self.accum}"

    def __repr__(self) -> str:
        return f"tessera.{self.name}" + ("" if self.accum is None else f" @ tessera.accum(tessera.{self.accum})")

    @property
    def storage(self) -> DType:
        """This type without its accumulator."""
        return self if self.accum is None else DType(self.name)

    @property
    def bits(self) -> int:
        """Bits of one element as stored."""
        return _BITS[self.name]

    @property
    def is_float(self) -> bool:
        return _KINDS[self.name] == "F"

    @property
    def is_integer(self) -> bool:
        return _KINDS[self.name] in "IU"

    @property
    def is_compute(self) -> bool:
        """Whether operators compute in it; the others are for storage."""
        return self.name in _COMPUTE

    @property
    def numpy_name(self) -> str:
        """The name NumPy (or ml_dtypes) has for it."""
        return _NUMPY.get(self.name, self.name)


_core.add_constant_type(DType)


def accum(dtype: object) -> Accum:
    """The accumulator part of a type: ``ts.bf16 @ ts.accum(ts.f32)``."""
    return Accum(as_dtype(dtype).storage)


_BUILTIN: Final = {float: "f32", int: "int64", bool: "bool", complex: "complex64"}


def as_dtype(x: object) -> DType:
    """The DType that x names: a DType, a name, or a dtype of NumPy, PyTorch or JAX.

    Raises:
        GraphTypeError: x names no element type.
    """
    if isinstance(x, DType):
        return x
    if isinstance(x, str):
        name, at, acc = x.partition("@")
        return DType(_ALIASES.get(name, name), _ALIASES.get(acc, acc) if at else None)
    if isinstance(x, type) and x in _BUILTIN:
        return DType(_BUILTIN[x])
    # torch.float32 prints as such, numpy.dtype has a name, numpy.float32 is a class of that name
    name = getattr(x, "name", None) or getattr(x, "__name__", None) or str(x).rpartition(".")[2]
    name = _ALIASES.get(name, name)
    if name not in _KINDS:
        raise GraphTypeError(f"{x!r} is no element type; there are {', '.join(_KINDS)}", "E_TYPE")
    return DType(name)


f32: Final = DType("f32")
f64: Final = DType("f64")
f16: Final = DType("f16")
bf16: Final = DType("bf16")
int64: Final = DType("int64")
int32: Final = DType("int32")
int16: Final = DType("int16")
int8: Final = DType("int8")
int4: Final = DType("int4")
uint8: Final = DType("uint8")
bool_: Final = DType("bool")
fp8_e4m3: Final = DType("fp8_e4m3")
fp8_e5m2: Final = DType("fp8_e5m2")
fp6_e2m3: Final = DType("fp6_e2m3")
fp6_e3m2: Final = DType("fp6_e3m2")
fp4_e2m1: Final = DType("fp4_e2m1")
complex64: Final = DType("complex64")
# the names of other documents for the same objects
fp32: Final = f32
fp64: Final = f64
fp16: Final = f16
float32: Final = f32
float64: Final = f64
float16: Final = f16
bfloat16: Final = bf16
