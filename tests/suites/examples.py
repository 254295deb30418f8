"""Every folder of examples/, built and run as a user would: from the command line, as a program, through the C ABI and from C."""

import ast
import os
import re
import shutil
import sys

import numpy as np

KNOWN = {"kernels", "minilm", "mlp", "transformer"}


def failed(r):
    return f"ended with {r.code}\n{r.out[-1500:]}{r.err[-1500:]}"


def quickstart(ctx, tools):
    """The script that `make quickstart` runs: its text, a text of one's own, an empty one."""
    build = ctx.tmp / "build"
    build.mkdir()
    os.symlink(ctx.tsc, build / "tsc")
    script = [sys.executable, ctx.root / "examples" / "minilm" / "quickstart.py", "--build", build]
    orders = {}
    for text in ("", "A cat on the roof.", "Ein $ und \"zwei\" `Anführungszeichen`"):
        r = ctx.run(script, env={**os.environ, "TEXT": text}, timeout=120)
        scores = [float(m) for m in re.findall(r"^ +(-?\d\.\d+)  ", r.out, re.M)]
        orders[text] = re.findall(r"^ +-?\d\.\d+  (.*)", r.out, re.M)
        ok = r.code == 0 and len(scores) == 5 and scores == sorted(scores, reverse=True) and max(map(abs, scores)) <= 1.0001
        yield f"quickstart with text {text!r}", ok and (text or tools.DEFAULT_TEXT) in r.out, failed(r)
    yield "quickstart: a musician is nearest to the guitar", "guitar" in (orders[""] or [""])[0], str(orders[""])
    yield "quickstart: a cat is nearest to the cat", "cat" in (orders["A cat on the roof."] or [""])[0], str(orders)


