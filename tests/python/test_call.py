"""Compiled graphs called from Python: results against NumPy, kinds of results, wrong calls, threads, fork, exit, memory."""

import gc
import os
import pathlib
import subprocess
import sys
import textwrap
import threading

import pytest
from tessera import _core

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
TSC = str(pathlib.Path(os.environ.get("TESSERA_BUILD") or ROOT / "build") / "tsc")

TEXT = """
tessera 1
dims N, M, K
dims E <= 64 multiple_of 8
dims 2 <= F <= 5

graph add(x: f32[N, M], y: f32[N, M]) -> (z: f32[N, M]) { z = x + y }
graph mm(a: f32[N, K], b: f32[K, M]) -> (c: f32[N, M]) { c = a @ b }
graph scale(x: f32[N], k: f32[]) -> (y: f32[N], s: f32[]) {
  y = x * k
  s = k + k
}
graph cat(x: f32[N, 4], y: f32[M, 4]) -> (z: f32[N + M, 4]) { z = concat([x, y], axis = 0) }
graph fixed(x: f32[3, 8]) -> (y: f32[3, 8]) { y = x * 2.0 }
graph ranged(x: f32[E, F]) -> (y: f32[E, F]) { y = x * 2.0 }
graph types(a: bf16[N], b: f16[N], c: int64[N], d: bool[N]) -> (a2: bf16[N], b2: f16[N], c2: int64[N], d2: bool[N]) {
  a2 = -a
  b2 = -b
  c2 = c + c
  d2 = not d
}
graph numbers(a: f32[], b: int64[], c: bool[], d: f16[], e: bf16[], f: f64[]) -> (a2: f32[], b2: int64[], c2: bool[], d2: f16[], e2: bf16[], f2: f64[]) {
  a2 = -a
  b2 = -b
  c2 = not c
  d2 = -d
  e2 = -e
  f2 = -f
}
graph many(PARAMS) -> (y: f32[N]) { y = SUM }
"""
MANY = 20
TEXT = TEXT.replace("PARAMS", ", ".join(f"x{i}: f32[N]" for i in range(MANY))).replace("SUM", " + ".join(f"x{i}" for i in range(MANY)))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calls")
    (folder / "m.tg").write_text(TEXT)
    subprocess.run([TSC, str(folder / "m.tg"), "-o", str(folder / "m.so"), "--arch", "x86-64-v2"], check=True)
    return folder / "m.so"


@pytest.fixture(scope="module")
def program(path):
    return _core.load(path)


@pytest.fixture
def graph(program):
    return lambda name, **more: _core.Callable(program, name, **more)


def f32(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("f4")


# ---- programs ----


def test_what_a_program_says(program, path):
    assert program.path == str(path) and program.name == "m" and program.archs == ()
    assert program.graphs == ("add", "mm", "scale", "cat", "fixed", "ranged", "types", "numbers", "many")
    assert program.dims == (("N", 1, None, 1), ("M", 1, None, 1), ("K", 1, None, 1), ("E", 1, 64, 8), ("F", 2, 5, 1))
    assert program.inputs("mm") == [("a", "f32", ("N", "K")), ("b", "f32", ("K", "M"))]
    assert program.inputs(4) == [("x", "f32", (3, 8))] and program.outputs("cat") == [("z", "f32", (None, 4))]
    for g, error in ((9, ValueError), (-1, ValueError), ("nothing", ValueError), (2**70, ValueError), (1.5, TypeError), (None, TypeError)):
        with pytest.raises(error, match="graph"):
            program.inputs(g)


def test_files_that_are_no_models(tmp_path, path):
    for content in (b"", b"no library", b"\x7fELF" + bytes(300), path.read_bytes()[:5000]):
        (tmp_path / "x.so").write_bytes(content)
        with pytest.raises(ValueError, match="no compiled model"):
            _core.load(tmp_path / "x.so")
    with pytest.raises(ValueError, match="exports none"):
        _core.load(_core.__file__)
    with pytest.raises(FileNotFoundError):
        _core.load(tmp_path / "missing.so")
    with pytest.raises(IsADirectoryError):
        _core.load(tmp_path)
    with pytest.raises(ValueError, match="wanted a model that"):
        _core.load(path, "other")
    for thing in (None, 3.5, object()):
        with pytest.raises(TypeError):
            _core.load(thing)
    assert _core.load(os.fsencode(path)).name == "m"
    with pytest.raises(TypeError):
        _core.Program()


def test_damaged_headers_never_crash(tmp_path, path):
    good = bytearray(path.read_bytes())
    rng = np.random.default_rng(1)
    heads = list(range(16, 64)) + list(range(len(good) - 40 * 64, len(good)))
    for _ in range(200):
        bad = bytearray(good)
        for at in rng.choice(heads, 3):
            bad[at] = rng.integers(256)
        (tmp_path / "x.so").write_bytes(bad)
        try:
            _core.load(tmp_path / "x.so", "missing")  # read, never run
        except (ValueError, OSError):
            pass


def test_callable_arguments(program):
    for args, error in [((), TypeError), ((3,), TypeError), ((program, "x"), ValueError), ((program, 0, ["a"]), ValueError), ((program, 0, [1, 2]), TypeError),
                        ((program, 0, 3), TypeError), ((program, 0, None, "gpu"), ValueError)]:
        with pytest.raises(error):
            _core.Callable(*args)
    f = _core.Callable(program, "add", ["left", "right"])
    assert f.names == ("left", "right") and f.graph == "add" and f.program is program


# ---- results ----


@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (64, 300)])
def test_values(graph, shape):
    a, b = f32(*shape), f32(*shape) * 2
    add = graph("add")
    assert (add(a, b) == a + b).all()
    assert (add(torch.tensor(a), b).numpy() == a + b).all()
    assert np.allclose(graph("mm")(a, b.T), a @ b.T, atol=1e-4)
    assert graph("cat")(f32(shape[0], 4), f32(7, 4)).shape == (shape[0] + 7, 4)


