"""``ts.aot.compile``: what the folder holds, that it runs without Python, and that it computes what the function does."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

import tessera as ts
from tessera import aot
from tessera.errors import CompileError

import numpy as np

rng = np.random.default_rng(7)
X = rng.standard_normal((2, 3, 8), np.float32)
WEIGHTS = {"w_in": rng.standard_normal((8, 16), np.float32), "layers": [rng.standard_normal((16, 8), np.float32), rng.standard_normal(8, np.float32)]}


@ts.function
def layer(x: ts.Tensor["B", "S", 8, ts.f32], weights, scale: float):
    h = ts.nn.gelu(ts.matmul(x, weights["w_in"]))
    out = ts.matmul(h, weights["layers"][0]) + weights["layers"][1]
    return {"y": x + out * scale, "h": h}


def wanted(x, weights, scale):
    """What the function itself gives."""
    return {k: np.asarray(v) for k, v in layer(x, weights, scale).items()}


def readelf(*words):
    return subprocess.run(["readelf", "-W", *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The layer with its weights inside, for CPUs and two GPUs."""
    out = tmp_path_factory.mktemp("aot") / "deployment"
    aot.compile(layer, example_inputs=[X, WEIGHTS, 0.5], output_path=f"{out}/", target_archs=["sm_80", "sm_90"], embed=["weights"], quiet=True)
    return out


@pytest.fixture(scope="module")
def open_folder(tmp_path_factory):
    """The layer whose weights stay inputs."""
    out = tmp_path_factory.mktemp("aot") / "open"
    aot.compile(layer, [X, WEIGHTS, 0.5], out, [], quiet=True)
    return out


# ---- the folder --------------------------------------------------------------------------------------------------------------


def test_what_is_in_it(folder):
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert names == {"layer.so", "layer.h", "layer.tg", "layer.tsr", "weights.safetensors", "manifest.json", "example.c", "Makefile", "load.py",
                     "tessera/tessera.h", "tessera/dlpack.h"}
    m = json.loads((folder / "manifest.json").read_text())
    assert set(m["files"]) == names - {"manifest.json"}
    for name, f in m["files"].items():
        data = (folder / name).read_bytes()
        assert (f["bytes"], f["sha256"]) == (len(data), hashlib.sha256(data).hexdigest()), name
    assert m["architectures"] == ["x86-64", "sm_80", "sm_90"]
    assert m["inputs"] == [{"name": "x", "dtype": "f32", "shape": ["B", "S", 8], "example": [2, 3, 8]}, {"name": "scale", "dtype": "f32", "shape": [], "example": []}]
    assert {w["name"]: w["shape"] for w in m["weights"]} == {"weights.w_in": [8, 16], "weights.layers.0": [16, 8], "weights.layers.1": [8]}
    assert set(m["dims"]) == {"B", "S"} and all(d["min"] == 1 for d in m["dims"].values())


def test_it_needs_nothing(folder):
    so = folder / "layer.so"
    assert "(NEEDED)" not in readelf("-d", so)
    undefined = {r.split()[7] for r in readelf("--dyn-syms", so).splitlines() if " UND " in r and len(r.split()) > 7}
    assert undefined <= {"dlopen", "dlsym", "pthread_create", "pthread_join"}
    assert sorted(re.findall(r"\.tessera\.plan\.(\w+)", readelf("-S", so))) == ["sm_80", "sm_90a"]


def test_the_weights_are_a_published_file(folder):
    from safetensors.numpy import load_file

    found = load_file(folder / "weights.safetensors")
    assert np.array_equal(found["weights.w_in"], WEIGHTS["w_in"]) and np.array_equal(found["weights.layers.1"], WEIGHTS["layers"][1]) and len(found) == 3


def test_the_same_call_gives_the_same_bytes(open_folder, tmp_path):
    aot.compile(layer, example_inputs=[X, WEIGHTS, 0.5], output_path=tmp_path / "again", target_archs=["cpu"], quiet=True)
    for path in open_folder.rglob("*"):
        if path.is_file():
            assert (tmp_path / "again" / path.relative_to(open_folder)).read_bytes() == path.read_bytes(), path.name


