"""300 wrong calls and more: each is a TesseraError that is a TypeError or a ValueError and names the argument, what is wanted and what was found,
and the next right call gives the right answer."""

import datetime
import decimal

import numpy as np
import pytest

import tessera as ts


@ts.function
def product(left: ts.Tensor["B", "D", ts.f32], right: ts.Tensor["D", "K", ts.f32], factor: float):
    return left @ right * factor


@ts.function
def heads(q: ts.Tensor["B", 2, "S", 16, ts.bf16], k: ts.Tensor["B", 2, "T", 16, ts.bf16], v: ts.Tensor["B", 2, "T", 16, ts.bf16]):
    return ts.nn.flash_attention(q, k, v)


@ts.function
def rows(table: ts.Tensor["V", "3*D", ts.f32], index: ts.Tensor["N", ts.int32], scale: ts.Tensor["D", ts.f32]):
    return ts.ops.gather(table, index, axis=0)[:, : scale.shape[0]] * scale


def right():
    return {
        product: dict(left=np.ones((3, 4), np.float32), right=np.ones((4, 5), np.float32), factor=2.0),
        heads: {n: ts.randn(2, 2, 5, 16, dtype=ts.bf16) for n in "qkv"},
        rows: dict(table=np.ones((7, 12), np.float32), index=np.zeros(3, np.int32), scale=np.ones(4, np.float32)),
    }


class Odd:
    shape = (3, 4)
    dtype = "f32"


NO_TENSORS = [None, "text", b"bytes", object(), Odd(), datetime.date(2020, 1, 1), decimal.Decimal(1), 1j, True, lambda: 0, int, {1, 2}, range(3), [1, 2], (), {"a": 1},
              np.array([object()]), np.array(["a"]), np.array([1j]), np.zeros(3, "datetime64[s]"), np.zeros(2, [("a", "f4")]), ...]
TYPES = [np.float64, np.float16, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_, np.float32]


def wrong():
    """(function, argument, a wrong value, other arguments): every message names that argument, what is wanted and what was found"""
    for fn, args in right().items():
        for name, good in args.items():
            tensor = name != "factor"
            for bad in NO_TENSORS:
                if tensor or bad is not True:
                    yield fn, name, bad
            if not tensor:
                continue
            shape = tuple(good.shape)
            mine = {"f32": np.float32, "bf16": None, "int32": np.int32}[str(ts.dtypes.as_dtype(good.dtype))]
            for t in TYPES:
                if t is not mine:
                    yield fn, name, np.zeros(shape, t)
            good_type = ts.f32 if mine is np.float32 else ts.bf16 if mine is None else ts.int32
            like = ts.zeros if hasattr(ts, "zeros") else lambda s, dtype: ts.ops.cast(ts.randn(*s, dtype=ts.f32), dtype)
            for other in ((), (2,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (1, 1, 1, 1, 1)):
                if len(other) != len(shape):
                    yield fn, name, like(other, dtype=good_type)
    z = np.zeros
    f4 = np.float32
    for d, e in ((4, 5), (5, 4), (1, 2), (2, 1), (4, 400)):
        yield product, "right", z((e, 3), f4), dict(left=z((3, d), f4))
    for shape in ((2, 3, 5, 16), (2, 2, 5, 8), (3, 2, 5, 16), (2, 1, 5, 16), (2, 2, 5, 17), (1, 2, 5, 16)):
        for name in "qkv":
            yield heads, name, ts.randn(*shape, dtype=ts.bf16)
    yield heads, "v", ts.randn(2, 2, 6, 16, dtype=ts.bf16)
    for n in (11, 13, 3, 9, 15):
        yield rows, "table", z((7, n), f4)
    for n in (3, 5, 1):
        yield rows, "scale", z(n, f4)
    yield product, "factor", 10**400
    yield product, "left", np.ma.masked_array(np.ones((3, 4), f4), mask=np.eye(3, 4))


ALL = list(wrong())


def test_there_are_enough():
    assert len(ALL) >= 300


def test_each():
    bad = []
    for fn, name, value, *more in ALL:
        args = dict(right()[fn], **(more[0] if more else {}))
        args[name] = value
        for call in (lambda: fn(**args), lambda: fn(*args.values())):
            try:
                call()
                bad.append(f"{fn.__name__}({name} = {type(value).__name__} {getattr(value, 'shape', '')}): it ran")
            except (TypeError, ValueError) as e:
                text = str(e)
                if not all(w in text for w in (f"'{name}'", "wanted", "found")) or not isinstance(e, ts.TesseraError):
                    bad.append(f"{fn.__name__}({name} = {type(value).__name__} {getattr(value, 'shape', '')}): {type(e).__name__}: {text}")
            except Exception as e:
                bad.append(f"{fn.__name__}({name} = {type(value).__name__}): {type(e).__name__}: {e}")
    assert not bad, f"{len(bad)} of {2 * len(ALL)}\n" + "\n".join(bad[:60])


@pytest.mark.parametrize("fn", list(right()), ids=lambda f: f.__name__)
def test_then_a_right_one(fn):
    args = right()[fn]
    out = fn(**args)
    assert np.isfinite(np.asarray(out, dtype=np.float32) if not hasattr(out, "to") else np.asarray(out.to(ts.f32))).all()


# what is wrong with how many arguments there are, or with their names: no value is to blame
@pytest.mark.parametrize("args, kwargs, match", [
    ((), {}, "left"),
    ((1,), {}, "right"),
    ((1, 2, 3, 4), {}, "argument"),
    ((), {"lft": 1}, "lft"),
    ((1,), {"left": 2}, "left"),
])
def test_counts_and_names(args, kwargs, match):
    with pytest.raises(ts.ArgumentTypeError, match=match):
        product(*args, **kwargs)
