"""Calls and declarations that are refused at once, and what their errors say: which argument, what was wanted, what was found."""

import numpy as np
import pytest

import tessera as ts


def Z(*shape):
    return np.ones(shape, np.float32)


def says(call, kind, *words):
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert isinstance(caught.value, ts.TesseraError) and all(w in text for w in words), text
    return text


# ---- what a kernel writes ----


@ts.kernel
def half(X: ts.Tile["N", "M", ts.f32], Y: ts.Tile["N", "M", ts.f32]):
    for i in ts.tile.range(X.shape[0], step=64):
        ts.tile.store(Y[i : i + 64], ts.tile.load(X[i : i + 64]) * 0.5)


@ts.kernel
def heads(X: ts.Tile["B*H", "S", ts.f32], W: ts.Tile["B*H", ts.f32], Y: ts.Tile["B*H", "S", ts.f32]):
    ts.tile.store(Y, ts.tile.load(X) * ts.tile.load(W))


@pytest.mark.parametrize("dtype, name", [(np.int32, "int32"), (bool, "bool"), (np.float64, "f64"), (np.float16, "f16")])
def test_a_result_of_another_type_is_not_converted(dtype, name):
    torch = pytest.importorskip("torch")
    y = np.zeros((2, 3), dtype)
    for given in (y, torch.from_numpy(y), ts.as_tensor(y)):
        says(lambda: half(Z(2, 3), given), TypeError, "'Y'", "wanted f32[N, M]", f"found {name}[2, 3]")  # noqa: B023
    assert not y.any()
    y = np.zeros((2, 3), np.float32)
    half(Z(2, 3), torch.from_numpy(y))
    assert (y == 0.5).all()


def test_what_cannot_be_written():
    y = Z(2, 3)
    y.flags.writeable = False
    says(lambda: half(Z(2, 3), y), ValueError, "'Y'", "read-only")
    says(lambda: half(Z(2, 3), "text"), TypeError, "'Y'", "found str")
    says(lambda: half(Z(2, 3), Z(3)), ValueError, "'Y'", "wanted f32[N, M]", "found f32[3]")
    jax = pytest.importorskip("jax")
    j = jax.numpy.zeros((2, 3))
    says(lambda: half(Z(2, 3), j), TypeError, "'Y'", "JAX")
    says(lambda: half(Z(2, 3), ts.from_dlpack(j)), ValueError, "'Y'", "read-only")
    assert not np.asarray(j).any()


def test_a_kernel_speaks_of_sizes_as_they_are_written():
    text = says(lambda: heads(Z(6, 5), Z(5)), ValueError, "'W'", "wanted f32[B*H]", "found f32[5]", "B*H is 6")
    assert "one_" not in text and "B_H" not in text


# ---- whose memory may be written ----


class Producer:
    """Hands out what NumPy has, as a library that nobody knows."""

    def __init__(self, x, versioned):
        self.x, self.versioned = x, versioned

    def __dlpack__(self, **how):
        return self.x.__dlpack__(**(how if self.versioned else {}))

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()


def test_arrays_of_jax_stay_as_they_are():
    jnp = pytest.importorskip("jax.numpy")
    j = jnp.arange(4.0)
    for t in (ts.from_dlpack(j), ts.as_tensor(j), ts.from_dlpack(j)[1:]):
        assert t.read_only and not np.asarray(t).flags.writeable
        with pytest.raises(ValueError):
            np.asarray(t)[0] = 99
    assert (j == jnp.arange(4.0)).all()


def test_an_unversioned_capsule_of_a_stranger_is_not_written():
    x = Z(3)
    assert ts.from_dlpack(Producer(x, False)).read_only
    assert not ts.from_dlpack(Producer(x, True)).read_only  # a versioned one has a flag for it
    assert not ts.from_dlpack(x).read_only
    torch = pytest.importorskip("torch")
    t = torch.zeros(3)
    for a in (ts.from_dlpack(t), ts.from_dlpack(torch.utils.dlpack.to_dlpack(t)), ts.as_tensor(t)):
        np.asarray(a)[0] += 1.0  # in place, as PyTorch's users do
    assert t.tolist() == [3.0, 0.0, 0.0]


def test_masked_arrays():
    m = np.ma.masked_array(Z(3), mask=[0, 1, 0])
    f = ts.function(lambda x: x + 1.0)
    says(lambda: ts.op.sum(m), TypeError, "sum", "mask")
    says(lambda: f(m), TypeError, "'x'", "mask")

    @ts.function
    def g(x: ts.Tensor["N", ts.f32]):
        return x + 1.0

    for _ in range(2):
        says(lambda: g(m), TypeError, "'x'", "f32[N]", "MaskedArray", "mask")
        g(Z(3))
    with pytest.raises(TypeError):
        ts.as_tensor(m)
    assert ts.op.sum(m.filled(0.0)) == 2.0


