"""Tensors of the runtime: what they hold, views, the buffer protocol, DLPack both ways, and everything that must be refused."""

import ctypes
import gc
import sys

import pytest

from tessera import _core

import numpy as np
import torch

NUMPY_TYPES = ["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64"]
ALL_TYPES = ["f32", "f64", "f16", "bf16", "int64", "int32", "bool", "int16", "int8", "uint8", "int4", "fp8_e4m3", "fp8_e5m2", "fp6_e2m3",
             "fp6_e3m2", "fp4_e2m1", "complex64"]


def rss():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096


# ---- what a tensor says of itself ----


@pytest.mark.parametrize("dtype", ALL_TYPES)
def test_empty(dtype):
    t = _core.empty((2, 3), dtype)
    assert (t.shape, t.strides, t.dtype, t.device, t.ndim, t.size) == ((2, 3), (3, 1), dtype, "cpu", 2, 6)
    assert t.is_contiguous() and not t.read_only and t.data_ptr % 64 == 0
    assert t.nbytes == len(t.tobytes()) == (3 if dtype in ("int4", "fp4_e2m1") else 6 * {"f64": 8, "int64": 8, "complex64": 8, "f32": 4, "int32": 4,
                                            "f16": 2, "bf16": 2, "int16": 2}.get(dtype, 1))


def test_empty_of_no_elements_and_of_no_axes():
    assert _core.empty((0, 5), "f32").nbytes == 0
    assert _core.empty((), "f32").shape == () and _core.empty((), "f32").size == 1
    assert _core.empty((0, 2**40), "f32").strides == (2**40, 1)


@pytest.mark.parametrize("name", ["float32", "fp32", "torch.float32", np.float32, np.dtype("float32"), torch.float32])
def test_names_of_types(name):
    assert _core.empty((1,), name).dtype == "f32"


@pytest.mark.parametrize("shape, dtype, device, error, text", [
    ((2, -1), "f32", "cpu", ValueError, "found -1 for axis 1"),
    ((2**62, 16), "f32", "cpu", ValueError, "2^63"),
    ((2**32, 2**32, 0), "f32", "cpu", ValueError, "2^63"),
    ((2**63,), "f32", "cpu", ValueError, "2^63"),
    ((2**200,), "f32", "cpu", ValueError, "2^63"),
    ((2**61 - 1,), "f32", "cpu", MemoryError, "no memory"),
    ((2**45,), "f32", "cpu", MemoryError, "no memory"),
    ((1,) * 17, "f32", "cpu", ValueError, "at most 16"),
    (3, "f32", "cpu", TypeError, "shape"),
    ("ab", "f32", "cpu", TypeError, "int"),
    ((1.5,), "f32", "cpu", TypeError, "float"),
    ((1,), "uint16", "cpu", TypeError, "dtype"),
    ((1,), None, "cpu", TypeError, "dtype"),
    ((1,), "f32", "gpu", ValueError, "device"),
    ((1,), "f32", "cuda:", ValueError, "device"),
    ((1,), "f32", "cuda:99", ValueError, "device"),
    ((1,), "f32", "cuda:x", ValueError, "device"),
])
def test_empty_refuses(shape, dtype, device, error, text):
    with pytest.raises(error, match=text.replace("^", r"\^")):
        _core.empty(shape, dtype, device)


def test_results_have_the_class_that_was_set():
    class Mine(_core.TensorBase):
        __slots__ = ()

    class Rich(_core.TensorBase):
        pass

    before = type(_core.empty((1,), "f32"))
    try:
        for kind in (Mine, Rich):
            _core.set_tensor_type(kind)
            t = _core.empty((4,), "f32")
            assert type(t) is kind and type(t._view(0, (2,), (1,))) is kind
            assert type(_core.as_tensor(np.zeros(3))) is kind
        t.note = "attributes work"
    finally:
        _core.set_tensor_type(before)
    a = np.arange(3.0)
    assert Mine(a).data_ptr == a.ctypes.data and type(Mine(a)) is Mine
    with pytest.raises(TypeError, match="one argument"):
        Mine()
    with pytest.raises(TypeError, match="TensorBase"):
        _core.set_tensor_type(int)
    with pytest.raises(TypeError):
        _core.set_tensor_type(3)


# ---- NumPy ----


