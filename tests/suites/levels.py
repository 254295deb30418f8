"""The levels as text: print, parse, print is the identity for every file of the tree and for whatever --emit prints; what is read back
gives the same bytes, kernel by kernel and artifact by artifact; and the passes can be seen and left out by name."""
import re
import sys

PARALLEL = True
TIMEOUT = 1800

KERNEL = re.compile(r"(?m)^(?=kernel )")
SCRATCH = re.compile(r", scratch = \d+")
# artifacts are compared for these folders, text for all of them; MiniLM comes beside
COMPILED = ("tests/golden/schedule",)
TWO_ROWS = """tessera 1
dims B

graph f(x: f32[B, 70]) -> (y: f32[B, 70]) {
  y = softmax(abs(-x)) * 2.0
}
"""


def files(ctx, ending):
    made = {"build", "dist"}
    paths = (p.relative_to(ctx.root) for p in sorted(ctx.root.rglob("*" + ending)))
    return [p for p in paths if not p.parts[0].startswith(".") and p.parts[0] not in made]


class Texts:
    """Text through tsc in a folder of its own; the file is always called m, so that places in messages and plans agree."""

    def __init__(self, ctx, folder, options=()):
        self.ctx, self.folder, self.options = ctx, folder, list(options)
        self.error = ""
        folder.mkdir(parents=True)

    def emit(self, kind, text, *options, ending=".tg"):
        """What --emit KIND prints for text, or None; error says why."""
        (self.folder / ("m" + ending)).write_text(text)
        r = self.ctx.run([self.ctx.tsc, "m" + ending, "--emit", kind, *self.options, *options], cwd=self.folder)
        self.error = r.err
        return None if r.code else r.out

    def build(self, text, out, *options, ending=".tg"):
        """The file made from text; its bytes, or None."""
        (self.folder / ("m" + ending)).write_text(text)
        r = self.ctx.run([self.ctx.tsc, "m" + ending, "-o", out, *self.options, *options], cwd=self.folder, timeout=240)
        self.error = r.err
        return None if r.code else (self.folder / out).read_bytes()

    def fmt(self, text, ending=".tg"):
        (self.folder / ("m" + ending)).write_text(text)
        r = self.ctx.run([self.ctx.tsc, "fmt", "m" + ending], cwd=self.folder)
        self.error = r.err
        return None if r.code else r.out


def without_groups(text):
    """The schedule's text with all groups taken away: what a reader with an editor would do, who leaves the lines to tsc fmt."""
    out, depth, head = [], [], False
    for line in text.splitlines():
        if head or re.match(r" *group \w+\(", line):
            if not head:
                depth.append(len(line) - len(line.lstrip()))
            head = not line.endswith("{")
        elif depth and line == " " * depth[-1] + "}":
            depth.pop()
        else:
            out.append(line[2 * len(depth):])
    return "\n".join(out) + "\n"


def same(a, b, what):
    return "" if a is not None and a == b else what + (": nothing came out" if a is None or b is None else " differs")


def graph_laws(t, text):
    """The laws of one .tg file, as far down as it compiles: (what does not hold, the levels that were seen)."""
    wrong, seen = [], set()
    pretty = t.fmt(text)
    if pretty is None:
        return ([] if "error[E_" in t.error else ["fmt: " + t.error]), seen
    seen.add("fmt")
    wrong.append(same(pretty, t.fmt(pretty), "fmt of fmt"))
    for kind, options in (("graph", ("--skip", "rewrite")), ("graph", ()), ("schedule", ()), ("tile", ())):
        printed = t.emit(kind, text, *options)
        if printed is None:
            if "error[E_" not in t.error:
                wrong.append(kind + ": " + t.error)
            break
        seen.add(kind)
        ending = ".tile" if kind == "tile" else ".tg"
        wrong.append(same(printed, t.emit(kind, pretty, *options), kind + " of the text that fmt prints"))
        if kind == "tile" and "kernel " not in printed:
            break  # a graph without kernels
        wrong.append(same(printed, t.emit(kind, printed, *options, ending=ending), kind + " printed, read, printed"))
        wrong.append(same(printed, t.fmt(printed, ending), "fmt of the printed " + kind))
    if "schedule" in seen:
        schedule = t.emit("schedule", text)
        graph = t.fmt(without_groups(schedule))
        wrong.append(same(graph, t.emit("graph", schedule), "the schedule without its groups"))
        wrong.append(same(schedule, t.emit("schedule", graph), "the schedule of the graph in the schedule"))
        wrong.append(same(schedule, t.emit("schedule", t.emit("graph", text)), "the schedule of the printed graph"))
    return [w for w in wrong if w], seen


