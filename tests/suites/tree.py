"""Gates on the repository itself: rules of the house that a compiler does not check."""
import os
import re
import runpy
import subprocess

PARALLEL = True

# put together here so that this file passes its own gate
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)

# folder -> the folders of the tree it may include from, beside itself; include/ is open to all
ARROWS = {
    "support/": (),
    "ir/": ("support/",),
    "frontend/": ("ir/", "support/"),
    "middle/": ("ir/", "support/"),
    "backend/": ("middle/", "ir/", "support/"),
    "emit/": ("backend/", "middle/", "ir/", "support/"),
    "rtlib/": (),
}
# What the compiler writes and the runtime reads is described once, in rtlib, which may include nothing else: the plan and its packing.
FORMATS = ("rtlib/plan.h", "rtlib/pack.h")
# Code that both sides must run alike and that is freestanding in rtlib: emit compiles the same file once more for tsc itself (its
# copy in the runtime object has hidden names). Only the file of that name in emit may include each.
SHARED = {
    ("emit/plan_check.c", "rtlib/plan_check.c"),  # a plan is checked when it is made as it will be when it is loaded
    ("emit/plan_same.c", "rtlib/plan_same.c"),  # and compared with the CPU's plan
    ("emit/explain.c", "rtlib/expr.c"),  # sizes are what the runtime makes of them
    ("emit/sha256.c", "rtlib/sha256.c"),  # hashes of weight files
    ("emit/plan_weights.c", "rtlib/sha256.h"),
}
INSIDE = tuple(ARROWS) + ("tsc/", "tests/")


def tracked(root):
    """Names of the repository's files; what git ignores is not looked at, and git itself need not be there."""
    git = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        out = subprocess.run(git, cwd=root, capture_output=True, check=True).stdout.decode()
        names = [n for n in out.split("\0") if n]
    except (OSError, subprocess.CalledProcessError):
        made = (".git", ".venv", "build", "dist")
        names = [str(p.relative_to(root)) for p in root.rglob("*") if not p.relative_to(root).parts[0].startswith(made)]
    return [n for n in names if (root / n).is_file()]


def links(root):
    """Tracked symbolic links, by git's own record of them: they would point somewhere else, or nowhere, in another clone."""
    lines = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-s"], cwd=root, capture_output=True, text=True).stdout.splitlines()
    return [line for line in lines if line.startswith("120000")]


def includes(text):
    return [(m.group(2), text[: m.start()].count("\n") + 1) for m in INCLUDE.finditer(text)]


def wrong_includes(sources, is_wrong):
    return ["%s:%d: %s" % (n, line, inc) for n, text in sources.items() for inc, line in includes(text) if is_wrong(n, inc)]


def against_the_arrows(name, inc):
    home = next((f for f in ARROWS if name.startswith(f)), None)
    if home is None or inc in FORMATS or (name, inc) in SHARED or not inc.startswith(INSIDE):
        return False
    return not inc.startswith((home,) + ARROWS[home])


def outside_rtlib(name, inc):
    """rtlib knows include/, its own files and the system's headers."""
    return name.startswith("rtlib/") and ("../" in inc or (inc.startswith(INSIDE) and not inc.startswith("rtlib/")))


def graph_operators(table):
    """Names of the operators that ops.def does not mark as words of Tile IR too."""
    return {m.group(1) for m in re.finditer(r"^OP\(\s*(\w+)([^\n]*)", table, re.M) if "TILE" not in m.group(2)}


def heading_anchors(text):
    """Anchors of a page's headings, as the sites that show it make them."""
    names = re.findall(r"^#+\s+(.*?)\s*$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", n.lower()).replace(" ", "-") for n in names}


