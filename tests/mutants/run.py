#!/usr/bin/env python3
"""Plants every fault of faults.py in a copy of the tree, one at a time, rebuilds what changed and runs the fault's tests until one
fails. A fault that no test notices, or that does not compile, is an error. First the same tests run on the copy as it is: all pass.
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(Path(__file__).resolve().parent))
from faults import FAULTS  # noqa: E402

TEST_SECONDS = 900 # a slow machine must not look like a test that noticed something
MAKE_SECONDS = 600


def copy_tree(to, build):
    """The tracked files and what is built but for programs, with their times, so that make sees nothing to do."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    for name in filter(None, names):
        if (ROOT / name).exists():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name, follow_symlinks=False)
    (to / ".venv").symlink_to(ROOT / ".venv")  # ptxas
    skip = shutil.ignore_patterns("unit", "e2e", "tsc", "tsc-load")
    shutil.copytree(ROOT / build, to / build, symlinks=True, ignore=lambda d, n: skip(d, n) if Path(d) == ROOT / build else [])


def make(tree, build, programs):
    targets = ["all" if p == "suite" else "%s/unit/%s" % (build, p) for p in programs]
    # a fault may leave a variable unused: that is a warning here
    return subprocess.run(["make", "-s", "-j%d" % os.cpu_count(), "BUILD=" + build, "EXTRA_CFLAGS=-Wno-error", *targets], cwd=tree, capture_output=True, text=True, timeout=MAKE_SECONDS)


def first_failure(tree, build, test):
    """The first failed line of a test program, None if it passes. It is stopped there."""
    argv = test.split()
    command = ["%s/unit/%s" % (build, argv[0]), *argv[1:]]
    if argv[0] == "suite":
        command = [sys.executable, "tests/run.py", "--build", build, argv[1], "--match", argv[2]]
    program = subprocess.Popen(command, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace", start_new_session=True)
    late = threading.Event()

    def stop():
        late.set()
        os.killpg(program.pid, signal.SIGKILL)

    watch = threading.Timer(TEST_SECONDS, stop)
    watch.start()
    line = next((text.strip() for text in program.stdout if text.startswith("FAIL ")), None)
    watch.cancel()
    if line:
        os.killpg(program.pid, signal.SIGKILL)
    code = program.wait()
    if late.is_set():
        raise TimeoutError("no answer in %d s" % TEST_SECONDS)
    if line or code == 0:
        return line
    return "ended with %d" % code


def plant(tree, file, old, new):
    text = changed = (tree / file).read_text()
    for a, b in zip(old, new) if isinstance(old, tuple) else [(old, new)]:
        if text.count(a) != 1:
            return None, "its text occurs %d times in %s" % (text.count(a), file)
        changed = changed.replace(a, b)
    (tree / file).write_text(changed)
    return text, None


def judge(tree, build, fault):
    """(killed, by what)"""
    _, file, old, new, tests = fault
    before, wrong = plant(tree, file, old, new)
    if wrong:
        return False, wrong
    try:
        for test in tests:
            made = make(tree, build, [test.split()[0]])
            if made.returncode:
                return False, "does not build: " + made.stderr[-600:]
            line = first_failure(tree, build, test)
            if line:
                return True, "%s: %s" % (test, line)
        return False, "survived " + ", ".join(tests)
    except TimeoutError as e:
        return False, "%s: %s" % (test, e)
    finally:
        (tree / file).write_text(before)


def baseline(tree, build, faults):
    tests = list(dict.fromkeys(t for f in faults for t in f[4]))
    made = make(tree, build, sorted({t.split()[0] for t in tests}))
    if made.returncode:
        sys.exit("the tree does not build:\n" + made.stderr[-3000:])
    for test in tests:
        try:
            line = first_failure(tree, build, test)
        except TimeoutError as e:
            line = e
        if line:
            sys.exit("%s fails without any fault: %s" % (test, line))


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--build", default="build")
    args.add_argument("--only", help="the faults of these names, with commas")
    args = args.parse_args()
    faults = [f for f in FAULTS if not args.only or f[0] in args.only.split(",")]
    if not faults:
        sys.exit("no fault is called '%s'" % args.only)
    tree = Path(tempfile.mkdtemp(prefix="tessera-mutants-"))
    alive = 0
    try:
        copy_tree(tree, args.build)
        baseline(tree, args.build, faults)
        for fault in faults:
            killed, why = judge(tree, args.build, fault)
            alive += not killed
            print("%-8s %-28s %s" % ("killed" if killed else "ALIVE", fault[0], why.splitlines()[0] if killed else why), flush=True)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
    print("%d faults, %d killed" % (len(faults), len(faults) - alive))
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
