"""Colours for blocks of `.tg` text."""

from pygments.lexer import RegexLexer, words
from pygments.token import Comment, Keyword, Name, Number, Operator, String, Text

ITEMS = ("tessera", "tile", "dims", "const", "numerics", "meta", "source", "trainable", "weights", "graph", "fn", "kernel", "test", "input", "expect", "for", "in",
         "with", "step", "yield", "emit", "set", "grid", "group", "within", "error")


class TgLexer(RegexLexer):
    name, aliases = "tg", ["tg"]
    tokens = {
        "root": [
            (r"#.*$", Comment),
            (r'"(\\.|[^"\\])*"', String),
            (r"`[^`]*`", Name),
            (words(ITEMS, prefix=r"\b", suffix=r"\b"), Keyword),
            (r"\b(bool|complex64|u?int\d+|b?f\d+|fp\d_\w+)\b", Keyword.Type),
            (r"\b(true|false|none|inf|nan)\b", Keyword.Constant),
            (r"[0-9][0-9a-fx.]*(e-?\d+)?", Number),
            (r"[A-Za-z_][\w.]*(?=\()", Name.Function),
            (r"[A-Za-z_][\w]*", Name),
            (r"[^\w\s]", Operator),
            (r"\s+", Text),
        ]
    }


def setup(app):
    app.add_lexer("tg", TgLexer)
    return {"parallel_read_safe": True}
