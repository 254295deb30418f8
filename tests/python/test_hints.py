"""Annotations that hold tensors: Optional, lists and tuples of ``ts.Tensor[…]`` are held to them; what is not understood is an error."""

# all ways to write an annotation are meant
# ruff: noqa: UP007, UP035, UP037, UP045

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Callable, NamedTuple, Optional, TypeVar, Union

import numpy as np
import pytest
import tessera as ts

Row = ts.Tensor["B", 4, ts.f32]
T = TypeVar("T", bound=Row)


class State(NamedTuple):
    h: Row
    c: Optional[Row]


@ts.function
def add(x: ts.Tensor["B", 4, ts.f32], b: ts.Tensor["B", 4, ts.f32] | None = None):
    return x * 2 if b is None else x + b


@ts.function
def add_old(x: Row, b: Optional[Row] = None, /, scale: float | None = None, times: int | None = None, name: str | None = None):
    y = x if b is None else x + b
    y = y if scale is None else y * scale
    return y * (1 if times is None else times)


@ts.function
def total(xs: list[Row], y: tuple[Row, ...] | None = None) -> Row:
    for x in (*xs, *(y or ())):
        xs = [xs[0] + 0.0 * x, *xs[1:]] if x is xs[0] else [xs[0] + x, *xs[1:]]
    return xs[0]


@ts.function
def pair(p: tuple[Row, ts.Tensor["B", "K", ts.f32]], s: State) -> tuple[Row, Optional[ts.Tensor["B", "K", ts.f32]]]:
    return p[0] + s.h, p[1] if s.c is None else None


def rows(n, k=4):
    return np.arange(n * k, dtype=np.float32).reshape(n, k)


def shown(f, *args, **kwargs):
    return f.tg(*args, **kwargs).replace("`", "")


def test_optional_is_held_and_open():
    assert "b: f32[B, 4]" in shown(add, rows(3), rows(3)) and "b:" not in shown(add, rows(3))
    for n in (2, 3, 5, 7):
        np.testing.assert_array_equal(add(rows(n), rows(n)), rows(n) * 2)
        np.testing.assert_array_equal(add(rows(n)), rows(n) * 2)
    assert len(add._variants) == 2 and add._fast.entries == 2
    assert "b: f32[B, 4]" in shown(add)
    for wrong, text in ((rows(2, 5), r"argument 'b': wanted f32\[B, 4\], found f32\[2, 5\]"), (rows(3), "B is 2"), (rows(2).astype("i4"), "found int32")):
        with pytest.raises((TypeError, ValueError), match=text):
            add(rows(2), wrong)
    with pytest.raises(TypeError, match=r"argument 'b': wanted f32\[B, 4\], found str"):
        add(rows(2), "no")
    with pytest.raises(TypeError, match="argument 'x': wanted"):
        add(None)


def test_optional_numbers():
    x = rows(2)
    for n in (2, 3):
        np.testing.assert_array_equal(add_old(rows(n), None, 2.0), rows(n) * 2)
        np.testing.assert_array_equal(add_old(rows(n), None, n + 0.5), rows(n) * (n + 0.5))
        np.testing.assert_array_equal(add_old(rows(n), rows(n), times=np.int64(3)), rows(n) * 6)
    assert len(add_old._variants) == 2 and "scale: f32[]" in shown(add_old, x, None, 2)
    for kwargs, text in (({"scale": "2"}, "'scale': wanted a number, found str"), ({"times": 2.0}, "'times': wanted an int, found float"), ({"name": 3}, "'name': wanted text, found int")):
        with pytest.raises(TypeError, match=text):
            add_old(x, **kwargs)


def test_lists_and_tuples():
    for n in (2, 3, 5):
        np.testing.assert_array_equal(total([rows(n), rows(n)]), rows(n) * 2)
        np.testing.assert_array_equal(total([rows(n)], (rows(n), rows(n))), rows(n) * 3)
        first, second = pair((rows(n), rows(n, 3)), State(rows(n), None))
        np.testing.assert_array_equal(first, rows(n) * 2)
        np.testing.assert_array_equal(second, rows(n, 3))
        assert pair((rows(n), rows(n, 3)), State(rows(n), rows(n)))[1] is None
    assert len(total._variants) == 2 and len(pair._variants) == 2
    assert "xs.0: f32[B, 4], xs.1: f32[B, 4]" in shown(total, [rows(2), rows(2)])
    assert "p.0: f32[B, 4], p.1: f32[B, K], s.0: f32[B, 4]" in shown(pair, (rows(2), rows(2)), State(rows(2), None))
    for args, text in (
        (([rows(2), rows(3)],), r"'xs.1': wanted f32\[B, 4\], found f32\[3, 4\]; B is 2 by argument 'xs.0'"),
        (([rows(2), "a"],), r"'xs.1': wanted f32\[B, 4\], found str"),
        (((rows(2),),), r"'xs': wanted a list of f32\[B, 4\], found tuple"),
        ((rows(2),), r"'xs': wanted a list of f32\[B, 4\], found ndarray"),
    ):
        with pytest.raises((TypeError, ValueError), match=text):
            total(*args)
    with pytest.raises(TypeError, match=r"'p': wanted a tuple of \(f32\[B, 4\], f32\[B, K\]\), found a tuple of 1"):
        pair((rows(2),), State(rows(2), None))


