# ``tessera.op`` is ``tessera.ops``. Generated from ir/ops.def by python/tools/gen_ops.py; do not edit.
# ruff: noqa: F403, I001
from ._names import *
from .ops import (
    mlp as mlp,
    numeric as numeric,
    placeholder as placeholder,
    randint as randint,
    register as register,
    tensor as tensor,
)
