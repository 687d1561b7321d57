"""Runs one experiment under signals and views: session, engine, judge, seal."""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from chaoskit.checks.history import History
from chaoskit.checks.judging import judge_gate
from chaoskit.cli.live import LiveTexts, PlainView, SilentView, TerminalView, View
from chaoskit.cli.outcome import Frame, Judged, judge_run, write_outcome
from chaoskit.cli.session import Session, open_session
from chaoskit.cli.signals import guarded
from chaoskit.engine.engine import Engine
from chaoskit.errors import EnvironmentMissing
from chaoskit.journal.codec import encode
from chaoskit.journal.facts import load_facts
from chaoskit.journal.folder import RunFolder
from chaoskit.journal.writer import JournalWriter, header
from chaoskit.model import (
    CheckResult,
    Event,
    Experiment,
    FaultHealed,
    FaultInjecting,
    ServiceExited,
    Stack,
)
from chaoskit.report.result import RunResult

_Results = tuple[CheckResult, ...]
_TICK_S = 0.2
_EARS_BEHIND_S = 1.2
"""Ears are judged and written so long after the fact, at most: a gate must not look further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run is shown and where it is kept."""

    runs_dir: Path
    quiet: bool = False
    incident_time: Callable[[float], str] | None = None
    frame: Callable[[Judged], Frame] = lambda judged: Frame()


def run_experiment(experiment: Experiment, stack: Stack, options: RunOptions) -> RunResult:
    """Run `experiment` and return its result, written to the run folder too.

    Raises Interrupted after a signal (rolled back and sealed), ChaosKitError for what stopped it.
    """
    console = Console(stderr=True)
    return asyncio.run(_guarded_run(experiment, stack, options, console))


async def _guarded_run(
    experiment: Experiment, stack: Stack, options: RunOptions, console: Console
) -> RunResult:
    def say(text: str) -> None:
        console.print(f" {text}", highlight=False, markup=False)

    return await guarded(_Run(experiment, stack, options, console).play(), say)


class _Run:
    """One run; `play` once."""

    def __init__(
        self, experiment: Experiment, stack: Stack, options: RunOptions, console: Console
    ) -> None:
        self._experiment = experiment
        self._stack = stack
        self._options = options
        self._console = console
        self._active: dict[str, None] = {}

    async def play(self) -> RunResult:
        """Start, run, stop, judge, write."""
        started_s = time.monotonic()
        view = self._view()
        cancelled = False
        async with open_session(
            self._experiment, self._stack, runs_dir=self._options.runs_dir, say=view.say
        ) as session:
            view = self._view(session.folder.id)
            self._keep_plan(session.folder)
            journal = JournalWriter.create(
                session.folder.journal,
                header(
                    run=session.folder.id,
                    experiment=self._experiment.id,
                    digest=self._experiment.digest,
                    seed=self._experiment.seed,
                    started_s=started_s,
                    origin_s=session.origin_s,
                    argv=sys.argv,
                ),
            )
            with contextlib.closing(journal):
                cancelled = await self._run_engine(session, journal, view)
        judged = judge_run(session.folder, self._experiment, ear_delay_s=self._stack.ear_delay_s)
        result = write_outcome(session.folder, judged, self._options.frame(judged))
        if cancelled:
            self._console.print(
                f" journal kept: {session.folder.path}", highlight=False, markup=False
            )
            raise asyncio.CancelledError
        return result

    def _view(self, run_id: str = "") -> View:
        if self._options.quiet:
            return SilentView(self._console)
        if not self._console.is_terminal or not run_id:
            return PlainView(self._console)
        texts = LiveTexts(
            title=f"{self._experiment.title} · {self._stack.title}",
            run_id=run_id,
            planned_end_s=self._experiment.end_s,
            incident_time=self._options.incident_time,
        )
        return TerminalView(self._console, self._experiment, texts)

    def _keep_active(self, event: Event) -> None:
        match event:
            case FaultInjecting():
                self._active[event.fault_id] = None
            case FaultHealed():
                self._active.pop(event.fault_id, None)

    def _keep_plan(self, folder: RunFolder) -> None:
        plan = {
            "format": "chaoskit.plan/v1",
            "ear_delay_s": self._stack.ear_delay_s,
            "experiment": encode(self._experiment),
        }
        folder.plan.write_text(json.dumps(plan, indent=1))

    async def _run_engine(self, session: Session, journal: JournalWriter, view: View) -> bool:
        """Run the engine to its end; return whether a signal stopped it. The stack is down then."""
        engine = Engine(
            self._experiment,
            session.tools,
            journal,
            self._judge_of(session),
            [view.consume, self._keep_active],
        )
        clock = session.tools.clock

        def service_exited(name: str, status: int, expected: bool) -> None:
            event = ServiceExited(at_s=clock.now(), service=name, exit=status, expected=expected)
            journal.append(event)
            view.consume(event)

        session.runtime.on_exit(service_exited)
        cancelled = False
        with view:
            async with _pumping(session, view):
                running = asyncio.ensure_future(engine.run())
                lost = asyncio.ensure_future(session.guardian.lost.wait())
                stopping_s = 0.0
                try:
                    await asyncio.wait({running, lost}, return_when=asyncio.FIRST_COMPLETED)
                except asyncio.CancelledError:
                    cancelled = True
                    stopping_s = time.monotonic()
                    count = len(self._active)
                    what = f"healing {count} faults ({', '.join(self._active)})"
                    view.say(f"Stopping: {what if count else 'nothing to heal'}")
                if cancelled or not running.done():
                    running.cancel()
                await asyncio.wait({running})
                lost.cancel()
                if cancelled:
                    healed_s = time.monotonic()
                    view.say(f"healed after {healed_s - stopping_s:.1f} s")
            killed = await session.stop_stack()
            if cancelled:
                view.say(f"stack down after {time.monotonic() - stopping_s:.1f} s")
            elif killed:
                view.say(f"had to be killed: {', '.join(killed)}")
        if session.guardian.lost.is_set():
            raise EnvironmentMissing(
                "the guardian died, and with it the stack", hint="chaoskit heal --all"
            )
        if running.done() and not running.cancelled():
            error = running.exception()
            if error is not None:
                raise error
        return cancelled

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


@contextlib.asynccontextmanager
async def _pumping(session: Session, view: View) -> AsyncIterator[None]:
    """Read new facts and show them five times a second while the body runs."""

    async def pump() -> None:
        while True:
            session.facts.poll()
            view.tick(session.tools.clock.now(), session.facts)
            await asyncio.sleep(_TICK_S)

    task = asyncio.create_task(pump())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
