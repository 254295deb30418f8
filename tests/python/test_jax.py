"""tessera.jax: operators and functions inside jax.jit, under vmap, shard_map and pmap; what is refused; threads."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tessera as ts
from tessera.jax import op, wrap


def rand(*shape, dtype=jnp.float32, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def f64(x):
    return np.asarray(x, np.float64)


def near(a, b, eps=1e-5):
    a, b = f64(a), f64(b)
    assert a.shape == b.shape and np.isfinite(a).all()
    assert (np.abs(a - b) <= eps * max(1.0, np.abs(b).max(initial=0.0))).all()


def same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape and np.asarray(x).tobytes() == np.asarray(y).tobytes()


# ---- what it computes ----


def test_it_is_a_custom_call():
    text = jax.jit(op.matmul).lower(rand(3, 4), rand(4, 5)).as_text()
    assert "custom_call @tessera.jax_matmul" in text and "dot" not in text


UNARY = ["neg", "abs", "floor", "exp", "tanh", "erf", "sin", "sigmoid", "relu", "gelu", "silu", "softmax", "layer_norm", "rms_norm", "sum", "mean", "max"]


@pytest.mark.parametrize("name", UNARY)
def test_like_outside(name):
    """The same artifact as for data of NumPy, so the same bits."""
    x = rand(3, 10, seed=len(name))
    got = jax.jit(getattr(op, name))(x)
    assert isinstance(got, jax.Array)
    assert np.asarray(got).tobytes() == np.asarray(getattr(ts.op, name)(np.asarray(x))).tobytes()


@pytest.mark.parametrize("dtype, eps", [(jnp.float32, 1e-5), (jnp.bfloat16, 2**-7), (jnp.float16, 2**-9)])
def test_types(dtype, eps):
    x, w = rand(5, 16, dtype=dtype), rand(16, 3, dtype=dtype, seed=1)
    y = jax.jit(op.matmul)(x, w)
    assert y.dtype == dtype
    near(y, f64(x) @ f64(w), eps)


def test_integers_and_truths():
    i = jnp.arange(12, dtype=jnp.int32).reshape(3, 4)
    same(jax.jit(lambda a: op.where(op.gt(a, 5), a, op.neg(a)))(i), jnp.where(i > 5, i, -i))
    assert op.argmax(i, axis=1).dtype == jnp.int32  # JAX without x64
    same(op.gt(i, 5), i > 5)
    same(op.cast(i, jnp.int8), i.astype(jnp.int8))


def test_complex():
    x = rand(4, 16).astype(jnp.complex64)
    f = jax.jit(wrap(lambda a: ts.op.ifft(ts.op.fft(a))))  # the rules leave nothing of it
    same(f(x), x)


def test_fp8():
    x = rand(8, 8)
    same(jax.jit(lambda a: op.cast(op.cast(a, "fp8_e4m3"), "f32"))(x), x.astype(jnp.float8_e4m3fn).astype(jnp.float32))
    assert op.cast(x, "fp8_e5m2").dtype == jnp.float8_e5m2


def test_x64(python):
    p = python("""
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp, numpy as np
from tessera.jax import op
x = jnp.asarray(np.random.rand(4, 5))
assert x.dtype == jnp.float64 and op.argmax(x, axis=1).dtype == jnp.int64
y = jax.jit(op.matmul)(x, x.T)
assert y.dtype == jnp.float64 and np.abs(y - np.asarray(x) @ np.asarray(x).T).max() < 1e-14
with jax.enable_x64(False):
    assert op.argmax(x.astype(jnp.float32), axis=1).dtype == jnp.int32
