"""The peaks of a machine, for rooflines: of GPUs from a table of published figures, of the CPU measured and kept in the
cache's folder."""

from __future__ import annotations

import ctypes
import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from . import _core, cache

__all__ = ["Peak", "peak_of"]


@dataclass(frozen=True)
class Peak:
    """Operations and bytes a second."""

    flops: float  # f32, outside tensor cores
    half: float  # matrix products of 16 bits and fewer
    bytes: float
    text: str

    def least(self, flops: int, moved: int, half: bool) -> float:
        """Seconds that this work takes at the peaks."""
        return max(flops / (self.half if half else self.flops), moved / self.bytes)


# By a part of the GPU's name: TFLOP/s of 16-bit matrix products without sparsity, of f32, GB/s of memory, as NVIDIA
# publishes them.
_GPUS = {
    "H200": (989, 67, 4800),
    "H100 NVL": (835, 60, 3900),
    "H100 PCIe": (756, 51, 2000),
    "H100": (989, 67, 3350),
    "A100-SXM4-80GB": (312, 19.5, 2039),
    "A100 80GB": (312, 19.5, 1935),
    "A100": (312, 19.5, 1555),
    "L40S": (362, 91.6, 864),
    "L4": (121, 30.3, 300),
    "A10": (125, 31.2, 600),
    "RTX A6000": (155, 38.7, 768),
    "B200": (2250, 75, 8000),
    "RTX 5090": (209, 105, 1792),
    "RTX 4090": (165, 82.6, 1008),
    "RTX 3090": (71, 35.6, 936),
}

_found: dict[str, Peak | None] = {}
_lock = threading.Lock()


def peak_of(device: str) -> Peak | None:
    """Of "cpu" or "cuda:N"; None for a GPU that the table does not have."""
    with _lock:
        if device not in _found:
            _found[device] = _cpu() if device == "cpu" else _gpu(device)
        return _found[device]


def _gpu(device: str) -> Peak | None:
    gpus = _core.gpus()
    number = int(device.partition(":")[2] or 0)
    name = gpus[number][0] if number < len(gpus) else ""
    for part, (half, single, memory) in _GPUS.items():
        if part in name:
            text = f"{half} TFLOP/s of 16-bit products, {single} of f32, {memory} GB/s"
            text = f"peaks of {device} ({name}), as published: {text}"
            return Peak(single * 1e12, half * 1e12, memory * 1e9, text)
    return None


# ---- the CPU ----

_TIMES = 5


def _threads() -> int:
    return len(os.sched_getaffinity(0))


def _model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
            return next((line.partition(":")[2].strip() for line in f if line.startswith("model name")), "")
    except OSError:
        return ""


def _copy_rate() -> float:
    """GB/s read and written by this thread: the best of pieces that are too far apart to lie in a cache."""
    size, piece, best = 64 << 20, 4 << 20, 0.0
    a, b = (ctypes.create_string_buffer(size) for _ in range(2))
    to, source = ctypes.addressof(a), ctypes.addressof(b)
    ctypes.memset(source, 1, size)  # touched: pages that nobody wrote are all one page
    for at in [*range(0, size, piece)] * 3:
        start = time.perf_counter()
        ctypes.memmove(to + at, source + at, piece)
        best = max(best, 2 * piece / (time.perf_counter() - start))
    return best / 1e9


def _measure(threads: int) -> tuple[float, float]:
    """GFLOP/s and GB/s of all threads at once, in about a fifth of a second."""
    flops, memory = [0.0] * threads, [0.0] * threads

    def work(i: int) -> None:
        flops[i] = _core.fma_peak(1_000_000)
        memory[i] = _copy_rate()

    crew = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    for t in crew:
        t.start()
    for t in crew:
        t.join()
    return sum(flops), sum(memory)


def _cpu() -> Peak:
    threads, model = _threads(), _model()
    flops, memory, times = 0.0, 0.0, 0
    path = cache.folder() / "cpu_peak.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["model"] == model and kept["threads"] == threads:
            flops, memory, times = float(kept["gflops"]), float(kept["gbytes"]), int(kept["times"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # measured anew
    if times < _TIMES:  # other work makes a machine look slow: the best of a few processes' tries counts
        found = _measure(threads)
        flops, memory = max(flops, found[0]), max(memory, found[1])
        best = {"model": model, "threads": threads, "times": times + 1, "gflops": flops, "gbytes": memory}
        _keep(path, best)
    text = f"{flops:.0f} GFLOP/s of f32, {memory:.1f} GB/s copied; what lies in caches can be faster"
    text = f"peaks of the CPU, measured with {threads} threads: {text}"
    return Peak(max(flops, 1e-3) * 1e9, max(flops, 1e-3) * 1e9, max(memory, 1e-3) * 1e9, text)


def _keep(path: Path, what: dict[str, object]) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(what), encoding="utf-8")
        os.replace(beside, path)
    except OSError:
        return  # measured again next time
