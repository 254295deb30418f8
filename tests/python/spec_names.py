"""The names that the documents promise (SPEC part 1, groups A to D, G, K, L, N): for each a piece of a program that uses it. test_names.py
runs them; python/tools/gen_names.py writes docs/python-names.md from what they do.

A piece that raises tessera.NotInRelease is a name of a later release: NOT_YET lists these, so that none is lost unnoticed."""

NAMES = [
    # group, name, code; `x` is f32[4, 6], `q` bf16[1, 2, 8, 16], `w` f32[6, 6]
    ("A", "import tessera as ts", "import tessera as ts"),
    ("A", "from tessera import op, graph, dist", "from tessera import op, graph, dist"),
    ("A", "from tessera import train, runtime as rt", "from tessera import train, runtime as rt"),
    ("A", "op.* on arrays of other libraries", "ts.op.softmax(ts.op.matmul(np.asarray(x), np.asarray(x).T))"),
    ("A", "@ts.function", "ts.function(lambda a: a + 1.0)(x)"),
    ("A", "ts.jit(f)", "ts.jit(lambda a: a * 2.0)(x)"),
    ("A", "@ts.jit", "f = ts.jit(options=())(lambda a: a)\nf(x)"),
    ("A", "ts.jit(kernel)", "ts.jit(copy_kernel)(x)"),
    ("A", "@ts.jit over @ts.distribute", "ts.jit(ts.distribute(mesh=None)(lambda a: a))"),
    ("A", "result .shape", "assert ts.jit(lambda a: a)(x).shape == (4, 6)"),
    ("A", "ts.Module", "class M(ts.Module):\n    def __init__(self):\n        super().__init__()\n    def forward(self, a):\n        return a + 1.0\nM()(x)"),
    ("A", "submodule replaced by attribute", "class M(ts.Module):\n    def forward(self, a):\n        return self.f(a)\nm = M()\nm.f = lambda a: a * 2.0\nm(x)"),
    ("A", "ts.randn", "ts.randn(2, 3, dtype=ts.bf16)"),
    ("A", "ts.randint", "ts.randint(0, 50000, (2, 3))"),
    ("A", "ts.set_default_device", "ts.set_default_device('cpu')"),
    ("A", "ts.split(x, dim=, sections=)", "a, b, c = ts.split(x, dim=-1, sections=3)"),
    ("A", "ts.matmul", "ts.matmul(x, w)"),
    ("A", "x.shape unpacked into sizes", "def f(a: ts.Tensor['B', 'D', ts.f32]):\n    B, D = a.shape\n    return a.reshape(D // 2, 2 * B)\nts.function(f)(x)"),
    ("A", ".reshape", "x.reshape(2, 12)"),
    ("A", ".transpose(i, j)", "x.transpose(0, 1)"),
    ("A", ".transpose()", "x.transpose()"),
    ("A", ".T", "x.T"),
    ("A", "slices", "x[1:3, ::2]"),
    ("A", "+ - * / **", "(x + 1.0 - x * 2.0) / 3.0\nabs(x) ** 2.0"),
    ("A", "scalars in f-strings", "assert f'{ts.op.mean(x):.4f}'"),
    ("A", "dict results", "assert set(ts.jit(lambda a: {'loss': a})(x)) == {'loss'}"),
    ("A", "op.tensor", "ts.op.tensor(('B', 4), dtype='bf16')"),
    ("A", "op.placeholder", "ts.op.placeholder(('B', 1), name='x')"),
    ("A", "op.dataset", "ts.op.dataset('u0')"),
    ("A", "op.matmul", "ts.op.matmul(x, w)"),
    ("A", "op.softmax", "ts.op.softmax(x)"),
    ("A", "op.mlp(in_dim=, hidden=, out_dim=)", "ts.op.mlp(in_dim=6, hidden=[8], out_dim=3)(ts.op.tensor(('B', 6), dtype='f32'))(x)"),
    ("A", "op.mlp([x, t], layers=)", "a, t = ts.op.tensor(('B', 1), dtype='f32'), ts.op.tensor(('B', 1), dtype='f32')\nts.op.mlp([a, t], layers=[8, 1], activation='tanh')"),
    ("A", "op.cross_entropy", "ts.op.cross_entropy(x, ts.randint(0, 6, (4,)))"),
    ("A", "op.mean", "ts.op.mean(x)"),
    ("A", "op.square", "ts.op.square(x)"),
    ("A", "a graph value called on data", "a = ts.op.tensor(('B', 6), dtype='f32')\nts.op.softmax(a)(x)"),
    ("A", "graph.module, G.output", "with ts.graph.module('m') as G:\n    a = ts.op.placeholder(('B', 6), name='a')\n    G.output('y', a + 1.0)"),
    ("A", "graph.training_step", "ts.graph.training_step(lambda batch: batch)"),
    ("A", "graph.compile, .save", "a = ts.op.tensor(('B', 6), dtype='f32')\nts.graph.compile(ts.op.softmax(a), target='cpu').save(str(tmp_path / 'm.tsr'))"),
    ("A", "ts.load", "a = ts.op.tensor(('B', 6), dtype='f32')\nts.graph.compile(ts.op.softmax(a), target='cpu').save(str(tmp_path / 'm.tsr'))\nts.load(str(tmp_path / 'm.tsr'))"),
    ("B", "ts.Tensor[…]", "ts.Tensor['B', 'H', 'S', 'D', ts.bf16]"),
    ("B", "derived sizes", "ts.Tensor['D', '3*D', ts.bf16]"),
    ("B", "product sizes", "ts.Tensor['B*H', 'S', ts.bf16]"),
    ("B", "ts.Tile[…]", "ts.Tile['B*H', 'S', 'D', ts.bf16]"),
    ("B", "ts.Dict[str, ts.Tensor]", "ts.Dict[str, ts.Tensor]"),
    ("B", "scale: float", "def f(a: ts.Tensor['N', 6, ts.f32], scale: float):\n    return a * scale\nts.function(f)(x, 2.0)"),
    ("B", "parameters without annotation", "ts.function(lambda a, b: a @ b)(x, w)"),
    ("B", "ts.bf16", "ts.bf16"),
    ("B", "ts.f32", "ts.f32"),
    ("B", "ts.int32", "ts.int32"),
    ("B", "ts.fp8_e4m3", "ts.fp8_e4m3"),
    ("B", "ts.fp6_e2m3, ts.fp4_e2m1", "ts.fp6_e2m3, ts.fp4_e2m1"),
    ("B", "element types as text", "ts.op.tensor((4,), dtype='bf16')"),
    ("B", "ts.bf16 @ ts.accum(ts.f32)", "ts.bf16 @ ts.accum(ts.f32)"),
    ("C", "ts.nn.flash_attention", "ts.nn.flash_attention(q, q, q, causal=True)"),
    ("C", "ts.nn.linear", "ts.nn.linear(x, w)"),
    ("C", "ts.nn.layer_norm", "ts.nn.layer_norm(x)"),
    ("C", "ts.nn.gelu", "ts.nn.gelu(x)"),
    ("C", "ts.nn.cross_entropy", "ts.nn.cross_entropy(x, ts.randint(0, 6, (4,)))"),
    ("C", "ts.nn.transformer_stack", "ts.nn.transformer_stack(q[:, 0], weights(2, 16), num_layers=2, num_heads=2)"),
    ("C", "ts.nn.transformer_layer", "ts.nn.transformer_layer(q[:, 0], {k: v[0] for k, v in weights(1, 16).items()}, num_heads=2)"),
    ("C", "ts.nn.softmax", "ts.nn.softmax(x)"),
    ("C", "ts.nn.dropout", "ts.nn.dropout(x, p=0.0)"),
    ("C", "ts.nn.conv1d", "ts.nn.conv1d(x, w)"),
    ("C", "ts.nn.conv2d", "ts.nn.conv2d(x, w)"),
    ("C", "ts.nn.conv3d", "ts.nn.conv3d(x, w)"),
    ("C", "ts.ops.matmul", "ts.ops.matmul(x, w)"),
    ("C", "ts.ops.flash_attention", "ts.ops.flash_attention(q, q, q)"),
    ("C", "flash_attn", "assert ts.nn.flash_attn is ts.ops.flash_attn is ts.nn.flash_attention\nts.op.flash_attn(q, q, q, scale=0.5)"),
    ("C", "attn_bias=, seed= of flash_attention", "b = ts.randn(8, 8, dtype=ts.bf16)\na = ts.nn.flash_attention(q, q, q, attn_bias=b, seed=3)\nassert a.tolist() == ts.nn.flash_attention(q, q, q, bias=b).tolist()"),
    ("C", "dropout_p= of flash_attention", "ts.nn.flash_attention(q, q, q, dropout_p=0.1, seed=3)"),
    ("C", "ts.ops.add, …", "ts.ops.add(x, x)"),
    ("C", "mm, bmm, addmm", "ts.ops.mm(x, w)\nts.ops.bmm(x[None], w[None])\nts.ops.addmm(x, x, w)"),
    ("C", "user operators", "ts.ops.register('my_custom_kernel', copy_kernel)\nassert ts.ops.my_custom_kernel(x).tolist() == x.tolist()\nts.jit(lambda a: ts.ops.my_custom_kernel(a) + 1.0)(x)"),
    ("C", "op.laplacian", "ts.op.laplacian(x)"),
    ("C", "tanh", "ts.op.tanh(x)"),
    ("C", "sine", "ts.op.mlp(in_dim=6, hidden=[8], out_dim=1, activation='sine')"),
    ("D", "@ts.kernel", "copy_kernel.check()"),
    *[("D", f"ts.tile.{word}", f"assert ts.tile.{word}.__doc__") for word in (
        "context", "alloc_shared", "alloc_register", "fill", "range", "load_async", "barrier", "matmul", "online_softmax", "update_accumulator", "store")],
    ("D", ".T of a tile", "assert np.allclose(tile_kernel(x, w), (np.asarray(x) @ np.asarray(w).T) * 0.5, atol=1e-5)"),
    ("D", "a tile times a number", "assert 'a * 0.5' in tile_kernel.text\ntile_kernel(x, w)"),
    ("D", "ts.tile.load_shard", "ts.tile.load_shard(x)"),
    ("D", "ts.tile.allreduce", "ts.tile.allreduce(x)"),
    ("G", "op.numeric(dtype=, accum=, deterministic=)", "ts.op.numeric(dtype='bf16', accum='f32', deterministic=True)"),
    ("G", "policy= of an operator", "ts.op.mlp(in_dim=6, hidden=[8], out_dim=1, policy=ts.op.numeric(dtype='f32', accum='f32'))"),
    ("G", "numerics= of a Trainer", "ts.train.Trainer(optimizer=None, numerics=None)"),
    ("G", "bf16 with f32 sums", "ts.op.tensor((4, 4), dtype=ts.bf16 @ ts.accum(ts.f32))"),
    ("G", "mixed element types", "ts.matmul(x.to(ts.bf16), w)"),
    ("K", "ts.profiler.profile()", "with ts.profiler.profile() as prof:\n    ts.jit(lambda a: a + 1.0)(x)\nprof.export_chrome_trace(str(tmp_path / 't.json'))"),
    ("K", "ts.memory.get_memory_usage()", "assert ts.memory.get_memory_usage() >= 0"),
    ("L", "ts.aot.compile(fn, example_inputs=, output_path=, target_archs=)",
     "ts.aot.compile(ts.jit(lambda a: a + 1.0), example_inputs=[x], output_path=str(tmp_path / 'out'), target_archs=['sm_90'])"),
    ("N", "from tessera.jax import op", "from tessera.jax import op as t_op\nt_op.matmul(jx, jx.T)"),
    ("N", "operators inside jax.jit", "from tessera.jax import op as t_op\nassert 'custom_call @tessera' in jax.jit(t_op.matmul).lower(jx, jx.T).as_text()\njax.jit(t_op.matmul)(jx, jx.T)"),
    ("N", "functions inside jax.jit", "from tessera.jax import wrap\njax.jit(wrap(ts.function(lambda a: a + 1.0)))(jx)"),
    ("N", "jax.pmap", "from tessera.jax import op as t_op\njax.pmap(t_op.softmax)(jx[None])"),
    ("N", "pjit", "from tessera.jax import op as t_op\njax.jit(t_op.softmax, in_shardings=None, out_shardings=None)(jx)"),
    ("N", "gradients through JAX", "from tessera.jax import op as t_op\njax.grad(lambda a: t_op.softmax(a).sum())(jx)"),
    ("N", "PyTorch to JAX to tessera", "y = ts.op.softmax(ts.op.matmul(jx, jx.T))\nassert isinstance(y, jax.Array)"),
]

