"""all-MiniLM-L6-v2 as an ONNX graph, written by hand from the published weights: what bench/run.py gives ONNX Runtime.

Only standard operators, none fused by us: ONNX Runtime fuses what it knows when it loads the graph.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LAYERS, HEADS, WIDTH = 6, 12, 384


class Graph:
    """Nodes and constants in the making; every method returns the name of a result."""

    def __init__(self, weights: dict[str, np.ndarray]):
        self.weights, self.nodes, self.constants = weights, [], {}

    def const(self, array: np.ndarray, name: str = "") -> str:
        name = name or f"c{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def op(self, kind: str, *inputs: str, **attributes) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def linear(self, x: str, p: str) -> str:
        w = self.const(self.weights[p + ".weight"].T, p + ".weight.T")
        return self.op("Add", self.op("MatMul", x, w), self.const(self.weights[p + ".bias"], p + ".bias"))

    def norm(self, x: str, p: str) -> str:
        scale, bias = (self.const(self.weights[f"{p}.{k}"], f"{p}.{k}") for k in ("weight", "bias"))
        return self.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-12)

    def gelu(self, x: str) -> str:
        one, half, root = (self.const(np.float32(v)) for v in (1, 0.5, 2**0.5))
        return self.op("Mul", self.op("Mul", x, self.op("Add", self.op("Erf", self.op("Div", x, root)), one)), half)

    def heads(self, x: str, order: list[int]) -> str:
        shape = self.const(np.array([0, 0, HEADS, WIDTH // HEADS], np.int64))
        return self.op("Transpose", self.op("Reshape", x, shape), perm=order)

    def layer(self, x: str, bias: str, p: str) -> str:
        q, k, v = (self.linear(x, f"{p}attention.self.{n}") for n in ("query", "key", "value"))
        scores = self.op("MatMul", self.heads(q, [0, 2, 1, 3]), self.heads(k, [0, 2, 3, 1]))
        scores = self.op("Add", self.op("Div", scores, self.const(np.float32((WIDTH // HEADS) ** 0.5))), bias)
        mixed = self.op("MatMul", self.op("Softmax", scores, axis=-1), self.heads(v, [0, 2, 1, 3]))
        mixed = self.op("Reshape", self.op("Transpose", mixed, perm=[0, 2, 1, 3]), self.const(np.array([0, 0, WIDTH], np.int64)))
        h = self.norm(self.op("Add", self.linear(mixed, p + "attention.output.dense"), x), p + "attention.output.LayerNorm")
        u = self.linear(self.gelu(self.linear(h, p + "intermediate.dense")), p + "output.dense")
        return self.norm(self.op("Add", u, h), p + "output.LayerNorm")


def build(weights: dict[str, np.ndarray]) -> bytes:
    """The model's bytes: ids, mask int64[B, S] to y f32[B, 384]."""
    g = Graph(weights)
    e = "embeddings."
    axes = {n: g.const(np.array(v, np.int64)) for n, v in {"0": [0], "1": [1], "2": [2], "1,2": [1, 2]}.items()}
    length = g.op("Shape", "ids", start=1, end=2)
    places = g.op("Slice", g.const(weights[e + "position_embeddings.weight"], "positions"), axes["0"], length, axes["0"])
    x = g.op("Gather", g.const(weights[e + "word_embeddings.weight"], "words"), "ids")
    x = g.op("Add", g.op("Add", x, g.const(weights[e + "token_type_embeddings.weight"][0], "type")), places)
    x = g.norm(x, e + "LayerNorm")
    mask = g.op("Cast", "mask", to=TensorProto.FLOAT)
    hidden = g.op("Mul", g.op("Sub", g.const(np.float32(1)), mask), g.const(np.float32(np.finfo(np.float32).min)))
    bias = g.op("Unsqueeze", hidden, axes["1,2"])
    for i in range(LAYERS):
        x = g.layer(x, bias, f"encoder.layer.{i}.")
    m = g.op("Unsqueeze", mask, axes["2"])
    count = g.op("Max", g.op("ReduceSum", m, axes["1"], keepdims=0), g.const(np.float32(1e-9)))
    s = g.op("Div", g.op("ReduceSum", g.op("Mul", x, m), axes["1"], keepdims=0), count)
    norm = g.op("Sqrt", g.op("ReduceSum", g.op("Mul", s, s), axes["1"], keepdims=1))
    g.op("Div", s, g.op("Max", norm, g.const(np.float32(1e-12))))
    g.nodes[-1].output[0] = "y"
    sides = [helper.make_tensor_value_info(n, TensorProto.INT64, ["B", "S"]) for n in ("ids", "mask")]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", WIDTH])
    graph = helper.make_graph(g.nodes, "minilm", sides, [result], list(g.constants.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()
