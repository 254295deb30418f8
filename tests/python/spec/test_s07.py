"""S7: one function for every batch and length. The document's q, k, v are one argument and two names from nowhere (R18); this is the
version with three arguments."""

import numpy as np
import pytest

import tessera as ts


@ts.function
def attention(
    q: ts.Tensor["B", "H", "S", "D", ts.bf16], k: ts.Tensor["B", "H", "S", "D", ts.bf16], v: ts.Tensor["B", "H", "S", "D", ts.bf16]
) -> ts.Tensor["B", "H", "S", "D", ts.bf16]:
    # B, H, S, D are symbolic - resolved at runtime
    return ts.nn.flash_attention(q, k, v)


def test_two_shapes_one_artifact(monkeypatch, ref):
    from tessera import backend

    built = []
    real = backend.build_text
    monkeypatch.setattr(backend, "build_text", lambda *a, **k: built.append(a) or real(*a, **k))
    large_batch = [ts.randn(8, 2, 64, 16, dtype=ts.bf16) for _ in range(3)]
    small_batch = [ts.randn(1, 2, 16, 16, dtype=ts.bf16) for _ in range(3)]
    # Works for training (large batches)
    training_out = attention(*large_batch)
    # Works for inference (small batches)
    inference_out = attention(*small_batch)
    assert len([a for a in built if "attention" in a[1]]) == 1
    for out, qkv in ((training_out, large_batch), (inference_out, small_batch)):
        want, weight, _ = ref.attention(*map(ref.f64, qkv), causal=False)
        assert (np.abs(ref.f64(out) - want) <= 2.0**-8 * (np.abs(want) + 1.01 * weight)).all()


def test_the_document_as_written_names_what_is_unknown():
    @ts.function
    def alone(q: ts.Tensor["B", "H", "S", "D", ts.bf16]) -> ts.Tensor["B", "H", "S", "D", ts.bf16]:
        return ts.nn.flash_attention(q, k, v)

    with pytest.raises(NameError, match="'k'"):
        alone(ts.randn(1, 1, 4, 8, dtype=ts.bf16))
