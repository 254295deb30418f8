"""The words of kernels (``@ts.kernel``): what one cell of a grid computes, on tiles, without threads or layouts.

They are read by ``ts.kernel`` from the kernel's source and mean what docs/tg.md, section 12, says; outside of a kernel
they raise. Operators (``ts.exp``, ``ts.where``, ``x @ y``, ``x.T`` …) work on tiles as they do on tensors.
"""

from __future__ import annotations

from typing import Any

from .errors import GraphTypeError
from .missing import TILE, absent_function

# word: (parameters, what it does). Those of the compiler's own kernels bear the same names.
WORDS: dict[str, tuple[str, str]] = {
    "context": ("()", "Nothing: tiling, memory and waiting are the compiler's."),
    "alloc_shared": ("(*shape, dtype)", "A place for a tile; sizes give way to a whole axis that is loaded into it."),
    "alloc_register": ("(*shape, dtype)", "A place for a tile, as ``alloc_shared`` makes one."),
    "fill": ("(place, value)", "Writes one number everywhere."),
    "range": ("(start=0, stop, step=1)", "Tiles along an axis: ``for i in ts.tile.range(S, step=128)``."),
    "load": ("(source)", "A tile of an operand: ``load(K[j:j + 128])``."),
    "load_async": ("(place, source)", "Writes a tile of an operand into a place; it is complete when it is used."),
    "barrier": ("()", "Nothing: a tile is complete when it is used."),
    "matmul": ("(a, b)", "The product of two tiles; 16-bit tiles give f32 sums."),
    "online_softmax": (
        "(scores, m, l)",
        "Three results: the new maximum of each row, the new sum, and exp(scores - m) not divided by it.",
    ),
    "update_accumulator": (
        "(acc, v, m, m_new, l, l_new)",
        "acc * exp(m - m_new) + v by rows; writes acc where it is a place.",
    ),
    "store": ("(result, tile)", "Writes a tile of a result; each element once."),
    "iota": ("(length, dtype=int64)", "0, 1, 2, …: ``j + iota(128)`` are the positions of a tile along j."),
}

__all__ = list(WORDS)


def _word(name: str) -> Any:
    parameters, what = WORDS[name]

    def word(*args: Any, **kwargs: Any) -> Any:
        raise GraphTypeError(f"tessera.tile.{name} stands in the body of a tessera.kernel alone", "E_KERNEL")

    word.__name__ = word.__qualname__ = name
    word.__doc__ = f"``{name}{parameters}`` in a kernel. {what}"
    word.__tessera_word__ = name  # type: ignore[attr-defined]
    return word


def _absent_word(name: str) -> Any:
    word = absent_function(f"tessera.tile.{name}", TILE[name])
    word.__tessera_word__ = name  # a kernel that has it says so too
    return word


for _name in WORDS:
    globals()[_name] = _word(_name)
for _name in TILE:
    globals()[_name] = _absent_word(_name)
