"""Static gates of GPU code, which cannot run here: every kernel text of examples/kernels and every kernel of the schedules of some models
assembles for every architecture, and what ptxas and nvdisasm show of it is as fast code must be: no register on the stack, no wgmma
serialised, no fence of the whole GPU in a loop, and the instructions that the text's words stand for. Every operator x type too (test_gpu_table). Also: what tsc makes with the real
ptxas (several architectures in one file, the same bytes twice). A missing tool is a failure."""
import json
import math
import re
import shutil
import struct
import sys

import _spills

PARALLEL = True
TIMEOUT = 900

SM80 = ("sm_80", "sm_86", "sm_89", "sm_100", "sm_120")  # the words of sm_80's kernels
MODELS = "tests/golden/schedule/*.tg"
LAYER = """tessera 1
dims B, S

graph layer(x: bf16[B, S, 512], w: bf16[512, 1536], o: bf16[512, 512], g: bf16[512], mask: bool[B, 1, 1, S]) -> (y: bf16[B, S, 512]) {
  h = layer_norm(x, g, g, eps = 1e-5)
  q, k, v = split(h @ w, 3, axis = -1)
  a = attention(q.reshape([B, S, 8, 64]).transpose([0, 2, 1, 3]), k.reshape([B, S, 8, 64]).transpose([0, 2, 1, 3]), v.reshape([B, S, 8, 64]).transpose([0, 2, 1, 3]), mask = mask)
  y = x + gelu(a.transpose([0, 2, 1, 3]).reshape([B, S, 512]) @ o)
}
"""
FP8 = """tessera 1
dims M, N, K

graph f(x: fp8_e4m3[M, K], w: fp8_e5m2[N, K], b: f16[N]) -> (y: f16[M, N]) {
  y = gelu(matmul(x, w.T, out = f16) + b, approximate = "none")
}
"""

# attention with every size open, the head too: prefill and decode, wide and not
ATTENTION = """tessera 1
dims B, G, S, T, D <= 256

graph f(q: bf16[B, %d*G, S, D], k: bf16[B, G, T, D], v: bf16[B, G, T, D]%s) -> (o: bf16[B, %d*G, S, D]) {
  o = attention(q, k, v%s)
}
"""
ATTENTIONS = (
    ("full", 1, "", ""),
    ("causal", 4, ", p: int64[]", ", q_offset = p, causal = true"),
    ("window", 1, "", ", causal = true, window = 300"),
    ("mask", 1, ", m: bool[B, 1, S, T]", ", mask = m"),
    ("bias", 2, ", m: bf16[2*G, S, T]", ", bias = m"),
    ("factor", 1, ", c: f32[]", ", factor = c, causal = true"),
)

# words of Tile IR, and what the machine code of the kernel must then hold
WORDS = (
    (r'atom = "wgmma"', "[HQ]GMMA"),
    (r"\n  ring .*: fp8_", "QGMMA"),
    (r"\bcopy\(", "UTMALDG"),
    (r"\bstore_tma\(", "UTMASTG"),
    (r'atom = "mma', "[HQ]MMA"),
    (r"\bcopy_async\(", "LDGSTS"),
)
KERNEL = re.compile(r"(?m)^(?=kernel )")
NAME = re.compile(r"kernel (\w+)\(")
LABEL = re.compile(r"^(\.L_\w+):")
BRANCH = re.compile(r"\bBRA(?:\.\w+)*\s+.*`\((\.L_\w+)\)")
FUNCTION = re.compile(r"^\.text\.(\w+):")


def tools(ctx):
    found = sorted(ctx.root.glob(".venv/lib/python3*/site-packages/nvidia/cu13/bin"))
    paths = [found[0] / name if found else None for name in ("ptxas", "nvdisasm")]
    return [p if p and p.is_file() else None for p in paths]


def kernels_of(text):
    """Each kernel of a .tile file by its name."""
    parts = [p for p in KERNEL.split(text) if p.startswith("kernel ")]
    return {NAME.match(p).group(1): p for p in parts}


def functions(sass):
    """Lines of machine code of each kernel."""
    found, lines = {}, []
    for line in sass.splitlines():
        begin = FUNCTION.match(line)
        if begin:
            lines = found.setdefault(begin.group(1), [])
        lines.append(line)
    return found


