"""S2: the transformer layer of the quick start, as the document writes it, at smaller sizes."""

import re

import numpy as np
import pytest

import tessera as ts


@ts.function
def transformer_layer(
    x: ts.Tensor["B", "S", "D", ts.bf16],  # Input: batch, sequence, dim
    w_qkv: ts.Tensor["D", "3*D", ts.bf16], # QKV projection weights
    w_out: ts.Tensor["D", "D", ts.bf16],   # Output projection
    w_mlp: ts.Tensor["D", "4*D", ts.bf16], # MLP weights
) -> ts.Tensor["B", "S", "D", ts.bf16]:
    """Complete transformer layer with Flash Attention."""

    # Multi-head attention with automatic optimization
    qkv = ts.nn.linear(x, w_qkv)
    q, k, v = ts.split(qkv, dim=-1, sections=3)

    # Reshape for multi-head attention
    B, S, D = x.shape
    H = 16  # num_heads
    q = q.reshape(B, S, H, D // H).transpose(1, 2)  # [B, H, S, D/H]
    k = k.reshape(B, S, H, D // H).transpose(1, 2)
    v = v.reshape(B, S, H, D // H).transpose(1, 2)

    # Flash Attention (automatically optimized)
    attn_out = ts.nn.flash_attention(q, k, v, causal=True)
    attn_out = attn_out.transpose(1, 2).reshape(B, S, D)

    # Output projection
    attn_out = ts.nn.linear(attn_out, w_out)

    # Residual connection
    x = x + attn_out

    # Layer norm (numerically stable)
    x = ts.nn.layer_norm(x)

    # MLP with GELU
    mlp_out = ts.nn.gelu(ts.nn.linear(x, w_mlp))
    mlp_out = ts.nn.linear(mlp_out, w_mlp.transpose())

    # Final residual
    return x + mlp_out


def weights(d):
    # of the size that keeps values near 1; the document's are of size 1
    return [ts.randn(d, n, dtype=ts.bf16) * (1 / 16) for n in (3 * d, d, 4 * d)]


@pytest.mark.parametrize("b, s, d", [(2, 24, 128), (1, 5, 64), (3, 1, 256)])
def test_against_float64(b, s, d, ref):
    x = ts.randn(b, s, d, dtype=ts.bf16)
    w = weights(d)
    out = ts.jit(transformer_layer)(x, *w)
    assert tuple(out.shape) == (b, s, d) and out.dtype == ts.bf16
    exact = [ref.f64(t) for t in (x, *w)]
    ref.as_good_as_rounding(ref.f64(out), ref.layer(*exact), ref.layer(*exact, r=ref.bf16))


def test_as_the_document_runs_it(capsys):
    B, S, D = 4, 32, 128
    x = ts.randn(B, S, D, dtype=ts.bf16)
    w_qkv = ts.randn(D, 3*D, dtype=ts.bf16)
    w_out = ts.randn(D, D, dtype=ts.bf16)
    w_mlp = ts.randn(D, 4*D, dtype=ts.bf16)

    # Compile and run (automatic optimization)
    compiled_layer = ts.jit(transformer_layer)
    output = compiled_layer(x, w_qkv, w_out, w_mlp)

    print(f"Input shape: {x.shape}")
    print(f"Output shape: {output.shape}")
    print(f"Memory usage: {ts.memory.get_memory_usage():.2f} GB")
    assert re.fullmatch(r"Input shape: \(4, 32, 128\)\nOutput shape: \(4, 32, 128\)\nMemory usage: \d+\.\d\d GB\n", capsys.readouterr().out)


def test_the_width_has_to_be_a_multiple_of_the_heads():
    assert "dims D multiple_of 16" in transformer_layer.tg()
    with pytest.raises(ValueError, match="D"):
        transformer_layer(ts.randn(1, 2, 40, dtype=ts.bf16), *weights(40))
    x, (w_qkv, w_out, w_mlp) = ts.randn(1, 2, 32, dtype=ts.bf16), weights(32)
    with pytest.raises(ValueError, match=r"w_qkv"):
        transformer_layer(x, w_out, w_out, w_mlp)
    assert np.isfinite(transformer_layer(x, w_qkv, w_out, w_mlp).float().tolist()).all()