def graphs(ctx):
    levels = {}

    def one(path):
        t = Texts(ctx, ctx.tmp / re.sub(r"\W", "_", str(path)))
        wrong, seen = graph_laws(t, (ctx.root / path).read_text())
        for s in seen:
            levels[s] = levels.get(s, 0) + 1
        return "laws/" + str(path), not wrong, "\n".join(wrong)

    yield from ctx.map(one, files(ctx, ".tg"))
    if not ctx.match:
        few = [k for k in ("fmt", "graph", "schedule", "tile") if levels.get(k, 0) < 100]
        yield "laws/enough-files", not few, "fewer than 100 files reach %s: %s" % (few, levels)


def tiles(ctx):
    """.tile files of the tree: the same laws, at their one level."""
    def one(path):
        t = Texts(ctx, ctx.tmp / re.sub(r"\W", "_", str(path)))
        text = (ctx.root / path).read_text()
        pretty, wrong = t.fmt(text, ".tile"), []
        if pretty is None:
            return "laws/" + str(path), "error[E_" in t.error, t.error
        wrong.append(same(pretty, t.fmt(pretty, ".tile"), "fmt of fmt"))
        canonical = t.emit("tile", text, ending=".tile")
        if canonical is not None:
            wrong.append(same(canonical, t.emit("tile", canonical, ending=".tile"), "printed, read, printed"))
            wrong.append(same(canonical, t.emit("tile", pretty, ending=".tile"), "the text that fmt prints"))
        elif "error[E_" not in t.error:
            wrong.append(t.error)
        return "laws/" + str(path), not any(wrong), "\n".join(wrong)

    yield from ctx.map(one, files(ctx, ".tile"))


# ---- the same bytes ----------------------------------------------------------------------------------------------------------
def parts(t, out):
    """What an artifact is made of, but for its plan, which says from which file weights came: code, weights and text."""
    table = t.ctx.run(["readelf", "-SW", t.folder / out]).out
    found = {p.name: p.read_bytes() for p in (t.folder / "temps").glob("*.o")}
    data = (t.folder / out).read_bytes()
    for name, at, size in re.findall(r"(\.tessera\.(?:weights|ops)) +\S+ +\w+ (\w+) (\w+)", table):
        found[name] = data[int(at, 16):int(at, 16) + int(size, 16)]
    return found


def by_pack(t, text, whole):
    """Packed and unpacked: the same artifact; with weights, whose file is the pack itself then, the same parts."""
    if t.build(text, "m.so", "--save-temps", "temps") is None:
        return t.error
    direct = parts(t, "m.so")
    if t.build(text, "m.tsr") is None:
        return t.error
    (t.folder / "m.tsr").rename(t.folder / "m.tg")  # a pack is known by its first bytes; places in the plan name the file
    r = t.ctx.run([t.ctx.tsc, "m.tg", "-o", "m.so", "--save-temps", "temps"], cwd=t.folder, timeout=240)
    if r.code:
        return r.err
    if "\nweights " not in text:
        return same((t.folder / "m.so").read_bytes(), whole, "the artifact by way of .tsr")
    again = parts(t, "m.so")
    differ = [n for n in direct if direct[n] != again.get(n)]
    enough = ".tessera.weights" in direct and ".tessera.ops" in direct and len(direct) > 10
    return "" if enough and not differ and len(again) == len(direct) else "by way of .tsr these differ: %s of %s" % (differ, sorted(direct))


