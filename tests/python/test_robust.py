"""What programs do with the package besides computing: threads, copies, pickles, strict modes of Python, looking at things; and models in lists."""

import collections
import copy
import gc
import inspect
import os
import pickle
import pydoc
import subprocess
import sys
import threading

import numpy as np
import pytest
import tessera as ts
from tessera import _core, backend, compile

ts.set_default_device("cpu")


@ts.function
def doubled(x):
    return x * 2.0


fast = ts.jit(doubled)


def plain(x: ts.Tensor["N", ts.f32]):
    return x + 1.0


again = ts.jit(plain)


class Layer(ts.Module):
    def __init__(self, n, m):
        super().__init__()
        self.w, self.b = ts.randn(n, m), ts.zeros(m)

    def forward(self, x):
        return x @ self.w + self.b


Pair = collections.namedtuple("Pair", "scale shift")


class Net(ts.Module):
    def __init__(self):
        super().__init__()
        self.sizes = [4, 8, 3]
        self.layers = [Layer(a, b) for a, b in zip(self.sizes, self.sizes[1:])]
        self.heads = {"a": Layer(3, 2), "b": {"deep": (Layer(3, 1),)}}
        self.norm = Pair(ts.ones(4), ts.zeros(4))
        self.names = ["x", "y"]

    def forward(self, x):
        x = x * self.norm.scale + self.norm.shift
        for layer in self.layers:
            x = ts.nn.tanh(layer(x))
        return {k: self.heads[k](x) if k == "a" else self.heads[k]["deep"][0](x) for k in self.heads}


# ---- threads ----


def test_64_threads_compile_each_variant_once(monkeypatch, cache_folder):
    made = []
    real = backend.build_text
    monkeypatch.setattr(backend, "build_text", lambda *a, **k: made.append(a[0]) or real(*a, **k))

    @ts.jit
    def f(x, w, k=1):
        return {"y": (x @ w["w"]) * k}

    a = {d: np.arange(12).reshape(3, 4).astype(d) for d in ("f4", "f8")}
    jobs = [(a["f4"], 1), (a["f8"], 1), (a["f4"][:2], 1), (a["f4"], 2)]
    start, wrong = threading.Barrier(64), []

    def work(i):
        x, k = jobs[i % 4]
        start.wait()
        for _ in range(20):
            if not np.array_equal(np.asarray(f(x, {"w": x.T}, k)["y"]), x @ x.T * k):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(64)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and len(made) == 4 and f._fast.entries == 4


def test_functions_dropped_while_they_are_called():
    x = ts.randn(3, 3)
    stop = threading.Event()

    def collect():
        while not stop.is_set():
            gc.collect()

    t = threading.Thread(target=collect)
    t.start()
    try:
        for i in range(30):
            f = ts.jit(lambda x, f=None: x + 1.0)
            assert f(x).shape == (3, 3) and ts.jit(Layer(3, 3))(x).shape == (3, 3)
    finally:
        stop.set()
        t.join()


# ---- strict modes ----

PROGRAM = """
import gc, threading
import tessera as ts
ts.set_default_device("cpu")
x = ts.randn(5, 3)
@ts.jit
def f(x: ts.Tensor["B*H", "D", ts.f32], w, mode="a"):
    return {"y": x @ w["w"], mode: [x]}
class M(ts.Module):
    def __init__(self):
        super().__init__()
        self.ws = [ts.randn(3, 3)]
    def forward(self, x):
        return x @ self.ws[0]
m = M()
for _ in range(3):
    assert f(x, {"w": ts.randn(3, 2)})["y"].shape == (5, 2)
    assert (x + 1 == 1 + x).tolist() == [[True] * 3] * 5
    assert ts.jit(m)(x).shape == m(x).shape == (5, 3)
    assert x[1:, None].T.shape == (4, 3, 1) and ts.nn.log_softmax(x).shape == (5, 3)
for wrong in (lambda: f(x), lambda: f(x, {"w": 3}), lambda: x + "a", lambda: f(x[0], {"w": x}), lambda: ts.softmax(x, 7), lambda: x[9]):
    try:
        wrong()
    except (TypeError, ValueError, IndexError):
        pass
    else:
        raise AssertionError(wrong)
threads = [threading.Thread(target=f, args=(x, {"w": ts.randn(3, 2)})) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
del f, m
gc.collect()
print("fine")
"""