def broken_links(texts, files):
    """Links of the pages to files that are not in the repository, or to headings that a page does not have."""
    found = []
    for name, text in texts.items():
        if not name.endswith(".md"):
            continue
        prose = re.sub(r"^```.*?^```|^(?: {4}|\t).*?$", lambda m: "\n" * m.group().count("\n"), text, flags=re.M | re.S)
        prose = re.sub(r"`[^`\n]*`", "", prose)
        for m in re.finditer(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", prose, re.M):
            path, _, anchor = (m.group(1) or m.group(2)).partition("#")
            if re.match(r"[a-z]+:", path):
                continue
            at = name if not path else os.path.normpath(os.path.join(os.path.dirname(name), path))
            there = at in files or any(f.startswith(at + "/") for f in files)
            if not there or (anchor and anchor not in heading_anchors(texts.get(at, ""))):
                found.append("%s:%d: %s" % (name, prose[: m.start()].count("\n") + 1, m.group(1) or m.group(2)))
    return found


def missing_files(texts):
    """Files that a page names in backquotes by their path in the tree, and that are not there."""
    tops = {n.split("/")[0] for n in texts if "/" in n}
    return ["%s:%d: %s" % (name, i, path) for name, text in texts.items() if name.endswith(".md")
            for i, line in enumerate(text.splitlines(), 1) for path in re.findall(r"`([\w./-]+\.(?:c|h|def|rules|md|py|sh|tg|tile|yaml))`", line)
            if path.split("/")[0] in tops and "/" in path and "NAME" not in path and path not in texts]


def lost_faults(faults, texts):
    """Planted faults whose text is not there once, or whose tests are not there: `make mutants` is run too rarely to notice in time."""
    found = []
    for name, file, old, _, tests in faults:
        for text in old if isinstance(old, tuple) else (old,):
            if texts.get(file, "").count(text) != 1:
                found.append("%s: its text occurs %d times in %s" % (name, texts.get(file, "").count(text), file))
        for words in (t.split() for t in tests):
            where = "tests/suites/%s.py" % words[1] if words[0] == "suite" else "tests/unit/%s.c" % words[0]
            found += ["%s: there is no %s" % (name, where)] if where not in texts else []
    return found


def test(name, found):
    return name, not found, "\n".join(found)


def run(ctx):
    texts = {}
    for name in tracked(ctx.root):
        data = (ctx.root / name).read_bytes()
        if b"\0" not in data:
            texts[name] = data.decode(errors="replace")
    c = {n: t for n, t in texts.items() if n.endswith((".c", ".h", ".cpp", ".def", ".inc", ".S"))}

    yield "sources-found", len(c) > 4, "only %d C files were seen" % len(c)
    yield test("nothing-unfinished", [
        "%s:%d: %s" % (n, i, line.strip()) for n, t in texts.items() for i, line in enumerate(t.splitlines(), 1) if UNFINISHED.search(line)])
    yield test("llvm-only-in-backend-and-emit", wrong_includes(c, lambda n, inc:
        inc.startswith(("llvm-c/", "llvm/", "lld/")) and not n.startswith(("backend/llvm/", "emit/", "tests/unit/"))))
    yield test("backend-knows-no-graph-operator", wrong_includes(c, lambda n, inc: n.startswith("backend/llvm/") and inc.endswith("ops.def")))
    graph_only = graph_operators(texts.get("ir/ops.def", ""))
    yield test("backend-names-no-graph-operator", [
        "%s:%d: %s" % (n, i, op) for n, t in c.items() if n.startswith("backend/llvm/")
        for i, line in enumerate(t.splitlines(), 1) for op in re.findall(r"\bTS_OP_(\w+)", line) if op in graph_only])
    yield test("arrows-run-one-way", wrong_includes(c, against_the_arrows))
    yield test("runtime-includes-only-include-and-itself", wrong_includes(c, outside_rtlib))
    yield test("no-exit-or-getenv-below-tsc", [
        "%s:%d: %s" % (n, i, line.strip()) for n, t in c.items() if n.startswith(tuple(f for f in INSIDE if f not in ("tsc/", "tests/")))
        and not n.startswith("middle/rewrite/gen/") for i, line in enumerate(t.splitlines(), 1) if re.search(r"(?<![\w.>_])(exit|getenv)\(", line)])
    yield test("first-headers-say-their-contract", [n for n, t in c.items() if n.endswith(".h") and not t.lstrip().startswith("/*")])
    yield test("no-links-tracked", links(ctx.root))
    yield test("links-of-pages-resolve", broken_links(texts, set(tracked(ctx.root))))
    yield test("files-that-pages-name-are-there", missing_files(texts))
    faults = runpy.run_path(str(ctx.root / "tests/mutants/faults.py"))["FAULTS"]
    yield test("faults-have-their-places", lost_faults(faults, texts) + (["names are not unique"] if len({f[0] for f in faults}) < len(faults) else []))
    lost = [("once", "a.c", "x", "y", ["test_a"]), ("never", "a.c", ("x", "no"), ("y", "y"), []), ("no-test", "a.c", "x", "y", ["suite no x"])]
    yield "faults-gate-sees-lost-ones", len(lost_faults(lost, {"a.c": "x", "tests/unit/test_a.c": ""})) == 2, str(lost)
    bad = {"docs/a.md": "# One thing\n[x](b.md) [y](#one-thing) [z](#two) [w](../c.c#l) `docs/no.md`\n", "docs/b.c": "", "c.c": ""}
    yield "links-gate-sees-broken-ones", len(broken_links(bad, set(bad))) == 3 and len(missing_files(bad)) == 1, str(broken_links(bad, set(bad)))
    yield test("licence-and-guides-are-there", [
        n for n in ("LICENSE", "README.md", "CONTRIBUTING.md", "SECURITY.md", ".ci/run") if n not in texts])
