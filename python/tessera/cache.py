"""The disk cache of compiled artifacts: a folder of entries, each written once and checked whenever it is used.

An entry is a folder whose name is its key, a hash of everything that decides the bytes of the artifact. It is made
aside and renamed into its place, so a process that is killed leaves no half entry; whoever makes it holds a lock that
ends with the process, so many processes that ask at once compile once. An entry whose bytes are not what was written is
thrown away and made again.

``$TESSERA_CACHE`` names the folder (``~/.cache/tessera`` otherwise). Where it cannot be written, a folder of this
process serves, with a warning.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from ._where import user_line
from .errors import TesseraError

__all__ = ["CacheError", "CacheWarning", "clear", "folder", "get", "key_of"]

FORMAT = "v1"
MANIFEST = "entry.json"
UNUSED_DAYS = 60  # entries that nobody used for so long go when another is made
LEFT_OVER_SECONDS = 3600  # what a killed process left goes after this
WHOLE = 64 << 20  # bytes of a file that are hashed whenever the entry is used: code and plan lie there, weights behind


class CacheWarning(UserWarning):
    """The disk cache cannot be used."""


class CacheError(TesseraError, RuntimeError):
    """There is no telling where the disk cache lies."""


class _NoRoom(Exception):
    """The cache's folder cannot be written."""


_state_lock = threading.Lock()
_fallback: Path | None = None


def folder() -> Path:
    """The folder that ``$TESSERA_CACHE`` names, else ``tessera`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    named = os.environ.get("TESSERA_CACHE")
    base = os.environ.get("XDG_CACHE_HOME", "")
    path = Path(named) if named else (Path(base) if os.path.isabs(base) else Path("~/.cache")) / "tessera"
    try:
        return path.expanduser().absolute()
    except RuntimeError:  # nobody of that name, or no home
        said = f"TESSERA_CACHE names '{named}'" if named else f"the cache lies in '{path}'"
        raise CacheError(f"{said}, and there is no home folder for '{path.parts[0]}'; set TESSERA_CACHE") from None


def key_of(*parts: str | bytes) -> str:
    """A name for what all these parts decide together."""
    h = hashlib.sha256()
    for part in (FORMAT, *parts):
        data = part.encode() if isinstance(part, str) else part
        h.update(len(data).to_bytes(8, "little"))
        h.update(data)
    return h.hexdigest()[:40]


def clear() -> None:
    """Throw every entry away. Programs that run on: what is loaded stays loaded."""
    shutil.rmtree(folder() / FORMAT, ignore_errors=True)


def get(key: str, make: Callable[[Path], None]) -> Path:
    """The folder of the entry ``key``. ``make(folder)`` fills a new one where there is none."""
    fallback = _fallback
    if fallback is None:
        try:
            return _get_in(folder(), key, make)
        except _NoRoom as error:
            fallback = _own_folder(str(error))
    return _get_in(fallback, key, make)


# ---- one entry ------------------------------------------------------------------------------------------------------


def _get_in(root: Path, key: str, make: Callable[[Path], None]) -> Path:
    place = root / FORMAT / key
    if _is_whole(place):
        return place
    with _writing(root):
        (root / FORMAT).mkdir(parents=True, exist_ok=True)
    with _locked(root, key) as mine:
        if not mine or _is_whole(place):  # another process made it while this one waited
            return place
        with _writing(root):
            _tidy(root)
            work = Path(tempfile.mkdtemp(prefix="new-", dir=root / FORMAT))
        try:
            with _writing(root):
                make(work)
                _seal(work)
                _put(work, place)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return place


def _put(work: Path, place: Path) -> None:
    os.chmod(work, 0o777 & ~_umask())
    with contextlib.suppress(FileNotFoundError):
        old = work.with_name(work.name.replace("new-", "old-", 1))
        os.rename(place, old)  # a damaged one
        shutil.rmtree(old, ignore_errors=True)
    os.rename(work, place)


def _umask() -> int:
    # os.umask() can only be asked by changing it, which other threads would see
    with contextlib.suppress(OSError, ValueError, StopIteration), open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("Umask:")).split()[1], 8)
    return 0o077


def _digest(path: Path) -> str:
    h = hashlib.sha256()
    with open(path, "rb") as f:
        left = WHOLE
        while left and (part := f.read(min(left, 1 << 20))):
            h.update(part)
            left -= len(part)
    return h.hexdigest()


def _seal(work: Path) -> None:
    """Write down what the entry holds."""
    files = {p.name: [p.stat().st_size, _digest(p)] for p in sorted(work.iterdir())}
    (work / MANIFEST).write_text(json.dumps({"files": files}))


def _is_whole(place: Path) -> bool:
    manifest = place / MANIFEST
    try:
        files = json.loads(manifest.read_bytes())["files"]
        for name, (size, digest) in files.items():
            path = place / name
            if path.stat().st_size != size or _digest(path) != digest:
                return False
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    with contextlib.suppress(OSError):  # a folder that may only be read
        if time.time() - manifest.stat().st_mtime > 86400:
            os.utime(manifest)
    return True


# ---- locks ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(root: Path, key: str) -> Iterator[bool]:
    """Hold the key's lock; false: there was a long wait for it, and now the entry is there."""
    path, place = root / FORMAT / (key + ".lock"), root / FORMAT / key
    handle = _take(root, path, place)
    if handle is None:
        yield False
        return
    try:
        yield True
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
        os.close(handle)


