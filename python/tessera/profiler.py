"""How long compiled functions take, kernel by kernel and by the lines of the program that asked for them.

::

    with ts.profiler.profile() as prof:
        model(x)
    print(prof)
    prof.export_chrome_trace("trace.json")   # for https://ui.perfetto.dev or chrome://tracing

While a profile is open, every call of a compiled function in the process runs kernel by kernel: on the CPU with a look
at the clock after each, on a GPU with events around each and a wait at the end. Times of kernels are those of a normal
run; whole calls on a GPU take longer than without a profile, since nothing overlaps. A fused kernel counts for the line
of its product, or else of its result; its event has all lines.
"""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from . import _core
from ._peaks import Peak, peak_of
from ._where import user_line

__all__ = ["Event", "Profile", "profile"]

_LINES = 40  # of a table


@dataclass
class Event:
    """A call of a compiled function (``kind`` "call"), a kernel that it launched ("kernel"), or a compilation, be it a
    look into the cache alone ("compile"). Times are nanoseconds of ``time.monotonic_ns()``. Counts are None where they
    are not known, and where another kernel of the same value has them."""

    kind: str
    name: str
    start_ns: int
    duration_ns: int
    device: str
    thread: int
    file: str = ""
    line: int = 0
    call: int = 0
    function: str = ""
    kernel: str = ""
    variant: str = ""
    values: tuple[str, ...] = ()
    lines: tuple[tuple[str, int], ...] = ()
    cells: int = 0
    flops: int | None = None
    bytes_read: int | None = None
    bytes_written: int | None = None
    half: bool = False

    @property
    def bytes(self) -> int | None:
        """Bytes read and written."""
        return None if self.bytes_read is None or self.bytes_written is None else self.bytes_read + self.bytes_written

    @property
    def where(self) -> str:
        """file:line, or nothing."""
        return f"{self.file}:{self.line}" if self.file else ""


@dataclass
class Row:
    """What events have in common, summed."""

    name: str
    count: int = 0
    ns: int = 0
    inside: int = 0  # of a call's time: in kernels
    flops: int = 0
    bytes: int = 0
    least: float = 0.0  # seconds that the machine's peaks ask for, of the kernels whose work is known
    known: bool = False

    def add(self, e: Event, peak: Peak | None) -> None:
        self.count += 1
        self.ns += e.duration_ns
        if e.flops is None or e.bytes is None:
            return
        self.flops += e.flops
        self.bytes += e.bytes
        if peak is not None:
            self.least += peak.least(e.flops, e.bytes, e.half)
            self.known = True

    @property
    def roofline(self) -> float | None:
        """Percentage of what the machine could do at best: 100 when the time is what its peaks ask for."""
        return 100e9 * self.least / self.ns if self.known and self.ns else None