""")
    _, err = p.communicate(timeout=120)
    assert p.returncode == 0, err


def test_attention():
    q, k, v = (rand(2, 4, n, 16, seed=n) for n in (6, 9, 9))
    got = jax.jit(lambda *a: op.flash_attention(*a))(q, k, v)
    s = f64(q) @ np.swapaxes(f64(k), -1, -2) / 4
    p = np.exp(s - s.max(-1, keepdims=True))
    near(got, p / p.sum(-1, keepdims=True) @ f64(v))


def test_several_results_trees_and_numbers():
    x = rand(4, 12)
    a, b, c = jax.jit(lambda t: op.split(t, sections=3, dim=-1))(x)
    same((a, b, c), (x[:, :4], x[:, 4:8], x[:, 8:]))
    same(op.concat([a, b, c], axis=1), x)
    same(jax.jit(op.add)(x, 2.5), x + 2.5)
    same(jax.jit(lambda t, n: op.mul(t, n))(x, jnp.float32(3)), x * 3)
    f = wrap(lambda xs, *, weights: {"y": ts.op.matmul(xs[0], weights["w"]), "z": (xs[1],)})
    out = jax.jit(f)([x, x], weights={"w": rand(12, 2)})
    near(out["y"], f64(x) @ f64(rand(12, 2)))
    same(out["z"][0], x)
    same(op.zeros((2, 3)), jnp.zeros((2, 3)))


def test_arrays_of_others():
    import torch

    x = np.random.default_rng(1).standard_normal((3, 4)).astype("float32")
    for other in (x, torch.from_numpy(x), ts.from_dlpack(x)):
        y = op.add(other, jnp.asarray(x))
        assert isinstance(y, jax.Array)
        same(y, jnp.asarray(x + x))


def test_no_elements_and_size_one():
    for n in (0, 1, 2):
        near(jax.jit(op.matmul)(rand(n, 4), rand(4, 3)), f64(rand(n, 4)) @ f64(rand(4, 3)))


def test_one_artifact_for_all_sizes():
    from tessera import jax as tj

    f = jax.jit(lambda a: op.tanh(op.matmul(a, a.T)))
    f(rand(3, 8))
    before = len(tj._targets)
    for n in (5, 7, 9, 3, 11, 13, 5):
        near(f(rand(n, 8, seed=n)), np.tanh(f64(rand(n, 8, seed=n)) @ f64(rand(n, 8, seed=n)).T))
    assert len(tj._targets) == before


def test_inside_jax_programs():
    x = rand(4, 6)

    @jax.jit
    def loop(a):
        a, _ = jax.lax.scan(lambda c, _: (op.softmax(op.add(c, 1.0)), None), a, None, length=5)
        return jax.lax.cond(a.sum() > 0, op.exp, op.neg, a)

    want = f64(x)
    for _ in range(5):
        e = np.exp(want - want.max(-1, keepdims=True))
        want = e / e.sum(-1, keepdims=True)
    near(loop(x), np.exp(want))
    donated = jax.jit(lambda a: op.add(a, 1.0), donate_argnums=0)
    same(donated(jnp.zeros((64, 64)) + 1), jnp.full((64, 64), 2.0))
    assert jax.eval_shape(op.matmul, x, jax.ShapeDtypeStruct((6, 9), jnp.float32)).shape == (4, 9)


def test_operators_of_the_package_inside_jit():
    """tessera.op, not tessera.jax.op, called with what JAX traces."""
    x = rand(4, 6)
    near(jax.jit(lambda a: ts.op.matmul(ts.op.reshape(a, 6, 4), a))(x), f64(x).reshape(6, 4) @ f64(x))
    near(jax.jit(lambda a: ts.op.var(a, -1))(x), f64(x).var(-1))


def test_numerics():
    x = rand(8, 64, dtype=jnp.bfloat16)
    with ts.op.numeric(accum="f32"):
        y = jax.jit(lambda a: op.matmul(a, a.T))(x)
    near(y, f64(x) @ f64(x).T, 2**-7)


# ---- functions ----


@ts.function
def attention(
    q: ts.Tensor["B", "H", "S", "D", ts.f32], k: ts.Tensor["B", "H", "T", "D", ts.f32], v: ts.Tensor["B", "H", "T", "D", ts.f32]
) -> ts.Tensor["B", "H", "S", "D", ts.f32]:
    return ts.nn.flash_attention(q, k, v, causal=True)


def test_functions_inside_jit():
    q = rand(2, 2, 8, 16)
    same(jax.jit(attention)(q, q, q), attention(q, q, q))
    same(jax.jit(wrap(attention))(q, q, q), attention(q, q, q))
    g = ts.jit(lambda x, w: {"y": ts.nn.gelu(x @ w["a"])})
    near(jax.jit(g)(rand(3, 4), {"a": rand(4, 5)})["y"], g(rand(3, 4), {"a": rand(4, 5)})["y"])


def test_a_module_inside_jit():
    class Net(ts.Module):
        def __init__(self):
            super().__init__()
            self.w = ts.randn(6, 3, dtype=ts.f32)

        def forward(self, x):
            return ts.nn.gelu(x @ self.w)

    net, x = Net(), rand(4, 6)
    want = net(ts.from_dlpack(x))
    near(jax.jit(wrap(net))(x), np.asarray(want))
    near(jax.jit(ts.jit(net))(x), np.asarray(want))


@ts.kernel
def scaled(X: ts.Tile["N", "M", ts.f32], Y: ts.Tile["N", "M", ts.f32], factor: float):
    for i in ts.tile.range(X.shape[0], step=64):
        ts.tile.store(Y[i : i + 64], ts.tile.load(X[i : i + 64]) * factor)


def test_kernels_inside_jit():
    x = rand(2, 100, 7)
    f = jax.jit(lambda a: ts.jit(scaled)(a, factor=2.0))
    same(f(x[0]), x[0] * 2)
    same(jax.jit(wrap(ts.jit(scaled)))(x[0], factor=2.0), x[0] * 2)
    same(jax.vmap(f)(x), x * 2)  # one after the other


def test_an_mlp_whose_weights_are_drawn_while_it_is_traced():
    x = rand(4, 7)
    first = ts.op.mlp(in_dim=7, hidden=[8], out_dim=3, name="m")
    want = np.asarray(first(ts.from_dlpack(x)))
    for m in (op.mlp(in_dim=7, hidden=[8], out_dim=3, name="m"), ts.jit(ts.op.mlp(in_dim=7, hidden=[8], out_dim=3, name="m"))):
        near(jax.jit(lambda a, m=m: m(a))(x), want, 1e-6)
    near(ts.jit(ts.op.mlp(in_dim=7, hidden=[8], out_dim=3, name="m"))(ts.from_dlpack(x)), want, 1e-6)


def test_large_arrays_from_outside():
    w = np.random.default_rng(3).standard_normal((64, 64)).astype("float32")
    f = wrap(lambda x: ts.op.matmul(x, w))
    near(jax.jit(f)(rand(3, 64)), f64(rand(3, 64)) @ f64(w), 1e-4)


def test_random_numbers_need_a_key():
    x, key = jnp.ones((8, 8)), jnp.asarray([1, 2], jnp.int32)
    with pytest.raises(TypeError, match="key"):
        jax.jit(lambda a: op.dropout(a, 0.5))(x)
    y = jax.jit(wrap(lambda a, k: ts.op.dropout(a, 0.5, key=ts.op.cast(k, "int64"))))(x, key)
    assert set(np.unique(y)) == {0.0, 2.0}


# ---- vmap ----

MAPS = [
    ("leading axes", lambda a, w: op.matmul(a, w), (0, None), [(3, 4, 5), (5, 2)], True),
    ("both", lambda a, w: op.matmul(a, w), (0, 0), [(3, 4, 5), (3, 5, 2)], True),
    ("the other", lambda a, w: op.matmul(a, w), (None, 0), [(4, 5), (3, 5, 2)], True),
    ("another axis", lambda a, w: op.matmul(a, w), (2, 1), [(4, 5, 3), (5, 3, 2)], True),
    ("ranks differ", lambda a, b: op.add(a, b), (0, 0), [(3, 5), (3, 4, 5)], True),
    ("as large as an axis", lambda a, b: op.add(a, b), (0, 0), [(4, 5), (4, 4, 5)], True),
    ("a first axis", lambda a: op.softmax(a, axis=0), (0,), [(4, 4, 4)], True),
    ("a first axis summed", lambda a: op.sum(a, axis=0), (0,), [(4, 4, 4)], True),
    ("everything summed", lambda a: op.sum(a), (0,), [(3, 4, 5)], False),
    ("rows", lambda a, g: op.layer_norm(a, g), (0, None), [(3, 4, 5), (5,)], True),
    ("rows and their scale", lambda a, g: op.layer_norm(a, g), (0, 0), [(3, 4, 5), (3, 5)], False),
    ("turned", lambda a: op.transpose(a, 0, 1), (0,), [(3, 4, 5)], False),
    ("shaped", lambda a: op.reshape(a, 20), (0,), [(3, 4, 5)], False),
    ("heads", lambda a: op.flash_attention(a, a, a), (0,), [(3, 2, 2, 4, 8)], False),
    ("joined", lambda a, b: op.concat([a, b], axis=0), (0, 0), [(3, 4, 5), (3, 2, 5)], True),
    ("joined with one for all", lambda a, b: op.concat([a, b], axis=0), (0, None), [(3, 4, 5), (2, 5)], False),
    ("composed", lambda a: op.log_softmax(a, axis=0), (0,), [(3, 4, 5)], True),
    ("one", lambda a: op.tanh(a), (0,), [(1, 4)], True),
    ("numbers", lambda a, b: op.mul(a, b), (0, 0), [(3,), (3, 3)], True),
]


@pytest.mark.parametrize("f, axes, shapes, one", [m[1:] for m in MAPS], ids=[m[0] for m in MAPS])
def test_vmap(f, axes, shapes, one):
    args = [rand(*s, seed=i) for i, s in enumerate(shapes)]
    got = jax.jit(jax.vmap(f, axes))(*args)
    n = next(a.shape[x] for a, x in zip(args, axes, strict=True) if x is not None)
    each = [f(*(a if x is None else jnp.take(a, i, x) for a, x in zip(args, axes, strict=True))) for i in range(n)]
    near(got, np.stack(each), 1e-6)
    text = jax.jit(jax.vmap(f, axes)).lower(*args).as_text()
    assert ("while" not in text) == one  # one call, or one after the other


def test_vmap_in_vmap():
    x, y = rand(3, 5), rand(4, 5, seed=1)
    got = jax.vmap(jax.vmap(op.mul, (None, 0)), (0, None))(x, y)
    same(got, x[:, None] * y[None])
    got = jax.vmap(jax.vmap(lambda a: op.reshape(a, 4)))(rand(3, 2, 2, 2))
    same(got, rand(3, 2, 2, 2).reshape(3, 2, 4))


def test_vmap_of_nothing():
    assert jax.vmap(op.tanh)(jnp.zeros((0, 4))).shape == (0, 4)


# ---- derivatives ----


def test_derivatives_are_not_in_this_release():
    x = rand(3, 4)
    for f in (
        lambda: jax.grad(lambda a: op.matmul(a, a.T).sum())(x),
        lambda: jax.jit(jax.grad(lambda a: op.matmul(a, a.T).sum()))(x),
        lambda: jax.grad(jax.jit(lambda a: op.matmul(a, a.T).sum()))(x),
        lambda: jax.jvp(lambda a: op.matmul(a, a.T), (x,), (x,)),
        lambda: jax.vmap(jax.grad(lambda a: op.matmul(op.reshape(a, 2, 2), jnp.ones((2, 2))).sum()))(x),
    ):
        with pytest.raises(ts.NotInRelease, match="derivative of tessera's"):
            f()
    with pytest.raises(ts.NotInRelease, match="attention"):
        jax.grad(lambda q: attention(q, q, q).sum())(rand(1, 1, 4, 8))


def test_what_has_no_derivative_is_in_nobodys_way():
    x = rand(3, 4)
    g = jax.grad(lambda a: (a * a).sum() + op.argmax(a, axis=1).sum() + op.tanh(jax.lax.stop_gradient(a)).sum())(x)
    same(g, 2 * x)


# ---- wrong calls ----

X, Y3 = rand(3, 4), rand(2, 3, 4)
WRONG = {
    "sizes": (lambda: op.matmul(X, X), ValueError, r"4 \(a axis 1\) and 3 \(b axis 0\)"),
    "rank": (lambda: op.flash_attention(Y3, Y3, Y3), ValueError, r"q is f32\[2, 3, 4\]"),
    "type": (lambda: op.gelu(jnp.ones(3, jnp.int32)), TypeError, r"gelu takes f32 f64 f16 bf16, x is int32\[3\]"),
    "types": (lambda: op.flash_attention(*(rand(1, 1, 2, 8, dtype=t) for t in (jnp.float32, jnp.bfloat16, jnp.float32))), TypeError, "bf16"),
    "axis": (lambda: op.softmax(X, axis=2), ValueError, "axis 2 is not in -2 to 1"),
    "missing": (lambda: op.matmul(X), TypeError, "missing a required argument: 'b'"),
    "too many": (lambda: op.tanh(X, X), TypeError, "too many"),
    "unknown word": (lambda: op.softmax(X, axiss=1), TypeError, "axiss"),
    "text": (lambda: op.matmul(X, "w"), TypeError, "operand 2: wanted a tensor or a number, found str"),
    "none": (lambda: op.matmul(X, None), (TypeError, ValueError), "matmul"),
    "object": (lambda: op.matmul(X, object()), TypeError, "found object"),
    "int4": (lambda: op.abs(jnp.ones(4, jnp.int4)), TypeError, "argument 'x'.*int4"),
    "to fp4": (lambda: op.cast(X, "fp4_e2m1"), TypeError, "fp4_e2m1"),
    "uint32": (lambda: op.abs(jnp.ones(4, jnp.uint32)), TypeError, "argument 'x'.*uint32"),
    "key": (lambda: op.abs(jax.random.key(0)), TypeError, "argument 'x'.*key<fry>"),
    "function of rank": (lambda: jax.jit(attention)(Y3, Y3, Y3), ValueError, r"argument 'q': wanted f32\[B, H, S, D\], found f32\[2, 3, 4\]"),
    "function of types": (lambda: jax.jit(attention)(*[rand(1, 1, 2, 8, dtype=jnp.bfloat16)] * 3), (TypeError, ValueError), r"argument 'q': wanted f32.*found bf16"),
    "function of sizes": (lambda: jax.jit(attention)(rand(1, 1, 2, 8), rand(1, 1, 2, 4), rand(1, 1, 2, 4)), ValueError, r"argument 'k': .*found f32\[1, 1, 2, 4\].*D = 8"),
    "wrap": (lambda: wrap(3), TypeError, "wanted a function, found int"),
    "gives no tensor": (lambda: wrap(lambda x: "text")(X), TypeError, "gives str, and no tensor"),
}


@pytest.mark.parametrize("call, error, text", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("inside", [False, True])
def test_wrong_calls(call, error, text, inside):
    with pytest.raises(error, match=text) as e:
        jax.jit(call)() if inside else call()
    assert isinstance(e.value, ts.errors.TesseraError)


def test_unknown_names():
    with pytest.raises(AttributeError, match="no operator named 'matmull'; nearest: matmul"):
        op.matmull
    with pytest.raises(ts.NotInRelease, match="conv2d"):
        op.conv2d
    assert "softmax" in dir(op) and op.softmax.__doc__ == ts.op.softmax.__doc__


def test_a_handler_that_is_called_wrongly():
    """Whoever calls the target by himself gets XLA's error with the runtime's words."""
    from tessera import jax as tj

    def product_of_wrong_calls(a, b):
        return ts.op.matmul(a, b)

    wrap(product_of_wrong_calls)(rand(3, 4), rand(4, 5))
    target = next(t for t in tj._targets.values() if "product_of_wrong_calls" in t)

    def call(shape, dtype, *args):
        return jax.jit(lambda *a: jax.ffi.ffi_call(target, jax.ShapeDtypeStruct(shape, dtype))(*a))(*args).block_until_ready()

    for shape, dtype, args, text in (
        ((3, 6), jnp.float32, (rand(3, 4), rand(4, 5)), "output .*axis 1 is 6, wanted 5"),
        ((3, 5), jnp.bfloat16, (rand(3, 4), rand(4, 5)), "type is bf16, wanted f32"),
        ((3, 5), jnp.float32, (rand(3, 4), rand(5)), "input 'b': rank is 1, wanted 2"),
        ((3, 5), jnp.float32, (rand(3, 4),), "takes 2 arguments and gives 1 results, found 1 and 1"),
        ((3, 5), jnp.float32, (rand(3, 4), jnp.ones((4, 5), jnp.uint32)), "input 'b': type"),
    ):
        with pytest.raises(jax.errors.JaxRuntimeError, match=text):
            call(shape, dtype, *args)


# ---- threads, devices, processes ----


def test_threads_get_the_same_bits():
    x, w = rand(64, 96), rand(96, 80, seed=1)
    f = jax.jit(lambda a, b: op.softmax(op.matmul(a, b)))
    want, wrong = np.asarray(f(x, w)).tobytes(), []

    def work(i):
        n = 64 - i % 4
        mine = np.asarray(f(x[:n], w)).tobytes()
        for _ in range(30):
            if np.asarray(f(x, w)).tobytes() != want or np.asarray(f(x[:n], w)).tobytes() != mine:
                wrong.append(i)

    all_ = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for t in all_:
        t.start()
    for t in all_:
        t.join()
    assert not wrong


def test_threads_trace_at_once():
    f, made = jax.jit(lambda a: op.add(op.exp(a), 3.25)), []
    all_ = [threading.Thread(target=lambda: made.append(np.asarray(f(rand(3, 17))).tobytes())) for _ in range(8)]
    for t in all_:
        t.start()
    for t in all_:
        t.join()
    assert len(made) == 8 and len(set(made)) == 1


DEVICES = """
import warnings
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import tessera as ts
from tessera.jax import op
assert len(jax.devices()) == 4
x = jnp.asarray(np.random.default_rng(0).standard_normal((8, 6)), jnp.float32)
w = jnp.asarray(np.random.default_rng(1).standard_normal((6, 5)), jnp.float32)
want = np.asarray(op.softmax(op.matmul(x, w)))
f = lambda a, b: op.softmax(op.matmul(a, b))
mesh = Mesh(np.array(jax.devices()), ("dp",))
"""


def on_four_devices(python, text):
    p = python(DEVICES + text, XLA_FLAGS="--xla_force_host_platform_device_count=4", JAX_PLATFORMS="cpu")
    out, err = p.communicate(timeout=240)
    assert p.returncode == 0, out + err
    return out


def test_shard_map(python):
    on_four_devices(python, """
