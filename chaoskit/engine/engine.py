"""Runs one experiment: phases, schedule, abort, rollback, as events; no I/O, no clock of its own.

prepare → gate → inject → recover → steady again (DESIGN §5). Whoever started the engine judges and
seals the run from its journal afterwards.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from chaoskit.engine.live import AbortWatch, Live, live_from_facts
from chaoskit.engine.plan import plan_preview
from chaoskit.engine.probes import Probes
from chaoskit.engine.schedule import recovered_s, windows_of
from chaoskit.engine.steps import Steps
from chaoskit.errors import PlanRefused
from chaoskit.model import (
    Aborted,
    CheckResult,
    CueReached,
    Event,
    Experiment,
    GateJudged,
    Phase,
    PhaseEntered,
    RunEnded,
    RunStatus,
    Verdict,
    When,
    worst,
)
from chaoskit.ports import Consumer, Journal, Tools, broadcast

ROLLBACK_S = 30.0
"""Deadline of the rollback; what is not confirmed healed by then is residue."""
ABORT_POLL_S = 1.0
T = TypeVar("T")

Judge = Callable[[str], tuple[CheckResult, ...] | Awaitable[tuple[CheckResult, ...]]]
"""judge("gate") and judge("again") return the results of the checks that can be judged then."""


class _Abort(Exception):
    """An abort condition held."""


class Engine:
    """One run. Call `run` once; cancel its task to stop it: everything is rolled back first."""

    def __init__(
        self,
        experiment: Experiment,
        tools: Tools,
        journal: Journal,
        judge: Judge,
        consumers: Sequence[Consumer] = (),
        *,
        live: Live | None = None,
    ) -> None:
        """Keep the parts. `live`: values for abort conditions (default: from the crowd's facts)."""
        self._experiment = experiment
        self._tools = tools
        self._journal = journal
        self._judge = judge
        self._consumers = tuple(consumers)
        self._watch = AbortWatch(experiment.abort, live or live_from_facts(tools))
        self._steps: Steps | None = None
        self._rollback: asyncio.Task[None] | None = None

    async def run(self) -> RunStatus:
        """Run the experiment and return how it went; whatever is injected is rolled back.

        A cancelled run returns INTERRUPTED after its rollback; a further cancellation does not stop
        the rollback, `abandon` does. Emits RunEnded last. Raises PlanRefused before anything is
        touched, and whatever crashed the run after it was rolled back.
        """
        status, error = RunStatus.CRASHED, ""
        raised: BaseException | None = None
        try:
            status = await self._phases()
        except asyncio.CancelledError:
            status, error = RunStatus.INTERRUPTED, "stopped from outside"
        except PlanRefused as refusal:
            status, error, raised = RunStatus.REFUSED, refusal.message, refusal
        except BaseException as crash:  # Everything: a fault must not outlive the run.
            raised = _sole(crash)
            error = f"{type(raised).__name__}: {raised}"
        residual = await self._roll_back()
        self._emit(
            RunEnded(at_s=self._now(), status=status, residual=residual, error=error), durable=True
        )
        if raised is not None:
            raise raised
        return status

    def abandon(self) -> None:
        """Give up a rollback under way; what it did not confirm is residue."""
        if self._rollback is not None:
            self._rollback.cancel()

    async def _phases(self) -> RunStatus:
        self._enter(Phase.PREPARE)
        plan_preview(self._experiment, self._tools)
        self._check_facts()
        self._watch.check()
        probes = Probes(self._tools, self._emit)
        return await _alongside(self._gate_and_method(), self._cues(), probes.run())

    async def _gate_and_method(self) -> RunStatus:
        experiment, clock = self._experiment, self._tools.clock
        if experiment.gate_s > 0:
            await clock.sleep_until(experiment.gate_from_s)
            self._enter(Phase.GATE)
            await clock.sleep_until(experiment.gate_from_s + experiment.gate_s)
            results = await self._judged("gate")
            if worst(r.verdict for r in results) is not Verdict.HELD:
                return RunStatus.REFUSED
        try:
            await _alongside(self._method(), self._abort())
        except BaseException as error:
            cause = _sole(error)
            if not isinstance(cause, _Abort):
                raise
            self._emit(Aborted(at_s=self._now(), reason=str(cause)), durable=True)
            return RunStatus.ABORTED
        return RunStatus.COMPLETED

    async def _method(self) -> None:
        experiment, clock = self._experiment, self._tools.clock
        recovered = recovered_s(experiment)
        planned, open_until = windows_of(experiment), asyncio.Event()
        steps = Steps(
            experiment,
            self._tools,
            self._emit,
            planned,
            open_until=open_until,
            last_start_s=recovered - (experiment.recovery_s or 0.0),
        )
        self._steps = steps
        await clock.sleep_until(experiment.method_zero_s)
        self._enter(Phase.INJECT)
        async with asyncio.TaskGroup() as group:
            tasks = {f.id: group.create_task(steps.run_fault(f)) for f in experiment.method}
            tasks |= {a.id: group.create_task(steps.run_action(a)) for a in experiment.actions}
            await _first(steps.all_over(), clock.sleep_until(recovered))
            for step_id in steps.unfinished():
                # A door that hangs must not hold the run; the rollback heals what it left.
                steps.give_up(step_id)
                tasks[step_id].cancel()
            self._enter(Phase.RECOVER)
            if experiment.recovery_s is not None:
                recovered = min(recovered, clock.now() + experiment.recovery_s)
            await clock.sleep_until(recovered)
            open_until.set()
        if experiment.steady_again_s > 0:
            self._enter(Phase.STEADY_AGAIN)
            await clock.sleep_until(recovered + experiment.steady_again_s)
            await self._judged("again")

    async def _judged(self, when: str) -> tuple[CheckResult, ...]:
        answer = self._judge(when)
        results = await answer if inspect.isawaitable(answer) else answer
        self._emit(GateJudged(at_s=self._now(), when=when, results=results), durable=True)
        return results

    async def _cues(self) -> None:
        for cue in sorted(self._experiment.cues, key=lambda c: c.at_s):
            await self._tools.clock.sleep_until(cue.at_s)
            self._emit(
                CueReached(
                    at_s=self._now(),
                    event=cue.event,
                    text=cue.text,
                    status=cue.status,
                    basis=cue.basis,
                )
            )

    async def _abort(self) -> None:
        if not self._experiment.abort:
            return
        clock = self._tools.clock
        await clock.sleep_until(self._experiment.method_zero_s)
        while True:
            reason = self._watch.fired(clock.now())
            if reason is not None:
                raise _Abort(reason)
            await clock.sleep_until(clock.now() + ABORT_POLL_S)

    async def _roll_back(self) -> tuple[str, ...]:
        """Heal what is left, detached from cancellation; return what could not be confirmed."""
        steps = self._steps
        if steps is None or not steps.undos:
            return ()
        clock = self._tools.clock
        self._rollback = asyncio.ensure_future(steps.roll_back())
        deadline = asyncio.ensure_future(clock.sleep_until(clock.now() + ROLLBACK_S))
        both: set[asyncio.Future[None]] = {self._rollback, deadline}
        while not any(task.done() for task in both):
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                # A second signal. Leaving now would leave the fault: `abandon` is the way out.
                continue
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        return tuple(steps.undos)

    def _check_facts(self) -> None:
        triggers = {s.id: s.trigger for s in self._experiment.method}
        triggers |= {s.id: s.trigger for s in self._experiment.actions}
        for step, trigger in triggers.items():
            if isinstance(trigger, When):
                try:
                    self._tools.need_facts().count(trigger.fact)
                except KeyError as error:
                    raise PlanRefused(f"{step}: the crowd has no count {trigger.fact}") from error

    def _enter(self, phase: Phase) -> None:
        self._emit(PhaseEntered(at_s=self._now(), phase=phase))

    def _emit(self, event: Event, *, durable: bool = False) -> None:
        self._journal.append(event, durable=durable)
        broadcast(event, self._consumers)

    def _now(self) -> float:
        return self._tools.clock.now()


async def _alongside(main: Coroutine[Any, Any, T], *others: Coroutine[Any, Any, None]) -> T:
    """Return what `main` returns; `others` run beside it and end with it.

    Raises an exception group when any of them fails.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(other) for other in others]
        result = await main
        for task in tasks:
            task.cancel()
    return result


async def _first(*works: Coroutine[Any, Any, None]) -> None:
    """Return when the first of `works` is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _sole(error: BaseException) -> BaseException:
    """Return the first cause inside exception groups: the one that ended the others."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