# ---- which arguments ----


def test_a_parameter_by_name_alone_stays_so():
    @ts.function
    def g(x: ts.Tensor["N", ts.f32], *, y: ts.Tensor["N", ts.f32]):
        return x - y

    a = Z(3)
    for _ in range(2):
        says(lambda: g(a, a), TypeError, "positional")
        assert not g(a, y=a).any()


@pytest.mark.parametrize("value", [np.int64(3), np.float16(3), np.float32(3), np.float64(3), np.uint8(3), 3, 3.0])
def test_numbers_of_numpy(value):
    @ts.function
    def g(x: ts.Tensor["N", ts.f32], k: float, n: int):
        return x * k + n * 1.0

    for _ in range(2):
        assert g(Z(2), value, np.int64(2)).tolist() == [5.0, 5.0]
        assert g(Z(2), k=value, n=2).tolist() == [5.0, 5.0]
        assert g(Z(2), np.bool_(True), 2).tolist() == [3.0, 3.0]


@ts.function
def constants(x: ts.Tensor["N", ts.f32], times: int = None, flag: bool = False, way: str = "as is"):
    return x * (times or 1) if flag else -x if way == "turned" else x


@ts.function
def constants_inside(x: ts.Tensor["N", ts.f32], times):
    return constants(x, times, True)


def test_constants_are_of_their_type():
    x = np.arange(1, 4, dtype=np.float32)
    for args, factor in 2 * [((), 1), ((2, True), 2), ((np.int64(3), np.bool_(True)), 3), ((None, False, "turned"), -1), ((True, True), 1)]:
        assert np.array_equal(constants(x, *args), factor * x), args
    assert np.array_equal(constants_inside(x, 2), 2 * x)
    for args, name, wanted, found in [
        ((2.0,), "times", "an int", "float"), (("2",), "times", "an int", "str"), ((x,), "times", "an int", "ndarray"), (([2],), "times", "an int", "list"),
        ((2, 1), "flag", "a bool", "int"), ((2, None), "flag", "a bool", "NoneType"), ((2, True, 3), "way", "text", "int"), ((2, True, None), "way", "text", "NoneType"),
    ]:
        with pytest.raises(ts.ArgumentTypeError, match=f"'{name}': wanted {wanted}, found {found}"):
            constants(x, *args)
    with pytest.raises(ts.ArgumentTypeError, match="'times': wanted an int, found float"):
        constants_inside(x, 2.5)


def test_numbers_beyond_floats():
    @ts.function
    def g(x: ts.Tensor["N", ts.f32], k: float, n: ts.Tensor[ts.int8]):
        return x * k

    for _ in range(2):
        for huge in (10**400, -(10**5000)):
            says(lambda: g(Z(2), huge, 1), ValueError, "'k'", "wanted", "found")  # noqa: B023
        for n in (300, 10**400):
            says(lambda: g(Z(2), 1.0, n), ValueError, "'n'", "wanted int8[]", "found a number")  # noqa: B023
        g(Z(2), 1.0, 1)


@pytest.mark.parametrize("bad, found", [(3.0, "float"), (None, "NoneType"), ("text", "str"), ({"a": Z(3, 4)}, "dict"), ([Z(3, 4)], "list")])
def test_a_dict_of_tensors_holds_tensors(bad, found):
    @ts.function
    def g(x: ts.Tensor["A", "B", ts.f32], d: ts.Dict[str, ts.Tensor["B", "C", ts.f32]]):
        return {k: x @ v for k, v in d.items()}

    says(lambda: g(Z(2, 3), {"p": Z(3, 4), "q": bad}), TypeError, "'d.q'", "wanted f32[B, C]", f"found {found}")
    h = ts.function(g.fn)
    h.fn.__annotations__["d"] = ts.Dict[str, ts.Tensor]
    says(lambda: h(Z(2, 3), {"p": Z(3, 4), "q": bad}), TypeError, "'d.q'", "wanted a tensor", f"found {found}")
    says(lambda: g(Z(2, 3), {1: Z(3, 4)}), TypeError, "'d'", "wanted keys of text", "found 1")
    says(lambda: g(Z(2, 3), {"p": Z(3, 4), "q": Z(3, 5)}), ValueError, "'d.q'", "C is 4 by argument 'd.p'")


