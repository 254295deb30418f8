"""What stands in annotations: ``ts.Tensor["B", "S", "3*D", ts.bf16]``, ``ts.Tile[…]`` and ``ts.Dict[str,
ts.Tensor]``."""

from __future__ import annotations

import ast
import inspect
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

from .dtypes import DType, as_dtype
from .errors import GraphTypeError, GraphValueError

__all__ = [
    "Dict",
    "DictSpec",
    "Sym",
    "TensorSpec",
    "TileSpec",
    "evaluate_size",
    "evaluator",
    "hints_of",
    "parse_spec",
    "sym",
]


class Sym(str):
    """The name of a size, with what is known of it; ``ts.sym("S", multiple_of=8)``. It stands wherever a size does."""

    min: int
    max: int | None
    multiple_of: int

    def __new__(cls, name: str, min: int = 1, max: int | None = None, multiple_of: int = 1) -> Sym:
        if not isinstance(name, str) or not name.isidentifier():
            raise GraphValueError(f"{name!r} is no name of a size", "E_SIZE")
        for what, value in (("min", min), ("max", max), ("multiple_of", multiple_of)):
            if not (value is None and what == "max") and (isinstance(value, bool) or not isinstance(value, int)):
                raise GraphTypeError(f"sym: argument '{what}': wanted an int, found {type(value).__name__}", "E_SIZE")
        if min < 0:
            raise GraphValueError(f"sym: argument 'min': wanted 0 or more, found {min}", "E_SIZE")
        if multiple_of < 1:
            raise GraphValueError(f"sym: argument 'multiple_of': wanted 1 or more, found {multiple_of}", "E_SIZE")
        if max is not None and max // multiple_of * multiple_of < min:
            raise GraphValueError(
                f"sym: arguments 'min', 'max', 'multiple_of': no size is at least {min}, at most {max} and"
                f" a multiple of {multiple_of}",
                "E_SIZE",
            )
        made = str.__new__(cls, name)
        made.min, made.max, made.multiple_of = min, max, multiple_of
        return made

    def _with(self, op: str, other: object, swap: bool = False) -> str:
        a, b = (str(other), str(self)) if swap else (str(self), str(other))
        return f"({a}) {op} ({b})"

    def __add__(self, other: object) -> str:
        return self._with("+", other)

    def __radd__(self, other: object) -> str:
        return self._with("+", other, True)

    def __sub__(self, other: object) -> str:
        return self._with("-", other)

    def __mul__(self, other: object) -> str:
        return self._with("*", other)

    __rmul__ = __mul__

    def __floordiv__(self, other: object) -> str:
        return self._with("//", other)

    def __mod__(self, other: object) -> str:
        return self._with("%", other)


def sym(name: str, min: int = 1, max: int | None = None, multiple_of: int = 1) -> Sym:
    """A symbolic size by name, at least ``min``, at most ``max``, a multiple of ``multiple_of``."""
    return Sym(name, min, max, multiple_of)


class TensorSpec:
    """The type of a tensor: sizes (ints, names, or text such as ``"3*D"``), None for any shape, and element type, None
    for any."""

    __slots__ = ("dims", "dtype")
    word = "Tensor"

    def __init__(self, dims: tuple[Any, ...] | None, dtype: DType | None) -> None:
        self.dims, self.dtype = dims, dtype

    def __repr__(self) -> str:
        parts = [repr(str(d)) if isinstance(d, str) else "..." if d is ... else str(d) for d in self.dims or ()] + (
            [repr(self.dtype)] if self.dtype else []
        )
        return f"tessera.{self.word}[{', '.join(parts)}]"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and (self.dims, self.dtype) == (other.dims, other.dtype)

    def __hash__(self) -> int:
        return hash((self.word, self.dims, self.dtype))

    def __call__(self, *args: object) -> Any:  # typing asks for something that can be called
        raise TypeError(f"{self!r} is an annotation")

    def __or__(self, other: Any) -> Any:
        return typing.Union[self, other]  # noqa: UP007

    __ror__ = __or__

    @property
    def static(self) -> bool:
        return self.dims is not None and all(isinstance(d, int) for d in self.dims)


class TileSpec(TensorSpec):
    """The type of a kernel's operand."""

    __slots__ = ()
    word = "Tile"


