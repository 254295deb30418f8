"""Unit tests: each tests/unit/test_*.c is a program that prints `ok NAME` or `FAIL NAME: why` lines and fails when one failed. Lines
that begin with `# ` (the table of operators and types, coverage) are shown with the summary."""
PARALLEL = True
TIMEOUT = 1800


def verdicts(name, result):
    """The program's lines as tests; one that stops early, or claims success without a line, is a failure of its own."""
    failed = 0
    seen = 0
    for line in result.out.splitlines():
        if line.startswith("ok "):
            seen += 1
            yield name + "/" + line[3:], True, ""
        elif line.startswith("FAIL "):
            failed += 1
            test, _, why = line[5:].partition(": ")
            yield name + "/" + test, False, why
    if result.timed_out:
        yield name, False, "did not end in time"
    elif result.code != 0 and not failed:
        yield name, False, "ended with %d\n%s" % (result.code, (result.out + result.err)[-3000:])
    elif result.code == 0 and failed:
        yield name, False, "printed FAIL and exited 0"
    elif not seen and not failed:
        yield name, False, "printed no test"


def run(ctx):
    names = sorted(p.stem for p in (ctx.root / "tests/unit").glob("test_*.c"))
    programs = [ctx.build / "unit" / n for n in names]
    missing = [p.name for p in programs if not p.exists()]
    yield "all-built", not missing, "not built: " + " ".join(missing)
    built = [p for p in programs if p.exists()]
    for program, result in zip(built, ctx.map(lambda p: ctx.run([p], timeout=1700), built)):
        notes = [line[2:] for line in result.out.splitlines() if line.startswith("# ")]
        if notes:
            ctx.note("\n".join([program.name, *notes]))
        yield from verdicts(program.name, result)
