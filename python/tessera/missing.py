"""What the documents name and this release does not have. Each is there and raises ``NotInRelease`` when it is used;
the list of docs is made from these tables."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, NoReturn

from .errors import NotInRelease

__all__ = ["MODULES", "NAMES", "OPERATORS", "absent", "absent_module", "nearest"]

GRAD = "derivatives and training come in a later release"
_DIST = "several devices come in a later release"
_TORCH = (
    "the bridge to PyTorch comes in a later release; tensors go both ways with ts.from_dlpack and torch.from_dlpack"
)

# of tessera.ops
OPERATORS: dict[str, str] = {
    "grad": GRAD,
    "derivative": GRAD,
    "jvp": GRAD,
    "vjp": GRAD,
    "backward": GRAD,
    "conv1d": "convolutions come in a later release",
    "conv2d": "convolutions come in a later release",
    "conv3d": "convolutions come in a later release",
    "adjoint": "operator algebra comes in a later release",
    "compose": "operator algebra comes in a later release",
    "lowrank": "operator algebra comes in a later release",
    "factorized_matmul": "operator algebra comes in a later release",
    "spectrum": "operator algebra comes in a later release",
    "laplacian": GRAD,
    "fixed_point": "operator algebra comes in a later release",
    "scan": "loops over data come in a later release",
    "dataset": "data sets in graphs come with training",
    "rfft": "of the Fourier transforms there are fft and ifft",
    "irfft": "of the Fourier transforms there are fft and ifft",
    "dct": "of the Fourier transforms there are fft and ifft",
    "stft": "of the Fourier transforms there are fft and ifft",
    "istft": "of the Fourier transforms there are fft and ifft",
    "spectral_conv": "spectral layers come in a later release",
    "spectral_filter": "spectral layers come in a later release",
    "einsum": "write it with matmul, transpose and sum",
    "lu": "factorisations come in a later release",
    "qr": "factorisations come in a later release",
    "svd": "factorisations come in a later release",
    "cholesky": "factorisations come in a later release",
    "tri_solve": "factorisations come in a later release",
    "eigh": "factorisations come in a later release",
    "spmm_csr": "sparse operators come in a later release",
    "spmm_coo": "sparse operators come in a later release",
    "sddmm": "sparse operators come in a later release",
    "bsmm": "sparse operators come in a later release",
    "segment_reduce": "sparse operators come in a later release",
    "top_k": "mixtures of experts come in a later release",
    "moe_dispatch": "mixtures of experts come in a later release",
    "moe_combine": "mixtures of experts come in a later release",
    "grouped_gemm": "mixtures of experts come in a later release",
    "ppo_loss": "losses of reinforcement learning come in a later release",
    "grpo_loss": "losses of reinforcement learning come in a later release",
    "adamw": GRAD,
}

# of tessera itself
NAMES: dict[str, str] = {"grad": GRAD, "distribute": _DIST, "from_pytorch": _TORCH}

# words of tessera.tile
TILE: dict[str, str] = {"load_shard": _DIST, "allreduce": _DIST}

# modules that are there and have nothing yet
MODULES: dict[str, str] = {
    "train": GRAD,
    "opt": GRAD,
    "optim": GRAD,
    "data": GRAD,
    "dist": _DIST,
    "mesh": _DIST,
    "compat": _TORCH,
    "torch": _TORCH,
    "hf": "models of Hugging Face come in a later release",
    "runtime": "the runtime has a C interface (tessera/tessera.h); its Python names come in a later release",
}


def absent(name: str, why: str) -> NoReturn:
    """Raises the error for a name that this release does not have."""
    raise NotInRelease(f"{name} is not in this release: {why}")


def absent_module(name: str) -> Any:
    """The ``__getattr__`` of a module that has nothing yet."""

    def attribute(attr: str) -> Any:
        if attr.startswith("__"):
            raise AttributeError(attr)
        return absent(f"{name}.{attr}", MODULES[name.rpartition(".")[2]])

    return attribute


def absent_function(name: str, why: str) -> Any:
    """A function of that name that says why it is not there."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return absent(name, why)

    call.__name__ = call.__qualname__ = name.rpartition(".")[2]
    call.__doc__ = f"Not in this release: {why}."
    return call


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint with the name that is most like this one."""
    found = difflib.get_close_matches(name, list(names), 1, 0.6)
    return f"; nearest: {found[0]}" if found else ""