# names of later releases
NOT_YET = {
    "dropout_p= of flash_attention",
    "op.laplacian",
    "ts.tile.load_shard",
    "ts.tile.allreduce",
    "@ts.jit over @ts.distribute",
    "op.dataset",
    "graph.training_step",
    "ts.nn.conv1d",
    "ts.nn.conv2d",
    "ts.nn.conv3d",
    "numerics= of a Trainer",
    "gradients through JAX",
}


def run(code, tmp_path):
    """Runs a piece; the NotInRelease that it raised, or None."""
    import numpy as np

    import tessera as ts

    scope = {"ts": ts, "np": np, "tmp_path": tmp_path, "copy_kernel": copy_kernel(ts), "tile_kernel": tile_kernel(ts)}
    scope.update(x=ts.randn(4, 6, dtype=ts.f32), w=ts.randn(6, 6, dtype=ts.f32), q=ts.randn(1, 2, 8, 16, dtype=ts.bf16), weights=weights)
    if "jx" in code:
        import jax

        scope.update(jax=jax, jx=jax.numpy.asarray(np.asarray(scope["x"])))
    try:
        exec(compile(code, "<a name of the documents>", "exec"), scope)
    except ts.errors.NotInRelease as e:
        return e
    return None


def weights(layers, d):
    import tessera as ts

    return {name: ts.randn(layers, d, n * d, dtype=ts.bf16) for name, n in (("w_qkv", 3), ("w_out", 1), ("w_mlp", 4))}


def tile_kernel(ts):
    def product(X: ts.Tile["N", "M", ts.f32], W: ts.Tile["K", "M", ts.f32], Y: ts.Tile["N", "K", ts.f32]):
        for i in ts.tile.range(X.shape[0], step=64):
            a = ts.tile.matmul(ts.tile.load(X[i : i + 64]), ts.tile.load(W).T)
            ts.tile.store(Y[i : i + 64], a * 0.5)

    return ts.kernel(product)


def copy_kernel(ts):
    def copy(X: ts.Tile["N", "M", ts.f32], Y: ts.Tile["N", "M", ts.f32]):
        for i in ts.tile.range(X.shape[0], step=64):
            ts.tile.store(Y[i : i + 64], ts.tile.load(X[i : i + 64]))

    return ts.kernel(copy)
