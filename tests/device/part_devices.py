"""Several GPUs of one machine: the same file on each, the same bits, tensors of the wrong one refused, threads on all of them at once."""
import lab as kit
import part_bad
import part_python
import torch
from part_diff import architectures


def run(lab):
    import artifact

    n = torch.cuda.device_count()
    if n < 2:
        lab.note("several devices: needs two GPUs, this machine has one; not run and not counted")
        return
    path = str(lab.compile("devices", part_bad.MODEL, architectures()[0].rstrip("a")))
    torch.manual_seed(6)
    a, b = torch.randn(300, 512).bfloat16(), torch.randn(512, 512).bfloat16()
    arts, first = [], None
    for i in range(n):
        with torch.cuda.device(i):
            art = artifact.Artifact(path, device_id=i)
            c = torch.full((300, 512), float("nan"), device="cuda:%d" % i, dtype=torch.bfloat16)
            x, y = a.to("cuda:%d" % i), b.to("cuda:%d" % i)
            art.bind([x, y], [c])()
            torch.cuda.synchronize(i)
            arts.append((art, x, y, c))
            first = c.cpu() if first is None else first
            yield "runs/cuda:%d" % i, "cuda:%d" % i in art.explain()[0], art.explain()[0]
            same = torch.cuda.get_device_capability(i) == torch.cuda.get_device_capability(0)
            if same:
                yield "same-bits/cuda:%d" % i, torch.equal(c.cpu().view(torch.int16), first.view(torch.int16)), "bits differ from cuda:0"
    with torch.cuda.device(0):
        try:
            arts[0][0].bind([arts[1][1], arts[0][2]], [arts[0][3]])()
            yield "wrong-gpu-is-refused", False, "it ran"
        except artifact.Refused as e:
            yield "wrong-gpu-is-refused", "'a'" in str(e), str(e)

    def work(i):
        with torch.cuda.device(i % n):
            art, x, y, _ = arts[i % n]
            own, c = art.another(), torch.empty(300, 512, device="cuda:%d" % (i % n), dtype=torch.bfloat16)
            run_ = own.bind([x, y], [c])
            for _ in range(50):
                run_()
            torch.cuda.synchronize(i % n)
            return None if torch.equal(c.cpu().view(torch.int16), first.view(torch.int16)) else "bits differ"

    wrong = kit.threads_do(4 * n, work)
    yield "threads-on-all", not wrong, wrong
    yield from part_python.scripts(lab, "python_devices.py")
