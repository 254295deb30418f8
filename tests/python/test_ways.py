"""The quick ways of calls: operators on data and compiled modules are found by what their arguments are, and nothing that matters is overlooked."""

import gc
import math
import threading
import weakref

import numpy as np
import pytest
import tessera as ts
from tessera import _core, ops
from tessera._apply import ways

ts.set_default_device("cpu")


def t(*rows, dtype="f32"):
    return ts.tensor(list(rows), dtype=dtype, device="cpu")


# ---- operators ----


def test_what_equal_numbers_do_not_share():
    x = t(1.0, 2.0)
    for _ in range(3):
        assert [math.copysign(1, v) for v in ops.pad(x, [1], [0], value=0.0).tolist()] == [1, 1, 1]
        assert [math.copysign(1, v) for v in ops.pad(x, [1], [0], value=-0.0).tolist()] == [-1, 1, 1]
        assert ops.pad(x, [1], [0], value=1).tolist() == ops.pad(x, [1], [0], value=1.0).tolist() == [1, 1, 2]
        assert math.isnan(ops.pad(x, [1], [0], value=float("nan")).tolist()[0])
    m = t([1.0, 2.0], [3.0, 5.0])
    for _ in range(3):
        assert ts.sum(m, 1).tolist() == [3, 8] and ts.sum(m, 1, True).tolist() == [[3], [8]] and ts.sum(m, [0, 1]).tolist() == 11
        assert ts.sum(m, np.int64(0)).tolist() == [4, 7] and ts.sum(m, (-1,)).tolist() == [3, 8]
        with pytest.raises(TypeError):
            ts.sum(m, 1.0)
        with pytest.raises(TypeError):
            ts.sum(m, 1, "yes")


def test_numbers_are_operands_or_constants():
    x, i = t(1.0, 4.0), t(7, -3, dtype="int64")
    for n in (2.0, 0.5, 3, 1e-3):
        for _ in range(2):
            assert (x * n).tolist() == pytest.approx([n, 4 * n]) and (n - x).tolist() == pytest.approx([n - 1, n - 4])
            assert (x**n).tolist() == pytest.approx([1.0, 4.0**n], rel=1e-5)
    assert (i * 2).tolist() == [14, -6] and (True + i).tolist() == [8, -2]
    for _ in range(2):
        with pytest.raises((TypeError, ValueError)):
            i * 2.5
    before = ways.entries
    for k in range(200):
        assert (x + k).tolist() == [1 + k, 4 + k]
    assert ways.entries - before <= 1


def test_patterns_are_kept_apart():
    a = {n: np.random.random_sample(n).astype("f4") if n else np.array(0.5, "f4") for n in [(3, 4), (4, 4), (1, 4), (3, 1), (4,), (1,), (), (0, 4), (2, 3, 4)]}
    for _ in range(3):
        for m, x in a.items():
            for n, y in a.items():
                try:
                    want = x + y
                except ValueError:
                    with pytest.raises(ValueError):
                        ts.as_tensor(x) + y
                    continue
                got = ts.as_tensor(x) + ts.as_tensor(y)
                assert got.shape == want.shape and (got.numpy() == want).all(), (m, n)


def test_results_are_of_the_operands_kind():
    torch = pytest.importorskip("torch")
    n = np.arange(4, dtype="f4")
    for _ in range(3):
        assert isinstance(ops.add(n, n), np.ndarray) and isinstance(ops.add(torch.tensor(n), n), torch.Tensor)
        assert isinstance(ops.add(ts.as_tensor(n), n), ts.Tensor) and isinstance(ops.add(n, 1.0), np.ndarray)
        with pytest.raises(TypeError, match="grad"):
            ops.add(torch.tensor(n, requires_grad=True), 1.0)
        with pytest.raises(TypeError):
            ops.add(n, "a")
        with pytest.raises(TypeError):
            ops.add(n, [1.0])


def test_policies_and_traces_go_round_the_ways():
    x = ts.randn(40, 40)
    plain = (x @ x).tolist()
    with ts.numeric.NumericPolicy(accum="f64"):
        wide = (x @ x).tolist()
    assert (x @ x).tolist() == plain
    a = np.array(x.tolist())
    # sums in f64, one rounding to f32: half of its step, and what 40 sums in f64 err
    assert (np.abs(np.array(wide) - a @ a) <= 2.0**-24 * np.abs(a @ a) + 48 * 2.0**-53 * (np.abs(a) @ np.abs(a))).all()
    assert wide != plain

    @ts.jit
    def f(a):
        return a @ a + ts.nn.log_softmax(a)

    ts.nn.log_softmax(x)
    assert f(x).shape == (40, 40)
    with ts.numeric.NumericPolicy(accum="f64"):
        assert "accum = f64" in f.tg(x) and f(x).shape == (40, 40)
    assert "accum = f64" not in f.tg(x)


