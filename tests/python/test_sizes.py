"""Sizes of annotations: names, what follows from them, and what cannot be found."""

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
