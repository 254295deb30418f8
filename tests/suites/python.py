"""The Python package: builds it and runs tests/python, each file in a process of its own, so one that crashes takes no other with it."""
import json
import os
import sys

PARALLEL = True
TIMEOUT = 1800
FILE_SECONDS = 900

PLUGIN = '''"""Writes one line for each test that began and each that ended."""
import json
import os

OUT = open(os.environ["TESSERA_TEST_RECORDS"], "a", buffering=1)


def tell(**record):
    print(json.dumps(record), file=OUT)


def pytest_runtest_logstart(nodeid):
    tell(began=nodeid)


def pytest_runtest_logreport(report):
    text = "" if report.passed else report.longrepr[2] if report.skipped and isinstance(report.longrepr, tuple) else str(report.longrepr)
    if report.when == "call" or not report.passed:
        tell(ended=report.nodeid, when=report.when, outcome=report.outcome, text=text[-6000:])


def pytest_collectreport(report):
    if report.failed:
        tell(ended=report.nodeid or "collection", when="collect", outcome="failed", text=str(report.longrepr)[-6000:])
'''


def environment(ctx):
    env = {k: v for k, v in os.environ.items() if not k.startswith("TESSERA_")}
    env.update(
        PYTHONPATH=os.pathsep.join([os.fspath(ctx.build / "python"), os.fspath(ctx.tmp)]), PYTHONHASHSEED="0", TESSERA_CACHE=os.fspath(ctx.tmp / "cache"),
        TESSERA_BUILD=os.fspath(ctx.build), OMP_NUM_THREADS="1",
    )
    return env


def read(records):
    """(name, ok, message) of each test, by what the plugin wrote."""
    seen, began = {}, None
    for line in records.read_text().splitlines() if records.exists() else []:
        record = json.loads(line)
        began = record.get("began", began)
        if "ended" in record:
            name, ok = record["ended"], {"passed": True, "failed": False, "skipped": None}[record["outcome"]]
            if seen.get(name, (True,))[0] is not False:
                seen[name] = (ok, "%s: %s" % (record["when"], record["text"]) if not ok else "")
            began = None if began == name else began
    return [(name, ok, text) for name, (ok, text) in seen.items()], began


def one_file(ctx, path):
    records = ctx.tmp / (path.stem + ".records")
    argv = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "tessera_test_records", path]
    argv += ["-k", ctx.match.split("::")[-1].split("[")[0]] if "::" in ctx.match else []
    result = ctx.run(argv, timeout=FILE_SECONDS, env=dict(environment(ctx), TESSERA_TEST_RECORDS=os.fspath(records)))
    tests, began = read(records)
    short = [(name.replace("tests/python/", ""), ok, text) for name, ok, text in tests]
    if result.code not in (0, 1, 5) or (result.code == 1 and all(ok is not False for _, ok, _ in tests)):
        how = "killed after %d s" % FILE_SECONDS if result.timed_out else "ended with %d" % result.code
        short.append(("%s runs to its end" % path.name, False, "%s in %s\n%s%s" % (how, began, result.out[-3000:], result.err[-3000:])))
    return short


def run(ctx):
    """Yields (name, ok, message)."""
    made = ctx.run(["make", "--no-print-directory", "-j%d" % ctx.jobs, "BUILD=%s" % os.path.relpath(ctx.build, ctx.root), "python-tests"], timeout=600)
    if made.code:
        raise RuntimeError("make python-tests failed\n" + made.out[-3000:] + made.err[-3000:])
    yield "make python-tests", True, ""
    (ctx.tmp / "tessera_test_records.py").write_text(PLUGIN)
    files = sorted((ctx.root / "tests" / "python").rglob("test_*.py"))
    wanted = [p for p in files if not ctx.match or any(m in p.name for m in (ctx.match.split("::")[0], ctx.match))] or files
    for tests in ctx.map(lambda path: one_file(ctx, path), wanted):
        yield from tests
