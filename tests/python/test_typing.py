"""What a type checker sees of programs: the documents' ones are without errors, results have types, wrong programs have errors where they are."""

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tessera as ts

sys.path.insert(0, str(Path(__file__).resolve().parent))
import pages

WITH_PLUGIN = """[mypy]
plugins = tessera.mypy_plugin
check_untyped_defs = True
allow_redefinition = True
[mypy-torch.*,jax.*,ml_dtypes.*,pytest.*,safetensors.*]
ignore_missing_imports = True
follow_imports = skip
"""

# every line with `# is:` is revealed as this
RIGHT = '''
from typing import Optional, TypeAlias, cast

import numpy as np
import tessera
import tessera as ts
from tessera import Tensor as TT, graph, op
from tessera.op import softmax as soft

Hidden = ts.Tensor["B", "S", "3*D", ts.bf16 @ ts.accum(ts.f32)]
Pair: TypeAlias = tuple[Hidden, TT["B", 4]]


@ts.function
def attention(q: ts.Tensor["B", "H", "S", 64, ts.bf16], k: ts.Tensor["B", ..., ts.bf16], causal: bool = True) -> ts.Tensor["B", "H", "S", 64, ts.bf16]:
    B, H, S, D = q.shape
    reveal_type(q)  # is: tessera.tensor.Tensor
    reveal_type(q.reshape(B * H, S, D // 2, 2) @ k.T * 2.0)  # is: tessera.tensor.Tensor
    return ts.nn.flash_attention(q, k, k, causal=causal)


@ts.jit
def two(x: "ts.Tensor['N', 3]", weights: ts.Dict[str, ts.Tensor[3, "M"]]) -> dict[str, ts.Tensor]:
    reveal_type(weights)  # is: dict[str, tessera.tensor.Tensor]
    return {"y": ts.nn.gelu(x @ weights["w"]) * 2.0 + 1.0}


@ts.function
def maybe(x: ts.Tensor["B", 4, ts.f32], b: "ts.Tensor['B', 4, ts.f32] | None" = None, *xs: tuple[ts.Tensor["3*B", 4], ...]) -> ts.Tensor["B", 4] | None:
    reveal_type(b)  # is: tessera.tensor.Tensor | None
    reveal_type(xs)  # is: tuple[tuple[tessera.tensor.Tensor, ...], ...]
    return x if b is None else x + b


@ts.jit(policy=op.numeric(accum="f32"))
def three(x: tessera.Tensor["N"]) -> tuple[ts.Tensor["N"], ts.Tensor["N"]]:
    return x, -x


class Model(ts.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = ts.randn(3, 4)

    def forward(self, x: ts.Tensor["B", 3]) -> ts.Tensor:
        return ts.nn.softmax(x @ self.w, axis=-1)

    @ts.function
    def more(self, x: ts.Tensor, n: int) -> ts.Tensor:
        return x


@ts.kernel
def scaled(X: ts.Tile["N", "M", ts.f32], Y: ts.Tile["N", "M", ts.f32], factor: float):
    for i in ts.tile.range(X.shape[0], step=64):
        tile = ts.tile.load(X[i : i + 64])
        reveal_type(tile)  # is: tessera._types.Tile
        m, l, p = ts.tile.online_softmax(tile, tile, tile)
        ts.tile.store(Y[i : i + 64], ts.exp(tile @ p.T) * factor)


def nothing(a: Hidden, b: Pair, c: Optional[ts.Tensor[2, "N"]], d: list[ts.Tensor["N"]] | None) -> None:
    reveal_type(a)  # is: tessera.tensor.Tensor
    reveal_type(b)  # is: tuple[tessera.tensor.Tensor, tessera.tensor.Tensor]
    reveal_type(c)  # is: tessera.tensor.Tensor | None
    reveal_type(d)  # is: list[tessera.tensor.Tensor] | None
    reveal_type(cast(ts.Tensor["B", ts.f32], 3))  # is: tessera.tensor.Tensor
    nothing.__annotations__ = {"a": ts.Tensor["N", 3], "b": (ts.Tensor["N"], [ts.Tensor["3*N"]])}
    if isinstance(c, ts.Tensor):
        x: ts.Tensor["K", ts.f32] = c
        reveal_type(x)  # is: tessera.tensor.Tensor


z = ts.randn(2, 3, dtype=ts.bf16)
a = np.ones((2, 3), np.float32)
reveal_type(z)  # is: tessera.tensor.Tensor
reveal_type(z.shape)  # is: tuple[int, ...]
reveal_type(z.dtype)  # is: tessera.dtypes.DType
reveal_type(z @ z.T)  # is: tessera.tensor.Tensor
reveal_type(2 - z)  # is: tessera.tensor.Tensor
reveal_type(a[0, 0] / z)  # is: Any
reveal_type(-abs(z) ** 2)  # is: tessera.tensor.Tensor
reveal_type(z == 1)  # is: tessera.tensor.Tensor
reveal_type(z[:, 1:, None])  # is: tessera.tensor.Tensor
reveal_type(z.split(3, dim=-1))  # is: tuple[tessera.tensor.Tensor, ...]
reveal_type(z.to("cpu").astype(np.float32).float().sum(-1, keepdims=True))  # is: tessera.tensor.Tensor
reveal_type(z.softmax().layer_norm().transpose(0, 1))  # is: tessera.tensor.Tensor
reveal_type([row for row in z])  # is: list[tessera.tensor.Tensor]
reveal_type(ts.exp(z))  # is: tessera.tensor.Tensor
reveal_type(ts.maximum(0.0, z))  # is: tessera.tensor.Tensor
reveal_type(ts.where(z > 0, z, 0.0))  # is: tessera.tensor.Tensor
reveal_type(ts.split(z, sections=3, dim=-1))  # is: tuple[tessera.tensor.Tensor, ...]
reveal_type(ts.cat([z, z], dim=0))  # is: tessera.tensor.Tensor
reveal_type(ts.ops.softmax(z, axis=(0, 1)))  # is: tessera.tensor.Tensor
reveal_type(ts.ops.sum(z, dim=-1))  # is: tessera.tensor.Tensor
reveal_type(ts.op.matmul(z, z.T, out="f32"))  # is: tessera.tensor.Tensor
reveal_type(ts.nn.linear(z, z.T, a))  # is: tessera.tensor.Tensor
reveal_type(ts.nn.cross_entropy(z, ts.randint(0, 3, (2,))))  # is: tessera.tensor.Tensor
reveal_type(ts.zeros(2, 3))  # is: tessera.tensor.Tensor
reveal_type(ts.from_dlpack(a))  # is: tessera.tensor.Tensor
reveal_type(ts.f32)  # is: tessera.dtypes.DType
reveal_type(soft(z))  # is: tessera.tensor.Tensor
reveal_type(op.softmax(a).shape)  # is: tuple[int, int]
reveal_type(op.argmax(a))  # is: Any
reveal_type(op.tensor(("B", 4)) * 2)  # is: tessera.trace.Value
reveal_type(graph.compile(op.tensor(("B", 4)) * 2))  # is: tessera.graph.CompiledGraph
reveal_type(attention(z, k=z))  # is: tessera.tensor.Tensor
reveal_type(attention(a, a))  # is: Any
reveal_type(ts.jit(attention)(z, z, False))  # is: tessera.tensor.Tensor
reveal_type(attention.tg())  # is: str
reveal_type(maybe(z, None))  # is: tessera.tensor.Tensor | None
reveal_type(two(z, {"w": z}))  # is: dict[str, tessera.tensor.Tensor]
reveal_type(three(z))  # is: tuple[tessera.tensor.Tensor, tessera.tensor.Tensor]
reveal_type(ts.jit(lambda x: x @ z)(z))  # is: Any
reveal_type(ts.jit(Model())(z))  # is: tessera.tensor.Tensor
reveal_type(Model()(z))  # is: tessera.tensor.Tensor
reveal_type(Model()(a))  # is: Any
reveal_type(ts.jit(Model())(a))  # is: Any
reveal_type(Model().more(z, 2))  # is: tessera.tensor.Tensor
reveal_type(ts.jit(scaled))  # is: tessera.kernel.JitKernel
'''

