"""Takes a run over from an engine that is gone: heal, stop everything, verify, write it down.

The guardian does it when the engine dies; `heal_run` does it from any later process.
"""

import asyncio
import datetime
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from chaoskit.errors import EnvironmentMissing, InvalidInput
from chaoskit.faults.registry import fault_class
from chaoskit.guardian.healing import PORTS_OF_THE_STACK, Outcome, heal_undos
from chaoskit.guardian.strays import find_strays, kill_strays
from chaoskit.journal.folder import ProxyAddress, RunFolder, run_folders
from chaoskit.journal.reader import RunJournal, load_journal, pending_undos
from chaoskit.journal.writer import HEAL_FORMAT, JournalWriter, boot_id, utc_now
from chaoskit.model import Crowd, Event, FaultHealed, HealBegun, HealEnded, Undo
from chaoskit.ports import ServiceControl, Tools
from chaoskit.runtimes.clock import MonotonicClock

if TYPE_CHECKING:
    from chaoskit.drivers.toxiproxy import ToxiproxyDriver

READ_AGAIN_AFTER_S = 2.0
_PROXY_CALL_S = 1.0
_GONE_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HealReport:
    """What a take-over did. `live`: the run's holder lives, so nothing was done.

    `healed`, `residual`: fault ids. `killed`: processes that did not end by themselves. `left`:
    processes that are still there. `notes`: what was in the way, for the user. `blind`: the journal
    cannot be read, so that only processes were looked for.
    """

    run: str
    live: bool = False
    healed: tuple[str, ...] = ()
    residual: tuple[str, ...] = ()
    killed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    blind: bool = False

    @property
    def clean(self) -> bool:
        """Whether nothing of the run is left, as far as this could see."""
        return not self.live and not self.residual and not self.left

    @property
    def idle(self) -> bool:
        """Whether there was nothing to do."""
        return not self.live and not (self.healed or self.residual or self.killed or self.left)


async def heal_run(folder: RunFolder, *, within_s: float = 10.0) -> HealReport:
    """Heal a run whose engine and guardian are gone, and kill what they left. Idempotent.

    A live run is left alone. Writes to heal.jsonl only when there was something to do.
    """
    lock = folder.try_lock()
    if lock is None:
        return HealReport(run=folder.id, live=True)
    try:
        journal, problem = _read_journal(folder)
        if not pending_undos(journal.events) and not find_strays(folder.path):
            notes = (problem,) if problem else ()
            return HealReport(run=folder.id, notes=notes, blind=bool(problem))

        async def kill_what_is_left() -> Sequence[str]:
            return [str(stray) for stray in kill_strays(find_strays(folder.path))]

        return await take_over(
            folder,
            by="heal",
            why="asked to heal",
            services=None,
            stop=kill_what_is_left,
            within_s=within_s,
        )
    finally:
        lock.release()


async def heal_all(runs_dir: Path) -> list[HealReport]:
    """Heal every run in `runs_dir` that is not live; end what is left of runs deleted there.

    A run of which nothing is left gives an idle report. Runs of other places are not touched:
    `find_strays` shows them.
    """
    reports = await asyncio.gather(*(heal_run(folder) for folder in run_folders(runs_dir)))
    return [*reports, *_end_deleted_runs(runs_dir)]


def _end_deleted_runs(runs_dir: Path) -> list[HealReport]:
    place = runs_dir.resolve()
    killed: dict[str, list[str]] = {}
    for stray in kill_strays([stray for stray in find_strays() if stray.folder.parent == place]):
        killed.setdefault(stray.folder.name, []).append(str(stray))
    return [HealReport(run=name, killed=tuple(them)) for name, them in killed.items()]


async def take_over(
    folder: RunFolder,
    *,
    by: str,
    why: str,
    services: ServiceControl | None,
    stop: Callable[[], Awaitable[Sequence[str]]],
    within_s: float,
) -> HealReport:
    """Heal in place for at most `within_s`, then `stop` the stack (it returns whom it killed).

    The caller holds the run's lock.
    """
    record = _HealRecord(folder)
    journal = record.load_journal()
    clock = MonotonicClock(_origin_s(journal))
    record.begin(HealBegun(at_s=clock.now(), by=by, why=why))
    proxy = folder.proxy()
    undos = pending_undos(journal.events)
    try:
        outcomes = await _heal_in_place(undos, proxy, clock, services, within_s, record.notes)
    except Exception as error:
        # Taking the stack down must not depend on anything that healing needs.
        outcomes = [Outcome(undo=undo, confirmed=False, why=repr(error)) for undo in undos]
    killed = await stop()
    more_killed, left = await _nothing_left(folder)
    ports = PORTS_OF_THE_STACK | ({"proxy"} if proxy is None or proxy.ours else set())
    events = [_healed(outcome, by, clock, ports, gone=not left) for outcome in outcomes]
    end = HealEnded(
        at_s=clock.now(),
        by=by,
        residual=tuple(event.fault_id for event in events if not event.confirmed),
        killed=(*killed, *more_killed),
        left=left,
    )
    record.end([*events, end])
    return HealReport(
        run=folder.id,
        healed=tuple(event.fault_id for event in events if event.confirmed),
        residual=end.residual,
        killed=end.killed,
        left=left,
        notes=(*record.notes, *(f"{e.fault_id}: {e.detail}" for e in events if e.detail)),
    )


