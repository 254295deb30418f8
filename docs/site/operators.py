"""``{operators}``: every function of ``tessera.ops`` from its docstring: with ``table`` those of the compiler's table, by class, else those that are
made of them. ``{dtypes}``: the element types."""

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

# classes of ir/ops.def, as headings
CLASSES = {
    "POINTWISE": "Pointwise", "CONTRACT": "Products", "ATTENTION": "Attention", "REDUCE": "Reductions", "ROW": "Rows: softmax and norms",
    "VIEW": "Views", "MOVE": "Movement", "GATHER": "Gather", "RANDOM": "Random", "NONE": "Interpreted alone: compiling these is an error in this release",
}


class Operators(SphinxDirective):
    optional_arguments = 1

    def functions(self, names):
        return self.parse_text_to_nodes("```{eval-rst}\n" + "".join(f".. autofunction:: tessera.ops.{n}\n" for n in names) + "```\n")

    def run(self):
        import keyword

        from tessera import _ops, ops

        for file in (_ops.__file__, ops.__file__, __file__):
            self.env.note_dependency(file)
        if not self.arguments:
            return self.functions(n for n in ops.__all__ if n not in _ops.__all__)
        classes = {}
        for name, (_, _, cls, _) in _ops.TABLE.items():
            classes.setdefault(cls, []).append(name + "_" if keyword.iskeyword(name) else name)
        out = []
        for cls, names in classes.items():
            section = nodes.section(ids=[nodes.make_id(f"operators {cls}")], names=[cls.lower()])
            section += nodes.title(cls, CLASSES[cls])
            section += self.functions(names)
            out.append(section)
        return out


class Dtypes(SphinxDirective):
    KINDS = {"F": "float", "I": "integer", "U": "unsigned integer", "B": "bool", "C": "complex"}

    def run(self):
        from tessera import _dtype_table

        self.env.note_dependency(_dtype_table.__file__)
        rows = [f"| `{name}` | {self.KINDS[kind]} | {bits} | {'computed in' if computes else 'for storage'} |" for name, kind, bits, computes in _dtype_table.DTYPE_TABLE]
        return self.parse_text_to_nodes("\n".join(["| type | kind | bits of an element in memory | operators |", "| --- | --- | --- | --- |", *rows]))


def setup(app):
    app.add_directive("operators", Operators)
    app.add_directive("dtypes", Dtypes)
    return {"parallel_read_safe": True}
