"""Layers as functions: names of ``tessera.ops`` that models are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .module import Module
from .ops import (
    attention,
    cross_entropy,
    dropout,
    embedding,
    flash_attention,
    flash_attn,
    gelu,
    layer_norm,
    linear,
    log_softmax,
    relu,
    rms_norm,
    sigmoid,
    silu,
    softmax,
    tanh,
    transformer_layer,
    transformer_stack,
)

__all__ = [
    "Module",
    "attention",
    "cross_entropy",
    "dropout",
    "embedding",
    "flash_attention",
    "flash_attn",
    "gelu",
    "layer_norm",
    "linear",
    "log_softmax",
    "relu",
    "rms_norm",
    "scaled_dot_product_attention",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
    "transformer_layer",
    "transformer_stack",
]

scaled_dot_product_attention = flash_attention


if not TYPE_CHECKING:  # for which a name that is not there is an error

    def __getattr__(name: str) -> Any:
        from .missing import OPERATORS, absent, nearest

        if name in ("conv1d", "conv2d", "conv3d"):
            return absent(f"tessera.nn.{name}", OPERATORS[name])
        raise AttributeError(f"tessera.nn has no {name!r}" + nearest(name, __all__))
