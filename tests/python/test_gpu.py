"""GPUs through a driver that counts (tests/fakecuda): memory, copies, calls, streams, every driver call failing once, fork. On real GPUs the same
code is tested by tests/device."""

import os
import subprocess
import sys
import textwrap

import pytest

HEAD = """
import ctypes, gc, os, re, sys
from tessera import _core

root, artifact = sys.argv[1:3]
names = re.findall(r"[(][*](\\w+)[)][(]", open(root + "/tests/fakecuda/fakecuda.h").read().split("typedef struct {")[-1])
table = (ctypes.c_void_p * len(names)).in_dll(ctypes.CDLL("libcuda.so.1"), "fake_cuda")

def fake(name, *args, result=ctypes.c_int64):
    return ctypes.CFUNCTYPE(result, *[ctypes.c_void_p if isinstance(a, int) and a > 1 << 32 else ctypes.c_char_p if isinstance(a, bytes) else ctypes.c_int64 for a in args])(
        table[names.index(name)])(*args)

def misuse():
    return fake("misuse", result=ctypes.c_char_p)

def count(name):
    return fake("count", name.encode())

def floats(*shape):
    import struct
    n = 1
    for d in shape: n *= d
    return _core.from_buffer(bytearray(struct.pack("%df" % n, *[i % 23 - 11 for i in range(n)])), "f32", shape)

def raises(error, text, f, *args, **kwargs):
    try:
        f(*args, **kwargs)
    except error as e:
        assert text in str(e), str(e)
    else:
        raise AssertionError("no exception")
"""


@pytest.fixture(scope="module")
def artifact(tmp_path_factory, build_folder):
    fake = build_folder / "fakecuda"
    assert (fake / "toy").exists() and (fake / "libcuda.so.1").exists(), "make check builds tests/fakecuda"
    out = tmp_path_factory.mktemp("gpu") / "toy.so"
    subprocess.run([fake / "toy", "so", out, fake / "toy_kernels.o"], check=True)
    return out


@pytest.fixture
def run(root, build_folder, artifact):
    def start(text, **more):
        fake = build_folder / "fakecuda"
        env = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path), LD_LIBRARY_PATH=str(fake), FAKE_CUDA=str(fake / "toy.so"), **more)
        code = HEAD + textwrap.dedent(text) + "\nassert misuse() is None, misuse()\nprint('ok')\n"
        done = subprocess.run([sys.executable, "-c", code, str(root), str(artifact)], capture_output=True, text=True, env=env, timeout=120)
        assert done.returncode == 0 and done.stdout == "ok\n" and not done.stderr, done.stdout + done.stderr

    return start


def test_devices(run):
    run("""
        assert _core.gpus() == [("Fake GPU %d" % i, sm, 1 << 30) for i, sm in enumerate((90, 75, 80, 120))]
        raises((RuntimeError, ValueError), "cuda:9", _core.empty, (1,), "f32", "cuda:9")
        _core.synchronize("cuda:0")
        _core.synchronize("cuda:2")
    """)


def test_without_a_driver(run, tmp_path):
    (tmp_path / "libcuda.so.1").write_text("no library")
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path), LD_LIBRARY_PATH=str(tmp_path))
    code = "from tessera import _core; assert _core.gpus() == []\ntry: _core.empty((1,), 'f32', 'cuda')\nexcept RuntimeError as e: print(e)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert "no NVIDIA driver" in done.stdout, done