def test_strides(graph):
    a = f32(40, 60)
    assert (graph("add")(a[::2, ::-1], a[:20].copy()) == a[::2, ::-1] + a[:20]).all()
    t = torch.tensor(a)
    assert torch.equal(graph("add")(t.t()[::3], t.t()[::3]), t.t()[::3] * 2)
    assert (np.asarray(graph("add")(_core.as_tensor(a)._view(0, (60, 40), (1, 60)), _core.as_tensor(a.T.copy()))) == a.T * 2).all()
    assert graph("add")(np.broadcast_to(np.float32(1), (3, 4)), np.zeros((3, 4), "f4")).sum() == 12


def test_kinds_of_results(graph):
    add, a = graph("add"), f32(3, 4)
    t, x = _core.as_tensor(a), torch.tensor(a)
    assert type(add(a, a)) is np.ndarray and isinstance(add(t, t), _core.TensorBase) and type(add(x, x)) is torch.Tensor
    assert isinstance(add(t, a), _core.TensorBase) and type(add(x, t)) is torch.Tensor and type(add(a, x)) is torch.Tensor
    assert isinstance(add(memoryview(a), memoryview(a)), _core.TensorBase)
    p = torch.nn.Parameter(x, requires_grad=False)
    assert type(add(p, p)) is torch.Tensor
    assert type(graph("scale")(a[0], 2.0)) is tuple
    y = add(x, x)
    y += 1  # an ordinary tensor of torch
    assert y.is_contiguous() and not y.requires_grad


def test_jax(graph):
    import jax
    x = jax.numpy.ones((3, 4))
    y = graph("add")(x, x)
    assert isinstance(y, jax.Array) and (np.asarray(y) == 2).all()
    assert isinstance(graph("add")(x, np.ones((3, 4), "f4")), jax.Array)


def test_types(graph):
    import ml_dtypes as ml
    a, b, c, d = np.arange(5).astype(ml.bfloat16), np.arange(5, dtype="f2"), np.arange(5), np.array([1, 0, 1, 0, 1], bool)
    got = graph("types")(a, b, c, d)
    assert [g.dtype for g in got] == [a.dtype, b.dtype, c.dtype, d.dtype]
    assert (got[0] == -a).all() and (got[1] == -b).all() and (got[2] == 2 * c).all() and (got[3] == ~d).all()
    got = graph("types")(torch.arange(5).bfloat16(), torch.arange(5).half(), torch.arange(5), torch.tensor(d))
    assert got[0].dtype == torch.bfloat16 and got[3].tolist() == (~d).tolist()


TIES = {1 + 2.0**-8 + 2.0**-40: 1 + 2.0**-7, 1 + 3 * 2.0**-8 - 2.0**-40: 1 + 2.0**-7}  # which f32 would round to a tie first