def artifacts(t, text):
    """The artifact of the printed graph, of the printed schedule, and by way of a pack: (what differs)."""
    schedule = t.emit("schedule", text)
    if schedule is None:
        return [t.error]
    whole = t.build(without_groups(schedule), "m.so")
    wrong = [t.error] if whole is None else []
    wrong.append(same(whole, t.build(schedule, "m.so"), "the artifact of the printed schedule"))
    wrong.append(by_pack(t, without_groups(schedule), whole))
    return [w for w in wrong if w]


def kernel_objects(t, text, tile):
    """symbol -> the object that the pipeline made for this kernel and clone; and the text that claims to be it."""
    found = {}
    for part in KERNEL.split(tile)[1:]:
        name = re.match(r"kernel (\w+)", part).group(1)
        number, clone = re.search(r"_(\d+)(?:_v(\d))?$", name).groups()
        for v in (clone,) if clone else ("2", "3", "4"):
            symbol = "k%s_v%s" % (number, v)
            found[symbol] = "tile 1\n\n" + part.replace("kernel " + name, "kernel " + symbol, 1)
    return found


def kernels(t, text, *options):
    """Each printed kernel compiles alone to the object that the pipeline made of it; without a store it is another one."""
    tile, wrong, lost = t.emit("tile", text), [], 0
    if tile is None or t.build(text, "m.so", "--save-temps", "temps", *options) is None:
        return [t.error]
    made = {}
    for path in (t.folder / "temps").glob("*.o"):
        data = path.read_bytes()
        if b"\0ts_kernels\0" in data:
            continue  # the table of all of them
        for symbol in re.findall(rb"\0(k\d+_v\d)(?=\0)", data):
            made[symbol.decode()] = data
    claimed = kernel_objects(t, text, tile)
    if set(made) != set(claimed) or not made:
        return ["kernels compiled: %s, printed: %s" % (sorted(made), sorted(claimed))]
    for symbol, source in claimed.items():
        arch = ("--arch", "x86-64-v" + symbol[-1])
        if t.build(source, "k.o", "--emit", "obj", *arch, ending=".tile") != made[symbol]:
            wrong.append("%s: the object of the printed kernel differs\n%s" % (symbol, t.error))
        stores = [m.span() for m in re.finditer(r"(?m)^ *store\(P.*\n", source)]
        if not stores or symbol[-1] != "3":
            continue
        lost += 1
        less = [t.build(source[:a] + source[b:], "k.o", "--emit", "obj", *arch, ending=".tile") for a, b in stores]
        if None in less or all(o == made[symbol] for o in less):  # one may stand in a loop that never runs
            wrong.append("%s: without a store the object is refused or the same\n%s" % (symbol, t.error))
    return wrong if lost else wrong + ["no kernel stores anything"]


def whole_tile(t, text):
    """The printed kernels as one file: whole and for one CPU they are the code that the graph makes; without --arch they are too many."""
    wrong, tile = [], t.emit("tile", text)
    clones = sorted(set(re.findall(r'target = "(x86-64-v\d)"', tile or "")))
    for v in ("x86-64-v2", "x86-64-v3", "x86-64-v4"):
        arch = ("--arch", v)
        one = t.emit("tile", text, *arch)
        wrong.append(same(one, t.emit("tile", tile, *arch, ending=".tile"), "--emit tile --arch " + v + " of the whole text"))
        if one is None or set(re.findall(r'target = "(.*)"', one)) - {"cpu", v}:
            wrong.append("--emit tile --arch %s prints other targets: %s" % (v, t.error))
        for kind in ("asm", "llvm"):
            want = t.emit(kind, text, *arch)
            for source, options in ((tile, arch), (one, arch), (one, () if clones else arch)):
                got = t.emit(kind, source or "", *options, ending=".tile")
                got = got and re.sub(r"(_\d+)_v%s\b" % v[-1], r"\1", got)
                if want is None or got is None or got != want:
                    wrong.append("--emit %s %s of the whole text differs %s" % (kind, " ".join(options), t.error))
    alone = t.emit("asm", tile or "", ending=".tile")
    if (alone is None) != bool(clones) or re.findall(r"x86-64-v\d", t.error.split(";")[0]) != clones:
        wrong.append("without --arch: " + t.error)
    return [w for w in wrong if w]


