"""Graphs built through tessera._core: what the compiler's shape and type rules say of them, and the text that comes out.

Every text that is printed here is read back by the front end, which must find nothing wrong with it.
"""

import array
import gc
import math
import random
import struct
import sys
import threading

import pytest

from tessera import _core
from tessera.errors import GraphTypeError, GraphValueError, NotInRelease


def text_of(b, results, **options):
    text = b.text(results, **options)
    assert _core.check(text) == []
    assert _core.format(text) == text
    return text


@pytest.fixture
def b():
    return _core.Builder("g")


@pytest.fixture
def x(b):
    return b.param("x", "f32", ["B", "S", 64])


# ---- operators ----


def test_layer():
    b = _core.Builder("layer")
    x = b.param("x", "bf16", ["B", "S", "D"])
    w = b.param("w", "bf16", ["D", "3*D"])
    (y,) = b.op("matmul", [x, w])
    q, k, v = b.op("split", [y], {"n": 3})
    B, S, D = b.type(x)[1]
    assert b.type(q) == ("bf16", (B, S, D), None)
    text = text_of(b, [("q", q)])
    assert "graph layer(x: bf16[B, S, D], w: bf16[D, 3*D]) -> (q: bf16[B, S, D]) {" in text
    assert b.text([("q", q)]) == text


def test_accumulator(b):
    x = b.param("x", "bf16", ["N", 8], accum="f32")
    assert b.type(x)[2] == "f32"
    (s,) = b.op("sum", [x], {"axis": -1})
    assert "x: bf16@f32[N, 8]" in text_of(b, [("s", s)])


def test_every_kind_of_attribute(b, x):
    (a,) = b.op("gelu", [x], {"approximate": "none"})
    (c,) = b.op("cast", [a], {"dtype": "f16"})
    (d,) = b.op("sum", [a], {"axis": (0, -1), "keepdims": True})
    (e,) = b.op("layer_norm", [a], {"eps": 1e-3})
    (f,) = b.op("reshape", [a], {"shape": ["B*S", 8, 8]})
    (g,) = b.op("slice", [a], {"start": [0, 1, 0], "stop": ["B", "S", 64], "step": [1, 2, 1]})
    (h,) = b.op("iota", [], {"n": "S", "dtype": "int32"})
    (i,) = b.op("transpose", [a], {"perm": None})
    text = text_of(b, list(zip("acdefghi", (a, c, d, e, f, g, h, i))))
    for part in ('approximate = "none"', "cast(a, f16)", "keepdims = true", "eps = 0.001", "[B*S, 8, 8]", "[1, 2, 1]", "iota(S, dtype = int32)"):
        assert part in text


def test_optional_operands(b):
    q = b.param("q", "f32", ["B", 4, "S", 64])
    off = b.param("off", "int64", [])
    (y,) = b.op("attention", [q, q, q, None, None, off], {"causal": True})
    assert "attention(q, q, q, q_offset = off, causal = true)" in text_of(b, [("y", y)])
    (z,) = b.op("layer_norm", [q, None, None])
    assert "layer_norm(q)" in text_of(b, [("z", z)])


def test_variadic(b, x):
    (y,) = b.op("concat", [x, x, x], {"axis": 1})
    assert str(b.type(y)[1][1]) == "3*S"
    text_of(b, [("y", y)])
    for inputs in ([], [x] * 65, [x, None]):
        with pytest.raises(GraphTypeError):
            b.op("concat", inputs)


def test_numerics(b, x):
    (y,) = b.op("exp", [x], numerics={"approx": True})
    (z,) = b.op("sum", [y], numerics={"accum": "f64", "math": "tf32"})
    text = text_of(b, [("z", z)], numerics={"reorder": True, "batch_invariant": False})
    assert "numerics { batch_invariant = false, reorder = true }" in text
    assert "exp(x) { approx = true }" in text
    assert 'sum(z.1) { accum = f64, math = "tf32" }' in text
    again = text_of(b, [("z", z)], numerics={"approx": True})
    assert "exp(x)\n" in again
    for bad in ({"accum": "int32"}, {"math": "fast"}, {"nope": True}, {"approx": 1}, {3: True}, [], {"accum": 3}):
        with pytest.raises(TypeError):
            b.op("exp", [x], numerics=bad)
        with pytest.raises(TypeError):
            b.text([("y", y)], numerics=bad)


def test_random_streams(b):
    key = b.param("key", "int64", [2])
    a = b.op("uniform", [key], {"shape": [4]})[0]
    c = b.op("normal", [key], {"shape": [4], "stream": 7})[0]
    d = b.op("normal", [key], {"shape": [4]})[0]
    text = text_of(b, [("a", a), ("c", c), ("d", d)])
    assert "stream = 0" in text and "stream = 7" in text and "stream = 8" in text
    assert "stream = 8" in text_of(b, [("d", d)])          # numbers of what is left do not change
    for stream in (-1, 1 << 16, 2**62):
        with pytest.raises(GraphTypeError):
            b.op("normal", [key], {"shape": [4], "stream": stream})


# ---- what the text holds ----


def test_only_what_is_needed(b, x):
    unused = b.param("unused", "f32", ["Z"])
    (y,) = b.op("exp", [x])
    b.op("neg", [unused])
    b.weight("W", "a", "f32", [4])
    assert "Z" in text_of(b, [("y", y)])                   # all inputs, if none are listed
    text = text_of(b, [("y", y)], params=[x])
    assert "unused" not in text and "Z" not in text and "neg" not in text and "weights" not in text
    assert "(unused: f32[Z], x: f32[B, S, 64])" in text_of(b, [("y", y)], params=[unused, x])
    with pytest.raises(GraphTypeError, match="'x'"):
        b.text([("y", y)], params=[])
    with pytest.raises(GraphTypeError, match="twice"):
        b.text([("y", y)], params=[x, x])
    with pytest.raises(GraphTypeError, match="no input"):
        b.text([("y", y)], params=[x, y])


