"""The disk cache: many writers at once, writers that are killed, damaged entries, folders that cannot be written."""

import json
import os
import re
import signal
import threading
import time
import warnings
from pathlib import Path

import pytest

from tessera import cache, compile

TEXT = """tessera 1
dims B

graph f(x: f32[B, 4]) -> (y: f32[B, 4]) {
  y = add(x, 1.0)
}
"""
BUILD_ONE = f"from tessera import compile\nprint(compile.build({TEXT!r}, name='f'))\n"
# a compiler that says it was called, and takes its time
COUNTING = 'echo run >>$LOG\nsleep 0.3\nexec $TSC "$@"'


@pytest.fixture(autouse=True)
def own_state(monkeypatch):
    monkeypatch.setattr(cache, "_fallback", None)


def whole(path):
    files = json.loads((path.parent / cache.MANIFEST).read_text())["files"]
    return path.is_file() and all((path.parent / n).stat().st_size == size for n, (size, _) in files.items())


def entries(folder):
    return sorted(p.name for p in (folder / cache.FORMAT).iterdir() if p.is_dir())


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_an_entry_is_made_once(cache_folder, script):
    script(COUNTING)
    first = compile.build(TEXT, name="f")
    again = compile.build(TEXT, name="f")
    assert first == again and whole(first) and script.log() == ["run"]
    assert first.is_relative_to(cache_folder) and (first.parent / "f.h").is_file() and (first.parent / "f.tg").read_text() == TEXT
    assert os.listdir(cache_folder / cache.FORMAT).count(first.parent.name) == 1 and not list((cache_folder / cache.FORMAT).glob("*.lock"))


def test_eight_processes_compile_once(cache_folder, script, python):
    script(COUNTING)
    started = [python(BUILD_ONE) for _ in range(8)]
    answers = [p.communicate(timeout=120) for p in started]
    assert [p.returncode for p in started] == [0] * 8, answers
    assert len({out for out, _ in answers}) == 1 and not any(err for _, err in answers)
    assert script.log() == ["run"]
    assert len(entries(cache_folder)) == 1


def test_eight_threads_compile_once(cache_folder, script):
    script(COUNTING)
    found = []
    threads = [threading.Thread(target=lambda: found.append(compile.build(TEXT, name="f"))) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(found)) == 1 and len(found) == 8 and script.log() == ["run"]


def test_different_keys_do_not_wait_for_one_another(cache_folder, script, python):
    script('echo $$ >>$LOG\ncase "$*" in *slow*) exec sleep 60;; esac\nexec $TSC "$@"')
    slow = python(BUILD_ONE.replace("name='f'", "name='slow'"))
    wait_for(script.log)
    compile.build(TEXT, name="f")
    assert slow.poll() is None
    os.kill(int(script.log()[0]), signal.SIGKILL)


def test_kill_9_in_the_middle(cache_folder, script, python):
    """The one that waits goes on at once; nothing half made is used; what is left goes in the end."""
    script('echo $$ >>$LOG\n[ $(wc -l <$LOG) = 1 ] && exec sleep 600\nexec $TSC "$@"')
    victim = python(BUILD_ONE)
    wait_for(script.log)
    waits = python(BUILD_ONE)
    time.sleep(0.3)
    assert waits.poll() is None
    victim.kill()
    out, err = waits.communicate(timeout=60)
    assert waits.returncode == 0, err
    assert whole(Path(out.strip())) and len(script.log()) == 2
    os.kill(int(script.log()[0]), signal.SIGKILL)  # the victim's compiler

    left = [p for p in (cache_folder / cache.FORMAT).iterdir() if p.name.startswith("new-")]
    assert len(left) == 1
    for path in (*left, cache_folder / cache.FORMAT / "tidied"):
        os.utime(path, (1, 1))
    compile.build(TEXT, name="g")
    assert not left[0].exists() and len(entries(cache_folder)) == 2


