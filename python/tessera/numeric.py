"""Numeric policies: in which type operators store and sum, how they round, and what may change between runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .dtypes import DType, as_dtype
from .errors import GraphTypeError, NotInRelease

__all__ = ["NumericPolicy"]


class NumericPolicy:
    """``op.numeric(dtype="bf16", accum="f32", deterministic=True)``.

    Args:
        dtype: the type that values are stored in, None: that of the operands.
        accum: the type that sums run in, None: f32, for f64 f64.
        deterministic: the same bits in every run (no atomics, fixed orders of sums). False allows faster schedules.
        math_mode: "ieee", or "tf32", which lets products of f32 round their operands to ten bits behind the point.
        rounding: "nearest_even", the only one in this release.
        batch_invariant: a row has the same bits alone and in a batch; None: as the target decides.
        reorder: sums and products may be taken in another order than they are written.
        approx: functions may be less exact than their bounds.
        excess: values inside a kernel may keep more bits than their type.

    A policy goes to an operator (``op.mlp(policy=…)``), to ``ts.jit(fn, policy=…)``, or ``with policy:`` around
    operators; ``dtype`` is for operators that have values of their own, ``op.mlp``: the operands of others have theirs.
    """

    def __init__(
        self,
        dtype: Any = None,
        accum: Any = None,
        deterministic: bool = True,
        *,
        math_mode: str | None = None,
        rounding: str = "nearest_even",
        batch_invariant: bool | None = None,
        reorder: bool | None = None,
        approx: bool | None = None,
        excess: bool | None = None,
    ) -> None:
        if rounding != "nearest_even":
            raise NotInRelease(f"numeric: rounding {rounding!r} is not in this release; there is 'nearest_even'")
        if math_mode not in (None, "ieee", "tf32"):
            raise GraphTypeError(f"numeric: math_mode is 'ieee' or 'tf32', not {math_mode!r}", "E_NUMERICS")
        self.dtype: DType | None = None if dtype is None else as_dtype(dtype).storage
        self.accum: DType | None = None if accum is None else as_dtype(accum).storage
        if self.accum is not None and not self.accum.is_float:
            raise GraphTypeError(f"numeric: accum is a float type, not {self.accum}", "E_NUMERICS")
        self.deterministic, self.math_mode, self.batch_invariant = deterministic, math_mode, batch_invariant
        self.reorder, self.approx, self.excess = reorder, approx, excess
        self._entered: list[Any] = []

    def keys(self) -> dict[str, Any]:
        """The keys of a ``numerics`` block."""
        given: dict[str, Any] = {"deterministic": bool(self.deterministic)}
        if self.accum is not None:
            given["accum"] = self.accum.name
        if self.math_mode is not None:
            given["math"] = self.math_mode
        given |= {
            k: v
            for k, v in (
                ("batch_invariant", self.batch_invariant),
                ("reorder", self.reorder),
                ("approx", self.approx),
                ("excess", self.excess),
            )
            if v is not None
        }
        return given

    def for_operators(self) -> NumericPolicy:
        """The policy, for operators whose operands have their types.

        Raises:
            NotInRelease: it names a type that values are stored in.
        """
        if self.dtype is not None:
            raise NotInRelease(
                f"numeric: dtype={self.dtype.name!r} for any operators is not in this release, only for op.mlp; cast"
                " the operands to the type that values shall be stored in"
            )
        return self

    def __repr__(self) -> str:
        return f"NumericPolicy(dtype={self.dtype}, accum={self.accum}, deterministic={self.deterministic})"

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Operators inside carry this policy."""
        from .trace import numerics

        with numerics(self.keys()):
            yield

    def __enter__(self) -> NumericPolicy:
        scope = self.for_operators().scope()
        scope.__enter__()
        self._entered.append(scope)
        return self

    def __exit__(self, *exc: Any) -> None:
        self._entered.pop().__exit__(*exc)