def test_results_that_no_operator_makes(b, x):
    c = b.const("f32", [2], struct.pack("2f", 1, 2))
    n = b.dim_value("B*S")
    text = text_of(b, [("same", x), ("c", c), ("n", n), ("again", x)])
    assert "same: f32[B, S, 64] = x" in text and "n: int64[] = B * S" in text


def test_names_of_the_graph():
    b = _core.Builder("softmax")                            # would hide the operator
    x = b.param("x", "f32", [4])
    (y,) = b.op("softmax", [x])
    assert "graph softmax_(x: f32[4])" in text_of(b, [("y", y)])
    b = _core.Builder("x")
    x = b.param("x", "f32", [4])
    assert "graph x_(x: f32[4])" in text_of(b, [("y", x)])
    assert "graph x__(" in text_of(b, [("x_", x)])


def test_names_that_are_taken(b, x):
    for f in (lambda: b.param("x", "f32", []), lambda: b.param("B", "f32", []), lambda: b.dim("x"), lambda: b.weight("x", "a", "f32", []),
              lambda: b.text([("x", x)]), lambda: b.text([("B", x)]), lambda: b.text([("y", x), ("y", x)])):
        with pytest.raises(GraphValueError) as e:
            f()
        assert e.value.code == "E_ASSIGNED_TWICE"


def test_odd_names_are_quoted():
    b = _core.Builder("a graph")
    x = b.param("weights.w-qkv é", "f32", [4])
    (y,) = b.op("exp", [x])
    assert "`weights.w-qkv é`" in text_of(b, [("for", y)])
    for bad in ("", "_", "a`b", "a\nb", "x" * 5000):
        with pytest.raises(GraphValueError):
            b.param(bad, "f32", [4])
    with pytest.raises(ValueError):
        b.param("a\0b", "f32", [4])


def test_places():
    b = _core.Builder()
    x = b.param("x", "f32", ["N"], file="model.py", line=3)
    (t,) = b.op("exp", [x], file="model.py", line=5)
    (y,) = b.op("neg", [t], file="other.py", line=7)
    (z,) = b.op("neg", [y])
    assert b.name(x) == "x" and b.name(y) == ""
    with pytest.raises(GraphValueError):
        b.where("y")
    text_of(b, [("y", y), ("z", z)])
    assert b.name(y) == "y" and b.name(t) == "y.1"
    assert b.where("x") == ("model.py", 3)
    assert b.where("y") == ("other.py", 7)
    assert b.where("y.1") == ("model.py", 5)
    assert b.where("z") is None and b.where("nope") is None
    (w,) = b.op("neg", [y])
    assert b.name(w) == ""                                   # made after the text


# ---- sizes ----