def minilm(ctx, artifact, tools):
    """minilm.so four ways: ctypes, embed.c, the program, tsc run; the last three give the bits of the first."""
    weights = tools.model_folder() / "model.safetensors"
    source = ctx.root / "examples" / "minilm"
    so, exe, c = ctx.tmp / "minilm.so", ctx.tmp / "minilm", ctx.tmp / "embed"
    for kind, out in (("so", so), ("exe", exe)):
        r = ctx.run([ctx.tsc, source / "minilm.tg", "--emit", kind, "-o", out, "--weights-file", weights], timeout=120)
        yield f"minilm: compiles to {kind}", r.code == 0, failed(r)
    ids, mask = tools.tokenise(["The quick brown fox.", "A model is one file, and needs nothing else."])
    np.save(ctx.tmp / "ids.npy", ids)
    np.save(ctx.tmp / "mask.npy", mask)
    want = artifact.Model(so, "minilm").run("embed", {"ids": ids, "mask": mask})["y"]

    given = ["--input", f"ids={ctx.tmp / 'ids.npy'}", "--input", f"mask={ctx.tmp / 'mask.npy'}", "--output", f"y={ctx.tmp / 'y.npy'}"]
    for name, command in {
        "the program": [exe], "tsc run minilm.so": [ctx.tsc, "run", so],
        "tsc run minilm.tg": [ctx.tsc, "run", source / "minilm.tg", "--weights-file", weights],
    }.items():
        (ctx.tmp / "y.npy").unlink(missing_ok=True)
        r = ctx.run(command + given, timeout=120)
        ok = r.code == 0 and np.array_equal(np.load(ctx.tmp / "y.npy"), want)
        yield f"minilm: {name} gives the .so's bits", ok, failed(r)

    r = ctx.run(["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-I", ctx.tmp, "-I", ctx.root / "include", source / "embed.c", so, "-o", c,
                 f"-Wl,-rpath,{ctx.tmp}"])
    yield "minilm: embed.c compiles against minilm.h", r.code == 0, failed(r)
    r = ctx.run(["g++", "-std=c++11", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I", ctx.root / "include", "-x", "c++", ctx.tmp / "minilm.h"])
    yield "minilm: minilm.h is C++11 too", r.code == 0, failed(r)
    short = ids[0][mask[0] == 1]
    r = ctx.run([c, *short])
    got = np.array(r.out.split(), np.float32)
    alone = artifact.Model(so, "minilm").run("embed", {"ids": short[None], "mask": np.ones((1, len(short)), np.int64)})["y"][0]
    yield "minilm: embed.c prints the vector", r.code == 0 and got.shape == (384,) and np.abs(got - alone).max() <= 6e-7, failed(r)
    r = ctx.run([c])
    yield "minilm: embed.c without ids names the dim", r.code == 1 and "S" in r.err, failed(r)


def program_errors(ctx):
    """What the program says to wrong input: one line that names it, and no result."""
    exe, good = ctx.tmp / "minilm", ctx.tmp / "ids.npy"
    np.save(ctx.tmp / "float.npy", np.zeros((1, 4), np.float32))
    np.save(ctx.tmp / "rank1.npy", np.zeros(4, np.int64))
    np.save(ctx.tmp / "long.npy", np.zeros((1, 513), np.int64))
    np.save(ctx.tmp / "other.npy", np.ones((2, 3), np.int64))
    (ctx.tmp / "text.npy").write_text("hello")
    for why, ids, mask, word in [
        ("type", "float.npy", "mask.npy", "ids"), ("rank", "rank1.npy", "mask.npy", "ids"), ("range", "long.npy", "long.npy", "S"),
        ("disagreement", good.name, "other.npy", "mask"), ("format", "text.npy", "mask.npy", "ids"), ("absence", "none.npy", "mask.npy", "none.npy"),
    ]:
        out = ctx.tmp / "never.npy"
        r = ctx.run([exe, "--input", f"ids={ctx.tmp / ids}", "--input", f"mask={ctx.tmp / mask}", "--output", f"y={out}"])
        ok = r.code in (1, 3) and r.err.startswith("minilm: error:") and word in r.err and r.err.count("\n") == 1 and not out.exists()
        yield f"minilm: wrong {why} is one clear line", ok, failed(r)


def mlp(ctx, artifact):
    """Trained here, compiled, and as accurate as NumPy says."""
    build = ctx.tmp / "mlp-build"
    build.mkdir()
    os.symlink(ctx.tsc, build / "tsc")
    r = ctx.run([sys.executable, ctx.root / "examples" / "mlp" / "run.py", "--build", build], timeout=120)
    numbers = [float(x) for x in re.findall(r"others: ([\d.]+)|program: ([\d.]+)", r.out) for x in x if x]
    yield "mlp: trains, compiles, runs", r.code == 0 and len(numbers) == 2, failed(r)
    yield "mlp: accuracy is NumPy's, above 0.97", len(numbers) == 2 and numbers[0] == numbers[1] > 0.97, str(numbers)
    x, want = np.load(build / "mlp" / "x.npy"), np.load(build / "mlp" / "want.npy")
    got = artifact.Model(build / "mlp" / "mlp.so", "mlp").run("digits", {"x": x})
    yield "mlp: the .so agrees with the program", np.array_equal(got["digit"], np.load(build / "mlp" / "digit.npy")), ""
    yield "mlp: scores are probabilities", np.abs(got["p"].sum(1) - 1).max() < 1e-5 and (got["p"].argmax(1) == got["digit"]).all(), ""
    one = artifact.Model(build / "mlp" / "mlp.so", "mlp").run("digits", {"x": x[:1]})
    yield "mlp: a row alone has the same bits", np.array_equal(one["p"][0], got["p"][0]), ""
    first = (build / "mlp" / "digits.safetensors").read_bytes()
    r = ctx.run([sys.executable, ctx.root / "examples" / "mlp" / "train.py", ctx.tmp / "again"], timeout=120)
    yield "mlp: training again gives the same weights", r.code == 0 and (ctx.tmp / "again" / "digits.safetensors").read_bytes() == first, failed(r)


def kernels(ctx):
    """Kernel texts: each verifies and prints to itself; those for the CPU and for NVIDIA GPUs compile, the others are refused by name."""
    for path in sorted((ctx.root / "examples" / "kernels").glob("*.tile")):
        one = ctx.run([ctx.tsc, path, "--emit", "tile"])
        (ctx.tmp / path.name).write_text(one.out)
        two = ctx.run([ctx.tsc, ctx.tmp / path.name, "--emit", "tile"])
        yield f"{path.name}: verifies and prints to itself", one.code == two.code == 0 and one.out == two.out != "", failed(one) + failed(two)
        target = re.search(r'target = "([^"]*)"', path.read_text()).group(1)
        nvidia = target.startswith("sm_")
        r = ctx.run([ctx.tsc, path, "--emit", "ptx" if nvidia else "asm"])
        compiles = r.code == 0 and (".visible .entry" if nvidia else ".text") in r.out
        refused = r.code == 1 and "E_TARGET" in r.err and f"'{target}'" in r.err and not r.out
        here = nvidia or target == "cpu"
        yield f"{path.name}: {'compiles' if here else 'is refused by its target'}", compiles if here else refused, failed(r)


def test_blocks(ctx, tools):
    """tsc test on every example, and the reference interpreter inside it."""
    for name, more in (("minilm", ["--weights-file", tools.model_folder() / "model.safetensors"]), ("mlp", ["--weights-dir", ctx.tmp / "mlp-build" / "mlp"])):
        r = ctx.run([ctx.tsc, "test", ctx.root / "examples" / name / f"{name}.tg", *more], timeout=240)
        yield f"{name}: its test block holds", r.code == 0 and "compiled" in r.out and "0 failed" in r.out, failed(r)
    path = ctx.root / "examples" / "transformer"
    r = ctx.run([ctx.tsc, "test", path / "layer.tg", path / "block.tg"], timeout=240)
    yield "transformer: the test blocks hold", r.code == 0 and "6 passed, 0 failed" in r.out, failed(r)
    path = ctx.root / "examples" / "kernels" / "attention.tg"
    r = ctx.run([ctx.tsc, "test", path], timeout=240)
    yield "kernels/attention: its test blocks hold", r.code == 0 and "4 passed, 0 failed" in r.out, failed(r)
    r = ctx.run([ctx.tsc, path, "--emit", "graph"])
    yield "kernels/attention: each kernel is the operator", r.code == 0 and r.out.count(" attention(") == 3 and "softmax" not in r.out, failed(r)


def readme(ctx):
    """README's model is the example's, and its command lines run as printed, in a folder that holds what they name."""
    text = (ctx.root / "README.md").read_text()
    model = re.search(r"^<!-- from examples/mlp/mlp.tg -->\n```\n(.*?)^```", text, re.M | re.S)
    yield "README: shows mlp.tg as it is", bool(model) and model.group(1) in (ctx.root / "examples" / "mlp" / "mlp.tg").read_text(), ""
    block = re.search(r"^<!-- run these -->\n\n((?:    .*\n)+)", text, re.M)
    program = re.search(r"^```c\n(.*?)^```", text, re.M | re.S)
    yield "README: has command lines and a C program", bool(block and program), ""
    if not (block and program):
        return
    folder = ctx.tmp / "readme"
    folder.mkdir()
    for path in (ctx.root / "examples" / "mlp" / "mlp.tg", *(ctx.tmp / "mlp-build" / "mlp" / n for n in ("digits.safetensors", "x.npy"))):
        shutil.copy(path, folder)
    (folder / "use.c").write_text(program.group(1))
    env = {**os.environ, "PATH": f"{ctx.build}:{os.environ['PATH']}"}
    (folder / "include").symlink_to(ctx.root / "include")
    for line in (l.split("#")[0].strip() for l in block.group(1).splitlines()):
        r = ctx.run(["bash", "-c", line], cwd=folder, env=env, timeout=120)
        yield f"README: {line}", r.code == 0, failed(r)
    # A probability p moves by at most p (1 - p) <= 1/4 of what its logits move. They are sums of 128 terms after sums of 64, each within
    # (K + 8) 2^-24 of the sum of its terms' sizes, which stays below 40 for pixels in 0..16 and these weights: 40 * 136 * 2^-24 / 4 < 1e-4 at
    # worst; with roundings that do not all point one way, a sqrt(136)th of that.
    got, want = np.load(folder / "p.npy"), np.load(folder / "ref.npy")
    yield "README: compiled code and interpreter agree", np.abs(got - want).max() < 1e-5, ""


def run(ctx):
    """Yields (name, ok, message)."""
    sys.path[:0] = [str(ctx.root / "examples" / "minilm"), str(ctx.root / "tests")]
    import artifact
    import quickstart as tools

    folders = {p.name for p in (ctx.root / "examples").iterdir() if p.is_dir()}
    yield "every example is run here", folders == KNOWN, f"{sorted(folders ^ KNOWN)}"
    for script in sorted((ctx.root / "examples").glob("*/*.py")):
        imported = {a.name.split(".")[0] for n in ast.walk(ast.parse(script.read_text())) if isinstance(n, ast.Import) for a in n.names}
        yield f"{script.name} needs no PyTorch", "torch" not in imported, str(imported)
    yield from quickstart(ctx, tools)
    yield from minilm(ctx, artifact, tools)
    yield from program_errors(ctx)
    yield from kernels(ctx)
    yield from mlp(ctx, artifact)
    yield from test_blocks(ctx, tools)
    yield from readme(ctx)
    shutil.rmtree(ctx.tmp / "build", ignore_errors=True)