# every line with `# error:` has an error of this kind, and no other line has one
WRONG = '''
import tessera as ts
from tessera import op, sofmax  # error: attr-defined

z = ts.randn(2, 3)


@ts.function
def f(x: ts.Tensor["N", ts.f32], n: int) -> ts.Tensor["N", ts.f32]:
    x.sofmax()  # error: attr-defined
    return n  # error: return-value


@ts.kernel
def kernel(X: ts.Tile["N", ts.f32], Y: ts.Tile["N", ts.f32]):
    ts.tile.stoer(Y, X)  # error: attr-defined
    ts.tile.store(Y, 1.0)  # error: arg-type


class Model(ts.Module):
    def forward(self, x: ts.Tensor["N"]) -> ts.Tensor["N"]:
        return x


ts.ops.softmax(z, axes=0)  # error: call-arg
ts.ops.softmax(z, axis="a")  # error: arg-type
ts.ops.softmx(z)  # error: attr-defined
ts.sofmax(z)  # error: attr-defined
ts.nn.sofmax(z)  # error: attr-defined
op.matmul(z)  # error: call-arg
op.exp("a")  # error: type-var
op.add(z, "a")  # error: call-overload
z @ "a"  # error: operator
z.reshape(2.5)  # error: arg-type
ts.randn(2, dtype=3)  # error: arg-type
ts.gelu(z, approximate=1)  # error: arg-type
ts.split(z, sections="3")  # error: arg-type
Model()("abc")  # error: call-overload
Model()(z, z)  # error: call-overload
f("abc", 1)  # error: call-overload
f(z)  # error: call-overload
f(z, 1, 2)  # error: call-overload
s: str = z + z  # error: assignment
'''