def test_numbers(graph):
    f = graph("numbers")
    for a, b, c, d, e, g in [(1.5, 3, True, 2.5, 2.5, 0.1), (1, -(2**63) + 1, False, 65504.0, 3e38, -1), (True, True, False, 2.0**-24, 1.0, 0.0),
                             (np.float64(2), 0, True, 1e-9, 1e-45, float("inf")), (3e38, 1, True, 65519.0, 1 + 2.0**-8, 1), (0.1, 1, True, 0.1, 0.1, 0.1),
                             (0.3, 1, True, 1e9, 1 + 2.0**-8 + 2.0**-40, 1), (1e-40, 1, True, 6.1e-5, 1 + 3 * 2.0**-8 - 2.0**-40, 1)]:
        got = [t._item() for t in f(a, b, c, d, e, g)]
        with np.errstate(over="ignore"):
            want = [-float(np.float32(a)), -int(b), not c, -float(np.float16(d)), None, -float(g)]
        want[4] = -float(TIES.get(e) or torch.tensor(float(e)).to(torch.bfloat16))
        assert got == want
    assert np.isnan(f(float("nan"), 0, True, float("nan"), float("nan"), 0)[4]._item())
    with pytest.raises(ValueError, match="'b'.*int64.*9223372036854775808"):
        f(1, 2**63, True, 1, 1, 1)
    for wrong, name in [((1, 1.5, True, 1, 1, 1), "b"), ((1, 1, 1, 1, 1, 1), "c"), ((1, 1, 0.0, 1, 1, 1), "c"), (("x", 1, True, 1, 1, 1), "a"), ((1j, 1, True, 1, 1, 1), "a")]:
        with pytest.raises(TypeError, match=f"argument '{name}': wanted"):
            f(*wrong)
    with pytest.raises((ValueError, OverflowError)):
        f(10**400, 1, True, 1, 1, 1)


def test_many_arguments(graph):
    xs = [f32(9) for _ in range(MANY)]
    want = xs[0]
    for x in xs[1:]:
        want = want + x
    assert (graph("many")(*xs) == want).all()
    assert (_core.Dispatcher(lambda args: graph("many"))(*xs) == want).all()


def test_results_are_memory_of_their_own(graph):
    add, a = graph("add"), f32(200, 300)
    kept = [add(a, a) for _ in range(5)]
    assert len({k.ctypes.data for k in kept}) == 5 and all((k == a + a).all() for k in kept)
    big = np.zeros((600, 600), "f4")
    x, y = add(big, big), add(big, big + 1)
    assert (x == 0).all() and (y == 1).all()


# ---- wrong calls ----