def test_dim_arithmetic(b):
    B, D = b.dim("B"), b.dim("D")
    assert str(3 * D) == "3*D" and str(D * 3) == "3*D" and repr(D // 8) == "D//8"
    assert str(B + 1) == "B + 1" and str(1 - B) == "-B + 1" and str(-B) == "-B" and str(B * D) == "B*D" and str(+B) == "B"
    assert (D * 4) // 4 == D and D - D == 0 and isinstance(D - D, int)
    assert D % 1 == 0 and str((2 * D + 1) // 2) == "D"
    assert b.dim("3*D") == 3 * D and b.dim("(B + 1) * 2 - 2") == 2 * B and b.dim("7 // 2") == 3 and b.dim(5) == 5
    assert b.dim(D) == D and hash(b.dim("D")) == hash(D) and len({D, b.dim("D"), B}) == 2
    for zero in (lambda: D // 0, lambda: D % 0, lambda: D // (B - B)):
        with pytest.raises(ZeroDivisionError):
            zero()


def test_dim_comparison(b):
    B, D = b.dim("B"), b.dim("D")
    assert D == D and D == D + B - B and D != D + 1 and D != 0 and not D == -1 and D % 4 - D % 4 == 0  # noqa: PLR0124
    assert D != "D" and D != None and not D == "D" and D != [3] and D != 4.5 and not D == 4.5  # noqa: E711
    assert 2 * D != 3 and D not in (0, 2 * D + 1, None) and (B, D) == (B, D) and {(B, D): 1}[B, D] == 1
    assert D >= 1 and D > 0 and not D < 1 and D + 1 > D and 2 * D >= D and 0 < D
    assert D != 10**30 and bool(D)
    for f, said in ((lambda: D > 1, "D > 1"), (lambda: D < B, "D < B"), (lambda: D <= 2, "D <= 2"), (lambda: bool(D - 1), "D - 1 != 0"),
                    (lambda: D == 3, "D == 3"), (lambda: D != B, "D != B"), (lambda: 3 == D, "D == 3"), (lambda: D == 4.0, "D == 4"),
                    (lambda: 3 in (0, D), "D == 3"), (lambda: (B, D) == (B, B), "D == B"), (lambda: D % 4 == 0, "== 0")):
        with pytest.raises(GraphValueError, match="whether .* is not known while the graph is built") as caught:
            f()
        assert said in str(caught.value) and caught.value.code == "E_SIZE"
    assert _core.same_size(D, b.dim("D")) and not _core.same_size(D, B) and not _core.same_size(D, 3) and _core.same_size(3, 3)
    with pytest.raises(TypeError):
        D < "3"
    with pytest.raises(TypeError):
        D / 2
    with pytest.raises(TypeError):
        D + 1.5


def test_dim_is_no_int(b):
    D = b.dim("D")
    for f in (int, range, float, lambda d: [0] * d, lambda d: "abc"[d]):
        with pytest.raises(TypeError):
            f(D)
    with pytest.raises(GraphTypeError, match="depends on D, B|depends on B, D"):
        int(D * b.dim("B") + 1)
    with pytest.raises(GraphTypeError) as caught:
        range(D)
    assert str(caught.value) == "the size D is not known while the graph is built"
    with pytest.raises(GraphTypeError, match=r"the size D \+ 1 .*d \*\* 0\.5, tessera\.ops\.sqrt\(d\)"):
        math.sqrt(D + 1)


def test_powers_of_a_dim(b):
    B, D = b.dim("B"), b.dim("D")
    assert D**2 == D * D and D**0 == 1 and D**1 == D and (D + 1) ** 3 == (D + 1) * (D + 1) * (D + 1)
    for n in (10**5, 2**40, 2**70):
        with pytest.raises(GraphValueError, match="too long|out of range"):
            (D + 1) ** n
    for f in (lambda: D**D, lambda: 2**D, lambda: pow(D, 2, 3), lambda: D ** "2", lambda: D**0.5, lambda: D / B, lambda: 2.0 * D):
        with pytest.raises(TypeError):  # this graph is nobody's
            f()


def test_declared_dims(b):
    S = b.declare("S", min=2, max=4096, multiple_of=8)
    assert str((S - 1) // 2 + 1) == "S//2" and S % 8 == 0 and S >= 8 and S <= 4096
    assert b.declare("S", 2, 4096, 8) == S
    with pytest.raises(GraphValueError):
        b.declare("S", 1)
    for low, high, step in ((-1, None, 1), (5, 4, 1), (1, 7, 8), (1, None, 0), (1, 2**70, 1)):
        with pytest.raises(GraphValueError):
            b.declare("T", low, high, step)
    x = b.param("x", "f32", [S])
    assert "dims 2 <= S <= 4096 multiple_of 8" in text_of(b, [("y", x)])


@pytest.mark.parametrize("text", ["", "3*", "B /2", "B**2", "f(B)", "1.5", "a b", "x.y", "B[0]", "for", "f32", "é", "'a'", "(" * 100, "B" * 5000, "1e3",
                                  "99999999999999999999", "9223372036854775807 * B * B * 4", "B // 0", "B % (C - C)", "\x01", "true"])
def test_texts_that_are_no_sizes(b, text):
    with pytest.raises(ValueError):
        b.dim(text)
    assert b.dim("B") == b.dim("B")


def test_sizes_out_of_range(b):
    B = b.dim("B")
    with pytest.raises(GraphValueError):
        B * 2**62 * 4
    with pytest.raises(GraphValueError):
        b.dim(2**63)
    with pytest.raises(GraphValueError):
        b.param("x", "f32", [-1])
    with pytest.raises(GraphValueError):
        b.param("x", "f32", [2**40, 2**40])
    with pytest.raises(GraphValueError):
        b.param("x", "f32", [1] * 17)
    big = B
    with pytest.raises(GraphValueError):
        for _ in range(100):
            big = big * (B + 1)
    with pytest.raises(GraphValueError, match="1000"):
        for i in range(1100):
            b.dim(f"N{i}")


def test_sizes_that_no_input_gives():
    b = _core.Builder()
    x = b.param("x", "f32", ["3*B", "C + 1"], file="m.py", line=2)
    (y,) = b.op("exp", [x])
    with pytest.raises(GraphValueError, match="the size C cannot be found") as e:
        b.text([("y", y)])
    assert e.value.code == "E_UNSOLVED_DIM" and e.value.where == ("m.py", 2)
    (z,) = b.op("iota", [], {"n": "D"}, file="m.py", line=7)
    with pytest.raises(GraphValueError, match="the size D") as e:
        b.text([("z", z)], params=[])
    assert e.value.where == ("m.py", 7)
    c = b.param("c", "f32", ["C", "D"])
    text_of(b, [("y", y), ("z", z)])
    with pytest.raises(GraphValueError, match="the size C"):
        b.text([("y", y)], params=[x])
    text_of(b, [("y", y)], params=[x, c])


@pytest.mark.parametrize("step", [
    lambda b, d: (d * b.dim("B") + 1) // (b.dim("C") + 2), lambda b, d: (d * d + 1) // (b.dim("C") + d), lambda b, d: d * b.dim("B") + (d + 1) // 3 * b.dim("C"),
    lambda b, d: d * (b.dim("B") + 1) % (b.dim("C") + 7), lambda b, d: d * (b.dim("C") + 1),
])
def test_sizes_that_grow_without_end(b, step):
    """Quotients within quotients, sums of many products, sizes that share their parts: an error, not a crash or a hang."""
    d = b.dim("B")
    with pytest.raises(GraphValueError):
        for _ in range(2000):
            d = step(b, d)
    x = b.param("x", "f32", ["B", "C", d])                   # the last one can be written
    (y,) = b.op("exp", [x])
    text_of(b, [("y", y)])


def test_results_that_grow_without_end(b):
    x = y = b.param("x", "f32", ["B", "C"])
    with pytest.raises(GraphValueError, match="too long"):
        for _ in range(2000):                                  # the size of -1 is a quotient, of a quotient, of a quotient
            (y,) = b.op("reshape", [y], {"shape": ["C + 1", -1]})
            (y,) = b.op("slice", [y], {"start": [0, 0], "stop": [1, b.type(y)[1][1]]})
    (z,) = b.op("exp", [y])
    text_of(b, [("y", y), ("z", z), ("x_", x)])


def test_dims_of_another_graph(b):
    other = _core.Builder()
    D, E = b.dim("D"), other.dim("D")
    assert not _core.same_size(D, E) and len({D, E}) == 2
    for f in (lambda: D + E, lambda: D < E, lambda: D == E, lambda: D != E, lambda: b.dim(E), lambda: b.param("x", "f32", [E])):
        with pytest.raises(GraphValueError):
            f()


# ---- literals ----


@pytest.mark.parametrize("dtype, fmt, values", [("f32", "f", [0.1, -0.0, math.inf, 1e-45]), ("f64", "d", [0.1, -math.inf, 5e-324, 1.5]), ("f16", "e", [0.1, 65504.0]),
                                                ("int64", "q", [-2**63, 2**63 - 1]), ("int8", "b", [-128, 127]), ("uint8", "B", [0, 255]), ("bool", "?", [True, False])])
def test_const(b, dtype, fmt, values):
    data = struct.pack(f"{len(values)}{fmt}", *values)
    c = b.const(dtype, [len(values)], data)
    row = b.const(dtype, (1, len(values)), bytearray(data))
    assert b.type(c) == (dtype, (len(values),), None) and b.type(row)[1] == (1, len(values))
    text_of(b, [("c", c), ("row", row)])


def test_const_of_any_element_type(b):
    for i, (name, kind, bits, _) in enumerate(_core.dtypes()):
        n = 5
        data = random.Random(i).randbytes((n * bits + 7) // 8)
        if kind == "C":
            with pytest.raises(NotInRelease):
                b.const(name, [n], data)
            continue
        if kind == "B":
            data = bytes(v & 1 for v in data)
        text_of(b, [("c", b.const(name, [n], data))])
        text_of(b, [("e", b.const(name, [2, 0, 3], b""))])


def test_const_from_arrays(b):
    import numpy as np
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    text = text_of(b, [("c", b.const("f32", a.shape, a))])
    assert "[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]" in text
    with pytest.raises((BufferError, ValueError)):
        b.const("f32", (3, 2), a.T)
    with pytest.raises(ValueError):
        b.const("f32", [2], array.array("d", [1, 2]))
    for bad in (None, "text", 3, [1.0, 2.0]):
        with pytest.raises(TypeError):
            b.const("f32", [2], bad)
    with pytest.raises(GraphValueError, match="65536"):
        b.const("int8", [65537], bytes(65537))
    with pytest.raises(GraphValueError):
        b.const("f32", [2**62, 8], b"")
    with pytest.raises(GraphValueError):
        b.const("f32", ["N"], b"")


@pytest.mark.parametrize("dtype, value", [("f32", 0.1), ("f32", 3), ("bf16", -math.inf), ("f64", 1e308), ("int64", -2**63), ("int8", -128), ("bool", True), ("f16", 1e-9), ("f32", math.nan)])
def test_scalar(b, dtype, value):
    v = b.scalar(dtype, value)
    assert b.type(v) == (dtype, (), None)
    text_of(b, [("v", v)])


@pytest.mark.parametrize("dtype, value", [("int8", 128), ("uint8", -1), ("int32", 2**31), ("int64", 2**63), ("int4", 8), ("f16", 1e6), ("f32", 1e39), ("f32", 10**400), ("int32", 1.0), ("bool", 1),
                                          ("int32", True), ("f32", True), ("f32", "1"), ("f32", None), ("f32", [1]), ("f32", 1j)])
def test_scalar_that_does_not_fit(b, dtype, value):
    with pytest.raises((TypeError, ValueError)):
        b.scalar(dtype, value)


def test_literals_beside_values(b, x):
    half = b.scalar("f32", 0.5)
    (y,) = b.op("mul", [x, half])
    (z,) = b.op("add", [half, half])
    text = text_of(b, [("y", y), ("z", z)])
    assert "mul(x, 0.5)" in text and "add(0.5, 0.5)" in text
    with pytest.raises(GraphTypeError):
        b.op("mul", [x, b.scalar("f16", 0.5)])


# ---- loops and weights ----


def test_loop(b):
    x = b.param("x", "f32", ["B", 64])
    i, (h,) = b.loop_begin(12, [x], file="m.py", line=4)
    w = b.weight("W", f"h.{{{i}}}.w", "f32", [64, 64])
    assert b.weight("W", f"h.{{{i}}}.w", "f32", [64, 64]) == w
    (u,) = b.op("matmul", [h, w], file="m.py", line=6)
    (unused,) = b.op("exp", [u])
    (m,) = b.op("max", [u], {"axis": 1})
    y, e = b.loop_end([u], [m])
    assert b.type(e) == ("f32", (12, b.dim("B")), None) and b.type(y) == b.type(x)
    b.weights_file("W", "model.safetensors")
    text = text_of(b, [("y", y), ("e", e)])
    assert 'weights W = "model.safetensors" {' in text and '"h.11.w": f32[64, 64]' in text and "for i in 0..12 with" in text and "exp" not in text
    assert b.where("y") == ("m.py", 4)
    for use in (lambda: b.op("exp", [u]), lambda: b.op("exp", [h]), lambda: b.dim(i), lambda: i + 1, lambda: b.text([("u", u)])):
        with pytest.raises(GraphValueError, match="over"):
            use()


def test_nested_loops(b):
    x = b.param("x", "f32", [4])
    i, (a,) = b.loop_begin(2, [x])
    j, (c,) = b.loop_begin(3, [a])
    assert str(i) != str(j)
    w = b.weight("W", f"w.{{{3 * i + j}}}", "f32", [4])
    (d,) = b.op("add", [c, w])
    (d,) = b.op("add", [d, a])
    late = b.param("late", "f32", [4])
    (d,) = b.op("mul", [d, late])
    (d,) = b.loop_end([d])
    (y,) = b.loop_end([d])
    _, (k,) = b.loop_begin(2, [y])                          # of the first one's range: its name again
    (k,) = b.op("sub", [k, late])
    (y,) = b.loop_end([k])
    text = text_of(b, [("y", y)])
    assert [f'"w.{n}"' in text for n in range(7)] == [True] * 6 + [False]
    assert text.count("for i in 0..2") == 2


def test_carried_literals(b):
    x = b.param("x", "bf16", [4])
    start = [x, b.scalar("bf16", 0.5), b.scalar("f32", 1.0), b.scalar("int64", 2), b.scalar("int32", 3), b.scalar("bool", True), b.dim_value("N")]
    n = b.param("n", "f32", ["N"])
    _, inside = b.loop_begin(2, start)
    out = b.loop_end(inside)
    assert [b.type(v) for v in out] == [b.type(v) for v in start]
    text = text_of(b, [("n_", n), *((f"r{i}", v) for i, v in enumerate(out))])
    assert "= 1.0" in text and "= 2," in text and "= true" in text and "= N" in text


def test_loop_mistakes(b, x):
    _, (h,) = b.loop_begin(4, [x])
    with pytest.raises(GraphValueError, match="not ended"):
        b.text([("x", x)])
    (s,) = b.op("sum", [h])
    for yields in ([s], [], [h, h], [None], None):
        with pytest.raises((TypeError, ValueError)):
            b.loop_end(yields)
    (y,) = b.loop_end([h])
    text_of(b, [("y", y)])
    with pytest.raises(GraphValueError, match="no loop"):
        b.loop_end([y])
    with pytest.raises(GraphValueError, match="no loop"):
        b.loop_abort()
    for trips in (-1, 10**6 + 1, 2**70):
        with pytest.raises(GraphValueError):
            b.loop_begin(trips, [x])
    with pytest.raises(TypeError):
        b.loop_begin(1.5, [x])
    with pytest.raises(TypeError):
        b.loop_begin(b.dim("B"), [x])
    with pytest.raises(GraphValueError):
        b.loop_begin(2, [x] * 65)


def test_aborted_loop(b, x):
    i, (h,) = b.loop_begin(4, [x])
    (u,) = b.op("exp", [h])
    b.loop_abort()
    with pytest.raises(GraphValueError):
        b.op("exp", [u])
    (y,) = b.op("exp", [x])
    assert "for" not in text_of(b, [("y", y)])


def test_deep_loops(b):
    v = b.param("x", "f32", [4])
    for _ in range(16):
        _, (v,) = b.loop_begin(1, [v])
    with pytest.raises(GraphValueError, match="deep"):
        b.loop_begin(1, [v])
    for _ in range(16):
        (v,) = b.loop_end([v])
    text_of(b, [("y", v)])


def test_loop_without_iterations(b, x):
    _, (h,) = b.loop_begin(0, [x])
    with pytest.raises(GraphValueError):
        b.weight("W", "w{i}", "f32", [4])
    (s,) = b.op("sum", [h])
    y, e = b.loop_end([h], [s])
    assert b.type(e)[1] == (0,)
    text_of(b, [("y", y), ("e", e)])


def test_weights(b):
    w = b.weight("W", 'a "quoted" name', "bf16", [2, 3])
    brace = b.weight("W", "a{{0}", "f32", [])
    v = b.weight("V", "a", "f32", [2])
    text = text_of(b, [("w", w), ("v", v), ("c", brace)])
    assert r'"a \"quoted\" name": bf16[2, 3]' in text and '"a{{0}"' in text and "weights V {" in text
    for name, dtype, dims, kind in (("a{{0}", "f32", [1], GraphValueError), ("b", "f32", ["N"], GraphValueError), ("b{i}", "f32", [1], GraphValueError), ("b*", "f32", [1], GraphValueError),
                                    ("b{", "f32", [1], GraphValueError), (3, "f32", [1], TypeError), ("b", "f99", [1], GraphTypeError), ("b" * 5000, "f32", [1], GraphValueError)):
        with pytest.raises(kind):
            b.weight("W", name, dtype, dims)


# ---- mistakes ----


def test_errors_leave_the_builder_usable(b):
    x = b.param("x", "f32", [4, 8])
    for _ in range(50):
        with pytest.raises(GraphValueError, match="matmul") as e:
            b.op("matmul", [x, x])
        assert e.value.code == "E_SHAPE_MISMATCH" and str(e.value).count("note: x is f32[4, 8]") == 2
    with pytest.raises(GraphTypeError, match="nearest: softmax") as e:
        b.op("sofmax", [x])
    assert e.value.code == "E_UNKNOWN_OP"
    (y,) = b.op("softmax", [x])
    assert b.type(y) == ("f32", (4, 8), None)
    assert "matmul" not in text_of(b, [("y", y)])


@pytest.mark.parametrize("name, inputs, attrs, kind, code", [
    ("nope", [0], {}, TypeError, "E_UNKNOWN_OP"), ("param", [], {}, TypeError, "E_UNKNOWN_OP"), ("for", [0], {}, TypeError, "E_UNKNOWN_OP"), ("kernel", [0], {}, TypeError, "E_UNKNOWN_OP"),
    ("add", [0], {}, TypeError, "E_ARGUMENTS"), ("add", [0, None], {}, TypeError, "E_ARGUMENTS"), ("add", [0, 0, 0], {}, TypeError, "E_ARITY"), ("exp", [], {}, TypeError, "E_ARGUMENTS"),
    ("exp", [0], {"axis": 1}, TypeError, "E_UNKNOWN_ARGUMENT"), ("gelu", [0], {"approximate": "fast"}, TypeError, "E_ATTR"), ("gelu", [0], {"approximate": 1}, TypeError, "E_ATTR"),
    ("gelu", [0], {"approximate": None}, TypeError, "E_ATTR"), ("sum", [0], {"axis": 9}, ValueError, "E_AXIS"), ("sum", [0], {"axis": 1.0}, TypeError, "E_ATTR"),
    ("sum", [0], {"axis": True}, TypeError, "E_ATTR"), ("sum", [0], {"keepdims": 1}, TypeError, "E_ATTR"), ("sum", [0], {"axis": "B"}, TypeError, "E_ATTR"),
    ("sum", [0], {"axis": list(range(99))}, ValueError, "E_RANK"), ("sum", [0], {"axis": 2**70}, ValueError, "E_SIZE"), ("cast", [0], {}, TypeError, "E_ATTR"),
    ("cast", [0], {"dtype": "f33"}, TypeError, "E_TYPE"), ("cast", [0], {"dtype": 3}, TypeError, "E_ATTR"), ("layer_norm", [0], {"eps": "x"}, TypeError, "E_ATTR"),
    ("layer_norm", [0], {"eps": True}, TypeError, "E_ATTR"), ("layer_norm", [0], {"eps": 10**400}, TypeError, "E_ATTR"), ("split", [0], {"n": 7}, ValueError, None),
    ("split", [0], {"n": -1}, None, None), ("split", [0], {"n": 2**40}, None, None), ("reshape", [0], {"shape": [3]}, ValueError, "E_ELEMENT_COUNT"),
    ("reshape", [0], {"shape": [1.5]}, TypeError, "E_ATTR"), ("reshape", [0], {"shape": [None]}, TypeError, "E_ATTR"),
    ("and", [0, 0], {}, TypeError, "E_TYPE"), ("fft", [0], {}, TypeError, "E_TYPE"), ("transpose", [0], {"perm": [0, 0, 1]}, ValueError, "E_AXIS"),
    ("broadcast", [0], {"shape": [2**62, 2**62, "B", "S", 64]}, ValueError, "E_SIZE"), ("pad", [0], {"before": [0], "after": [0]}, TypeError, "E_ATTR"),
])
def test_wrong_operators(b, x, name, inputs, attrs, kind, code):
    with pytest.raises(kind or (TypeError, ValueError)) as e:
        b.op(name, [x if i == 0 else i for i in inputs], attrs)
    assert code is None or e.value.code == code
    assert b.type(b.op("exp", [x])[0]) == b.type(x)


@pytest.mark.parametrize("call", [
    lambda b, x: b.op("exp", x), lambda b, x: b.op("exp", "x"), lambda b, x: b.op("exp", [True]), lambda b, x: b.op("exp", [1.0]), lambda b, x: b.op("exp", [x], [1]),
    lambda b, x: b.op("exp", [x], {1: 2}), lambda b, x: b.op(3, [x]), lambda b, x: b.op(), lambda b, x: b.op("exp", [x], file=3), lambda b, x: b.op("exp", [x], line="3"),
    lambda b, x: b.op("exp", [x], line=2**40), lambda b, x: b.op("exp", [x], what=1), lambda b, x: b.param(3, "f32", []), lambda b, x: b.param("y", 3, []), lambda b, x: b.param("y", "f32", 3),
    lambda b, x: b.param("y", "f32", "B"), lambda b, x: b.param("y", "f32", [1.5]), lambda b, x: b.param("y", "f32", [None]), lambda b, x: b.param("y", "f32", [4], accum="x"),
    lambda b, x: b.param("y", "f32\0", [4]), lambda b, x: b.type("x"), lambda b, x: b.type(0), lambda b, x: b.type(-x), lambda b, x: b.type(x + 1), lambda b, x: b.type(2**200),
    lambda b, x: b.text(3), lambda b, x: b.text([]), lambda b, x: b.text([x]), lambda b, x: b.text([("y",)]), lambda b, x: b.text([("y", None)]), lambda b, x: b.text([(1, x)]),
    lambda b, x: b.text([("y", x)], params=3), lambda b, x: b.text([("y", x)], numerics=3), lambda b, x: b.text([("y", x)] * 5000), lambda b, x: b.dim(None), lambda b, x: b.dim(1.5),
    lambda b, x: b.dim("\ud800"), lambda b, x: b.param("\ud800", "f32", []), lambda b, x: b.declare(3), lambda b, x: b.declare("a b"), lambda b, x: b.declare("a.1"), lambda b, x: b.declare("if"),
    lambda b, x: b.declare("Q", min="3"), lambda b, x: b.name(3), lambda b, x: b.where(3), lambda b, x: b.scalar("f32"), lambda b, x: _core.Builder(3), lambda b, x: _core.Builder("a\0"),
    lambda b, x: _core.Builder(""), lambda b, x: _core.check(3), lambda b, x: _core.format(None), lambda b, x: _core.format(b"x"), lambda b, x: _core.check("x", "a\0b"), lambda b, x: _core.Dim(),
])
def test_wrong_calls(b, x, call):
    with pytest.raises((TypeError, ValueError, OverflowError)):
        call(b, x)
    (y,) = b.op("exp", [x])
    text_of(b, [("y", y)])


def test_values_of_another_builder(b, x):
    other = _core.Builder()
    y = other.param("x", "f32", [4])
    assert x != y
    with pytest.raises(GraphValueError, match="no value of this graph"):
        b.op("exp", [y])
    with pytest.raises(GraphValueError):
        other.text([("x", x)])


def test_arguments_that_call_back(b, x):
    class Sneaky:
        def __index__(self):
            b.op("exp", [x])
            return 1

    with pytest.raises(RuntimeError, match="in use"):
        b.op("sum", [x], {"axis": Sneaky()})

    class Counting:                                            # sizes may be worked out on the way
        def __iter__(self):
            yield from (b.dim("B") * 1, 2 * b.dim("S") // 2, 8, 8)

        def __len__(self):
            return 4

        def __getitem__(self, i):
            return list(self)[i]

    assert str(b.type(b.op("reshape", [x], {"shape": Counting()})[0])[1]) == "(B, S, 8, 8)"

    class Failing:
        def __index__(self):
            raise KeyError("own error")

    with pytest.raises(KeyError):
        b.op("sum", [x], {"axis": Failing()})
    with pytest.raises(KeyError):
        b.dim("B") + Failing()
    (y,) = b.op("sum", [x], {"axis": 1})
    text_of(b, [("y", y)])


# ---- size and threads ----


def test_many_operators(b):
    x = b.param("x", "f32", ["B", 8])
    half = b.scalar("f32", 0.5)
    y = x
    for _ in range(50_000):
        (y,) = b.op("add", [y, x])
        (y,) = b.op("mul", [y, half])
    text = b.text([("y", y)])
    assert text.count("\n") > 100_000
    assert "y.99999" in text and b.where("y.7") is None


def test_many_builders():
    for i in range(2000):
        b = _core.Builder(f"f{i}")
        x = b.param("x", "f32", ["N"])
        d = b.type(x)[1][0]
        b.text([("y", b.op("exp", [x])[0])])
        with pytest.raises(GraphValueError):
            b.op("matmul", [x, x])
        del b
        assert str(d) == "N"                                # a size keeps its graph alive
    gc.collect()


def test_threads():
    texts = []

    def work(n):
        b = _core.Builder()
        x = b.param("x", "f32", ["N", n])
        y = x
        for _ in range(200):
            (y,) = b.op("exp", [y])
            with pytest.raises(GraphValueError):
                b.op("matmul", [y, b.scalar("f32", 1.0)])
        text = b.text([("y", y)])
        texts.append((n, text, _core.check(text), _core.format(text) == text))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 17)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(texts) == 16
    for n, text, found, same in texts:
        assert f"f32[N, {n}]" in text and found == [] and same


# ---- functions of the module ----


def test_operator_table():
    ops = {o["name"]: o for o in _core.ops()}
    assert ops["gelu"]["attrs"] == (("approximate", "enum", False, "tanh", ("none", "tanh")),)
    assert ops["attention"]["operands"] == (("q", False), ("k", False), ("v", False), ("mask", True), ("bias", True), ("q_offset", True), ("factor", True))
    assert ops["concat"]["variadic"] and ops["concat"]["operands"] == (("xs", False),)
    assert ops["exp"]["types"] == ("f32", "f64", "f16", "bf16") and ops["exp"]["cls"] == "pointwise" and "pure" in ops["exp"]["flags"] and ops["exp"]["bound"] == "ulp4"
    assert dict((a[0], a[3]) for a in ops["normal"]["attrs"]) == {"shape": None, "mean": 0.0, "std": 1.0, "dtype": "f32", "stream": None}
    assert ops["split"]["attrs"] == (("n", "int", True, None, ()), ("axis", "int", False, -1, ()))
    assert ops["param"]["cls"] == "leaf" and ops["for"]["cls"] == "control" and ops["softmax"]["doc"]
    assert ("bf16", "F", 16, True) in _core.dtypes() and ("int4", "I", 4, False) in _core.dtypes()


def test_check():
    good = "tessera 1\ngraph f(x: f32[3]) -> (y: f32[3]) {\n  y: f32[3] = exp(x)\n}\n"
    assert _core.check(good) == [] and _core.format(good.replace("  ", "")) == good
    assert _core.check(good.replace("exp", "softmx"), "m.tg") == [("error", "E_UNKNOWN_OP", 3, 15, "no op, fn, kernel or import named 'softmx'"), ("hint", "", 0, 0, "nearest: softmax")]
    warned = _core.check(good + "fn g(x: f32[3]) -> (y: f32[3]) {\n  y = exp(x)\n}\n")
    assert [d[:2] for d in warned] == [("warning", "W_UNUSED_FN")]
    many = _core.check("tessera 1\ngraph f(x: f32[3]) -> (y: f32[3]) {\n" + "  _ = nope(x)\n" * 100 + "  y = x\n}\n")
    assert [d[0] for d in many].count("error") == 20
    missing = 'tessera 1\nweights W = "nothing.safetensors" {\n  "a": f32[3]\n}\n\ngraph f(x: f32[3]) -> (y: f32[3]) {\n  y = add(x, W."a")\n}\n'
    assert _core.check(missing) == []
    assert [d[1] for d in _core.check(missing, weights=True)] == ["E_FILE"]


@pytest.mark.parametrize("text", ["", "tessera 2\n", "tessera 1\ngraph f(", "\0", "tessera 1\n\0", "(" * 100_000, "tessera 1\n" + "\u00e9" * 100, "\ufeff", "tessera 1\n" + "x" * 200_000])
def test_texts_that_do_not_parse(text):
    assert _core.check(text)[0][0] == "error"
    with pytest.raises(ValueError) as e:
        _core.format(text)
    assert e.value.code in ("E_SYNTAX", "E_VERSION", "E_LIMIT", "E_NO_GRAPH")


# ---- kernels ----

KERNEL = """tessera 1
dims N, M
const half = 0.5
kernel NAME(X: f32[N, M], scale: f32[]) -> (Y: f32[N, M]) {
  grid i in 0..N step 16
  x = load(X[i:i + 16, :])
  store(Y[i:i + 16, :], x * scale * half)
}
"""


def kernel(name, **changes):
    text = KERNEL.replace("NAME", name)
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


def test_kernel(b):
    x = b.param("x", "f32", ["B", 64])
    assert b.kernel(kernel("scaled")) == ("scaled",)
    assert b.kernel(kernel("scaled")) == ("scaled",)             # a second time is none
    (y,) = b.call_kernel("scaled", [x, 2.0], file="k.py", line=3)
    assert b.type(y) == b.type(x)
    _, (h,) = b.loop_begin(3, [y])
    (h,) = b.call_kernel("scaled", [h, b.scalar("f32", 3.0)])
    (z,) = b.loop_end([h])
    text = text_of(b, [("y", y), ("z", z)])
    assert text.count("kernel scaled(X: f32[N, M]") == 1 and "const half = 0.5" in text and "y: f32[B, 64] = scaled(x, 2.0)" in text
    assert b.where("y") == ("k.py", 3)
    assert "kernel" not in text_of(b, [("w", b.op("exp", [x])[0])])


def test_kernel_mistakes(b):
    x = b.param("x", "f32", ["B", 64])
    lines = [("k.py", n) for n in range(10, 20)]
    with pytest.raises(GraphTypeError, match="line 7, column 25") as e:
        b.kernel(kernel("k").replace("x * scale", "nope(x)"), lines)
    assert e.value.where == ("k.py", 16) and e.value.code == "E_UNKNOWN_OP"
    for text in ("", "tessera 1\nkernel k(", "tessera 1\ngraph k(x: f32[3]) -> (y: f32[3]) {\n  y = x\n}\n", kernel("softmax"), kernel("x"), kernel("k", half="x"),
                 kernel("k") + kernel("k").split("half = 0.5")[1], kernel("k").replace("-> (Y: f32[N, M])", ""), kernel("k", store="load"), "\0", "x" * (1 << 21)):
        with pytest.raises((TypeError, ValueError)):
            b.kernel(text)
    for bad in (3, [3], [("a",)], [("a", "b")], [(3, 4)]):
        with pytest.raises(TypeError):
            b.kernel(kernel("k"), bad)
    b.kernel(kernel("k"))                                      # what failed left nothing behind
    for inputs in ([x], [x, x], [x, 1.0, 2.0], [b.scalar("f32", 1.0), x], [None, 1.0], [x, 7], [x, 1.0] * 40):
        with pytest.raises((TypeError, ValueError)):
            b.call_kernel("k", inputs)
    with pytest.raises(GraphValueError):
        b.call_kernel("nope", [x])
    (y,) = b.call_kernel("k", [x, 1.0])
    text_of(b, [("y", y)])
    with pytest.raises(GraphValueError, match="variable of a kernel"):
        b.dim("i")
    (z,) = b.call_kernel("k", [b.param("z", "f32", ["X", 4]), 1.0])
    with pytest.raises(GraphValueError, match="already assigned"):
        b.text([("w", z)])                                     # the kernel's X beside the size X


# ---- whatever comes ----


def random_value(r, b, values):
    size = r.choice([0, 1, 2, 3, 8, -1, 64, 2**31, 2**63 - 1, -(2**63), 2**70])
    return r.choice([None, True, False, size, 0.5, -1e300, math.nan, "f32", "int64", "bool", "fp8_e4m3", "complex64", "tanh", "B", "2*B", "B//3", "C - B", b.dim("B"), b.dim("C") * 2, b"x", [], [0],
                     [1, 0], [0, 1, 2], ["B", 4], [2, 3], [b.dim("B"), -1], [r.randrange(-3, 70) for _ in range(r.randrange(5))], {}, r.choice(values), object()])


def same_type(r, b, values, like):
    fits = [like]
    for v in values:
        try:
            fits += [v] * (b.type(v) == b.type(like))
        except GraphValueError:                                # of a loop that is over
            pass
    return r.choice(fits)


def random_step(r, b, values, ops, loops):
    what = r.randrange(12)
    if what == 0:
        values.append(b.param(f"p{len(values)}", r.choice(["f32", "bf16", "int64", "bool", "int8", "complex64"]), [r.choice(["B", "C", 4, 1, 0, 64, "B*C", "B - 1"]) for _ in range(r.randrange(5))]))
    elif what == 1:
        values.append(b.scalar(r.choice(["f32", "bf16", "int64", "bool", "fp4_e2m1"]), random_value(r, b, values)))
    elif what == 2:
        values.append(b.const("int64", [2], struct.pack("2q", 1, 2)))
    elif what == 3:
        values.append(b.dim_value(random_value(r, b, values)))
    elif what == 4 and r.random() < 0.3:
        i, inside = b.loop_begin(r.choice([0, 1, 3, 5000]), r.sample(values, min(len(values), r.randrange(4))))
        values.extend(inside)
        loops.append(inside)
    elif what == 5 and loops and r.random() < 0.5:
        carried = [same_type(r, b, values[-20:], v) for v in loops[-1]]
        values.extend(b.loop_end(carried if r.random() < 0.9 else values[-2:], r.sample(values, r.randrange(2))))
        loops.pop()
    else:
        op = r.choice(ops)
        attrs = {a[0]: (r.choice(a[4]) if a[4] else random_value(r, b, values)) for a in op["attrs"] if a[2] or r.random() < 0.3}
        n = r.randrange(1, 4) if op["variadic"] else len(op["operands"])
        values.extend(b.op(op["name"], [r.choice(values) if r.random() < 0.97 else None for _ in range(n)], attrs))


@pytest.mark.parametrize("seed", range(40))
def test_whatever_comes(seed):
    """Random calls, most of them wrong: nothing but TypeError and ValueError, and what was built reads back."""
    r = random.Random(seed)
    b = _core.Builder()
    values = [b.param("x", "f32", ["B", 4]), b.param("y", "int64", [2]), b.param("m", "bool", ["B", "C", "tanh"])]  # all names of random sizes
    ops = [o for o in _core.ops() if o["cls"] not in ("leaf", "control")]
    done, loops = 0, []
    for _ in range(400):
        try:
            random_step(r, b, values, ops, loops)
            done += 1
        except (TypeError, ValueError, NotInRelease):
            pass
    while True:
        try:
            b.loop_abort()
        except GraphValueError:
            break
    visible = []
    for v in values:
        try:
            b.type(v)
            visible.append(v)
        except GraphValueError:
            pass
    assert done > 50
    text_of(b, [(f"r{i}", v) for i, v in enumerate(visible)])


def test_nothing_leaks():
    """Python blocks and resident memory stay where they are, errors or not."""
    def one(seed):
        r = random.Random(seed)
        b = _core.Builder()
        values, ops, loops = [b.param("x", "f32", ["B", 4])], table, []
        for _ in range(60):
            try:
                random_step(r, b, values, ops, loops)
            except (TypeError, ValueError, NotInRelease):
                pass
        try:
            b.kernel(kernel("k"), [("k.py", 1)])
            b.kernel(kernel("l").replace("x * scale", "nope(x)").replace("half", "other"), [("k.py", n) for n in range(12)])
        except ValueError:
            pass
        except TypeError:
            pass
        try:
            values = b.text([("y", values[-1])])
            b.where("y.1")
        except ValueError:
            pass
        _core.check("tessera 1\ngraph f(")
        with pytest.raises(ValueError):
            _core.format("tessera 1\ngraph f(")
        str(b.dim("B") * 3 + 1)

    table = [o for o in _core.ops() if o["cls"] not in ("leaf", "control")]
    counts = []
    for round_ in range(6):
        for seed in range(40):
            one(seed)
        gc.collect()
        counts.append(sys.getallocatedblocks())
    assert counts[-1] - counts[2] < 50, counts
