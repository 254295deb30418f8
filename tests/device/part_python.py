"""The Python package on this GPU: tensors, calls, DLPack, streams, capture, threads and fork (python_calls.py), programs of the documents at sizes that a GPU has time for
(python_programs.py), and operators inside jax.jit where there is a JAX that computes on a GPU (python_jax.py), each script a process of its own with the package alone; the tests
of the documents' programs (tests/python/spec), whose tensors lie on the GPU here."""
import re
import shutil
import sys
from pathlib import Path

import lab as kit

SPEC = Path(__file__).resolve().parents[1] / "python" / "spec"
MODEL_SCRIPT = "python_calls.py"  # takes the compiled MODEL
MODEL = """tessera 1
dims N, M, K

graph add(x: f32[N, M], y: f32[N, M]) -> (z: f32[N, M]) {
  z = x + y
}

graph scale(x: f32[N], s: f32[]) -> (y: f32[N], t: f32[]) {
  y = x * s
  t = s + s
}

graph cat(a: f32[N, 4], b: f32[M, 4]) -> (c: f32[N + M, 4]) {
  c = concat([a, b], axis = 0)
}

graph mm(a: bf16[M, K], b: bf16[K, N]) -> (c: bf16[M, N]) {
  c = a @ b
}

graph chain(x: f32[N, M]) -> (y: f32[N, M]) {
  y = softmax(softmax(softmax(x)))
}
"""


def environment(lab):
    """The package, its compiler, a cache; JAX doesn't take the card's memory for itself: others use it too."""
    return {"PYTHONPATH": str(lab.tmp / "package"), "TESSERA_TSC": str(lab.tsc), "TESSERA_CACHE": str(lab.tmp / "cache"), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def scripts(lab, *names):
    """Runs each with the package; yields its verdicts."""
    home = lab.tmp / "package"
    if not (lab.package / "_core.abi3.so").exists():
        yield "package", False, "%s is not there: make python" % lab.package
        return
    shutil.copytree(lab.package, home / "tessera", symlinks=True, ignore=shutil.ignore_patterns("bin"))
    env = environment(lab)
    if MODEL_SCRIPT in names:
        env["TESSERA_MODEL"] = str(lab.compile("calls", MODEL, "sm_80,sm_90"))
    for script in names:
        done = lab.run([sys.executable, str(Path(__file__).parent / script)], timeout=300, env=env)
        yield from kit.verdicts(script.partition(".")[0], done)
        for line in done.out.splitlines():
            if line.startswith("note "):
                lab.note(line[5:])


def has_jax(lab):
    """Whether JAX is installed and computes on a GPU; what is missing goes into the report."""
    done = lab.run([sys.executable, "-c", "import jax; print(jax.__version__, jax.devices('gpu'))"])
    if done.code:
        lab.note("no operators inside jax.jit were tested: " + (done.err.strip().splitlines() or ["JAX ended with %d" % done.code])[-1])
    return not done.code


def documents(lab, jax):
    """tests/python/spec under pytest; those with JAX where there is one for GPUs."""
    left_out = [] if jax else ["--ignore", str(SPEC / "test_s20.py"), "--deselect", str(SPEC / "test_s22.py::test_with_jax")]
    done = lab.run([sys.executable, "-m", "pytest", "-q", "-rA", "--tb=short", "-p", "no:cacheprovider", *left_out, str(SPEC)], timeout=300, env=environment(lab))
    found = re.findall(r"^(PASSED|FAILED|ERROR) .*?(test_\w+\.py\S*)(?: - (.*))?$", done.out, re.M)
    for verdict, name, why in found:
        yield name, verdict == "PASSED", why
    if not found:
        yield "documents", False, (done.out + done.err)[-500:]


def has_pytest(lab):
    """Whether the files of the documents' programs can be imported; what is missing goes into the report."""
    done = lab.run([sys.executable, "-c", "import pytest"])
    if done.code:
        lab.note("none of the documents' programs were run: no pytest in this Python")
    return not done.code


def run(lab):
    jax, programs = has_jax(lab), has_pytest(lab)
    yield from scripts(lab, MODEL_SCRIPT, *(["python_programs.py"] if programs else []), *(["python_jax.py"] if jax else []))
    if programs:
        yield from documents(lab, jax)