def test_composites():
    x, i = ts.randn(3, 5), t(0, 4, 2, dtype="int64")
    a = x.numpy()
    for _ in range(3):
        assert np.allclose(ts.nn.log_softmax(x).numpy(), a - np.log(np.exp(a).sum(-1, keepdims=True)), atol=1e-5)
        assert np.allclose(ts.nn.log_softmax(x, 0).numpy(), a - np.log(np.exp(a).sum(0, keepdims=True)), atol=1e-5)
        assert np.allclose(ops.logsumexp(x, axis=-1, keepdims=True).numpy(), np.log(np.exp(a).sum(-1, keepdims=True)), atol=1e-5)
        assert ts.nn.cross_entropy(x, i).shape == () and ts.nn.cross_entropy(x, i, reduction="none").shape == (3,)
        with pytest.raises(ValueError, match="reduction"):
            ts.nn.cross_entropy(x, i, reduction="more")


def test_a_way_is_made_once(monkeypatch, cache_folder):
    from tessera import backend

    made = []
    real = backend.build
    monkeypatch.setattr(backend, "build", lambda *a, **k: made.append(1) or real(*a, **k))
    x = ts.randn(3, 17, 2, 2, 2, 5)
    start = threading.Barrier(16)
    out = []

    def work():
        start.wait()
        out.append(ops.sub(x, x).tolist())

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len(out) == 16 and all(o == out[0] for o in out)


def test_ways_refuse():
    w = _core.Ways()
    x = t(1.0)
    for wrong in ((), ("add",), ("add", (x, x)), ("add", (x, x), (), 1)):
        with pytest.raises(TypeError):
            w.run_op(*wrong)
    with pytest.raises(TypeError, match="Callable"):
        w.add("add", (x, x), (), True, len, 0)
    assert w.run_op("add", (x, x), ()) is NotImplemented and w.run_op("add", (x, object()), ()) is NotImplemented
    assert w.run_op("add", (1.0, 2), ()) is NotImplemented and w.run_function("f", (x, 2**80), {}) is NotImplemented
    assert w.run_function("f", (x, "\ud800"), {3.5: x}) is NotImplemented
    own = []
    own.append(own)
    with pytest.raises(ValueError, match="nested"):
        w.run_op("add", (x, own), ())
    assert w.entries == 0


# ---- views ----


def test_views_are_views():
    x = ts.randn(4, 6, 3)
    n = x.numpy()
    for index in (0, -1, (1, 2), (1, 2, -3), slice(1, 3), slice(None, None, 2), (..., 0), (0, ..., 1), None, (None, 0, None), (slice(-2, None), 3), slice(3, 1), slice(2, 99),
                  (slice(None), slice(5, 0), 1), ..., (), (slice(1, 4, 2), slice(0, 6, 5))):
        got, want = x[index], np.asarray(n[index])
        assert got.shape == want.shape and (np.asarray(got) == want).all(), index
        assert not want.size or want.base is None or got.data_ptr == want.ctypes.data, index
    for wrong in (4, -5, (0, 6), (0, 0, 0, 0), (..., ...), "a", 1.5, True, slice(None, None, -1), (slice(None, None, 0),)):
        with pytest.raises((IndexError, ValueError, TypeError)):
            x[wrong]
    assert x.T.shape == (4, 3, 6) and x.reshape(2, -1).shape == (2, 36) and [p.shape for p in x.split(3, axis=1)] == [(4, 2, 3)] * 3
    assert x.T.data_ptr == x.data_ptr == x.reshape(2, -1).data_ptr == x.expand(2, 4, 6, 3).data_ptr


# ---- functions ----


def test_constants_of_a_call():
    seen = []

    @ts.jit
    def f(x, k=2, mode="mul", flag=None, dtype=ts.f32):
        seen.append((k, mode, flag, dtype))
        y = x * k if mode == "mul" else x + k
        return y.astype(dtype) if flag is None else y

    x = t(1.0, 2.0)
    for _ in range(3):
        assert f(x).tolist() == [2, 4] and f(x, 3).tolist() == [3, 6] and f(x, 3, "add").tolist() == [4, 5] and f(x, mode="add").tolist() == [3, 4]
        assert f(x=x, k=3).tolist() == [3, 6] and f(x, dtype=ts.bf16).dtype == ts.bf16 and f(x, flag=True).tolist() == [2, 4]
        assert f(x, 3.0).tolist() == [3, 6] and f(x, True).tolist() == [1, 2]
        assert [math.copysign(1, v) for v in f(x, 0.0).tolist()] == [1, 1] and [math.copysign(1, v) for v in f(x, -0.0).tolist()] == [-1, -1]
    assert len(seen) == 10
    for wrong in (lambda: f(), lambda: f(x, 1, k=2), lambda: f(x, z=1), lambda: f(x, 1, "mul", None, ts.f32, 5)):
        with pytest.raises(TypeError, match="f: "):
            wrong()


