"""S13, the Python half: a graph is compiled, saved as mlp.tsr, and loaded again."""

import numpy as np
import pytest

import tessera as ts
from tessera import graph, op

B, D = 4, 32


@pytest.fixture(scope="module")
def mlp():
    X = op.tensor((B, D), dtype="bf16")
    return op.mlp(in_dim=D, hidden=[64], out_dim=D, name="mlp")(X)


def test_saved_and_loaded(mlp, tmp_path):
    Y = mlp
    compiled = graph.compile(Y, target="ptx")
    compiled.save(tmp_path / "mlp.tsr")
    assert (tmp_path / "mlp.tsr").read_bytes()[:4] == b"\x7fELF"
    x = ts.randn(B, D, dtype=ts.bf16)
    again = ts.load(tmp_path / "mlp.tsr")
    assert again.graphs == ["main"] and [n for n, *_ in again.inputs()] == ["x0"]
    want = Y(x)
    assert again(x).tolist() == again(x0=x).tolist() == want.tolist()


def test_saved_as_other_files(mlp, tmp_path):
    x = ts.randn(B, D, dtype=ts.bf16, device="cpu")  # where the code is for
    want = mlp(x).tolist()
    compiled = graph.compile(mlp, target="cpu")
    compiled.save(tmp_path / "mlp.so")
    assert ts.load(tmp_path / "mlp.so")(x).tolist() == want
    compiled.save(tmp_path / "mlp.tg")
    assert "mlp.0.weight" in (tmp_path / "mlp.tg").read_text() and (tmp_path / "mlp.W.safetensors").exists()
    assert ts.load(tmp_path / "mlp.tg")(x).tolist() == want
    with pytest.raises(ValueError, match=r"mlp.onnx"):
        compiled.save(tmp_path / "mlp.onnx")
    with pytest.raises(FileNotFoundError):
        ts.load(tmp_path / "none.tsr")


def test_weights_come_from_the_seed(mlp, ref):
    x = ts.randn(B, D, dtype=ts.bf16)
    other = op.mlp(in_dim=D, hidden=[64], out_dim=D, name="other")(op.tensor((B, D), dtype="bf16"))
    assert other(x).tolist() == mlp(x).tolist()
    field = op.mlp(in_dim=D, hidden=[64], out_dim=D, policy=op.numeric(dtype="f32"))
    w = {k: ref.f64(t) for k, t in field.state_dict().items()}
    limit = np.sqrt(6 / (D + 64))
    assert np.abs(w["0.weight"]).max() <= limit and np.abs(w["0.weight"]).max() > 0.95 * limit and not w["0.bias"].any()
    data = ts.randn(3, D)
    h = ref.gelu(ref.f64(data) @ w["0.weight"] + w["0.bias"])
    want = h @ w["1.weight"] + w["1.bias"]
    # two products in f32 of up to 64 terms, and gelu's 16 units
    bound = (64 + 40) * 2.0**-23 * ((np.abs(ref.f64(data)) @ np.abs(w["0.weight"]) + 1) @ np.abs(w["1.weight"]) + 1)
    assert (np.abs(ref.f64(field(data)) - want) <= bound).all()