class Profile:
    """What was seen while the profile was open; more comes when it is entered again."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._heard: deque[tuple[Any, ...]] = deque()  # calls without events yet, so that a call waits for little
        self._calls = 0
        self._lock = threading.RLock()
        self._memory: list[tuple[int, str, int]] = []

    def __enter__(self) -> Profile:
        _listen(self, True)
        return self

    def __exit__(self, *exception: Any) -> None:
        _listen(self, False)

    # ---- what is recorded ----

    def _compiled(self, name: str, device: str, begin: int, end: int) -> None:
        event = Event("compile", name, begin, end - begin, device, threading.get_ident(), *user_line(), -1, name)
        with self._lock:
            self._make_events()
            self._events.append(event)

    def _make_events(self) -> None:
        while self._heard:
            place, thread, held, callable, device, begin, end, launches = self._heard.popleft()
            where = _where_of(callable)
            half = any(dtype in _HALF for _, dtype, _ in callable.program.inputs(callable.graph))
            call = Event("call", callable.graph, begin, end - begin, device, thread, *place)
            call.call, call.function = self._calls, callable.graph
            self._calls += 1
            self._events.append(call)
            self._events.extend(_kernel(call, half, where, *launch) for launch in launches)
            self._memory.append((end, device, held))

    @property
    def events(self) -> list[Event]:
        """All of them: calls in the order in which they ended, each before its kernels."""
        with self._lock:
            self._make_events()
        return self._events

    # ---- what is made of it ----

    @property
    def kernels(self) -> list[Event]:
        """The events of kernels."""
        return [e for e in self.events if e.kind == "kernel"]

    @property
    def compilations(self) -> list[Event]:
        """The events of compilations."""
        return [e for e in self.events if e.kind == "compile"]

    @property
    def calls(self) -> list[Event]:
        """The events of calls."""
        return [e for e in self.events if e.kind == "call"]

    def rows(self, by: str = "kernel") -> list[Row]:
        """Sums over kernels, the longest first: by "kernel", "line" (of the program, where the value was asked for),
        "function", or "call" (the line that called; the time is that of the whole call)."""
        keys: dict[str, Callable[[Event], str]] = {
            "kernel": lambda e: f"{e.kernel} ({e.name})",
            "line": lambda e: e.where or "(not known)",
            "function": lambda e: e.function,
            "call": lambda e: e.where or "(not known)",
        }
        if by not in keys:
            raise ValueError(f"by: wanted one of {', '.join(keys)}, found {by!r}")
        rows: dict[str, Row] = {}
        for e in self.calls if by == "call" else self.kernels:
            row = rows.setdefault(keys[by](e), Row(keys[by](e)))
            row.add(e, None if by == "call" else peak_of(e.device))
        if by == "call":
            line_of = {e.call: rows[keys[by](e)] for e in self.calls}
            for e in self.kernels:
                line_of[e.call].inside += e.duration_ns
        return sorted(rows.values(), key=lambda r: -r.ns)

    def table(self, by: str = "kernel", limit: int = _LINES) -> str:
        """The sums as text: count, time, share, operations, bytes, and the percentage of the roofline; of calls, the
        time in kernels and the host's."""
        rows = self.rows(by)
        total = sum(r.ns for r in rows) or 1
        head: tuple[str, ...] = ("FLOP", "FLOP/s", "bytes", "B/s", "roofline")
        lines = [("what", "count", "time", "share", *(("kernels", "host") if by == "call" else head))]
        for r in rows[:limit]:
            work: tuple[str, ...] = ("", "", "", "")
            if r.ns and (r.flops or r.bytes):
                work = (_si(r.flops), _si(1e9 * r.flops / r.ns), _si(r.bytes), _si(1e9 * r.bytes / r.ns))
            last = (*work, "" if r.roofline is None else f"{r.roofline:.1f} %")
            if by == "call":
                last = (_time(r.inside), _time(max(r.ns - r.inside, 0)))
            lines.append((_short(r.name), str(r.count), _time(r.ns), f"{100 * r.ns / total:.1f} %", *last))
        text = _aligned(lines)
        if len(rows) > limit:
            text += f"\nand {len(rows) - limit} more"
        return text

    def __str__(self) -> str:
        calls, kernels = self.calls, self.kernels
        if not calls:
            return "no call of a compiled function was seen"
        devices = sorted({e.device for e in calls})
        host, inside = sum(e.duration_ns for e in calls), sum(e.duration_ns for e in kernels)
        count = f"{len(calls)} calls, {len(kernels)} kernels on {', '.join(devices)}"
        parts = [f"{count}: {_time(host)} in calls, {_time(inside)} in kernels"]
        if made := self.compilations:
            parts.append(f"{len(made)} compilations or looks into the cache: {_time(sum(e.duration_ns for e in made))}")
        parts += [p.text for p in map(peak_of, devices) if p is not None]
        tables = ("by kernel", "kernel"), ("by line", "line"), ("calls by line", "call")
        return "\n".join([*parts, *(t for title, by in tables for t in ("", title, self.table(by)))])

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Writes the events as JSON in the Trace Event Format, which Perfetto and chrome://tracing open. Kernels of the
        CPU lie inside their calls, those of a GPU on a track of its own."""
        trace = {"traceEvents": list(self._trace()), "displayTimeUnit": "ns", "otherData": {"producer": "tessera"}}
        with open(path, "w", encoding="utf-8") as file:
            json.dump(trace, file)

    def _trace(self) -> Iterator[dict[str, Any]]:
        events = sorted(self.events, key=lambda e: (e.start_ns, e.kind == "kernel"))
        process, zero = os.getpid(), events[0].start_ns if events else 0
        tracks: dict[tuple[str, Any], int] = {}
        yield {"ph": "M", "name": "process_name", "pid": process, "tid": 0, "args": {"name": "tessera"}}
        for e in events:
            on_host = e.kind != "kernel" or e.device == "cpu"
            key = ("thread", e.thread) if on_host else ("GPU", e.device)
            new = key not in tracks
            track = tracks.setdefault(key, len(tracks) + 1)
            both = {"pid": process, "tid": track}
            if new:
                yield {"ph": "M", "name": "thread_name", **both, "args": {"name": f"{key[0]} {key[1]}"}}
                yield {"ph": "M", "name": "thread_sort_index", **both, "args": {"sort_index": track}}
            times = {"ts": (e.start_ns - zero) / 1000, "dur": e.duration_ns / 1000}
            yield {"ph": "X", "name": e.name or e.kernel, "cat": e.kind, **both, **times, "args": _details(e)}
        for at, device, held in self._memory:
            at_end: dict[str, Any] = {"pid": process, "tid": 0, "ts": (at - zero) / 1000}
            yield {"ph": "C", "name": f"tensors on {device}", **at_end, "args": {"bytes": held}}


def _details(e: Event) -> dict[str, Any]:
    """What a trace says of an event beside its name and times."""
    about: dict[str, Any] = {"line": e.where, "device": e.device, "call": e.call}
    if e.kind != "kernel":
        return about
    about |= {"function": e.function, "kernel": e.kernel, "variant": e.variant, "cells": e.cells}
    about |= {"values": " ".join(e.values), "lines": [f"{f}:{n}" for f, n in e.lines]}
    counts = {"flops": e.flops, "bytes_read": e.bytes_read, "bytes_written": e.bytes_written}
    return about | {k: v for k, v in counts.items() if v is not None}


def _kernel(
    call: Event,
    half: bool,
    where: Callable[[str], tuple[str, int] | None],
    step: str,
    values: str,
    kernel: str,
    variant: str,
    cells: int,
    flops: int,
    read: int,
    written: int,
    start: int,
    duration: int,
) -> Event:
    names = tuple(values.split())
    lines = tuple(dict.fromkeys(p for p in map(where, names) if p))
    product = kernel.startswith(_PRODUCTS)  # what is fused into a product comes after it
    place = (lines[0] if product and lines else where(step)) or (lines[-1] if lines else (call.file, call.line))
    e = Event("kernel", step, start, duration, call.device, call.thread, *place, call.call, call.function)
    e.kernel, e.variant, e.values, e.lines, e.cells, e.half = kernel, variant, names, lines, cells, half and product
    e.flops, e.bytes_read, e.bytes_written = _known(flops), _known(read), _known(written)
    return e


# ---- who listens ----

_open: list[Profile] = []
_lock = threading.Lock()


def _hear(callable: Any, device: str, *said: Any) -> None:
    held = int(_core.memory_stats(device)["current"])
    heard = (user_line(), threading.get_ident(), held, callable, device, *said)
    for p in list(_open):
        p._heard.append(heard)


def _hear_compiled(*said: Any) -> None:
    for p in list(_open):
        p._compiled(*said)


def _listen(p: Profile, yes: bool) -> None:
    from . import backend

    with _lock:
        if yes:
            _open.append(p)
        elif p in _open:
            _open.remove(p)
        _core.profile_listen(_hear if _open else None)
        backend.watcher = _hear_compiled if _open else None


def profile() -> Profile:
    """A profile, to be used in a ``with`` block. Profiles may lie in one another; each sees the calls of all
    threads."""
    return Profile()


# ---- names ----

_PRODUCTS = ("matmul", "attention", "pack")
_HALF = {"bf16", "f16", "fp8_e4m3", "fp8_e5m2", "fp6_e2m3", "fp6_e3m2", "fp4_e2m1"}


def _known(n: int) -> int | None:
    return None if n < 0 else n


def _base(name: str) -> str:
    """The value that a step of the compiler's belongs to: y of y.3."""
    head, _, tail = name.rpartition(".")
    return head if head and tail.isdigit() else name


def _where_of(callable: Any) -> Callable[[str], tuple[str, int] | None]:
    """The Python line of a value of that graph, by its name."""
    from . import backend

    ask = backend.places.get(str(callable.program.path))

    def where(name: str) -> tuple[str, int] | None:
        if ask is None or not name:
            return None
        for n in dict.fromkeys((name, _base(name))):
            found = ask(n)
            if found and found[0]:
                return str(found[0]), int(found[1])
        return None

    return where


# ---- text ----


def _si(v: float) -> str:
    for unit in ("", "k", "M", "G", "T", "P"):
        if abs(v) < 999.5 or unit == "P":
            return f"{v:.3g}{' ' + unit if unit else ''}" if v < 1000 else f"{v:.0f} {unit}"
        v /= 1000
    return ""


def _time(ns: float) -> str:
    for unit, scale in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= scale:
            return f"{ns / scale:.3g} {unit}"
    return f"{ns:.0f} ns"


def _short(name: str, most: int = 60) -> str:
    return name if len(name) <= most else "…" + name[1 - most :]


def _aligned(lines: Iterable[tuple[str, ...]]) -> str:
    rows = list(lines)
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    text = []
    for r in rows:
        cells = [c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))]
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)