@pytest.mark.parametrize("name", NUMPY_TYPES)
def test_numpy_both_ways_without_copying(name):
    a = np.arange(24).astype(name).reshape(2, 3, 4)
    t = _core.as_tensor(a)
    assert t.data_ptr == a.ctypes.data and t.shape == (2, 3, 4)
    b = np.asarray(t)
    assert b.dtype == a.dtype and b.ctypes.data == a.ctypes.data and (a == b).all()
    assert t.tobytes() == a.tobytes()
    v = memoryview(t)
    assert v.shape == (2, 3, 4) and v.nbytes == a.nbytes and not v.readonly


@pytest.mark.parametrize("take", [np.s_[::-1], np.s_[:, ::2], np.s_[1:, ::-1, 1::2], np.s_[:, :, 0], np.s_[:0], np.s_[..., None, :1]])
def test_numpy_strides(take):
    a = np.arange(60, dtype=np.int32).reshape(3, 4, 5)
    s = a[take]
    t = _core.as_tensor(s)
    assert t.shape == s.shape and t.tobytes() == s.tobytes()
    assert (np.asarray(t) == s).all()
    assert t._copy_to("cpu").tobytes() == s.tobytes()
    assert t.is_contiguous() == s.flags.c_contiguous
    m = _core.as_tensor(a.transpose(2, 0, 1))
    assert m.tobytes() == a.transpose(2, 0, 1).tobytes()


def test_numpy_broadcast_and_read_only():
    a = np.broadcast_to(np.arange(3.0), (4, 3))
    t = _core.as_tensor(a)
    assert t.read_only and t.strides == (0, 1) and t.tobytes() == a.tobytes()
    with pytest.raises(BufferError):
        t.__dlpack__()
    with pytest.raises(BufferError):
        _core.to_dlpack(t)
    assert not np.asarray(t).flags.writeable
    assert not np.from_dlpack(t).flags.writeable
    assert _core.as_tensor(t.__dlpack__ and t).read_only and _core.from_dlpack(t).read_only


def test_ml_dtypes():
    import ml_dtypes as ml
    for kind, name in ((ml.bfloat16, "bf16"), (ml.float8_e4m3fn, "fp8_e4m3"), (ml.float8_e5m2, "fp8_e5m2")):
        a = np.arange(8).astype(kind).reshape(2, 4).T
        t = _core.as_tensor(a)
        assert t.dtype == name and t.data_ptr == a.ctypes.data and t.tobytes() == a.tobytes()
        b = np.asarray(t)
        assert b.dtype == a.dtype and b.ctypes.data == a.ctypes.data
    with pytest.raises(TypeError):
        _core.as_tensor(np.arange(4).astype(ml.int4))


def test_array_protocol_options():
    t = _core.as_tensor(np.arange(4, dtype=np.float32))
    assert np.array(t).ctypes.data != t.data_ptr
    assert np.asarray(t, dtype=np.float64).dtype == np.float64
    assert t.__array__(copy=True).ctypes.data != t.data_ptr
    assert t.__array__(np.float32, copy=False).ctypes.data == t.data_ptr
    with pytest.raises(ValueError):
        t.__array__(np.int8, copy=False)


def test_memory_outlives_its_tensor():
    t = _core.empty((1000,), "f32")
    a = np.asarray(t)
    a[:] = 7
    del t
    gc.collect()
    assert (a == 7).all()
    b = np.arange(1000.0)
    t = _core.as_tensor(b)._view(10, (5,), (1,))
    want = b[10:15].tolist()
    del b
    gc.collect()
    assert np.asarray(t).tolist() == want


@pytest.mark.parametrize("array, text", [
    (lambda: np.array([object()]), "'O'"),
    (lambda: np.zeros(3, ">f4"), "byte order"),
    (lambda: np.zeros(3, ">i2"), "byte order"),
    (lambda: np.zeros(3, [("a", "f4"), ("b", "i4")]), "none of"),
    (lambda: np.zeros(3, [("a", "f4")]), "none of"),
    (lambda: np.zeros(3, "V8"), "none of"),
    (lambda: np.zeros(3, "S4"), "none of"),
    (lambda: np.zeros(3, "U4"), "none of"),
    (lambda: np.zeros(3, "M8[s]"), "none of"),
    (lambda: np.zeros(3, "uint16"), "none of"),
    (lambda: np.zeros(3, "uint64"), "none of"),
    (lambda: np.zeros(3, "complex128"), "none of"),
    (lambda: np.zeros(3, "longdouble"), "none of"),
])
def test_numpy_refused(array, text):
    with pytest.raises(TypeError, match=text):
        _core.as_tensor(array())