# ---- derived sizes ----


def test_derived_sizes_as_they_are_written():
    @ts.function
    def scaled(x: ts.Tensor["B", "3*D", ts.f32], w: ts.Tensor["D", ts.f32]):
        return x[:, : w.shape[0]] * w

    says(lambda: scaled(Z(2, 11), Z(3)), ValueError, "'x'", "wanted f32[B, 3*D]", "found f32[2, 11]", "3*D is 9 (D is 3 by argument 'w'), found 11")
    says(lambda: scaled(Z(2, 9), Z(4)), ValueError, "'x'", "3*D is 12 (D is 4 by argument 'w'), found 9")

    @ts.function
    def alone(x: ts.Tensor["3*D", "2*S-1", ts.f32]):
        return x + 1.0

    says(lambda: alone(Z(10, 7)), ValueError, "'x'", "wanted f32[3*D, 2*S-1]", "found f32[10, 7]", "3*D cannot be 10")
    says(lambda: alone(Z(9, 8)), ValueError, "'x'", "2*S-1 cannot be 8")

    @ts.function
    def product(x: ts.Tensor["B*H", "S", ts.f32], y: ts.Tensor["B", ts.f32]):
        return x.reshape("B", "H", "S") * y.reshape("B", 1, 1)

    says(lambda: product(Z(7, 5), Z(2)), ValueError, "'x'", "wanted f32[B*H, S]", "B*H cannot be 7 (B is 2 by argument 'y')")
    says(lambda: product(Z(6, 5).astype(np.int32), Z(2)), TypeError, "'x'", "wanted f32[B*H, S]", "found int32[6, 5]")

    @ts.function
    def whole(x: ts.Tensor["B*H", "S", ts.f32], y: ts.Tensor["H*B", ts.f32]):
        return x * y.reshape(-1, 1)

    says(lambda: whole(Z(6, 5), Z(5)), ValueError, "'y'", "wanted f32[H*B]", "H*B is 6 by argument 'x'")
    says(lambda: whole(Z(0, 5), Z(0)), ValueError, "'x'", "B*H is at least 1")

    @ts.function
    def halves(x: ts.Tensor["S", ts.f32], y: ts.Tensor["S//2", ts.f32]):
        return x[: y.shape[0]] + y

    says(lambda: halves(Z(7), Z(4)), ValueError, "'y'", "S//2 is 3 (S is 7 by argument 'x'), found 4")

    eight = ts.sym("M", multiple_of=8, max=64)

    @ts.function
    def ranged(x: ts.Tensor[eight, ts.f32]):
        return x + 1.0

    for n in (12, 72):
        says(lambda: ranged(Z(n)), ValueError, "'x'", f"found f32[{n}]", "M is at least 1 and at most 64, a multiple of 8")  # noqa: B023


# ---- annotations ----


@pytest.mark.parametrize("kind, words", [
    (dict(multiple_of=0), "'multiple_of': wanted 1 or more, found 0"),
    (dict(min=5, max=3), "at least 5, at most 3"),
    (dict(min=5, max=7, multiple_of=8), "a multiple of 8"),
    (dict(min=-1), "'min'"),
    (dict(max=2.5), "'max': wanted an int, found float"),
])
def test_symbols_that_no_size_fits(kind, words):
    says(lambda: ts.sym("S", **kind), (TypeError, ValueError), words)


def test_any_number_of_axes():
    @ts.function
    def rows(x: ts.Tensor[..., "D", ts.f32], w: ts.Tensor["D", ts.f32]):
        return x * w

    for shape in ((4,), (2, 4), (3, 2, 4), (2, 4)):
        assert rows(Z(*shape), Z(4)).shape == shape
    says(lambda: rows(Z(2, 5), Z(4)), ValueError, "'w'", "found f32[4]")
    says(lambda: rows(np.float32(1).reshape(()), Z(4)), ValueError, "'x'", "wanted f32[..., D]", "found f32[]")
    says(lambda: ts.Tensor[..., "D", ..., ts.f32], ValueError, "once")
    assert repr(ts.Tensor[..., "D", ts.f32]) == "tessera.Tensor[..., 'D', tessera.f32]"


# ---- words that mean one thing ----


def test_architectures():
    from tessera import compile as compiler

    assert compiler.check_archs("sm_90") == compiler.check_archs(["90a"]) == compiler.check_archs(("90", "sm_90a")) == ("sm_90",)
    assert compiler.check_archs(["89", "80"]) == ("sm_80", "sm_89")
    for bad, kind, word in (("sm_90 ", ValueError, "'sm_90 '"), (["s"], ValueError, "'s'"), ([90], TypeError, "not int"), ("gfx942", NotImplementedError, "AMD")):
        says(lambda: compiler.check_archs(bad), kind, word)  # noqa: B023


