"""Text fit for a terminal: without control characters, and in ASCII where there is no UTF-8."""

_SPELLED = {
    "✔": "+",
    "✘": "x",
    "·": "-",
    "●": "*",
    "…": "...",
    "–": "-",
    "—": "-",
    "−": "-",
    "→": "->",
    "≥": ">=",
    "≤": "<=",
    "±": "+-",
    "×": "x",
    "µ": "u",
    "’": "'",
    "“": '"',
    "”": '"',
    "━": "=",
    "─": "-",
    "╸": "-",
    "│": "|",
    "▁": "_",
    "▃": "-",
    "█": "#",
    "▒": ":",
    "╳": "x",
    "▕": "|",
    "▏": "|",
    "\u00a0": " ",
    "\u202f": " ",
}
_TABLE = str.maketrans(_SPELLED)
_CONTROL = {c: None for c in (*range(32), *range(127, 160)) if chr(c) not in "\t\n"}


def to_ascii(text: str) -> str:
    """Return `text` in ASCII: known signs spelled, any other replaced by a question mark.

    >>> to_ascii("recovery p95 ≤ 12 s · never 0")
    'recovery p95 <= 12 s - never 0'
    """
    return text.translate(_TABLE).encode("ascii", "replace").decode("ascii")


def printable(text: str) -> str:
    """Return `text` without control characters: what a file says must not steer a terminal.

    >>> printable("a \\x1b[2J title")
    'a [2J title'
    """
    return text.translate(_CONTROL)
