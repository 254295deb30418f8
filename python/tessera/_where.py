"""Where in the user's program something was asked for: the first Python frame outside this package."""

from __future__ import annotations

import os
import sys

__all__ = ["user_line"]

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_inside: dict[str, bool] = {}


def user_line() -> tuple[str, int]:
    """(file, line) of the innermost caller outside the package; ("", 0) when there is none."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        inside = _inside.get(name)
        if inside is None:
            inside = _inside[name] = os.path.abspath(name).startswith(_PACKAGE)
        if not inside:
            return name, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return "", 0
