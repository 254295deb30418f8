"""The Python package on a machine of several GPUs: a compiled function runs where its inputs lie; prints `ok NAME`, `FAIL NAME: why`."""
import sys
import threading

import checks
import torch

import tessera as ts

GPUS = ["cuda:%d" % i for i in range(torch.cuda.device_count())]


@ts.jit
def product(a: ts.Tensor["M", "K", ts.bf16], b: ts.Tensor["K", "N", ts.bf16]):
    return ts.softmax(a @ b, axis=-1)


def inputs(device):
    return torch.randn(300, 512, generator=torch.Generator().manual_seed(3)).bfloat16().to(device), torch.randn(512, 200, generator=torch.Generator().manual_seed(4)).bfloat16().to(device)


def bits(t):
    return (t if isinstance(t, torch.Tensor) else torch.from_dlpack(t)).cpu().view(torch.int16)


def each_gpu_the_same_bits():
    first = None
    for device in GPUS:
        a, b = inputs(device)
        c = product(a, b)
        assert type(c) is torch.Tensor and str(c.device) == device, c.device
        own = product(ts.from_dlpack(a), ts.from_dlpack(b))
        assert own.device == device, own.device
        first = bits(c) if first is None else first
        assert torch.equal(bits(c), first) and torch.equal(bits(own), first)


def copies_and_creation():
    x = ts.randn(64, 33, device=GPUS[-1])
    assert x.device == GPUS[-1] and (x + x).device == GPUS[-1]
    assert torch.equal(torch.from_dlpack(x.to(GPUS[0])).cpu(), torch.from_dlpack(x).cpu())
    ts.set_default_device(GPUS[-1])
    try:
        assert ts.randn(3).device == GPUS[-1]
    finally:
        ts.set_default_device(None)


def inputs_of_two_gpus_are_refused():
    (a, _), (_, b) = inputs(GPUS[0]), inputs(GPUS[-1])
    try:
        product(a, b)
    except ValueError as e:
        assert GPUS[0] in str(e) and GPUS[-1] in str(e), str(e)
    else:
        raise AssertionError("it ran")


def threads_on_all():
    want, wrong = bits(product(*inputs(GPUS[0]))), []

    def work(i):
        device = GPUS[i % len(GPUS)]
        with torch.cuda.device(device), torch.cuda.stream(torch.cuda.Stream(device)):
            a, b = inputs(device)
            for _ in range(50):
                if not torch.equal(bits(product(a, b)), want):
                    wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4 * len(GPUS))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, "threads %s" % wrong


sys.exit(checks.run((each_gpu_the_same_bits, copies_and_creation, inputs_of_two_gpus_are_refused, threads_on_all)))