def test_one_architecture_for_aot(tmp_path):
    @ts.function
    def g(x: ts.Tensor["N", ts.f32]):
        return x + 1.0

    ts.aot.compile(g, example_inputs=[Z(3)], output_path=tmp_path, target_archs="sm_90", quiet=True)
    assert ts.aot.load(tmp_path).manifest["architectures"] == ["x86-64", "sm_90"]


def test_targets():
    x = ts.op.tensor(("B", 4), dtype="f32")
    says(lambda: ts.graph.compile(x + 1.0, target=None), TypeError, "'target'", "wanted 'auto'", "found NoneType")
    for bad in ("nope", "sm_nope", "", "91"):
        says(lambda: ts.graph.compile(x + 1.0, target=bad), ValueError, "'target'", "wanted 'auto'", f"found {bad!r}")  # noqa: B023
    assert ts.graph.compile(x + 1.0, target="90a").target == "sm_90"


def test_words_of_random_numbers():
    says(lambda: ts.nn.dropout(ts.ones(3), p="a"), TypeError, "'p'", "wanted a number", "found str")
    says(lambda: ts.nn.dropout(ts.ones(3), p=float("nan")), ValueError, "p is from 0")
    for bad in ("a", 1.5, None):
        says(lambda: ts.manual_seed(bad), TypeError, "'seed'", "wanted an int", type(bad).__name__)  # noqa: B023
    says(lambda: ts.manual_seed(2**64), ValueError, "'seed'")
    assert ts.nn.dropout(ts.ones(3), p=np.float32(0.0)).tolist() == [1.0, 1.0, 1.0]
    ts.manual_seed(np.int64(0))


def test_accumulators_are_floats():
    for make in (lambda: ts.f32 @ ts.accum(ts.int32), lambda: ts.bf16 @ ts.int8, lambda: ts.dtypes.as_dtype("f32@bool"), lambda: ts.bf16 @ ts.accum("bool")):
        says(make, TypeError, "float type")
    assert str(ts.bf16 @ ts.accum(ts.f32)) == "bf16@f32" and str(ts.int8 @ ts.accum(ts.int32)) == "int8@int32"


def test_attention_takes_its_bias_once():
    q = ts.randn(1, 2, 4, 8)
    b = ts.zeros(4, 4)
    says(lambda: ts.nn.flash_attention(q, q, q, bias=b, attn_bias=b), TypeError, "'attn_bias'")


def test_words_of_later_releases_in_a_kernel():
    def shard(X: ts.Tile["N", ts.f32], Y: ts.Tile["N", ts.f32]):
        ts.tile.store(Y, ts.tile.load_shard(X))

    with pytest.raises(ts.NotInRelease, match="load_shard") as e:
        ts.kernel(shard)
    assert "in kernel shard" in e.value.__notes__[0] and "test_refused.py" in e.value.__notes__[0]


def test_a_cache_in_no_home(monkeypatch):
    from tessera import cache

    monkeypatch.setenv("TESSERA_CACHE", "~nobody-of-that-name/x")
    says(cache.folder, RuntimeError, "TESSERA_CACHE names '~nobody-of-that-name/x'", "no home folder")


def test_tensors_can_be_referred_to_weakly():
    import gc
    import weakref

    for make in (lambda: ts.ones(3), lambda: ts.ones(3)[1:], lambda: ts.op.exp(ts.ones(2)), lambda: ts.as_tensor(Z(2)), lambda: ts.from_dlpack(Z(2))):
        t = make()
        gone = []
        ref = weakref.ref(t, gone.append)
        assert ref() is t and not gone
        del t
        gc.collect()
        assert ref() is None and len(gone) == 1


# ---- warnings and errors of the compiler are at the user's line ----


@ts.kernel
def late(X: ts.Tile["N", "M", ts.f32], Y: ts.Tile["N", "M", ts.f32]):
    place = ts.tile.alloc_shared(64, 64, dtype=ts.f32)
    for i in ts.tile.range(X.shape[0], step=64):
        # the comment makes lines of the text others than these
        ts.tile.load_async(place, X[i : i + 64])
    ts.tile.store(Y, place * 2.0)


def line_of(text):
    with open(__file__) as f:
        return next(n for n, line in enumerate(f, 1) if text in line)


