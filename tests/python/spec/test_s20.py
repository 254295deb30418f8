"""S20: a matrix product of this package inside jax.jit."""

import numpy as np

import jax
import jax.numpy as jnp
from tessera.jax import op as t_op


@jax.jit
def step(x, W):
    return t_op.matmul(x, W)


def test_step():
    x = jnp.asarray(np.random.default_rng(20).standard_normal((32, 128)), jnp.float32)
    W = jnp.asarray(np.random.default_rng(21).standard_normal((128, 64)), jnp.float32)
    y = step(x, W)
    assert isinstance(y, jax.Array) and y.shape == (32, 64)
    a, b = np.asarray(x, np.float64), np.asarray(W, np.float64)
    # sums of 128 products in f32
    assert (np.abs(np.asarray(y, np.float64) - a @ b) <= (128 + 8) * 2.0**-24 * (np.abs(a) @ np.abs(b))).all()


def test_it_is_one_custom_call_of_the_program():
    text = step.lower(jnp.zeros((8, 4)), jnp.zeros((4, 2))).as_text()
    assert text.count("custom_call @tessera.") == 1 and "dot_general" not in text
