"""Launches a layer_norm text with the driver alone, for sanitizers: bare.py CUBIN THREADS SHARED R N CTAS-OF-A-CLUSTER."""
import ctypes as C
import struct
import sys

image, (threads, shared, r, n, ctas) = open(sys.argv[1], "rb").read(), [int(a) for a in sys.argv[2:7]]
cuda = C.CDLL("libcuda.so.1")


def do(name, *args):
    code = getattr(cuda, name)(*args)
    if code:
        sys.exit("%s: CUDA error %d" % (name, code))


device, context, module, fn = C.c_int(), C.c_void_p(), C.c_void_p(), C.c_void_p()
do("cuInit", 0)
do("cuDeviceGet", C.byref(device), 0)
do("cuDevicePrimaryCtxRetain", C.byref(context), device)
do("cuCtxSetCurrent", context)
do("cuModuleLoadData", C.byref(module), image)
do("cuModuleGetFunction", C.byref(fn), module, b"layer_norm")
buffers = []
for data in (struct.pack("<H", 0x3f80) * (r * n), struct.pack("<f", 1.0) * n, struct.pack("<f", 0.5) * n, bytes(2 * r * n), struct.pack("<f", 1e-5)):
    at = C.c_uint64()
    do("cuMemAlloc_v2", C.byref(at), C.c_size_t(len(data)))
    do("cuMemcpyHtoD_v2", at, data, C.c_size_t(len(data)))
    buffers.append(at)
values = [C.c_int64(b.value) for b in buffers] + [C.c_int64(v) for v in (r, n, r)]
params = (C.c_void_p * len(values))(*[C.addressof(v) for v in values])
do("cuLaunchKernel", fn, r * ctas, 1, 1, threads, 1, 1, shared, None, params, None)
do("cuCtxSynchronize")
out = C.create_string_buffer(2 * r * n)
do("cuMemcpyDtoH_v2", out, buffers[3], C.c_size_t(2 * r * n))
# equal elements have no variance: every result is the bias
sys.exit(print("ran") if out.raw == struct.pack("<H", 0x3f00) * (r * n) else "wrong results")