def damage(entry, how):
    so, manifest = entry / "f.so", entry / cache.MANIFEST
    if how == "a bit":
        data = bytearray(so.read_bytes())
        data[len(data) // 2] ^= 4
        so.write_bytes(data)
    elif how == "cut":
        os.truncate(so, so.stat().st_size - 1)
    elif how == "empty":
        so.write_bytes(b"")
    elif how == "no artifact":
        so.unlink()
    elif how == "no manifest":
        manifest.unlink()
    elif how == "manifest of another kind":
        manifest.write_text(json.dumps({"files": ["f.so"]}))
    elif how == "manifest cut":
        manifest.write_text(manifest.read_text()[:20])
    elif how == "manifest is bytes":
        manifest.write_bytes(b"\xff\xfe\0\0")
    elif how == "a folder":
        so.unlink()
        so.mkdir()


@pytest.mark.parametrize("how", ["a bit", "cut", "empty", "no artifact", "no manifest", "manifest of another kind", "manifest cut", "manifest is bytes", "a folder"])
def test_damaged_entries_are_made_again(cache_folder, script, how):
    script('echo run >>$LOG\nexec $TSC "$@"')
    path = compile.build(TEXT, name="f")
    good = path.read_bytes()
    damage(path.parent, how)
    assert compile.build(TEXT, name="f") == path and path.read_bytes() == good and whole(path)
    assert script.log() == ["run", "run"] and entries(cache_folder) == [path.parent.name]


def test_what_a_key_is_made_of(cache_folder, tmp_path):
    import numpy as np
    weighted = TEXT.replace("dims B\n", 'dims B\nweights W = "w.safetensors"\n').replace("add(x, 1.0)", 'add(x, W."b")')
    ones = np.ones(4, np.float32)
    builds = [
        dict(text=TEXT, name="f"), dict(text=TEXT, name="g"), dict(text=TEXT.replace("1.0", "2.0"), name="f"), dict(text=TEXT, name="f", archs=["sm_80"]),
        dict(text=TEXT, name="f", options=["-O1"]), dict(text=weighted, name="f", weights={"W": {"b": ones}}),
        dict(text=weighted, name="f", weights={"W": {"b": ones * 2}}),
    ]
    paths = [compile.build(**b) for b in builds]
    assert len(set(paths)) == len(builds)
    assert [compile.build(**b) for b in builds] == paths
    assert not list(paths[-1].parent.glob("*.safetensors"))


def test_another_compiler_is_another_key(cache_folder, script):
    path = script('echo run >>$LOG\nexec $TSC "$@"')
    first = compile.build(TEXT, name="f")
    os.utime(path, (1e9, 1e9))
    second = compile.build(TEXT, name="f")
    size = path.stat().st_size
    Path(f"{path}.sha256").write_text(f"{'ab' * 32} {size}\n")
    os.utime(path, (2e9, 2e9))
    third = compile.build(TEXT, name="f")
    os.utime(path, (15e8, 15e8))
    assert len({first, second, third}) == 3 and compile.build(TEXT, name="f") == third  # the recorded hash counts, not the time


def cannot_be_written(tmp_path, how):
    if how == "no folder can be made":
        return Path("/proc/tessera-cache")
    place = tmp_path / "place"
    if how == "a file is there":
        place.write_text("")
    elif how == "a file is its parent":
        place.write_text("")
        return place / "cache"
    elif how == "a link to itself":
        place.symlink_to("place")
    elif how == "name too long":
        return tmp_path / ("n" * 300)
    return place


@pytest.mark.parametrize("how", ["no folder can be made", "a file is there", "a file is its parent", "a link to itself", "name too long"])
def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch, how):
    monkeypatch.setenv("TESSERA_CACHE", os.fspath(cannot_be_written(tmp_path, how)))
    with pytest.warns(cache.CacheWarning, match="cannot be written"):
        path = compile.build(TEXT, name="f")
    assert whole(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compile.build(TEXT, name="f") == path  # said once


@pytest.mark.parametrize("error", ["EROFS", "EACCES", "ENOSPC", "EDQUOT"])
def test_errors_of_the_disk(cache_folder, monkeypatch, error):
    import errno

    real = cache.tempfile.mkdtemp

    def refuse(dir=None, **more):
        if dir is not None:
            raise OSError(getattr(errno, error), os.strerror(getattr(errno, error)), os.fspath(dir))
        return real(**more)

    monkeypatch.setattr(cache.tempfile, "mkdtemp", lambda **k: (refuse if cache._fallback is None else real)(**k))
    with pytest.warns(cache.CacheWarning, match=re.escape(os.strerror(getattr(errno, error)))):
        path = compile.build(TEXT, name="f")
    assert whole(path) and not path.is_relative_to(cache_folder)


def test_the_compiler_finds_the_disk_full(cache_folder, script):
    script(f'''case "$*" in *{cache_folder}*) echo "tsc: error[E_FILE]: cannot write 'f.so': No space left on device" >&2; exit 3;; esac
exec $TSC "$@"''')
    with pytest.warns(cache.CacheWarning, match="No space left on device"):
        path = compile.build(TEXT, name="f")
    assert whole(path) and not path.is_relative_to(cache_folder) and entries(cache_folder) == []


def test_the_folder_of_the_process_goes_with_it(tmp_path, python):
    p = python(BUILD_ONE, TESSERA_CACHE="/proc/tessera-cache", TMPDIR=os.fspath(tmp_path))
    out, err = p.communicate(timeout=60)
    assert p.returncode == 0 and "CacheWarning" in err and out.startswith(os.fspath(tmp_path))
    assert not list(tmp_path.glob("tessera-*"))


def test_an_entry_of_a_folder_that_may_only_be_read(cache_folder, script, monkeypatch):
    script('echo run >>$LOG\nexec $TSC "$@"')
    path = compile.build(TEXT, name="f")
    before = sorted(os.listdir(cache_folder / cache.FORMAT))
    monkeypatch.setattr(cache.os, "open", None)  # no lock is taken
    monkeypatch.setattr(cache.tempfile, "mkdtemp", None)
    assert compile.build(TEXT, name="f") == path and sorted(os.listdir(cache_folder / cache.FORMAT)) == before


def test_a_failed_compile_leaves_nothing(cache_folder):
    for _ in range(2):
        with pytest.raises(compile.CompileError):
            compile.build(TEXT.replace("1.0", "nothing"), name="f")
    assert entries(cache_folder) == [] and not list((cache_folder / cache.FORMAT).glob("*.lock"))


def test_entries_that_nobody_uses_go(cache_folder):
    day = 86400
    old, used, new = (compile.build(TEXT, name=n) for n in ("old", "used", "new"))
    now = time.time()
    for path, age in ((old, 70), (used, 50), (new, 1)):
        os.utime(path.parent / cache.MANIFEST, (now - age * day, now - age * day))
    compile.build(TEXT, name="used")  # and so it is young again
    os.utime(cache_folder / cache.FORMAT / "tidied", (1, 1))
    compile.build(TEXT, name="more")
    assert not old.exists() and used.exists() and new.exists()
    assert now - (used.parent / cache.MANIFEST).stat().st_mtime < day


def test_entries_can_be_read_by_those_who_may(cache_folder):
    old = os.umask(0o022)
    try:
        path = compile.build(TEXT, name="f")
    finally:
        os.umask(old)
    assert path.parent.stat().st_mode & 0o777 == 0o755


def test_clear(cache_folder):
    path = compile.build(TEXT, name="f")
    cache.clear()
    assert not path.exists()
    assert compile.build(TEXT, name="f") == path and path.exists()


@pytest.mark.parametrize("environment, wanted", [
    ({"TESSERA_CACHE": "/a/b"}, "/a/b"), ({"TESSERA_CACHE": "~/b", "HOME": "/h"}, "/h/b"), ({"XDG_CACHE_HOME": "/x"}, "/x/tessera"),
    ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/tessera"), ({"HOME": "/h"}, "/h/.cache/tessera"),
])
def test_where_it_is(monkeypatch, environment, wanted):
    for name in ("TESSERA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert os.fspath(cache.folder()) == wanted
