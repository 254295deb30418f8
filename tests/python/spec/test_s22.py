"""S22: a mixed stack: a PyTorch batch, JAX arrays, operators of this package on them."""

import numpy as np

from tessera import op


def check(y, x):
    x = np.asarray(x, np.float64)
    s = x @ x.T
    p = np.exp(s - s.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    k = x.shape[1]
    # the scores' error, (K + 8) 2^-24 of the sums of magnitudes, reaches both the element and the row's largest
    error = 2 * (k + 8) * 2.0**-24 * (np.abs(x) @ np.abs(x).T).max() + 32 * 2.0**-24
    assert (np.abs(np.asarray(y, np.float64) - p) <= error * p + error * 1e-3).all()


def test_with_jax():
    import torch
    import jax.numpy as jnp
    # PyTorch dataloader → JAX preprocessing → Tessera compute
    batch = torch.randn(32, 1024)

    # Convert to JAX
    x = jnp.array(batch.numpy())

    # Run Tessera kernel
    y = op.softmax(op.matmul(x, x.T))
    assert type(y).__module__.startswith("jax")
    check(y, x)


def test_with_torch():
    import torch
    x = torch.randn(32, 64)
    y = op.softmax(op.matmul(x, x.T))
    assert isinstance(y, torch.Tensor)
    check(y, x)


def test_with_numpy():
    x = np.random.default_rng(22).standard_normal((8, 64)).astype(np.float32)
    y = op.softmax(op.matmul(x, x.T))
    assert isinstance(y, np.ndarray)
    check(y, x)
