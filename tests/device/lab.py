"""What the parts of the GPU suite share: where the programs are, compiling, weights, verdicts, and how results compare."""
import ctypes
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOME / "bench/gpu"))
CUDA_BIN = "/usr/local/cuda/bin"
KNOWN = (80, 86, 89, 90, 100, 120)  # architectures that tsc makes code for


def native(capability):
    """The architecture whose cubins a GPU of this compute capability runs best, and None where only PTX of sm_80 will do."""
    sm = capability[0] * 10 + capability[1]
    fit = [k for k in KNOWN if k <= sm and k // 10 == sm // 10 and (k != 90 or sm == 90)]
    return "sm_%d%s" % (fit[-1], "a" if fit[-1] == 90 else "") if fit else None


class Ended:
    def __init__(self, code, out, err, timed_out=False):
        self.code, self.out, self.err, self.timed_out = code, out, err, timed_out


class Lab:
    """One part's view of the suite."""

    def __init__(self, build, tmp, jobs, emit):
        self.build, self.tmp, self.jobs, self.emit = build, Path(tmp), jobs, emit
        packed = not (HOME / "Makefile").read_text().startswith("# Tessera's build")
        programs = HOME / "lib/tessera/device" if packed else build / "device"
        self.tsc = HOME / "bin/tsc" if packed else build / "tsc"
        self.tests, self.host = programs / "tests", programs / "host"
        self.package = HOME / "lib/tessera/python/tessera" if packed else build / "python/tessera"
        self.env = dict(os.environ, PATH=os.environ.get("PATH", "") + os.pathsep + CUDA_BIN)

    def tool(self, name):
        return shutil.which(name, path=self.env["PATH"])

    def note(self, text):
        self.emit({"note": text})

    def run(self, argv, timeout=120, env=None, cwd=None):
        """A command to its end, its whole process group killed after timeout seconds."""
        proc = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd or self.tmp,
                                env=dict(self.env, **(env or {})), start_new_session=True)
        try:
            out, err = proc.communicate(timeout=timeout)
            late = False
        except subprocess.TimeoutExpired:
            os.killpg(proc.pid, signal.SIGKILL)
            out, err = proc.communicate()
            late = True
        return Ended(proc.returncode, out.decode(errors="replace"), err.decode(errors="replace"), late)

    def map(self, function, items):
        with ThreadPoolExecutor(max(1, self.jobs)) as pool:
            yield from pool.map(function, items)

    def compile(self, name, text, arch, *options, timeout=240):
        """The path of a shared object made from this text; RuntimeError with tsc's words when there is none."""
        folder = self.tmp / ("%s-%s" % (name, arch.replace(",", "-")))
        folder.mkdir(exist_ok=True)
        (folder / (name + ".tg")).write_text(text if text.startswith("tessera") else "tessera 1\n" + text)
        made = self.run([self.tsc, name + ".tg", "-o", name + ".so", "--arch", arch, *options], timeout=timeout, cwd=folder)
        if made.code or "warning" in made.err:
            raise RuntimeError("tsc ended with %d%s: %s" % (made.code, " (too late)" if made.timed_out else "", made.err[-1500:]))
        return folder / (name + ".so")


def safetensors(path, tensors):
    """A file of tensors {name: torch tensor on the CPU}."""
    import torch

    names = {torch.float32: "F32", torch.bfloat16: "BF16", torch.int64: "I64"}
    header, at = {}, 0
    for name, t in tensors.items():
        size = t.numel() * t.element_size()
        header[name] = {"dtype": names[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + size]}
        at += size
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head)
        for t in tensors.values():
            t = t.contiguous()
            f.write(ctypes.string_at(t.data_ptr(), t.numel() * t.element_size()))