def fences_in_loops(lines):
    """Lines between a branch back and its label that fence more than the CTA. The barrier of a cluster, which orders memory between
    its CTAs, brings one along."""
    labels, bad = {}, []
    for i, line in enumerate(lines):
        label, branch = LABEL.match(line), BRANCH.search(line)
        if label:
            labels[label.group(1)] = i
        if branch and branch.group(1) in labels:
            for k in range(labels[branch.group(1)], i):
                of_cluster = any("UCGABAR_ARV" in x for x in lines[k + 1 : k + 8])
                if re.search(r"\bMEMBAR\.\w*\.?(GPU|SYS)", lines[k]) and not of_cluster:
                    bad.append(lines[k].strip())
    return bad


def judge(texts, said, sass):
    """What is wrong with the kernels `texts`, by what ptxas said and the machine code."""
    wrong = ["C75xx: " + line for line in said.splitlines() if "(C75" in line]
    seen = _spills.properties(said)
    code = functions(sass)
    for name, text in texts.items():
        if name not in seen or name not in code:
            wrong.append("%s: ptxas or nvdisasm does not show it" % name)
            continue
        stack, stores, loads, _ = seen[name]
        if stack or stores or loads:
            wrong.append("%s: %d bytes of stack, %d and %d bytes spilled" % (name, stack, stores, loads))
        wrong += ["%s: a fence in a loop: %s" % (name, x) for x in fences_in_loops(code[name])]
        body = "\n".join(code[name])
        wrong += ["%s: no %s" % (name, op) for word, op in WORDS if re.search(word, text) and not re.search(r"\b%s\b" % op, body)]
    return wrong


class Gate:
    def __init__(self, ctx, ptxas, nvdisasm):
        self.ctx, self.ptxas, self.nvdisasm = ctx, ptxas, nvdisasm

    def check(self, name, source, arch, options=()):
        """The kernels of a .tile or .tg file for one architecture; (number of kernels, what is wrong)."""
        folder = self.ctx.tmp / (name.replace("/", "-") + "-" + arch)
        folder.mkdir(parents=True)
        emit = [self.ctx.tsc, source, *options, "--arch", arch, "--emit"]
        for kind in ("tile", "ptx"):
            r = self.ctx.run(emit + [kind, "-o", folder / ("k." + kind)], timeout=120)
            if r.code:
                return 0, ["tsc --emit %s: %d %s" % (kind, r.code, r.err)]
        target = "sm_90a" if arch == "sm_90" else arch
        a = self.ctx.run([self.ptxas, "-v", "-arch=" + target, "-O3", folder / "k.ptx", "-o", folder / "k.cubin"], timeout=300)
        d = self.ctx.run([self.nvdisasm, folder / "k.cubin"], timeout=120) if not a.code else a
        if a.code or d.code:
            return 0, ["ptxas: " + a.err if a.code else "nvdisasm: " + d.err]
        texts = kernels_of((folder / "k.tile").read_text())
        wrong = judge(texts, a.err + a.out, d.out)
        shutil.rmtree(folder)
        return len(texts), wrong


CELLS = 416  # operator x element type, of the spine


def operators(ctx, ptxas):
    """The operator table: a graph of each operator and each of its types, scheduled, lowered and assembled for sm_80 and sm_90a."""
    folder = ctx.tmp / "table"
    folder.mkdir()
    r = ctx.run([ctx.build / "unit" / "test_gpu_table", folder], timeout=120)
    cells = {arch: re.findall(r"(?m)^ok (\w+) (\w+) %s$" % arch, r.out) for arch in ("sm_80", "sm_90a")}
    missing = re.findall(r"(?m)^FAIL .*", r.out)
    for arch, found in cells.items():
        yield "operators/%s/cells" % arch, not r.code and not missing and len(set(found)) == len(found) >= CELLS, "%d cells\n%s" % (len(found), "\n".join(missing))

    def assemble(path):
        arch = path.name.split("-")[0]
        ptx, cubin = path.with_suffix(".ptx"), path.with_suffix(".cubin")
        t = ctx.run([ctx.tsc, path, "--emit", "ptx", "--arch", arch, "-o", ptx], timeout=300)
        a = ctx.run([ptxas, "-v", "-arch=" + arch, "-O3", ptx, "-o", cubin], timeout=300) if not t.code else t
        if a.code:
            return arch, set(), ["%s: %s" % (path.name, a.err)]
        seen = _spills.properties(a.err + a.out)
        wrong = _spills.spilled(seen)
        wanted = set(kernels_of(path.read_text()))
        return arch, wanted & set(seen), wrong + ["%s: not assembled" % k for k in sorted(wanted - set(seen))]

    made, wrong = {arch: set() for arch in cells}, {arch: [] for arch in cells}
    for arch, seen, bad in ctx.map(assemble, sorted(folder.glob("*.tile"), key=lambda p: -p.stat().st_size)):
        made[arch] |= seen
        wrong[arch] += bad
    for arch, found in cells.items():
        with_code = {tuple(k.split("__")[:2]) for k in made[arch]}
        lacking = ["no code for %s %s" % c for c in found if c not in with_code]
        yield "operators/%s/assembled" % arch, found and not wrong[arch] and not lacking, "\n".join(wrong[arch] + lacking)
        ctx.note("operator table, %s: %d cells of %d, %d kernels assembled, %d wrong" % (arch, len(set(found) & with_code), len(found), len(made[arch]), len(wrong[arch])))