# ---- from Python -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("b, s", [(2, 3), (1, 1), (5, 17)])
def test_open_sizes(folder, b, s):
    model = ts.aot.load(folder)
    x = rng.standard_normal((b, s, 8), np.float32)
    got, want = model(x, 0.25), wanted(x, WEIGHTS, 0.25)
    assert list(got) == list(want)
    for k in got:
        assert np.asarray(got[k]).shape == want[k].shape
        np.testing.assert_allclose(np.asarray(got[k]), want[k], rtol=2e-5, atol=2e-5)


def test_named_inputs(open_folder):
    model = aot.load(open_folder)
    assert model.inputs == ["x", "weights.w_in", "weights.layers.0", "weights.layers.1", "scale"]
    want = wanted(X, WEIGHTS, 0.5)
    for got in (model(X, WEIGHTS, 0.5), model(x=X, weights=WEIGHTS, scale=0.5), model(X, scale=0.5, weights=WEIGHTS)):
        assert np.array_equal(np.asarray(got["y"]), want["y"]) and np.array_equal(np.asarray(got["h"]), want["h"])
    assert not (open_folder / "weights.safetensors").exists()
    assert "weights.layers.0: f32[16, 8]" in repr(model) and repr(model).startswith("layer(x: f32[B, S, 8]")


