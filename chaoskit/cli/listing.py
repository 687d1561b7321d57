"""`chaoskit list`: experiments, faults, checks, incidents, runs."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from chaoskit.cli.paths import shown_path
from chaoskit.errors import InvalidInput

_KINDS = ("experiments", "faults", "checks", "incidents", "runs")


def show_list(what: str, *, runs_dir: Path) -> int:
    """Print the list `what` on stdout: a table on a terminal, tab-separated rows elsewhere."""
    if what not in _KINDS:
        raise InvalidInput(f"there is no list of {what!r}", hint="one of " + ", ".join(_KINDS))
    columns, rows = _rows(what, runs_dir)
    rows = list(rows)
    if not rows and sys.stderr:
        where = f" in {shown_path(runs_dir)}" if what == "runs" else ""
        sys.stderr.write(f"There are no {what}{where}.\n")
    if not rows:
        return 0
    if not sys.stdout or not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))  # noqa: T201  (rows for other programs)
        return 0
    from chaoskit.cli.consoles import data_console, is_ascii
    from chaoskit.report.terminal import listing

    console = data_console()
    console.print(listing(columns, rows, ascii_only=is_ascii(console)))
    return 0


def _rows(what: str, runs_dir: Path) -> tuple[Sequence[str], Iterable[Sequence[str]]]:
    match what:
        case "experiments":
            return ("id", "title", "stack", "faults"), _experiments()
        case "faults":
            from chaoskit.faults.registry import KINDS as FAULTS
            from chaoskit.faults.registry import fault_class

            return ("kind", "what it does"), ((k, _first_line(fault_class(k))) for k in FAULTS)
        case "checks":
            from chaoskit.checks.registry import KINDS as CHECKS

            return ("check", "what it asks"), ((k, _first_line(CHECKS[k])) for k in sorted(CHECKS))
        case "incidents":
            from chaoskit.data import fixtures_dir

            folders = sorted((fixtures_dir() / "incidents").iterdir())
            return ("id",), ((f.name,) for f in folders if f.is_dir())
        case _:
            from chaoskit.journal.runs import UNREADABLE, list_runs

            return (
                ("run", "experiment", "started", "status", "verdict", "exit", "to heal"),
                (
                    (
                        r.folder.id,
                        r.experiment,
                        r.started_at,
                        r.status,
                        r.verdict,
                        r.exit_code,
                        "?" if r.status == UNREADABLE and not r.pending else str(r.pending),
                    )
                    for r in list_runs(runs_dir)
                ),
            )


def _experiments() -> Iterable[Sequence[str]]:
    from chaoskit.data import experiments_dir
    from chaoskit.spec.experiment import load_experiment

    for path in sorted(experiments_dir().glob("*.yaml")):
        experiment = load_experiment(path)
        kinds = ", ".join(f.kind for f in experiment.method)
        yield experiment.id, experiment.title, experiment.stack, kinds


def _first_line(thing: type) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]