def test_numpy_strange_strides_and_ranks():
    with pytest.raises(ValueError, match="at most 16"):
        _core.as_tensor(np.zeros((1,) * 17))
    records = np.zeros(4, [("a", "i1"), ("b", "f4")])
    with pytest.raises(ValueError, match="whole number"):
        _core.as_tensor(records["b"])
    assert _core.as_tensor(np.float32(2.5))._item() == 2.5
    assert _core.as_tensor(np.array(3))._item() == 3


@pytest.mark.parametrize("thing", [None, 3, 2.5, [1.0], (1, 2), {}, object(), "text", int, Ellipsis, lambda: 0])
def test_things_that_are_no_tensors(thing):
    with pytest.raises(TypeError, match="wanted a tensor or an array, found"):
        _core.as_tensor(thing)


# ---- buffers ----


def test_from_buffer():
    raw = bytearray(range(16))
    t = _core.from_buffer(raw, "int32", (2, 2))
    raw[0] = 99
    assert np.asarray(t)[0, 0] & 255 == 99 and not t.read_only
    assert _core.from_buffer(bytes(16), "bf16").shape == (8,) and _core.from_buffer(bytes(16), "bf16").read_only
    assert _core.from_buffer(bytes(3), "int4", (5,)).nbytes == 3
    assert _core.from_buffer(np.arange(4, dtype=np.uint16), "bf16", (2, 2)).dtype == "bf16"
    with pytest.raises(BufferError):
        raw.append(1)
    del t
    raw.append(1)
    for obj, dtype, shape, error in [
        (bytes(15), "int32", None, ValueError), (bytes(15), "int32", (4,), ValueError), (bytes(16), "int32", (-1,), ValueError),
        (bytes(16), "int32", (2**62, 4), ValueError), (3, "int32", (1,), TypeError), (np.zeros((4, 4))[:, 1], "f64", None, (ValueError, BufferError)),
        (np.array([None]), "int64", None, TypeError), (bytes(4), None, (4,), TypeError),
    ]:
        with pytest.raises(error):
            _core.from_buffer(obj, dtype, shape)


def test_buffer_refuses_what_it_cannot_say():
    t = _core.as_tensor(np.zeros((3, 4)))
    with pytest.raises(BufferError):
        memoryview(_core.empty((4,), "int4"))
    r = _core.as_tensor(np.frombuffer(bytes(8), np.uint8))
    with pytest.raises((BufferError, TypeError)):
        (ctypes.c_char * 8).from_buffer(r)
    with pytest.raises((BufferError, TypeError)):
        (ctypes.c_char * 8).from_buffer(t._view(0, (3,), (4,)))
    assert bytes(memoryview(t)) == bytes(96)


# ---- views and scalars ----


def test_views():
    a = np.arange(24, dtype=np.float32).reshape(4, 6)
    t = _core.as_tensor(a)
    v = t._view(7, (3, 2), (6, 1))
    assert (np.asarray(v) == a[1:, 1:3]).all()
    back = v._view(-7, (4, 6), (6, 1))
    assert back.data_ptr == a.ctypes.data
    r = t._view(23, (24,), (-1,))
    assert np.asarray(r).tolist() == a.reshape(-1)[::-1].tolist()
    assert t._view(0, (5, 24), (0, 1)).shape == (5, 24)
    assert t._view(10**12, (0,), (1,)).size == 0
    for args in [(0, (25,), (1,)), (1, (24,), (1,)), (0, (2,), (-1,)), (-1, (1,), (1,)), (0, (2, 2), (2**62, 1)), (2**62, (1,), (1,)), (0, (2**33, 2**33), (0, 0)),
                 (0, (4,), (1, 1)), (0, (-1,), (1,)), (0, (2,), (23 + 1,)), (24, (1,), (1,)), (-(2**63), (1,), (1,))]:
        with pytest.raises(ValueError):
            t._view(*args)
    p = _core.empty((4, 4), "int4")
    assert p._view(4, (2, 6), (6, 1)).shape == (2, 6)
    for args in [(1, (2,), (1,)), (0, (4, 4), (1, 4)), (4, (4, 4), (4, 1))]:
        with pytest.raises(ValueError):
            p._view(*args)


