"""From a traced graph to something that can be called: text, the compiler's child process, the loaded artifact."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from . import _core
from .trace import Context, Value

__all__ = ["build", "build_text", "places"]

# for profiles: what gives the Python line of a name in the text of a compiled file; who is told of a compilation
places: dict[str, Any] = {}
watcher: Any = None


def build_text(
    text: str,
    name: str,
    device: str,
    names: Sequence[str],
    options: Sequence[str] = (),
    weights: dict[str, Any] | None = None,
    where: Any = None,
) -> Any:
    """The compiled graph of a text, to be called with tensors on ``device``. ``where`` gives the Python line of a name
    of the text."""
    from . import compile as compiler

    archs = tuple(compiler.native_archs()) if device.startswith("cuda") else ()
    begin = time.monotonic_ns()
    path = compiler.build(text, name=name, archs=archs, weights=weights or {}, options=tuple(options), where=where)
    program = _core.load(str(path), path.stem)
    if watcher is not None:
        watcher(name, device, begin, time.monotonic_ns())
    if where is not None:
        places[str(path)] = where
    return _core.Callable(program, 0, list(names))


def build(
    context: Context,
    results: Sequence[tuple[str, Value]],
    device: str,
    options: Sequence[str] = (),
    policy: dict[str, Any] | None = None,
) -> Any:
    """The traced graph, compiled for ``device``."""
    return build_text(
        context.text(results, policy), context.name, device, context.names, options, where=context.where
    )
