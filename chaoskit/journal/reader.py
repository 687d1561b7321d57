"""Reads a journal back, whatever state its writer left it in, and says what is still to be undone.

A journal cut at any byte loads: the torn last line is left out and noted. What the guardian or
`chaoskit heal` wrote to `heal.jsonl` is merged in by run time.
"""

import heapq
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chaoskit.errors import InvalidInput
from chaoskit.journal.codec import decode, decode_event
from chaoskit.journal.writer import HEAL_FORMAT, JOURNAL_FORMAT, JournalHeader
from chaoskit.model import Event, FaultHealed, FaultInjecting, Json, RunEnded, Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class RunJournal:
    """A journal as read.

    `header` None: its first line is missing or torn. `events`: all of them, those of `heal.jsonl`
    merged in. `cut`: the last line was torn. `unreadable`: whole lines that are no event we know.
    `headless`: there is a journal, but it does not begin as one.
    """

    header: JournalHeader | None
    events: tuple[Event, ...]
    cut: bool = False
    unreadable: int = 0
    headless: bool = False

    @property
    def ended(self) -> RunEnded | None:
        """The engine's own last word; None when it died before saying it."""
        return next((e for e in reversed(self.events) if isinstance(e, RunEnded)), None)


def load_journal(journal: Path, heal: Path | None = None) -> RunJournal:
    """Read `journal` and, where there is one, `heal` (default: heal.jsonl beside it).

    A journal that is not there reads as an empty one. Raises InvalidInput for a file of another
    format or version.
    """
    lines = _Lines(journal, JOURNAL_FORMAT)
    events = list(lines.events())
    healed = _Lines(heal or journal.with_name("heal.jsonl"), HEAL_FORMAT)
    merged = heapq.merge(events, list(healed.events()), key=lambda event: event.at_s)
    return RunJournal(
        header=lines.header,
        events=tuple(merged),
        cut=lines.cut,
        unreadable=lines.unreadable + healed.unreadable,
        headless=lines.header is None and not lines.empty,
    )


def pending_undos(events: Iterable[Event]) -> tuple[Undo, ...]:
    """Return the undo of every injection without a confirmed heal after it, newest first.

    An injection that failed half-way counts: its undo was written before its side effect.
    """
    pending: dict[str, Undo] = {}
    for event in events:
        if isinstance(event, FaultInjecting):
            pending.pop(event.fault_id, None)
            pending[event.fault_id] = event.undo
        elif isinstance(event, FaultHealed) and event.confirmed:
            pending.pop(event.fault_id, None)
    return tuple(reversed(pending.values()))


class _Lines:
    """The lines of one file; what was wrong with them is known once all are read."""

    def __init__(self, path: Path, file_format: str) -> None:
        self._path = path
        self._format = file_format
        self.header: JournalHeader | None = None
        self.empty = True
        self.cut = False
        self.unreadable = 0

    def events(self) -> Iterator[Event]:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise InvalidInput(f"cannot read {self._path}: {error.strerror}") from error
        self.empty = not data
        for number, line in enumerate(data.splitlines(keepends=True)):
            event = self._read(number, line)
            if event is not None:
                yield event

    def _read(self, number: int, line: bytes) -> Event | None:
        try:
            obj = json.loads(line)
            if not isinstance(obj, dict):
                raise ValueError("not an object")
        except ValueError:
            if line.endswith(b"\n"):
                self.unreadable += 1
            else:
                self.cut = True
            return None
        if "format" in obj:
            self._read_header(number, obj)
            return None
        try:
            return decode_event(obj)
        except ValueError:
            self.unreadable += 1
            return None

    def _read_header(self, number: int, obj: dict[str, Json]) -> None:
        if obj["format"] != self._format:
            raise InvalidInput(
                f"{self._path}:{number + 1}: format {obj['format']!r}, expected {self._format!r}",
                hint="read it with the version of chaoskit that wrote it",
            )
        if self._format != JOURNAL_FORMAT:
            return
        try:
            self.header = decode(JournalHeader, obj)
        except ValueError as error:
            raise InvalidInput(f"{self._path}:{number + 1}: not a header: {error}") from error