@pytest.mark.parametrize("dtype, raw, value", [
    ("f32", b"\0\0\x20\xc0", -2.5), ("f64", b"\0\0\0\0\0\0\xf0\x3f", 1.0), ("f16", b"\x00\xc1", -2.5), ("f16", b"\x01\x00", 2.0**-24), ("bf16", b"\x20\xc0", -2.5),
    ("int64", b"\xff" * 8, -1), ("int32", b"\xfe\xff\xff\xff", -2), ("int16", b"\x00\x80", -32768), ("int8", b"\x80", -128), ("uint8", b"\x80", 128),
    ("bool", b"\x01", True), ("bool", b"\x00", False), ("int4", b"\x0f", -1), ("int4", b"\x97", 7), ("fp8_e4m3", b"\x7e", 448.0), ("fp8_e5m2", b"\x7b", 57344.0),
    ("fp8_e5m2", b"\xfc", -float("inf")), ("fp6_e2m3", b"\x1f", 7.5), ("fp6_e3m2", b"\x3f", -28.0), ("fp4_e2m1", b"\x07", 6.0), ("fp4_e2m1", b"\x01", 0.5),
    ("complex64", b"\0\0\x80\x3f\0\0\x00\x40", 1 + 2j),
])
def test_item(dtype, raw, value):
    got = _core.from_buffer(raw, dtype, (1,))._item()
    assert got == value and type(got) is type(value)


def test_item_of_more_than_one():
    with pytest.raises(ValueError, match=r"f32\[2, 3\]"):
        _core.empty((2, 3), "f32")._item()
    assert np.isnan(_core.from_buffer(b"\x7f", "fp8_e4m3", (1,))._item())


# ---- torch and DLPack ----

TORCH_TYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64", "float8_e4m3fn", "float8_e5m2"]


@pytest.mark.parametrize("name", TORCH_TYPES)
def test_torch_both_ways_without_copying(name):
    x = torch.zeros(3, 4).to(getattr(torch, name)).t()
    t = _core.as_tensor(x)
    assert (t.data_ptr, t.shape, t.strides) == (x.data_ptr(), (4, 3), (1, 4))
    for y in (torch.from_dlpack(t), torch.utils.dlpack.from_dlpack(_core.to_dlpack(t)), torch.utils.dlpack.from_dlpack(t.__dlpack__(max_version=(1, 0)))):
        assert y.dtype == x.dtype and y.data_ptr() == x.data_ptr() and y.stride() == x.stride()


def test_every_way_in():
    x = torch.arange(6.0).reshape(2, 3)
    for t in (_core.from_dlpack(x), _core.from_dlpack(torch.utils.dlpack.to_dlpack(x)), _core.as_tensor(x), _core.from_dlpack(x.__dlpack__(max_version=(1, 1))),
              _core.from_dlpack(x.numpy()), _core.from_dlpack(_core.as_tensor(x)), _core.as_tensor(torch.nn.Parameter(x, requires_grad=False))):
        assert t.data_ptr == x.data_ptr() and t.shape == (2, 3) and t.dtype == "f32"


def test_capsules_are_used_once():
    t = _core.empty((3,), "f32")
    for capsule in (_core.to_dlpack(t), t.__dlpack__(max_version=(1, 0)), t.__dlpack__(max_version=(9, 9))):
        _core.from_dlpack(capsule)
        with pytest.raises(ValueError, match="took already"):
            _core.from_dlpack(capsule)
    for thing in (3, None, "x", [1]):
        with pytest.raises(TypeError, match="__dlpack__"):
            _core.from_dlpack(thing)


def test_dlpack_arguments():
    t = _core.as_tensor(np.arange(4.0))
    assert t.__dlpack_device__() == (1, 0)
    for kwargs, error in [({"stream": 3}, BufferError), ({"stream": "x"}, TypeError), ({"max_version": 1}, TypeError), ({"dl_device": (2, 0), "copy": False}, BufferError),
                          ({"dl_device": (99, 0)}, BufferError), ({"dl_device": "cpu"}, TypeError), ({"nonsense": 1}, TypeError)]:
        with pytest.raises(error):
            t.__dlpack__(**kwargs)
    copied = _core.from_dlpack(t.__dlpack__(copy=True, max_version=(1, 0)))
    assert copied.data_ptr != t.data_ptr and copied.tobytes() == t.tobytes()
    assert _core.from_dlpack(t.__dlpack__(copy=False, dl_device=(1, 0), stream=-1)).data_ptr == t.data_ptr
    assert np.from_dlpack(t).ctypes.data == t.data_ptr and np.from_dlpack(t, copy=True).ctypes.data != t.data_ptr