def gate_itself():
    """The gate sees what it is there for."""
    said = ("ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to x in function 'k'\n"
            "ptxas info    : Compiling entry function 'k' for 'sm_90a'\nptxas info    : Function properties for k\n"
            "    8 bytes stack frame, 4 bytes spill stores, 0 bytes spill loads\nptxas info    : Used 255 registers, used 1 barriers\n")
    sass = ".text.k:\n.L_x_1:\n  /*0010*/ MEMBAR.ALL.GPU ;\n  /*0020*/ @P0 BRA `(.L_x_1) ;\n  /*0030*/ MEMBAR.SC.GPU ;\n"
    wrong = judge({"k": 'kernel k() { mma(c, a, b, atom = "wgmma") }'}, said, sass)
    return len(wrong) == 4 and all(any(w in x for x in wrong) for w in ("C7510", "8 bytes of stack", "MEMBAR.ALL.GPU", "no [HQ]GMMA")), "\n".join(wrong)


SMALL = """tessera 1
dims B
weights W = "w.safetensors"

graph f(x: f32[B, 40]) -> (y: f32[B, 24]) {
  y = softmax(x @ W."w", axis = 1)
}
"""
SECTION = re.compile(r"^  (\S+) +(\d+) bytes at (\d+)$", re.M)
MODULE = re.compile(r"^    m\d+:(?: cubin of (\d+) bytes at (\d+))?,?(?: PTX of (\d+) bytes \(\d+ unpacked\) at (\d+))?", re.M)


def safetensors(values):
    data = struct.pack("<%df" % len(values), *values)
    header = json.dumps({"w": {"dtype": "F32", "shape": [40, 24], "data_offsets": [0, len(data)]}}).encode()
    return struct.pack("<Q", len(header)) + header + data


DIGITS = {"hidden.0.weight": (128, 64), "hidden.0.bias": (128,), "hidden.1.weight": (64, 128), "hidden.1.bias": (64,), "scores.weight": (10, 64), "scores.bias": (10,)}


