"""Runs one experiment under signals and views: session, engine, judge, seal."""

import asyncio
import contextlib
import json
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from chaoskit.checks.canary_group import with_canary
from chaoskit.checks.history import History
from chaoskit.checks.judging import judge_gate
from chaoskit.checks.parts import RELAY_LAG_NOTED_MS, RELAY_LAG_PROBE
from chaoskit.cli.consoles import is_ascii, progress_console
from chaoskit.cli.interrupted import Interrupted
from chaoskit.cli.lanes import LiveTexts, TerminalView
from chaoskit.cli.live import PlainView, SilentView, View
from chaoskit.cli.outcome import Frame, Judged, judge_run, write_outcome
from chaoskit.cli.paths import shown_path
from chaoskit.cli.session import Session, open_session
from chaoskit.cli.signals import Presses, guarded
from chaoskit.engine.engine import Engine
from chaoskit.errors import AdapterError, ChaosKitError, EnvironmentMissing, RollbackIncomplete
from chaoskit.guardian.takeover import heal_run
from chaoskit.journal.codec import encode
from chaoskit.journal.facts import load_facts
from chaoskit.journal.folder import RunFolder
from chaoskit.journal.redact import redacted
from chaoskit.journal.writer import JournalWriter, header
from chaoskit.model import (
    CheckResult,
    Event,
    Experiment,
    FaultHealed,
    FaultInjecting,
    Observed,
    RunStatus,
    ServiceExited,
    Stack,
)
from chaoskit.report.result import RunResult

T = TypeVar("T")

_Results = tuple[CheckResult, ...]
_TICK_S = 0.2
_EARS_BEHIND_S = 1.2
"""Ears are judged and written so long after the fact, at most: a gate must not look further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run is shown and where it is kept. `title`: of the live view, if not the file's."""

    runs_dir: Path
    quiet: bool = False
    title: str = ""
    incident_time: Callable[[float], str] | None = None
    frame: Callable[[Judged], Frame] = lambda judged: Frame()


def run_experiment(experiment: Experiment, stack: Stack, options: RunOptions) -> RunResult:
    """Run `experiment` and return its result, written to the run folder too.

    A run that a signal stopped after its journal had begun has a result as well, with the status
    `interrupted`. Raises Interrupted when there was nothing to judge yet, or when the signal came
    while a complete run was being judged (its result is on disk then); ChaosKitError for what
    stopped it. Whatever happens, nothing of it runs on.
    """
    experiment = with_canary(experiment)
    console, presses = progress_console(), Presses()

    def say(text: str) -> None:
        console.show_cursor()
        console.print(f" {text}", soft_wrap=True)

    run = _Run(experiment, stack, options, console, presses)
    result = asyncio.run(guarded(run.play(), presses, say))
    if presses.first is not None and result["status"] != RunStatus.INTERRUPTED:
        raise Interrupted(presses.first)
    return result


