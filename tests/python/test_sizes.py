"""Sizes of annotations: names, what follows from them, and what cannot be found."""

import math
import traceback

import numpy as np
import pytest

import tessera as ts
from tessera.sizes import Sizes, canonical, scaled_name, solve

ts.set_default_device("cpu")
f32 = ts.f32


def compiled(annotations, body, result=None):
    """A jitted function with these annotations of its arguments."""
    names = ", ".join(annotations)
    scope = {"body": body, "ts": ts}
    exec(f"def f({names}):\n    return body({names})", scope)
    f = scope["f"]
    f.__annotations__ = {k: ts.Tensor[(*((v,) if isinstance(v, str) else v), f32)] for k, v in annotations.items()}
    if result is not None:
        f.__annotations__["return"] = ts.Tensor[(*(result if isinstance(result, tuple) else (result,)), f32)]
    return ts.jit(f)


def test_solving():
    assert solve("3*D", "D", "P") == "(P) // (3)" and solve("S+1", "S", "P") == "(P) - (1)" and solve("1-S", "S", "P") == "(1) - (P)"
    assert solve("D//2", "D", "P") is None and solve("D%4", "D", "P") is None and solve("D*D", "D", "P") is None and solve("4//D", "D", "P") is None
    assert scaled_name("D") == scaled_name("3*D") == scaled_name(" D * 3 ") == scaled_name("(D)") == "D" and scaled_name("D+1") is scaled_name("B*D") is None
    assert canonical("H*B") == canonical("B * H")
    s = Sizes([["B*H", "S"], ["2*B", 4]], ["x", "y"])
    assert s.dims == [["B_H", "S"], ["2*B", 4]] and s.checks == {0: {0: "B*H"}} and s.names == {"H": "(B_H) // (B)"}


