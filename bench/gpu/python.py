"""The class `python` of models.py: the Python package beside its own C interface, torch.compile and AOTInductor. Its second and third part can be
asked for alone.

    python          ts.jit of the quick start's layer over torch.compile for these very sizes, default and max-autotune
    python/call     microseconds: what a call from Python costs beyond the same artifact called from C
    python/start    milliseconds from the start of a process to the first answer of the layer with its weights in the file: a C program and a
                    Python program, each beside AOTInductor's; and what the time goes into

Peers have their weights as parameters of a module, which torch.compile knows not to move. What is measured in processes is made while torch.compile
compiles, and nothing else runs while anything is timed."""
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import artifact
import driver
import first
import measure
import torch

HERE = Path(__file__).resolve().parent
HOME = HERE.parents[1]
D, ARCH = 4096, "sm_90"
LAYERS = ((4, 2048), (1, 128), (4, 128))
STARTS = ((1, 128), (4, 2048))
PARTS = ("python", "python/call", "python/start")
ROUNDS, LATE = 3, 60  # processes of each kind; seconds until one is given up
BEYOND = 5e-3  # ms; and 2 %
BOUND = 2e-2   # of the layer in bf16
BURST, BURSTS = 8, 300
T0 = time.monotonic()


def say(text):
    print("[%3.0f s] %s" % (time.monotonic() - T0, text), flush=True)


def median(values):
    return measure.median(list(values))


def find(packed, built):
    path = HOME / packed if (HOME / packed).exists() else HOME / "build" / built
    if not path.exists():
        raise FileNotFoundError("%s is not there: make bench builds it" % path)
    return path


def settle(folder, tsc):
    """The package on the path of this process and its children; the package's own hash."""
    package = find("lib/tessera/python", "python")
    sys.path.insert(0, str(package))
    os.environ.update(PYTHONPATH=str(package), TESSERA_TSC=str(tsc), TESSERA_CACHE=str(folder / "cache"), TORCHINDUCTOR_CACHE_DIR=str(folder / "inductor"))
    return measure.sha(package / "tessera/_core.abi3.so")[:12]


# ---- the layer ----

class Case:
    """The layer at one size: tensors of the package, and the same memory as PyTorch's."""

    def __init__(self, b, s, weights):
        self.name = "layer B%d S%d D%d" % (b, s, D)
        self.ts = [own((b, s, D), 1.0)] + weights
        self.torch = [torch.from_dlpack(t) for t in self.ts]
        self.work = 2e-9 * b * s * D * D * 12 + 2e-9 * b * s * s * D


def own(shape, scale):
    """A tensor of the package's own memory with random elements."""
    import tessera as ts

    t = ts.empty(*shape, dtype=ts.bf16, device="cuda")
    torch.from_dlpack(t).copy_(torch.randn(*shape, device="cuda") * scale)
    return t


def bytes_of(t):
    return t.contiguous().view(torch.uint8).cpu().numpy().tobytes()