class DictSpec:
    """``ts.Dict[str, ts.Tensor]``: a dict of tensors; ``value`` is the type of each, None for any."""

    __slots__ = ("value",)

    def __init__(self, value: TensorSpec | None) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"tessera.Dict[str, {self.value or 'tessera.Tensor'}]"

    def __call__(self, *args: object) -> Any:
        raise TypeError(f"{self!r} is an annotation")

    def __or__(self, other: Any) -> Any:
        return typing.Union[self, other]  # noqa: UP007

    __ror__ = __or__


class Dict:
    """``ts.Dict[str, ts.Tensor]`` in annotations."""

    def __class_getitem__(cls, item: Any) -> DictSpec:
        if not isinstance(item, tuple) or len(item) != 2 or item[0] is not str:
            raise GraphTypeError("tessera.Dict is written Dict[str, Tensor] or Dict[str, Tensor[…]]")
        if not isinstance(item[1], TensorSpec) and "tessera" in repr(item[1]) and not isinstance(item[1], type):
            raise GraphTypeError(
                f"tessera.Dict is written Dict[str, Tensor] or Dict[str, Tensor[…]], and not with {item[1]!r}"
            )
        return DictSpec(item[1] if isinstance(item[1], TensorSpec) else None)


def evaluate_size(text: str, names: Callable[[str], Any]) -> Any:
    """The size that ``text`` says (``"3*D"``), with ``names`` giving what a name stands for."""

    def walk(node: ast.expr) -> Any:
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        if isinstance(node, ast.Name):
            return names(node.id)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return 0 - walk(node.operand)
        if isinstance(node, ast.BinOp):
            a, b = walk(node.left), walk(node.right)
            if isinstance(node.op, ast.Add):
                return a + b
            if isinstance(node.op, ast.Sub):
                return a - b
            if isinstance(node.op, ast.Mult):
                return a * b
            if isinstance(node.op, (ast.FloorDiv, ast.Mod)) and not (isinstance(b, int) and b == 0):
                return a // b if isinstance(node.op, ast.FloorDiv) else a % b
        raise GraphValueError(f"{text!r} is no size; sizes are ints, names, and + - * // % of them", "E_SIZE")

    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, RecursionError):
        raise GraphValueError(f"{text!r} is no size; sizes are ints, names, and + - * // % of them", "E_SIZE") from None
    return walk(tree.body)


def parse_spec(items: Any, cls: type[TensorSpec] = TensorSpec) -> TensorSpec:
    """``Tensor["B", 3, ts.bf16]``: sizes, then an element type, which may be left out."""
    items = items if isinstance(items, tuple) else (items,)
    dtype = None
    if items and not isinstance(items[-1], (str, int)) and items[-1] is not Ellipsis:
        dtype, items = as_dtype(items[-1]), items[:-1]
    dims: list[Any] = []
    for d in items:
        if d is Ellipsis:  # any number of axes
            if Ellipsis in dims:
                raise GraphValueError("'...' stands once in the sizes of a tensor", "E_SIZE")
            dims.append(d)
            continue
        if isinstance(d, str):
            evaluate_size(d, lambda name: 7919)  # only to see that it can be read
        elif isinstance(d, bool) or not hasattr(d, "__index__"):
            raise GraphTypeError(f"{d!r} is no size; sizes are ints, names, and + - * // % of them", "E_SIZE")
        elif int(d) < 0:
            raise GraphValueError(f"{d} is no size", "E_SIZE")
        dims.append(d if isinstance(d, str) else int(d))
    return cls(tuple(dims), dtype)


def evaluator(fn: Any) -> Callable[[str], Any]:
    """What evaluates the text of an annotation as fn, a function or a class, would."""
    scope: dict[str, Any] = {}

    def read(text: str) -> Any:
        if not scope:
            code = inspect.unwrap(fn)
            module = sys.modules.get(getattr(code, "__module__", ""), None)
            scope.update({**vars(module or types), **getattr(code, "__globals__", {})})
            names = getattr(getattr(code, "__code__", None), "co_freevars", ())
            for name, cell in zip(names, getattr(code, "__closure__", None) or (), strict=False):
                try:
                    scope[name] = cell.cell_contents
                except ValueError:
                    continue
        return eval(text, scope)

    return read


def hints_of(fn: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of fn, evaluated where they are text."""
    found = dict(getattr(fn, "__annotations__", {}))
    read = evaluator(fn)
    for name, text in found.items():
        if isinstance(text, str):
            try:
                found[name] = read(text)
            except Exception as e:
                raise GraphTypeError(
                    f"{getattr(fn, '__name__', 'function')}: the annotation of {name!r}, {text!r}, cannot be"
                    f" evaluated: {e}"
                ) from e
    return found
