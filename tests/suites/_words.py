"""The essential words of PTX text, for golden tests of the lowering: what acts on memory, on other threads or on engines, in order, with
registers renamed as they come and constants in place of the registers that hold them; then how often which arithmetic meets which
constant. What LLVM may choose (which registers, how arithmetic without constants is arranged) is left out."""
import collections
import re

ACTS = re.compile(r"(ld|st)\.(global|shared|const)|shfl|bar\.|barrier|mbarrier|cp\.|wgmma|mma|ldmatrix|stmatrix|fence|setmaxnreg|mapa|prefetch|bra|ret|red\.|atom|membar")
SAYS = re.compile(r"\.(const|reqntid|minnctapersm|maxnctapersm|explicitcluster|reqnctapercluster|target)\b")
REGISTER = re.compile(r"%(?:r|rd|rs|f|fd|p|b|q)\d+\b")
CONSTANT = re.compile(r"mov\.\w+\s+(%\w+), (-?(?:0x|0[fd])?[0-9A-Fa-f]+)$")
LISTS = re.compile(r"\{((?:%\w+, ){8,}%\w+)\}")
COMPARES = re.compile(r"setp|min|max")


def statements(ptx):
    """Labels, directives and instructions, each on one line."""
    begun = ""
    for line in ptx.splitlines():
        line = (begun + " " + line.split("//")[0]).strip()
        begun = line if re.match(r"[@a-z]", line) and not line.endswith((";", ":")) else ""
        if not begun:
            parts = (re.sub(r"\s+", " ", p).strip() for p in line.split(";"))
            yield from (p for p in parts if p.strip("{} "))


def opcode_of(line):
    return re.sub(r"^@!?\S+ ", "", line)


def essence(ptx):
    lines = list(statements(ptx))
    defined = collections.Counter(m for line in lines for m in REGISTER.findall(line.split(",")[0])[:1])
    known = {m.group(1): m.group(2) for m in map(CONSTANT.match, lines) if m and defined[m.group(1)] == 1}
    acting = {r for line in lines if ACTS.match(opcode_of(line)) for r in REGISTER.findall(line)}
    names, acts, meets = {}, [], collections.Counter()
    for line in lines:
        constant = CONSTANT.match(line)
        if line.startswith((".reg ", ".param", ".version", ".address", ".visible", ".extern", "ld.param")) or (constant and constant.group(1) in known):
            continue
        at = line.find(" ")
        line = REGISTER.sub(lambda m: known.get(m.group(), m.group()) if m.start() > at else m.group(), line)
        opcode = opcode_of(line)
        begins = constant and constant.group(1) in acting  # such as a ring's first parity
        if SAYS.match(line) or ACTS.match(opcode) or begins:
            line = LISTS.sub(lambda m: "{%d registers}" % (m.group(1).count(",") + 1), line)
            acts.append(REGISTER.sub(lambda m: names.setdefault(m.group(), "%%%d" % (len(names) + 1)), re.sub(r"\$L\w+", "label", line)))
        elif re.match(r"[a-z]", opcode) and not opcode.startswith(("mov.b64 {", "cvt")):
            word, _, operands = opcode.partition(" ")
            fixed = [o.strip() for o in operands.split(",")[1:] if not REGISTER.search(o)]
            if fixed or COMPARES.match(word):
                meets["%s %s" % (word, " ".join(fixed))] += 1
    return acts + ["%3d x %s" % (n, words.strip()) for words, n in sorted(meets.items())]