def _read_journal(folder: RunFolder) -> tuple[RunJournal, str]:
    """Return the journal as far as it can be read, and what the user is told when it cannot."""
    name = folder.journal.name
    try:
        journal = load_journal(folder.journal)
    except InvalidInput as error:
        journal, why = RunJournal(header=None, events=()), error.message
    else:
        if not journal.headless:
            return journal, ""
        why = f"{name}: it does not begin with the header of a journal"
    looked = "looked at instead: processes that carry the run's mark in their environment"
    return journal, f"{why}; {looked}"


class _HealRecord:
    """heal.jsonl, as far as the disk lets us: healing goes on when it cannot be written down."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._writer: JournalWriter | None = None
        self.notes: list[str] = []

    def load_journal(self) -> RunJournal:
        journal, problem = _read_journal(self._folder)
        if problem:
            self.notes.append(problem)
        return journal

    def begin(self, event: HealBegun) -> None:
        first_line = {
            "format": HEAL_FORMAT,
            "run": self._folder.id,
            "by": event.by,
            "pid": os.getpid(),
            "at": utc_now(),
        }
        try:
            self._writer = JournalWriter(self._folder.heal)
            self._writer.append_json(first_line)
            self._writer.append(event, durable=True)
        except EnvironmentMissing as error:
            self.notes.append(error.message)

    def end(self, events: Sequence[Event]) -> None:
        if self._writer is None:
            return
        try:
            for event in events:
                self._writer.append(event)
            self._writer.close()
        except EnvironmentMissing as error:
            self.notes.append(error.message)


async def _heal_in_place(
    undos: Sequence[Undo],
    proxy: ProxyAddress | None,
    clock: MonotonicClock,
    services: ServiceControl | None,
    within_s: float,
    notes: list[str],
) -> list[Outcome]:
    if not undos:
        return []
    deadline_s = time.monotonic() + within_s
    driver = None if proxy is None else await _open_proxy(proxy, notes)
    tools = Tools(clock=clock, crowd=Crowd(groups=()), proxy=driver, services=services)
    try:
        return await heal_undos(
            undos,
            tools,
            fault_class,
            within_s=deadline_s - time.monotonic(),
            read_again_after_s=READ_AGAIN_AFTER_S,
        )
    finally:
        if driver is not None:
            driver.close()


async def _open_proxy(address: ProxyAddress, notes: list[str]) -> "ToxiproxyDriver":
    """Make the proxy refuse later writes of the run; return a driver whose own are not refused.

    A server without epochs (a real Toxiproxy answers 404) is safe by two clean reads alone.
    """
    # Not at the top: what has no proxy to heal need not wait for an HTTP library to import.
    from chaoskit.drivers.toxiproxy import ToxiproxyDriver, ToxiproxyError

    driver = ToxiproxyDriver(address.url, call_s=_PROXY_CALL_S)
    try:
        await driver.close_epoch(address.epoch)
    except ToxiproxyError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            notes.append(error.message)
    return driver


async def _nothing_left(folder: RunFolder) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Kill what still runs under the run's mark; return what was killed and what stays."""
    killed: dict[int, str] = {}
    deadline = time.monotonic() + _GONE_WITHIN_S
    while True:
        strays = find_strays(folder.path)
        if not strays or time.monotonic() > deadline:
            left = tuple(str(stray) for stray in strays)
            return tuple(killed.values()), left
        killed.update({stray.pid: str(stray) for stray in kill_strays(strays)})
        await asyncio.sleep(0.01)


def _healed(
    outcome: Outcome, by: str, clock: MonotonicClock, ports: frozenset[str], *, gone: bool
) -> FaultHealed:
    confirmed, detail = outcome.confirmed, outcome.why
    if not confirmed and gone and outcome.ends_with(ports):
        confirmed, detail = True, f"ended with the stack; in place: {outcome.why}"
    return FaultHealed(
        at_s=clock.now(),
        fault_id=outcome.undo.fault_id,
        confirmed=confirmed,
        by=by,
        detail=detail,
    )


def _origin_s(journal: RunJournal) -> float:
    """Return the monotonic stamp of the run's time 0, by the wall clock after a reboot."""
    header = journal.header
    now_s = time.monotonic()
    if header is None:
        return now_s
    if header.boot_id == boot_id():
        return header.origin_s
    started = datetime.datetime.fromisoformat(header.started_at)
    since_start_s = (datetime.datetime.now(datetime.UTC) - started).total_seconds()
    return now_s - since_start_s - (header.started_s - header.origin_s)