class _Run:
    """One run; `play` once."""

    def __init__(
        self,
        experiment: Experiment,
        stack: Stack,
        options: RunOptions,
        console: Console,
        presses: Presses,
    ) -> None:
        self._experiment = experiment
        self._stack = stack
        self._options = options
        self._console = console
        self._presses = presses
        self._folder: RunFolder | None = None
        self._begun = False
        self._active: dict[str, None] = {}
        self._stopped_s: float | None = None
        self._stop_text = ""

    async def play(self) -> RunResult:
        """Start, run, stop, judge, write."""
        try:
            await self._live()
        except asyncio.CancelledError:
            if not self._begun:
                self._line(f"Stopped while starting, nothing was injected{self._kept()}")
                raise
        except Exception as error:
            await self._wind_up(error)
            raise
        try:
            with self._waiting("judging what was heard"):
                result = await _to_the_end(self._seal)
        except Exception as error:
            self._keep_traceback(error)
            raise
        if result["status"] == RunStatus.INTERRUPTED:
            self._line(f"{self._stop_text}{self._kept()}   exit {result['exit_code']}")
        return result

    async def _live(self) -> None:
        """Start the stack, run the engine in it, take it down."""
        async with open_session(
            self._experiment,
            self._stack,
            runs_dir=self._options.runs_dir,
            say=self._view().say,
            made=self._take_folder,
        ) as session:
            self._keep_plan(session.folder)
            journal = JournalWriter.create(
                session.folder.journal,
                header(
                    run=session.folder.id,
                    experiment=self._experiment.id,
                    digest=self._experiment.digest,
                    seed=self._experiment.seed,
                    started_s=time.monotonic(),
                    origin_s=session.origin_s,
                    argv=sys.argv,
                ),
            )
            self._begun = True
            with contextlib.closing(journal), self._view(session.folder.id) as view:
                await self._run_engine(session, journal, view)

    def _waiting(self, for_what: str) -> contextlib.AbstractContextManager[object]:
        """Show on a terminal that something is still being done."""
        if self._options.quiet or not self._console.is_terminal or is_ascii(self._console):
            return contextlib.nullcontext()
        return self._console.status(for_what)

    def _take_folder(self, folder: RunFolder) -> None:
        self._folder = folder

    def _line(self, text: str) -> None:
        self._console.print(f" {text}", soft_wrap=True)

    def _kept(self) -> str:
        if self._folder is None:
            return ""
        what = "journal" if self._begun else "logs"
        return f" · {what} kept: {shown_path(self._folder.path)}"

    def _view(self, run_id: str = "") -> View:
        if self._options.quiet:
            return SilentView(self._console)
        if not self._console.is_terminal or self._console.is_dumb_terminal or not run_id:
            return PlainView(self._console)
        texts = LiveTexts(
            title=self._options.title or f"{self._experiment.id} · {self._experiment.title}",
            run_id=run_id,
            planned_end_s=self._experiment.end_s,
            incident_time=self._options.incident_time,
        )
        ascii_only = is_ascii(self._console)
        return TerminalView(self._console, self._experiment, texts, ascii_only=ascii_only)

    def _keep_active(self, event: Event) -> None:
        match event:
            case FaultInjecting():
                self._active[event.fault_id] = None
            case FaultHealed(confirmed=True):
                self._active.pop(event.fault_id, None)

    def _keep_plan(self, folder: RunFolder) -> None:
        plan = {
            "format": "chaoskit.plan/v1",
            "ear_delay_s": self._stack.ear_delay_s,
            "experiment": encode(self._experiment),
        }
        folder.plan.write_text(json.dumps(redacted(plan), indent=1))

    async def _run_engine(self, session: Session, journal: JournalWriter, view: View) -> None:
        """Run the engine to its end, which a signal may bring about; the stack is down then."""
        engine = Engine(
            self._experiment,
            session.tools,
            journal,
            self._judge_of(session),
            [view.consume, self._keep_active],
        )

        def service_exited(name: str, status: int, expected: bool, monotonic_s: float) -> None:
            at_s = monotonic_s - session.origin_s
            event = ServiceExited(at_s=at_s, service=name, exit=status, expected=expected)
            # Whoever tells of exits must go on telling, whether or not it can be written down.
            with contextlib.suppress(EnvironmentMissing):
                journal.append(event)
            view.consume(event)

        session.runtime.on_exit(service_exited)
        async with _watching_relay(session, journal), _pumping(session, view) as pump:
            running = asyncio.ensure_future(engine.run())
            lost = asyncio.ensure_future(session.guardian.lost.wait())
            stopping = False
            try:
                await asyncio.wait({running, lost, pump}, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                stopping = True
                began_s = time.monotonic()
                view.say(f"{_stopping_text(list(self._active))} …")
                # An engine that has not taken its first step would not even say that it ended.
                await asyncio.sleep(0)
            if not running.done():
                running.cancel()
            while not running.done():
                if lost.done():
                    engine.abandon()  # what carried the faults is gone: nothing answers any more
                await asyncio.wait({running}, timeout=_TICK_S)
            lost.cancel()
        if stopping:
            self._stop_text = f"… done {time.monotonic() - began_s:.1f} s"
            began_s = time.monotonic()
        killed = await session.stop_stack()
        if stopping:
            self._stop_text += f" · stack down {time.monotonic() - began_s:.1f} s"
        elif killed:
            view.say(f"had to be killed: {', '.join(killed)}")
        if session.guardian.lost.is_set():
            raise EnvironmentMissing(
                "the guardian died, and with it the stack",
                hint=f"its last words are in {shown_path(session.folder.log('guardian'))}",
            )
        for task in (pump, running):
            if task.done() and not task.cancelled():
                error = task.exception()
                if error is not None:
                    raise error

    def _judge_of(self, session: Session) -> Callable[[str], "asyncio.Future[_Results]"]:
        experiment = self._experiment

        def judge(when: str) -> _Results:
            now_s = session.tools.clock.now()
            history = History.build(
                experiment,
                load_facts(session.folder.path),
                [],
                origin_s=session.origin_s,
                ear_delay_s=self._stack.ear_delay_s,
                until_s=now_s,
            )
            if when == "gate":
                from_s, until_s = experiment.gate_from_s, now_s - _EARS_BEHIND_S
            else:
                from_s, until_s = now_s - experiment.steady_again_s, now_s - _EARS_BEHIND_S
            return judge_gate(experiment.hypothesis.checks, history, from_s=from_s, until_s=until_s)

        # In a thread: reading the facts of hundreds must not stop the loop that heals.
        return lambda when: asyncio.ensure_future(asyncio.to_thread(judge, when))

    def _seal(self, failure: BaseException | None = None) -> RunResult:
        assert self._folder is not None
        judged = judge_run(self._folder, self._experiment, ear_delay_s=self._stack.ear_delay_s)
        result, code = judged.result, None
        if failure is not None:
            code = failure.exit_code if isinstance(failure, ChaosKitError) else 1
            result["error"] = str(failure) or type(failure).__name__
            if result["status"] == RunStatus.INTERRUPTED:
                result["status"] = RunStatus.CRASHED.value  # nobody asked the engine to stop
        elif result["status"] == RunStatus.INTERRUPTED and self._presses.first is not None:
            result["signal"] = signal.Signals(self._presses.first).name
        return write_outcome(self._folder, judged, self._options.frame(judged), code=code)

    async def _wind_up(self, error: Exception) -> None:
        """Keep what a failed run leaves to be read: its traceback, and what can be judged.

        Raises RollbackIncomplete when something may still be injected.
        """
        if not isinstance(error, ChaosKitError):
            self._keep_traceback(error)
        if not self._begun or self._folder is None:
            return
        report = await heal_run(self._folder)
        # What ended the run is the news; that it cannot be judged either must not hide it.
        with contextlib.suppress(Exception):
            await _to_the_end(lambda: self._seal(error))
        if report.residual or report.left:
            left = ", ".join((*report.residual, *report.left))
            raise RollbackIncomplete(
                f"{error}\nnot confirmed healed: {left}",
                hint=f"chaoskit heal {self._folder.id}",
            ) from error

    def _keep_traceback(self, error: BaseException) -> None:
        if self._folder is None:
            return
        path = self._folder.path / "crash.txt"
        with contextlib.suppress(OSError):
            path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
            error.add_note(f"the stack is down; the traceback is in {shown_path(path)}")


def _stopping_text(active: list[str]) -> str:
    if not active:
        return "Stopping: nothing to heal"
    faults = "1 fault" if len(active) == 1 else f"{len(active)} faults"
    return f"Stopping: healing {faults} ({', '.join(active)})"


async def _to_the_end(work: Callable[[], T]) -> T:
    """Return what `work` returns, run in a thread so that signals are still heard.

    A signal does not cut it short: the stack is down by now, and a result is about to be there.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work))
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    return task.result()


@contextlib.asynccontextmanager
async def _watching_relay(session: Session, journal: JournalWriter) -> AsyncIterator[None]:
    """Write down the relay's loop lag, once a second, whenever it is worth a word."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(1.0)
            with contextlib.suppress(AdapterError):
                lag_ms = (await session.proxy.lag())["max_ms_1s"]
                if lag_ms >= RELAY_LAG_NOTED_MS:
                    at_s = session.tools.clock.now()
                    journal.append(Observed(at_s=at_s, probe=RELAY_LAG_PROBE, value=lag_ms))

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def _pumping(session: Session, view: View) -> AsyncIterator["asyncio.Task[None]"]:
    """Read new facts and show them five times a second while the body runs.

    Yields the task that does it, which ends only by an error.
    """

    async def pump() -> None:
        while True:
            session.facts.poll()
            view.tick(session.tools.clock.now(), session.facts)
            await asyncio.sleep(_TICK_S)

    task = asyncio.create_task(pump())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
