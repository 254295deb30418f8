"""The transformer layer of SPEC S2 and the block of SPEC S25 (PyTorch's MultiheadAttention and Linear layers), without the line `tessera 1`. The bench and
the GPU suite (tests/device/) use them."""

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

BLOCK = """dims B, S, D multiple_of 64

fn heads(t: bf16[B, S, D]) -> (r: bf16[B, 8, S, D//8]) {
  r = t.reshape([B, S, 8, D//8]).transpose([0, 2, 1, 3])
}

graph block(x: bf16[B, S, D], g1: bf16[D], b1: bf16[D], w_in: bf16[3*D, D], b_in: bf16[3*D], w_out: bf16[D, D], b_out: bf16[D],
    g2: bf16[D], b2: bf16[D], w_up: bf16[4*D, D], b_up: bf16[4*D], w_down: bf16[D, 4*D], b_down: bf16[D]) -> (y: bf16[B, S, D]) {
  h = layer_norm(x, g1, b1, eps = 1e-5)
  q, k, v = split(h @ w_in.T + b_in, 3, axis = -1)
  a = attention(heads(q), heads(k), heads(v)).transpose([0, 2, 1, 3]).reshape([B, S, D])
  x1 = x + (a @ w_out.T + b_out)
  n = layer_norm(x1, g2, b2, eps = 1e-5)
  y = x1 + (gelu(n @ w_up.T + b_up, approximate = "none") @ w_down.T + b_down)
}
"""
