"""Bad input on real hardware: an error that names what is wrong, and the next call, the stream and other sessions go on."""
import ctypes as C
import struct
import subprocess
import sys

import lab as kit
import torch
from part_diff import architectures

INVALID, NO_MEMORY, RANGE, UNSUPPORTED, LOST = 1, 3, 4, 5, 8
MODEL = """dims M, N
graph f(a: bf16[M, N], b: bf16[N, N]) -> (c: bf16[M, N]) {
  c = silu(softmax(a @ b, axis = -1)) @ b
}
"""
HEADS = """dims S, D
graph f(q: bf16[1, 2, S, D]) -> (o: bf16[1, 2, S, D]) {
  o = attention(q, q, q)
}
"""


def meaning(a, b):
    return torch.nn.functional.silu((a.double() @ b.double()).softmax(-1)) @ b.double()


class Model:
    def __init__(self, path):
        import artifact

        self.Refused = artifact.Refused
        self.art = artifact.Artifact(str(path))
        # scores of size 1: larger ones lose digits in bf16, which the softmax would show
        self.a, self.b = (torch.randn(64, 64, device="cuda").mul(s).bfloat16() for s in (1, 0.125))
        self.c = torch.full((64, 64), float("nan"), device="cuda", dtype=torch.bfloat16)
        self.want = meaning(self.a, self.b)

    def refused(self, inputs, outputs, stream=None):
        """(code, message) of a call that has to fail; (0, "") when it did not."""
        try:
            self.art.bind(inputs, outputs, stream=stream)()
        except self.Refused as e:
            return e.code, str(e)
        return 0, ""

    def goes_on(self):
        """None, or why a good call fails or is wrong now."""
        self.c.fill_(float("nan"))
        try:
            self.art.bind([self.a, self.b], [self.c])()
            torch.cuda.synchronize()
        except Exception as e:
            return "the next call: %s" % e
        far = float((self.c.double() - self.want).norm() / self.want.norm())
        return None if far < 1e-2 else "the next call is %.1e from float64" % far


def on_the_gpu(t, device_id=0, address=None):
    """The tensor described as one of the GPU's, whatever its address is."""
    class Described:
        is_cuda = True

        class device:
            index = device_id

        def __init__(self, t):
            self.t = t
            self.dtype, self.shape = t.dtype, t.shape

        def data_ptr(self):
            return self.t.data_ptr() if address is None else address

        def dim(self):
            return self.t.dim()

        def stride(self):
            return self.t.stride()

    return Described(t)


def arguments(m):
    host = torch.randn(64, 64).bfloat16()
    cases = (
        ("host-tensor", [host, m.b], INVALID, ("'a'", "memory of the host")),
        ("host-pointer-said-to-be-the-gpus", [on_the_gpu(host), m.b], INVALID, ("'a'",)),
        ("null-pointer", [on_the_gpu(m.a, address=0), m.b], INVALID, ("'a'",)),
        ("another-gpu", [on_the_gpu(m.a, 5), m.b], INVALID, ("'a'", "5")),
        ("another-type", [m.a.float(), m.b], INVALID, ("'a'", "bf16")),
        ("another-rank", [m.a[0], m.b], INVALID, ("'a'",)),
        ("sizes-that-differ", [m.a, m.b[:32]], INVALID, ("'b'",)),
    )
    for name, inputs, code, words in cases:
        got, message = m.refused(inputs, [m.c])
        yield name, got in (code, RANGE) and all(w in message for w in words), "code %d, '%s'" % (got, message)
        wrong = m.goes_on()
        yield name + "/goes-on", not wrong, wrong
    got, message = m.refused([m.a, m.b], [torch.empty(64, 64).bfloat16()])
    yield "host-result", got == INVALID and "'c'" in message, "code %d, '%s'" % (got, message)
    wrong = m.goes_on()
    yield "host-result/goes-on", not wrong, wrong


def odd_but_good(m):
    """What kernels can't read in place is copied: strides, addresses between elements' alignment, results that overlap nothing."""
    store = torch.randn(64 * 64 + 8, device="cuda").bfloat16()
    for name, a in (("strided", torch.randn(64, 128, device="cuda").bfloat16()[:, ::2]), ("turned", torch.randn(64, 64, device="cuda").bfloat16().T),
                    ("unaligned", store[1:1 + 64 * 64].view(64, 64))):
        c = torch.full((64, 64), float("nan"), device="cuda", dtype=torch.bfloat16)
        try:
            m.art.bind([a, m.b], [c])()
            torch.cuda.synchronize()
            want = meaning(a, m.b)
            far = float((c.double() - want).norm() / want.norm())
            yield "copied/" + name, far < 1e-2, "%.1e from float64" % far
        except Exception as e:
            yield "copied/" + name, False, str(e)


