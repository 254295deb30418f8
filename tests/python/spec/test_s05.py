"""S5: a stack of layers over unannotated parameters, as the document writes it; profile and trace are in the profiler's tests."""

import numpy as np
import pytest

import tessera as ts


@ts.function
def model(x, weights):
    # Write in familiar PyTorch-like syntax
    return ts.nn.transformer_stack(x, weights, num_layers=12)

# Instant GPU acceleration
model_jit = ts.jit(model)

L, D = 12, 64


@pytest.fixture(scope="module")
def data():
    ts.manual_seed(5)
    weights = {k: ts.randn(L, D, n) * 0.1 for k, n in (("w_qkv", 3 * D), ("w_out", D), ("w_mlp", 4 * D))}
    return ts.randn(2, 10, D), weights


def test_twelve_layers(data, ref):
    inputs, weights = data
    output = model_jit(inputs, weights)
    want, loose = ref.f64(inputs), ref.f64(inputs)
    for i in range(L):
        w = [ref.f64(weights[k][i]) for k in ("w_qkv", "w_out", "w_mlp")]
        want = ref.layer(want, *w)
        loose = ref.layer(loose, *w, r=lambda v: v.astype(np.float32).astype(np.float64))
    # sums in f32 add their own roundings to those of the results: up to D of them, whose root is sqrt(D) by chance
    got = ref.f64(output)
    spread = np.sqrt(D) * np.sqrt(((loose - want) ** 2).mean())
    assert np.sqrt(((got - want) ** 2).mean()) <= spread


def test_one_loop(data):
    text = model.tg(*data)
    assert "for i in 0..12" in text and text.count("attention(") == 1 and "`weights.w_qkv`" in text


def test_list_of_layers(data):
    inputs, weights = data
    few = [{k: t[i] for k, t in weights.items()} for i in range(2)]
    stacked = {k: t[:2] for k, t in weights.items()}
    stack = ts.function(lambda x, w: ts.nn.transformer_stack(x, w))
    assert np.allclose(stack(inputs, few).tolist(), stack(inputs, stacked).tolist(), rtol=0, atol=1e-5)
    one = ts.nn.transformer_layer(ts.nn.transformer_layer(inputs, few[0]), few[1])
    assert np.allclose(one.tolist(), stack(inputs, few).tolist(), rtol=0, atol=1e-5)


def test_wrong_weights(data):
    inputs, weights = data
    with pytest.raises(ValueError, match="12 layers, num_layers is 3"):
        ts.nn.transformer_stack(inputs, weights, num_layers=3)
    with pytest.raises(ValueError, match="missing: w_out"):
        ts.nn.transformer_stack(inputs, {k: v for k, v in weights.items() if k != "w_out"})
    with pytest.raises(ValueError, match="unknown: w_up"):
        ts.nn.transformer_layer(inputs, {**{k: v[0] for k, v in weights.items()}, "w_up": weights["w_out"][0]})
    with pytest.raises(ValueError, match="rank 3"):
        ts.nn.transformer_stack(inputs, {k: v[0] for k, v in weights.items()})
    with pytest.raises(TypeError, match="dict"):
        ts.nn.transformer_layer(inputs, 3)
