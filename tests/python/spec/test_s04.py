"""S4: the fused attention kernel of the quick start, as the document writes it, and a tidied version (SPEC, R22)."""

import numpy as np
import pytest

import tessera as ts


@ts.kernel
def fused_attention_kernel(
    Q: ts.Tile["B*H", "S", "D", ts.bf16],
    K: ts.Tile["B*H", "S", "D", ts.bf16],
    V: ts.Tile["B*H", "S", "D", ts.bf16],
    O: ts.Tile["B*H", "S", "D", ts.bf16],
    scale: float
):
    """Custom Flash Attention kernel with manual optimization."""

    # Automatic tiling and memory management
    ctx = ts.tile.context()  # noqa: F841

    # Shared memory allocation (automatically optimized)
    smem_q = ts.tile.alloc_shared(128, 64, dtype=ts.bf16)
    smem_k = ts.tile.alloc_shared(128, 64, dtype=ts.bf16)
    smem_v = ts.tile.alloc_shared(128, 64, dtype=ts.bf16)

    # Online softmax state
    m_state = ts.tile.alloc_register(128, dtype=ts.f32)
    l_state = ts.tile.alloc_register(128, dtype=ts.f32)
    acc = ts.tile.alloc_register(128, 64, dtype=ts.f32)

    # Initialize
    ts.tile.fill(m_state, -float('inf'))
    ts.tile.fill(l_state, 0.0)
    ts.tile.fill(acc, 0.0)

    # Main computation loop (automatically pipelined)
    for q_tile in ts.tile.range(Q.shape[1], step=128):
        # Load Q tile (async prefetch)
        ts.tile.load_async(smem_q, Q[q_tile:q_tile+128])

        for kv_tile in ts.tile.range(K.shape[1], step=128):
            # Load K,V tiles (double buffered)
            ts.tile.load_async(smem_k, K[kv_tile:kv_tile+128])
            ts.tile.load_async(smem_v, V[kv_tile:kv_tile+128])
            ts.tile.barrier()

            # Attention scores: Q @ K^T (uses tensor cores)
            scores = ts.tile.matmul(smem_q, smem_k.T) * scale

            # Online softmax update (numerically stable)
            m_new, l_new, scores_norm = ts.tile.online_softmax(
                scores, m_state, l_state
            )

            # Attention output: P @ V (uses tensor cores)
            v_out = ts.tile.matmul(scores_norm, smem_v)

            # Update accumulator
            ts.tile.update_accumulator(acc, v_out, m_state, m_new, l_state, l_new)

            # Update states
            m_state = m_new
            l_state = l_new

    # Store final output
    ts.tile.store(O, acc / l_state)


# Use the custom kernel (automatically compiles for your GPU)
custom_attention = ts.jit(fused_attention_kernel)


@ts.kernel
def tidy(
    Q: ts.Tile["BH", "S", "D", ts.bf16],
    K: ts.Tile["BH", "T", "D", ts.bf16],
    V: ts.Tile["BH", "T", "D", ts.bf16],
    O: ts.Tile["BH", "S", "D", ts.bf16],
    L: ts.Tile["BH", "S", ts.f32],
    scale: float,
):
    """Results carried by rebinding, without places; the logarithms of the sums as a second result."""
    for b in ts.tile.range(Q.shape[0]):
        for i in ts.tile.range(Q.shape[1], step=64):
            q = ts.tile.load(Q[b, i : i + 64])
            m = ts.tile.alloc_register(64, dtype=ts.f32)
            l = ts.tile.alloc_register(64, dtype=ts.f32)
            acc = ts.tile.alloc_register(64, Q.shape[2], dtype=ts.f32)
            ts.tile.fill(m, -float("inf"))
            ts.tile.fill(l, 0.0)
            ts.tile.fill(acc, 0.0)
            for j in ts.tile.range(K.shape[1], step=64):
                s = q @ ts.tile.load(K[b, j : j + 64]).T * scale
                m_new, l_new, p = ts.tile.online_softmax(s, m, l)
                ts.tile.update_accumulator(acc, p @ ts.tile.load(V[b, j : j + 64]), m, m_new, l, l_new)
                m = m_new
                l = l_new
            ts.tile.store(O[b, i : i + 64, :], acc / l)
            ts.tile.store(L[b, i : i + 64], m + ts.log(l))


def inputs(bh, s, t, d):
    return [ts.randn(bh, n, d, dtype=ts.bf16) for n in (s, t, t)]


def check(out, qkv, scale, ref):
    """The kernel becomes the operator attention: its bound, as in test_s01.py."""
    q, k, v = (ref.f64(x)[None] for x in qkv)
    scores = q @ k.swapaxes(-1, -2) * scale
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    want, weight = (p @ v)[0], (p @ np.abs(v))[0]
    d = q.shape[-1]
    largest = (np.abs(q) @ np.abs(k).swapaxes(-1, -2) * abs(scale)).max()
    bound = 2.0**-8 * np.abs(want) + (2.0**-8 + 2 * (d + 8) * 2.0**-24 * largest) * weight
    assert out.dtype == ts.bf16 and tuple(out.shape) == want.shape
    assert (np.abs(ref.f64(out) - want) <= bound).all()
    return scores[0]


@pytest.mark.parametrize("shape", [(6, 130, 64), (1, 1, 64), (2, 300, 40)])
def test_literal(shape, ref):
    bh, s, d = shape
    qkv = inputs(bh, s, s, d)
    check(custom_attention(*qkv, scale=d**-0.5), qkv, d**-0.5, ref)


def test_the_result_may_be_given(ref):
    qkv = inputs(2, 70, 70, 64)
    out = ts.randn(2, 70, 64, dtype=ts.bf16)
    assert custom_attention(*qkv, out, 0.125) is out
    check(out, qkv, 0.125, ref)
    assert fused_attention_kernel(*qkv, 0.125).tolist() == out.tolist()


def test_in_a_function(ref):
    @ts.function
    def heads(q: ts.Tensor["B", "H", "S", "D", ts.bf16], k: ts.Tensor["B", "H", "S", "D", ts.bf16], v: ts.Tensor["B", "H", "S", "D", ts.bf16]):
        B, H, S, D = q.shape
        flat = [x.reshape(B * H, S, D) for x in (q, k, v)]
        return fused_attention_kernel(*flat, 0.25).reshape(B, H, S, D)

    qkv = [ts.randn(2, 3, 33, 64, dtype=ts.bf16) for _ in range(3)]
    out = heads(*qkv)
    check(out.reshape(6, 33, 64), [x.reshape(6, 33, 64) for x in qkv], 0.25, ref)


def test_tidy(ref):
    qkv = inputs(3, 65, 200, 64)
    o, l = ts.jit(tidy)(*qkv, scale=0.125)
    scores = check(o, qkv, 0.125, ref)
    top = scores.max(-1)
    want = top + np.log(np.exp(scores - top[:, :, None]).sum(-1))
    # the logarithm of a sum of T terms near 1 or below: relative errors of the terms, T + 8 roundings at most
    assert (np.abs(ref.f64(l) - want) <= (200 + 8) * 2.0**-24 * (1 + np.abs(scores).max())).all()