X = f32(3, 4)
WRONG = [
    ("add", (X,), TypeError, "takes 2 arguments ('x', 'y'), and 1 was given"),
    ("add", (X, X, X), TypeError, "and 3 were given"),
    ("add", (), TypeError, "and 0 were given"),
    ("add", (X, X[:2]), ValueError, "argument 'y': wanted f32[N, M], found f32[2, 4]; N is 3 by argument 'x'"),
    ("add", (X, X[:, :2]), ValueError, "argument 'y': wanted f32[N, M], found f32[3, 2]; M is 4 by argument 'x'"),
    ("add", (X[0], X), ValueError, "argument 'x': wanted f32[N, M], found f32[4]"),
    ("add", (X, X.astype("f8")), TypeError, "argument 'y': wanted f32[N, M], found f64[3, 4]"),
    ("add", (X, 1.0), TypeError, "argument 'y': wanted f32[N, M], found float"),
    ("add", (X, 1), TypeError, "found int"),
    ("add", (X, True), TypeError, "found bool"),
    ("add", (X, {1.0}), TypeError, "argument 'y': wanted f32[N, M], found <class 'set'>"),
    ("add", (X, [[1.0]]), TypeError, "argument 'y': wanted f32[N, M], found"),
    ("add", (None, X), TypeError, "argument 'x': wanted f32[N, M], found <class 'NoneType'>"),
    ("add", ("x", X), TypeError, "argument 'x'"),
    ("add", ({}, X), TypeError, "argument 'x'"),
    ("add", (X, np.array([[None]])), TypeError, "argument 'y': wanted f32[N, M], found a tensor that can't be read"),
    ("add", (X, X.astype(">f4")), TypeError, "byte order"),
    ("add", (X, np.zeros((3, 4), "f4,i4")), TypeError, "argument 'y'"),
    ("add", (X, np.zeros((1,) * 17, "f4")), ValueError, "at most 16"),
    ("add", (X, torch.zeros(3, 4, requires_grad=True)), ValueError, "argument 'y': wanted f32[N, M], found a tensor that can't be read: it requires a gradient"),
    ("add", (X, torch.zeros(3, 4, device="meta")), (TypeError, ValueError, BufferError), "argument 'y'"),
    ("add", (X, torch.eye(4).to_sparse()), (TypeError, ValueError, BufferError, RuntimeError), "argument 'y'"),
    ("mm", (X, X), ValueError, "argument 'b': wanted f32[K, M], found f32[3, 4]; K is 4 by argument 'a'"),
    ("fixed", (X,), ValueError, "argument 'x': wanted f32[3, 8], found f32[3, 4]"),
    ("fixed", (np.zeros((3, 8), "i4"),), TypeError, "argument 'x': wanted f32[3, 8], found int32[3, 8]"),
    ("fixed", (np.zeros((3, 8), "u2"),), TypeError, "argument 'x'"),
    ("ranged", (np.zeros((12, 3), "f4"),), ValueError, "E is at least 1 and at most 64, a multiple of 8"),
    ("ranged", (np.zeros((72, 3), "f4"),), ValueError, "E is at least 1 and at most 64, a multiple of 8"),
    ("ranged", (np.zeros((8, 1), "f4"),), ValueError, "F is at least 2 and at most 5"),
    ("ranged", (np.zeros((0, 3), "f4"),), ValueError, "E is at least"),
    ("scale", (X[0], X[0]), ValueError, "argument 'k': wanted f32[], found f32[4]"),
    ("scale", (X[0], np.array(1.0)), TypeError, "argument 'k': wanted f32[], found f64[]"),
    ("add", (X, CUDA := type("Cuda", (), {"__cuda_array_interface__": {"shape": (3, 4), "typestr": "<f4", "data": (4096, False), "version": 3}})()), ValueError,
     "argument 'y': wanted a tensor on cpu, where argument 'x' lies, found one on cuda:0"),
]


@pytest.mark.parametrize("name, args, error, text", WRONG)
@pytest.mark.parametrize("by", ["callable", "dispatcher"])
def test_wrong_calls(graph, name, args, error, text, by):
    f = graph(name) if by == "callable" else _core.Dispatcher(lambda args: graph(name))
    for _ in range(2):
        with pytest.raises(error) as e:
            f(*args)
        assert text in str(e.value)


def test_names_of_arguments_are_the_callers(graph):
    with pytest.raises(ValueError, match="argument 'weights.q': .* by argument 'inputs.x'"):
        graph("add", names=["inputs.x", "weights.q"])(X, X[:2])
    for f in (graph("add"), _core.Dispatcher(lambda args: graph("add"))):
        with pytest.raises(TypeError, match="keyword"):
            f(X, y=X)


# ---- the dispatcher ----


def test_dispatcher_chooses(graph):
    asked = []

    def miss(args):
        asked.append(tuple(type(a).__name__ for a in args))
        return graph("fixed" if args[0].shape == (3, 8) else "ranged")

    d = _core.Dispatcher(miss)
    a, b = np.ones((3, 8), "f4"), np.ones((16, 4), "f4")
    for _ in range(3):
        assert (d(a) == 2).all() and (d(b) == 2).all() and (d(torch.tensor(b)) == 2).all()
    assert asked == [("ndarray",)] * 2 and d.entries == 2
    assert d(np.ones((24, 5), "f4")).shape == (24, 5) and len(asked) == 2
    with pytest.raises(ValueError, match="multiple of 8"):
        d(np.ones((17, 4), "f4"))
    assert len(asked) == 3 and d.entries == 2


def test_dispatcher_passes_errors_on(graph):
    def miss(args):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        _core.Dispatcher(miss)(X)
    with pytest.raises(KeyError, match="mine"):
        _core.Dispatcher(miss)(object())
    with pytest.raises(TypeError, match="wanted a Callable"):
        _core.Dispatcher(lambda args: 3)(X)
    for thing in (None, 3):
        with pytest.raises(TypeError, match="miss"):
            _core.Dispatcher(thing)


