"""End screens, plans and tables for a terminal, as rich renderables made from plain data."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from chaoskit.report.result import RunResult

_MARKS = {"held": ("✔", "green"), "deviated": ("✘", "red"), "inconclusive": ("?", "yellow")}
_ASCII = {"✔": "+", "✘": "x", "·": "-"}


def _mark(word: str, *, ascii_only: bool) -> Text:
    sign, style = _MARKS.get(word, ("·", "dim"))
    return Text(_ASCII.get(sign, sign) if ascii_only else sign, style=style)


def seconds(value: float | None, unit: str = "") -> str:
    """Return a duration for people: `2.3 s`, `34 min 34 s`, `never` for None."""
    if value is None:
        return "never"
    text = f"{value:.1f} s" if value < 90 else f"{int(value // 60)} min {int(value % 60):02d} s"
    return f"{text} {unit}".rstrip()


def _grid(*widths: int | None) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    for width in widths:
        table.add_column(width=width, overflow="fold")
    return table


def _table(*columns: tuple[str, str]) -> Table:
    """Return a table of (title, kind) columns; kind: text (wraps), word (kept whole), number."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for title, kind in columns:
        table.add_column(
            title,
            justify="right" if kind == "number" else "left",
            overflow="fold",
            no_wrap=kind != "text",
        )
    return table


def end_screen(
    result: RunResult, *, ascii_only: bool = False, whole: bool = False
) -> RenderableType:
    """Return the end screen of a run: listeners, fidelity, checks, recovery, faults, harness.

    `whole`: every row of the fidelity table, not only those that emerged or are out of range.
    """
    parts: list[RenderableType] = []
    if result.get("error"):
        parts.append(Text(str(result["error"]), style="red"))
    parts += _listeners(result)
    if result.get("fidelity"):
        parts += _fidelity(result, ascii_only=ascii_only, whole=whole)
    if result.get("checks"):
        parts += _checks(result, ascii_only=ascii_only)
    if result.get("recovery"):
        parts += _recovery(result)
    if result.get("faults"):
        parts += _faults(result, ascii_only=ascii_only)
    parts += _validity(result)
    if result.get("assumed"):
        parts.append(Text("Assumed, not from the record: " + ", ".join(result["assumed"]) + "."))
    parts.append(_closing(result))
    return Padding(Group(*parts), (0, 1))


def _listeners(result: RunResult) -> list[RenderableType]:
    heard = result.get("listeners")
    if not heard:
        return []
    n = heard.get("planned", heard["joined"])
    head = f"What {n} real listeners went through"
    if result.get("scale"):
        head += f" (1 stands for {result['scale']:g})"
    grid = _grid(26, None)
    word = result.get("first_word")
    if word:
        grid.add_row("  first word heard", seconds(word["value"], word["unit"]) + word["after"])
    planned = heard["planned_listener_seconds"]
    silent = heard["silent_listener_seconds"]
    causes = sorted(heard["silent_by_cause"].items(), key=lambda kv: -kv[1])
    share = 100 * silent / planned if planned else 0.0
    split = " · ".join(f"{c.replace('_', ' ')} {100 * s / planned:.1f}" for c, s in causes if s)
    grid.add_row(
        "  silence",
        f"{share:.1f} % of {planned:,.0f} planned listener-seconds (run)".replace(",", " ")
        + (f": {split}" if split else ""),
    )
    if heard["howl_listener_seconds"]:
        grid.add_row("  howl", f"{heard['howl_listener_seconds']:.1f} listener-seconds run")
    grid.add_row(
        "  joined",
        f"{heard['joined']} of {n}, at most {heard['peak']} at once, "
        f"{heard['never_heard']} never heard a speaker",
    )
    fresh = result.get("fresh_room")
    if fresh:
        grid.add_row(
            "  in the fresh room",
            f"{100 * fresh['share']:.1f} % of the {fresh['n']} who were in the first: "
            f"first after {seconds(fresh['first_s'], 'run')}, "
            f"p95 {seconds(fresh['p95_s'])}, never {fresh['never']}",
        )
    return [Text(head, style="bold"), grid, Text("")]


def _fidelity(result: RunResult, *, ascii_only: bool, whole: bool) -> list[RenderableType]:
    rows: Sequence[Mapping[str, Any]] = result["fidelity"]
    executed = [r for r in rows if r["status"] == "executed"]
    emergent = [r for r in executed if r["basis"] == "emergent"]
    within = sum(1 for r in emergent if r["within"])
    head = "Fidelity to the record"
    if emergent:
        head += f", {within} of {len(emergent)} emergent rows within range"
    shown = [r for r in executed if whole or r["basis"] == "emergent" or not r["within"]]
    if whole:
        shown = list(rows)
    table = _table(
        ("", "word"), ("", "text"), ("recorded", "text"), ("replayed", "text"), ("basis", "text")
    )
    for row in shown:
        table.add_row(*_fidelity_row(row, ascii_only=ascii_only))
    parts: list[RenderableType] = [Text(head, style="bold"), table]
    if not whole:
        kept = len(executed) - len(shown)
        told = sum(1 for r in rows if r["status"] == "narrative")
        later = ", ".join(dict.fromkeys(r["event"] for r in rows if r["status"] == "not_yet"))
        more = f"  {kept} scheduled rows kept, {told} narrative"
        more += f", not yet executed: {later}" if later else ""
        parts.append(Text(f"{more}. All rows: chaoskit report {result['run_id']}", style="dim"))
    return [*parts, Text("")]


