"""Real models, one file for sm_80, sm_90 and the CPU: on the GPU against the same file on the CPU, by the C interface and by `tsc run`, as a program too; and on this
machine as if it had no driver. MiniLM and the MLP have weights of their shapes made here."""
import lab as kit
import torch
from layer import LAYER

ARCH = "sm_80,sm_90"


def apart(a, b):
    return float((a.double().cpu() - b.double().cpu()).abs().max())


def minilm(lab):
    import artifact

    folder = lab.tmp / "minilm"
    folder.mkdir()
    text = (kit.HOME / "examples/minilm/minilm.tg").read_text()
    (folder / "minilm.tg").write_text(text)
    kit.minilm_weights(torch, folder / "model.safetensors")
    made = lab.run([lab.tsc, "minilm.tg", "-o", "minilm.so", "--arch", ARCH], cwd=folder, timeout=240)
    yield "minilm/is-made", made.code == 0 and not made.err, made.err
    if made.code:
        return
    gpu, cpu = (artifact.Artifact(str(folder / "minilm.so"), cuda=c) for c in (True, False))
    torch.manual_seed(3)
    whole = None
    for b, s in ((1, 1), (1, 8), (4, 17), (8, 128), (3, 512), (32, 128)):
        ids, mask = torch.randint(0, 30522, (b, s)), torch.ones(b, s, dtype=torch.int64)
        for i in range(b):
            mask[i, s - (i * 3) % s:] = 0
        mask[:, 0] = 1
        want, got = torch.zeros(b, 384), torch.full((b, 384), float("nan"), device="cuda")
        cpu.bind([ids, mask], [want])()
        gpu.bind([ids.cuda(), mask.cuda()], [got])()
        torch.cuda.synchronize()
        far = apart(got, want)
        # unit vectors after six layers in f32: some thousand roundings of 2^-24, in another order
        yield "minilm/B%d-S%d" % (b, s), far <= 4e-6 and abs(float(got[0].norm()) - 1) < 1e-5, "GPU and CPU are %.1e apart" % far
        whole = (ids, mask, got.clone())
    st = gpu.stats()
    yield "minilm/is-a-graph", st.graph_runs + st.plain_runs >= 6 and st.copied_tensors == 0, "%d graph runs, %d plain, %d copies" % (st.graph_runs, st.plain_runs, st.copied_tensors)
    lab.note("minilm: %d launches, weights %d MB on the GPU, workspace %d MB" % (st.launches, st.upload_bytes >> 20, st.workspace_bytes >> 20))
    ids, mask, want = whole
    kit.safetensors(folder / "in.safetensors", {"ids": ids, "mask": mask})
    given = [a for k in ("ids", "mask") for a in ("--input", "%s=%s:%s" % (k, folder / "in.safetensors", k))]
    without = folder / "without"
    without.mkdir()
    (without / "libcuda.so.1").write_text("no library " * 100)
    results = {}
    for name, device, env in (("cuda", "cuda", {}), ("auto", "auto", {}), ("cpu", "cpu", {}), ("without-a-driver", "auto", {"LD_LIBRARY_PATH": str(without)})):
        out = folder / (name + ".safetensors")
        done = lab.run([lab.tsc, "run", folder / "minilm.so", "--device", device, *given, "--output", "y=%s" % out], env=env)
        results[name] = kit.read_safetensors(out)["y"] if done.code == 0 else None
        yield "minilm/tsc-run-" + name, done.code == 0 and apart(results[name], want) <= 4e-6, done.err or "%.1e apart" % apart(results[name], want)
    same = all(results[k] is not None for k in results) and torch.equal(results["cuda"], want.cpu()) and torch.equal(results["auto"], results["cuda"]) and torch.equal(results["without-a-driver"], results["cpu"])
    yield "minilm/same-bits-by-tsc-run", same, "auto is not cuda, or a machine without a driver is not cpu"