def test_dispatcher_leaves_numbers_alone(graph):
    asked = []
    d = _core.Dispatcher(lambda args: asked.append(args) or graph("scale"), (False, False))
    e = _core.Dispatcher(lambda args: graph("scale"), numbers=[False, True])
    x, k = f32(4), np.array(2.0, "f4")
    for _ in range(3):
        d(x, k), d(x, 2.0), e(x, 2.0), e(x, k)
    assert [type(args[1]) for args in asked] == [np.ndarray, float, float, float] and e.entries == 1
    with pytest.raises(TypeError):
        _core.Dispatcher(len, 3)


def test_dispatcher_takes_trees_apart(graph):
    asked = []
    d = _core.Dispatcher(lambda args: asked.append(args) or graph("mm"))
    a, b = f32(3, 4), f32(4, 5)
    want = graph("mm")(a, b)
    for _ in range(3):
        for args in ((a, {"w": b}), ({"x": a, "w": b},), ([a, [b]],), ((a, (b,)),), (a, b), ([a], {"w": b}), ({"w": a, "x": b},), ({"v": {"x": a}}, {}, [b])):
            assert (d(*args) == want).all()
    assert len(asked) == d.entries == 8
    key = "".join(["x"]) + "y"[:0]
    assert (d({key: a, "w" + "": b}) == want).all() and len(asked) == 8
    with pytest.raises(ValueError, match="argument 'b': wanted"):
        d(a, {"w": a})
    with pytest.raises(TypeError, match="argument 'b': wanted"):
        d(a, {"w": 3.0})
    with pytest.raises(TypeError, match="argument 'b': wanted .* found <class 'dict'>"):
        d(a, {"w": b, "v": b})
    nest = [b]
    for _ in range(50):
        nest = [nest]
    with pytest.raises(ValueError, match="nested"):
        d(a, nest)
    own = []
    own.append(own)
    with pytest.raises(ValueError, match="nested"):
        d(a, own)
    many = _core.Dispatcher(lambda args: graph("many"))
    xs = [f32(9) for _ in range(MANY)]
    for _ in range(2):
        assert (many({f"k{i}": x for i, x in enumerate(xs)}) == graph("many")(*xs)).all() and (many(xs) == graph("many")(*xs)).all()
    assert many.entries == 2
    with pytest.raises(TypeError, match="takes 20 arguments"):
        many({i: x for i, x in enumerate(xs * 10)})
    counts = sys.getrefcount(a), sys.getrefcount(key)
    for _ in range(100):
        d({key: a, "w": b})
    assert counts == (sys.getrefcount(a), sys.getrefcount(key))


def test_dispatcher_called_from_within_itself(graph):
    class Nested:
        def __init__(self, tensor):
            self.tensor = tensor

        def __dlpack_device__(self):
            return (1, 0)

        def __dlpack__(self, **kwargs):
            d(*[X[0]] * MANY)
            return self.tensor.__dlpack__(**kwargs)

    d = _core.Dispatcher(lambda args: graph("many" if len(args) == MANY else "add"))
    t = _core.as_tensor(X)
    for _ in range(3):
        assert (np.asarray(d(t, Nested(t))) == X + X).all()


def test_dispatcher_in_a_cycle_is_collected(graph):
    class Owner:
        def __init__(self):
            self.d = _core.Dispatcher(self.miss)

        def miss(self, args):
            return graph("add")

    import weakref

    owner = Owner()
    owner.d(X, X)
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


# ---- sessions, threads, processes ----


def test_stats_explain_prepare(graph):
    f = graph("add")
    for ask in (f.stats, f.explain):
        with pytest.raises(ValueError, match="not been called"):
            ask()
    f.prepare({"N": 3, "M": 4, "K": 1, "E": 8, "F": 2})
    f(X, X)
    stats = f.stats()
    assert stats["runs"] == 1 and stats["prepares"] == 1 and stats["launches"] == 1 and f.sessions == 1
    assert len(f.explain()) == 1
    f.prepare([5, 5, 1, 8, 2])
    for wrong, error in [([1], (ValueError, IndexError)), ({"N": "x"}, (TypeError, ValueError)), ([-7, 1, 1, 8, 2], ValueError), (3, TypeError), ([2**70] * 5, (ValueError, OverflowError))]:
        with pytest.raises(error):
            f.prepare(wrong)


def test_sessions_end_with_their_callable(graph):
    x = np.zeros((64, 64), "f4")
    for _ in range(200):
        graph("mm")(x, x)
    gc.collect()
    with open("/proc/self/maps") as f:
        before = len(f.readlines())
    for _ in range(500):
        graph("mm")(x, x)
    gc.collect()
    with open("/proc/self/maps") as f:
        assert len(f.readlines()) < before + 50


