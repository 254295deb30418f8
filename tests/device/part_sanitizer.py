"""compute-sanitizer on every variant of every kernel family: memcheck and racecheck, in this GPU's own code and in sm_80 code; each variant on the smallest
sizes that choose it, with tails. The program it watches (tests/device/host.c) has no PyTorch in it, which would take most of the time."""
import math
import random
import re

import lab as kit
import part_guards as guards
import torch
from part_diff import architectures

RANDOM = "dims R, N\n\ngraph f(key: int64[2], x: f32[R, N]) -> (y: f32[R, N]) {\n  y = x + uniform(key, [R, N])\n}\n"
WORK, BYTES = 2e9, 1 << 26  # sanitized kernels are some hundred times slower
USUAL = {"P": 2, "B": 1, "H": 2, "R": 40}


def small_sizes(case, steps):
    """For each variant, of random sizes that choose it, those nearest to some hundred in each dim: several tiles and trips of a ring, with tails."""
    rng, best, kernels = random.Random(1), {}, {k for step in steps for k, _, _ in step}
    for i in range(40000):
        if i >= 6000 and kernels <= best.keys():
            break
        dims = {}
        for k, most in case.limits.items():
            v = int(most ** rng.random()) + rng.randrange(3)
            dims[k] = min(most, max(1, v - v % rng.choice((1, 1, 8, 64)))) or 1
        work, size = case.work(dims)
        large = 1 if i < 6000 else 32  # for what small sizes never choose
        if work > WORK * large or size > BYTES * large:
            continue
        far = sum(abs(math.log2(v / USUAL.get(k, 260))) for k, v in dims.items())
        for kernel in guards.choice(steps, dims):
            if kernel not in best or far < best[kernel][0]:
                best[kernel] = (far, dims)
    missing = sorted(kernels - best.keys())
    return list({tuple(sorted(d.items())): d for _, d in best.values()}.values()), missing


def shapes(text, dims):
    """The words for host.c: each input's shape for these sizes."""
    params = re.search(r"graph f\((.*?)\) ->", text).group(1)
    words = []
    for name, dims_text in re.findall(r"(\w+): \w+\[([^\]]*)\]", params):
        words.append("%s=%s" % (name, "x".join(str(eval(d, {"__builtins__": {}}, dims)) for d in dims_text.split(",") if d.strip())))
    return words


def cases():
    for c in guards.cases():
        yield c
    yield guards.Case("random", RANDOM, [], dict(R=300, N=3000), lambda d: (0.0, 12.0 * d["R"] * d["N"]), None)


def run(lab):
    tool = lab.tool("compute-sanitizer")
    jobs = [(arch, case) for arch in architectures() for case in cases()]
    counts = {"memcheck": 0, "racecheck": 0}

    def one(job):
        arch, case = job
        out = []
        path = lab.compile(case.name, case.text, arch.rstrip("a"))
        steps = guards.steps_of(lab.run([lab.tsc, "inspect", path]).out, arch)
        sets, missing = small_sizes(case, steps)
        name = "%s/%s" % (case.name, arch)
        out.append((name + "/variants", not missing, "too large for a sanitizer: " + " ".join(missing)))
        if case.name.startswith("attention_one"):
            sets.append(dict(B=1, H=1, T=2600, D=64))  # several spans of keys, put together at the end
        words = []
        for dims in sets:
            words += (["+"] if words else []) + shapes(case.text, dims)
        for check in ("memcheck", "racecheck"):
            argv = [tool, "--tool", check, "--error-exitcode", "77", "--print-limit", "5", lab.host, path, *words]
            done = lab.run(argv, timeout=240)
            clean = done.code == 0 and "\nok" in done.out and re.search(r"(ERROR SUMMARY|RACECHECK SUMMARY): 0 (errors|hazards)", done.out + done.err)
            counts[check] += len(sets)
            out.append(("%s/%s" % (name, check), bool(clean), "sizes %s, ended with %d%s\n%s" % (sets, done.code, " (too late)" if done.timed_out else "", (done.out + done.err)[-1800:])))
        return out

    def guarded(job):
        try:
            return one(job)
        except Exception as e:
            return [("%s/%s" % (job[1].name, job[0]), False, "%s: %s" % (type(e).__name__, e))]

    for results in lab.map(guarded, jobs):
        yield from results
    if "sm_90a" in architectures():
        yield from texts(lab, tool)
    lab.note("compute-sanitizer: %d runs of variants under memcheck, %d under racecheck" % (counts["memcheck"], counts["racecheck"]))


def texts(lab, tool):
    """The row texts, one of them over a cluster's shared memory, launched by a process without PyTorch."""
    import sys

    for text, threads, shared, r, n, ctas in (("layer_norm_sm90a", 128, 32, 5, 776, 1), ("layer_norm_cluster_sm90a", 256, 256, 3, 20000, 4)):
        image = lab.tmp / (text + ".cubin")
        made = lab.run([lab.tsc, kit.HOME / ("examples/kernels/%s.tile" % text), "-o", image, "--arch", "sm_90"])
        for check in ("memcheck", "racecheck"):
            done = lab.run([tool, "--tool", check, "--error-exitcode", "77", sys.executable, kit.HOME / "tests/device/bare.py", image, threads, shared, r, n, ctas], timeout=240)
            clean = made.code == 0 and done.code == 0 and "ran" in done.out
            yield "%s/%s" % (text, check), clean, made.err + (done.out + done.err)[-1800:]
