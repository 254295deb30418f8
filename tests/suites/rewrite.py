"""The rewriter's rules: the generator refuses bad ones, each has a golden, the manual is current, and the operators that frameworks
spell out are found in every spelling of tests/golden/patterns/found and in none of patterns/miss."""
import re

PARALLEL = True

# name, text of a .rules file, what the generator must say
BAD_RULES = [
    ("unknown-op", "a: (negg (neg x)) => x\n", ["bad.rules:1:4: error[E_UNKNOWN_OP]: no operator named 'negg'", "nearest: neg"]),
    ("unknown-op-on-the-right", "a: (neg x) => (nex x)\n", ["error[E_UNKNOWN_OP]"]),
    ("unknown-attribute", "a: (softmax x axes=k) where f(k) => x\n", ["error[E_ATTR]: softmax has no attribute 'axes'"]),
    ("arity", "a: (add x) => x\n", ["error[E_ARITY]", "add"]),
    ("unbound", "a: (neg x) => y\n", ["error[E_RULE_NAME]: the pattern binds no name 'y'"]),
    ("unused", "a: (add x y) => x\n", ["error[E_RULE_NAME]: write _ for what is never used: 'y'"]),
    ("two-kinds", "a: (softmax x axis=x) => x\n", ["error[E_RULE_NAME]: two kinds of thing are called 'x'"]),
    ("duplicate", "a: (neg (neg x)) => x\nb: (neg (neg y)) => y\n", ["bad.rules:2:1: error[E_RULE_DUPLICATE]: the same pattern as 'a'", "bad.rules:1:1"]),
    ("duplicate-name", "a: (neg (neg x)) => x\na: (abs (abs x)) => x\n", ["bad.rules:2:1: error[E_RULE_DUPLICATE]: a second rule named 'a'", "bad.rules:1:1"]),
    ("unreachable", "a: (neg _) => f()\na2: (mul x _) => x\nb: (mul (neg x) 1) => x\n", ["bad.rules:3:1: error[E_RULE_UNREACHABLE]: every match is taken before by 'a2'", "bad.rules:2:1"]),
    ("unreachable-alternative", "a: (add|mul x _) => x\nb: (add y y) => y\n", ["error[E_RULE_UNREACHABLE]"]),
    ("syntax", "a: (neg x => x\n", ["error[E_RULE_SYNTAX]"]),
    ("no-operator", "a: x => x\n", ["error[E_RULE_SYNTAX]"]),
]
GOOD_RULES = "a: (mul x 1) where f(x) => x\nb: (mul x 1) => x\nc: (mul x #k) where g(k) => x !approx\nd: (mul x x) => (abs x)\n"

FOUND = {"attention": ("attention", ("softmax",)), "layer_norm": ("layer_norm", ("sqrt", "rsqrt", "mean")), "gelu": ("gelu", ("erf", "tanh", "sigmoid"))}
WANTED = 12


def generate(ctx, text, *flags):
    path = ctx.tmp / "bad.rules"
    path.write_text(text)
    return ctx.run([str(ctx.build / "gen-rules"), *flags, str(path)], cwd=ctx.tmp)


def generator(ctx):
    for name, text, wanted in BAD_RULES:
        r = generate(ctx, text)
        missing = [w for w in wanted if w not in r.err]
        yield "generator/" + name, r.code == 1 and not missing, "status %d, lacks %s\n%s" % (r.code, missing, r.err)
    r = generate(ctx, GOOD_RULES)
    yield "generator/conditions-differ", r.code == 0, r.err


def rule_names(ctx):
    folder = ctx.root / "middle/rewrite"
    return [n for p in sorted(folder.glob("*.rules")) for n in re.findall(r"^([a-z_0-9]+):", p.read_text(), re.M)]


def goldens(ctx):
    folder = ctx.root / "tests/golden/rewrite"
    for name in rule_names(ctx):
        path = folder / (name + ".tg")
        log = ctx.run([str(ctx.tsc), "--emit", "graph", "--only=rewrite", "--print-rewrites", str(path)]).err if path.is_file() else ""
        yield "golden/" + name, re.search(r"\b%s: " % name, log) is not None, "no tests/golden/rewrite/%s.tg in which the rule fires\n%s" % (name, log)


def manual(ctx):
    rules = sorted(str(p) for p in (ctx.root / "middle/rewrite").glob("*.rules"))
    listed = ctx.run([str(ctx.build / "gen-rules"), "--doc", *rules]).out
    page = ctx.root / "docs/rewrites.md"
    text = page.read_text()
    head, mark, _ = text.partition("\n## The rules\n")
    if ctx.bless:
        page.write_text(head + mark + listed)
        text = page.read_text()
    yield "manual", bool(listed) and text == head + mark + listed, "docs/rewrites.md does not list the rules as they are: make bless"


def operators(text):
    """Names of the operators in canonical text: `y: f32[4] = name(...)`."""
    return set(re.findall(r"= (\w+)\(", text))


def spelling(ctx, path, found):
    op, steps = FOUND[path.parent.name]
    r = ctx.run([str(ctx.tsc), "--emit", "graph", "--only=rewrite", str(path)])
    ops = operators(r.out)
    if r.code:
        return False, r.err
    if not found:
        return op not in ops, "found where it is not\n" + r.out
    return op in ops and not ops & set(steps), "not found\n" + r.out


def spellings(ctx):
    for found in (True, False):
        for kind in sorted(FOUND):
            folder = ctx.root / "tests/golden/patterns" / ("found" if found else "miss") / kind
            paths = sorted(folder.glob("*.tg"))
            label = "%s/%s" % (folder.parent.name, kind)
            yield label, len(paths) >= WANTED, "%d spellings, wanted %d" % (len(paths), WANTED)
            for path in paths:
                ok, message = spelling(ctx, path, found)
                yield "%s/%s" % (label, path.stem), ok, message


def again(ctx, path):
    """Rewriting the rewritten text changes nothing: the rules have come to their end."""
    command = [str(ctx.tsc), "--emit", "graph", "--only=rewrite"]
    first = ctx.run(command + [str(path)])
    copy = ctx.tmp / ("again_%s_%s" % (path.parent.name, path.name))
    copy.write_text(first.out)
    second = ctx.run(command + ["--print-rewrites", str(copy)])
    return first.code == 0 and second.out == first.out and not second.err, second.err + second.out


def fixpoints(ctx):
    folder = ctx.root / "tests/golden"
    paths = sorted(list((folder / "rewrite").glob("*.tg")) + list((folder / "patterns").rglob("*.tg")))
    for path, (ok, message) in zip(paths, ctx.map(lambda p: again(ctx, p), paths)):
        yield "again/%s/%s" % (path.parent.name, path.stem), ok, message


def switches(ctx):
    path = str(ctx.root / "tests/golden/rewrite/involution.tg")
    off = ctx.run([str(ctx.tsc), "--emit", "graph", "--only=rewrite", "--disable-rewrite", "involution", path])
    yield "disable", off.code == 0 and off.out.count("neg(") == 2, off.err + off.out
    bad = ctx.run([str(ctx.tsc), "--emit", "graph", "--disable-rewrite", "involutoin", path])
    yield "disable-unknown", bad.code != 0 and "E_UNKNOWN_REWRITE" in bad.err and "nearest: involution" in bad.err, bad.err


def run(ctx):
    yield from generator(ctx)
    yield from manual(ctx)
    yield from goldens(ctx)
    yield from spellings(ctx)
    yield from fixpoints(ctx)
    yield from switches(ctx)
