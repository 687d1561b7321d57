"""What `chaoskit list runs` shows: each run with how it went, or that it is live or died."""

import json
from dataclasses import dataclass
from pathlib import Path

from chaoskit.errors import InvalidInput
from chaoskit.journal.folder import RunFolder, run_folders
from chaoskit.journal.reader import load_journal, pending_undos
from chaoskit.model import HealEnded

LIVE = "live"
DIED = "died"
UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run. `status`: live | a RunStatus | died (no last word of the engine) | unreadable.

    `pending`: faults without a confirmed heal; always 0 for a live run. `healed_by`: who took it
    over, if anybody did. `verdict`, `exit_code`: of its result, as text; empty without one.
    """

    folder: RunFolder
    status: str
    experiment: str = ""
    started_at: str = ""
    seed: int | None = None
    pending: int = 0
    healed_by: str = ""
    verdict: str = ""
    exit_code: str = ""


def list_runs(runs_dir: Path) -> list[RunSummary]:
    """Return all runs in `runs_dir`, oldest first."""
    return [summarise_run(folder) for folder in run_folders(runs_dir)]


def summarise_run(folder: RunFolder) -> RunSummary:
    """Return the summary of one run."""
    # Asked first: a run that ends in between then reads as live, never as died.
    live = folder.is_live()
    verdict, exit_code = _told(folder)
    try:
        journal = load_journal(folder.journal)
    except InvalidInput:
        status = LIVE if live else UNREADABLE
        return RunSummary(folder=folder, status=status, verdict=verdict, exit_code=exit_code)
    ended = journal.ended.status.value if journal.ended else ""
    healers = [event.by for event in journal.events if isinstance(event, HealEnded)]
    return RunSummary(
        folder=folder,
        status=LIVE if live else UNREADABLE if journal.headless else ended or DIED,
        experiment=journal.header.experiment if journal.header else "",
        started_at=journal.header.started_at if journal.header else "",
        seed=journal.header.seed if journal.header else None,
        pending=0 if live else len(pending_undos(journal.events)),
        healed_by=healers[-1] if healers else "",
        verdict=verdict,
        exit_code=exit_code,
    )


def _told(folder: RunFolder) -> tuple[str, str]:
    """Return verdict and exit code of the run's result as text; a list is no place to complain."""
    try:
        result = json.loads(folder.result.read_bytes())
        verdict, code = result["verdict"], result["exit_code"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return "", ""
    plain = isinstance(verdict, str) and verdict.isidentifier() and type(code) is int
    return (verdict, str(code)) if plain else ("", "")
