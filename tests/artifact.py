"""A compiled model through its C ABI, with ctypes and NumPy: what every suite that runs artifacts uses."""

import ctypes
import pathlib

import numpy as np

CODES = {"f": 2, "i": 0, "u": 1, "b": 6, "c": 5}


class DLDataType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32), ("ndim", ctypes.c_int32),
        ("dtype", DLDataType), ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int32), ("message", ctypes.c_char * 508)]


class TensorInfo(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("dtype", DLDataType), ("rank", ctypes.c_int32), ("reserved", ctypes.c_int32), ("dims", ctypes.c_int64 * 16)]


class Allocator(ctypes.Structure):
    _fields_ = [("user", ctypes.c_void_p), ("alloc", ctypes.c_void_p), ("release", ctypes.c_void_p)]


class ContextOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("threads", ctypes.c_int32), ("allocator", Allocator), ("cpu", ctypes.c_int32), ("device", ctypes.c_int32),
                ("weights", ctypes.c_char_p), ("device_id", ctypes.c_int32), ("reserved", ctypes.c_uint32)]
CPU = 1


API = ["context_create", "session_create", "session_destroy", "prepare", "run", "output_shape", "workspace", "explain", "stats", "graph_count",
       "graph_name", "graph_inputs", "graph_outputs", "tensor_info", "dim_count", "dim_info"]


class Api(ctypes.Structure):
    _fields_ = [("abi", ctypes.c_uint32), ("size", ctypes.c_uint32)] + [(n, ctypes.c_void_p) for n in API]


class ModelHead(ctypes.Structure):
    _fields_ = [("abi", ctypes.c_uint32), ("size", ctypes.c_uint32), ("name", ctypes.c_char_p), ("api", ctypes.POINTER(Api))]


class ContextHead(ctypes.Structure):
    _fields_ = [("api", ctypes.POINTER(ctypes.c_uint32))]


DTYPES = {(2, 32): np.float32, (2, 64): np.float64, (2, 16): np.float16, (0, 64): np.int64, (0, 32): np.int32, (0, 16): np.int16, (0, 8): np.int8,
          (1, 8): np.uint8, (6, 8): np.bool_, (5, 64): np.complex64}


class TesseraError(Exception):
    """What the runtime said."""


class Model:
    """One artifact with a context and a session of its own. bfloat16 and other types that NumPy lacks travel as raw integers."""

    def __init__(self, path, name, threads=0, cpu=0, weights=None):
        self.library = ctypes.CDLL(str(pathlib.Path(path).resolve()))
        self.head = ModelHead.in_dll(self.library, name + "_tessera")
        self.api = self.head.api.contents
        self.context, self.session, self.error_state = ctypes.c_void_p(), ctypes.c_void_p(), Error()
        options = ContextOptions(ctypes.sizeof(ContextOptions), threads, Allocator(), cpu, CPU, str(weights).encode() if weights else None, 0, 0)
        self._call("context_create", ctypes.byref(self.head), ctypes.byref(options), ctypes.byref(self.context))
        self._call("session_create", ctypes.byref(self.head), self.context, None, ctypes.byref(self.session))

    def _call(self, function, *args):
        kind = ctypes.CFUNCTYPE(ctypes.c_int32, *([ctypes.c_void_p] * (len(args) + 1)))
        plain = [a if isinstance(a, (int, ctypes.c_void_p)) or a is None else ctypes.cast(a, ctypes.c_void_p) for a in args]
        code = kind(getattr(self.api, function))(*plain, ctypes.cast(ctypes.byref(self.error_state), ctypes.c_void_p))
        if code:
            raise TesseraError(self.error_state.message.decode())

    def graphs(self):
        """Names of the graphs, in order."""
        count = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)(self.api.graph_count)(ctypes.addressof(self.head))
        name = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int32)(self.api.graph_name)
        return [name(ctypes.addressof(self.head), i).decode() for i in range(count)]

    def tensors(self, graph):
        """(inputs, outputs) of a graph: TensorInfo each."""
        head = ctypes.addressof(self.head)
        count = [ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32)(f)(head, graph) for f in (self.api.graph_inputs, self.api.graph_outputs)]
        info = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p)(self.api.tensor_info)
        found = []
        for i in range(sum(count)):
            found.append(TensorInfo())
            info(head, graph, i, ctypes.byref(found[-1]))
        return found[: count[0]], found[count[0] :]

    @staticmethod
    def _tensor(array, dtype):
        shape = (ctypes.c_int64 * max(array.ndim, 1))(*array.shape)
        strides = (ctypes.c_int64 * max(array.ndim, 1))(*(s // array.itemsize for s in array.strides))
        return DLTensor(array.ctypes.data, 1, 0, array.ndim, dtype, shape, strides, 0)

    def run(self, graph, inputs):
        """Arrays by name in, arrays by name out."""
        number = self.graphs().index(graph)
        ins, outs = self.tensors(number)
        keep = [self._tensor(inputs[t.name.decode()], t.dtype) for t in ins]
        given = (ctypes.POINTER(DLTensor) * max(len(keep), 1))(*map(ctypes.pointer, keep))
        results = {}
        out_tensors = []
        for i, t in enumerate(outs):
            shape, rank = (ctypes.c_int64 * 16)(), ctypes.c_int32()
            self._call("output_shape", self.session, number, given, len(keep), i, shape, ctypes.byref(rank))
            kind = DTYPES.get((t.dtype.code, t.dtype.bits)) or {8: np.uint8, 16: np.uint16}[max(t.dtype.bits, 8)]
            results[t.name.decode()] = np.empty(tuple(shape[: rank.value]), kind)
            out_tensors.append(self._tensor(results[t.name.decode()], t.dtype))
        taken = (ctypes.POINTER(DLTensor) * max(len(out_tensors), 1))(*map(ctypes.pointer, out_tensors))
        self._call("run", self.session, number, given, len(keep), taken, len(out_tensors), None)
        return results

    def error(self, graph, inputs):
        """The message of a run that must fail; empty when it did not."""
        try:
            self.run(graph, inputs)
        except TesseraError as e:
            return str(e)
        return ""

    def close(self):
        """Destroys session and context."""
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.api.session_destroy)(self.session)
        table = ContextHead.from_address(self.context.value).api
        destroy = ctypes.cast(ctypes.addressof(table.contents) + 8, ctypes.POINTER(ctypes.c_void_p))[0]
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(destroy)(self.context)