for check in (True, False):
    g = jax.jit(jax.shard_map(f, mesh=mesh, in_specs=(P("dp"), P()), out_specs=P("dp"), check_vma=check))
    got = g(jax.device_put(x, NamedSharding(mesh, P("dp"))), w)
    assert len(got.sharding.device_set) == 4 and np.array_equal(got, want)
    text = g.lower(x, w).as_text()
    assert text.count("tensor<2x6xf32>") and "tessera.jax_matmul" in text  # each shard calls it on its part
    h = jax.shard_map(lambda a, b: jax.lax.psum(op.sum(f(a, b)), "dp"), mesh=mesh, in_specs=(P("dp"), P()), out_specs=P(), check_vma=check)
    assert abs(float(jax.jit(h)(x, w)) - want.sum()) < 1e-4
    v = jax.jit(jax.shard_map(jax.vmap(lambda a: op.softmax(a, axis=0)), mesh=mesh, in_specs=P("dp"), out_specs=P("dp"), check_vma=check))
    assert np.allclose(np.asarray(v(x)), np.asarray(jax.nn.softmax(x, 1)), atol=1e-6)
""")


def test_pmap(python):
    on_four_devices(python, """
got = jax.pmap(f, in_axes=(0, None))(x.reshape(4, 2, 6), w)
assert np.array_equal(np.asarray(got).reshape(8, 5), want)
""")


def test_sharded_arrays_without_shard_map(python):
    """XLA gathers what a custom call needs; the answer is right wherever the arrays lie."""
    on_four_devices(python, """