def heads_too_large(lab):
    """Attention beyond heads of 256: an error at prepare that says so, and 256 itself goes."""
    import artifact

    art = artifact.Artifact(str(lab.compile("heads", HEADS, architectures()[0].rstrip("a"))))
    for d in (257, 264, 256):
        q = torch.randn(1, 2, 70, d, device="cuda").bfloat16()
        o = torch.full_like(q, float("nan"))
        message, far = "", 1.0
        try:
            art.bind([q], [o])()
            torch.cuda.synchronize()
            want = (q.double() @ q.double().mT * d ** -0.5).softmax(-1) @ q.double()
            far = float((o.double() - want).norm() / want.norm())
        except artifact.Refused as e:
            message = str(e)
        good = far < 1e-2 and not message if d == 256 else "256" in message.replace("D = 256", "")
        yield "heads-of-%d" % d, good, message or "%.1e from float64" % far


def contexts(m):
    """Another CUDA context current on the calling thread."""
    cuda = C.CDLL("libcuda.so.1")
    made, popped = C.c_void_p(), C.c_void_p()
    if cuda.cuCtxCreate_v2(C.byref(made), 0, 0):
        yield "another-context", False, "cuCtxCreate failed"
        return
    got, message = m.refused([m.a, m.b], [m.c], stream=torch.cuda.default_stream())
    cuda.cuCtxPopCurrent_v2(C.byref(popped))
    yield "another-context", got == INVALID and "context" in message, "code %d, '%s'" % (got, message)
    wrong = m.goes_on()
    yield "another-context/goes-on", not wrong, wrong
    cuda.cuCtxDestroy_v2(made)
    wrong = m.goes_on()
    yield "another-context-destroyed/goes-on", not wrong, wrong


def memory(m):
    """Sizes whose workspace no GPU has: prepare says so, with the bytes; and while somebody else holds nearly all memory."""
    import artifact

    def prepare(dims):
        try:
            m.art._call(artifact._PREPARE, m.art.session, C.c_int32(0), (C.c_int64 * len(dims))(*dims), C.c_int32(len(dims)), C.byref(m.art.error))
        except m.Refused as e:
            return e.code, str(e)
        return 0, ""

    got, message = prepare([1 << 31, 1024])
    yield "too-large", got == NO_MEMORY and any(c.isdigit() for c in message), "code %d, '%s'" % (got, message)
    wrong = m.goes_on()
    yield "too-large/goes-on", not wrong, wrong
    free, _ = torch.cuda.mem_get_info()
    need = 3 << 30
    cuda = C.CDLL("libcuda.so.1")
    hoard, held = [], 0
    if free > need:
        # leave less than the workspace of the sizes below takes: 2 GB
        while True:
            free, _ = torch.cuda.mem_get_info()
            if free < (1 << 30) + (1 << 29):
                break
            at = C.c_uint64()
            size = min(free - (1 << 30), 64 << 30)
            if cuda.cuMemAlloc_v2(C.byref(at), C.c_size_t(size)):
                break
            hoard.append(at)
            held += size
        got, message = prepare([1 << 19, 2048])
        for at in hoard:
            cuda.cuMemFree_v2(at)
        yield "others-hold-the-memory", got == NO_MEMORY, "code %d, '%s' (%d GB held)" % (got, message, held >> 30)
        wrong = m.goes_on()
        yield "others-hold-the-memory/goes-on", not wrong, wrong
        got, message = prepare([1 << 19, 2048])
        yield "memory-is-back", got == 0, message
        wrong = m.goes_on()
        yield "memory-is-back/goes-on", not wrong, wrong
    else:
        yield "others-hold-the-memory", False, "less than 3 GB are free on this GPU"


