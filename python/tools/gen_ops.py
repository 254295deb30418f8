"""Writes python/tessera/_ops.py, _ops.pyi, _names.pyi, op.pyi and _dtype_table.py from the compiler's tables, ir/ops.def and ir/dtypes.def.

    python python/tools/gen_ops.py            write them
    python python/tools/gen_ops.py --check    exit 1 if they are stale
"""

from __future__ import annotations

import argparse
import ast
import keyword
import re
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "tessera"
HEAD = "Generated from ir/{0} by python/tools/gen_ops.py; do not edit."
WIDTH = 116

# Leaves and structure: made by the builder's own calls, not by an operator call.
HIDDEN = {"param", "weight", "const", "dim", "for", "kernel", "online_softmax"}
TYPES = {"FLOAT": "f32 f64 f16 bf16", "INT": "int64 int32", "BOOL": "bool", "STORAGE": "storage types", "COMPLEX": "complex64",
         "NUM": "f32 f64 f16 bf16 int64 int32", "COMPUTE": "f32 f64 f16 bf16 int64 int32 bool", "ANY": "any"}
SHAPES = {
    "same": "The result has the operands' broadcast shape and type.", "compare": "The result is bool, of the operands' broadcast shape.",
    "where": "The result has the broadcast shape, and the type of a and b.", "cast": "The result has x's shape.",
    "matmul": "a[..., M, K] and b[..., K, N] give [..., M, N].", "attention": "The result is [B, H, S, E], of q's type.",
    "reduce": "The result lacks the axes, or has them with size 1 if keepdims.", "argmax": "The result is int64 and lacks the axes.",
    "rowwise": "The result has x's shape and type.", "norm": "The result has x's shape and type.", "reshape": "The result has the shape given.",
    "transpose": "Sizes change places with their axes.", "broadcast": "The result has the shape given.",
    "slice": "Axis i has (stop[i] - start[i] + step[i] - 1) // step[i] elements.", "split": "A tuple of n results, each with size // n elements on the axis.",
    "concat": "Sizes add up along the axis and agree on the others.", "pad": "Axis i has before[i] + size + after[i] elements.",
    "gather": "The axis of x gives way to the axes of idx.", "embedding": "[V, D] and ids[...] give [..., D].", "iota": "The result is [n].",
    "one_hot": "ids[...] gives [..., n].", "random": "The result has the shape given.", "fft": "The result has x's shape and type."}
PYTHON_KIND = {"int": "int", "float": "float", "bool": "bool", "dtype": "DTypeLike", "ints": "Axes", "dim": "Size", "dims": "Sequence[Size]"}
# Results whose element type or number of axes is another than that of the first operand: of an array of NumPy they have another static type.
OTHER_TYPE = {"compare", "where", "cast", "reduce", "argmax", "reshape", "broadcast", "embedding", "gather", "one_hot", "random"}


@dataclass
class Attr:
    name: str
    kind: str
    choices: list[str]
    default: str | None  # Python text; None: required

    @property
    def hint(self) -> str:
        kind = "str" if self.kind == "enum" else PYTHON_KIND[self.kind]
        return kind + " | None" if self.default == "None" else kind


@dataclass
class Op:
    name: str
    operands: list[tuple[str, bool]]  # name, optional
    variadic: bool
    attrs: list[Attr]
    flags: list[str]
    cls: str
    types: list[str]
    shape: str
    bound: str
    doc: str

    @property
    def python(self) -> str:
        return self.name + "_" if keyword.iskeyword(self.name) else self.name


def read_attr(text: str) -> Attr:
    name, _, rest = text.partition(":")
    kind, _, default = rest.partition("=")
    choices = []
    if kind.startswith("enum("):
        choices, kind = kind[5:-1].split("|"), "enum"
    if not default:
        value = None
    elif default == "none":
        value = "None"
    elif kind in ("dtype", "enum"):
        value = f'"{default}"'
    elif kind == "bool":
        value = default.capitalize()
    elif kind == "float":
        value = repr(float(default))
    else:
        value = default
    if default == "none" and kind == "enum":  # a choice of that name, not its absence
        value = '"none"' if "none" in choices else "None"
    return Attr(name, kind, choices, value)