def test_it_says_what_stays_an_input(tmp_path, capfd):
    aot.compile(layer, [X, WEIGHTS, 0.5], tmp_path / "a", [])
    assert capfd.readouterr().err == ("tessera: layer: the 3 tensors of 'weights' are inputs of the compiled model; embed=[\"weights\"] puts the examples "
                                      "into the file as weights\n")
    aot.compile(layer, [X, WEIGHTS, 0.5], tmp_path / "b", [], embed=["weights"])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("call, words", [
    (lambda m: m(), "argument 'x' is missing"), (lambda m: m(X), "argument 'weights' is missing"), (lambda m: m(X, WEIGHTS, 0.5, 1), "wanted 3 arguments, found 4"),
    (lambda m: m(X, WEIGHTS, 0.5, x=X), "'x' is given twice"), (lambda m: m(X, WEIGHTS, factor=1), "'factor' is no argument"),
    (lambda m: m(X, {"w_in": WEIGHTS["w_in"]}, 0.5), "'weights.layers.0' is missing"), (lambda m: m(X.astype(np.float64), WEIGHTS, 0.5), "x.*f32.*f64"),
    (lambda m: m(X[0], WEIGHTS, 0.5), "x"), (lambda m: m("x", WEIGHTS, 0.5), "x"),
])
def test_wrong_calls(open_folder, call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call(aot.load(open_folder))


def test_the_loader_in_the_folder(folder):
    home = os.path.dirname(os.path.dirname(ts.__file__))
    done = subprocess.run([sys.executable, "load.py"], cwd=folder, env={**os.environ, "PYTHONPATH": home, "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("layer(x: f32[B, S, 8]"), done.stderr


def test_folders_that_are_none(folder, tmp_path):
    with pytest.raises(FileNotFoundError):
        aot.load(tmp_path)
    for text in ("", "[]", "{}", '{"format": 99}'):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(ValueError, match="no manifest of this version"):
            aot.load(tmp_path)
    (tmp_path / "manifest.json").write_bytes((folder / "manifest.json").read_bytes())
    (tmp_path / "layer.so").write_bytes((folder / "layer.so").read_bytes()[:-1])
    with pytest.raises(ValueError, match="is not the file that was written"):
        aot.load(tmp_path)


# ---- without Python ------------------------------------------------------------------------------------------------------------

BARE = {"PATH": "/usr/bin:/bin"}


@pytest.fixture(scope="module")
def program(folder, tmp_path_factory):
    """The C example, built in a copy of the folder, which is moved afterwards."""
    first = tmp_path_factory.mktemp("c") / "first"
    shutil.copytree(folder, first)
    done = subprocess.run(["make", "CC=gcc -Werror"], cwd=first, env=BARE, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return first.rename(first.with_name("moved")) / "example"


def test_the_c_program_runs(program):
    done = subprocess.run([program], cwd="/", env={}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^on \S", done.stdout) and re.search(r"^y \[2, 3, 8\]: ", done.stdout, re.M) and re.search(r"^h \[2, 3, 16\]: ", done.stdout, re.M)
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", readelf("-d", program)))
    assert needed <= {"layer.so", "libc.so.6", "libm.so.6", "libpthread.so.0"}


def test_the_c_program_computes_what_python_does(program, folder, tmp_path):
    x = rng.standard_normal((4, 9, 8), np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "s.npy", np.float32(0.75))
    words = [f"x={tmp_path}/x.npy", f"scale={tmp_path}/s.npy", f"y={tmp_path}/y.npy", f"h={tmp_path}/h.npy"]
    done = subprocess.run([program, *words], env={}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    got = aot.load(folder)(x, 0.75)
    for k in ("y", "h"):
        assert np.array_equal(np.load(tmp_path / f"{k}.npy"), np.asarray(got[k])), k


@pytest.mark.parametrize("words, status, shown", [
    (["z=a.npy"], 2, "NAME is one of: x scale"), (["x"], 2, "usage"), (["x=none.npy"], 1, "none.npy: cannot be opened"), (["x=wide.npy"], 1, "wanted elements of type <f4"),
    (["x=fortran.npy"], 1, "Fortran order"), (["x=flat.npy"], 1, "x"), (["x=text.npy"], 1, "is no .npy file"), (["x=cut.npy"], 1, "is cut off"), (["x=other.npy"], 1, ""),
])
def test_the_c_program_says_what_is_wrong(program, tmp_path, words, status, shown):
    x = np.ones((2, 3, 8), np.float32)
    for name, a in {"wide": x.astype(np.float64), "fortran": np.asfortranarray(x), "flat": x.ravel(), "other": np.ones((2, 3, 9), np.float32)}.items():
        np.save(tmp_path / f"{name}.npy", a)
    (tmp_path / "text.npy").write_text("hello, this is text")
    np.save(tmp_path / "cut.npy", x)
    os.truncate(tmp_path / "cut.npy", 200)
    done = subprocess.run([program, *words], cwd=tmp_path, env={}, capture_output=True, text=True)
    assert done.returncode == status and shown in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_the_header_is_c_and_cxx(folder):
    for compiler, flags in (("gcc", ["-std=c99", "-x", "c"]), ("g++", ["-std=c++11", "-x", "c++"])):
        done = subprocess.run([compiler, "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I", folder, *flags, folder / "layer.h"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_text_and_pack_compile_again(folder, tmp_path):
    from tessera import compile

    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "s.npy", np.float32(0.5))
    for source in ("layer.tg", "layer.tsr", "layer.so"):
        words = ["run", folder / source, "--input", f"x={tmp_path}/x.npy", "--input", f"scale={tmp_path}/s.npy", "--output", f"y={tmp_path}/y.npy"]
        done = subprocess.run([compile.tsc_path(), *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert np.array_equal(np.load(tmp_path / "y.npy"), np.asarray(aot.load(folder)(X, 0.5)["y"])), source


def test_the_pack_is_loaded_too(folder, cache_folder):
    y, h = ts.load(folder / "layer.tsr")(x=X, scale=0.5)
    got = aot.load(folder)(X, 0.5)
    assert np.array_equal(np.asarray(y), np.asarray(got["y"])) and np.array_equal(np.asarray(h), np.asarray(got["h"]))


# ---- what can be compiled ------------------------------------------------------------------------------------------------------


def test_of_jit_of_plain_functions_and_of_examples_by_name(tmp_path):
    def double(x):
        return x + x

    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for i, (fn, examples) in enumerate(((double, [x]), (ts.jit(double), (x,)), (ts.function(double), {"x": x}))):
        model = aot.compile(fn, examples, tmp_path / str(i), [], name="model")
        assert np.array_equal(np.asarray(model(x)), x + x)
        assert (tmp_path / str(i) / "model.so").exists()
        with pytest.raises(ValueError):  # not annotated: the example's sizes
            model(x[:1])


def test_a_module_brings_its_parameters(tmp_path):
    class Net(ts.Module):
        def __init__(self):
            super().__init__()
            self.w = ts.as_tensor(WEIGHTS["w_in"])

        def forward(self, x: ts.Tensor["B", 8, ts.f32]):
            return ts.matmul(x, self.w)

    net = Net()
    x = rng.standard_normal((3, 8), np.float32)
    for i, fn in enumerate((net, ts.jit(net))):
        model = aot.compile(fn, [x], tmp_path / str(i), [])
        assert model.inputs == ["x"] and [w["name"] for w in model.manifest["weights"]] == ["w"] and model.name == "Net"
        for n in (3, 11):
            x = rng.standard_normal((n, 8), np.float32)
            np.testing.assert_allclose(np.asarray(model(x)), x @ WEIGHTS["w_in"], rtol=1e-5, atol=1e-5)


def test_arrays_from_outside_go_in(tmp_path):
    big = rng.standard_normal((64, 32), np.float32)

    @ts.function
    def f(x: ts.Tensor["N", 64, ts.f32]):
        return ts.matmul(x, big)

    x = rng.standard_normal((2, 64), np.float32)
    model = aot.compile(f, [x], tmp_path / "out", [])
    assert model.inputs == ["x"] and len(model.manifest["weights"]) == 1
    np.testing.assert_allclose(np.asarray(model(x)), x @ big, rtol=1e-4, atol=1e-4)


def test_embedded_arguments_close_their_sizes(tmp_path):
    @ts.function
    def f(x: ts.Tensor["B", "D", ts.f32], w: ts.Tensor["D", "3*D", ts.f32]):
        return ts.matmul(x, w)

    w = rng.standard_normal((4, 12), np.float32)
    x = rng.standard_normal((2, 4), np.float32)
    model = aot.compile(f, [x, w], tmp_path / "out", [], embed=["w"])
    assert model.manifest["inputs"][0]["shape"] == ["B", 4] and model.manifest["outputs"][0]["shape"] == ["B", 12] and list(model.manifest["dims"]) == ["B"]
    np.testing.assert_allclose(np.asarray(model(x)), x @ w, rtol=1e-5, atol=1e-5)
    for wrong, words in ((w[:, :11], "wanted a size of 12, found 11"), (w[0], "wanted rank 2")):
        with pytest.raises(ValueError, match=words):
            aot.compile(f, [x, wrong], tmp_path / "bad", [], embed=["w"])
    assert not (tmp_path / "bad").exists()


def test_results_that_are_trees(tmp_path):
    @ts.function
    def f(x: ts.Tensor["N", ts.f32]):
        return (x + 1, [x * 2, {"deep": x - 1}])

    x = np.arange(3, dtype=np.float32)
    a, (b, c) = aot.compile(f, [x], tmp_path / "out", [])(x)
    assert np.array_equal(np.asarray(a), x + 1) and np.array_equal(np.asarray(b), x * 2) and np.array_equal(np.asarray(c["deep"]), x - 1)


def test_16_bit_floats(tmp_path):
    @ts.function
    def f(x: ts.Tensor["N", 16, ts.bf16], w: ts.Tensor[16, 4, ts.bf16]):
        return ts.matmul(x, w)

    x, w = ts.randn(3, 16, dtype=ts.bf16, device="cpu"), ts.randn(16, 4, dtype=ts.bf16, device="cpu")
    model = aot.compile(f, [x, w], tmp_path / "out", [], embed=["w"])
    assert model(x).tobytes() == f(x, w).tobytes()
    done = subprocess.run(["make", "run"], cwd=tmp_path / "out", env=BARE, capture_output=True, text=True)
    assert done.returncode == 0 and "[3, 4]: " in done.stdout, done.stderr


@pytest.mark.parametrize("arguments, error, words", [
    (dict(embed=["nothing"]), ValueError, "embed names 'nothing', which is no argument of layer: there are x, weights, scale"),
    (dict(target_archs=["sm_91"]), ValueError, "unknown architecture 'sm_91'"), (dict(output_path=""), ValueError, "output_path names no folder"),
    (dict(example_inputs=[X]), TypeError, "weights"), (dict(example_inputs=[X, WEIGHTS, 0.5, 1]), TypeError, "argument"), (dict(name="3d"), ValueError, "C identifier"),
    (dict(fn=3), TypeError, "wanted a function, found int"), (dict(example_inputs=["x", WEIGHTS, 0.5]), TypeError, "'x'"),
    (dict(options=["--no-such-option"]), CompileError, "unknown option"),
])
def test_what_is_refused(open_folder, tmp_path, arguments, error, words):
    out = tmp_path / "out"
    shutil.copytree(open_folder, out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    given = {"fn": layer, "example_inputs": [X, WEIGHTS, 0.5], "output_path": out, "target_archs": [], **arguments}
    with pytest.raises(error, match=words):
        aot.compile(**given)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before and len(list(out.iterdir())) == 9


@pytest.mark.parametrize("name", ["tessera", "math", "String", "load", "dlpack"])
def test_names_that_hide_others(tmp_path, name):
    def f(x):
        return x + 1

    with pytest.raises(ts.TesseraError, match=f"named '{name}'.*name='model'"):
        aot.compile(f, [X], tmp_path / "out", [], name=name)
    f.__name__ = name
    with pytest.raises(ValueError, match=f"named '{name}'"):
        aot.compile(f, [X], tmp_path / "out", [])
    assert not (tmp_path / "out").exists()
    aot.compile(f, [X], tmp_path / "out", [], name="f")


def test_a_name_that_c_does_not_have(tmp_path, capfd):
    def naïve(x):
        return x + 1

    model = aot.compile(naïve, [X], tmp_path / "out", [])
    assert "tessera: naïve: C knows the compiled model as 'na_ve'; name= gives it another name" in capfd.readouterr().err
    assert np.array_equal(np.asarray(model(X)), X + 1) and (tmp_path / "out" / "na_ve.h").exists()
    done = subprocess.run(["make", "run"], cwd=tmp_path / "out", env=BARE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    aot.compile(naïve, [X], tmp_path / "named", [], name="other")
    assert "other" not in capfd.readouterr().err and (tmp_path / "named" / "other.h").exists()


def test_compiling_into_a_folder_again(tmp_path):
    out = tmp_path / "out"
    aot.compile(layer, [X, WEIGHTS, 0.5], out, [], embed=["weights"], name="one")
    (out / "mine.txt").write_text("kept")
    aot.compile(layer, [X, WEIGHTS, 0.5], out, [], name="two", quiet=True)
    names = {p.name for p in out.iterdir()}
    assert "mine.txt" in names and "two.so" in names and not names & {"one.so", "one.h", "one.tg", "one.tsr", "weights.safetensors"}


def test_a_file_that_is_saved_again_is_loaded_again(tmp_path):
    """The loader knows libraries by their paths: what was replaced has to come back new, and what was not as the one that is open."""
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    loaded = []
    for factor in (2.0, 5.0, 7.0):
        a = ts.op.tensor((2, 3), dtype="f32")
        ts.graph.compile(a * factor, target="cpu").save(str(tmp_path / "m.so"))
        loaded.append(ts.load(str(tmp_path / "m.so")))
        again = ts.load(str(tmp_path / "m.so"))
        for model, want in zip([*loaded, again], (2.0, 5.0, 7.0)[: len(loaded)] + (factor,)):
            np.testing.assert_array_equal(np.asarray(model(x)), x * np.float32(want))


# ---- the loaded model is called as the function is ---------------------------------------------------------------------------


@ts.function
def scaled(x: ts.Tensor["B", 8, ts.f32], n: int, w: ts.Tensor[8, "C", ts.f32], factor: float = 2.0, *, flag: bool = True, bias: float = 1.0):
    y = (x @ w) * factor * float(n) + bias
    return y if flag else -y


@pytest.fixture(scope="module")
def scaled_folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("aot") / "scaled"
    aot.compile(scaled, [X[0], 3, WEIGHTS["w_in"]], out, [], quiet=True)
    return out


def test_it_is_called_as_the_function(scaled_folder):
    m, x, w = aot.load(scaled_folder), X[0], WEIGHTS["w_in"]
    for args, kwargs in (((x, 3, w), {}), ((x, 3, w, 0.5), {}), ((x, 3), dict(w=w)), ((), dict(w=w, x=x, n=3, bias=0.0, flag=True)), ((x, np.int64(3), w, np.float16(4.0)), {})):
        assert np.array_equal(m(*args, **kwargs), scaled(*args, **kwargs)), (args, kwargs)
    assert np.array_equal(m(x, w=w), scaled(x, 3, w))  # what is compiled in may be left out
    assert json.loads((scaled_folder / "manifest.json").read_text())["arguments"][3:] == [
        {"name": "factor", "tree": "tensor", "default": 2.0},
        {"name": "flag", "tree": {"static": True}, "kind": "keyword_only"},
        {"name": "bias", "tree": "tensor", "kind": "keyword_only", "default": 1.0},
    ]


@pytest.mark.parametrize("call, kind, match", [
    (lambda m, x, w: m(x, 4, w), ValueError, "'n' is a constant of the compiled model: wanted 3, found 4"),
    (lambda m, x, w: m(x, w), ValueError, "'n' is a constant of the compiled model: wanted 3, found ndarray"),
    (lambda m, x, w: m(x, 3, w, flag=False), ValueError, "'flag' is a constant of the compiled model: wanted True, found False"),
    (lambda m, x, w: m(x, 3, w, 2.0, True), TypeError, r"wanted 4 arguments, found 5 \(there are x, n, w, factor\)"),
    (lambda m, x, w: m(x, 3), TypeError, "argument 'w' is missing"),
    (lambda m, x, w: m(x, 3, w, n=3), TypeError, "'n' is given twice"),
])
def test_calls_that_are_not_the_functions(scaled_folder, call, kind, match):
    with pytest.raises(kind, match=match) as e:
        call(aot.load(scaled_folder), X[0], WEIGHTS["w_in"])
    assert isinstance(e.value, ts.TesseraError)


def test_trees_with_constants_and_the_rest_of_arguments(tmp_path):
    @ts.function
    def f(config, *tensors, **named):
        out = config["w"] * float(config["n"])
        for t in (*tensors, *named.values()):
            out = out + t
        return out if config["mode"] is None else {"out": out, "type": ts.f32, "n": [config["n"]]}

    a, config = X[0], {"w": X[0], "n": 3, "mode": None}
    aot.compile(f, example_inputs=[config, a, a], output_path=tmp_path, target_archs=[], quiet=True)
    m = aot.load(tmp_path)
    assert np.array_equal(m(config, a, a), f(config, a, a))
    aot.compile(f, example_inputs=[{**config, "mode": ts.bf16}], output_path=tmp_path / "other", target_archs=[], quiet=True)
    other = aot.load(tmp_path / "other")({**config, "mode": ts.bf16})
    assert np.array_equal(other["out"], a * 3.0) and other["type"] == "tessera.f32" and other["n"] == [3]
    with pytest.raises(ValueError, match="'config.mode' is a constant of the compiled model: wanted tessera.bf16, found None"):
        aot.load(tmp_path / "other")(config)
    for call, words in (
        (lambda: m({**config, "n": 4}, a, a), "'config.n' is a constant of the compiled model: wanted 3, found 4"),
        (lambda: m(config, a), "argument 'tensors.1' is missing"),
        (lambda: m(config, a, a, a), "'tensors.2' is not in the compiled model"),
        (lambda: m({**config, "more": a}, a, a), "'config.more' is not in the compiled model"),
        (lambda: m(config, a, a, k=a), "'named.k' is not in the compiled model"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            call()


def test_embedded_arguments_are_not_given(folder):
    with pytest.raises(TypeError, match="'weights' is embedded in the model"):
        aot.load(folder)(X, 0.5, weights=WEIGHTS)