# as anyone has it who does not ask for the plugin
PLAIN = '''
import tessera as ts
from tessera import op

@ts.function
def f(x: ts.Tensor, w: ts.Dict[str, ts.Tensor]) -> ts.Tensor:
    return ts.nn.softmax(x @ w["w"])

x: ts.Tensor = ts.randn(2, 3)
reveal_type(f(x, {"w": x}))  # is: tessera.tensor.Tensor
reveal_type(op.matmul(x, x))  # is: tessera.tensor.Tensor
reveal_type(ts.kernel)  # is: def (fn: def (*Any, **Any) -> Any) -> tessera.kernel.Kernel
'''

# what the documents show: tests/python/spec has the programs; python blocks of the pages stand in one file each
SPEC = ("s01", "s02", "s04", "s06", "s08", "s13", "s17", "s20", "s22")
# of these the calls that are shown to be wrong, or are of a later release, are errors for a checker too
WRONG_ON_PURPOSE = {"docs/api/errors.md", "docs/guides/training.md"}


@pytest.fixture(scope="module")
def check(build_folder, tmp_path_factory):
    """check({name: text}, settings): mypy's lines for these files, by (file, line)."""
    package = str(Path(next(iter(ts.__path__))).resolve().parent)

    def run(files, settings):
        folder = tmp_path_factory.mktemp("typed")
        (folder / "mypy.ini").write_text(settings)
        for name, text in files.items():
            (folder / name).write_text(text)
        env = {k: v for k, v in os.environ.items() if k != "MYPYPATH"}
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--no-error-summary", "--cache-dir", build_folder.resolve() / f"mypy-user-{len(settings)}", *files],
            cwd=folder, env={**env, "PYTHONPATH": package, "MYPY_FORCE_COLOR": "0"}, capture_output=True, text=True,
        )
        assert done.returncode in (0, 1) and not done.stderr, done.stdout + done.stderr
        found = {}
        for line in done.stdout.splitlines():
            file, number, rest = line.split(":", 2)
            found.setdefault((file, int(number)), []).append(rest.strip())
        return found

    return run


