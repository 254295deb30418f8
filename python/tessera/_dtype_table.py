"""The element types.

Generated from ir/dtypes.def by python/tools/gen_ops.py; do not edit.
"""

# name, kind (F float, I and U integers, B bool, C complex), bits, whether operators compute in it
DTYPE_TABLE = (
    ("f32", "F", 32, True),
    ("f64", "F", 64, True),
    ("f16", "F", 16, True),
    ("bf16", "F", 16, True),
    ("int64", "I", 64, True),
    ("int32", "I", 32, True),
    ("bool", "B", 8, True),
    ("int16", "I", 16, False),
    ("int8", "I", 8, False),
    ("uint8", "U", 8, False),
    ("int4", "I", 4, False),
    ("fp8_e4m3", "F", 8, False),
    ("fp8_e5m2", "F", 8, False),
    ("fp6_e2m3", "F", 8, False),
    ("fp6_e3m2", "F", 8, False),
    ("fp4_e2m1", "F", 4, False),
    ("complex64", "C", 64, False),
)
