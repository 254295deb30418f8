"""A compiled model on torch tensors through its C interface (include/tessera/tessera.h), with ctypes alone."""
import ctypes as C
import hashlib

import torch

BOUND = set()  # hashes of the artifacts that were bound to tensors

_CUDA = 2
_CODES = {torch.float32: (2, 32), torch.float64: (2, 64), torch.float16: (2, 16), torch.bfloat16: (4, 16), torch.int64: (0, 64), torch.int32: (0, 32),
          torch.int16: (0, 16), torch.int8: (0, 8), torch.uint8: (1, 8), torch.bool: (6, 8), torch.float8_e4m3fn: (10, 8), torch.float8_e5m2: (12, 8)}
_CONTEXT_CREATE, _SESSION_CREATE, _SESSION_DESTROY, _PREPARE, _RUN, _, _, _EXPLAIN, _STATS, _GRAPH_COUNT, _GRAPH_NAME = range(11)


class _Model(C.Structure):
    _fields_ = [("abi", C.c_uint32), ("size", C.c_uint32), ("name", C.c_char_p), ("api", C.c_void_p)]


class _ContextOptions(C.Structure):
    _fields_ = [("size", C.c_uint32), ("threads", C.c_int32), ("hooks", C.c_void_p * 3), ("cpu", C.c_int32), ("device", C.c_int32), ("weights", C.c_char_p),
                ("device_id", C.c_int32), ("reserved", C.c_uint32)]


class _Tensor(C.Structure):
    _fields_ = [("data", C.c_void_p), ("device", C.c_int32), ("device_id", C.c_int32), ("ndim", C.c_int32), ("code", C.c_uint8), ("bits", C.c_uint8),
                ("lanes", C.c_uint16), ("shape", C.POINTER(C.c_int64)), ("strides", C.POINTER(C.c_int64)), ("byte_offset", C.c_uint64)]


class _Error(C.Structure):
    _fields_ = [("code", C.c_int32), ("message", C.c_char * 508)]


class Stats(C.Structure):
    _fields_ = [(n, C.c_uint64) for n in ("workspace_bytes", "plan_bytes", "external_bytes", "runs", "prepares", "copied_tensors", "copied_bytes", "launches")]
    _fields_ += [(n, C.c_int32) for n in ("threads", "cpu", "sm", "plan_sm")] + [("modules", C.c_uint32), ("jit", C.c_uint32)]
    _fields_ += [(n, C.c_uint64) for n in ("upload_bytes", "graph_runs", "plain_runs", "maps_encoded", "nodes_updated", "pointers_checked")]


def _describe(t):
    shape = (C.c_int64 * max(t.dim(), 1))(*t.shape)
    strides = (C.c_int64 * max(t.dim(), 1))(*t.stride())
    code, bits = _CODES[t.dtype]
    return _Tensor(t.data_ptr(), _CUDA if t.is_cuda else 1, t.device.index or 0 if t.is_cuda else 0, t.dim(), code, bits, 1, shape, strides, 0), (shape, strides)


class Refused(RuntimeError):
    """A call returned an error: its code (TESSERA_INVALID, …) and message."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Artifact:
    """One session of the model in a shared object, on a GPU or on the CPU."""

    def __init__(self, path, cuda=True, device_id=0, threads=0):
        self.lib = C.CDLL(path)
        with open(path, "rb") as f:
            self.code = hashlib.file_digest(f, "sha256").hexdigest()[:24]
        name = next(s for s in _exports(path) if s.endswith("_tessera"))
        self.model = C.addressof(C.c_char.in_dll(self.lib, name))
        self.table = _Model.from_address(self.model).api + 8
        self.error = _Error()
        options = _ContextOptions(C.sizeof(_ContextOptions), threads=threads, device=_CUDA if cuda else 1, device_id=device_id)
        self.context = C.c_void_p()
        self._call(_CONTEXT_CREATE, C.c_void_p(self.model), C.byref(options), C.byref(self.context), C.byref(self.error))
        self._open()

    def _open(self):
        self.session = C.c_void_p()
        self._call(_SESSION_CREATE, C.c_void_p(self.model), self.context, None, C.byref(self.session), C.byref(self.error))

    def another(self):
        """One more session in the same context, for another thread."""
        other = object.__new__(Artifact)
        other.__dict__.update(self.__dict__, error=_Error(), first=self)
        other._open()
        return other

    def close(self):
        """The session's end. The context stays."""
        self._slot(_SESSION_DESTROY, None)(self.session)

    def _slot(self, i, result=C.c_int32):
        return C.CFUNCTYPE(result)(C.c_void_p.from_address(self.table + 8 * i).value)

    def _call(self, i, *args):
        if self._slot(i)(*args):
            raise Refused(self.error.code, self.error.message.decode(errors="replace"))

    def bind(self, inputs, outputs, graph=0, stream=None):
        """A function without arguments that runs the graph on these tensors, on this stream or the one that is now torch's current."""
        BOUND.add(self.code)
        made = [_describe(t) for t in list(inputs) + list(outputs)]
        n = len(inputs)
        pointers = [(C.POINTER(_Tensor) * max(len(part), 1))(*[C.pointer(d) for d, _ in part]) for part in (made[:n], made[n:])]
        run, session, e = self._slot(_RUN), self.session, C.byref(self.error)
        on_gpu = any(t.is_cuda for t in list(inputs) + list(outputs))
        stream = C.c_void_p((stream or torch.cuda.current_stream()).cuda_stream if on_gpu else 0)
        args = (session, C.c_int32(graph), pointers[0], C.c_int32(n), pointers[1], C.c_int32(len(outputs)), stream, e)

        def launch(_keep=(made, pointers, inputs, outputs)):
            if run(*args):
                raise Refused(self.error.code, self.error.message.decode(errors="replace"))

        return launch

    def stats(self):
        s = Stats()
        self._slot(_STATS)(self.session, C.byref(s))
        return s

    def explain(self):
        lines = []
        line = C.CFUNCTYPE(None, C.c_void_p, C.c_char_p)(lambda _, text: lines.append(text.decode()))
        self._call(_EXPLAIN, self.session, line, None, C.byref(self.error))
        return lines


def _exports(path):
    """Names of the dynamic symbols of a 64-bit ELF file."""
    import mmap
    import struct

    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as b:
        at, = struct.unpack_from("<Q", b, 40)
        size, count = struct.unpack_from("<HH", b, 58)
        sections = [struct.unpack_from("<IIQQQQIIQQ", b, at + i * size) for i in range(count)]
        for s in sections:
            if s[1] == 11:
                strings = sections[s[6]][4]
                for k in range(0, s[5], 24):
                    name, = struct.unpack_from("<I", b, s[4] + k)
                    end = b.find(b"\0", strings + name)
                    if end > strings + name:
                        yield b[strings + name:end].decode()
