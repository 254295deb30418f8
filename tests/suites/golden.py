"""Golden tests: one file under tests/golden/ holds input, command and answer. `make bless` rewrites the answers.

    # RUN: tsc --emit graph                 the command; the file is its last argument, unless it is a .txt or %s stands for it
    graph f(x: f32[4]) -> (y: f32[4]) { y = neg(neg(x)) }
    # EXPECT: graph f(...) ...              standard output, all of it

Rejected input: the expected message stands on the line it must point at, with code and column,
    y = x @ w                               # ERROR E_SHAPE_MISMATCH:5: matmul inner sizes differ: 4 and 8
or, where a comment there would change the meaning, on a line of its own as `# ERROR@LINE CODE:COL: text`; `# ERROR CODE: text` in
a .txt is a message without a place. All messages must be listed, nothing else may be reported, and no file may be left behind.
`# ONLY: words` compares the essential words of PTX (_words.py) in place of all of it. `# EXIT: N` gives the status where it is neither 0 without nor 1 with errors; `# STDERR: text` must occur in standard error.
The command runs in an empty folder that holds a copy of the file; %d is the folder of the original.
"""
import dataclasses
import re
import shlex
import shutil

from _words import essence

PARALLEL = True
TIMEOUT = 900

KINDS = {".tg", ".tile", ".txt"}
DIRECTIVE = re.compile(r"^# (RUN|EXIT|EXPECT|STDERR|ONLY):(?: (.*))?$")
ANNOTATION = re.compile(r"\s*# ERROR(?:@(\d+))? (\w+)(?::(\d+))?: (.*)$")
REPORTED = re.compile(r"^(?:([^\s:][^:]*):(\d+):(\d+)|tsc): error\[(\w+)\]: (.*)$")


class Golden:
    def __init__(self, path, name):
        self.path, self.name = path, name
        self.lines = path.read_text().splitlines()
        self.found = {"RUN": [], "EXIT": [], "EXPECT": [], "STDERR": [], "ONLY": []}
        self.errors = []
        for number, line in enumerate(self.lines, 1):
            directive, error = DIRECTIVE.match(line), ANNOTATION.search(line)
            if directive:
                self.found[directive.group(1)].append(directive.group(2) or "")
            elif error:
                at, code, column, text = error.groups()
                place = (int(at or number), int(column)) if column else None
                self.errors.append((place, code, text))

    def command(self, ctx):
        words = shlex.split(self.found["RUN"][0])
        words[0] = str(ctx.build / words[0])
        if self.path.suffix != ".txt" and "%s" not in words:
            words.append("%s")
        return [w.replace("%s", self.path.name).replace("%d", str(self.path.parent)) for w in words]

    def status(self):
        return int(self.found["EXIT"][0]) if self.found["EXIT"] else 1 if self.errors else 0


def reported(stderr, name):
    """The errors of standard error, as annotations are written; one in another file keeps that file's name in its text."""
    found = []
    for line in stderr.splitlines():
        m = REPORTED.match(line)
        if m:
            file, row, column, code, text = m.groups()
            place = (int(row), int(column)) if file else None
            found.append((place, code, text if file in (None, name) else file + ": " + text))
    return found


def say(error):
    place, code, text = error
    return "%s %s: %s" % ("line %d column %d" % place if place else "no place", code, text)


def compare(golden, result, errors, left):
    """Everything that is not as the file says."""
    if result.timed_out:
        return ["did not end in time"]
    wrong = []
    if result.code != golden.status():
        wrong.append("exit status %d, expected %d" % (result.code, golden.status()))
    wrong += ["not reported: " + say(e) for e in golden.errors if e not in errors]
    wrong += ["not expected: " + say(e) for e in errors if e not in golden.errors]
    wrong += ["standard error lacks: " + text for text in golden.found["STDERR"] if text not in result.err]
    if result.out.splitlines() != golden.found["EXPECT"]:
        wrong += ["--- expected output"] + golden.found["EXPECT"] + ["--- got"] + result.out.splitlines()
    if result.code and left:
        wrong.append("left behind: " + " ".join(left))
    return wrong + (["--- standard error", result.err] if wrong else [])


def bless(golden, result, errors):
    """Rewrite the answers in the file: output, errors in the form (inline or ERROR@) that the file used, and the status."""
    apart = any("# ERROR@" in line for line in golden.lines) or golden.path.suffix == ".txt"
    body = []
    for line in golden.lines:
        directive = DIRECTIVE.match(line)
        if directive and directive.group(1) in ("EXPECT", "EXIT") or line.startswith("# ERROR"):
            continue
        body.append(ANNOTATION.sub("", line))
    end = []
    for place, code, text in errors:
        if place and not apart and place[0] <= len(body):
            body[place[0] - 1] += "  # ERROR %s:%d: %s" % (code, place[1], text)
        elif place:
            end.append("# ERROR@%d %s:%d: %s" % (place[0], code, place[1], text))
        else:
            end.append("# ERROR %s: %s" % (code, text))
    if result.code != (1 if errors else 0):
        end.append("# EXIT: %d" % result.code)
    end += [("# EXPECT: " + line).rstrip() for line in result.out.splitlines()]
    golden.path.write_text("\n".join(body + end) + "\n")


def one(ctx, path):
    name = str(path.relative_to(ctx.root / "tests/golden"))
    golden = Golden(path, name)
    if len(golden.found["RUN"]) != 1:
        return name, False, "needs exactly one `# RUN: tsc ...` line"
    if not ctx.bless and not (golden.found["EXPECT"] or golden.errors or golden.found["STDERR"]):
        return name, False, "expects nothing: run make bless and read the answer"
    folder = ctx.tmp / re.sub(r"\W", "_", name)
    folder.mkdir()
    shutil.copy(path, folder)
    result = ctx.run(golden.command(ctx), cwd=folder)
    if golden.found["ONLY"] == ["words"]:
        result = dataclasses.replace(result, out="\n".join(essence(result.out)))
    errors = reported(result.err, path.name)
    left = sorted(p.name for p in folder.iterdir() if p.name != path.name)
    shutil.rmtree(folder)
    if ctx.bless and result.code >= 0 and not result.timed_out:
        bless(golden, result, errors)
        return name, True, ""
    wrong = compare(golden, result, errors, left)
    return name, not wrong, "\n".join(wrong)


def run(ctx):
    paths = [p for p in sorted((ctx.root / "tests/golden").rglob("*")) if p.suffix in KINDS and ctx.match in str(p)]
    yield from ctx.map(lambda p: one(ctx, p), paths)
