"""From a finished run folder to result.json and timeline.md. Reads records; starts nothing."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from chaoskit.checks.history import History
from chaoskit.checks.summary import listener_books, summarise
from chaoskit.cli.live import describe
from chaoskit.journal.facts import load_facts
from chaoskit.journal.folder import RunFolder
from chaoskit.journal.reader import RunJournal, load_journal, pending_undos
from chaoskit.journal.redact import redacted
from chaoskit.model import (
    Aborted,
    CheckResult,
    Event,
    Experiment,
    GateJudged,
    RunStatus,
    Verdict,
)
from chaoskit.report.result import RESULT_SCHEMA, RunResult, exit_code
from chaoskit.report.timeline import Row, timeline_markdown
from chaoskit.report.words import observed, threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A judged run: its history, its journal, and the result as result.json has it."""

    history: History
    journal: RunJournal
    result: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What a replay adds to a run: fidelity rows, labels of incident time, assumptions."""

    extra: Mapping[str, Any] = field(default_factory=dict)
    incident_time: Any = None
    notes: Sequence[str] = ()


def judge_run(folder: RunFolder, experiment: Experiment, *, ear_delay_s: float) -> Judged:
    """Judge a finished run from its records alone."""
    journal = load_journal(folder.journal, folder.heal)
    header = journal.header
    if header is None:
        raise ValueError(f"{folder.journal} has no header")
    history = History.build(
        experiment,
        load_facts(folder.path),
        journal.events,
        origin_s=header.origin_s,
        ear_delay_s=ear_delay_s,
    )
    ended = journal.ended
    status = ended.status if ended else RunStatus.CRASHED
    result: dict[str, Any] = {
        "schema": RESULT_SCHEMA,
        "run_id": folder.id,
        "experiment": experiment.id,
        "title": experiment.title,
        "hypothesis": experiment.hypothesis.title,
        "stack": experiment.stack,
        "profile": experiment.profile.name,
        "seed": experiment.seed,
        "status": status.value,
        "error": ended.error if ended else "the run ended without a word",
        "residual_faults": [undo.fault_id for undo in pending_undos(journal.events)],
        "started_at": header.started_at,
        "run_seconds": round(history.end_s, 3),
        "machine": {"cores": os.cpu_count(), "load_average": round(os.getloadavg()[0], 2)},
        **summarise(history),
        "books": listener_books(history),
        "folder": str(folder.path),
    }
    unfinished = _why_unfinished(status, journal.events)
    if unfinished:
        # What was seen of a run that did not go to its end says nothing about its end.
        result |= {"valid": False, "verdict": Verdict.INCONCLUSIVE.value}
        result["invalid_because"] = unfinished
    control = experiment.control_row(Verdict(result["verdict"]))
    if control is not None:
        result["control"] = control
    return Judged(history=history, journal=journal, result=result)


def _why_unfinished(status: RunStatus, events: Sequence[Event]) -> list[str]:
    match status:
        case RunStatus.COMPLETED:
            return []
        case RunStatus.REFUSED:
            gates = [e for e in events if isinstance(e, GateJudged) and e.when == "gate"]
            failed = [r for gate in gates for r in gate.results if r.verdict is not Verdict.HELD]
            seen = "; ".join(_gate_text(r) for r in failed)
            return [f"not steady before anything was injected: {seen}" if seen else "refused"]
        case RunStatus.ABORTED:
            reasons = [event.reason for event in events if isinstance(event, Aborted)]
            return [f"aborted: {reason}" for reason in reasons]
        case RunStatus.INTERRUPTED:
            return ["stopped by a signal before its end"]
        case RunStatus.CRASHED:
            return ["ended by an error before its end"]


def _gate_text(result: CheckResult) -> str:
    note = f" ({result.note})" if result.note else ""
    if result.observed is None:
        return f"{result.name} saw nothing{note}"
    seen, limit = observed(result.observed, result.unit), threshold(result.threshold, result.unit)
    return f"{result.name} was {seen}, not {limit}{note}"


def write_outcome(
    folder: RunFolder, judged: Judged, frame: Frame, *, code: int | None = None
) -> RunResult:
    """Complete the result, write result.json and timeline.md, and return the result.

    `code`: the exit code of a run that an error ended, unless something is left injected; others
    follow from the result.
    """
    result: dict[str, Any] = redacted({**judged.result, **frame.extra})
    result["artifacts"] = ["journal.jsonl", "result.json", "timeline.md"]
    decided = code is None or result["residual_faults"]
    result["exit_code"] = exit_code(result) if decided else code
    header = judged.journal.header
    assert header is not None
    begun = datetime.fromisoformat(header.started_at).astimezone(UTC)
    origin = begun + timedelta(seconds=header.origin_s - header.started_s)
    folder.timeline.write_text(
        timeline_markdown(
            result,
            _rows(judged.journal.events, frame),
            started_at=origin,
            notes=frame.notes,
        )
    )
    draft = folder.result.with_name(".result.json")
    draft.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    draft.replace(folder.result)
    return result


def _rows(events: Sequence[Event], frame: Frame) -> list[Row]:
    rows = []
    for number, event in enumerate(events, start=1):
        text = describe(event)
        if text is None:
            continue
        kind, _, rest = text.partition(" ")
        rows.append(
            Row(
                at_s=event.at_s,
                kind=kind,
                text=rest.strip(),
                evidence=f"journal {number}",
                incident=frame.incident_time(event.at_s) if frame.incident_time else "",
            )
        )
    return rows