def read_ops() -> list[Op]:
    pattern = re.compile(r'^OP\((\w+),\s*"([^"]*)",\s*"([^"]*)",\s*([^,]+?),\s*(\w+)\s*,\s*([^,]+?),\s*(\w+),\s*(\w+),\s*(\w+),\s*"(\w+)",\s*"(.*)"\)$', re.M)
    ops = []
    for m in pattern.finditer((ROOT / "ir/ops.def").read_text()):
        name, operands, attrs, flags, cls, types, shape, _ref, _adjoint, bound, doc = m.groups()
        if name in HIDDEN:
            continue
        ops.append(Op(name, [(o.rstrip("?*"), o.endswith("?")) for o in operands.split()], operands.endswith("*"),
                      [read_attr(a) for a in attrs.split()], re.findall(r"[A-Z]+", flags), cls, types.split(" | "), shape, bound, doc))
    return ops


def signature(op: Op, hints: bool, method: bool = False, first: int = 0, kind: str = "T") -> str:
    """The parameters: operands by place or name, then attributes. Required attributes stand before what has a default. The operand
    ``first`` is the tensor whose kind, ``kind``, the result has; those before it are numbers."""
    required, optional = [], []
    for i, (name, opt) in enumerate(op.operands):
        if method and i == 0:
            continue
        own = kind if i == first and not method else "float" if i < first else "Operand"
        hint = f": Sequence[{own}]" if op.variadic else f": {own} | None" if opt else f": {own}"
        (optional if opt else required).append(name + (hint if hints else "") + (" = None" if opt and hints else "=None" if opt else ""))
    words = []  # which go by name alone
    for a in op.attrs:
        text = a.name + (f": {a.hint}" if hints else "")
        if a.default is None:
            required.append(text)
        elif a.name == "axis":  # None is the default, so that it is known whether it was given
            kind_of_axis = f": {PYTHON_KIND[a.kind]} | None = None" if hints else "=None"
            optional.append("axis" + kind_of_axis)
            words.append("dim" + kind_of_axis)
        else:
            optional.append(text + (f" = {a.default}" if hints else f"={a.default}"))
    if method and numpy_calls(op):
        words += ["dtype: None = None", "out: None = None"] if hints else ["dtype=None", "out=None"]
    return ", ".join((["self"] if method else []) + required + optional + (["*"] + words if words else []))


def numpy_calls(op: Op) -> bool:
    """Whether a function of NumPy, ``np.sum``, calls the method of this name of what is no array of its own."""
    return op.shape in ("reduce", "argmax")


def docstring(op: Op, indent: str) -> str:
    lines = textwrap.wrap(op.doc + ".", WIDTH - len(indent))
    lines[0] = '"""' + lines[0]
    facts = []
    if "BROADCAST" in op.flags:
        facts.append("Broadcasts: trailing axes align and only a literal size of 1 stretches.")
    facts.append(SHAPES[op.shape])
    facts.append("Element types: " + "; ".join(TYPES[t] for t in op.types) + f". Error of compiled code: {op.bound}.")
    lines += ["", *textwrap.wrap(" ".join(facts), WIDTH - len(indent))]
    if op.attrs:
        lines += ["", "Args:"]
        for name, opt in op.operands:
            lines.append(f"    {name}: " + ("a list of tensors." if op.variadic else "a tensor, or None." if opt else "a tensor."))
        for a in op.attrs:
            what = {"int": "an int", "float": "a number", "bool": "true or false", "dtype": "an element type", "ints": "an axis or several",
                    "dim": "a size", "dims": "a list of sizes", "enum": "one of " + ", ".join(repr(c) for c in a.choices)}[a.kind]
            if (a.kind == "ints" and a.name == "perm") or a.name == "step":
                what = "ints, one for each axis"
            what += "; ``dim`` is another name" if a.name == "axis" else ""
            lines.append(f"    {a.name}: {what}" + (" (must be given)." if a.default is None else f"; {a.default} if not given."))
    lines += ["", "Raises:", "    TypeError: an operand is no tensor, or of an element type that is not listed.",
              "    ValueError: ranks, axes or sizes that do not fit.", '"""']
    return "\n".join((indent + line).rstrip() for line in lines)


