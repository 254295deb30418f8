"""Tessera: models as graphs, compiled to one file that needs nothing.

::

    import tessera as ts

    @ts.function
    def layer(x: ts.Tensor["B", "D", ts.f32], w: ts.Tensor["D", "K", ts.f32]) -> ts.Tensor["B", "K", ts.f32]:
        return ts.nn.gelu(ts.nn.linear(x, w))

    y = ts.jit(layer)(ts.randn(4, 8), ts.randn(8, 16))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import _core
from .annot import Sym, sym
from .dtypes import (
    DType,
    accum,
    bf16,
    bfloat16,
    bool_,
    complex64,
    f16,
    f32,
    f64,
    float16,
    float32,
    float64,
    fp4_e2m1,
    fp6_e2m3,
    fp6_e3m2,
    fp8_e4m3,
    fp8_e5m2,
    fp16,
    fp32,
    fp64,
    int4,
    int8,
    int16,
    int32,
    int64,
    uint8,
)
from .errors import (
    ArgumentTypeError,
    ArgumentValueError,
    CompileError,
    DeviceError,
    GraphTypeError,
    GraphValueError,
    NotInRelease,
    TesseraError,
)
from .function import Function
from .module import Module
from .tensor import as_tensor, empty, tensor

if TYPE_CHECKING:  # what type checkers see; docs/python.md, "Type checkers", says more
    from builtins import dict as Dict

    from . import aot as aot
    from . import cache as cache
    from . import dtypes as dtypes
    from . import errors as errors
    from . import graph as graph
    from . import jax as jax
    from . import memory as memory
    from . import nn as nn
    from . import numeric as numeric
    from . import op as op
    from . import ops as ops
    from . import profiler as profiler
    from . import random as random
    from . import tile as tile
    from ._decorators import function, jit
    from ._decorators import kernel as kernel
    from ._names import *  # noqa: F403
    from ._types import Tile
    from .graph import load as load
    from .interop import from_dlpack as from_dlpack
    from .interop import to_dlpack as to_dlpack
    from .random import manual_seed as manual_seed
    from .random import rand as rand
    from .random import randint as randint
    from .random import randn as randn
    from .random import set_default_device as set_default_device
    from .tensor import Tensor
else:
    from .annot import Dict
    from .function import function, jit
    from .tensor import Tensor

__version__: str = _core.version


__all__ = [
    "ArgumentTypeError",
    "ArgumentValueError",
    "CompileError",
    "DType",
    "DeviceError",
    "Dict",
    "Function",
    "GraphTypeError",
    "GraphValueError",
    "Module",
    "NotInRelease",
    "Sym",
    "Tensor",
    "TesseraError",
    "Tile",
    "accum",
    "as_tensor",
    "bf16",
    "bfloat16",
    "bool_",
    "complex64",
    "empty",
    "f16",
    "f32",
    "f64",
    "float16",
    "float32",
    "float64",
    "fp16",
    "fp32",
    "fp4_e2m1",
    "fp64",
    "fp6_e2m3",
    "fp6_e3m2",
    "fp8_e4m3",
    "fp8_e5m2",
    "function",
    "int16",
    "int32",
    "int4",
    "int64",
    "int8",
    "jit",
    "sym",
    "tensor",
    "uint8",
]

# What is imported when it is first asked for: name: (module, name there).
_LAZY = {
    "load": ("graph", "load"),
    "from_dlpack": ("interop", "from_dlpack"),
    "to_dlpack": ("interop", "to_dlpack"),
    "manual_seed": ("random", "manual_seed"),
    "rand": ("random", "rand"),
    "randn": ("random", "randn"),
    "randint": ("random", "randint"),
    "set_default_device": ("random", "set_default_device"),
    "kernel": ("kernel", "kernel"),
    "Tile": ("_types", "Tile"),
}
_MODULES = (
    "ops",
    "nn",
    "graph",
    "random",
    "numeric",
    "profiler",
    "memory",
    "aot",
    "cache",
    "tile",
    "train",
    "opt",
    "optim",
    "data",
    "dist",
    "mesh",
    "compat",
    "torch",
    "hf",
    "runtime",
    "jax",
    "errors",
    "dtypes",
)


if not TYPE_CHECKING:  # for which a name that is not there is an error

    def __getattr__(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "op":
            value: Any = importlib.import_module(".ops", __name__)
        elif name in _LAZY:
            module, attr = _LAZY[name]
            try:
                value = getattr(importlib.import_module("." + module, __name__), attr)
            except ModuleNotFoundError as e:
                if e.name != f"{__name__}.{module}":
                    raise
                raise NotInRelease(f"tessera.{name} is not in this release") from None
        elif name in _MODULES:
            try:
                return importlib.import_module("." + name, __name__)
            except ModuleNotFoundError as e:
                if e.name != f"{__name__}.{name}":
                    raise
                raise NotInRelease(f"tessera.{name} is not in this release") from None
        else:
            from .missing import NAMES, absent_function, nearest

            ops = importlib.import_module(".ops", __name__)
            if name in NAMES:
                value = absent_function(f"tessera.{name}", NAMES[name])
            elif name in ops.__all__ and name not in ops.OWN_NAMES:
                value = getattr(ops, name)
            else:
                raise AttributeError(f"module 'tessera' has no attribute {name!r}" + nearest(name, __dir__()))
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    ops = importlib.import_module(".ops", __name__)
    return sorted({*__all__, *_LAZY, *_MODULES, "op", "grad", "distribute", "from_pytorch", *ops.__all__})