def test_inside_another_trace():
    @ts.function
    def outer(x: ts.Tensor["N", "D", ts.f32], y: ts.Tensor["M", "D", ts.f32]):
        return add(x, y)

    with pytest.raises(ValueError, match=r"add: argument 'b': wanted f32\[B, 4\], found f32\[3, 5\]"):
        ts.function(lambda x, y: add(x, y))(rows(3), rows(3, 5))
    with pytest.raises(ValueError, match=r"total: argument 'xs.1': wanted f32\[B, 4\]"):
        ts.function(lambda x, y: total([x, y]))(rows(3), rows(3, 5))
    with pytest.raises(TypeError, match=r"total: argument 'xs': wanted a list"):
        ts.function(lambda x: total((x,)))(rows(3))
    with pytest.raises(ValueError, match="wanted"):
        outer(rows(3), rows(3, 4)[:2])
    np.testing.assert_array_equal(ts.function(lambda x: add(x) + total([x, x]))(rows(3)), rows(3) * 4)


def test_ahead_of_time(tmp_path):
    f = ts.aot.compile(add, [rows(3), rows(3)], tmp_path / "a", [], quiet=True)
    np.testing.assert_array_equal(f(rows(5), rows(5)), rows(5) * 2)
    f = ts.aot.compile(add, [rows(3)], tmp_path / "b", [], quiet=True)
    np.testing.assert_array_equal(f(rows(5)), rows(5) * 2)
    np.testing.assert_array_equal(f(rows(5), None), rows(5) * 2)
    with pytest.raises(ValueError, match="wanted None"):
        f(rows(5), rows(5))
    f = ts.aot.compile(total, [[rows(3), rows(3)]], tmp_path / "c", [], quiet=True)
    np.testing.assert_array_equal(f([rows(5), rows(5)]), rows(5) * 2)


def test_inside_jax():
    jax = pytest.importorskip("jax")
    x = jax.numpy.asarray(rows(3))
    np.testing.assert_array_equal(jax.jit(lambda x: add(x, x) + add(x))(x), rows(3) * 4)
    np.testing.assert_array_equal(jax.jit(lambda x: total([x, x]))(x), rows(3) * 2)
    with pytest.raises(ValueError, match="argument 'b': wanted"):
        jax.jit(add)(x, jax.numpy.zeros((3, 5), "float32"))


def test_results():
    @ts.function
    def wrong(x: Row) -> list[ts.Tensor["B", 5, ts.f32]]:
        return [x]

    @ts.function
    def none(x: Row) -> tuple[Row, Row]:
        return [x, x]

    with pytest.raises(ValueError, match=r"the result 0 is f32\[B, 4\], and its annotation says f32\[B, 5\]"):
        wrong(rows(2))
    with pytest.raises(TypeError, match=r"none is to give a tuple of \(f32\[B, 4\], f32\[B, 4\]\), and gives list"):
        none(rows(2))


@pytest.mark.parametrize(
    "hint",
    [
        dict[str, Row],
        Union[Row, ts.Tensor["B", 5, ts.f32]],
        Row | float,
        Optional[Union[Row, int]],
        list[Union[Row, float]],
        tuple[Row, dict[str, Row]],
        Callable[[Row], int],
        set[Row],
        T,
        "dict[str, ts.Tensor['B', 4]]",
        "Optional[dict[str, 'ts.Tensor[4]']]",
    ],
    ids=str,
)
def test_what_is_not_understood(hint):
    def f(x):
        return x

    f.__annotations__ = {"x": hint}
    with pytest.raises(TypeError, match="annotation of 'x'"):
        ts.function(f)(rows(2))
    with pytest.raises(TypeError, match="annotation of 'x'"):
        ts.function(f).lower()
    with pytest.raises(TypeError, match="ts.Dict|tessera.Dict"):
        ts.Dict[str, Optional[Row]]


@pytest.mark.parametrize("hint", [Annotated[Row, "rows"], "Row", "Optional['ts.Tensor[\"B\", 4, ts.f32]']", None | Row, Annotated[Optional[Row], 1]], ids=str)
def test_other_ways_to_write_it(hint):
    def f(x):
        return x + 1

    f.__annotations__ = {"x": hint}
    assert "x: f32[B, 4]" in shown(ts.function(f), rows(2))


def test_what_asks_nothing():
    def f(x, y: Optional[object] = None, z: "int | float" = 2, w: "dict[str, int] | None" = None, s: Sequence[int] = ()):
        return x * z

    np.testing.assert_array_equal(ts.function(f)(rows(2), w={"a": 1}), rows(2) * 2)
