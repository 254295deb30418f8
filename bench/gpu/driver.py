"""The CUDA driver through ctypes, as little of it as running a kernel text takes: modules, tensor maps, launches on torch's stream."""
import ctypes
import struct

import torch

_cuda = ctypes.CDLL("libcuda.so.1")
_MAX_DYNAMIC_SHARED = 8
_TYPES = {torch.float16: 6, torch.float32: 7, torch.float64: 8, torch.bfloat16: 9}
_SWIZZLES = {0: 0, 32: 1, 64: 2, 128: 3}


def _check(code, what):
    if code:
        raise RuntimeError("%s: CUDA error %d" % (what, code))


def version():
    """The newest CUDA that the driver serves, such as 13.0."""
    v = ctypes.c_int()
    _check(_cuda.cuDriverGetVersion(ctypes.byref(v)), "cuDriverGetVersion")
    return "%d.%d" % (v.value // 1000, v.value % 1000 // 10)


def tensor_map(tensor, box, swizzle=128):
    """128 bytes that describe boxes of a contiguous tensor to TMA; box in the tensor's own order of axes."""
    rank = tensor.dim()
    dims = (ctypes.c_uint64 * rank)(*reversed(tensor.shape))
    strides = (ctypes.c_uint64 * rank)(*[s * tensor.element_size() for s in reversed(tensor.stride()[:-1])])
    boxes = (ctypes.c_uint32 * rank)(*reversed(box))
    ones = (ctypes.c_uint32 * rank)(*[1] * rank)
    raw = ctypes.create_string_buffer(128 + 64)
    at = (ctypes.addressof(raw) + 63) // 64 * 64
    _check(_cuda.cuTensorMapEncodeTiled(ctypes.c_void_p(at), _TYPES[tensor.dtype], rank, ctypes.c_void_p(tensor.data_ptr()), dims, strides, boxes, ones, 0,
                                        _SWIZZLES[swizzle], 2, 0), "cuTensorMapEncodeTiled")
    return ctypes.string_at(at, 128)


class Kernel:
    """One kernel of a module (a cubin, or PTX): call(grid, buffers, numbers, maps) launches it."""

    def __init__(self, image, name, threads, shared):
        torch.cuda.current_stream()
        torch.zeros(1, device="cuda")
        self.module, self.fn = ctypes.c_void_p(), ctypes.c_void_p()
        self.image, self.threads, self.shared = image + b"\0", threads, shared
        _check(_cuda.cuModuleLoadData(ctypes.byref(self.module), self.image), "cuModuleLoadData " + name)
        _check(_cuda.cuModuleGetFunction(ctypes.byref(self.fn), self.module, name.encode()), "cuModuleGetFunction " + name)
        if shared > 48 << 10:
            _check(_cuda.cuFuncSetAttribute(self.fn, _MAX_DYNAMIC_SHARED, shared), "cuFuncSetAttribute " + name)

    def bind(self, grid, buffers, numbers, maps=()):
        """A function without arguments that launches with these arguments."""
        x, y = grid if isinstance(grid, tuple) else (grid, 1)
        values = [struct.pack("q", b.data_ptr()) for b in buffers] + [struct.pack("q", n) for n in numbers] + list(maps)
        store = [ctypes.create_string_buffer(v, len(v)) for v in values]
        params = (ctypes.c_void_p * len(store))(*[ctypes.addressof(s) for s in store])
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)

        def launch(_keep=(store, buffers)):
            _check(_cuda.cuLaunchKernel(self.fn, x, y, 1, self.threads, 1, 1, self.shared, stream, params, None), "cuLaunchKernel")

        return launch


def alternate(ours, peer, seconds=1.0, warm=0.5, block=5):
    """Medians of ours and peer in ms, run by turns in short blocks after a warm-up; and the median of peer / ours over neighbouring blocks."""
    def timed(f):
        a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        a.record()
        for _ in range(block):
            f()
        b.record()
        return a, b

    def spin(limit):
        begin, pairs = torch.cuda.Event(enable_timing=True), []
        begin.record()
        while True:
            pairs.append((timed(ours), timed(peer)))
            torch.cuda.synchronize()
            if begin.elapsed_time(pairs[-1][1][1]) > limit * 1e3:
                return pairs

    def median(v):
        return sorted(v)[len(v) // 2]

    spin(warm)
    times = [[a.elapsed_time(b) / block for a, b in pair] for pair in spin(seconds)]
    return median([t[0] for t in times]), median([t[1] for t in times]), median([t[1] / t[0] for t in times])
