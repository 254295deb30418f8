"""``{cheader} FILE``: a C header as pages have it. Sections are those of the file (``/* ---- name ---- */``); each declaration comes with the
comment above it, functions without their bodies, types whole, since their comments stand beside the fields."""

import re
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

INCLUDE = Path(__file__).resolve().parents[2] / "include" / "tessera"
SECTION = re.compile(r"/\* -{4,} (.+?) -{4,} \*/")
COMMENT = re.compile(r"/\*.*?\*/", re.S)


def prose(comment):
    """The paragraphs of a comment: (is it code, text)."""
    lines = [re.sub(r"^ \* ?", "", line) for line in comment.strip()[2:-2].splitlines()]
    for part in re.split(r"\n\s*\n", "\n".join(line.rstrip() for line in lines).strip()):
        code = all(line.startswith("  ") for line in part.splitlines())
        yield code, part if code else " ".join(part.split())


def declarations(text):
    """(comment or "", declaration) in order. A declaration ends with the `;` or `}` that closes it outside of all braces."""
    comment, at = "", 0
    while at < len(text):
        if text[at].isspace():
            # a comment belongs to what follows it without an empty line
            if re.match(r"\n[ \t]*\n", text[at:]) and comment:
                yield comment, ""
                comment = ""
            at += 1
        elif found := COMMENT.match(text, at):
            if comment:
                yield comment, ""
            comment, at = found[0], found.end()
        elif text[at] == "#" or text.startswith('extern "C" {', at):
            at = text.find("\n", at) + 1 or len(text)
        elif text[at] == "}":  # of extern "C"
            at += 1
        else:
            end, depth = at, 0
            while True:
                if skipped := COMMENT.match(text, end):
                    end = skipped.end()
                    continue
                depth += {"{": 1, "}": -1}.get(text[end], 0)
                end += 1
                body = text.startswith(("static inline", "struct TesseraContext {"), at)
                if depth == 0 and (text[end - 1] == ";" or (text[end - 1] == "}" and body and not text.startswith(";", end))):
                    break
            line_end = text.find("\n", end)
            if (rest := text[end:line_end]).strip().startswith("/*") and COMMENT.fullmatch(rest.strip()):
                end = line_end
            yield comment, text[at:end]
            comment, at = "", end


def signature(declaration):
    """The declaration of an inline function: without its body and without `static inline`."""
    head = re.sub(r"\s+", " ", declaration[: declaration.index("{")]).strip()
    return head.removeprefix("static inline ")


def type_name(declaration):
    """Of a structure that is declared whole; other types and enums are shown as they stand."""
    found = re.match(r"(?:typedef )?struct (\w+) \{", declaration)
    return found and found[1]


def paragraph(text):
    """A paragraph; names stand in backquotes."""
    out = nodes.paragraph()
    for i, part in enumerate(text.split("`")):
        out += nodes.literal(part, part) if i % 2 else nodes.Text(part)
    return out


class CHeader(SphinxDirective):
    required_arguments = 1

    def paragraphs(self, comment):
        return [nodes.literal_block(text, text, language="c") if code else paragraph(text) for code, text in prose(comment)] if comment else []

    def declared(self, directive, name, content):
        made = self.parse_text_to_nodes(f"```{{{directive}}} {name}\n```\n")
        made[-1][-1].extend(content)  # desc_content
        return made

    def one(self, comment, declaration):
        said = self.paragraphs(comment)
        if not declaration:
            return said
        code = nodes.literal_block(declaration, declaration, language="c")
        if declaration.startswith("static inline"):
            name = signature(declaration)
            return [] if "tessera_version_error" in name else self.declared("c:function", name, said)
        name = type_name(declaration)
        return self.declared("c:struct", name, [*said, code]) if name else [*said, code]

    def run(self):
        path = INCLUDE / self.arguments[0]
        self.env.note_dependency(str(path))
        self.env.note_dependency(__file__)
        parts = SECTION.split(path.read_text())
        head = COMMENT.search(parts[0])[0]
        out = self.paragraphs(head)
        for title, text in zip(parts[1::2], parts[2::2]):
            section = nodes.section(ids=[nodes.make_id(title)], names=[title])
            section += nodes.title(title, title[0].upper() + title[1:])
            for comment, declaration in declarations(text):
                section.extend(self.one(comment, declaration))
            out.append(section)
        return out


def setup(app):
    app.add_directive("cheader", CHeader)
    return {"parallel_read_safe": True}
