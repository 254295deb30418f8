"""The extension on a GPU beside PyTorch; prints `ok NAME`, `FAIL NAME: why`, `note …`. TESSERA_MODEL: the artifact of part_python.py."""
import gc
import os
import sys
import threading
import time
import traceback

import checks
from tessera import _core

GPUS = _core.gpus()
PROGRAM = _core.load(os.environ["TESSERA_MODEL"])
CHECKS = []


def check(f):
    CHECKS.append(f)
    return f


def refused(kinds, f):
    try:
        f()
    except kinds as e:
        return str(e)
    raise AssertionError("it was not refused")


@check
def ts_tensors_before_torch_is_imported():
    assert "torch" not in sys.modules and GPUS
    h = _core.from_buffer(bytearray(b"\0\0\x80\x3f" * 4096), "f32", (64, 64))
    g = h._copy_to("cuda:0")
    assert g.device == "cuda:0" and g.tobytes() == h.tobytes()
    f = _core.Callable(PROGRAM, "add")
    r = f(g, g)
    assert r.device == "cuda:0" and r._copy_to("cpu").tobytes() == b"\0\0\0\x40" * 4096 and r._view(5, (), ())._item() == 2.0
    turned = g._view(0, (64, 64), (1, 64))
    assert turned._copy_to("cpu").tobytes() == h._view(0, (64, 64), (1, 64)).tobytes()
    y, t = _core.Callable(PROGRAM, "scale")(g._view(0, (64,), (1,)), 2.5)
    assert t._item() == 5.0 and y._view(3, (), ())._item() == 2.5
    assert "cpu" in refused(ValueError, lambda: f(g, h))
    assert _core.Callable(PROGRAM, "cat")(g._view(0, (3, 4), (4, 1)), g._view(0, (5, 4), (4, 1))).shape == (8, 4)
    before = _core.memory_stats("cuda")["current"]
    for _ in range(3000):
        r = f(g, g)
    del r
    assert _core.memory_stats("cuda")["current"] < before
    refused(MemoryError, lambda: _core.empty((1 << 40,), "f32", "cuda"))
    refused((RuntimeError, ValueError), lambda: _core.empty((1,), "f32", "cuda:63"))
    into = _core.empty((64, 64), "f32", "cuda")
    into._copy_from(turned)
    assert into.tobytes() == turned.tobytes()


@check
def torch_tensors():
    import torch

    f = _core.Callable(PROGRAM, "mm")
    a, b = torch.randn(300, 512, device="cuda").bfloat16(), torch.randn(512, 200, device="cuda").bfloat16()
    c = f(a, b)
    assert type(c) is torch.Tensor and c.device == a.device and c.dtype == torch.bfloat16
    want = a.double() @ b.double()
    # sums of 512 products in f32, then one rounding to bf16
    bound = (8 * 512 ** 0.5 + 16) * 2.0 ** -24 * (a.double().abs() @ b.double().abs()) + 2.0 ** -8 * want.abs()
    assert ((c.double() - want).abs() <= bound).all()
    add = _core.Callable(PROGRAM, "add")
    x = torch.randn(100, 100, device="cuda")
    assert torch.equal(add(x.t(), x), x.t() + x) and torch.equal(add(x[::2, 1:], x[1::2, :-1]), x[::2, 1:] + x[1::2, :-1])
    refused(ValueError, lambda: add(x, x.cpu()))
    refused(TypeError, lambda: add(x, x.half()))


@check
def dlpack():
    import torch

    x = torch.randn(33, 44, device="cuda")
    for t in (_core.as_tensor(x), _core.from_dlpack(x), _core.from_dlpack(torch.utils.dlpack.to_dlpack(x)), _core.from_dlpack(x.t())._view(0, (33, 44), (44, 1))):
        assert t.data_ptr == x.data_ptr() and t.device == "cuda:0"
        for y in (torch.from_dlpack(t), torch.utils.dlpack.from_dlpack(_core.to_dlpack(t)), torch.as_tensor(t, device="cuda")):
            assert y.data_ptr() == x.data_ptr() and torch.equal(y, x)
    t = _core.as_tensor(x)

    class Other:
        __cuda_array_interface__ = x.t().__cuda_array_interface__

    assert torch.equal(torch.from_dlpack(_core.as_tensor(Other())), x.t())
    host = _core.from_dlpack(t.__dlpack__(dl_device=(1, 0), max_version=(1, 0)))
    assert host.device == "cpu" and torch.equal(torch.from_dlpack(host), x.cpu())
    with torch.cuda.stream(torch.cuda.Stream()):
        assert torch.equal(torch.from_dlpack(t), x)
    for bad in (0, -2):
        refused(ValueError, lambda: t.__dlpack__(stream=bad))