def test_64_threads(graph):
    f, d = graph("mm"), _core.Dispatcher(lambda args: graph("mm"))
    jobs = [(f32(7 + i % 5, 33), f32(33, 20 + i % 3)) for i in range(64)]
    want = [f(a, b) for a, b in jobs]
    torches = [(torch.tensor(a), torch.tensor(b)) for a, b in jobs]
    wrong = []
    start = threading.Barrier(64)

    def work(i):
        start.wait()
        for k in range(40):
            a, b = jobs[i] if k % 2 else torches[i]
            got = (f if k % 3 else d)(a, b)
            if not np.array_equal(np.asarray(got), want[i]):
                wrong.append((i, k))
            if k == 20:
                try:
                    f(a, a[:2])
                    wrong.append((i, "no error"))
                except ValueError:
                    pass

    threads = [threading.Thread(target=work, args=(i,)) for i in range(64)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and f.sessions <= 64


def child(code, path):
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(path)], capture_output=True, text=True, env=env, timeout=120)


def test_fork_and_exit(path):
    done = child("""
        import os, sys, threading
        import numpy as np
        from tessera import _core
        f = _core.Callable(_core.load(sys.argv[1]), "mm")
        a = np.ones((70, 80), "f4")
        want = f(a, a.T)
        stop = []
        def busy():
            while not stop:
                f(a, a.T)
        threads = [threading.Thread(target=busy) for _ in range(3)]
        for t in threads: t.start()
        for _ in range(20):
            pid = os.fork()
            if not pid:
                for _ in range(5):
                    assert (f(a, a.T) == want).all()
                g = _core.Callable(_core.load(sys.argv[1]), "mm")
                assert (g(a, a.T) == want).all()
                del f, g
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        assert (f(a, a.T) == want).all()
        stop.append(1)
        for t in threads: t.join()
        print("ok")
    """, path)
    assert done.stdout == "ok\n" and done.returncode == 0 and not done.stderr, done


def test_exit_while_everything_lives(path):
    done = child("""
        import sys, threading
        import numpy as np, torch
        from tessera import _core
        f = _core.Callable(_core.load(sys.argv[1]), "mm")
        a = np.ones((70, 80), "f4")
        x = torch.from_dlpack(_core.empty((1000,), "f32"))
        y, z = f(a, a.T), f(torch.tensor(a), torch.tensor(a.T))
        capsule = _core.to_dlpack(_core.as_tensor(a))
        sys.modules["keep"] = (f, x, y, z, capsule, _core)
        def busy():
            while True:
                f(a, a.T)
        threading.Thread(target=busy, daemon=True).start()
        print("ok")
    """, path)
    assert done.stdout == "ok\n" and done.returncode == 0 and not done.stderr, done


def test_multiprocessing(path):
    done = child("""
        import multiprocessing as mp, sys
        import numpy as np
        from tessera import _core
        f = _core.Callable(_core.load(sys.argv[1]), "add")
        a = np.ones((70, 80), "f4")
        f(a, a)
        def work(i):
            return float(f(a * i, a)[0, 0])
        if __name__ == "__main__":
            with mp.get_context("fork").Pool(4) as pool:
                assert pool.map(work, range(8)) == [i + 1.0 for i in range(8)]
            print("ok")
    """, path)
    assert done.stdout == "ok\n" and done.returncode == 0, done


def test_no_leaks_over_100000_calls(graph):
    add, cat = graph("add"), graph("cat")
    d = _core.Dispatcher(lambda args: add)
    t, x = _core.as_tensor(X), torch.tensor(X)

    def rss():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * 4096

    def round_of_ten():
        add(t, t), add(x, x), add(X, X), d(t, t), d(x, x), d(x, t), add(t, X), cat(t, t)
        for f in (add, d):
            try:
                f(t, 3)
            except TypeError:
                pass

    for _ in range(1000):
        round_of_ten()
    gc.collect()
    before, current, counts = rss(), _core.memory_stats("cpu")["current"], (sys.getrefcount(X), sys.getrefcount(t), sys.getrefcount(x))
    for _ in range(10000):
        round_of_ten()
    gc.collect()
    assert _core.memory_stats("cpu")["current"] == current and counts == (sys.getrefcount(X), sys.getrefcount(t), sys.getrefcount(x))
    assert rss() - before < 2 << 20
