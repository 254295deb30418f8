"""Bytes of tensors: what this package's allocator holds for them on a device. The workspace of compiled functions and
what other libraries allocate are not counted."""

from __future__ import annotations

from typing import Any

from . import _core

__all__ = [
    "empty_cache",
    "get_memory_usage",
    "max_memory_allocated",
    "memory_allocated",
    "memory_reserved",
    "reset_peak",
]


def _device(device: Any) -> str:
    if device is None:
        from .random import default_device

        return default_device()
    return "cuda:0" if str(device) == "cuda" else str(device)


def _bytes(device: Any, what: str) -> int:
    return int(_core.memory_stats(_device(device))[what])


def memory_allocated(device: Any = None) -> int:
    """Bytes of the tensors that exist now on ``device`` (where new tensors lie, when nothing is said)."""
    return _bytes(device, "current")


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors took at once, since the start or the last ``reset_peak``."""
    return _bytes(device, "peak")


def memory_reserved(device: Any = None) -> int:
    """Bytes held from the system or the driver: of tensors, and kept for the next ones."""
    return _bytes(device, "reserved")


def get_memory_usage(device: Any = None) -> float:
    """The most memory that tensors took at once, in GB (1e9 bytes): ``max_memory_allocated(device) / 1e9``."""
    return max_memory_allocated(device) / 1e9


def reset_peak(device: Any = None) -> None:
    """From now on the peak counts from what is allocated now."""
    _core.memory_reset_peak(_device(device))


def empty_cache(device: Any = None) -> None:
    """Gives memory that no tensor uses back."""
    _core.empty_cache(_device(device))