def test_memory_and_copies(run):
    run("""
        x = floats(7, 24)
        for device in ("cuda", "cuda:2", "cuda:3"):
            g = x._copy_to(device)
            assert g.device == (device if ":" in device else "cuda:0") and g.data_ptr % 256 in range(0, 256, 16)
            assert g.tobytes() == x.tobytes() and g._view(25, (), ())._item() == x._view(25, (), ())._item()
            for args in ((0, (24, 7), (1, 24)), (3, (3, 5), (48, 2)), (167, (168,), (-1,)), (0, (2, 24), (0, 1)), (5, (0, 3), (1, 1))):
                v, w = g._view(*args), x._view(*args)
                assert v.tobytes() == w.tobytes() == v._copy_to("cpu").tobytes() == v._copy_to("cuda:2").tobytes()
        half = x._copy_to("cuda")._copy_to("cuda:2")
        assert half.device == "cuda:2" and half.tobytes() == x.tobytes()
        q = _core.from_buffer(bytes(range(5)), "int4", (3, 3))._copy_to("cuda")
        assert q.tobytes() == bytes(range(5))
        assert _core.memory_stats("cuda:1") == {"current": 0, "peak": 0, "reserved": 0}
        del g, half, v, q
        stats = _core.memory_stats("cuda:2")
        assert stats["current"] == 0 and stats["peak"] > 0 and stats["reserved"] > 0
        _core.empty_cache()
        assert _core.memory_stats("cuda:2")["reserved"] == 0
        at = _core.empty((100,), "f32", "cuda").data_ptr
        n = count("cuMemAlloc")
        for _ in range(50):
            assert _core.empty((99,), "f32", "cuda").data_ptr == at
        assert count("cuMemAlloc") == n
    """)


def test_calls(run):
    run("""
        p = _core.load(artifact)
        assert p.archs == ("sm_80", "sm_90a") and p.graphs == ("chain", "one", "count")
        f = _core.Callable(p, "chain")
        for b in (1, 5, 64):
            x = floats(b, 16)
            want = f(x).tobytes()
            for device, plan in (("cuda:0", 90), ("cuda:2", 80)):
                for _ in range(4):
                    y = f(x._copy_to(device))
                    assert y.device == device and y.tobytes() == want
                assert f.stats()["plan_sm"] == plan
        assert _core.Callable(p, "count", device="cuda")().device == "cuda:0" and _core.Callable(p, "count")().device == "cpu"
        raises(RuntimeError, "none that runs on cuda:1", x._copy_to, "cuda:1")
        d = _core.Dispatcher(lambda args: _core.Callable(p, "chain"))
        for device in ("cpu", "cuda:0", "cpu", "cuda:2"):
            assert d(x._copy_to(device)).device == device
        assert d.entries == 2
        raises(ValueError, "argument 'x': wanted f32[B, N], found f32[5, 9]; N is at least 8", d, floats(5, 9)._copy_to("cuda"))
        wide = floats(4096, 64)._copy_to("cuda")._view(0, (64, 4096), (1, 64))  # more rectangles than the runtime makes
        assert f(wide).tobytes() == f(wide._copy_to("cpu")).tobytes()
        s = x._copy_to("cuda")._view(0, (2, 16), (32, 1))
        assert f(s).tobytes() == f(s._copy_to("cpu")).tobytes()
    """)


def test_streams(run):
    run("""
        x = floats(4, 16)._copy_to("cuda")
        context = fake("get_current")
        assert not context  # the caller's thread has none, and gets none
        p = _core.load(artifact)
        y = _core.Callable(p, "one")(x)
        assert not fake("get_current")

        class Driver:
            def __getattr__(self, name):
                get = ctypes.CDLL("libcuda.so.1").cuGetProcAddress_v2
                out = ctypes.c_void_p()
                get(name.encode(), ctypes.byref(out), 12000, ctypes.c_uint64(0), ctypes.byref(ctypes.c_int32()))
                return ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * (2 if name == "cuDevicePrimaryCtxRetain" else 1))(out.value)
        held = ctypes.c_void_p()
        assert Driver().cuDevicePrimaryCtxRetain(ctypes.addressof(held), 0) == 0
        stream = fake("new_stream", held.value)
        n = count("cuStreamWaitEvent")
        for s in (None, 1, -1):
            x.__dlpack__(stream=s)
        assert count("cuStreamWaitEvent") == n
        for k, s in enumerate((2, stream)):
            if s == 2:
                continue  # the fake knows no stream by number
            capsule = x.__dlpack__(stream=s, max_version=(1, 0))
            assert count("cuStreamWaitEvent") == n + 1
            z = _core.from_dlpack(capsule, s)
            assert count("cuStreamWaitEvent") == n + 2 and z.data_ptr == x.data_ptr
        for s in (0, -2, -7):
            raises(ValueError, "stream", x.__dlpack__, stream=s)
        host = _core.from_dlpack(x.__dlpack__(dl_device=(1, 0), max_version=(1, 0)))
        assert host.device == "cpu" and host.tobytes() == x.tobytes()
        raises(BufferError, "may not be copied", x.__dlpack__, dl_device=(1, 0), copy=False)
    """)