def call(op: Op, first: str | None = None) -> str:
    names = [name for name, _ in op.operands]
    if first:
        names[0] = first
    operands = f"({names[0]},)" if len(names) == 1 else f"({', '.join(names)})"
    if op.variadic:
        operands = f"tuple({names[0]})"
    value = {a.name: a.name if a.name != "axis" else "axis_of(axis, dim)" if a.default == "None" else f"axis_of(axis, dim, {a.default})" for a in op.attrs}
    attrs = "(" + "".join(f'("{a.name}", {value[a.name]}), ' for a in op.attrs).rstrip(", ") + ("," if len(op.attrs) == 1 else "") + ")"
    return f'apply("{op.name}", {operands}, {attrs})'


def module(ops: list[Op]) -> str:
    out = [f'"""The operators as functions, and as methods of tensors and symbolic values.\n\n{HEAD.format("ops.def")}\n"""', "",
           "# ruff: noqa: A001, A002, E501", "from __future__ import annotations", "", "from ._apply import apply, axis_of, no_numpy", "",
           "__all__ = [" + ", ".join(f'"{op.python}"' for op in ops) + "]"]
    out[-1] = "\n".join(textwrap.wrap(out[-1], WIDTH, subsequent_indent="           "))
    out += ["", "# name: (operands, optional ones with ?), (attributes), class, error bound"]
    out.append("TABLE = {")
    for op in ops:
        operands = " ".join(n + ("?" if o else "*" if op.variadic else "") for n, o in op.operands)
        out.append(f'    "{op.name}": ("{operands}", "{" ".join(a.name + ":" + a.kind for a in op.attrs)}", "{op.cls}", "{op.bound}"),')
    out.append("}")
    for op in ops:
        out += ["", "", f"def {op.python}({signature(op, False)}):", docstring(op, "    "), f"    return {call(op)}"]
    out += ["", "", "class OpMethods:", '    """Every operator whose first operand is a tensor, as a method: ``x.exp()`` is ``exp(x)``."""', "", "    __slots__ = ()"]
    for op in ops:
        if op.operands and not op.variadic:
            out += ["", f"    def {op.python}({signature(op, False, True)}):", f'        """The operator ``{op.python}`` on this tensor."""',
                    *([f'        no_numpy("{op.name}", dtype, out)'] if numpy_calls(op) else []), f"        return {call(op, 'self')}"]
    return "\n".join(out) + "\n"