def test_a_warning_of_a_kernel_is_at_its_line(tmp_path, monkeypatch):
    monkeypatch.setenv("TESSERA_CACHE", str(tmp_path))
    with pytest.warns(ts.compile.CompilerWarning, match="W_TILE_SINK") as caught:
        late(Z(100, 64))

        @ts.function
        def around(x: ts.Tensor["A", 64, ts.f32]):
            return late(x + 1.0) * 2.0

        around(Z(100, 64))
    assert {(w.filename, w.lineno) for w in caught} == {(__file__, line_of("ts.tile.store(Y, place * " + "2.0)"))}


def test_an_error_without_a_value_is_at_the_function():
    @ts.function
    def huge(x: ts.Tensor["N", ts.f32]):
        return ts.ops.pad(x, [2**61], [0])

    says(lambda: huge(Z(3)), ts.CompileError, f"{__file__}, line {line_of('def ' + 'huge(x')}"[:-1])


def test_an_error_of_an_operator_is_at_its_line():
    @ts.function
    def wave(x: ts.Tensor["N", 8, ts.complex64]):
        a = x
        return ts.ops.fft(a)  # this line

    says(lambda: wave(np.ones((2, 8), np.complex64)), ts.CompileError, f"{__file__}, line {line_of('fft(a)  # this ' + 'line')}")


def test_a_warning_of_the_cache_is_at_the_callers_line(tmp_path, monkeypatch):
    from tessera import cache

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TESSERA_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(cache, "_fallback", None)
    with pytest.warns(cache.CacheWarning) as caught:
        ts.function(lambda x: x * 7.125)(Z(5))  # here
    assert (caught[0].filename, caught[0].lineno) == (__file__, line_of("7.125)(Z(5))  # " + "here"))


def test_errors_in_a_graph_speak_of_sizes_as_they_are_written():
    @ts.function
    def whole(x: ts.Tensor["B*H", "S", ts.f32], y: ts.Tensor["C", ts.f32]):
        return x + y.reshape(-1, 1)

    says(lambda: whole(Z(6, 5), Z(6)), ValueError, "B*H in x and C in")

    @ts.function
    def more(x: ts.Tensor["S+1", ts.f32], y: ts.Tensor["C", ts.f32]):
        return x + y

    says(lambda: more(Z(6), Z(6)), ValueError, "S+1 in x and C in y")

    @ts.function
    def scalar(x: ts.Tensor["N", ts.f32], s: float):
        return x * s

    says(lambda: scalar(Z(3), Z(1)), ValueError, "'s'", "wanted f32[], found f32[1]")


def test_what_a_run_finds_is_at_the_line_of_its_operator():
    @ts.function
    def halves(x: ts.Tensor["B", "S", ts.f32]):
        y = x + 1.0
        a, b = ts.split(y, dim=-1, sections=2)  # cut
        return a * b

    @ts.function
    def cut(x: ts.Tensor["A", "B", ts.f32]):
        return x[1:-1] * 2.0  # inner

    says(lambda: halves(Z(2, 5)), ValueError, "5 is not a multiple of 2", f"{__file__}, line {line_of('# ' + 'cut')}")
    says(lambda: cut(Z(1, 4)), ValueError, "slice", f"{__file__}, line {line_of('# ' + 'inner')}")


def test_annotations_of_the_rest_are_those_of_each():
    @ts.function
    def total(x: ts.Tensor["N", ts.f32], *more: ts.Tensor["N", ts.f32], mask: ts.Tensor["N", ts.f32] = None, **named: ts.Tensor["N", ts.f32]):
        for y in (*more, *named.values()):
            x = x + y
        return x if mask is None else x * mask

    for n in (3, 5):
        assert total(Z(n), Z(n), Z(n), k=Z(n)).tolist() == [4.0] * n
        assert total(Z(n), mask=Z(n), k=Z(n)).tolist() == [2.0] * n and total(Z(n)).tolist() == [1.0] * n
    assert len(total._variants) == 3  # sizes are open
    says(lambda: total(Z(3), Z(3), Z(4)), ValueError, "'more.1'", "wanted f32[N], found f32[4]", "N is 3 by argument 'x'")
    says(lambda: total(Z(3), k=Z(3).astype(np.int32)), TypeError, "'named.k'", "wanted f32[N], found int32[3]")
    says(lambda: total(Z(3), None), TypeError, "'more.0'", "wanted f32[N], found NoneType")
    outer = ts.function(lambda x: total(x, x, k=x))
    assert outer(Z(3)).tolist() == [3.0, 3.0, 3.0]
