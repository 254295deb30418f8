"""The functions made of operators: what they give at the ends of the element types, what they take for axes, sizes and indices, and what they refuse."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import tessera as ts
from tessera import op

INF, NAN = float("inf"), float("nan")


def Z(*shape):
    return np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)


def says(call, kind, *words):
    with pytest.raises(kind) as caught:
        call()
    assert isinstance(caught.value, ts.TesseraError) and all(w in str(caught.value) for w in words), str(caught.value)


# ---- sums of exponentials ----

ROWS = [[-4e38, -5e38], [0.0, 1.0], [-INF, -INF], [INF, 1.0], [INF, INF], [-INF, INF], [NAN, 1.0], [INF, NAN], [-INF, 3.0], [3e38, -3e38], [1e308, 1e308],
        [-3.3e38, -3.2e38], [1e8, 1e8], [-65504.0, -6e4]]
OF_ZERO = torch.zeros(len(ROWS), dtype=torch.int64)


@pytest.mark.parametrize("ours, theirs", [
    (op.logsumexp, lambda x: torch.logsumexp(x, -1)), (lambda x: op.logsumexp(x, 1, True), lambda x: torch.logsumexp(x, 1, True)),
    (op.log_softmax, lambda x: torch.log_softmax(x, -1)),
    (lambda x: op.cross_entropy(x, OF_ZERO, "none"), lambda x: torch.nn.functional.cross_entropy(x if x.dtype == torch.float64 else x.float(), OF_ZERO, reduction="none")),
], ids=["logsumexp", "logsumexp of kept axes", "log_softmax", "cross_entropy"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_sums_of_exponentials_at_the_ends_of_the_types(ours, theirs, dtype):
    x = torch.tensor(ROWS, dtype=torch.float64).to(dtype)
    found, wanted = ours(x), theirs(x)
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    assert torch.allclose(found.double(), wanted.double(), rtol=1e-2 if dtype.itemsize == 2 else 1e-6, equal_nan=True)


def test_a_target_that_is_no_class_has_the_loss_of_the_largest_logit():
    x = Z(2, 3)
    assert np.allclose(op.cross_entropy(x, np.array([7, 2]), "none"), op.cross_entropy(x, np.array([2, 2]), "none"))


# ---- split ----


@pytest.mark.parametrize("sizes, words", [
    ([1, 3], "axis 1 has 5, and the parts (1, 3) add up to 4"), ([1, 3, 9], "add up to 13"), ([4, -1, 2], "a part of size -1"), ([], "add up to 0"),
])
def test_parts_that_are_not_the_whole(sizes, words):
    for f in (lambda x: op.split(x, sizes, 1), lambda x: op.split(x, sizes, -1)):
        says(lambda: f(Z(4, 5)), ValueError, words)
        says(lambda: f(ts.tensor(Z(4, 5))), ValueError, words)
        says(lambda: ts.jit(f)(Z(4, 5)), ValueError, words)


def test_parts_of_a_size_that_is_not_known():
    @ts.function
    def off(x: ts.Tensor["N", ts.f32]):
        n = x.shape[0]
        return op.split(x, [n - 1, 2], 0)[0]

    says(lambda: off(Z(4)), ValueError, "add up to")

    @ts.jit
    def fits(x: ts.Tensor["N", "M", ts.f32]):
        n = x.shape[0]
        return op.split(x, [1, n - 1], 0)

    a, b = fits(Z(3, 2))
    assert np.array_equal(a, Z(3, 2)[:1]) and np.array_equal(b, Z(3, 2)[1:])


def test_parts():
    x = Z(4, 5)
    for sizes in ([1, 4], [2, 0, 3], [np.int64(1), np.int64(4)], [5]):
        for found in (op.split(x, sizes, 1), ts.jit(lambda x: op.split(x, sizes, 1))(x)):  # noqa: B023
            assert [p.shape for p in found] == [(4, n) for n in sizes] and np.array_equal(np.concatenate(found, 1), x)
    says(lambda: op.split(x, [4], 2), ValueError, "axis 2 of a tensor of rank 2")
    says(lambda: op.split(x, [1.5, 3.5], 1), TypeError, "not float")


# ---- numbers of NumPy ----


def test_integers_of_numpy_are_indices():
    x = Z(3, 4)
    i, j = np.int64(1), np.int32(-1)
    for take in (lambda x: x[i], lambda x: x[j], lambda x: x[i, j], lambda x: x[np.uint8(2), None, np.int8(0) : j], lambda x: x[i:], lambda x: x[:, :: np.int16(2)]):
        for y in (take(ts.tensor(x)), ts.jit(lambda x: take(x))(x)):  # noqa: B023
            assert np.array_equal(y, take(x))

    @ts.jit
    def open_size(x: ts.Tensor["N", 4, ts.f32]):
        return x[np.int64(1) :, : np.int64(-1)], x[: np.int64(-1)]

    a, b = open_size(x)
    assert np.array_equal(a, x[1:, :-1]) and np.array_equal(b, x[:-1])

    class Three:
        def __index__(self):
            return 3

    assert ts.tensor(x)[0, Three()].item() == 3
    for bad in (np.float32(1), np.bool_(True), 1.0, True, np.array(1), ts.tensor(1), torch.tensor(1)):
        says(lambda: ts.tensor(x)[bad], TypeError, "an index is")  # noqa: B023
    with pytest.raises(IndexError):
        ts.tensor(x)[np.int64(3)]


def test_numbers_of_numpy_in_lists():
    for data, dtype in (([np.float32(1.5)], "f32"), ([[np.float64(1.5), 2], [np.int8(3), np.bool_(True)]], "f32"), ([np.int32(4), 5], "int64"), ([np.bool_(True)], "bool"),
                        ([np.complex64(1j)], "complex64"), ([np.float16(0.5)], "f32")):
        t = ts.tensor(data)
        assert t.dtype == dtype and np.array_equal(t.numpy(), np.array(data, t.numpy().dtype))
    assert ts.tensor([np.float32(1.5)], dtype="f64").tolist() == [1.5]
    for bad in ([np.str_("a")], [np.array([1.0])], [object()]):
        with pytest.raises((TypeError, ValueError)):
            ts.tensor(bad)


# ---- axis and dim ----

X3 = Z(2, 3, 4) % 5
BY_AXIS = ["sum", "mean", "max", "min", "argmax", "softmax", "std", "var"]


@pytest.mark.parametrize("name", [*BY_AXIS, "logsumexp", "log_softmax"])
def test_dim_is_axis(name):
    f = getattr(op, name)
    want = f(X3, axis=1)
    for y in (f(X3, dim=1), f(X3, 1), ts.jit(lambda x: f(x, dim=1))(X3)):
        assert np.array_equal(y, want)
    says(lambda: f(X3, 1, dim=1), TypeError, "axis and dim are two words")
    says(lambda: f(X3, axis=0, dim=1), TypeError, "give one")
    if name in BY_AXIS:
        m = lambda x, **kw: getattr(x, name)(**kw)
        for y in (m(ts.tensor(X3), dim=1), m(ts.tensor(X3), axis=1), ts.jit(lambda x: m(x, dim=1))(X3)):
            assert np.array_equal(y, want)
        says(lambda: m(ts.tensor(X3), axis=1, dim=1), TypeError, "give one")


@pytest.mark.parametrize("f, want", [
    (lambda x, **kw: op.concat([x, x], **kw), lambda x, a: np.concatenate([x, x], a)), (lambda x, **kw: op.cat([x, x], **kw), lambda x, a: np.concatenate([x, x], a)),
    (lambda x, **kw: op.stack([x, x], **kw), lambda x, a: np.stack([x, x], a)), (lambda x, **kw: op.split(x, 3, **kw)[0], lambda x, a: np.split(x, 3, a)[0]),
    (lambda x, **kw: op.gather(x, np.array([0, 2]), **kw), lambda x, a: np.take(x, [0, 2], a)), (lambda x, **kw: op.unsqueeze(x, **kw), np.expand_dims),
    (lambda x, **kw: op.squeeze(x[:, :1], **kw), lambda x, a: np.squeeze(x[:, :1], a)),
    (lambda x, **kw: op.cross_entropy(x, np.zeros((2, 4), np.int64), "none", **kw),
     lambda x, a: torch.nn.functional.cross_entropy(torch.tensor(x), torch.zeros(2, 4, dtype=torch.int64), reduction="none")),
    (lambda x, **kw: ts.tensor(x).gather(np.array([0, 2]), **kw), lambda x, a: np.take(x, [0, 2], a)), (lambda x, **kw: ts.tensor(x).unsqueeze(**kw), np.expand_dims),
    (lambda x, **kw: ts.tensor(x).split(3, **kw)[0], lambda x, a: np.split(x, 3, a)[0]), (lambda x, **kw: ts.tensor(x[:, :1]).squeeze(**kw), lambda x, a: np.squeeze(x[:, :1], a)),
])
def test_dim_is_axis_elsewhere(f, want):
    for y in (f(X3, dim=1), f(X3, axis=1)):
        assert np.allclose(np.asarray(y), np.asarray(want(X3, 1)), atol=1e-5)
    says(lambda: f(X3, axis=1, dim=1), TypeError, "give one")


def test_axes_that_are_not_named():
    assert op.concat([Z(2, 3), Z(2, 3)]).shape == (4, 3) and op.stack([Z(2, 3)] * 2).shape == (2, 2, 3) and op.gather(Z(2, 3), np.array([1])).shape == (1, 3)
    assert np.allclose(op.softmax(Z(2, 3)).sum(-1), 1) and op.logsumexp(Z(2, 3)).shape == (2,) and op.sum(Z(2, 3)).shape == ()
    says(lambda: op.unsqueeze(Z(2)), TypeError, "which axis")


def test_numpys_functions_take_tensors():
    t = ts.tensor(X3)
    for f in (np.sum, np.mean, np.max, np.min, np.std, np.var, np.argmax):
        for kw in ({}, {"axis": 1}, {"axis": 1, "keepdims": True}):
            y = f(t, **kw)
            assert isinstance(y, ts.Tensor) and np.allclose(y.numpy(), f(X3, **kw), atol=1e-6), f
    says(lambda: np.sum(t, dtype=np.float64), TypeError, "'dtype'", "tessera.sum", "tessera.cast")
    says(lambda: np.mean(t, 0, out=np.zeros((3, 4), np.float32)), TypeError, "'out'", "tessera.mean")
    says(lambda: np.std(t, ddof=1), TypeError, "ddof")


# ---- shapes ----


def test_flatten_and_squeeze():
    x = Z(2, 1, 3, 1)
    for of in (lambda f: f(x), lambda f: f(ts.tensor(x)), lambda f: ts.jit(lambda x: f(x))(x)):
        for f, shape in ((lambda x: op.flatten(x, 1, 2), (2, 3, 1)), (lambda x: op.flatten(x, -2), (2, 1, 3)), (op.flatten, (6,)), (lambda x: op.squeeze(x, (1, 3)), (2, 3)),
                         (lambda x: op.squeeze(x, [-1]), (2, 1, 3)), (lambda x: op.squeeze(x, dim=(1, -1)), (2, 3)), (lambda x: op.squeeze(x, ()), (2, 1, 3, 1))):
            assert of(f).shape == shape
        for f, words in ((lambda x: op.flatten(x, 2, 1), "lies before it"), (lambda x: op.flatten(x, 5), "axis 5 of a tensor of rank 4"), (lambda x: op.flatten(x, 0, -5), "axis -5"),
                         (lambda x: op.squeeze(x, (1, 2)), "axis 2"), (lambda x: op.squeeze(x, (1, -3)), "twice"), (lambda x: op.squeeze(x, 4), "axis 4"),
                         (lambda x: op.unsqueeze(x, 6), "axis 6")):
            says(lambda: of(f), ValueError, words)  # noqa: B023
        for f in (lambda x: op.flatten(x, "a"), lambda x: op.squeeze(x, 1.0), lambda x: op.unsqueeze(x, "a"), lambda x: op.split(x, [1, 2], "a")):
            says(lambda: of(f), TypeError, "an axis is an int, not ")  # noqa: B023
    assert op.flatten(np.float32(3).reshape(())).shape == (1,) and ts.ones(2, 1).squeeze((1,)).shape == (2,)


def test_a_broadcast_is_not_written_to():
    x = np.ones((1, 4), np.float32)
    for y in (op.broadcast_to(x, (3, 4)), op.broadcast(x, (3, 4))):
        with pytest.raises(ValueError, match="read-only"):
            y[0, 0] = 5
    assert x.flags.writeable and op.reshape(x, (4,)).flags.writeable and (x == 1).all()


# ---- names ----


def test_submodules_that_pages_name_are_there_and_wait_until_they_are_asked_for():
    words = "import sys, tessera; assert 'tessera.cache' not in sys.modules and 'tessera.aot' not in sys.modules; print(callable(tessera.cache.clear))"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_functions_whose_names_are_no_names_of_c():
    @ts.jit
    def naïve(x):
        return x + 1

    @ts.jit
    def 加(x):
        return x + 2

    assert np.array_equal(naïve(Z(3)), Z(3) + 1) and np.array_equal(加(Z(3)), Z(3) + 2) and np.array_equal(ts.jit(naïve.fn)(Z(2)), Z(2) + 1)
    assert ts.jit(type("Λ", (ts.Module,), {"forward": lambda self, x: x * 2})())(Z(3)).shape == (3,)