def revealed(found, file, text):
    """Holds what mypy says of a file against its `# is:` and `# error:` comments."""
    for number, line in enumerate(text.splitlines(), 1):
        said = found.pop((file, number), [])
        if "  # is: " in line:
            assert said == [f'note: Revealed type is "{line.partition("  # is: ")[2]}"'], (line, said)
        elif "  # error: " in line:
            errors = [s for s in said if s.startswith("error")]
            assert len(errors) == 1 and errors[0].endswith(f"[{line.partition('  # error: ')[2]}]"), (line, said)
        else:
            assert not said, (line, said)
    assert not [k for k in found if k[0] == file]


def test_programs(check, root):
    documents = {f"{name}.py": (root / f"tests/python/spec/test_{name}.py").read_text() for name in SPEC}
    documents["s01.py"] = documents["s01.py"].partition("def test_wrong_calls")[0]
    for page in ["README.md", *pages.GUIDES, *pages.API]:
        text = "\n".join(text for _, kind, _, text in pages.blocks((root / page).read_text()) if kind == "python")
        if text and page not in WRONG_ON_PURPOSE:
            documents[re.sub(r"\W", "_", page) + ".py"] = text
    assert len(documents) > len(SPEC) + 8
    found = check({"right.py": RIGHT, "wrong.py": WRONG, **documents}, WITH_PLUGIN)
    revealed(found, "right.py", RIGHT)
    revealed(found, "wrong.py", WRONG)
    assert not found


def test_again_from_the_cache(tmp_path, build_folder):
    """A file that has not changed is analysed again because another one has."""
    (tmp_path / "mypy.ini").write_text(WITH_PLUGIN)
    (tmp_path / "layer.py").write_text('import tessera as ts\nfrom sizes import n\ndef f(x: ts.Tensor["B", ts.f32]) -> int:\n    return n\n')
    env = {**os.environ, "PYTHONPATH": str(Path(next(iter(ts.__path__))).resolve().parent), "MYPY_FORCE_COLOR": "0"}
    for value, said in (("1", ""), ("2.5", "layer.py:4: error"), ("3", "")):
        (tmp_path / "sizes.py").write_text(f"n = {value}\n")
        for _ in range(2):
            words = [sys.executable, "-m", "mypy", "--no-error-summary", "--cache-dir", build_folder.resolve() / "mypy-user-again", "layer.py"]
            done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)
            assert done.stdout.count("\n") == bool(said) and done.stdout.startswith(said) and not done.stderr, done.stdout + done.stderr


def test_without_the_plugin(check):
    revealed(check({"plain.py": PLAIN}, "[mypy]\nstrict = True\n"), "plain.py", PLAIN)


def test_the_package_says_that_it_is_typed(root):
    package = Path(next(iter(ts.__path__)))
    for folder in (package, root / "python/tessera"):
        assert (folder / "py.typed").exists()


def names_in(path):
    """What a module of types defines, or gives on under the same name."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            found.update({a.asname: None for a in node.names if a.asname == a.name})
        elif isinstance(node, ast.FunctionDef):
            found[node.name] = [a.arg for a in (*node.args.args, *node.args.kwonlyargs)]
    return found


def test_types_are_of_what_there_is(root):
    """What is written for checkers beside the code has the names, and the parameters, of the code."""
    source = root / "python/tessera"
    here = names_in(source / "_names.pyi")
    assert set(here) == set(ts.ops.__all__) - set(ts.ops.OWN_NAMES)
    assert set(names_in(source / "op.pyi")) == set(ts.ops.OWN_NAMES)  # beside all of _names.pyi
    assert all(getattr(ts, name) is getattr(ts.ops, name) for name in here if name not in ("uniform",))
    for name, parameters in names_in(source / "_decorators.pyi").items():
        assert parameters == list(inspect.signature(getattr(ts, name)).parameters), name
    words = names_in(source / "tile.pyi")
    assert set(words) == set(ts.tile.WORDS)
    for name, (parameters, _) in ts.tile.WORDS.items():
        assert [p for p in re.findall(r"[a-z]\w*(?==|,|\))", parameters.split("=int64")[0] + ")") if p != "shape"] == words[name], name
