"""tessera.jax on a GPU: custom calls inside jax.jit against float64, in the order of XLA's stream, between XLA's own kernels and command buffers,
with many sizes, from threads, on several GPUs where they are; prints `ok NAME`, `FAIL NAME: why`, `note …`."""
import gc
import sys
import threading
import time

import checks
import jax
import jax.numpy as jnp
import numpy as np

import tessera as ts
from tessera.jax import op, wrap

GPU = jax.devices()[0]
CHECKS = []


def check(f):
    CHECKS.append(f)
    return f


def rand(*shape, dtype=jnp.float32, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def f64(x):
    return np.asarray(x).astype(np.float64)


def product(a, b, k):
    """(a @ b in float64, what a chain of k sums in f32 may err)"""
    a, b = f64(a), f64(b)
    return a @ b, (k + 8) * 2.0 ** -24 * (np.abs(a) @ np.abs(b))


def inside(got, want, bound):
    bad = ~(np.abs(f64(got) - want) <= bound)
    assert not bad.any(), "%d of %d elements are beyond their bound" % (bad.sum(), bad.size)


@check
def it_is_a_gpu():
    assert GPU.platform == "gpu" and ts._core.gpus(), (GPU, ts._core.gpus())


@check
def products():
    for dtype, round_ in ((jnp.float32, 0), (jnp.bfloat16, 2.0 ** -8), (jnp.float16, 2.0 ** -11)):
        for m, k, n in ((64, 64, 64), (300, 512, 200), (1, 1024, 33), (1000, 96, 1)):
            a, b = rand(m, k, dtype=dtype), rand(k, n, dtype=dtype, seed=1)
            y = jax.jit(op.matmul)(a, b)
            want, bound = product(a, b, k)
            assert y.dtype == dtype and y.devices() == {GPU}
            inside(y, want, bound + round_ * np.abs(want))
    assert "custom_call @tessera." in jax.jit(op.matmul).lower(a, b).as_text()


@check
def rows():
    for shape in ((7, 33), (512, 1024), (3, 50257)):
        x = rand(*shape)
        e = np.exp(f64(x) - f64(x).max(-1, keepdims=True))
        want = e / e.sum(-1, keepdims=True)
        inside(jax.jit(op.softmax)(x), want, 64 * 2.0 ** -24 * want + 1e-30)
        d = f64(x) - f64(x).mean(-1, keepdims=True)
        want = d / np.sqrt((d * d).mean(-1, keepdims=True) + 1e-5)
        inside(jax.jit(op.layer_norm)(x), want, 1e-5 * np.maximum(np.abs(want), 1))


@ts.function
def attention(q: ts.Tensor["B", "H", "S", "D", ts.bf16], k: ts.Tensor["B", "H", "T", "D", ts.bf16], v: ts.Tensor["B", "H", "T", "D", ts.bf16]):
    return ts.nn.flash_attention(q, k, v)


@check
def attentions():
    for b, h, s, d in ((2, 4, 256, 64), (1, 2, 77, 128), (3, 1, 33, 64)):
        q, k, v = (rand(b, h, s, d, dtype=jnp.bfloat16, seed=i) for i in range(3))
        p = f64(q) @ np.swapaxes(f64(k), -1, -2) * d ** -0.5
        p = np.exp(p - p.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        want, terms = p @ f64(v), p @ np.abs(f64(v))
        # weights and the result are rounded to bf16; the rest is f32
        bound = (2.0 ** -8 + 2.0 ** -12) * terms + 2.0 ** -8 * np.abs(want) + 1e-30
        for f in (op.flash_attention, attention):
            inside(jax.jit(f)(q, k, v), want, bound)


@check
def in_the_order_of_the_stream():
    """XLA's kernels and ours by turns, on arrays large enough that a call which began too early would read what is not there yet."""
    x = jnp.zeros((4096, 4096))

    def steps(y):
        for _ in range(12):
            y = op.add(y * 2.0, 1.0)      # XLA, then ours
            y = jnp.where(y > 4000.0, y - 4000.0, y)
        return y

    want = 0.0
    for _ in range(12):
        want = want * 2.0 + 1.0
        want = want - 4000.0 if want > 4000.0 else want
    f = jax.jit(steps)
    for k in range(5):
        assert float(f(x).min()) == want == float(f(x).max()), k
    y = x
    for _ in range(12):                   # the same, call by call
        y = op.add(y * 2.0, 1.0)
        y = jnp.where(y > 4000.0, y - 4000.0, y)
    assert float(y.min()) == want == float(y.max())


@check
def between_command_buffers():
    """Many small kernels, which XLA records; ours run between them, again and again with other addresses."""

    @jax.jit
    def f(x, w):
        for _ in range(8):
            x = jnp.tanh(x @ w) + 0.5
            x = op.softmax(x)
            x = jnp.sin(x) * 2.0
        return x

    w, outs = rand(64, 64, seed=1), []
    for k in range(30):
        x = rand(32, 64, seed=k % 3)
        outs.append(f(x, w))
        if k >= 3:
            assert np.array_equal(outs[k], outs[k - 3]), k


@check
def many_sizes():
    f = jax.jit(lambda a, b: op.softmax(op.matmul(a, b)))
    shapes = [(m, k) for m in (1, 16, 100, 257) for k in (32, 64, 96)]
    first = [np.asarray(f(rand(m, k), rand(k, 40, seed=1))) for m, k in shapes]
    for _ in range(5):
        for (m, k), want in zip(shapes, first):
            assert np.array_equal(f(rand(m, k), rand(k, 40, seed=1)), want)


@check
def many_calls():
    f, x = jax.jit(lambda a: op.softmax(op.add(a, 1.0))), rand(256, 256)
    want = np.asarray(f(x))

    def held():
        gc.collect()
        return GPU.memory_stats()["bytes_in_use"] if GPU.memory_stats() else 0

    for _ in range(200):
        y = f(x)
    y.block_until_ready()
    before = held()
    for _ in range(5000):
        y = f(x)
    y.block_until_ready()
    assert np.array_equal(y, want) and held() <= before + x.nbytes


@check
def loops_maps_and_donated_memory():
    x, w = rand(6, 32, 48), rand(48, 16, seed=1)
    one = [np.asarray(op.matmul(a, w)) for a in x]
    for got in (jax.jit(jax.vmap(op.matmul, (0, None)))(x, w), jax.jit(lambda a: jax.lax.map(lambda t: op.matmul(t, w), a))(x)):
        for a, b, t in zip(got, one, x):
            inside(a, f64(b), 2 * product(t, w, 48)[1])
    y, _ = jax.jit(lambda a: jax.lax.scan(lambda c, _: (op.add(c, 1.0), None), a, None, length=50))(jnp.zeros((64, 64)))
    assert float(y.min()) == 50.0 == float(y.max())
    f = jax.jit(lambda a: op.add(a, 1.0), donate_argnums=0)
    y = jnp.zeros((1024, 1024))
    for _ in range(20):
        y = f(y)
    assert float(y.min()) == 20.0 == float(y.max())
    weights = np.asarray(rand(64, 64, seed=2))
    inside(jax.jit(wrap(lambda t: ts.op.matmul(t, weights)))(rand(8, 64)), *product(rand(8, 64), weights, 64))


@check
def threads():
    f, wrong = jax.jit(lambda a, b: op.softmax(op.matmul(a, b))), []

    def work(i):
        x, w = rand(64 + i, 64, seed=i), rand(64, 32)
        want = np.asarray(f(x, w))
        for _ in range(30):
            if not np.array_equal(f(x, w), want):
                wrong.append(i)

    all_ = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for t in all_:
        t.start()
    for t in all_:
        t.join()
    assert not wrong, wrong


def refused(kinds, text, f):
    try:
        f()
    except kinds as e:
        assert text in str(e), "%r is not in %r" % (text, str(e))
        return
    raise AssertionError("it was not refused")


@check
def wrong_calls():
    from tessera import jax as tj

    x, w = rand(4, 8), rand(8, 5, seed=1)

    def product_of_wrong_calls(a, b):
        return ts.op.matmul(a, b)

    wrap(product_of_wrong_calls)(x, w)
    refused(ValueError, "matmul inner sizes differ", lambda: jax.jit(op.matmul)(x, x))
    refused(TypeError, "gelu takes", lambda: jax.jit(op.gelu)(jnp.ones(3, jnp.int32)))
    refused(ts.NotInRelease, "derivative of tessera's matmul", lambda: jax.grad(lambda a: op.matmul(a, a.T).sum())(x))
    target = next(t for t in tj._targets.values() if "product_of_wrong_calls" in t)

    def call(shape, *args):
        return jax.jit(lambda *a: jax.ffi.ffi_call(target, jax.ShapeDtypeStruct(shape, jnp.float32))(*a))(*args).block_until_ready()

    for _ in range(3):
        refused(jax.errors.JaxRuntimeError, "axis 1 is 9, wanted 5", lambda: call((4, 9), x, w))
        refused(jax.errors.JaxRuntimeError, "input 'b': rank is 1, wanted 2", lambda: call((4, 5), x, x[0]))
        refused(jax.errors.JaxRuntimeError, "takes 2 arguments", lambda: call((4, 5), x))
        inside(call((4, 5), x, w), *product(x, w, 8))


@check
def on_the_cpu_of_the_same_process():
    cpu = jax.devices("cpu")[0]
    with jax.default_device(cpu):
        x, w = (jax.device_put(t, cpu) for t in (rand(33, 64), rand(64, 20, seed=1)))
        y = jax.jit(op.matmul)(x, w)
    assert y.devices() == {cpu}
    inside(y, *product(x, w, 64))


@check
def beside_ts_tensors():
    x = rand(64, 64)
    t = ts.from_dlpack(x)
    assert t.device == "cuda:0"
    a, b = ts.ops.softmax(t), op.softmax(x)
    assert np.array_equal(np.asarray(a.to("cpu")), np.asarray(b))


def several_gpus():
    from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

    n = len(jax.devices())
    mesh, x, w = Mesh(np.array(jax.devices()), ("dp",)), rand(8 * n, 64), rand(64, 32, seed=1)
    f = lambda a, b: op.softmax(op.matmul(a, b))  # noqa: E731
    want = np.asarray(f(x[:8], w))
    got = jax.jit(jax.shard_map(f, mesh=mesh, in_specs=(P("dp"), P()), out_specs=P("dp")))(jax.device_put(x, NamedSharding(mesh, P("dp"))), w)
    assert len(got.devices()) == n and np.array_equal(np.asarray(got)[:8], want)
    for i, d in enumerate(jax.devices()):
        part = jax.jit(f)(jax.device_put(x[8 * i:8 * i + 8], d), jax.device_put(w, d))
        assert part.devices() == {d} and np.array_equal(np.asarray(got)[8 * i:8 * i + 8], part)


if len(jax.devices()) > 1:
    CHECKS.append(several_gpus)


def figures():
    x, rows_ = rand(64, 64), []
    for name, f in (("ours", jax.jit(op.exp)), ("XLA's", jax.jit(jnp.exp))):
        best = 1e9
        for _ in range(3):
            for _ in range(300):
                f(x)
            f(x).block_until_ready()
            start = time.perf_counter()
            for _ in range(3000):
                y = f(x)
            best = min(best, (time.perf_counter() - start) / 3000 * 1e6)
            y.block_until_ready()
        rows_.append("%s %.2f us" % (name, best))
    print("note JAX %s, a jitted call of one kernel: %s" % (jax.__version__, ", ".join(rows_)))


status = checks.run(CHECKS)
figures()
sys.exit(status)
