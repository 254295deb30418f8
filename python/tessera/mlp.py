"""``op.mlp``: multi-layer perceptrons as operators."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import sqrt
from typing import Any

from . import _core, trace
from .dtypes import DType, as_dtype
from .errors import GraphTypeError, GraphValueError
from .module import Module
from .numeric import NumericPolicy
from .random import default_device

__all__ = ["MLP"]

_ACTIVATIONS = {
    "gelu": "gelu",
    "relu": "relu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "sine": "sine",
    "sin": "sine",
}
_counter = itertools.count()
_FIRST_OMEGA = 30.0  # SIREN: the factor in front of the first sine


class MLP(Module):
    """Layers ``h = activation(h @ w + b)``, the last one without an activation. Its tensors are ``0.weight``,
    ``0.bias``, … in the type of the policy, else of what it is applied to first."""

    def __init__(
        self, sizes: Sequence[int], activation: str, policy: NumericPolicy | None, name: str, seed: int
    ) -> None:
        super().__init__()
        if activation not in _ACTIVATIONS:
            raise GraphValueError(f"mlp: no activation {activation!r}; there are {', '.join(_ACTIVATIONS)}", "E_ATTR")
        for n in sizes:
            if isinstance(n, bool) or not hasattr(n, "__index__") or n < 1:
                raise GraphTypeError(f"mlp: sizes of layers are ints from 1, not {n!r}", "E_SIZE")
        self.sizes = tuple(int(n) for n in sizes)
        self.activation, self.policy, self.name, self.seed = activation, policy, name, int(seed)
        if policy is not None and policy.dtype is not None:
            self._make(policy.dtype, default_device())

    def _make(self, dtype: DType, device: str) -> None:
        """Draws the weights, now, also where the layers are being traced. Layer i's come from stream i of (seed, 0), so
        they are the same on every machine."""
        from .eager import _call, on_device
        from .tensor import tensor

        sine = _ACTIVATIONS[self.activation] == "sine"
        for i, (a, b) in enumerate(itertools.pairwise(self.sizes)):
            key = tensor([self.seed, i], dtype="int64", device="cpu")
            limit = (1 / a if i == 0 else sqrt(6 / a) / _FIRST_OMEGA) if sine else sqrt(6 / (a + b))
            w = _call("uniform", (key,), (("shape", (a, b)), ("low", -1.0), ("high", 1.0)))
            w = _call("mul", (w, limit), ())
            if dtype.name != "f32":
                w = _call("cast", (w,), (("dtype", dtype.name),))
            zeros = _core.from_buffer(bytearray(b * dtype.bits // 8), dtype.name, (b,))
            self.__dict__["_parameters"][f"{i}.weight"] = on_device(w, device)
            self.__dict__["_parameters"][f"{i}.bias"] = on_device(zeros, device)

    def forward(self, x: Any) -> Any:
        from . import ops

        if isinstance(x, (list, tuple)):
            x = ops.concat(list(x), axis=-1)
        if not self.__dict__["_parameters"]:
            where = x.device if isinstance(x, _core.TensorBase) else default_device()
            self._make(as_dtype(x.dtype).storage, where)
        size = x.shape[-1] if len(x.shape) else None
        if isinstance(size, int) and size != self.sizes[0]:
            raise GraphValueError(
                f"mlp {self.name!r} takes {self.sizes[0]} on the last axis, found {size}", "E_SHAPE_MISMATCH"
            )
        context = trace.context_of((x,))
        if context is None:
            from .eager import run

            return run(_apply_layers, (self, x), {})
        values = {
            k: t if isinstance(t, trace.Value) else context.parameter(t, f"{self.name}.{k}")
            for k, t in self.__dict__["_parameters"].items()
        }
        if self.policy is None:
            return self._layers(x, values)
        with self.policy.scope():
            return self._layers(x, values)

    def _layers(self, x: Any, values: dict[str, Any]) -> Any:
        from . import _ops, ops

        act = getattr(ops, _ACTIVATIONS[self.activation])
        last = len(self.sizes) - 2
        for i in range(last + 1):
            w, b = values[f"{i}.weight"], values[f"{i}.bias"]
            if x.dtype != w.dtype:
                x = ops.cast(x, w.dtype)
            x = _ops.add(_ops.matmul(x, w), b)
            if i < last:
                x = act(_ops.mul(x, _FIRST_OMEGA) if _ACTIVATIONS[self.activation] == "sine" else x)
        return x

    def __repr__(self) -> str:
        return f"MLP({' - '.join(map(str, self.sizes))}, {self.activation}, name={self.name!r})"


def _apply_layers(module: MLP, x: Any) -> Any:
    return module._layers(x, module.__dict__["_parameters"])


def make(
    inputs: Any,
    layers: Sequence[int] | None,
    activation: str,
    in_dim: int | None,
    hidden: Sequence[int],
    out_dim: int | None,
    policy: NumericPolicy | None,
    name: str | None,
    seed: int,
) -> Any:
    """``op.mlp``; see there."""
    from . import ops

    name = name or f"mlp{next(_counter)}"
    if inputs is None:
        if in_dim is None or out_dim is None:
            raise GraphTypeError("mlp: in_dim and out_dim, or inputs and layers, have to be given", "E_ARGUMENTS")
        return MLP([in_dim, *hidden, out_dim], activation, policy, name, seed)
    if in_dim is not None or hidden or out_dim is not None:
        raise GraphTypeError(
            "mlp: applied at once its sizes are `layers`; in_dim, hidden and out_dim make an operator", "E_ARGUMENTS"
        )
    if not layers:
        raise GraphTypeError("mlp: `layers` lists the sizes of the hidden layers and of the result", "E_ARGUMENTS")
    x = ops.concat(list(inputs), axis=-1) if isinstance(inputs, (list, tuple)) else inputs
    width = x.shape[-1]
    if not isinstance(width, int):
        raise GraphTypeError(f"mlp: the size of the last axis is {width}, which is not known", "E_SIZE")
    return MLP([width, *layers], activation, policy, name, seed)(x)
