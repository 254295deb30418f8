"""S1: attention of the quick start, as the document writes it."""

import numpy as np
import pytest

import tessera as ts


@ts.function
def attention(q: ts.Tensor["B", "H", "S", "D", ts.bf16],
              k: ts.Tensor["B", "H", "S", "D", ts.bf16],
              v: ts.Tensor["B", "H", "S", "D", ts.bf16]) -> ts.Tensor["B", "H", "S", "D", ts.bf16]:
    """Flash Attention with automatic optimization."""
    return ts.nn.flash_attention(q, k, v, causal=True)


def inputs(*shape):
    return [ts.randn(*shape, dtype=ts.bf16) for _ in range(3)]


def check(out, qkv, ref):
    """Scores sum D products in f32, weights are rounded to bf16 at most, the result once: 2^-8 of the result and of sum |p v|, and what
    an error of the scores makes of the weights."""
    q, k, v = map(ref.f64, qkv)
    want, weight, score = ref.attention(q, k, v)
    d = q.shape[-1]
    bound = 2.0**-8 * np.abs(want) + (2.0**-8 + 2 * (d + 8) * 2.0**-24 * score) * weight
    assert out.dtype == ts.bf16 and tuple(out.shape) == want.shape
    assert (np.abs(ref.f64(out) - want) <= bound).all()


@pytest.mark.parametrize("shape", [(2, 3, 16, 32), (1, 2, 7, 16), (1, 1, 1, 8)])
def test_called_as_it_is(shape, ref):
    qkv = inputs(*shape)
    check(attention(*qkv), qkv, ref)


def test_jit(ref):
    qkv = inputs(2, 2, 33, 64)
    fast = ts.jit(attention)
    check(fast(*qkv), qkv, ref)
    assert fast(*qkv).tolist() == fast(*qkv).tolist() == attention(*qkv).tolist()


def test_wrong_calls():
    q, k, v = inputs(2, 2, 8, 16)
    with pytest.raises(TypeError, match="v"):
        attention(q, k)
    with pytest.raises(TypeError, match=r"'k'.*bf16.*f32"):
        attention(q, k.float(), v)
    with pytest.raises(ValueError, match="S|axis 2"):
        attention(q, k, v[:, :, :4])
    with pytest.raises((TypeError, ValueError), match="'q'"):
        attention(q[0], k, v)
    with pytest.raises(TypeError, match="'v'"):
        attention(q, k, "v")
