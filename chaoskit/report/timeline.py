"""timeline.md: what happened in a run, one row an event, as a Markdown table.

Times are run time (`T+` from the run's origin) and UTC; each row names its evidence: the journal's
sequence number or the fact it comes from (reference: timelines.md, section 6).
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chaoskit.report.result import RunResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line: run time in seconds, what kind of thing, text, where it is recorded."""

    at_s: float
    kind: str
    text: str
    evidence: str
    incident: str = ""


def escape_cell(text: str) -> str:
    """Return `text` fit for a Markdown table cell.

    Pipes are escaped, white space is collapsed, control characters are dropped.

    >>> escape_cell("a |\\x1b[31m b")
    'a \\\\|[31m b'
    """
    plain = "".join(c for c in " ".join(text.split()) if unicodedata.category(c) != "Cc")
    return plain.replace("|", "\\|")


def timeline_markdown(
    result: RunResult, rows: Iterable[Row], *, started_at: datetime, notes: Sequence[str] = ()
) -> str:
    """Return the whole timeline.md. `started_at`: UTC wall time of run time 0."""
    ordered = sorted(rows, key=lambda r: r.at_s)
    with_incident = any(r.incident for r in ordered)
    head = ["UTC", "run", *(["incident"] if with_incident else []), "kind", "event", "evidence"]
    lines = [
        f"# {result['title']}",
        "",
        f"Run `{result['run_id']}` · {result['status']}, {result['verdict']}"
        f" · valid: {'yes' if result['valid'] else 'no'} · seed {result['seed']}",
        "",
        *(f"> {note}" for note in notes),
        *([""] if notes else []),
        "| " + " | ".join(head) + " |",
        "|" + "|".join(" --- " for _ in head) + "|",
    ]
    for row in ordered:
        when = started_at + timedelta(seconds=row.at_s)
        cells = [
            when.strftime("%H:%M:%S.") + f"{when.microsecond // 1000:03d}",
            f"{row.at_s:+.1f} s",
            *([row.incident] if with_incident else []),
            row.kind,
            escape_cell(row.text),
            escape_cell(row.evidence),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
