"""Graphs built through tessera._core: what the compiler's shape and type rules say, and the text that comes out."""

import pytest

from tessera import _core
from tessera.errors import GraphTypeError, GraphValueError


def test_layer():
    b = _core.Builder("layer")
    x = b.param("x", "bf16", ["B", "S", "D"])
    w = b.param("w", "bf16", ["D", "3*D"])
    (y,) = b.op("matmul", [x, w])
    q, k, v = b.op("split", [y], {"n": 3})
    assert str(b.type(q)) == "('bf16', (B, S, D), None)"
    text = b.text([("q", q)])
    assert "graph layer(x: bf16[B, S, D], w: bf16[D, 3*D]) -> (q: bf16[B, S, D]) {" in text
    assert b.text([("q", q)]) == text


def test_errors_leave_the_builder_usable():
    b = _core.Builder()
    x = b.param("x", "f32", [4, 8])
    with pytest.raises(GraphValueError, match="matmul") as e:
        b.op("matmul", [x, x])
    assert e.value.code == "E_SHAPE_MISMATCH"
    with pytest.raises(GraphTypeError, match="nearest: softmax"):
        b.op("sofmax", [x])
    (y,) = b.op("softmax", [x])
    assert b.type(y) == ("f32", (4, 8), None)
