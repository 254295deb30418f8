"""References in float64 for the programs of the documents, and what compiled code may differ from them."""

from types import SimpleNamespace

import numpy as np
import pytest


def f64(t):
    """The exact values of a tensor of any type."""
    return np.array(t.tolist(), dtype=np.float64).reshape(tuple(t.shape))


def bf16(x):
    """x rounded to bf16, halves to even."""
    bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(np.float64)


def exact(x):
    return x


def softmax(s):
    p = np.exp(s - s.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def attention(q, k, v, causal=True):
    """(result, sum of |p v|, the most that the scores' absolute sums reach)"""
    scale = 1 / np.sqrt(q.shape[-1])
    s = q @ np.swapaxes(k, -1, -2) * scale
    if causal:
        s = np.where(np.tril(np.ones(s.shape[-2:], bool)), s, -np.inf)
    p = softmax(s)
    return p @ v, p @ np.abs(v), (np.abs(q) @ np.abs(np.swapaxes(k, -1, -2)) * scale).max()


def gelu(x):
    return x / 2 * (1 + np.tanh(0.7978845608028654 * (x + 0.044715 * x**3)))


def layer_norm(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def layer(x, w_qkv, w_out, w_mlp, heads=16, r=exact):
    """The transformer layer of the quick start; r rounds what each operator gives."""
    b, s, d = x.shape
    q, k, v = (h.reshape(b, s, heads, d // heads).transpose(0, 2, 1, 3) for h in np.split(r(x @ w_qkv), 3, -1))
    a = r(attention(q, k, v)[0]).transpose(0, 2, 1, 3).reshape(b, s, d)
    x = r(layer_norm(r(x + r(a @ w_out))))
    return r(x + r(r(gelu(r(x @ w_mlp))) @ w_mlp.T))


def as_good_as_rounding(got, true, rounded):
    """got is as near to the true values as a computation is that rounds after every operator: the same errors, in another order, so
    their root mean square agrees up to the spread of a sample (here 1.5), and their largest up to twice."""
    mine, theirs = np.abs(got - true), np.abs(rounded - true)
    assert np.isfinite(got).all()
    assert np.sqrt((mine**2).mean()) <= 1.5 * np.sqrt((theirs**2).mean()), (np.sqrt((mine**2).mean()), np.sqrt((theirs**2).mean()))
    assert mine.max() <= 2 * theirs.max(), (mine.max(), theirs.max())


@pytest.fixture(scope="session")
def ref():
    return SimpleNamespace(
        f64=f64, bf16=bf16, softmax=softmax, attention=attention, gelu=gelu, layer_norm=layer_norm, layer=layer,
        as_good_as_rounding=as_good_as_rounding,
    )