@pytest.mark.parametrize(
    "dims, good, bad, size",
    [
        ("3*D", (6, 9, 3), (7, 1, 0), lambda n: n // 3),
        ("S+1", (2, 5), (1, 0), lambda n: n - 1),
        ("S-1", (1, 4), (0,), lambda n: n + 1),
        ("2*S+1", (3, 5, 21), (1, 4, 6), lambda n: (n - 1) // 2),
        ("2*(S+1)", (4, 6), (2, 5), lambda n: n // 2 - 1),
    ],
)
def test_a_name_is_found(dims, good, bad, size):
    name = "D" if "D" in dims else "S"
    f = compiled({"x": dims}, lambda x: x.reshape(-1)[: x.shape[0]] * 2.0, dims)
    g = compiled({"x": dims}, lambda x: ts.ops.full((name,), 1.0) if hasattr(ts.ops, "full") else x, name)
    for n in good:
        assert f(ts.ones(n)).tolist() == [2.0] * n and g(ts.ones(n)).shape == (size(n),)
    for n in bad:
        with pytest.raises(ValueError):
            f(ts.ones(n))
    assert len(f._variants) == 1


def test_products():
    both = compiled({"x": ("B*H", "S"), "y": ("B", "H")}, lambda x, y: x.reshape("B", "H", "S").sum(2) + y, ("B", "H"))
    assert both(ts.ones(6, 5), ts.ones(2, 3)).tolist() == [[6.0] * 3] * 2
    for x, y in ((6, (2, 4)), (7, (2, 3))):
        with pytest.raises(ValueError, match="'x'"):
            both(ts.ones(x, 5), ts.ones(*y))
    one = compiled({"x": ("B*H", "S"), "y": "B"}, lambda x, y: x.reshape("B", "H", "S") + y.reshape("B", 1, 1), ("B", "H", "S"))
    assert one(ts.ones(6, 5), ts.ones(2)).shape == (2, 3, 5) and one(ts.ones(6, 5), ts.ones(6)).shape == (6, 1, 5)
    for n in (4, 12):
        with pytest.raises(ValueError):
            one(ts.ones(6, 5), ts.ones(n))
    whole = compiled({"x": ("B*H", "S"), "y": ("H * B",)}, lambda x, y: x + y.reshape(-1, 1), ("B*H", "S"))
    assert whole(ts.ones(6, 5), ts.ones(6)).shape == (6, 5) and whole(ts.ones(7, 2), ts.ones(7)).shape == (7, 2) and len(whole._variants) == 1
    with pytest.raises(ValueError, match=r"argument 'y': wanted f32.H \* B., found f32.5.; H \* B is 6 by argument 'x'"):
        whole(ts.ones(6, 5), ts.ones(5))
    with pytest.raises(ValueError, match=r"the size B is not known: of it the arguments of f say no more than B\*H"):
        compiled({"x": ("B*H", "S")}, lambda x: x.reshape("B", "H", "S"))(ts.ones(6, 5))
    halves = compiled({"x": "D//2", "y": "D//2"}, lambda x, y: x + y, "D//2")
    assert halves(ts.ones(4), ts.ones(4)).shape == (4,)
    chain = compiled({"x": "A*B", "y": "B+C", "z": "C"}, lambda x, y, z: x.reshape("A", "B").sum(0), "B")
    assert chain(ts.ones(12), ts.ones(7), ts.ones(3)).tolist() == [3.0] * 4


def test_arguments_named_as_sizes():
    @ts.jit
    def f(N: ts.Tensor["N", ts.f32], M: ts.Tensor["N", "M", ts.f32]) -> ts.Tensor["M", ts.f32]:
        return N.reshape(1, "N").matmul(M).reshape("M")

    assert f(ts.ones(3), ts.ones(3, 2)).tolist() == [3.0, 3.0] and f(N=ts.ones(1), M=ts.ones(1, 4)).tolist() == [1.0] * 4
    with pytest.raises(ValueError, match="argument 'M'"):
        f(ts.ones(3), ts.ones(2, 2))

    S = ts.sym("S", multiple_of=4)

    @ts.jit
    def g(S: ts.Tensor[S, ts.f32]) -> ts.Tensor[S, ts.f32]:
        return S * 2.0

    assert g(ts.ones(8)).shape == (8,)
    with pytest.raises(ValueError, match="multiple of 4"):
        g(ts.ones(6))

    @ts.function
    def weights_of(w: ts.Dict[str, ts.Tensor["w", ts.f32]], x: ts.Tensor["w", ts.f32]):
        return {"w": w["w"] + x, "x": w["x"] * x}

    out = weights_of({"w": ts.ones(2), "x": ts.ones(2)}, ts.ones(2))
    assert out["w"].tolist() == [2, 2] and out["x"].tolist() == [1, 1]


def test_results():
    f = compiled({"x": ("A", "B")}, lambda x: x.reshape(-1), "A*B")
    assert f(ts.ones(2, 3)).shape == (6,)
    f = compiled({"x": ("A", "B")}, lambda x: x.reshape(-1), "K")
    assert f(ts.ones(2, 3)).shape == (6,)
    for wrong in ("A", "A+B", 5, ("A", "B")):
        with pytest.raises(ValueError):
            compiled({"x": ("A", "B")}, lambda x: x.reshape(-1), wrong)(ts.ones(2, 3))

    @ts.jit
    def two(x: ts.Tensor["A", ts.f32]) -> tuple[ts.Tensor["K", ts.f32], ts.Tensor["K", ts.f32]]:
        return ts.cat([x, x]), x

    with pytest.raises(ValueError, match="result 1"):
        two(ts.ones(3))


def test_inside_other_functions():
    inner = compiled({"x": ("B*H", "S"), "y": "B"}, lambda x, y: x.reshape("B", "H", "S").sum(2), ("B", "H"))

    @ts.jit
    def outer(a: ts.Tensor["H", "S", ts.f32], b: ts.Tensor["N", ts.f32]):
        return inner(a, b)  # the names of inner are its own

    assert outer(ts.ones(6, 5), ts.ones(2)).tolist() == [[5.0] * 3] * 2
    thirds = compiled({"x": "3*D"}, lambda x: x.reshape(3, "D"), (3, "D"))
    again = compiled({"x": ("E",)}, lambda x: thirds(ts.cat([x, x, x])), (3, "E"))
    assert again(ts.ones(4)).shape == (3, 4)
    plain = ts.jit(lambda x: thirds(x))
    assert plain(ts.ones(6)).shape == (3, 2)
    for n in (7, 2):
        with pytest.raises(ValueError):
            plain(ts.ones(n))


def test_ahead_of_time(tmp_path):
    one = compiled({"x": ("B*H", "S"), "B": "B"}, lambda x, b: x.reshape("B", "H", "S").sum(2) * b.reshape("B", 1), ("B", "H"))
    ts.aot.compile(one, example_inputs=[ts.ones(6, 5), ts.ones(2)], output_path=tmp_path / "out")
    again = ts.aot.load(tmp_path / "out")
    assert again(ts.ones(8, 3), ts.ones(4)).tolist() == [[3.0] * 2] * 4
    assert again(x=ts.ones(8, 3), B=ts.ones(2)).shape == (2, 4)


# ---- open sizes in Python's own code ----


def with_line(f, *args):
    """The error of f(*args), the text of the line of this file that it was raised from, and f's name."""
    with pytest.raises(ts.TesseraError) as caught:
        f(*args)
    frames = [x for x in traceback.extract_tb(caught.value.__traceback__) if x.filename == __file__]
    return caught.value, frames[-1].line


def test_an_open_size_takes_no_branch_unseen():
    whether = {
        "S == 4": (
            lambda x: x * 2 if x.shape[0] == 4 else x * 3,
            lambda x: x * 2 if 4 == x.shape[0] else x * 3,
            lambda x: x * 2 if np.int64(4) == x.shape[0] else x * 3,
            lambda x: x * 2 if x.shape[0] == 4.0 else x * 3,
            lambda x: x * 2 if 4 in x.shape else x * 3,
            lambda x: x * 2 if x.shape == (4,) else x * 3,
            lambda x: x * 2 if x.shape.count(4) else x * 3,
        ),
        "S != 4": (lambda x: x * 2 if x.shape[0] != 4 else x * 3,),
        "== 0": (lambda x: x * 2 if x.shape[0] % 4 == 0 else x * 3,),
        "S > 4": (lambda x: x * 2 if x.shape[0] > 4 else x * 3,),
    }
    for words, bodies in whether.items():
        for body in bodies:
            e, line = with_line(compiled({"x": "S"}, body), ts.ones(4))
            assert isinstance(e, ValueError) and words in str(e) and "is not known while the graph is built" in str(e) and "lambda x:" in line
    f = compiled({"x": "S", "y": "T"}, lambda x, y: x if x.shape == y.shape else x * 2)
    assert "whether S == T is not known" in str(with_line(f, ts.ones(4), ts.ones(4))[0])
    f = compiled({"x": "B*H"}, lambda x: x * 2 if x.shape[0] == 4 else x * 3)
    assert "whether B*H == 4 is not known" in str(with_line(f, ts.ones(4))[0])


def test_what_is_known_of_an_open_size_is_used():
    for known in (
        lambda x: x.shape == x.shape and x.shape[0] == x.shape[0] + 0 and x.shape == (x * 2).shape and x.shape[0] in x.shape,
        lambda x: x.shape[0] != x.shape[0] + 1 and x.shape[0] != 0 and 0 not in x.shape and x.shape[0] != 4.5 and x.shape[0] != 10**30,
        lambda x: x.shape[0] != None and x.shape[0] != "S" and x.shape != [1] and x.shape[0] not in (None, "S"),  # noqa: E711
    ):
        f = compiled({"x": "S"}, lambda x, known=known: x * 2 if known(x) else x * 3)
        assert f(ts.ones(4)).tolist() == [2.0] * 4 and f(ts.ones(1)).tolist() == [2.0] and len(f._variants) == 1
    S = ts.sym("S", min=8, max=64, multiple_of=4)
    f = compiled({"x": S}, lambda x: x * 2 if x.shape[0] % 4 == 0 and x.shape[0] != 6 and x.shape[0] != 4 and x.shape[0] != 68 else x * 3)
    assert f(ts.ones(12)).tolist() == [2.0] * 12 and f(ts.ones(8)).tolist() == [2.0] * 8
    assert "S == 12" in str(with_line(compiled({"x": S}, lambda x: x if x.shape[0] == 12 else x * 2), ts.ones(12))[0])


def test_what_the_package_asks_of_open_sizes_itself():
    """Whole slices are no slices, results that have their size already no reshapes, and names are told apart."""
    f = compiled({"x": ("S", "D")}, lambda x: x[:, : x.shape[1]][0 : x.shape[0]][...] * 2.0, ("S", "D"))
    assert "slice" not in f.tg() and "reshape" not in f.tg() and f(ts.ones(2, 3)).tolist() == [[2.0] * 3] * 2
    inner = compiled({"a": ("S", "D"), "b": ("D", "S")}, lambda a, b: a + b.T, ("S", "D"))
    outer = compiled({"x": ("N", "M"), "y": ("M", "N")}, lambda x, y: inner(x, y))
    assert outer(ts.ones(2, 3), ts.ones(3, 2)).tolist() == [[2.0] * 3] * 2 and "reshape" not in outer.tg()
    with pytest.raises(ValueError, match="'b'"):
        compiled({"x": ("N", "M")}, lambda x: inner(x, x))(ts.ones(2, 3))
    f = compiled({"x": ("M", "K"), "y": ("K", "N"), "z": ("M", "N")}, lambda x, y, z: ts.ops.addmm(z, x, y, alpha=x.shape[1]))
    assert f(ts.ones(2, 3), ts.ones(3, 4), ts.ones(2, 4)).tolist() == [[10.0] * 4] * 2


NUMBERS = {
    "d ** -0.5": lambda d: d**-0.5,
    "d ** 0.5": lambda d: d**0.5,
    "d ** 1.5": lambda d: d**1.5,
    "d ** -1": lambda d: d**-1,
    "1.5 ** d": lambda d: 1.5**d,
    "0.5 * d": lambda d: 0.5 * d,
    "d + 0.5": lambda d: d + 0.5,
    "0.5 - d": lambda d: 0.5 - d,
    "d / 2.0": lambda d: d / 2.0,
    "d / 3": lambda d: d / 3,
    "1 / d": lambda d: 1 / d,
    "(d + 1) / d": lambda d: (d + 1) / d,
    "np.float32(0.5) * d": lambda d: np.float32(0.5) * d,
    "1 / math.sqrt(2) * d": lambda d: 1 / math.sqrt(2) * d,
}


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_made_of_an_open_size(text):
    number, kinds = NUMBERS[text], []

    def body(x):
        v = number(x.shape[-1])
        kinds.append((v.dtype.name, v.shape))
        return x * v

    f = compiled({"x": "S"}, body, "S")
    for n in (1, 4, 7):
        np.testing.assert_allclose(f(ts.ones(n)).tolist(), [float(number(n))] * n, rtol=2e-6)
    assert set(kinds) == {("f32", ())} and len(f._variants) == 1


def test_roots_of_an_open_size():
    for name, want in (("sqrt", lambda n: n**0.5), ("rsqrt", lambda n: n**-0.5)):
        f = compiled({"x": "S"}, lambda x, name=name: x * getattr(ts.ops, name)(x.shape[0]))
        assert f(ts.ones(4)).tolist() == [want(4)] * 4 and f(ts.ones(16)).tolist() == [want(16)] * 16
    e, line = with_line(compiled({"x": "S"}, lambda x: x / math.sqrt(x.shape[-1])), ts.ones(4))
    assert isinstance(e, TypeError) and "** 0.5" in str(e) and "tessera.ops.sqrt" in str(e) and "math.sqrt" in line
    e, line = with_line(compiled({"x": "S"}, lambda x: [x for _ in range(x.shape[0])][0]), ts.ones(4))
    assert str(e) == "the size S is not known while the graph is built" and isinstance(e, TypeError) and "range" in line
    x = ts.op.tensor(["S", 4])
    y = x * x.shape[0] ** -0.5 * ts.ops.sqrt(x.shape[0])
    np.testing.assert_allclose(y(np.ones((3, 4), "f4")), np.ones((3, 4)), rtol=1e-6)


def test_a_size_beside_a_tensor():
    for body, want in (
        (lambda x: x.shape[0] * x, 3.0),
        (lambda x: x.shape[0] - x, 2.0),
        (lambda x: x.shape[0] / x, 3.0),
        (lambda x: x ** x.shape[0], 1.0),
        (lambda x: (x + 1) * (x.shape[0] ** x), 6.0),
        (lambda x: ts.where(x.shape[0] == x * 3, x * 5, x), 5.0),
        (lambda x: ts.where(x.shape[0] > x, x * 5, x), 5.0),
        (lambda x: x * (np.full(1, 2.0, np.float32) * x.shape[0]), 6.0),
    ):
        assert compiled({"x": "S"}, body)(ts.ones(3)).tolist() == [want] * 3