def _take(root: Path, path: Path, place: Path) -> int | None:
    wait = 0.01
    while True:
        with _writing(root):
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), os.stat(path)):  # else: who held it before took the file away
                    return handle
            os.close(handle)
            continue
        except OSError as error:
            os.close(handle)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise _NoRoom(f"{path}: {error.strerror}") from error
        # A child that was forked meanwhile may hold the lock on and on: the entry counts, not the lock.
        time.sleep(wait)
        wait = min(wait * 1.5, 0.2)
        if _is_whole(place):
            return None


# ---- where there is no room -----------------------------------------------------------------------------------------

_NO_ROOM = (
    errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.ENOENT, errno.ENOTDIR, errno.EEXIST,
    errno.ELOOP, errno.EIO, errno.ENAMETOOLONG,
)


@contextlib.contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM and not isinstance(error, TesseraError):
            raise _NoRoom(f"{error.filename or root}: {error.strerror}") from error
        raise


def _own_folder(why: str) -> Path:
    global _fallback
    with _state_lock:
        if _fallback is None:
            made = Path(tempfile.mkdtemp(prefix="tessera-"))
            text = (
                f"the cache folder cannot be written ({why}): what is compiled goes into {made} and is gone when this "
                "process ends; set TESSERA_CACHE to a folder of yours"
            )
            warnings.warn_explicit(text, CacheWarning, *(user_line() if user_line()[0] else ("tessera", 1)))
            _fallback = made
            atexit.register(_remove, made, os.getpid())
        return _fallback


def _remove(made: Path, own: int) -> None:
    if os.getpid() == own:  # and not a child that was forked
        shutil.rmtree(made, ignore_errors=True)


def _tidy(root: Path) -> None:
    """Take away what killed processes left, and now and then what nobody used for long."""
    now, home = time.time(), root / FORMAT
    stamp = home / "tidied"
    with contextlib.suppress(OSError):
        if now - stamp.stat().st_mtime < LEFT_OVER_SECONDS:
            return
    with contextlib.suppress(OSError):
        stamp.touch()
        for path in home.iterdir():
            with contextlib.suppress(OSError):
                if path.name.startswith(("new-", "old-")):
                    old = now - path.stat().st_mtime > LEFT_OVER_SECONDS
                elif path.is_dir():
                    old = now - (path / MANIFEST).stat().st_mtime > UNUSED_DAYS * 86400
                else:
                    continue
                if old:
                    shutil.rmtree(path, ignore_errors=True)