def read_safetensors(path):
    """{name: torch tensor} of a file of such types."""
    import torch

    types = {"F32": torch.float32, "BF16": torch.bfloat16, "I64": torch.int64}
    data = bytearray(Path(path).read_bytes())
    size, = struct.unpack_from("<Q", data)
    found = {}
    for name, t in json.loads(data[8:8 + size]).items():
        if name != "__metadata__":
            a, b = t["data_offsets"]
            found[name] = torch.frombuffer(data[8 + size + a:8 + size + b], dtype=types[t["dtype"]]).reshape(t["shape"])
    return found


def minilm_weights(torch, path, seed=1):
    """Weights in MiniLM's names and shapes, of the sizes such weights have: the published ones are not needed to compare two devices."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape, scale=0.05, mean=0.0):
        return torch.randn(*shape, generator=g) * scale + mean

    w = {"embeddings.word_embeddings.weight": normal(30522, 384), "embeddings.position_embeddings.weight": normal(512, 384),
         "embeddings.token_type_embeddings.weight": normal(2, 384), "embeddings.LayerNorm.weight": normal(384, mean=1.0), "embeddings.LayerNorm.bias": normal(384)}
    for i in range(6):
        p = "encoder.layer.%d." % i
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            w[p + name + ".weight"], w[p + name + ".bias"] = normal(384, 384), normal(384)
        w[p + "intermediate.dense.weight"], w[p + "intermediate.dense.bias"] = normal(1536, 384), normal(1536)
        w[p + "output.dense.weight"], w[p + "output.dense.bias"] = normal(384, 1536), normal(384)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            w[p + name + ".weight"], w[p + name + ".bias"] = normal(384, mean=1.0), normal(384)
    safetensors(path, w)


def mlp_weights(torch, path, seed=2):
    g = torch.Generator().manual_seed(seed)
    w = {}
    for name, rows, cols in (("hidden.0", 256, 64), ("hidden.1", 128, 256), ("scores", 10, 128)):
        w[name + ".weight"], w[name + ".bias"] = torch.randn(rows, cols, generator=g) * cols ** -0.5, torch.randn(rows, generator=g) * 0.1
    safetensors(path, w)


def verdicts(name, done):
    """The lines `ok NAME` and `FAIL NAME: why` of a test program as tests; one that stops early or claims too much is a failure of its own."""
    seen = failed = 0
    for line in done.out.splitlines():
        if line.startswith("ok "):
            seen += 1
            yield "%s/%s" % (name, line[3:]), True, ""
        elif line.startswith("FAIL "):
            failed += 1
            test, _, why = line[5:].partition(": ")
            yield "%s/%s" % (name, test), False, why
    if done.timed_out:
        yield name, False, "did not end in time"
    elif done.code != (1 if failed else 0):
        yield name, False, "ended with %d\n%s" % (done.code, (done.out + done.err)[-2000:])
    elif not seen and not failed:
        yield name, False, "printed no test\n" + done.err[-1000:]


def beyond(got, want, bound):
    """None, or where a result is farther from what it should be than its bound, element by element. NaN is where NaN should be, and nowhere else."""
    import torch

    got, want = got.double(), want.double()
    bad = ~((got - want).abs() <= bound) & ~(got.isnan() & want.isnan()) & (got != want)
    count = int(bad.sum())
    if not count:
        return None
    at = torch.nonzero(bad)[0].tolist()
    limit = bound[tuple(at)] if torch.is_tensor(bound) else bound
    return "%d of %d elements wrong, the first at %s: got %g, want %g within %g" % (count, got.numel(), at, got[tuple(at)], want[tuple(at)], limit)


def threads_do(count, work):
    """work(i) in count threads at once; the first exception's text, or None."""
    wrong, start = [], threading.Barrier(count)

    def one(i):
        try:
            start.wait()
            why = work(i)
        except Exception as e:
            why = "%s: %s" % (type(e).__name__, e)
        if why:
            wrong.append("thread %d: %s" % (i, why))

    all_ = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for t in all_:
        t.start()
    for t in all_:
        t.join()
    return wrong[0] if wrong else None
