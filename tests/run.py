#!/usr/bin/env python3
"""Run the test suites: every tests/suites/*.py is one.

A suite is a module with `run(ctx)`, which yields `(name, ok, message)` for each test; ok is True, False, or None for a test that
this machine cannot run (the message says why; it counts neither way). Optional module constants:
    PARALLEL = True     may run beside other suites (default: alone, after them)
    TIMEOUT = 600       seconds for the whole suite
Each suite runs in a process of its own, so one that crashes or hangs fails and the others go on. A suite that yields nothing
fails. `ctx` is a Context below. The last line is `N passed, N failed`; the exit status is 1 when anything failed.
"""
import argparse
import concurrent.futures
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUITES = ROOT / "tests" / "suites"
TOTAL_SECONDS = 40 * 60


@dataclass(frozen=True)
class Result:
    """How a child process ended; code is negative for a signal, and timed_out says that the limit did it."""

    code: int
    out: str
    err: str
    timed_out: bool = False


@dataclass
class Context:
    """What a suite gets: where things are, and the few helpers that every suite wants."""

    root: Path
    build: Path
    tmp: Path  # empty, for this suite, removed afterwards
    jobs: int  # processes this suite may run at once
    bless: bool  # rewrite golden answers in place of comparing
    match: str  # run only tests whose name contains this; the runner drops the others anyway
    emit: object

    @property
    def tsc(self):
        return self.build / "tsc"

    def run(self, argv, stdin=None, timeout=60, cwd=None, env=None):
        """Run a command to its end, never longer than timeout seconds; its output is text, bad UTF-8 replaced."""
        proc = subprocess.Popen(
            [str(a) for a in argv],
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd or self.root,
            env=env,
            start_new_session=True,
        )
        data = stdin.encode() if isinstance(stdin, str) else stdin
        timed_out = False
        try:
            out, err = proc.communicate(data, timeout=timeout)
        except subprocess.TimeoutExpired:
            timed_out = True
            os.killpg(proc.pid, signal.SIGKILL)
            out, err = proc.communicate()
        text = [b.decode(errors="replace") for b in (out, err)]
        return Result(proc.returncode, text[0], text[1], timed_out)

    def map(self, function, items):
        """function over items, jobs at a time, results in order."""
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            yield from pool.map(function, items)

    def note(self, text):
        """Print text (a table, a measurement) with the suite's summary."""
        self.emit({"note": text})


# ---- the child: one suite ---------------------------------------------------------------------------------------------------
def load(path):
    spec = importlib.util.spec_from_file_location("suite_" + path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(SUITES))
    spec.loader.exec_module(module)
    return module


def child(args):
    pipe = os.fdopen(args.fd, "w", buffering=1)

    def emit(record):
        pipe.write(json.dumps(record) + "\n")

    tmp = Path(tempfile.mkdtemp(prefix="tessera-" + args.child + "-"))
    try:
        ctx = Context(ROOT, args.build, tmp, args.jobs, args.bless, args.match, emit)
        for name, ok, message in load(SUITES / (args.child + ".py")).run(ctx):
            if args.match in name:
                emit({"name": name, "ok": None if ok is None else bool(ok), "message": str(message or "")})
        emit({"end": True})
    except Exception:
        emit({"name": "suite-runs-to-its-end", "ok": False, "message": traceback.format_exc()})
        emit({"end": True})
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    return 0


# ---- the parent -------------------------------------------------------------------------------------------------------------
class Suite:
    def __init__(self, path):
        self.name = path.stem
        self.passed, self.failures, self.not_run, self.notes = 0, [], [], []
        self.seconds = 0.0
        text = path.read_text()
        # the two constants are read from the text, so that listing suites imports none of them
        self.parallel = "\nPARALLEL = True\n" in text
        self.timeout = next((int(l.split("=")[1]) for l in text.splitlines() if l.startswith("TIMEOUT = ")), 600)

    def take(self, record):
        if "note" in record:
            self.notes.append(record["note"])
        elif "name" in record:
            if record["ok"]:
                self.passed += 1
            elif record["ok"] is None:
                self.not_run.append((record["name"], record["message"]))
            else:
                self.failures.append((record["name"], record["message"]))

    def run(self, args, deadline):
        start = time.monotonic()
        limit = max(1.0, min(self.timeout, deadline - start))
        reader, writer = os.pipe()
        argv = [sys.executable, __file__, "--child", self.name, "--fd", str(writer), "--build", str(args.build)]
        argv += ["--jobs", str(args.jobs), "--match", args.match] + (["--bless"] if args.bless else [])
        with tempfile.TemporaryFile() as log:
            proc = subprocess.Popen(
                argv, pass_fds=[writer], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            os.close(writer)
            timer = threading.Timer(limit, os.killpg, (proc.pid, signal.SIGKILL))
            timer.start()
            ended = False
            with os.fdopen(reader) as lines:
                for line in lines:
                    record = json.loads(line)
                    ended = ended or "end" in record
                    self.take(record)
            proc.wait()
            timer.cancel()
            if not ended:
                log.seek(0)
                tail = log.read()[-4000:].decode(errors="replace")
                why = "killed after %.0f s" % limit if time.monotonic() - start >= limit else "ended with %d" % proc.returncode
                self.failures.append(("suite-runs-to-its-end", why + "\n" + tail))
        if not self.passed and not self.failures and not self.not_run and not args.match:
            self.failures.append(("suite-has-tests", "it yielded no test"))
        self.seconds = time.monotonic() - start

    def report(self):
        for name, message in self.failures:
            print("FAIL %s: %s" % (self.name, name))
            for line in message.rstrip().splitlines()[:60]:
                print("     " + line)
        for name, message in self.not_run:
            print("not run here: %s: %s: %s" % (self.name, name, message.strip()))
        for note in self.notes:
            print(note)
        print("suite %-16s %5d passed, %d failed, %.1f s" % (self.name, self.passed, len(self.failures), self.seconds), flush=True)


def main():
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description="Run Tessera's test suites.")
    parser.add_argument("suites", nargs="*", help="names of suites; all when none is given")
    parser.add_argument("--build", type=Path, default=ROOT / os.environ.get("BUILD", "build"))
    parser.add_argument("--jobs", type=int, default=cores)
    parser.add_argument("--match", default="", help="only tests whose name contains this")
    parser.add_argument("--bless", action="store_true", help="rewrite the golden answers")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--fd", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.build = args.build.resolve()
    if args.child:
        return child(args)

    suites = [Suite(p) for p in sorted(SUITES.glob("*.py")) if not p.stem.startswith("_")]
    unknown = set(args.suites) - {s.name for s in suites}
    if unknown:
        parser.error("no such suite: %s (there are: %s)" % (", ".join(sorted(unknown)), ", ".join(s.name for s in suites)))
    if args.suites:
        suites = [s for s in suites if s.name in args.suites]
    deadline = time.monotonic() + TOTAL_SECONDS
    lock = threading.Lock()

    def one(suite):
        suite.run(args, deadline)
        with lock:
            suite.report()

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(one, [s for s in suites if s.parallel]))
    for suite in suites:
        if not suite.parallel:
            one(suite)

    passed = sum(s.passed for s in suites)
    failed = sum(len(s.failures) for s in suites)
    print("\n%d suites, %d tests could not run on this machine" % (len(suites), sum(len(s.not_run) for s in suites)))
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
