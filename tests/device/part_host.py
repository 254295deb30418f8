"""What the host pays: per kernel launched, per prepared model, to open a file; how long the compiler takes for two architectures, and how large their code is. By itself."""
import re
import time

import lab as kit
import torch
from layer import LAYER
from part_diff import architectures

ALONE = True
KERNEL_NS, MODEL_NS, OPEN_US = 2500, 10000, 30000
BUILD_SECONDS, CODE_BYTES = 20, 1_000_000
ONE = "dims R, N\n\ngraph f(x: bf16[R, N], z: bf16[R, N]) -> (y: bf16[R, N]) {\n  y = silu(x) * z + x\n}\n"
TWO = "dims M, N, K\n\ngraph f(a: bf16[M, K], b: bf16[K, N]) -> (c: bf16[M, N]) {\n  c = softmax(a @ b, axis = -1)\n}\n"


def measured(lab, path, *words):
    """The numbers that tests/device/host.c prints, the better of three processes each."""
    best, why = {}, ""
    for _ in range(3):
        done = lab.run([lab.host, path, "--cost", *words])
        if done.code:
            return None, done.err
        for key, value in re.findall(r"^(\w+) (\d+)$", done.out, re.M):
            best[key] = min(best.get(key, 1 << 60), int(value))
    return best, why


def run(lab):
    own = architectures()[0].rstrip("a")
    folder = lab.tmp / "minilm"
    folder.mkdir()
    (folder / "minilm.tg").write_text((kit.HOME / "examples/minilm/minilm.tg").read_text())
    kit.minilm_weights(torch, folder / "model.safetensors")
    made = lab.run([lab.tsc, "minilm.tg", "-o", "minilm.so", "--arch", own], cwd=folder, timeout=240)
    yield "minilm-is-made", made.code == 0, made.err
    models = [
        ("one_kernel", lab.compile("one_kernel", ONE, own), ["x=64x256", "z=64x256"]),
        ("two_kernels", lab.compile("two_kernels", TWO, own), ["a=64x256", "b=256x512"]),
        ("layer", lab.compile("layer", LAYER, own), ["x=2x128x512", "w_qkv=512x1536", "w_out=512x512", "w_mlp=512x2048"]),
        ("minilm", folder / "minilm.so", ["ids=1x16", "mask=1x16", "--below", "2"]),
    ]
    for name, path, words in models:
        n, why = measured(lab, path, *words)
        if not n:
            yield name + "/runs", False, why
            continue
        launches = n["launches"]
        lab.note("host cost %-12s %2d kernels: %5.2f us a run (90 %% below %5.2f), %.2f us a kernel; with new pointers %5.2f us; opened in %.1f ms, CUDA's own context %.0f ms" % (
            name, launches, n["run_ns"] / 1e3, n["run_ns_90"] / 1e3, n["run_ns"] / 1e3 / launches, n["new_pointer_ns"] / 1e3, n["open_us"] / 1e3, n["cuda_context_us"] / 1e3))
        yield name + "/per-kernel", n["run_ns"] <= KERNEL_NS * launches, "%d ns for %d kernels, %d each allowed" % (n["run_ns"], launches, KERNEL_NS)
        yield name + "/per-model", n["run_ns"] <= MODEL_NS, "%d ns, %d allowed" % (n["run_ns"], MODEL_NS)
        yield name + "/own-code", n["jit"] == 0, "the driver compiled PTX"
        if name != "minilm":  # 90 MB of weights
            yield name + "/open", n["open_us"] <= OPEN_US, "%d us, %d allowed" % (n["open_us"], OPEN_US)
    begin = time.monotonic()
    path = lab.compile("both", LAYER, "sm_80,sm_90", "-j", "2")
    seconds = time.monotonic() - begin
    yield "build-of-two-architectures", seconds < BUILD_SECONDS, "%.1f s on two cores" % seconds
    sizes = code_of(lab, path)
    lab.note("the layer for sm_80 and sm_90: built in %.1f s on two cores; bytes of cubins and PTX: %s" % (seconds, sizes))
    fixed = re.sub(r"\bD\b", "4096", LAYER.replace(", D multiple_of 16", ""))  # the weights' sizes known, as in a model
    sizes = code_of(lab, lab.compile("fixed", fixed, "sm_80,sm_90"))
    lab.note("with the weights' sizes known: %s" % sizes)
    for target, numbers in sizes.items():
        yield "code-size/" + target, numbers[0] < CODE_BYTES, "%d bytes of cubins, %d allowed" % (numbers[0], CODE_BYTES)
    yield "code-size/both", set(sizes) == {"sm_80", "sm_90a"}, str(sizes)


def code_of(lab, path):
    """Bytes of cubins and of PTX by target."""
    text = lab.run([lab.tsc, "inspect", path]).out
    return {t: [int(x) for x in re.findall(r"modules: \d+, cubins of (\d+) bytes(?:, PTX of (\d+))?", part)[0] if x] for t, part in
            ((m.group(1), text[m.start():].split("\ngraphs")[0]) for m in re.finditer(r"^target (\w+):", text, re.M))}
