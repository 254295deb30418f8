"""Random tensors by the compiler's random operators: the same numbers on every machine, for a seed and the count of
calls before."""

from __future__ import annotations

import struct
import threading
from math import prod
from typing import TYPE_CHECKING, Any

from . import _core
from ._apply import tracing
from .dtypes import as_dtype
from .errors import DeviceError, GraphTypeError, GraphValueError
from .methods import sizes_of

if TYPE_CHECKING:
    from ._types import DTypeLike, Sizes
    from .tensor import Tensor

__all__ = ["default_device", "manual_seed", "rand", "randint", "randn", "set_default_device"]


class _State:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.seed = 0
        self.step = 0
        self.device: str | None = None
        self.first: str | None = None


_state = _State()
_made: dict[Any, Any] = {}


def manual_seed(seed: int) -> None:
    """Starts the sequence of random keys anew. Without a call the seed is 0."""
    if not hasattr(seed, "__index__"):
        raise GraphTypeError(f"manual_seed: argument 'seed': wanted an int, found {type(seed).__name__}", "E_ARGUMENTS")
    number = seed.__index__()
    if not -(2**63) <= number < 2**63:
        raise GraphValueError("manual_seed: argument 'seed': wanted an int of 64 bits, found one that is longer")
    with _state.lock:
        _state.seed, _state.step = number, 0


def next_key() -> tuple[int, int]:
    """(seed, step), each step once."""
    with _state.lock:
        _state.step += 1
        return _state.seed, _state.step - 1


def set_default_device(device: Any) -> None:
    """Where new tensors lie: "cpu", "cuda", "cuda:1"; None: the first GPU where there is one, else the CPU.

    Raises:
        DeviceError: there is no such GPU.
        ValueError: no device's name.
    """
    if device is not None:
        device = "cuda:0" if str(device) == "cuda" else str(device)
        kind, _, index = device.partition(":")
        if device != "cpu" and (kind != "cuda" or not index.isdigit()):
            raise GraphValueError(f"set_default_device: {device!r} is no device; there are 'cpu' and 'cuda:N'")
        if device != "cpu" and int(index) >= len(_core.gpus()):
            raise DeviceError(f"set_default_device: no {device}; this machine has {len(_core.gpus())} GPUs")
    _state.device = device


def default_device() -> str:
    """Where new tensors lie."""
    if _state.device is not None:
        return _state.device
    if _state.first is None:
        _state.first = "cuda:0" if _core.gpus() else "cpu"
    return _state.first


def _key_tensor(device: str) -> Any:
    key = _core.from_buffer(bytearray(struct.pack("=qq", *next_key())), "int64", (2,))
    return key if device == "cpu" else key._copy_to(device)


def key_here(x: Any) -> Any:
    """The next key: in a graph a hidden input that every call fills anew, else a tensor where x lies."""
    if tracing.depth:
        from . import trace

        context = trace.current()
        assert context is not None
        return context.hidden("random_key", "int64", (2,), lambda: _key_tensor("cpu"))
    return _key_tensor(getattr(x, "device", "cpu") if isinstance(x, _core.TensorBase) else "cpu")


def _draw(name: str, attrs: tuple[tuple[str, Any], ...], shape: tuple[Any, ...], dtype: Any, device: Any) -> Any:
    if tracing.depth:
        from . import trace

        context = trace.current()
        assert context is not None
        return context.op(name, (key_here(None),), (("shape", shape), *attrs, ("dtype", as_dtype(dtype).name)))
    if not all(hasattr(d, "__index__") for d in shape):
        raise GraphTypeError(f"{name}: sizes are ints, not {shape!r}", "E_SIZE")
    sizes = tuple(int(d) for d in shape)
    if any(d < 0 for d in sizes):
        raise GraphValueError(f"{name}: {sizes} is no shape", "E_SIZE")
    where = "cuda:0" if str(device) == "cuda" else str(device or default_device())
    n = prod(sizes)
    pattern = (name, attrs, as_dtype(dtype).name, where[:4])
    call = _made.get(pattern)
    if call is None:
        call = _made[pattern] = _compile(name, attrs, as_dtype(dtype).name, where)
    return call(_key_tensor(where), _core.empty((n, 0), "int8", where))._view(0, sizes, _strides(sizes))


def _strides(sizes: tuple[int, ...]) -> tuple[int, ...]:
    from .views import compact_strides

    return compact_strides(sizes)


def _compile(name: str, attrs: tuple[tuple[str, Any], ...], dtype: str, device: str) -> Any:
    """One graph for every shape: the number of elements is that of rows of an input without elements."""
    from . import trace
    from .backend import build

    context = trace.Context("random_" + name)
    with trace.entered(context):
        context.builder.declare("N", 0)
        key = context.param("key", "int64", (2,))
        context.param("like", "int8", ("N", 0))
        out = context.op(name, (key,), (("shape", ("N",)), *attrs, ("dtype", dtype), ("stream", 0)))
    return build(context, [("y", out)], device)


def randn(*shape: Sizes, dtype: DTypeLike = "f32", device: Any = None) -> Tensor:
    """Numbers of the standard normal distribution.

    Args:
        shape: sizes, one by one or as a list.
        dtype: a float type.
        device: "cpu" or "cuda:N"; where new tensors lie, if not given.
    """
    return _draw("normal", (), sizes_of(shape), dtype, device)


def rand(*shape: Sizes, dtype: DTypeLike = "f32", device: Any = None) -> Tensor:
    """Numbers even on 0 <= x < 1."""
    return _draw("uniform", (), sizes_of(shape), dtype, device)


def uniform(low: float, high: float, shape: Sizes, dtype: DTypeLike = "f32", device: Any = None) -> Tensor:
    """Numbers even on low <= x < high."""
    return _draw("uniform", (("low", float(low)), ("high", float(high))), sizes_of((shape,)), dtype, device)


def randint(low: int, high: int, shape: Sizes, dtype: DTypeLike = "int32", device: Any = None) -> Tensor:
    """Integers even on low <= x < high, int32 unless ``dtype`` says int64.

    Raises:
        ValueError: high is not above low, or more than 2**31 different numbers.
    """
    if not low < high:
        raise GraphValueError(f"randint: no integers from {low} up to but not {high}")
    return _draw("randint", (("low", int(low)), ("high", int(high))), sizes_of((shape,)), dtype, device)