def stub(ops: list[Op]) -> str:
    """Types: a result is of the kind of the first tensor among the operands. Where its static type would be another one for arrays of
    other libraries, only tensors of ours are that exact."""
    out = [f"# {HEAD.format('ops.def')}", "# ruff: noqa: A001, A002, E501", "from collections.abc import Sequence", "from typing import Any, Self, overload", "",
           "from ._types import Array, Axes, DTypeLike, Operand, Ours, Size, T", "from .tensor import Tensor", ""]
    taken = defined()  # what tessera/ops.py has signatures of its own for: a checker must not take these for it
    exported = ", ".join(f'"{op.python}"' for op in ops if op.python not in taken)
    out += textwrap.wrap(f"__all__ = [{exported}]", WIDTH, subsequent_indent="           ")
    out += ["TABLE: dict[str, tuple[str, str, str, str]]", ""]
    for op in ops:
        if not op.operands:
            forms = [(0, "Any", "Tensor")]
        elif op.shape in OTHER_TYPE:
            forms = [(0, "Ours", "Ours"), (0, "Array", "Any")]
        else:
            forms = [(0, "T", "tuple[T, ...]" if op.shape == "split" else "T")]
        if "BROADCAST" in op.flags and op.shape in ("same", "compare") and len(op.operands) == 2:
            forms += [(1, kind, res) for _, kind, res in forms]
        for first, kind, res in forms:
            text = f"def {op.python}({signature(op, True, first=first, kind=kind)}) -> {res}: ..."
            out += ["@overload", text] if len(forms) > 1 else [text]
    out += ["", "class OpMethods:", "    __slots__ = ()"]
    for op in ops:
        if op.operands and not op.variadic:
            out.append(f"    def {op.python}({signature(op, True, True)}) -> {'tuple[Self, ...]' if op.shape == 'split' else 'Self'}: ...")
    return "\n".join(out) + "\n"


def defined() -> set[str]:
    """What tessera/ops.py defines."""
    found: set[str] = set()
    for node in ast.parse((PACKAGE / "ops.py").read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found.update(t.id for t in node.targets if isinstance(t, ast.Name))
    return found


def hand_written() -> list[str]:
    """The functions that tessera/ops.py makes of operators, as its ``__all__`` lists them."""
    for node in ast.parse((PACKAGE / "ops.py").read_text()).body:
        if isinstance(node, ast.AugAssign) and isinstance(node.value, ast.List):
            return [ast.literal_eval(e) for e in node.value.elts]
    raise SystemExit("gen_ops: tessera/ops.py has no __all__ += [...]")


def not_here() -> set[str]:
    """Names of tessera/ops.py that the package itself has not, or has from elsewhere: ops.py says which."""
    tree = ast.parse((PACKAGE / "ops.py").read_text()).body
    return next(set(ast.literal_eval(n.value)) for n in tree if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "OWN_NAMES")



def names(ops: list[Op], without: set[str], what: str) -> str:
    """A module of names of tessera/ops.py."""
    here = sorted({*(op.python for op in ops), *hand_written()} - without)
    head = [f"# {what} {HEAD.format('ops.def')}", "# ruff: noqa: I001"]
    return "\n".join([*head, "from .ops import (", *(f"    {name} as {name}," for name in here), ")"]) + "\n"


def op_stub() -> str:
    here = sorted(not_here())
    head = [f"# ``tessera.op`` is ``tessera.ops``. {HEAD.format('ops.def')}", "# ruff: noqa: F403, I001"]
    return "\n".join([*head, "from ._names import *", "from .ops import (", *(f"    {name} as {name}," for name in here), ")"]) + "\n"


def dtype_table() -> str:
    rows = re.findall(r'^TS_DTYPE\(\w+,\s*"(\w+)",\s*(\w),\s*(\d+),\s*(\d)\)', (ROOT / "ir/dtypes.def").read_text(), re.M)
    out = [f'"""The element types.\n\n{HEAD.format("dtypes.def")}\n"""', "", "# name, kind (F float, I and U integers, B bool, C complex), bits, whether operators compute in it",
           "DTYPE_TABLE = ("]
    out += [f'    ("{name}", "{kind}", {bits}, {compute == "1"}),' for name, kind, bits, compute in rows]
    return "\n".join([*out, ")"]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is stale")
    check = parser.parse_args().check
    ops = read_ops()
    stale = []
    for name, text in (("_ops.py", module(ops)), ("_ops.pyi", stub(ops)), ("_names.pyi", names(ops, not_here(), "The operators that are names of the package itself.")),
                       ("op.pyi", op_stub()), ("_dtype_table.py", dtype_table())):
        path = PACKAGE / name
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if not check:
                path.write_text(text)
    if stale and check:
        print("stale: " + ", ".join(stale) + "; run python python/tools/gen_ops.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