def _fidelity_row(row: Mapping[str, Any], *, ascii_only: bool) -> tuple[RenderableType, ...]:
    title = f"{row['event']} {row.get('title', '')}".strip()
    if row.get("reason"):
        title += f" ({row['reason']})"
    if row["status"] == "executed":
        mark = _mark("held" if row["within"] else "deviated", ascii_only=ascii_only)
        kept = row["basis"] == "scheduled" and row["within"]
        basis = row["basis"] + (": kept" if kept else "")
    else:
        mark = _mark("", ascii_only=ascii_only)
        basis = row["status"].replace("_", " ")
    return mark, title, str(row["recorded"]), str(row.get("replayed_text") or "-"), basis


def _checks(result: RunResult, *, ascii_only: bool) -> list[RenderableType]:
    title = result.get("hypothesis") or "Checks"
    table = _table(
        ("", "word"),
        (title, "text"),
        ("observed", "number"),
        ("threshold", "text"),
        ("population", "text"),
    )
    for check in result["checks"]:
        observed = check["observed"]
        unit = check["unit"]
        if observed is None:
            text = "-"
        elif unit == "s":
            text = f"{observed:.2f} s"
        else:
            text = f"{observed:.4g} {unit}".strip()
        note = f" ({check['note']})" if check.get("note") else ""
        table.add_row(
            _mark(check["verdict"], ascii_only=ascii_only),
            check["name"],
            text,
            str(check["threshold"]),
            f"{check['population']}, n {check['n']}{note}",
        )
    return [table, Text("")]


def _recovery(result: RunResult) -> list[RenderableType]:
    table = _table(
        ("Recovery", "word"),
        ("group", "word"),
        ("from", "word"),
        ("noticed", "number"),
        ("in room", "number"),
        ("p50", "number"),
        ("p95", "number"),
        ("max", "number"),
        ("never", "number"),
        ("n", "number"),
    )
    for row in result["recovery"]:
        table.add_row(
            row["fault"],
            row["group"],
            row["from"],
            *(
                "-" if row.get(key) is None else seconds(row[key])
                for key in ("noticed_p50_s", "joined_p50_s", "p50_s", "p95_s", "max_s")
            ),
            str(row["never"]),
            str(row["n"]),
        )
    note = "  Run time until a speaker is heard steadily again, after the fault's effect or heal."
    return [table, Text(note, style="dim"), Text("")]


def _faults(result: RunResult, *, ascii_only: bool) -> list[RenderableType]:
    table = _table(("", "word"), ("Faults", "text"), ("target", "text"), ("proof", "text"))
    for fault in result["faults"]:
        proven = fault["targeted"] > 0 and fault["affected"] >= 0.9 * fault["targeted"]
        ok = proven and fault["healed"]
        table.add_row(
            _mark("held" if ok else "deviated", ascii_only=ascii_only),
            f"{fault['id']} ({fault['kind']})",
            fault["target"],
            f"{fault['affected']} of {fault['targeted']} {fault.get('unit', '')}"
            f" by {fault['witness']}" + ("" if fault["healed"] else ", NOT healed"),
        )
    return [table, Text("")]


def _validity(result: RunResult) -> list[RenderableType]:
    out: list[RenderableType] = []
    harness = result.get("harness") or {}
    if harness:
        out.append(
            Text(
                f"Harness: {100 * harness['unjudged_share']:.2f} % unjudged · sentinel "
                f"{'clean' if harness['sentinel_clean'] else 'has gaps'} · "
                f"shard lag max {harness['max_lag_ms']:.0f} ms"
            )
        )
    if not result["valid"]:
        out.append(Text("Inconclusive: " + "; ".join(result.get("invalid_because", [])), "yellow"))
        out.append(Text("Deviations above are seen, not attributable.", style="yellow"))
    if result.get("residual_faults"):
        out.append(
            Text(
                f"Not confirmed healed: {', '.join(result['residual_faults'])}"
                "  hint: chaoskit heal",
                style="bold red",
            )
        )
    return out


def _closing(result: RunResult) -> RenderableType:
    files = ", ".join(result.get("artifacts", []))
    line = Text(f"Written: {result['folder']}/ ({files})")
    verdict = Text(f"{result['status']}, {result['verdict']}", style="bold")
    verdict.append(f"   run {result['run_id']}   exit {result['exit_code']}", style="dim")
    return Group(line, verdict)


def plan_screen(head: str, rows: Iterable[tuple[str, str]], note: str) -> RenderableType:
    """Return a plan: title, then what or when on the left and the text on the right."""
    grid = _grid(8, None)
    for left, right in rows:
        grid.add_row(left, Text(right))
    return Padding(Group(Text(head, style="bold"), grid, Text(note)), (0, 1))


def listing(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> RenderableType:
    """Return a plain table for `chaoskit list`."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