xs = jax.device_put(x, NamedSharding(mesh, P("dp")))
assert np.array_equal(jax.jit(f)(xs, w), want) and np.array_equal(f(xs, w), want)
g = jax.jit(f, in_shardings=(NamedSharding(mesh, P("dp")), None), out_shardings=NamedSharding(mesh, P("dp")))  # what pjit was
assert np.array_equal(g(x, w), want)
on_third = f(*(jax.device_put(a, jax.devices()[3]) for a in (x, w)))
assert on_third.devices() == {jax.devices()[3]} and np.array_equal(on_third, want)
""")


def test_exits_clean_while_work_runs(python):
    p = python("""
import jax, jax.numpy as jnp
from tessera.jax import op
f = jax.jit(lambda a: op.matmul(a, a))
x = jnp.ones((512, 512))
for _ in range(20):
    x = f(x)
""")
    _, err = p.communicate(timeout=120)
    assert p.returncode == 0, err


def test_without_jax(python):
    p = python("""
import sys
sys.modules["jax"] = None
import tessera as ts
ts.op.softmax(ts.randn(2, 3, dtype=ts.f32))
try:
    from tessera.jax import op
except ImportError as e:
    assert "tessera.jax needs the package 'jax'" in str(e) and e.name == "jax"
else:
    raise SystemExit("it was imported")
