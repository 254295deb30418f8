"""S6: a folder that runs without Python, at sizes that a test has time for."""

import re
import subprocess

import tessera as ts

BARE = {"PATH": "/usr/bin:/bin"}


def test_the_program_of_the_documents(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    @ts.function
    def model(x, weights):
        return ts.nn.transformer_stack(x, weights, num_layers=2)

    model_jit = ts.jit(model)
    d = 32
    inputs = ts.randn(1, 8, d, dtype=ts.bf16)
    weights = {"w_qkv": ts.randn(2, d, 3 * d, dtype=ts.bf16), "w_out": ts.randn(2, d, d, dtype=ts.bf16), "w_mlp": ts.randn(2, d, 4 * d, dtype=ts.bf16)}
    output = model_jit(inputs, weights)
    ts.aot.compile(
        model_jit,
        example_inputs=[inputs, weights],
        output_path="model_deployment/",
        target_archs=["sm_80", "sm_86", "sm_90"],  # A100, RTX 30xx, H100
    )
    loaded = ts.aot.load("model_deployment/")
    assert loaded.inputs == ["x", "weights.w_qkv", "weights.w_out", "weights.w_mlp"]
    assert loaded(inputs, weights).tobytes() == output.tobytes()
    assert "(NEEDED)" not in subprocess.run(["readelf", "-Wd", "model_deployment/model.so"], capture_output=True, text=True, check=True).stdout
    done = subprocess.run(["make", "run"], cwd="model_deployment", env=BARE, capture_output=True, text=True)
    assert done.returncode == 0 and re.search(r"\[1, 8, 32\]: ", done.stdout), done.stderr
