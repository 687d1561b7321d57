"""End screens, plans and tables for a terminal, as rich renderables made from plain data."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from chaoskit.report.plain_text import printable, to_ascii
from chaoskit.report.result import RunResult
from chaoskit.report.words import observed, percent, seconds, threshold

_MARKS = {"held": ("✔", "green"), "deviated": ("✘", "red"), "inconclusive": ("?", "yellow")}
_EVERYONE = "planned participants: "


class Pen:
    """Makes texts, marks and tables, in ASCII where the terminal has nothing else."""

    def __init__(self, *, ascii_only: bool) -> None:
        """Write UTF-8 unless `ascii_only`."""
        self._ascii_only = ascii_only

    def text(self, text: str, style: str = "") -> Text:
        """Return `text`; widths are right since it is spelled before it is laid out."""
        shown = printable(text)
        return Text(to_ascii(shown) if self._ascii_only else shown, style=style)

    def mark(self, verdict: str) -> Text:
        """Return the sign of a verdict; a dot for what has none."""
        return self.text(*_MARKS.get(verdict, ("·", "dim")))

    def table(self, *columns: tuple[str, str]) -> Table:
        """Return a table of (title, kind) columns; kind: text (wraps), word (kept), number."""
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
        for title, kind in columns:
            table.add_column(
                self.text(title),
                justify="right" if kind == "number" else "left",
                overflow="fold",
                no_wrap=kind != "text",
            )
        return table

    def row(self, table: Table, *cells: str | Text) -> None:
        """Add a row."""
        table.add_row(*(self.text(cell) if isinstance(cell, str) else cell for cell in cells))


def end_screen(
    result: RunResult, *, ascii_only: bool = False, whole: bool = False
) -> RenderableType:
    """Return the end screen of a run: listeners, fidelity, checks, recovery, faults, harness.

    `whole`: every row of every table, not only what is news.
    """
    pen = Pen(ascii_only=ascii_only)
    parts: list[RenderableType] = [_head(result, pen)]
    if result.get("error") and result["status"] != "interrupted":
        parts.append(pen.text(str(result["error"]), "red"))
    if result["status"] == "refused":
        # Nothing was injected: what follows would tell of a run that never was.
        return _page([*parts, *_validity(result, pen), *_closing(result, pen)])
    parts += _listeners(result, pen)
    held_to_record = bool(result.get("fidelity")) and result["status"] == "completed"
    if held_to_record:
        parts += _fidelity(result, pen, whole=whole)
        parts += _hypothesis(result, pen)
    if result.get("checks") and (whole or not held_to_record):
        parts += _checks(result, pen)
    if result.get("recovery"):
        parts += _recovery(result, pen, whole=whole)
    if result.get("faults"):
        parts += _faults(result, pen)
    parts += _validity(result, pen)
    if result.get("assumed"):
        assumed = "; ".join(result["assumed"])
        parts.append(pen.text(f"Assumed, not from the record: {assumed}."))
    parts += _closing(result, pen)
    return _page(parts)


def _page(parts: Sequence[RenderableType]) -> RenderableType:
    return Padding(Group(*parts), (0, 1), expand=False)


def _head(result: RunResult, pen: Pen) -> RenderableType:
    told = [result["experiment"], result["stack"], result["profile"], f"seed {result['seed']}"]
    if result.get("scale"):
        told.append(f"1:{result['scale']:g}")
    return pen.text(" · ".join(str(word) for word in told), "bold")


def _listeners(result: RunResult, pen: Pen) -> list[RenderableType]:
    heard = result.get("listeners")
    if not heard:
        return []
    n = heard.get("planned", heard["joined"])
    head = f"What {n} real listeners went through"
    if result.get("scale"):
        head += f" (1 stands for {result['scale']:g})"
    grid = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    word = result.get("first_word")
    if word:
        said = seconds(word["value"], word["unit"]) + word["after"]
        pen.row(grid, "  first word heard", said)
    planned, silent = heard["planned_listener_seconds"], heard["silent_listener_seconds"]
    share = 100 * silent / planned if planned else 0.0
    text = f"{share:.1f} % of {_thousands(planned)} planned listener-seconds (run)"
    causes = sorted(heard["silent_by_cause"].items(), key=lambda kv: -kv[1])
    split = " · ".join(
        f"{cause.replace('_', ' ')} {100 * s / planned:.1f}"
        for cause, s in causes
        if planned and s >= 0.0005 * planned
    )
    pen.row(grid, "  silence", text + (f": {split}" if split else ""))
    if heard["howl_listener_seconds"]:
        pen.row(grid, "  howl", f"{heard['howl_listener_seconds']:.1f} listener-seconds run")
    pen.row(
        grid,
        "  joined",
        f"{heard['joined']} of {n}, at most {heard['peak']} at once, "
        f"{heard['never_heard']} never heard a speaker",
    )
    fresh = result.get("fresh_room")
    if fresh and fresh["n"]:
        pen.row(
            grid,
            "  in the fresh room",
            f"{100 * fresh['share']:.1f} % of the {fresh['n']} who were in the first: "
            f"first after {seconds(fresh['first_s'], 'run')}, "
            f"p95 {seconds(fresh['p95_s'])}, never {fresh['never']}",
        )
    canary = " · ".join(
        f"{row['phase']} {row['joined']} of {row['tried']} in, {row['heard']} heard"
        for row in result.get("canary") or ()
        if row["tried"]
    )
    if canary:
        pen.row(grid, "  newcomers", f"{canary} (canary)")
    return [pen.text(head, "bold"), grid, Text("")]


def _thousands(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")


def _fidelity(result: RunResult, pen: Pen, *, whole: bool) -> list[RenderableType]:
    rows: Sequence[Mapping[str, Any]] = result["fidelity"]
    executed = [r for r in rows if r["status"] == "executed"]
    emergent = [r for r in executed if r["basis"] == "emergent"]
    head = "Fidelity to the record"
    if emergent:
        within = sum(1 for r in emergent if r["within"])
        head += f", {within} of {len(emergent)} emergent rows within range"
    shown = [r for r in executed if r["basis"] == "emergent" or not r["within"]]
    table = pen.table(
        ("", "word"), ("", "text"), ("recorded", "text"), ("replayed", "text"), ("basis", "text")
    )
    for row in rows if whole else shown:
        pen.row(table, *_fidelity_row(row, pen))
    parts: list[RenderableType] = [pen.text(head, "bold"), table]
    if not whole:
        kept = len(executed) - len(shown)
        told = sum(1 for r in rows if r["status"] == "narrative")
        later = ", ".join(dict.fromkeys(r["event"] for r in rows if r["status"] == "not_yet"))
        more = f"  {kept} scheduled rows kept, {told} narrative"
        more += f", not yet executed: {later}" if later else ""
        parts.append(pen.text(f"{more}. All rows: chaoskit report {result['run_id']}", "dim"))
    return [*parts, Text("")]


def _fidelity_row(row: Mapping[str, Any], pen: Pen) -> tuple[str | Text, ...]:
    title = f"{row['event']} {row.get('title', '')}".strip()
    if row.get("reason"):
        title += f" ({row['reason']})"
    if row["status"] == "executed":
        mark = pen.mark("held" if row["within"] else "deviated")
        kept = row["basis"] == "scheduled" and row["within"]
        basis = row["basis"] + (": kept" if kept else "")
    else:
        mark = pen.mark("")
        basis = row["status"].replace("_", " ")
    return mark, title, str(row["recorded"]), str(row.get("replayed_text") or "-"), basis


def _hypothesis(result: RunResult, pen: Pen) -> list[RenderableType]:
    """Say of a replay how its hypothesis did: it is held to the record, not to that."""
    deviated = [c["name"] for c in result.get("checks", ()) if c["verdict"] == "deviated"]
    if not deviated:
        return []
    name, why = result.get("hypothesis") or "the hypothesis", ", ".join(deviated)
    return [
        pen.text(f'As it happened, "{name}" deviated ({why}); a replay is held to its record.'),
        Text(""),
    ]


def _checks(result: RunResult, pen: Pen) -> list[RenderableType]:
    table = pen.table(
        ("", "word"),
        ("check", "text"),
        ("observed", "number"),
        ("threshold", "text"),
        ("population", "text"),
    )
    for check in result["checks"]:
        unit, note = check["unit"], f"; {check['note']}" if check.get("note") else ""
        pen.row(
            table,
            pen.mark(check["verdict"]),
            check["name"],
            observed(check["observed"], unit),
            threshold(str(check["threshold"]), unit),
            f"{check['n']} {_people(check)}{note}",
        )
    return [pen.text(result.get("hypothesis") or "Checks", "bold"), table, Text("")]


def _people(check: Mapping[str, Any]) -> str:
    names = str(check["population"]).removeprefix(_EVERYONE)
    return "listeners" if names == "listener" and check["n"] != 1 else names


def _recovery(result: RunResult, pen: Pen, *, whole: bool) -> list[RenderableType]:
    table = pen.table(
        ("", "word"),
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
        if row["from"] == "heal" and not whole:
            continue
        pen.row(
            table,
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
    head = "Recovery (run time until a speaker is steadily heard again)"
    return [pen.text(head, "bold"), table, Text("")]


def _faults(result: RunResult, pen: Pen) -> list[RenderableType]:
    table = pen.table(("", "word"), ("fault", "text"), ("target", "text"), ("proof", "text"))
    for fault in result["faults"]:
        if fault["injected_s"] is None:
            mark, proof = "", "not injected"
        else:
            proven = fault["targeted"] > 0 and fault["affected"] >= 0.9 * fault["targeted"]
            mark = "held" if proven and fault["healed"] else "deviated"
            proof = f"{fault['affected']} of {fault['targeted']} {fault.get('unit', '')}"
            proof = f"{proof} by {fault['witness']}" if fault["witness"] else "nobody saw an effect"
            proof += "" if fault["healed"] else ", NOT healed"
        pen.row(table, pen.mark(mark), f"{fault['id']} ({fault['kind']})", fault["target"], proof)
    return [pen.text("Faults", "bold"), table, Text("")]


def _validity(result: RunResult, pen: Pen) -> list[RenderableType]:
    out: list[RenderableType] = []
    harness = result.get("harness") or {}
    if harness:
        sentinel = "clean" if harness["sentinel_clean"] else "has gaps"
        out.append(
            pen.text(
                f"Harness: {percent(harness['unjudged_share'])} unjudged · sentinel {sentinel} · "
                f"shard lag max {harness['max_lag_ms']:.0f} ms"
            )
        )
    if not result["valid"]:
        why = "; ".join(result.get("invalid_because", []))
        word = "Refused" if result["status"] == "refused" else "Inconclusive"
        out.append(pen.text(f"{word}: {why}", "yellow"))
        if result["status"] != "refused" and any(
            check["verdict"] == "deviated" for check in result.get("checks", ())
        ):
            out.append(pen.text("Deviations above are seen, not attributable.", "yellow"))
        machine = result.get("machine") or {}
        if machine and machine["load_average"] > machine["cores"]:
            out.append(
                pen.text(
                    f"The machine was busy when the run ended: load average"
                    f" {machine['load_average']:.1f} on {machine['cores']} cores. Try again when it"
                    " has two of them to spare.",
                    "yellow",
                )
            )
    if result.get("residual_faults"):
        left = ", ".join(result["residual_faults"])
        hint = f"chaoskit heal {result['run_id']}"
        out.append(pen.text(f"Not confirmed healed: {left}   hint: {hint}", "bold red"))
    return out


def _closing(result: RunResult, pen: Pen) -> list[RenderableType]:
    out: list[RenderableType] = []
    control = result.get("control")
    if control:
        did = "and did" if control["as_expected"] else f"but ended {result['verdict']}"
        out.append(pen.text(f"Control of the pair: it had to end {control['expect']}, {did}."))
    files = ", ".join(result.get("artifacts", []))
    verdict = pen.text(f"{result['status']}, {result['verdict']}", "bold")
    verdict.append(f"   run {result['run_id']}   exit {result['exit_code']}", style="dim")
    return [*out, pen.text(f"Written: {result['folder']}/ ({files})"), verdict]


def plan_screen(
    head: str, rows: Iterable[tuple[str, str]], note: str, *, ascii_only: bool = False
) -> RenderableType:
    """Return a plan: title, then what or when on the left and the text on the right."""
    pen = Pen(ascii_only=ascii_only)
    grid = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for left, right in rows:
        pen.row(grid, left, right)
    return Padding(Group(pen.text(head, "bold"), grid, pen.text(note)), (0, 1), expand=False)


def listing(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, ascii_only: bool = False
) -> RenderableType:
    """Return a plain table for `chaoskit list`."""
    pen = Pen(ascii_only=ascii_only)
    table = Table(box=box.ASCII if ascii_only else box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(pen.text(column), overflow="fold")
    for row in rows:
        pen.row(table, *row)
    return table