""")
    _, err = p.communicate(timeout=120)
    assert p.returncode == 0, err


def test_a_second_process_compiles_nothing(python, script, cache_folder):
    script('echo call >>"$LOG"\nexec "$TSC" "$@"')
    text = """
import jax, jax.numpy as jnp
from tessera.jax import op
print(float(jax.jit(lambda a: op.sum(op.tanh(a)))(jnp.ones((3, 4)))))
"""
    outs = []
    for _ in range(2):
        p = python(text)
        out, err = p.communicate(timeout=120)
        assert p.returncode == 0, err
        outs.append(out)
        if len(outs) == 1:
            calls = len(script.log())
    assert outs[0] == outs[1] and len(script.log()) == calls > 0


def test_views_at_once():
    """Operators that only look at an array in another way give JAX arrays of their own."""
    x = jnp.arange(12, dtype=jnp.float32).reshape(3, 4)
    want = np.asarray(x).copy()
    for got, plain in (
        (ts.op.reshape(x, 12), want.reshape(12)), (ts.op.transpose(x), want.T), (ts.op.slice(x, (1, 0), (3, 4)), want[1:3]), (ts.op.flatten(x), want.ravel()),
        (ts.op.unsqueeze(x, 0), want[None]), (ts.op.squeeze(x[:1], 0), want[0]), (ts.op.broadcast_to(x, (2, 3, 4)), np.broadcast_to(want, (2, 3, 4))), *zip(ts.op.split(x, 2, 1), np.split(want, 2, 1)),
    ):
        assert isinstance(got, jax.Array) and np.array_equal(got, plain)
    jax.jit(lambda a: a * 2, donate_argnums=0)(ts.op.reshape(x, 12)).block_until_ready()
    assert np.array_equal(x, want)