def models(ctx):
    """The examples, with their options: MiniLM with its published weights, the MLP with some of its shapes."""
    sys.path.insert(0, str(ctx.root / "examples" / "minilm"))
    import quickstart

    header, at = {}, 0
    for name, shape in DIGITS.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + 4 * math.prod(shape)]}
        at += 4 * math.prod(shape)
    head = json.dumps(header).encode()
    (ctx.tmp / "digits.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + bytes(at))
    yield ctx.root / "examples/minilm/minilm.tg", ("--weights-file", quickstart.model_folder() / "model.safetensors")
    yield ctx.root / "examples/mlp/mlp.tg", ("--weights-file", ctx.tmp / "digits.safetensors")


TOTALS = re.compile(r"^  modules: (\d+), cubins of (\d+) bytes, PTX of (\d+) bytes", re.M)
EQUAL = """tessera 1
dims B

graph f(x: bf16[B, 64], w: bf16[64, 64], v: bf16[64, 64]) -> (y: bf16[B, 64]) {
  y = %s
}
"""


def sizes(ctx, ptxas):
    """What inspect says of each architecture's code adds up, and equal kernels are there once."""
    folder = ctx.tmp / "sizes"
    folder.mkdir()
    found = {}
    for name, text in (("once", "softmax(relu(x @ w))"), ("twice", "softmax(relu(softmax(relu(x @ w)) @ v))")):
        (folder / "m.tg").write_text(EQUAL % text)
        r = ctx.run([ctx.tsc, "m.tg", "-o", name + ".so", "--arch", "sm_80,sm_90", "--ptxas", ptxas], cwd=folder, timeout=120)
        inspected = ctx.run([ctx.tsc, "inspect", name + ".so"], cwd=folder).out if not r.code else r.err
        for target in ("sm_80", "sm_90a"):
            part = inspected.split("\ntarget %s:" % target)[-1].split("\ntarget ")[0]
            total, modules = TOTALS.search(part), modules_of(inspected, target) if not r.code else []
            cubins, ptx = ([m[k][0] for m in modules if m[k]] for k in (0, 1))
            good = total and [int(x) for x in total.groups()] == [len(modules), sum(cubins), sum(ptx)] and cubins and bool(ptx) == (target == "sm_80")
            yield "sizes/%s/%s" % (name, target), bool(good), part
            found[name, target] = (re.findall(r"(?m)^  kernels: (\d+)", part), sum(cubins))
    for target in ("sm_80", "sm_90a"):
        yield "sizes/equal-kernels-once/" + target, found["once", target] == found["twice", target] and found["once", target][0], str(found)


def modules_of(inspected, target):
    """(cubin, PTX) of each module of a target, as (bytes, place) or None, read from tsc inspect."""
    part = inspected.split("\ntarget %s:" % target)[1].split("\ntarget ")[0].split("\ngraphs")[0]
    found = []
    for m in MODULE.finditer(part):
        numbers = [int(x) if x else None for x in m.groups()]
        found.append((tuple(numbers[:2]) if numbers[0] else None, tuple(numbers[2:]) if numbers[2] else None))
    return found


# matmuls read parts of the tensor, each packed for itself, and a row lookup reads it as it is in the file
PARTS = """tessera 1
dims B
weights W = "w.safetensors"

graph f(x: f32[B, 40], i: int64[B]) -> (y: f32[B, 24], z: f32[B, 24], v: f32[B, 40]) {
  y = x @ W."w"
  z = gather(W."t", i)
  v = concat([x @ W."u"[0:40, 0:8], x @ W."u"[0:40, 8:40]], axis = 1)
}
"""


def table(plan, number):
    """(place, count) of one table of a plan: rtlib/plan.h, TsPlanHeader."""
    return struct.unpack_from("<II", plan, 72 + 8 * number)


def device_weights(plan, blob):
    """Each weight of a device's plan, made of its parts as rtlib/plan.h says."""
    (strings, _), (weights, n), (parts, _) = table(plan, 0), table(plan, 6), table(plan, 16)
    found = {}
    for i in range(n):
        at = weights + 128 * i
        (name,), (place, size), (part, n_parts) = struct.unpack_from("<I", plan, at), struct.unpack_from("<QQ", plan, at + 24), struct.unpack_from("<II", plan, at + 120)
        data = bytearray(size)
        for k in range(part, part + n_parts):
            offset, count, first = struct.unpack_from("<QQq", plan, parts + 88 * k)
            kind, elem, panel, group, batch, depth, width, sb, sk, sn = struct.unpack_from("<IIIIqqqqqq", plan, parts + 88 * k + 24)
            if kind == 0:
                data[:] = blob[offset : offset + count]
                continue
            wide = -(-width // panel)
            for b in range(batch):
                for c in range(width):
                    for d in range(depth):
                        from_ = ((b * wide + c // panel) * depth + d) * panel + c % panel
                        to = first + b * sb + d * sk + c * sn
                        data[to * elem : to * elem + elem] = blob[offset + from_ * elem : offset + from_ * elem + elem]
            assert group == 1
        text = plan[strings + name :]
        found[text[: text.index(b"\0")].decode()] = (bytes(data), n_parts)
    return found


def weights(ctx):
    """A GPU's weights are the published tensors, though the file keeps them as the CPU reads them."""
    folder = ctx.tmp / "weights"
    folder.mkdir()
    shapes = {"w": (40, 24), "t": (50, 24), "u": (40, 40)}
    tensors = {name: struct.pack("<%df" % (r * c), *((k * 37 % 1009) / 1009 + len(name) for k in range(r * c))) for name, (r, c) in shapes.items()}
    header, data = {}, b""
    for name, (r, c) in shapes.items():
        header[name] = {"dtype": "F32", "shape": [r, c], "data_offsets": [len(data), len(data) + len(tensors[name])]}
        data += tensors[name]
    head = json.dumps(header).encode()
    (folder / "w.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + data)
    (folder / "m.tg").write_text(PARTS)
    r = ctx.run([ctx.tsc, "m.tg", "-o", "m.so", "--arch", "sm_80", "--ptxas", "none"], cwd=folder)
    yield "weights/is-made", not r.code, r.err
    so, text = (folder / "m.so").read_bytes(), ctx.run([ctx.tsc, "inspect", "m.so"], cwd=folder).out
    part = {m.group(1): so[int(m.group(3)) :][: int(m.group(2))] for m in SECTION.finditer(text)}
    found = device_weights(part[".tessera.plan.sm_80"], part[".tessera.weights"])
    yield "weights/come-back", {k: v[0] for k, v in found.items()} == tensors, str({k: (len(v[0]), v[1]) for k, v in found.items()})
    yield "weights/in-parts", found.get("u", (0, 0))[1] == 2, str({k: v[1] for k, v in found.items()})
    ctx.run([ctx.tsc, "m.tg", "-o", "cpu.so"], cwd=folder)
    alone = ctx.run([ctx.tsc, "inspect", "cpu.so"], cwd=folder).out
    size = {m.group(1): int(m.group(2)) for m in SECTION.finditer(alone)}[".tessera.weights"]
    yield "weights/once", size == len(part[".tessera.weights"]), "%d bytes, for the CPU alone %d" % (len(part[".tessera.weights"]), size)


# sizes open, a batch as an axis of its own, operands as they lie and turned
LAUNCHES = """tessera 1
dims B, S multiple_of 8

graph f(x: bf16[B, S, 256], w: bf16[512, 256]) -> (y: bf16[B, S, 512], z: bf16[B, 256, 256], s: bf16[B, S, 256]) {
  y = x @ w.transpose([1, 0])
  z = x.transpose([0, 2, 1]) @ x
  s = softmax(x)
}
"""
ENTRY = re.compile(r"\.visible \.entry (\w+)\((.*?)\)\n(.*?)\{(.*?)\n\}", re.S)
MOVES = re.compile(r"(?m)^ *(?:copy\([\w\[\].]+(?:\[[\d:, ]+\])?, |store_tma\()(P\d+)\[(.*?)\](?:\)|, \w+\[)")
NUMS = {"d0": 24, "d1": 3}


def maps_of_plan(plan, kernel):
    """Tensor maps of a kernel's record: (argument, sizes, strides, box), at the sizes NUMS."""
    (words, _), (maps, _), (formulas, _) = table(plan, 1), table(plan, 18), table(plan, 19)
    at, n, first, count = kernel
    values = []
    for i in range(first, first + count):
        kind, a, b, _, v = struct.unpack_from("<IIIIq", plan, formulas + 24 * i)
        two = {3: lambda x, y: x + y, 4: lambda x, y: x - y, 5: lambda x, y: x * y, 6: lambda x, y: x // y, 7: lambda x, y: x % y}
        values.append(v if kind == 0 else NUMS["d%d" % a] if kind == 17 else two[kind](values[a], values[b]))
    found = []
    for i in range(at, at + n):
        arg, _, rank, _, dims, strides, box = struct.unpack_from("<7I", plan, maps + 32 * i)
        sizes, steps, box = ([struct.unpack_from("<I", plan, words + 4 * (p + k))[0] for k in range(rank)] for p in (dims, strides, box))
        found.append((arg, tuple(values[k] for k in sizes), tuple(values[k] for k in steps), tuple(box)))
    return sorted(found)


def maps_of_text(text):
    """The same, read off the kernel's text: its buffers and what TMA moves."""
    shapes = {m.group(1): [NUMS.get(d) or int(d) for d in m.group(2).split(", ")] for m in re.finditer(r"(P\d+): bf16\[(.*?)\][,)]", text)}
    found = set()
    for param, places in MOVES.findall(text):
        box = []
        for place in places.split(", "):
            ends = re.fullmatch(r"(.*):\1 \+ (\d+)", place)
            box.append(int(ends.group(2)) if ends else 1)
        box[-1] = min(box[-1], 64)  # 128 bytes, the widest swizzle
        shape = shapes[param]
        steps = [1]
        for d in shape[:0:-1]:
            steps.insert(0, steps[0] * d)
        found.add((int(param[1:]), tuple(shape), tuple(steps), tuple(box)))
    return sorted(found)


def launches(ctx):
    """What a GPU's plan says of its kernels is what their code and their texts say."""
    folder = ctx.tmp / "launches"
    folder.mkdir()
    (folder / "m.tg").write_text(LAUNCHES)
    r = ctx.run([ctx.tsc, "m.tg", "-o", "m.so", "--arch", "sm_90", "--ptxas", "none"], cwd=folder, timeout=120)
    texts = kernels_of(ctx.run([ctx.tsc, "m.tg", "--emit", "tile", "--arch", "sm_90"], cwd=folder).out)
    ptx = {m.group(1): m.groups()[1:] for m in ENTRY.finditer(ctx.run([ctx.tsc, "m.tg", "--emit", "ptx", "--arch", "sm_90"], cwd=folder).out)}
    yield "launches/are-made", not r.code and len(texts) > 8 and sorted(texts) == sorted(ptx), r.err + " %s %s" % (sorted(texts), sorted(ptx))
    so = (folder / "m.so").read_bytes()
    part = {m.group(1): (int(m.group(2)), int(m.group(3))) for m in SECTION.finditer(ctx.run([ctx.tsc, "inspect", "m.so"], cwd=folder).out)}
    size, at = part[".tessera.plan.sm_90a"]
    plan = so[at : at + size]
    (strings, _), (kernels, n) = table(plan, 0), table(plan, 15)
    persistent, with_maps, wrong = 0, 0, []
    for i in range(n):
        name, flags, _, threads, cluster, shared, first_map, n_maps, formula, n_formulas = struct.unpack_from("<10I", plan, kernels + 40 * i)
        name = plan[strings + name :].split(b"\0")[0].decode()
        params, head, body = ptx[name]
        said = int(re.search(r"\.reqntid (\d+)", head).group(1)), len(re.findall(r"\.align 64 \.b8 \w+\[128\]", params))
        furthest = max((int(x) for x in re.findall(r"tessera_shared\+(\d+)", body)), default=0)
        if (threads, n_maps) != said or cluster != 1 or not furthest < max(shared, 1) <= 232448:
            wrong.append("%s: %d threads, %d maps, %d bytes shared; its code has %s, and bytes at %d" % (name, threads, n_maps, shared, said, furthest))
        if (flags == 1) != ("ctas: idx" in texts[name]):
            wrong.append("%s: persistent or not: flags %d" % (name, flags))
        maps = maps_of_plan(plan, (first_map, n_maps, formula, n_formulas)), maps_of_text(texts[name])
        if maps[0] != maps[1]:
            wrong.append("%s: maps %s, its text has %s" % ((name,) + maps))
        persistent += flags
        with_maps += n_maps > 0
    yield "launches/agree", not wrong and n == len(texts) and persistent > 2 and with_maps > 2 and with_maps < n, "\n".join(wrong) or "%d kernels, %d persistent, %d with maps" % (n, persistent, with_maps)


TWO = """tessera 1
dims M, N

graph f(x: f32[M, N], z: f32[M]) -> (y: f32[M, N], r: f32[M]) {
  r = exp(z)
  y = softmax(x)
}
"""


def complaints(ctx, ptxas):
    """What ptxas says of a line of its input is said of the line of the model that this kernel computes."""
    folder = ctx.tmp / "complaints"
    folder.mkdir()
    (folder / "m.tg").write_text(TWO)
    for kernel, place in (("exp_", "m.tg:5:7"), ("softmax_", "m.tg:6:7")):
        program = folder / ("ptxas_" + kernel)
        program.write_text("#!/bin/sh\ncase \"$*\" in *--version*) exec '%s' --version;; esac\n"
                           "n=$(grep -n 'entry %s' $4 | head -1 | cut -d: -f1)\n[ -z \"$n\" ] && exec '%s' \"$@\"\n"
                           "echo \"ptxas $4, line $((n + 5)); error   : uses too much shared data\" >&2\nexit 255\n" % (ptxas, kernel, ptxas))
        program.chmod(0o755)
        r = ctx.run([ctx.tsc, "m.tg", "-o", "m.so", "--arch", "sm_80", "--ptxas", program], cwd=folder, timeout=120)
        good = r.code == 1 and place + ": error[E_TILE_SIZE]: kernel '" + kernel in r.err and "too much shared data" in r.err
        yield "artifact/complaint-of-" + kernel.rstrip("_"), good and not (folder / "m.so").exists(), r.err


def artifacts(ctx, ptxas):
    """One file for two GPUs and the CPU."""
    folder = ctx.tmp / "artifacts"
    folder.mkdir()
    (folder / "m.tg").write_text(SMALL)
    (folder / "w.safetensors").write_bytes(safetensors([(i * 37 % 101) / 101 for i in range(960)]))

    def make(name, *options):
        r = ctx.run([ctx.tsc, "m.tg", "-o", name, "--ptxas", ptxas, *options], cwd=folder, timeout=120)
        return r, (folder / name).read_bytes() if not r.code else b""

    one, so = make("a.so", "--arch", "sm_80,sm_90", "-j", "1")
    yield "artifact/is-made", not one.code and not one.err, one.err
    yield "artifact/same-bytes", so == make("a.so", "--arch", "sm_90,sm_80")[1], "two runs differ"
    text = ctx.run([ctx.tsc, "inspect", "a.so"], cwd=folder).out
    sections = {m.group(1): (int(m.group(2)), int(m.group(3))) for m in SECTION.finditer(text)}
    size, at = sections[".tessera.gpu"]
    yield "artifact/page-aligned", at % 4096 == 0 and sections[".tessera.weights"][1] % 4096 == 0, str(sections)
    code = so[at : at + size]
    old, new = modules_of(text, "sm_80"), modules_of(text, "sm_90a")
    cubins = [c for c, _ in old + new if c]
    good = old and new and len(cubins) == len(old + new) and all(code[p : p + n].startswith(b"\x7fELF") for n, p in cubins)
    yield "artifact/cubins", bool(good), text
    ptx = [p for _, p in old if p]
    good = len(ptx) == len(old) and all(code[p : p + n].endswith(b"\0") and b".target sm_80" in code[p : p + n] for n, p in ptx)
    yield "artifact/ptx-of-the-lowest", good and not any(p for _, p in new), text
    yield "artifact/says-its-ptxas", re.search(r"^  ptxas: 13\.", text, re.M) and "sm_80 sm_90a" in text, text
    loads = ctx.run([ctx.tsc, "explain", "a.so", "--dims", "B=3"], cwd=folder)
    yield "artifact/loads", loads.code == 0 and "softmax" in loads.out, loads.out + loads.err

    asked = ctx.run([ctx.tsc, "explain", "a.so", "--arch", "sm_90", "--dims", "B=3"], cwd=folder)
    good = asked.code == 0 and re.search(r"softmax_\d+, 1 cells, \d+ threads", asked.out) and re.search(r"workspace: 320 bytes on sm_90a; weights: 3840 bytes", asked.out)
    yield "explain/arch", bool(good), asked.out + asked.err
    same = ctx.run([ctx.tsc, "explain", "m.tg", "--arch", "sm_90", "--dims", "B=3"], cwd=folder)
    yield "explain/arch-of-text", same.out == asked.out, same.out + same.err
    for name, words, text in (
        ("no-code", ["--arch", "sm_120", "--dims", "B=3"], "'a.so' has no code for sm_120\n  hint: it has sm_80, sm_90a"),
        ("no-size", ["--arch", "sm_80"], "depends on a dim that --dims does not give"),
        ("no-such-size", ["--arch", "sm_80", "--dims", "B=0"], "B cannot be 0"),
    ):
        r = ctx.run([ctx.tsc, "explain", "a.so", *words], cwd=folder)
        yield "explain/" + name, r.code == 1 and text in r.err, "%d %s" % (r.code, r.err)

    alone, ptx_only = make("p.so", "--arch", "sm_80", "--ptxas", "none")
    text = ctx.run([ctx.tsc, "inspect", "p.so"], cwd=folder).out
    good = not alone.code and all(c is None and p for c, p in modules_of(text, "sm_80")) and "the driver compiles them when the model is loaded" in text
    yield "artifact/without-ptxas", good, alone.err + text
    env = {"PATH": "/nowhere"}
    lost = ctx.run([ctx.tsc, "m.tg", "-o", "q.so", "--arch", "sm_80"], cwd=folder, env=env)
    yield "artifact/ptxas-not-found", not lost.code and "warning[W_NO_PTXAS]" in lost.err and (folder / "q.so").read_bytes() == ptx_only, lost.err
    env["VIRTUAL_ENV"] = str(ctx.root / ".venv")
    found = ctx.run([ctx.tsc, "m.tg", "-o", "v.so", "--arch", "sm_80"], cwd=folder, env=env)
    yield "artifact/ptxas-in-the-environment", not found.code and not found.err and (folder / "v.so").read_bytes() == make("v2.so", "--arch", "sm_80")[1], found.err

    program, _ = make("prog", "--emit", "exe", "--arch", "sm_80", "--ptxas", "none")
    asked = ctx.run([ctx.tsc, "inspect", "prog"], cwd=folder)
    ran = ctx.run([ctx.tsc, "run", "prog"], cwd=folder)
    yield "program/is-one", not program.code and asked.out.startswith("prog: executable") and "is a program: run it as it is" in ran.err, asked.out[:100] + ran.err
    said = ctx.run([folder / "prog", "--help"])
    yield "program/runs", said.code == 0 and "f(x: f32[B, 40]) -> (y: f32[B, 24])" in said.out, said.out + said.err

    cubin, bytes_ = make("k.cubin", "--arch", "sm_86")
    yield "emit/cubin", not cubin.code and bytes_.startswith(b"\x7fELF"), cubin.err
    fat, bytes_ = make("k.fatbin", "--arch", "sm_80,sm_90")
    yield "emit/fatbin", not fat.code and bytes_[:4] == bytes.fromhex("50ed55ba"), fat.err


def run(ctx):
    ptxas, nvdisasm = tools(ctx)
    yield "tools", bool(ptxas and nvdisasm), "ptxas and nvdisasm are not in .venv: scripts/setup.sh test"
    if not (ptxas and nvdisasm):
        return
    yield ("gate-sees",) + gate_itself()
    yield from artifacts(ctx, ptxas)
    yield from complaints(ctx, ptxas)
    yield from weights(ctx)
    yield from launches(ctx)
    yield from sizes(ctx, ptxas)
    if not ctx.match or ctx.match.startswith("operators"):  # the longest of them; other names are looked for without it
        yield from operators(ctx, ptxas)
    gate = Gate(ctx, ptxas, nvdisasm)
    jobs = []
    for path in sorted((ctx.root / "examples/kernels").glob("*.tile")):
        target = re.search(r'target = "(\w+)"', path.read_text()).group(1)
        if target.startswith("sm_"):
            jobs += [("kernels/" + path.stem, path, arch) for arch in (("sm_90",) if target == "sm_90a" else SM80)]
    made = {"layer": LAYER, "fp8": FP8}
    made.update(("attention_" + name, ATTENTION % (group, param, group, given)) for name, group, param, given in ATTENTIONS)
    for name, text in made.items():
        (ctx.tmp / (name + ".tg")).write_text(text)
    for path in sorted(ctx.root.glob(MODELS)) + [ctx.tmp / (name + ".tg") for name in made]:
        jobs += [("schedules/" + path.stem, path, arch) for arch in SM80 + ("sm_90",)]
    for path, options in models(ctx):
        jobs += [("models/" + path.stem, path, arch, options) for arch in SM80 + ("sm_90",)]

    def one(job):
        name, path, arch = job[:3]
        n, wrong = gate.check(*job)
        return "%s/%s" % (name, arch), n > 0 and not wrong, "\n".join(wrong) or "it has no kernels"

    yield from ctx.map(one, [j for j in jobs if ctx.match in "%s/%s" % (j[0], j[2])])

    def spills(job):
        name, text, arch = job
        folder = ctx.tmp / ("spills-%s-%s" % (name.replace("/", "-"), arch))
        folder.mkdir()

        def command(argv):
            r = ctx.run(argv, timeout=300)
            return r.code, r.out + r.err

        n, wrong = _spills.check(command, ctx.tsc, ptxas, text, arch, folder)
        return "spills/%s/%s" % (name, arch), n > 0 and not wrong, "\n".join(wrong) or "it has no kernels"

    held = [(name, text, arch) for name, text in _spills.held() for arch in ("sm_80", "sm_90")]
    yield from ctx.map(spills, [j for j in held if ctx.match in "spills/%s/%s" % (j[0], j[2])])
