"""The exceptions of the package. Each derives from the built-in class that Python code expects, so ``except
TypeError`` works.

``code`` is the compiler's stable code (``E_SHAPE_MISMATCH``), empty where the compiler was not asked.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "ArgumentTypeError",
    "ArgumentValueError",
    "CompileError",
    "DeviceError",
    "GraphTypeError",
    "GraphValueError",
    "NotInRelease",
    "TesseraError",
]


class TesseraError(Exception):
    """The base of all errors of this package."""

    def __init__(self, text: str = "", code: str = "") -> None:
        super().__init__(text)
        self.code = code


class GraphTypeError(TesseraError, TypeError):
    """An operator was given operands, attributes or element types that it does not take."""


class GraphValueError(TesseraError, ValueError):
    """Sizes that do not go together, found while a graph is built."""


class ArgumentTypeError(TesseraError, TypeError):
    """A compiled function was called with a wrong number or kind of arguments, or wrong element types."""


class ArgumentValueError(TesseraError, ValueError):
    """A compiled function was called with tensors whose ranks, sizes or devices do not fit."""


class DeviceError(TesseraError, RuntimeError):
    """A device is missing, lost or out of memory."""


class CompileError(TesseraError, RuntimeError):
    """The compiler refused a graph, or could not be run.

    ``diagnostics`` holds what it said: tuples (severity, code, line, column, text).
    """

    def __init__(
        self, text: str = "", code: str = "", diagnostics: Sequence[tuple[str, str, int, int, str]] = ()
    ) -> None:
        super().__init__(text, code)
        self.diagnostics = tuple(diagnostics)


class NotInRelease(TesseraError, NotImplementedError):
    """A name of the public API that this release does not have yet; the text says what there is instead."""
