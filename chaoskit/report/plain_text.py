"""Text for terminals without UTF-8: every sign that chaoskit prints, spelled in ASCII."""

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


def to_ascii(text: str) -> str:
    """Return `text` in ASCII: known signs spelled, any other replaced by a question mark.

    >>> to_ascii("recovery p95 ≤ 12 s · never 0")
    'recovery p95 <= 12 s - never 0'
    """
    return text.translate(_TABLE).encode("ascii", "replace").decode("ascii")
