"""What a long compile is doing, as one line on the terminal: nothing for short ones, and nothing when piped."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType

AFTER = 1.0  # seconds without a word

STAGES = {
    "parse": "reading", "graph": "checking", "kernels": "checking", "rewrite": "rewriting", "schedule": "scheduling",
    "tile": "tiling", "generate": "generating code", "assemble": "assembling", "plan": "planning", "emit": "writing",
}


class Display:
    """After ``tell("generate 3/36")``, ``show()`` writes ``tessera: compiling layer: generating code, kernel 3 of 36``.

    The line is rewritten in place and goes away at the end. With ``NO_COLOR`` there are no escape sequences.
    """

    def __init__(self, name: str) -> None:
        self.name, self.stage, self.written = name, "", 0
        self.since = time.monotonic()
        stream = sys.stderr
        try:
            self.on = bool(stream) and stream.isatty() and os.environ.get("TERM") != "dumb"
        except (AttributeError, ValueError):
            self.on = False
        self.plain = bool(os.environ.get("NO_COLOR"))

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self.written:
            self._write("")

    def patience(self) -> float | None:
        """Seconds to wait for news before ``show`` is due; None when there is nothing to show."""
        return max(0.05, self.since + AFTER - time.monotonic()) if self.on and not self.written else None

    def tell(self, line: str) -> None:
        """A line of ``tsc --progress``."""
        word, _, count = line.partition(" ")
        self.stage = STAGES.get(word, word)
        done, _, of = count.partition("/")
        if of:
            self.stage += f", {'kernel' if word == 'generate' else 'module'} {done} of {of}"

    def show(self) -> None:
        if self.on and time.monotonic() - self.since >= AFTER:
            self._write(f"tessera: compiling {self.name}" + (f": {self.stage}" if self.stage else ""))

    def _write(self, text: str) -> None:
        try:
            width = os.get_terminal_size(sys.stderr.fileno()).columns
            text = text[: max(width - 1, 20)] if width else text
            more = max(0, self.written - len(text))
            clear = " " * more + "\b" * more if self.plain else "\x1b[K"
            sys.stderr.write("\r" + text + clear + ("\r" if not text else ""))
            sys.stderr.flush()
            self.written = len(text)
        except (OSError, ValueError):
            self.on = False
