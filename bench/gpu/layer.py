"""SPEC S2: the transformer layer, without the line `tessera 1`. The bench and the GPU suite (tests/device/) use it."""

LAYER = """dims B, S, D multiple_of 16
numerics { accum = f32, deterministic = true }

fn heads(t: bf16[B, S, D]) -> (r: bf16[B, 16, S, D//16]) {
  r = t.reshape([B, S, 16, D//16]).transpose([0, 2, 1, 3])
}

graph transformer_layer(x: bf16[B, S, D], w_qkv: bf16[D, 3*D], w_out: bf16[D, D], w_mlp: bf16[D, 4*D]) -> (y: bf16[B, S, D]) {
  q, k, v = split(x @ w_qkv, 3, axis = -1)
  a = attention(heads(q), heads(k), heads(v), causal = true)
  o = a.transpose([0, 2, 1, 3]).reshape([B, S, D]) @ w_out
  h = layer_norm(x + o, eps = 1e-5)
  y = h + gelu(h @ w_mlp, approximate = "tanh") @ w_mlp.T
}
"""
