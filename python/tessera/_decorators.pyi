"""What ``ts.function``, ``ts.jit`` and ``ts.kernel`` give, for type checkers: they keep the signature."""

from collections.abc import Callable, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from ._types import Array
from .function import Function
from .kernel import JitKernel, Kernel
from .module import CompiledModule
from .numeric import NumericPolicy
from .trace import Value

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R", covariant=True)
S = TypeVar("S")

class Foreign(Array, Protocol):
    """An array of another library: NumPy's, PyTorch's and JAX's have this, and tensors of this package do not."""

    @property
    def cumsum(self) -> Any: ...

class Compiling(Function, Generic[P, R]):
    """A function that is compiled when it is called. Arrays of other libraries do where tensors are wanted, and give
    arrays of theirs; so do symbolic values.
    """

    @overload  # type: ignore[override]
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self, first: Foreign | Value, /, *args: Any, **kwargs: Any) -> Any: ...
    @overload
    def __get__(self, instance: None, owner: Any = None) -> Compiling[P, R]: ...
    @overload
    def __get__(self: Compiling[Concatenate[S, Q], R], instance: S, owner: Any = None) -> Callable[Q, R]: ...

class CompilingModule(CompiledModule, Generic[P, R]):
    """A module whose ``forward`` is compiled."""

    @overload  # type: ignore[override]
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self, first: Foreign | Value, /, *args: Any, **kwargs: Any) -> Any: ...

class HasForward(Protocol[P, R]):
    def forward(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

class _Decorator(Protocol):
    def __call__(self, fn: Callable[P, R]) -> Compiling[P, R]: ...

@overload
def function(
    fn: Callable[P, R], *, policy: NumericPolicy | None = None, options: Sequence[str] = ()
) -> Compiling[P, R]: ...
@overload
def function(fn: None = None, *, policy: NumericPolicy | None = None, options: Sequence[str] = ()) -> _Decorator: ...
@overload
def jit(  # type: ignore[overload-overlap]
    fn: Kernel, *, policy: NumericPolicy | None = None, options: Sequence[str] = ()
) -> JitKernel: ...
@overload
def jit(
    fn: HasForward[P, R], *, policy: NumericPolicy | None = None, options: Sequence[str] = ()
) -> CompilingModule[P, R]: ...
@overload
def jit(
    fn: Callable[P, R], *, policy: NumericPolicy | None = None, options: Sequence[str] = ()
) -> Compiling[P, R]: ...
@overload
def jit(fn: None = None, *, policy: NumericPolicy | None = None, options: Sequence[str] = ()) -> _Decorator: ...
def kernel(fn: Callable[..., Any]) -> Kernel: ...