def compiled(ctx):
    paths = [p for p in files(ctx, ".tg") if str(p.parent) in COMPILED]

    def one(path):
        text = (ctx.root / path).read_text()
        folder = ctx.tmp / ("so_" + path.stem)
        return path.stem, artifacts(Texts(ctx, folder / "a"), text), kernels(Texts(ctx, folder / "k"), text), whole_tile(Texts(ctx, folder / "t"), text)

    for name, a, k, w in ctx.map(one, paths):
        yield "artifact/" + name, not a, "\n".join(a)
        yield "kernels/" + name, not k, "\n".join(k)
        yield "whole-tile/" + name, not w, "\n".join(w)
    yield "goldens-found", len(paths) > 8 or bool(ctx.match), "only %d" % len(paths)


def minilm(ctx):
    sys.path.insert(0, str(ctx.root / "examples" / "minilm"))
    import quickstart

    text = (ctx.root / "examples/minilm/minilm.tg").read_text()
    weights = ("--weights-file", quickstart.model_folder() / "model.safetensors")
    wrong, seen = graph_laws(Texts(ctx, ctx.tmp / "minilm_laws", weights), text)
    yield "minilm/laws", not wrong and "tile" in seen, "\n".join(wrong) or "it reaches %s" % seen
    wrong = kernels(Texts(ctx, ctx.tmp / "minilm_kernels", weights), text, "--weights", "external")
    yield "minilm/kernels", not wrong, "\n".join(wrong)
    wrong = artifacts(Texts(ctx, ctx.tmp / "minilm_artifacts", weights), text)
    yield "minilm/artifact", not wrong, "\n".join(wrong)


# ---- passes ------------------------------------------------------------------------------------------------------------------
def passes(ctx):
    t = Texts(ctx, ctx.tmp / "passes")
    emitted = {"graph": t.emit("graph", TWO_ROWS, "--skip", "rewrite"), "rewrite": t.emit("graph", TWO_ROWS),
               "schedule": t.emit("schedule", TWO_ROWS), "tile": t.emit("tile", TWO_ROWS)}
    yield "skip/rewrite", "neg(" in emitted["graph"] and "neg(" not in emitted["rewrite"], emitted["graph"] + emitted["rewrite"]
    only = t.emit("graph", TWO_ROWS, "--only", "rewrite")
    yield "only/rewrite", only == emitted["rewrite"], str(only)
    for name, text in emitted.items():
        t.emit("llvm", TWO_ROWS, "--print-after=" + name, *(("--skip=rewrite",) if name == "graph" else ()))
        ok = SCRATCH.sub("", t.error) == SCRATCH.sub("", text)
        yield "print-after/" + name, ok, t.error
    t.emit("graph", TWO_ROWS, "--print-after=parse")
    yield "print-after/parse", "softmax(abs(-x)) * 2.0" in t.error, t.error
    for name in ("generate", "plan"):
        t.build(TWO_ROWS, "m.so", "--print-after=" + name)
        yield "print-after/" + name, "warning[W_NO_TEXT]" in t.error, t.error
    t.build(TWO_ROWS, "m.so", "--time-report")
    ran = re.findall(r"(?m)^(\w+) +[\d.]+ ms$", t.error)
    listed = re.findall(r"(?m)^\| `(\w+)` \|", (ctx.root / "docs/pipeline.md").read_text())
    yield "listed-in-the-manual", ran[:-1] == listed, "ran %s, docs/pipeline.md lists %s" % (ran, listed)


def run(ctx):
    yield from passes(ctx)
    yield from tiles(ctx)
    yield from graphs(ctx)
    yield from compiled(ctx)
    yield from minilm(ctx)