def test_keyword_only_and_kinds():
    @ts.jit
    def f(x, /, y, *, scale: float, z=None):
        out = x + y * scale
        return out if z is None else {"out": out + z, "z": [z]}

    x, y = t(1.0), t(2.0)
    for _ in range(3):
        assert f(x, y, scale=3).tolist() == [7] and f(x, y=y, scale=4.0).tolist() == [9]
        got = f(x, y, z=x, scale=1)
        assert got["out"].tolist() == [4] and got["z"][0].tolist() == [1]
        for wrong in (lambda: f(x, y), lambda: f(x=x, y=y, scale=1), lambda: f(x, y, 3)):
            with pytest.raises(TypeError):
                wrong()


def test_hidden_inputs():
    table = ts.randn(40, 40)

    @ts.jit
    def f(x):
        return x @ table

    @ts.jit
    def noise(x):
        return x + ts.randn(3)

    x = ts.randn(2, 40)
    assert all(np.allclose(f(x).numpy(), x.numpy() @ table.numpy(), atol=1e-4) for _ in range(3)) and f._fast.entries == 1
    assert len({tuple(noise(t(0.0, 0.0, 0.0)).tolist()) for _ in range(4)}) == 4


class Layer(ts.Module):
    def __init__(self, n, scale=1.0):
        super().__init__()
        self.w = ts.randn(n, n)
        self.scale = scale

    def forward(self, x: ts.Tensor["N", "D", ts.f32], bias=None):
        y = x @ self.w * self.scale if self.training else x @ self.w
        return y if bias is None else y + bias


class Two(ts.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = Layer(4), Layer(4, 2.0)

    def forward(self, x):
        return self.b(self.a(x)), self.a.w


def test_compiled_modules_see_changes():
    m = Two()
    f = ts.jit(m)
    x = ts.randn(3, 4)

    def agrees():
        got, want = f(x), m(x)
        return np.allclose(got[0].numpy(), want[0].numpy(), atol=1e-4) and (got[1].numpy() == want[1].numpy()).all()

    assert agrees() and agrees()
    m.a.w = ts.randn(4, 4)
    assert agrees()
    m.b.scale = 3.0
    assert agrees()
    m.eval()
    assert agrees() and not f.training
    f.train()
    assert agrees() and m.training
    m.load_state_dict({k: ts.randn(4, 4) for k in m.state_dict()})
    assert agrees()
    m.a = Layer(4, 0.5)
    assert agrees()
    f.b = Layer(4, 0.25)
    assert m.b.scale == 0.25 and agrees()
    m.b.w = np.ones((4, 4), "f4")
    assert agrees()
    m.b.w[...] = 2
    assert agrees()
    with pytest.raises(ValueError, match="argument 'x'|sizes|inner|differ"):
        f(ts.randn(3, 5))
    entries = f.function._fast.entries
    for _ in range(20):
        f(x)
    assert f.function._fast.entries == entries


def test_annotations_of_forward_hold():
    f = ts.jit(Layer(4))
    for n in (1, 2, 7):
        assert f(ts.randn(n, 4)).shape == (n, 4)
        assert f(ts.randn(n, 4), bias=ts.ones(4)).shape == (n, 4) and f(x=ts.randn(n, 4)).shape == (n, 4)
    with pytest.raises(TypeError, match="argument 'x': wanted f32"):
        f(ts.ones(2, 4, dtype=ts.f64))


def test_modules_as_arguments():
    @ts.jit
    def f(model, x, again=True):
        y = model(x)[0]
        return model(y)[0] if again else y

    ms = [Two() for _ in range(3)]
    x = ts.randn(2, 4)
    for _ in range(3):
        for m in ms:
            assert np.allclose(f(m, x).numpy(), m(m(x)[0])[0].numpy(), rtol=1e-3, atol=1e-3)
            assert np.allclose(f(m, x, again=False).numpy(), m(x)[0].numpy(), atol=1e-4)
            m.a.w = ts.randn(4, 4)

    class Mine(ts.Module):
        def __init__(self):
            super().__init__()
            self.w = ts.ones(3)

        @ts.jit
        def forward(self, x):
            return x + self.w

        @ts.jit
        def twice(self, x):
            return self.forward(self.forward(x))

    m = Mine()
    assert m(t(0.0, 1.0, 2.0)).tolist() == [1, 2, 3] and m.twice(t(0.0, 1.0, 2.0)).tolist() == [2, 3, 4] and ts.jit(m)(t(0.0, 1.0, 2.0)).tolist() == [1, 2, 3]
    m.w = t(5.0, 5.0, 5.0)
    assert m.twice(t(0.0, 1.0, 2.0)).tolist() == [10, 11, 12] and ts.jit(m)(t(0.0, 1.0, 2.0)).tolist() == [5, 6, 7]


def test_what_is_dropped_is_collected():
    m = Two()
    f = ts.jit(m)

    @ts.jit
    def g(x, w):
        return {"y": x @ w["w"]}

    x = ts.randn(2, 4)
    f(x), f(x), g(x, {"w": m.a.w}), g(x, {"w": m.a.w})
    gone = [weakref.ref(m), weakref.ref(f.function), weakref.ref(g)]
    del m, f, g
    gc.collect()
    assert [w() for w in gone] == [None] * 3
