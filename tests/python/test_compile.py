"""The compiler as a child process: which program is run, what becomes of its words, what is shown meanwhile."""

import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

from tessera import compile
from tessera.errors import CompileError

TEXT = """tessera 1
dims B

graph f(x: f32[B, 4]) -> (y: f32[B, 4]) {
  h = add(x, 1.0)
  y = mul(h, h)
}
"""
BUILD_ONE = f"from tessera import compile\nprint(compile.build({TEXT!r}, name='f'))\n"
NODE = '#!/usr/bin/env node\nrequire("fs").writeFileSync("was-run", "")\n'


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


# ---- which program ---------------------------------------------------------------------------------------------------------


def test_the_package_has_its_compiler(monkeypatch):
    monkeypatch.delenv("TESSERA_TSC", raising=False)
    path = compile.tsc_path()
    assert path.parts[-3:] == ("tessera", "bin", "tsc")
    assert subprocess.run([path, "--version"], capture_output=True, text=True).stdout.startswith("tsc 0.1.0\nLLVM ")
    assert (compile.headers() / "tessera" / "tessera.h").is_file() and (compile.headers() / "tessera" / "dlpack.h").is_file()


def test_a_foreign_tsc_on_path_is_named_and_never_run(tmp_path, monkeypatch):
    foreign = program(tmp_path / "node_modules" / ".bin" / "tsc", NODE)
    monkeypatch.delenv("TESSERA_TSC", raising=False)
    monkeypatch.setenv("PATH", f"{foreign.parent}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    assert compile.tsc_path() != foreign
    monkeypatch.setattr(compile, "HERE", tmp_path / "broken")
    with pytest.raises(CompileError, match=f"'{foreign}' on PATH is TypeScript's compiler and is not used") as e:
        compile.build(TEXT, name="f")
    assert e.value.code == "E_TOOL" and "TESSERA_TSC" in str(e.value) and not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("content, why", [(NODE, "TypeScript's compiler"), ("MZ....", "no program of this system"), (None, "no program")])
def test_tessera_tsc_names_something_else(tmp_path, monkeypatch, content, why):
    path = program(tmp_path / "tsc", content) if content else tmp_path / "none"
    monkeypatch.setenv("TESSERA_TSC", os.fspath(path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CompileError, match=f"TESSERA_TSC names '{path}', which is {why}"):
        compile.build(TEXT, name="f")
    assert not (tmp_path / "was-run").exists()


def test_a_program_that_does_not_start(tmp_path, cache_folder, monkeypatch):
    monkeypatch.setenv("TESSERA_TSC", os.fspath(program(tmp_path / "tsc", "\x7fELF but no more")))
    with pytest.raises(CompileError, match="cannot start the compiler"):
        compile.build(TEXT, name="f")


@pytest.mark.parametrize("words, status, shown", [(["--version"], 0, "LLVM"), (["--help"], 0, "usage: tsc"), (["--emit", "nothing"], 2, "E_USAGE")])
def test_command_line(words, status, shown, python):
    import tessera

    env = {**os.environ, "PYTHONPATH": os.path.dirname(next(iter(tessera.__path__)))}
    done = subprocess.run([sys.executable, "-m", "tessera", *words], env=env, capture_output=True, text=True)
    assert done.returncode == status and shown in done.stdout + done.stderr
    env["TESSERA_TSC"] = "/nowhere"
    done = subprocess.run([sys.executable, "-m", "tessera", *words], env=env, capture_output=True, text=True)
    assert done.returncode == 3 and done.stderr == "tessera-tsc: TESSERA_TSC names '/nowhere', which is no program\n"


# ---- what comes out --------------------------------------------------------------------------------------------------------


def test_a_shared_object_that_needs_nothing(cache_folder):
    path = compile.build(TEXT, name="layer")
    shown = subprocess.run(["readelf", "-dW", "--dyn-syms", path], capture_output=True, text=True, check=True).stdout
    assert "(NEEDED)" not in shown and "layer_tessera" in shown


def test_weights_go_into_the_file(cache_folder, tmp_path):
    import numpy as np
    text = TEXT.replace("dims B\n", 'dims B\nweights W = "published.safetensors"\n').replace("add(x, 1.0)", 'add(x, W."a.b")')
    w, x = np.array([1, 2, 3, 4], np.float32), np.ones((3, 4), np.float32)
    path = compile.build(text, name="f", weights={"W": {"a.b": w}})
    np.save(tmp_path / "x.npy", x)
    ran = subprocess.run([compile.tsc_path(), "run", path, "--input", f"x={tmp_path}/x.npy", "--output", f"y={tmp_path}/y.npy"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert np.array_equal(np.load(tmp_path / "y.npy"), (x + w) ** 2)


@pytest.mark.parametrize("archs, wanted", [(["sm_90"], ["sm_90a"]), (["sm_90a", "sm_80", "sm_80"], ["sm_80", "sm_90a"]), (["cpu"], []), ([], [])])
def test_code_for_gpus(cache_folder, archs, wanted):
    path = compile.build(TEXT, name="f", archs=archs)
    sections = subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, check=True).stdout
    assert sorted(re.findall(r"\.tessera\.plan\.(\w+)", sections)) == wanted
    assert (".tessera.gpu" in sections) == bool(wanted)
    shown = subprocess.run([compile.tsc_path(), "inspect", path], capture_output=True, text=True).stdout
    assert not wanted or ("ptxas: none" in shown) == (compile.ptxas_path() is None)


def test_where_ptxas_is_looked_for(tmp_path, monkeypatch):
    first = program(tmp_path / "a" / "ptxas", "#!/bin/sh\n")
    second = program(tmp_path / "cuda" / "bin" / "ptxas", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", os.fspath(first.parent))
    monkeypatch.setenv("CUDA_HOME", os.fspath(second.parent.parent))
    assert compile.ptxas_path() == first
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    assert compile.ptxas_path() == second


def test_architectures_are_the_compilers(tmp_path):
    (tmp_path / "m.tg").write_text(TEXT)
    said = subprocess.run([compile.tsc_path(), tmp_path / "m.tg", "--arch", "sm_1"], capture_output=True, text=True).stderr
    assert tuple(a.rstrip("a") for a in re.findall(r"sm_\d+a?", said.split("There are")[-1])) == compile.ARCHS
    with pytest.raises(ValueError, match="unknown architecture 'sm_91': there are sm_80, "):
        compile.build(TEXT, name="f", archs=["sm_91"])


@pytest.mark.parametrize("sm, arch", [(75, None), (80, "sm_80"), (86, "sm_86"), (89, "sm_89"), (90, "sm_90"), (100, "sm_100"), (103, "sm_100"), (120, "sm_120"), (121, "sm_120")])
def test_the_architecture_of_a_gpu(sm, arch):
    assert compile.arch_for(sm) == arch


# ---- what it says ----------------------------------------------------------------------------------------------------------


def test_diagnostics():
    said = """f.tg:9:13: error[E_SHAPE_MISMATCH]: matmul inner sizes differ: 512 (x axis 2) and 2048
    h = x @ W."up.weight"
          ^~~~  hint: write W."up.weight".T
tsc: warning[W_NO_PTXAS]: there is no ptxas
  hint: give it with --ptxas PATH
odd:name.tg:1:2: note: see here
tsc: 3 more errors not shown
"""
    assert compile.read_diagnostics(said) == [
        ("error", "E_SHAPE_MISMATCH", 9, 13, 'matmul inner sizes differ: 512 (x axis 2) and 2048\nhint: write W."up.weight".T'),
        ("warning", "W_NO_PTXAS", 0, 0, "there is no ptxas\nhint: give it with --ptxas PATH"), ("note", "", 1, 2, "see here"),
    ]


def test_errors_point_at_python(cache_folder):
    asked = []

    def where(name):
        asked.append(name)
        return ("model.py", 7) if name == "h" else None

    with pytest.raises(CompileError) as e:
        compile.build(TEXT.replace("1.0", "missing"), name="f", where=where)
    assert e.value.code == "E_UNKNOWN_NAME" and asked == ["h"]
    assert "unknown name 'missing'" in str(e.value) and str(e.value).endswith("\n  model.py, line 7")
    assert e.value.diagnostics[0][:4] == ("error", "E_UNKNOWN_NAME", 5, 14)


@pytest.mark.parametrize("text, shown", [
    ("kill -SEGV $$", "killed by signal 11"), ("exit 9", "ended with status 9"), ("echo oops >&2; exit 1", "ended with status 1: oops"),
    ('echo "tsc: error[E_INTERNAL]: a bug" >&2; exit 4', "a bug"), ('printf "\\xff\\xfe" >&2; exit 1', "ended with status 1"),
    ("yes x | head -c 300000 | tr -d '\\n' >&2; exit 1", "ended with status 1: x{2000}$"),
])
def test_a_compiler_that_fails(cache_folder, script, text, shown):
    script(text)
    with pytest.raises(CompileError, match=shown):
        compile.build(TEXT, name="f")


def test_warnings_are_pythons(cache_folder, script):
    script('"$TSC" "$@" && echo "f.tg:6:3: warning[W_ODD]: this is odd" >&2')
    with pytest.warns(compile.CompilerWarning, match=r"this is odd.*\[W_ODD\]") as found:
        compile.build(TEXT, name="f", where=lambda name: ("model.py", 9) if name == "y" else None)
    assert [(w.filename, w.lineno) for w in found] == [("model.py", 9)]


def test_many_errors_are_all_there(cache_folder):
    lines = "".join(f"  v{i} = add(x, nope{i})\n" for i in range(5))
    with pytest.raises(CompileError) as e:
        compile.build(TEXT.replace("  h =", lines + "  h ="), name="f")
    assert len([d for d in e.value.diagnostics if d[0] == "error"]) == 5 and str(e.value).count("unknown name") == 5


# ---- while it runs ---------------------------------------------------------------------------------------------------------

SLOW = """fd=$(echo "$@" | sed 's/.*--progress //')
echo schedule >&$fd; echo "generate 3/36" >&$fd
sleep 1.6
echo "assemble 1/4" >&$fd
sleep 0.4
exec $TSC "$@"
"""


def on_a_terminal(start, **environment):
    """What the process writes to a terminal that is its standard error."""
    leader, follower = pty.openpty()
    p = start(BUILD_ONE, follower, **environment)
    os.close(follower)
    shown = b""
    while True:
        ready, _, _ = select.select([leader], [], [], 60)
        try:
            part = os.read(leader, 4096) if ready else b""
        except OSError:
            part = b""
        if not part:
            break
        shown += part
    os.close(leader)
    assert p.wait() == 0, shown
    return shown.decode()


@pytest.fixture
def on_terminal(tmp_path):
    import tessera

    def start(text, stderr, **environment):
        env = {**os.environ, "PYTHONPATH": os.path.dirname(next(iter(tessera.__path__))), "TERM": "xterm", **environment}
        return subprocess.Popen([sys.executable, "-c", text], env=env, stdout=subprocess.DEVNULL, stderr=stderr)

    return lambda **environment: on_a_terminal(start, **environment)


def test_a_long_compile_is_shown_on_a_terminal(cache_folder, script, on_terminal):
    script(SLOW)
    shown = on_terminal()
    assert "\rtessera: compiling f: generating code, kernel 3 of 36\x1b[K" in shown
    assert "\rtessera: compiling f: assembling, module 1 of 4\x1b[K" in shown
    assert shown.endswith("\r\x1b[K\r") and "\n" not in shown


def test_no_color_means_no_escapes(cache_folder, script, on_terminal):
    script(SLOW)
    shown = on_terminal(NO_COLOR="1")
    assert "\rtessera: compiling f: generating code, kernel 3 of 36" in shown and "\x1b" not in shown
    assert shown.rsplit("\r", 2)[-2].strip("\b ") == "" and shown.endswith("\r")


def test_short_ones_show_nothing(cache_folder, on_terminal):
    assert on_terminal(TERM="dumb") == ""


def test_nothing_when_piped_and_nothing_on_a_dumb_terminal(cache_folder, script, python, on_terminal):
    script(SLOW)
    piped = python(BUILD_ONE)
    assert on_terminal(TERM="dumb", TESSERA_CACHE=os.fspath(cache_folder / "other")) == ""
    out, err = piped.communicate(timeout=60)
    assert piped.returncode == 0 and err == "" and out.count("\n") == 1


def runs(pid):
    """Whether that process is there and not only waits for its parent to hear of its end."""
    try:
        return "State:\tZ" not in pathlib.Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_an_interrupt_ends_the_compiler(cache_folder, script, python):
    # like the compiler it ends when nobody holds its lifeline, which is all that an interrupt of its start leaves
    script("fd=$(echo \"$@\" | sed 's/.*--lifeline \\([0-9]*\\).*/\\1/')\necho $$ >>$LOG\nexec cat <&$fd")
    p = python("import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have it ignored\n" + BUILD_ONE)
    end = time.monotonic() + 30
    while not script.log() and time.monotonic() < end:
        time.sleep(0.02)
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=30)
    assert "KeyboardInterrupt" in err
    child = int(script.log()[0])
    while runs(child) and time.monotonic() < end:
        time.sleep(0.02)
    assert not runs(child)
    assert not [n for n in os.listdir(cache_folder / "v1") if n != "tidied"]


SLOW_TEXT = "\n".join([
    "tessera 1", "graph f(x: f32[64, 64]) -> (y: f32[64, 64]) {",
    *(f"  a{i} = matmul({(p := f'a{i - 1}' if i else 'x')}, softmax({p} * {i}.25, axis = [1]))" for i in range(150)), "  y = a149 * 2.0", "}", "",
])


def test_the_compiler_goes_with_a_killed_process(cache_folder, script, python):
    script('echo $$ >>$LOG\nexec $TSC "$@" -j 2')
    p = python(f"import threading\nfrom tessera import compile\nt = threading.Thread(target=compile.build, args=({SLOW_TEXT!r},), kwargs={{'name': 'f'}})\nt.start()\nt.join()\n")
    end = time.monotonic() + 60
    while not script.log() and time.monotonic() < end:
        time.sleep(0.02)
    child = int(script.log()[0])
    while b"-j" not in pathlib.Path(f"/proc/{child}/cmdline").read_bytes() and time.monotonic() < end:
        time.sleep(0.02)
    p.kill()
    p.communicate(timeout=30)
    while runs(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not runs(child)
    assert not [n for n in os.listdir(cache_folder / "v1") if len(n) == 40]  # no entry: it did not come to its end