def test_torch_tensors_that_hold_no_plain_memory():
    with pytest.raises(ValueError, match="no_grad"):
        _core.as_tensor(torch.zeros(3, requires_grad=True))
    with torch.no_grad():
        assert _core.as_tensor(torch.zeros(3, requires_grad=True)).shape == (3,)
    for make in (lambda: torch.zeros(3, device="meta"), lambda: torch.eye(3).to_sparse(), lambda: torch.zeros(3, dtype=torch.complex128),
                 lambda: torch.zeros(2, dtype=torch.complex64).conj(), lambda: torch.zeros(2, dtype=torch.complex64).conj().imag):
        with pytest.raises((TypeError, ValueError, BufferError, RuntimeError)):
            _core.as_tensor(make())


class Producer:
    """Hands out whatever it was given as __dlpack__."""

    def __init__(self, tensor, device=(1, 0), version=True):
        self.tensor, self.device, self.version = tensor, device, version

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **kwargs):
        if "max_version" in kwargs and not self.version:
            raise TypeError("max_version?")
        return self.tensor.__dlpack__(max_version=kwargs.get("max_version")) if isinstance(self.tensor, _core.TensorBase) else self.tensor


def test_producers_old_and_wrong():
    t = _core.empty((3,), "f32")
    assert _core.as_tensor(Producer(t)).data_ptr == t.data_ptr
    assert _core.as_tensor(Producer(t, version=False)).data_ptr == t.data_ptr
    for producer, error in [(Producer(t, device=3), TypeError), (Producer(t, device=("a", "b")), TypeError), (Producer(None), ValueError), (Producer(7), ValueError)]:
        with pytest.raises(error):
            _core.as_tensor(producer)


class DLTensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32), ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8),
                ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16), ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
                ("byte_offset", ctypes.c_uint64)]


DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Versioned(ctypes.Structure):
    _fields_ = [("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("ctx", ctypes.c_void_p), ("deleter", DELETER), ("flags", ctypes.c_uint64), ("t", DLTensor)]


new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype, new_capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


def crafted(deleted, shape=(2, 3), strides=None, data=None, code=2, bits=32, lanes=1, device=(1, 0), flags=0, major=1, offset=0, ndim=None):
    memory = (ctypes.c_float * 64)()
    n = len(shape)
    m = Versioned(major, 1, None, DELETER(lambda p: deleted.append(p)), flags,
                  DLTensor(ctypes.addressof(memory) if data is None else data, *device, n if ndim is None else ndim, code, bits, lanes,
                           (ctypes.c_int64 * max(n, 1))(*shape), (ctypes.c_int64 * n)(*strides) if strides else None, offset))
    deleted.keep = (m, memory)
    return new_capsule(ctypes.addressof(m), b"dltensor_versioned", None)


class Deleted(list):
    keep = None


def test_crafted_capsules():
    d = Deleted()
    t = _core.from_dlpack(crafted(d, offset=8))
    assert t.shape == (2, 3) and t.strides == (3, 1) and t.data_ptr == ctypes.addressof(d.keep[1]) + 8 and not d
    del t
    assert len(d) == 1
    assert _core.from_dlpack(crafted(Deleted(), flags=1)).read_only
    assert _core.from_dlpack(crafted(Deleted(), shape=(0, 4), data=0)).size == 0
    assert _core.from_dlpack(crafted(Deleted(), code=15, bits=6)).dtype == _core.from_dlpack(crafted(Deleted(), code=15, bits=8)).dtype == "fp6_e2m3"


@pytest.mark.parametrize("wrong", [
    {"major": 2}, {"code": 9}, {"bits": 128}, {"lanes": 4}, {"shape": (1,) * 17}, {"ndim": -1}, {"shape": (-1,)}, {"shape": (2**40, 2**40)}, {"data": 0},
    {"device": (10, 0)}, {"device": (2, -1)}, {"device": (2, 1000)}, {"strides": (2**62, 1)}, {"strides": (-(2**60), 1)}, {"offset": 2**64 - 1},
    {"code": 0, "bits": 4, "strides": (1, 2)}, {"code": 17, "bits": 4, "flags": 4},
])
def test_crafted_capsules_that_are_wrong(wrong):
    d = Deleted()
    with pytest.raises((TypeError, ValueError, BufferError)):
        _core.from_dlpack(crafted(d, **wrong))
    assert len(d) == 1


class CudaArray:
    def __init__(self, **kwargs):
        self.__cuda_array_interface__ = {"version": 3, "shape": (2, 3), "typestr": "<f4", "data": (4096, False), **kwargs}


def test_cuda_array_interface():
    t = _core.as_tensor(CudaArray(strides=(4, 8)))
    assert t.device == "cuda:0" and t.strides == (1, 2) and t.data_ptr == 4096
    assert t.__cuda_array_interface__ == {"version": 3, "shape": (2, 3), "typestr": "<f4", "data": (4096, False), "strides": (4, 8), "stream": 1}
    assert t.__dlpack_device__() == (2, 0)
    for wrong in ({"typestr": ">f4"}, {"typestr": "|O8"}, {"typestr": 3}, {"shape": 3}, {"data": 3}, {"mask": 1}, {"strides": (3, 3)}, {"strides": (4,)}, {"shape": (-1,)},
                  {"data": (0, False)}):
        with pytest.raises((TypeError, ValueError)):
            _core.as_tensor(CudaArray(**wrong))
    assert not hasattr(_core.empty((1,), "f32"), "__cuda_array_interface__")
    with pytest.raises(TypeError, match="cuda:0"):
        np.asarray(t)
    with pytest.raises(BufferError):
        memoryview(t)


# ---- memory ----


def test_memory_is_counted():
    gc.collect()
    before = _core.memory_stats("cpu")["current"]
    t = _core.empty((1 << 20,), "f32")
    assert _core.memory_stats("cpu")["current"] == before + (4 << 20)
    v = t._view(0, (1,), (1,))
    del t
    assert _core.memory_stats("cpu")["current"] == before + (4 << 20)
    del v
    stats = _core.memory_stats("cpu")
    assert stats["current"] == before and stats["peak"] >= before + (4 << 20)
    _core.memory_reset_peak("cpu")
    assert _core.memory_stats("cpu")["peak"] == before
    _core.empty_cache("cpu")
    assert _core.memory_stats("cpu")["reserved"] < 1 << 20


def test_large_blocks_come_back():
    for n in (1 << 20, (1 << 20) + 12345, 3 << 20, 100 << 20):
        at = _core.empty((n,), "uint8").data_ptr
        assert _core.empty((n,), "uint8").data_ptr == at
    _core.empty_cache("cpu")


def test_no_leaks():
    a, x = np.arange(4000.0).reshape(40, 100), torch.zeros(40, 100)
    bad = np.array([None])

    def once():
        t = _core.as_tensor(a)
        np.asarray(t), np.from_dlpack(t), memoryview(t)
        torch.from_dlpack(t)
        torch.utils.dlpack.from_dlpack(_core.to_dlpack(t))
        _core.to_dlpack(t)
        t.__dlpack__(max_version=(1, 0))
        _core.from_dlpack(x), _core.as_tensor(x), _core.from_dlpack(torch.utils.dlpack.to_dlpack(x))
        t._view(3, (5, 5), (5, 1))._copy_to("cpu").tobytes()
        for f, arg in ((_core.as_tensor, bad), (_core.as_tensor, 3), (_core.from_dlpack, t.__dlpack__)):
            with pytest.raises(TypeError):
                f(arg)

    for _ in range(300):
        once()
    gc.collect()
    rc, before, memory = sys.getrefcount(a), rss(), _core.memory_stats("cpu")["current"]
    for _ in range(3000):
        once()
    gc.collect()
    assert sys.getrefcount(a) == rc and _core.memory_stats("cpu")["current"] == memory
    assert rss() - before < 2 << 20


def test_without_a_gpu_the_answer_is_none():
    assert isinstance(_core.gpus(), list)
    if not _core.gpus():
        with pytest.raises(RuntimeError, match="driver|GPU"):
            _core.empty((1,), "f32", "cuda")
        with pytest.raises(RuntimeError):
            _core.synchronize("cuda:0")
    _core.synchronize("cpu")
    assert _core.memory_stats("cuda:0")["current"] == 0