@pytest.mark.parametrize("words, environment", [(["-X", "dev", "-bb", "-W", "error"], {}), (["-O"], {"PYTHONMALLOC": "debug"}), (["-I", "-S"], {"PYTHONMALLOC": "malloc_debug"})])
def test_strict_pythons(words, environment, tmp_path):
    home = os.path.dirname(next(iter(ts.__path__)))
    program = f"import sys; sys.path.insert(0, {home!r})\n" + PROGRAM
    (tmp_path / "p.py").write_text(program)
    done = subprocess.run([sys.executable, *words, tmp_path / "p.py"], env={**os.environ, **environment}, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")


def test_subinterpreters_are_refused():
    program = """
try:
    import _interpreters as sub
    run = lambda i, text: sub.exec(i, text)
except ImportError:
    import _xxsubinterpreters as sub
    run = sub.run_string
import sys
text = '''
import sys
sys.path.insert(0, %r)
try:
    import tessera
except ImportError as e:
    print("refused:", e, flush=True)
''' % sys.argv[1]
run(sub.create(), text)
import tessera
run(sub.create(), text)
print(tessera.ones(2).tolist())
"""
    home = os.path.dirname(next(iter(ts.__path__)))
    done = subprocess.run([sys.executable, "-c", program, home], env={**os.environ, "PYTHONPATH": home}, capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and lines[2] == "[1.0, 1.0]" and not done.returncode, done
    assert all("refused:" in line and "interpreter" in line for line in lines[:2])


# ---- copies and pickles ----


@pytest.mark.parametrize("how", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy, copy.copy])
def test_copies(how):
    for dtype in ("f32", "bf16", "int64", "bool", "fp8_e4m3"):
        x = ts.tensor([[0, 1], [1, 0]], dtype=dtype)
        y = how(x)
        assert isinstance(y, ts.Tensor) and y.dtype == x.dtype and y.tolist() == x.tolist()
    assert how(ts.f32) is ts.f32 and how(ts.bf16 @ ts.accum(ts.f32)) is ts.bf16 @ ts.accum(ts.f32)
    m, x = Net(), ts.randn(2, 4)
    f = ts.jit(m)
    want = f(x)["a"].tolist()
    assert how(m)(x)["a"].shape == (2, 2) and how(f)(x)["a"].tolist() == want and how(m).state_dict().keys() == m.state_dict().keys()
    assert how(fast)(ts.ones(2)).tolist() == [2.0, 2.0] and how(doubled)(ts.ones(2)).tolist() == [2.0, 2.0] and how(again)(ts.ones(2)).tolist() == [2.0, 2.0]
    assert how(ts.softmax) is ts.softmax and how(ts.sum) is ts.sum and how(ts.nn.log_softmax) is ts.nn.log_softmax


def test_copies_are_of_their_own():
    m = Net()
    twin = copy.deepcopy(m)
    twin.layers[0].w = ts.zeros(4, 8)
    assert m.layers[0].w.tolist() != twin.layers[0].w.tolist() and copy.deepcopy(fast) is fast
    with pytest.raises(TypeError, match="pickled by its name.* is not it; define it at the top of a module, or save it with ts.aot.compile"):
        pickle.dumps(ts.jit(lambda x: x))
    with pytest.raises(TypeError):
        pickle.dumps(_core.Ways())


# ---- looking at things ----


def test_everything_shows_itself():
    x = ts.ones(2, 3)
    fast(x)
    for thing, text in (
        (fast, "<tessera.JitFunction doubled(x)>"), (doubled, "<tessera.Function doubled(x)>"), (fast.lower(x), "<tessera.Compiled doubled(x: f32[2, 3]) for cpu>"),
        (ts.jit(Layer(2, 3)), "jit(Layer(\n  (w): f32[2, 3]\n  (b): f32[3]\n))"), (ts.Tensor["B", 3, ts.f32], "tessera.Tensor['B', 3, tessera.f32]"),
    ):
        assert repr(thing) == text
    assert "(layers.0): Layer(" in repr(Net()) and "(norm.0): f32[4]" in repr(Net())
    assert repr(fast.lower(x).callable_for("cpu")) == "<tessera._core.Callable doubled(x: f32[2, 3]) -> (out: f32[2, 3])>"
    assert repr(fast.lower(x).program).startswith("<tessera._core.Program doubled of '/")
    assert {"softmax", "matmul", "nn", "jit", "Module", "Tensor", "f32", "aot", "zeros"} <= set(dir(ts)) and {"w", "b", "forward"} <= set(dir(ts.jit(Layer(2, 3))))
    for f in (ts.softmax, ts.matmul, ts.nn.flash_attention, ts.jit, ts.zeros, ts.where, ts.cat):
        text = pydoc.plain(pydoc.render_doc(f))
        assert inspect.getdoc(f) and f.__name__ in text.splitlines()[2]
    assert str(inspect.signature(ts.jit(Layer(2, 3)).function)) == "(x)" and str(inspect.signature(fast)) == "(x)"


# ---- models in lists ----


def test_lists_and_dicts_of_modules():
    m, x = Net(), ts.randn(2, 4)
    names = ["norm.0", "norm.1", *(f"layers.{i}.{k}" for i in (0, 1) for k in "wb"), *(f"heads.{h}.{k}" for h in ("a", "b.deep.0") for k in "wb")]
    assert sorted(m.state_dict()) == sorted(names) and len(list(m.modules())) == 5
    f = ts.jit(m)
    assert "`module.layers.0.w`" in f.tg(x) and "`module.heads.b.deep.0.b`" in f.tg(x)

    def agree():
        got, want = f(x), m(x)
        return all(np.allclose(got[k].numpy(), want[k].numpy(), atol=1e-5) for k in ("a", "b")) and got.keys() == want.keys()

    assert agree() and agree()
    m.layers[0].w = ts.randn(4, 8)
    assert agree()
    m.layers[1] = Layer(8, 3)
    assert agree()
    m.layers.insert(1, Layer(8, 8))
    assert agree() and "layers.2.w" in m.state_dict()
    m.heads["b"]["deep"] = (Layer(3, 5),)
    assert agree() and f(x)["b"].shape == (2, 5)
    m.norm = Pair(ts.ones(4) * 3.0, ts.ones(4))
    assert agree()
    m.layers.pop(1)
    assert agree()
    state = {k: v * 0.5 for k, v in m.state_dict().items()}
    m.load_state_dict(state)
    assert agree() and all(m.state_dict()[k].tolist() == v.tolist() for k, v in state.items()) and isinstance(m.norm, Pair)
    m.to(ts.f64)
    assert {v.dtype.name for v in m.state_dict().values()} == {"f64"} and f(x.astype(ts.f64))["a"].dtype == ts.f64
    m.eval()
    assert not any(child.training for child in m.modules())


# ---- small things ----


def test_comparison_with_what_is_no_tensor():
    x = ts.ones(2)
    assert (x == None) is False and (x != None) is True and (x == "a") is False and None not in [None, x][1:]  # noqa: E711
    assert (x == 1).tolist() == [True, True]
    with pytest.raises(ValueError, match="neither true nor false"):
        bool(x)
    with pytest.raises(ValueError, match="neither true nor false"):
        bool(ts.ones(0))


def test_numbers_of_numpy_are_numbers():
    x, f = ts.tensor([1, 2], dtype="bf16"), ts.jit(lambda x: np.int64(2) * x + x * np.float32(0.5) - np.bool_(True))
    for _ in range(2):
        assert (x * np.int64(2)).tolist() == (np.float32(2) * x).tolist() == (x * np.float64(2)).tolist() == [2, 4] and (x * np.int64(2)).dtype == ts.bf16
        assert f(x).tolist() == [1.5, 4.0] and isinstance(ts.ops.exp(np.float32(0)), (np.ndarray, np.generic))
        with pytest.raises(TypeError):
            x + np.complex64(1j)


def test_tensors_do_not_change():
    x = y = ts.ones(2)
    with pytest.raises(TypeError, match="tensors do not change"):
        x[0] = 3.0
    x += 1
    assert x.tolist() == [2, 2] and y.tolist() == [1, 1] and abs(ts.tensor([1.0, 3.0]).std().item() - 1) < 1e-6
    with pytest.raises(TypeError, match=r"tessera\.stack"):
        ts.tensor([x, y])


def test_sizes_are_ints():
    for make in (ts.empty, ts.zeros, ts.ones, ts.randn):
        for wrong in (2.5, "3", None):
            with pytest.raises(TypeError):
                make(wrong)
        with pytest.raises(ValueError):
            make(-1)
        assert make(np.int64(2), 3).shape == make((2, 3)).shape == (2, 3)
    with pytest.raises(MemoryError, match="no memory for"):
        ts.zeros(1 << 45)
    for dtype in ("f32", "bf16", "int8", "bool", "int4", "fp4_e2m1"):
        assert ts.ones(3, dtype=dtype).tolist() == [1, 1, 1] and ts.zeros(0, 2, dtype=dtype).shape == (0, 2) and ts.ones(dtype=dtype).tolist() == 1


def test_architectures_come_from_the_compilers_table():
    assert compile.ARCHS == tuple(a.removesuffix("a") for a in _core.archs()) and compile.EXACT == ("sm_90",)
    assert compile.arch_for(90) == "sm_90" and compile.arch_for(121) == "sm_120" and compile.arch_for(91) == "sm_89" and compile.arch_for(75) is None
    assert compile.check_archs(["sm_90a", "sm_80", "sm_90"]) == ("sm_80", "sm_90")
