"""Every operator x element type it takes, on shapes around the sizes where kernels change: interpreted, compiled for this GPU and for sm_80 (from its PTX,
where this GPU is another one), run here, compared."""
import re

import lab as kit
import torch

REFUSED = {"fft", "ifft"}  # no code for GPUs in this release; anything else that is refused is a failure
CELLS = 400  # operator x type, at least
SLOW = ("matmul", "attention", "conv", "cumsum", "softmax", "layer_norm", "rms_norm", "gather")


def architectures():
    own = kit.native(torch.cuda.get_device_capability(0))
    return [own] if own == "sm_80" else [own, "sm_80"]


def run(lab):
    listed = lab.run([lab.tsc, "--list-ops"])
    ops = re.findall(r"^(\w+)\(", listed.out, re.M)
    ops.sort(key=lambda op: op not in SLOW)
    yield "operators-are-listed", len(ops) > 50, listed.out + listed.err
    jobs = [(arch, op) for arch in architectures() for op in ops]
    cells, refused = {}, set()

    def one(job):
        arch, op = job
        return job, lab.run([lab.tests, "test_diff", "1", op], timeout=300, env={"TESSERA_TEST_ARCH": arch, "TMPDIR": str(lab.tmp)})

    for (arch, op), done in lab.map(one, jobs):
        turned_down = set(re.findall(r"^refused (\w+) ", done.out, re.M))
        refused |= turned_down
        if turned_down and done.code == 0 and "\nok " not in "\n" + done.out:
            continue
        found = list(kit.verdicts("%s/%s" % (arch, op), done))
        cells[arch] = cells.get(arch, 0) + sum(ok for _, ok, _ in found)
        yield from found
    yield "only-these-are-refused", refused == REFUSED, "refused: " + " ".join(sorted(refused))
    for arch, n in cells.items():
        lab.note("operator x type, %s: %d cells agree with the interpreter" % (arch, n))
        yield "cells/" + arch, n >= CELLS, "%d cells, %d at least" % (n, CELLS)