def mlp(lab):
    import artifact

    folder = lab.tmp / "mlp"
    folder.mkdir()
    (folder / "mlp.tg").write_text((kit.HOME / "examples/mlp/mlp.tg").read_text())
    kit.mlp_weights(torch, folder / "digits.safetensors")
    made = lab.run([lab.tsc, "mlp.tg", "-o", "mlp.so", "--arch", ARCH], cwd=folder, timeout=240)
    yield "mlp/is-made", made.code == 0 and not made.err, made.err
    gpu, cpu = (artifact.Artifact(str(folder / "mlp.so"), cuda=c) for c in (True, False))
    for b in (1, 7, 64, 1000, 40000):
        x = torch.randint(0, 17, (b, 64)).float()
        want, got = [torch.zeros(b, 10), torch.zeros(b, dtype=torch.int64)], [torch.full((b, 10), float("nan"), device="cuda"), torch.full((b,), -1, device="cuda")]
        cpu.bind([x], want)()
        gpu.bind([x.cuda()], got)()
        torch.cuda.synchronize()
        p, digit = got[0].cpu(), got[1].cpu()
        # where the digits differ, the two best scores have to be as near as the scores are
        sure = want[0].topk(2).values.diff().abs().squeeze(1) > 2e-6
        yield "mlp/B%d" % b, apart(p, want[0]) <= 1e-6 and torch.equal(digit[sure], want[1][sure]), "scores %.1e apart" % apart(p, want[0])
    program = lab.run([lab.tsc, "mlp.tg", "-o", "mlp", "--emit", "exe", "--arch", ARCH], cwd=folder, timeout=240)
    yield "mlp/program-is-made", program.code == 0, program.err
    kit.safetensors(folder / "x.safetensors", {"x": x[:64]})
    lab.run([lab.tsc, "run", folder / "mlp.so", "--device", "cpu", "--input", "x=%s:x" % (folder / "x.safetensors"), "--output", "p=%s" % (folder / "a.npy")])
    npy(folder / "x.npy", x[:64])
    for device in ("cuda", "cpu"):
        done = lab.run([folder / "mlp", "--device", device, "--input", "x=%s" % (folder / "x.npy"), "--output", "p=%s" % (folder / (device + ".npy"))])
        good = done.code == 0 and far_npy(folder / (device + ".npy"), folder / "a.npy") <= 1e-6
        yield "mlp/program-on-" + device, good, done.err or "the program's scores are others"


def npy(path, t):
    import ctypes
    import struct

    head = repr({"descr": "<f4", "fortran_order": False, "shape": tuple(t.shape)}).encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    t = t.contiguous()
    path.write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head + ctypes.string_at(t.data_ptr(), 4 * t.numel()))


def far_npy(a, b):
    """How far two f32 files of one shape are apart."""
    import struct

    x, y = (p.read_bytes() for p in (a, b))
    if len(x) != len(y) or x[:10] != y[:10]:
        return float("inf")
    at = 10 + struct.unpack_from("<H", x, 8)[0]
    n = (len(x) - at) // 4
    return max(abs(p - q) for p, q in zip(struct.unpack_from("<%df" % n, x, at), struct.unpack_from("<%df" % n, y, at)))


def plain_layer(x, w_qkv, w_out, w_mlp):
    f = torch.nn.functional
    b, s, d = x.shape
    q, k, v = (t.reshape(b, s, 16, d // 16).transpose(1, 2) for t in (x @ w_qkv).split(d, -1))
    scores = (q @ k.mT * (d // 16) ** -0.5).masked_fill(torch.ones(s, s, device=x.device, dtype=torch.bool).triu(1), float("-inf"))
    o = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, s, d) @ w_out
    h = f.layer_norm(x + o, (d,))
    return h + f.gelu(h @ w_mlp, approximate="tanh") @ w_mlp.T


def relative(got, want):
    return float((got.double() - want).norm() / want.norm())


def layer(lab):
    """The quick-start layer: against float64, and GPU and CPU equally near to it (bf16 between operators on both)."""
    import artifact

    path = lab.compile("layer", LAYER, ARCH)
    gpu, cpu = (artifact.Artifact(str(path), cuda=c) for c in (True, False))
    torch.manual_seed(4)
    for b, s, d, on_cpu in ((1, 1, 512, True), (2, 100, 512, True), (1, 130, 1024, True), (8, 1024, 512, False), (4, 2048, 4096, False)):
        x = torch.randn(b, s, d, device="cuda").bfloat16()
        ws = [(torch.randn(d, n * d, device="cuda") * d ** -0.5).bfloat16() for n in (3, 1, 4)]
        y = torch.full_like(x, float("nan"))
        gpu.bind([x] + ws, [y])()
        want = plain_layer(x.double(), *[w.double() for w in ws])
        far = max(relative(y[i], want[i]) for i in range(b))
        name = "layer/B%d-S%d-D%d" % (b, s, d)
        # a handful of values in bf16 one after another, 2^-9 each
        yield name + "/float64", far < 1.2e-2, "%.1e from float64" % far
        if on_cpu:
            host = torch.zeros(b, s, d, dtype=torch.bfloat16)
            cpu.bind([x.cpu()] + [w.cpu() for w in ws], [host])()
            there = max(relative(host[i].cuda(), want[i]) for i in range(b))
            yield name + "/cpu", there < 1.2e-2 and relative(y.cpu(), host.double()) < 1.2e-2, "the CPU is %.1e from float64, the GPU %.1e from the CPU" % (there, relative(y.cpu(), host.double()))


def run(lab):
    yield from minilm(lab)
    yield from mlp(lab)
    yield from layer(lab)