def exact(case):
    """The layer in float64."""
    f, (x, w_qkv, w_out, w_mlp) = torch.nn.functional, [t.double() for t in case.torch]
    b, s, d = x.shape
    q, k, v = (t.reshape(b, s, 16, d // 16).transpose(1, 2) for t in (x @ w_qkv).split(d, -1))
    h = f.layer_norm(x + f.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, s, d) @ w_out, (d,))
    return h + f.gelu(h @ w_mlp, approximate="tanh") @ w_mlp.T


def waited(ours, peer, seconds):
    """Milliseconds of single calls that are waited for, by turns: medians of both, and of the difference."""
    def once(f):
        start = time.perf_counter()
        f()
        torch.cuda.synchronize()
        return (time.perf_counter() - start) * 1e3

    pairs, end = [], time.perf_counter() + seconds
    torch.cuda.synchronize()
    while len(pairs) < 5 or time.perf_counter() < end:
        pairs.append((once(ours), once(peer)) if len(pairs) % 2 else (once(peer), once(ours))[::-1])
    return median(a for a, _ in pairs), median(b for _, b in pairs), median(a - b for a, b in pairs)


def beside_c(jit, art, case, seconds, code):
    """ts.jit over tessera_run of the same file with the same pointers: back to back, and call by call."""
    y = torch.empty_like(case.torch[0])
    run = art.bind(case.torch, [y])
    artifact.BOUND.clear()
    for kind, args in (("ts", case.ts), ("torch", case.torch)):
        def call(args=args):
            jit(*args)

        what = "%s, %s tensors" % (case.name, kind)
        if not measure.kept("python/call", what, code):
            ours, peer, ratio = driver.alternate(call, run, seconds)
            beyond = max(peer / ratio - peer, 0.0)
            measure.keep("python/call", what, "us", 1e3 * beyond, limit=1e3 * (0.02 * peer + BEYOND), code=code, detail="%.1f us a call, from C %.1f, back to back" % (1e3 * ours, 1e3 * peer))
        what += ", call by call"
        if not measure.kept("python/call", what, code):
            ours, peer, beyond = waited(call, run, seconds)
            measure.keep("python/call", what, "us", 1e3 * beyond, limit=1e3 * (0.02 * peer + BEYOND), code=code, detail="%.1f us a call waited for, from C %.1f" % (1e3 * ours, 1e3 * peer))


# ---- what a call costs ----

def functions():
    import tessera as ts

    N = ts.Tensor["N", ts.f32]

    @ts.jit
    def one(x: N):
        return x * 2.0

    @ts.jit
    def two(x: N, y: N):
        return x + y

    @ts.jit
    def three(x: N, y: N, z: N):
        return x + y + z

    @ts.jit
    def four(x: N, y: N, z: N, w: N):
        return x + y + z + w

    return (one, two, three, four)


def burst(f, args):
    """Microseconds that the host spends in a call: the median of bursts that the GPU's queue holds."""
    times = []
    for i in range(BURSTS + 20):
        torch.cuda.synchronize()
        start = time.perf_counter_ns()
        for _ in range(BURST):
            f(*args)
        times.append((time.perf_counter_ns() - start) / BURST * 1e-3)
    return median(times[20:])


def alone(path, names):
    """Microseconds of tessera_run, by a C program in processes of its own, the best of three."""
    words = [str(find("lib/tessera/device/host", "device/host")), str(path), "--cost", *("%s=64" % n for n in names)]
    said = [subprocess.run(words, check=True, capture_output=True, text=True).stdout for _ in range(3)]
    return min(int(re.search(r"^run_ns (\d+)", text, re.M).group(1)) for text in said) * 1e-3


def overhead(core):
    import tessera as ts

    for n, f in enumerate(functions(), 1):
        mine = [ts.empty(64, dtype=ts.f32, device="cuda") for _ in range(n)]
        theirs = [torch.randn(64, device="cuda") for _ in range(n)]
        for t, x in zip(mine, theirs):
            torch.from_dlpack(t).copy_(x)
        want = theirs[0] * 2 if n == 1 else sum(theirs[1:], theirs[0])
        if not (torch.equal(torch.from_dlpack(f(*mine)), want) and torch.equal(f(*theirs), want)):
            measure.wrong("python/call %d arguments" % n)
        built = f.lower(*mine).callable_for("cuda:0")
        path, run = built.program.path, None
        code = measure.sha(path) + core
        eager = {1: lambda x: x * 2.0, 2: lambda x, y: ts.ops.add(x, y)}.get(n)
        for kind, args, limit in (("ts", mine, 5.0), ("torch", theirs, 15.0)):
            for way, g, most in (("ts.jit", f, limit), ("eager", eager if kind == "ts" or n == 2 else None, None)):
                what = "%s, %d argument%s, %s tensors" % (way, n, "s"[: n > 1], kind)
                if g is None or measure.kept("python/call", what, code):
                    continue
                run = alone(path, [i[0] for i in built.program.inputs(0)]) if run is None else run
                g(*args)
                beyond = burst(g, args) - run
                measure.keep("python/call", what, "us", beyond, limit=most, code=code, detail="beyond the %.2f of tessera_run" % run)


# ---- over torch.compile ----

def peers(case):
    """torch.compile in both of its ways, compiled when first called; those of a few rows by default alone."""
    module = first.layer_of(torch, {name: t for (name, _), t in zip(first.WEIGHTS, case.torch[1:])})
    for name, mode in (("compile", None), ("max-autotune", "max-autotune")):
        if mode is None or case.name != "layer B4 S128 D%d" % D:
            yield name, torch.compile(module, mode=mode, dynamic=False)


def over_compile(jit, art, case, seconds, compiled, code):
    x = case.torch[0]
    y = jit(*case.torch)
    want = exact(case)
    ratios = []
    for name, peer in compiled:
        artifact.BOUND.add(art.code)
        theirs = measure.error_of(peer(x), want)
        if not theirs < BOUND:
            measure.wrong("python %s of %s: %.1e" % (name, case.name, theirs))
        measure.report("python", "%s over %s" % (case.name, name), y, want, BOUND, measure.alternate(lambda: jit(*case.torch), lambda: peer(x), seconds), "TFLOP/s", case.work)
        ratios.append(measure.State.rows["python", "%s over %s" % (case.name, name)]["ratio"])
    big = case.name == "layer B4 S2048 D%d" % D
    measure.keep("python", "%s over the better of torch.compile" % case.name, "x", min(ratios), limit=1.0 if big else None, at_least=True, code=code)


# ---- first answers ----

def child(*words, log=None, **more):
    return subprocess.Popen([str(w) for w in words], stdout=subprocess.PIPE if log is None else log, stderr=subprocess.STDOUT if log else subprocess.PIPE, text=True, **more)


class Makers:
    """Processes that make what first answers are measured of, beside other compiling."""

    def __init__(self, folder, weights):
        self.folder, self.running = folder, {}
        (folder / "weights").mkdir(parents=True)
        for (name, _), t in zip(first.WEIGHTS, weights):
            (folder / "weights" / name).write_bytes(bytes_of(torch.from_dlpack(t)))
        script = [sys.executable, HERE / "first.py"]
        self.begin("tessera", *script, "make-tessera", folder / "weights", D, folder / "aot", ARCH)
        for b, s in STARTS:
            self.begin("inductor%d" % s, *script, "make-inductor", folder / "weights", "%dx%dx%d" % (b, s, D), folder / ("S%d.pt2" % s), "cuda")
        self.begin("runner", *compiler(folder / "runner"))

    def begin(self, name, *words):
        log = open(self.folder / (name + ".log"), "w+")
        self.running[name] = (child(*words, log=log), log, time.monotonic())

    def end(self):
        """{name: why it failed, or None}"""
        out = {}
        for name, (process, log, began) in self.running.items():
            code = process.wait()
            log.seek(0)
            lines = [line for line in log.read().splitlines() if line.strip()]
            out[name] = None if code == 0 else "status %d: %s" % (code, " | ".join(lines[-3:])[:600])
            say("made %s%s" % (name, "" if code == 0 else ": " + out[name]))
        return out


def compiler(out):
    """What builds the C++ program over libtorch."""
    from torch.utils import cpp_extension as x

    lib = x.library_paths()[0]
    words = ["g++", "-std=c++20", "-O1", "-D_GLIBCXX_USE_CXX11_ABI=%d" % torch._C._GLIBCXX_USE_CXX11_ABI, HERE / "first_inductor.cpp", "-o", out]
    words += ["-I" + p for p in [*x.include_paths(), "/usr/local/cuda/include"]]
    return words + ["-L" + lib, "-Wl,--no-as-needed", "-ltorch", "-ltorch_cpu", "-ltorch_cuda", "-lc10", "-lc10_cuda", "-Wl,-rpath," + lib]


class Starter:
    """One way to a first answer: a command; from each process the milliseconds of its steps, counted from its start."""

    def __init__(self, name, words, y):
        self.name, self.words, self.y = name, words, y
        self.runs, self.failure, self.after = [], None, ""  # after: what became of it after its answer

    def run(self):
        if self.failure:
            return
        self.y.unlink(missing_ok=True)
        began = time.monotonic_ns()
        process = child(*self.words)
        try:
            out, err = process.communicate(timeout=LATE)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err += "\nno answer after %d s" % LATE
        steps = [(m[2], (int(m[1]) - began) * 1e-6) for m in re.finditer(r"^at (\d+) (.*)$", out, re.M)]
        what = "status %d: %s" % (process.returncode, " | ".join([line for line in err.splitlines() if line.strip()][-12:])[:900]) if process.returncode else ""
        if steps and steps[-1][0] == "answer" and self.y.exists():
            self.runs.append(steps)
            if what and not self.after:
                say("%s: after its answer %s" % (self.name, what))
            self.after = what
        else:
            self.failure = what or "no answer"
            say("%s: %s; last step %s" % (self.name, self.failure, steps[-1] if steps else "none"))

    def total(self):
        return median(steps[-1][1] for steps in self.runs)

    def parts(self):
        """The median of each step's own milliseconds."""
        names = [name for name, _ in self.runs[0]]
        own_ms = [[at - (steps[i - 1][1] if i else 0.0) for i, (_, at) in enumerate(steps)] for steps in self.runs]
        return ", ".join("%s %.0f" % (name, median(column)) for name, column in zip(names, zip(*own_ms)))

    def answer(self, shape):
        return torch.frombuffer(bytearray(self.y.read_bytes()), dtype=torch.bfloat16).reshape(shape).cuda()


def starts(case, b, s, folder, made, code):
    if made["tessera"]:
        raise RuntimeError("ts.aot.compile: " + made["tessera"])
    shape, script = "%dx%dx%d" % (b, s, D), [sys.executable, "-X", "faulthandler", HERE / "first.py"]
    x = folder / ("x%d" % s)
    x.write_bytes(bytes_of(case.torch[0]))
    model, package = folder / "aot", folder / ("S%d.pt2" % s)
    given = [x, shape]

    def starter(name, words):
        y = folder / ("y-%s-%d" % (name.replace(" ", "-"), s))
        return Starter(name, [*words, y] if name == "C" else [*words, *given, y, "cuda"], y)

    ours = {"C": starter("C", [find("lib/tessera/device/first", "device/first"), model / "transformer_layer.so", "x=%s:%s" % (shape, x)]),
            "Python": starter("Python", [*script, "tessera", model])}
    theirs = {}
    if not made["inductor%d" % s] and not made["runner"]:
        theirs["AOTInductor in C++"] = starter("AOTInductor in C++", [folder / "runner", package])
    theirs["AOTInductor in Python"] = starter("AOTInductor in Python", [*script, "inductor", package])
    theirs["AOTInductor in Python"].failure = made["inductor%d" % s] or made.get("load")
    for _ in range(ROUNDS):
        for one in (*ours.values(), *theirs.values()):
            one.run()
    if not theirs["AOTInductor in Python"].runs:  # it could not be made or loaded: torch.compile with what it compiled before
        made["load"] = theirs["AOTInductor in Python"].failure
    if made.get("load") and (b, s) == STARTS[0]:
        theirs["torch.compile, warm cache"] = one = starter("torch.compile, warm cache", [*script, "compile", folder / "weights"])
        one.run()
        one.runs.clear()
        for _ in range(2):
            one.run()
    good = {k: v for k, v in theirs.items() if v.runs}
    for one in (*ours.values(), *good.values()):
        if one.runs:
            far = measure.error_of(one.answer((b, s, D)), exact(case))
            say("%s S%d: %.0f ms, error %.0e: %s" % (one.name, s, one.total(), far, one.parts()))
            if not far < BOUND:
                measure.wrong("python/start %s S%d" % (one.name, s))
    if not good:
        raise RuntimeError("no peer gives a first answer")
    in_python = good.get("AOTInductor in Python") or good.get("torch.compile, warm cache") or next(iter(good.values()))
    for row, name, peer in zip(start_rows(b, s), ("C", "Python"), (good.get("AOTInductor in C++") or in_python, in_python)):
        if not ours[name].runs:
            raise RuntimeError("%s: %s" % (name, ours[name].failure))
        us, alike = ours[name].total(), name == "C" or peer.name != "AOTInductor in C++"
        measure.keep("python/start", row, "ms", us, peer.total(), peer.total() / 3 if alike else None, code=code, detail="%s; %s" % (
            ", ".join("%.1f times faster than %s" % (p.total() / us, p.name) for p in good.values()), ours[name].parts()))


def start_rows(b, s):
    return ["B%d S%d, C program" % (b, s), "B%d S%d, Python" % (b, s)]


def run(tsc, folder, seconds, parts):
    """These parts. tsc, a folder for files, seconds for each pair."""
    folder = Path(folder) / "python"
    folder.mkdir(exist_ok=True)
    core = settle(folder, tsc)
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if hard:
        resource.setrlimit(resource.RLIMIT_CORE, (1, hard))  # 1: no dump of a peer that crashes, not to a pipe either, which can take long
    try:
        with torch.no_grad():
            run_in(folder, core, seconds, parts)
    finally:
        shutil.rmtree(folder / "start", ignore_errors=True)


def run_in(folder, core, seconds, parts):
    import tessera as ts

    weights = [own((D, n * D), D ** -0.5) for _, n in first.WEIGHTS]
    jit = ts.jit(first.transformer_layer())
    cases = {(b, s): Case(b, s, weights) for b, s in LAYERS}
    small = cases[1, 128]
    jit(*small.ts)
    art = artifact.Artifact(jit.lower(*small.ts).callable_for("cuda:0").program.path)
    code = art.code + core
    say("compiled %s" % art.code)
    wanted = [x for x in STARTS if not all([measure.kept("python/start", w, code) for w in start_rows(*x)])] if "python/start" in parts else []
    makers = Makers(folder / "start", weights) if wanted else None
    compiled = {}
    for at, case in cases.items() if "python" in parts else ():
        compiled[at] = list(peers(case))
        for _, peer in compiled[at]:
            for _ in range(3):
                peer(case.torch[0])
        say("torch.compile: %s" % case.name)
    made = makers.end() if makers else {}
    for at, case in cases.items():
        if at in compiled:
            over_compile(jit, art, case, seconds, compiled[at], code)
        if "python/call" in parts:
            beside_c(jit, art, case, seconds, code)
        say(case.name)
    if "python/call" in parts:
        overhead(core)
        say("calls")
    compiled.clear()
    for b, s in wanted:
        starts(cases[b, s], b, s, folder / "start", made, code)
    say("done")
