"""A plugin for mypy: ``ts.Tensor["B", "S", ts.bf16]`` and ``ts.Tile[…]`` in annotations are tensors and tiles.

::

    [mypy]
    plugins = tessera.mypy_plugin

mypy takes what stands in the brackets of an annotation for types, and sizes and element types are none. The plugin lets
it see the annotation without its brackets, in every file that imports tessera. Other checkers need nothing of the kind.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mypy.nodes import (
    AssignmentStmt,
    CallExpr,
    DictExpr,
    Expression,
    ExpressionStmt,
    FuncDef,
    Import,
    ImportFrom,
    IndexExpr,
    ListExpr,
    MemberExpr,
    MypyFile,
    NameExpr,
    OpExpr,
    ReturnStmt,
    TupleExpr,
    TypeAliasStmt,
)
from mypy.plugin import Plugin, ReportConfigContext
from mypy.types import CallableType, Type, TypeList, UnboundType, UnionType

__all__ = ["plugin"]

SUBSCRIPTED = ("Tensor", "Tile")
IMPORTS = re.compile(rb"^[ \t]*(?:import|from)\b.*\btessera\b", re.M)
# where nodes of mypy keep statements
PARTS = ("defs", "body", "else_body", "finally_body", "handlers", "bodies", "items", "func")


def names_of(file: MypyFile) -> set[str]:
    """What Tensor and Tile are called in the file: ``ts.Tensor`` after ``import tessera as ts``."""
    found: set[str] = set()
    for node in file.imports:
        if isinstance(node, Import):
            modules = [alias or "tessera" for name, alias in node.ids if name.partition(".")[0] == "tessera"]
            found.update(f"{module}.{name}" for module in modules for name in SUBSCRIPTED)
        elif isinstance(node, ImportFrom) and node.id == "tessera" and not node.relative:
            found.update(alias or name for name, alias in node.names if name in SUBSCRIPTED)
    return found


class Brackets:
    """Takes the brackets away from the annotations of a file and from its type aliases."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def walk(self, node: Any) -> None:
        """Those of a statement, or of all in a list, with what they hold."""
        if isinstance(node, list):
            for part in node:
                self.walk(part)
            return
        if isinstance(node, FuncDef):
            self.type(node.type)
        elif isinstance(node, AssignmentStmt):
            self.type(node.type)
            node.rvalue = self.expression(node.rvalue)
        elif isinstance(node, (ExpressionStmt, ReturnStmt)) and node.expr is not None:
            node.expr = self.expression(node.expr)
        elif isinstance(node, TypeAliasStmt):
            self.walk(node.value.body)
        if node is not None and not isinstance(node, Expression):
            for name in PARTS:
                self.walk(getattr(node, name, None))

    def type(self, t: Type | None) -> None:
        """Those of an annotation."""
        if isinstance(t, UnboundType):
            if t.name in self.names:
                t.args = ()
            for arg in t.args:
                self.type(arg)
        elif isinstance(t, (UnionType, TypeList)):
            for item in t.items:
                self.type(item)
        elif isinstance(t, CallableType):
            for arg in t.arg_types:
                self.type(arg)
            self.type(t.ret_type)

    def expression(self, e: Expression) -> Expression:
        """Those of a type that is written as an expression: the value of an alias, an argument of ``cast``."""
        if isinstance(e, IndexExpr):
            if self.text(e.base) in self.names:
                return e.base
            e.index = self.expression(e.index)
        elif isinstance(e, (TupleExpr, ListExpr)):
            e.items = [self.expression(item) for item in e.items]
        elif isinstance(e, DictExpr):
            e.items = [(key, self.expression(value)) for key, value in e.items]
        elif isinstance(e, CallExpr):
            e.args = [self.expression(arg) for arg in e.args]
        elif isinstance(e, OpExpr):
            e.left, e.right = self.expression(e.left), self.expression(e.right)
        return e

    def text(self, e: Expression) -> str:
        if isinstance(e, NameExpr):
            return e.name
        return f"{self.text(e.expr)}.{e.name}" if isinstance(e, MemberExpr) else ""


class TesseraPlugin(Plugin):
    """What tessera adds to mypy."""

    def get_additional_deps(self, file: MypyFile) -> list[tuple[int, str, int]]:
        """Asked for each file between parsing and analysis."""
        names = names_of(file)
        if names:
            Brackets(names).walk(file)
        return []

    def report_config_data(self, ctx: ReportConfigContext) -> Any:
        """What a cached result goes with. A file that imports tessera is analysed anew each time: of one that is as it
        was, and is analysed because of another, mypy would not ask for ``get_additional_deps``.
        """
        if ctx.path and ctx.is_check and ctx.id.partition(".")[0] != "tessera":
            try:
                if IMPORTS.search(Path(ctx.path).read_bytes()):
                    return "analyse again"  # what is written into the cache is None
            except OSError:
                pass
        return None


def plugin(version: str) -> type[Plugin]:
    """What mypy asks a plugin for."""
    return TesseraPlugin