@check
def side_streams():
    import torch

    f, add = _core.Callable(PROGRAM, "chain"), _core.Callable(PROGRAM, "add")
    n = 16384
    x = torch.randn(n, 1024, device="cuda")
    want = torch.softmax(torch.softmax(torch.softmax(x, 1), 1), 1)
    torch.cuda.synchronize()
    streams = [torch.cuda.Stream() for _ in range(4)]
    for _ in range(10):
        outs = []
        for s in streams:
            with torch.cuda.stream(s):
                y = x + 0
                outs.append(f(y))
                y.zero_()  # behind the call, in its stream
        torch.cuda.synchronize()
        assert all(torch.allclose(o, want, atol=1e-6) for o in outs)
    # a tensor of ours that work on a side stream reads is let go of at once, and its memory is asked for again
    for k in range(30):
        t = _core.as_tensor(x)._copy_to("cuda")
        with torch.cuda.stream(streams[k % 4]):
            f(x + 0)  # keeps the stream busy
            o = add(torch.zeros(n, 1024, device="cuda"), t)
        del t
        again = _core.empty((n, 1024), "f32", "cuda")
        torch.from_dlpack(again).fill_(7.0)
        torch.cuda.synchronize()
        assert torch.equal(o, x), k
        del again


@check
def captured_by_torch():
    import torch

    f = _core.Callable(PROGRAM, "chain")
    x, s = torch.randn(64, 1024, device="cuda"), torch.cuda.Stream()
    with torch.cuda.stream(s):
        for _ in range(3):
            f(x)
    torch.cuda.synchronize()
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g, stream=s):
        y = f(x)
    x.copy_(torch.randn(64, 1024, device="cuda"))
    g.replay()
    torch.cuda.synchronize()
    assert torch.allclose(y, torch.softmax(torch.softmax(torch.softmax(x, 1), 1), 1), atol=1e-6)


@check
def threads():
    import torch

    f, wrong = _core.Dispatcher(lambda a: _core.Callable(PROGRAM, "mm")), []

    def work(i):
        g = torch.Generator("cuda").manual_seed(i)
        a, b = (torch.randn(*s, device="cuda", generator=g).bfloat16() for s in ((16 + i, 64), (64, 32)))
        want = f(a, b).clone()
        ta, tb = _core.as_tensor(a), _core.as_tensor(b)
        for k in range(20):
            if not torch.equal(f(a, b) if k % 2 else torch.from_dlpack(f(ta, tb)), want):
                wrong.append(i)

    all_ = [threading.Thread(target=work, args=(i,)) for i in range(64)]
    for t in all_:
        t.start()
    for t in all_:
        t.join()
    assert not wrong, wrong


@check
def fork():
    import torch

    f, g, h = _core.Callable(PROGRAM, "add"), _core.as_tensor(torch.ones(4, 4, device="cuda"))._copy_to("cuda"), _core.from_buffer(bytes(64), "f32", (4, 4))
    f(g, g)
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        try:
            for what in (lambda: f(g, g), lambda: _core.empty((4,), "f32", "cuda"), lambda: g.tobytes(), lambda: _core.synchronize("cuda")):
                refused(RuntimeError, what)
            os._exit(0 if f(h, h).shape == (4, 4) else 3)
        except BaseException:
            traceback.print_exc()
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0


@check
def nothing_leaks():
    import torch

    f, x = _core.Dispatcher(lambda a: _core.Callable(PROGRAM, "add")), torch.ones(64, 64, device="cuda")
    t, s = _core.as_tensor(x), torch.cuda.Stream()

    def once():
        f(x, x), f(t, t), f(x, t), torch.from_dlpack(t), _core.as_tensor(x)
        with torch.cuda.stream(s):
            f(x, t)

    def held():
        torch.cuda.synchronize()
        gc.collect()
        return torch.cuda.memory_allocated(), _core.memory_stats("cuda")["current"]

    for _ in range(200):
        once()
    before = held()
    for _ in range(4000):
        once()
    assert held() == before


def figures():
    import torch

    add = _core.Callable(PROGRAM, "add")
    x = torch.randn(64, 64, device="cuda")
    t = _core.as_tensor(x)._copy_to("cuda")
    rows = []
    for name, args in (("ts", (t, t)), ("torch", (x, x))):
        best = 1e9
        for _ in range(3):
            for _ in range(300):
                add(*args)
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(5000):
                add(*args)
            best = min(best, (time.perf_counter() - start) / 5000 * 1e6)
            torch.cuda.synchronize()
        rows.append("%s %.2f us" % (name, best))
    print("note a call of one kernel from Python: " + ", ".join(rows))


status = checks.run(CHECKS, lambda: _core.synchronize("cuda:0"))
figures()
sys.exit(status)