def test_every_call_of_the_driver_fails_once(run):
    run("""
        p = _core.load(artifact)
        x = floats(5, 16)
        want = _core.Callable(p, "chain")(x).tobytes()

        def everything():
            f = _core.Callable(p, "chain")
            g = x._copy_to("cuda")
            y = [f(g) for _ in range(4)][-1]
            v = g._view(0, (16, 5), (1, 16)).tobytes()
            g.__dlpack__(max_version=(1, 0))
            assert y.tobytes() == want
            _core.synchronize("cuda")
            _core.empty_cache("cuda")

        everything()
        before = fake("calls")
        everything()
        n = fake("calls") - before
        held = fake("live")
        assert n > 30
        for code in (2, 1, 999):
            for k in range(n):
                fake("fail", k, code)
                try:
                    everything()
                except (RuntimeError, MemoryError) as e:
                    assert "CUDA" in str(e) or "memory" in str(e) or "cannot" in str(e), str(e)
                fake("fail", 0, 0)
                gc.collect()
        everything()
        assert fake("live") <= held + 3 * n, (fake("live"), held)
        fake("lose", 700)
        try:
            everything()
        except RuntimeError:
            pass
        else:
            raise AssertionError("a lost device")
        fake("lose", 0)
    """)


def test_fork(run):
    run("""
        p = _core.load(artifact)
        f = _core.Callable(p, "chain")
        x = floats(5, 16)
        g = x._copy_to("cuda")
        want = f(g).tobytes()
        n = fake("calls")
        pid = os.fork()
        if not pid:
            for what in (lambda: f(g), lambda: g.tobytes(), lambda: _core.empty((1,), "f32", "cuda"), lambda: _core.synchronize("cuda"), lambda: x._copy_to("cuda:2")):
                raises(RuntimeError, "fork", what)
            assert f(x).tobytes() == want
            assert _core.gpus() == []
            del g, f
            gc.collect()
            assert fake("calls") == n
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert f(g).tobytes() == want
    """)


def test_profile(run):
    """Launches of a profiled call, between events that lie a millisecond apart on this driver."""
    run("""
        f = _core.Callable(_core.load(artifact), "chain")
        g = floats(4, 16)._copy_to("cuda")
        want, seen = f(g).tobytes(), []
        events = count("cuEventRecord")
        _core.profile_listen(lambda *said: seen.append(said))
        assert f(g).tobytes() == want
        _core.profile_listen(None)
        assert f(g).tobytes() == want and len(seen) == 1
        callable, device, begin, end, launches = seen[0]
        assert callable is f and device == "cuda:0" and begin < end
        assert [x[0] for x in launches] == ["load", "layer", "layer", "layer", "store"]
        assert [x[1] for x in launches] == ["", "t layer", "t layer", "t layer", ""]
        assert [x[5:8] for x in launches] == [(-1, -1, -1)] + [(128, 256, 256)] * 3 + [(-1, -1, -1)]
        assert all(x[9] == 1000000 for x in launches)
        at = begin
        for x in launches:
            assert x[8] >= at
            at = x[8] + x[9]
        assert count("cuEventRecord") >= events + 10 and count("cuEventDestroy") >= 10 and count("cuLaunchHostFunc") == 1
    """)
