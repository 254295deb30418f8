"""The Python package on this GPU: tensors, calls, DLPack, streams, capture, threads and fork (python_calls.py), and programs of the documents (python_programs.py), each
script a process of its own with the package alone."""
import shutil
import sys
from pathlib import Path

import lab as kit

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


def scripts(lab, *names):
    """Runs each with the package; yields its verdicts."""
    home = lab.tmp / "package"
    if not (lab.package / "_core.abi3.so").exists():
        yield "package", False, "%s is not there: make python" % lab.package
        return
    shutil.copytree(lab.package, home / "tessera", symlinks=True, ignore=shutil.ignore_patterns("bin"))
    env = {"PYTHONPATH": str(home), "TESSERA_TSC": str(lab.tsc), "TESSERA_CACHE": str(lab.tmp / "cache")}
    if MODEL_SCRIPT in names:
        env["TESSERA_MODEL"] = str(lab.compile("calls", MODEL, "sm_80,sm_90"))
    for script in names:
        done = lab.run([sys.executable, str(Path(__file__).parent / script)], timeout=300, env=env)
        yield from kit.verdicts(script.partition(".")[0], done)
        for line in done.out.splitlines():
            if line.startswith("note "):
                lab.note(line[5:])


def run(lab):
    yield from scripts(lab, MODEL_SCRIPT, "python_programs.py")
