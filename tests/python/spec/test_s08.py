"""S8: mixed precision declared in types, as the document writes it."""

import numpy as np

import tessera as ts


# Declare precision policies in types
@ts.function
def model(
    x: ts.Tensor["B", "S", "D", ts.bf16 @ ts.accum(ts.f32)],  # BF16 storage, FP32 accumulation
    w: ts.Tensor["D", "K", ts.fp8_e4m3 @ ts.accum(ts.f32)]    # FP8 storage, FP32 accumulation
) -> ts.Tensor["B", "S", "K", ts.bf16]:
    # Tessera handles all precision conversions safely
    return ts.nn.linear(x, w)


def test_types_are_in_the_graph():
    text = model.tg()
    assert "x: bf16@f32[B, S, D]" in text and "w: fp8_e4m3@f32[D, K]" in text and "matmul(x, w)" in text


def test_against_float64(ref):
    for b, s, d, k in ((2, 5, 48, 24), (1, 1, 16, 3)):
        x = ts.randn(b, s, d, dtype=ts.bf16)
        w = ts.randn(d, k).astype(ts.fp8_e4m3)
        out = ts.jit(model)(x, w)
        xs, ws = ref.f64(x), ref.f64(w)
        want = xs @ ws
        # D terms in f32, then one rounding to bf16
        bound = (d + 8) * 2.0**-24 * (np.abs(xs) @ np.abs(ws)) + 2.0**-8 * np.abs(want)
        assert out.dtype == ts.bf16 and (np.abs(ref.f64(out) - want) <= bound + 1e-38).all()