def architectures_missing(lab):
    """Code for later GPUs alone: asked for a GPU an error that names both, by itself the CPU and a note."""
    import artifact

    sm = torch.cuda.get_device_capability(0)
    later = next((k for k in kit.KNOWN if k // 10 > sm[0]), None)
    if not later:
        older = lab.compile("exact", MODEL, "sm_90")
        names = "sm_90a"
    else:
        older, names = lab.compile("later", MODEL, "sm_%d" % later), "sm_%d" % later
    try:
        artifact.Artifact(str(older))
        yield "no-matching-code", False, "it opened"
    except artifact.Refused as e:
        yield "no-matching-code", e.code == UNSUPPORTED and names in str(e) and "sm_%d%d" % sm in str(e), "code %d, '%s'" % (e.code, e)
    kit.safetensors(lab.tmp / "ab.safetensors", {"a": torch.randn(8, 64).bfloat16(), "b": torch.randn(64, 64).bfloat16()})
    given = [w for k in "ab" for w in ("--input", "%s=%s:%s" % (k, lab.tmp / "ab.safetensors", k))]
    done = lab.run([lab.tsc, "run", older, *given, "--output", "c=%s" % (lab.tmp / "c.safetensors")])
    yield "no-matching-code/auto-takes-the-cpu", done.code == 0, done.err
    done = lab.run([lab.tsc, "run", older, *given, "--device", "cuda:99"])
    yield "no-such-gpu", done.code == 3 and "cuda:99" in done.err, "%d %s" % (done.code, done.err)


def damaged(lab, good):
    """A cubin whose bytes are not what ptxas wrote, without PTX to fall back on; the good file beside it goes on."""
    import re
    import artifact

    own = kit.native(torch.cuda.get_device_capability(0))
    data = bytearray(good.read_bytes())
    inspected = lab.run([lab.tsc, "inspect", good]).out
    section = re.search(r"^\s+(?:section )?\.tessera\.gpu\S*\s.*", inspected, re.M)
    at = data.find(b"\x7fELF", 4096)
    found = at >= 0
    yield "damaged-code/there-is-some", found, section.group(0) if section else inspected[:400]
    if not found:
        return
    data[at:at + 4] = b"\0\0\0\0"
    bad = lab.tmp / "damaged.so"
    bad.write_bytes(data)
    symbol = good.stem + "_tessera"
    try:
        a = artifact.Artifact(str(bad))
        ok = own == "sm_80"  # its PTX stands in
        yield "damaged-code", ok, "it opened" if not a.stats().jit else ""
    except artifact.Refused as e:
        yield "damaged-code", e.code != 0 and len(str(e)) > 10, "code %d, '%s' (%s)" % (e.code, e, symbol)


def assemblers(lab):
    """A broken ptxas: the compiler says which one and what it said, writes nothing, and the next compilation is good."""
    folder = lab.tmp / "ptxas"
    folder.mkdir()
    (folder / "m.tg").write_text("tessera 1\n" + MODEL)
    scripts = {"fails": "#!/bin/sh\necho 'ptxas fatal   : no licence' >&2\nexit 255\n", "crashes": "#!/bin/sh\nkill -SEGV $$\n", "writes-nothing": "#!/bin/sh\nexit 0\n"}
    for name, text in scripts.items():
        path = folder / name
        path.write_text(text)
        path.chmod(0o755)
        done = lab.run([lab.tsc, "m.tg", "-o", "out.so", "--arch", "sm_90", "--ptxas", path], cwd=folder)
        yield "ptxas-" + name, done.code == 3 and name in done.err and not (folder / "out.so").exists(), "%d %s" % (done.code, done.err)
    done = lab.run([lab.tsc, "m.tg", "-o", "out.so", "--arch", "sm_90", "--ptxas", folder / "nowhere"], cwd=folder)
    yield "ptxas-is-not-there", done.code == 3 and "nowhere" in done.err and not (folder / "out.so").exists(), "%d %s" % (done.code, done.err)
    done = lab.run([lab.tsc, "m.tg", "-o", "out.so", "--arch", "sm_90"], cwd=folder)
    yield "ptxas-works-again", done.code == 0 and (folder / "out.so").exists(), done.err


TRAP = """.version 8.0
.target sm_80
.address_size 64
.visible .entry bad() { trap; }
"""


def lost_child(path):
    """In a process of its own, since its context does not survive: a kernel of somebody else's traps, then our calls say that the device is lost; the CPU goes on."""
    import artifact
    import driver

    m = Model(path)
    said = [m.goes_on() or "good"]
    cpu = artifact.Artifact(path, cuda=False)
    driver.Kernel(TRAP.encode(), "bad", 1, 0).bind(1, [], [])()
    codes = []
    for _ in range(3):
        code, message = m.refused([m.a, m.b], [m.c], stream=torch.cuda.default_stream())
        codes.append((code, message))
        try:
            torch.cuda.synchronize()
        except Exception:
            pass
    a, b, c = torch.randn(4, 64).bfloat16(), torch.randn(64, 64).mul(0.125).bfloat16(), torch.zeros(4, 64).bfloat16()
    cpu.bind([a, b], [c])()
    want = meaning(a, b)
    said.append("cpu " + ("good" if float((c.double() - want).norm() / want.norm()) < 1e-2 else "wrong"))
    print(said, codes, flush=True)
    ok = said == ["good", "cpu good"] and codes[-1][0] == LOST and all(c in (0, LOST) for c, _ in codes)
    sys.stdout.flush()
    import os

    os._exit(0 if ok else 1)


def run(lab):
    torch.manual_seed(2)
    own = architectures()[0]
    path = lab.compile("bad", MODEL, own.rstrip("a"))
    m = Model(path)
    wrong = m.goes_on()
    yield "good-at-first", not wrong, wrong
    for part in (arguments, odd_but_good, contexts):
        yield from part(m)
    yield from heads_too_large(lab)
    yield from architectures_missing(lab)
    yield from damaged(lab, path)
    wrong = m.goes_on()
    yield "after-all-of-it", not wrong, wrong
    yield from assemblers(lab)
    child = subprocess.run([sys.executable, __file__, str(path)], capture_output=True, text=True, timeout=120, env=lab.env)
    yield "lost-device", child.returncode == 0, (child.stdout + child.stderr)[-1500:]
    wrong = m.goes_on()
    yield "lost-device/other-processes-go-on", not wrong, wrong


if __name__ == "__main__":
    lost_child(sys.argv[1])
