"""Carries out the steps of a method: trigger, inject, prove, heal; and rolls back what is left.

Everything is in `Steps.undos` before its side effect, so that whatever ends the run, its rollback
knows what to heal.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from chaoskit.engine.plan import timed
from chaoskit.engine.schedule import Window
from chaoskit.errors import AdapterError, ChaosKitError
from chaoskit.faults.protocol import TTL_MARGIN_S, settled
from chaoskit.faults.registry import fault_class, parse_fault
from chaoskit.model import (
    ActionDone,
    ActionFailed,
    ActionSpec,
    After,
    At,
    Effect,
    Event,
    Experiment,
    FaultActive,
    FaultEffect,
    FaultFailed,
    FaultHealed,
    FaultInjecting,
    FaultSpec,
    Json,
    Observed,
    Trigger,
    Undo,
    When,
)
from chaoskit.ports import Tools

POLL_S = 0.25
"""Period of the proof of effect and of waiting for a fact."""
ENOUGH = 0.9
"""Affected over targeted at which a fault counts as proven (DESIGN §5)."""
LATE_PROOF_S = 2.0
"""After the heal, peers may still report what they noticed before it."""
RETRY_S = 0.5
"""Between two attempts to roll back what could not be confirmed."""
READ_BACK_S = 2.0
"""So long a read-back may need to agree; what peers report takes its time."""
LAST_LOOK_S = 0.5
"""So long a heal waits to be told whether the fault was still in place."""

ReadBack = Callable[[Undo, Tools], Awaitable[bool]]


class Emit(Protocol):
    """Journals an event and hands it to the consumers."""

    def __call__(self, event: Event, *, durable: bool = False) -> None:
        """When `durable`, return only after the event is on disk."""


class Steps:
    """The steps of one run. Never raises for what a service answers: that becomes an event."""

    def __init__(
        self,
        experiment: Experiment,
        tools: Tools,
        emit: Emit,
        planned: Mapping[str, Window],
        *,
        open_until: asyncio.Event,
        last_start_s: float,
    ) -> None:
        self._experiment = experiment
        self._tools = tools
        self._emit = emit
        self._planned = planned
        self._open_until = open_until
        self._last_start_s = last_start_s
        self._open = {f.id: f.duration_s is None for f in experiment.method}
        self._open |= {a.id: False for a in experiment.actions}
        self.undos: dict[str, Undo] = {}
        """Faults that are, or may be, in place, in the order of injection."""
        self.over = {i: asyncio.Event() for i in planned}
        """Set when a step is healed, done, or given up."""
        self.begun = {i: asyncio.Event() for i in planned}
        """Set when a step was injected or done, or given up."""

    async def run_fault(self, spec: FaultSpec) -> None:
        """Carry out one fault from its trigger to its heal and late proof."""
        try:
            if await self._wait(spec.id, spec.trigger, spec.duration_s or 0.0):
                await self._fault(spec)
        finally:
            self._set(spec.id)

    async def run_action(self, spec: ActionSpec) -> None:
        """Carry out one operator's act."""
        try:
            if not await self._wait(spec.id, spec.trigger, 0.0):
                return
            try:
                result = await self._act(spec)
            except ChaosKitError as error:
                self._fail(spec.id, str(error))
            else:
                self._emit(
                    ActionDone(at_s=self._now(), action_id=spec.id, kind=spec.kind, result=result)
                )
        finally:
            self._set(spec.id)

    async def all_over(self) -> None:
        """Return when every step is over; one without an end, when it has begun."""
        for step_id, open_ended in self._open.items():
            await (self.begun if open_ended else self.over)[step_id].wait()

    def unfinished(self) -> tuple[str, ...]:
        """Return the steps for which `all_over` still waits."""
        return tuple(
            step_id
            for step_id, open_ended in self._open.items()
            if not (self.begun if open_ended else self.over)[step_id].is_set()
        )

    def give_up(self, step_id: str) -> None:
        """Write down that a step did not end in time."""
        self._fail(step_id, "it was not over by the end of the recovery")

    async def roll_back(self) -> None:
        """Heal whatever is still injected, again and again until all of it is confirmed.

        The caller sets the deadline and reads `undos` afterwards.
        """
        clock = self._tools.clock
        while self.undos:
            # All at once, and no failure ends the others: neither a door that hangs nor a journal
            # that is full must keep what can be healed from being healed.
            heals = [self._heal(undo, by="rollback") for undo in self.undos.values()]
            await asyncio.gather(*heals, return_exceptions=True)
            if self.undos:
                await clock.sleep_until(clock.now() + RETRY_S)

    async def _fault(self, spec: FaultSpec) -> None:
        fault_id, clock = spec.id, self._tools.clock
        allowed = self._experiment.blast_radius.max_faults
        if len(self.undos) >= allowed:
            # The plan allows it only when times were unknown: here they are known.
            self._fail(fault_id, f"the blast radius is full: {allowed} active already")
            return
        asked = timed(spec, self._planned[fault_id])
        fault = parse_fault(asked)
        # Reserved before anything is awaited, so that two steps cannot both see room for one.
        self.undos[fault_id] = Undo(fault_id=fault_id, kind=spec.kind, handle={})
        try:
            undo = await fault.prepare(self._tools)
        except ChaosKitError as error:
            del self.undos[fault_id]
            self._fail(fault_id, str(error))
            return
        except BaseException:
            del self.undos[fault_id]
            raise
        self.undos[fault_id] = undo
        target = " ".join(spec.target.patterns)
        self._emit(
            FaultInjecting(
                at_s=self._now(), fault_id=fault_id, kind=spec.kind, target=target, undo=undo
            ),
            durable=True,
        )
        injected_s = self._now()
        try:
            await fault.inject(self._tools)
        except ChaosKitError as error:
            self._fail(fault_id, str(error))
            await self._heal(undo, by="engine")
            return
        done_s = self._now()
        self.begun[fault_id].set()
        active = await self._agrees(fault_class(undo.kind).is_active, undo)
        self._emit(FaultActive(at_s=self._now(), fault_id=fault_id, active=active))
        proof = _Proof(undo, self._tools, self._emit, done_s=done_s, share=spec.share)
        try:
            if spec.duration_s is None:
                await self._watch_until(proof, self._open_until)
            else:
                heal_s = injected_s + spec.duration_s
                await proof.watch(until_s=heal_s)
                await clock.sleep_until(heal_s)
            if active and asked.duration_s is not None:
                await self._last_look(undo, own_end_s=injected_s + asked.duration_s + TTL_MARGIN_S)
            await self._heal(undo, by="engine")
            self.over[fault_id].set()
            await proof.watch(until_s=clock.now() + LATE_PROOF_S)
        finally:
            proof.close()

    async def _last_look(self, undo: Undo, *, own_end_s: float) -> None:
        """Write it down when a fault that should still be in place is not.

        From `own_end_s` on its own time limit may have ended it, later than planned: no finding. A
        door that does not answer says nothing, and must not put the heal off.
        """
        cls, clock = fault_class(undo.kind), self._tools.clock
        if not cls.lasting:
            return
        look = asyncio.ensure_future(cls.is_active(undo, self._tools))
        limit = asyncio.ensure_future(clock.sleep_until(clock.now() + LAST_LOOK_S))
        both: set[asyncio.Future[Any]] = {look, limit}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            answer, _ = await asyncio.gather(look, limit, return_exceptions=True)
        if answer is False and clock.now() < own_end_s:
            self._fail(undo.fault_id, "it ended before its time: it was not in place any more")

    async def _watch_until(self, proof: "_Proof", event: asyncio.Event) -> None:
        watch = asyncio.ensure_future(proof.watch(until_s=None))
        try:
            await event.wait()
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _heal(self, undo: Undo, *, by: str) -> None:
        cls, detail, confirmed = fault_class(undo.kind), "", False
        try:
            await cls.heal(undo, self._tools)
            confirmed = await self._agrees(cls.is_healed, undo)
            detail = "" if confirmed else "the read-back still shows it"
        except ChaosKitError as error:
            detail = str(error)
        except Exception as error:
            # A bug of a driver: the rollback goes on, and tells its cause.
            detail = f"{type(error).__name__}: {error}"
        if confirmed:
            self.undos.pop(undo.fault_id, None)
        self._emit(
            FaultHealed(
                at_s=self._now(), fault_id=undo.fault_id, confirmed=confirmed, by=by, detail=detail
            ),
            durable=True,
        )

    async def _agrees(self, read: ReadBack, undo: Undo) -> bool:
        clock = self._tools.clock
        until_s = clock.now() + READ_BACK_S
        while True:
            try:
                agreed = await read(undo, self._tools)
            except AdapterError:
                agreed = False
            if agreed or clock.now() >= until_s:
                return agreed
            await clock.sleep_until(min(until_s, clock.now() + POLL_S))

    async def _wait(self, step_id: str, trigger: Trigger, needs_s: float) -> bool:
        """Wait for `trigger`; return False when a fact did not come in time for the step."""
        clock, zero_s = self._tools.clock, self._experiment.method_zero_s
        match trigger:
            case At(at_s=at_s):
                await clock.sleep_until(zero_s + at_s)
            case After(step=earlier, delay_s=delay_s):
                await self.over[earlier].wait()
                await clock.sleep_until(clock.now() + delay_s)
            case When(fact=fact, at_least=at_least):
                facts, until_s = self._tools.need_facts(), self._last_start_s - needs_s
                while (value := facts.count(fact)) < at_least:
                    if clock.now() >= until_s:
                        reason = f"{fact} reached {value:g}, never {at_least:g}"
                        self._fail(step_id, reason)
                        return False
                    await clock.sleep_until(min(until_s, clock.now() + POLL_S))
        return True

    async def _act(self, spec: ActionSpec) -> Mapping[str, Json]:
        directory = self._tools.need_directory()
        if spec.kind == "end_room":
            return await directory.end_room()
        node = spec.params.get("node")
        return await directory.fresh_room(
            account=str(spec.params.get("account", "")), node=None if node is None else str(node)
        )

    def _fail(self, step_id: str, error: str) -> None:
        at_s = self._now()
        if any(action.id == step_id for action in self._experiment.actions):
            self._emit(ActionFailed(at_s=at_s, action_id=step_id, error=error))
        else:
            self._emit(FaultFailed(at_s=at_s, fault_id=step_id, error=error))

    def _set(self, step_id: str) -> None:
        self.begun[step_id].set()
        self.over[step_id].set()

    def _now(self) -> float:
        return self._tools.clock.now()


class _Proof:
    """Asks the witness until the effect is proven, and emits the best that was seen, once.

    Best: most units that had to notice, then most that did. So a unit that was due late and noticed
    nothing lowers the share, and a restarted service does not undo the proof that it was gone.
    """

    def __init__(
        self, undo: Undo, tools: Tools, emit: Emit, *, done_s: float, share: float | None
    ) -> None:
        """`done_s`: when the injection had been done; it dates what the witness does not."""
        self._undo, self._tools, self._emit = undo, tools, emit
        self._done_s, self._share = done_s, share
        self._best: Effect | None = None
        self._error = ""
        self._closed = False

    async def watch(self, *, until_s: float | None) -> None:
        """Poll until the effect is proven or run time `until_s` (None = until proven)."""
        clock = self._tools.clock
        while not self._closed:
            await self._ask()
            if self._is_proven():
                self.close()
                return
            now = clock.now()
            if until_s is not None and now >= until_s:
                return
            next_s = now + POLL_S
            await clock.sleep_until(next_s if until_s is None else min(until_s, next_s))

    def close(self) -> None:
        """Emit the best effect seen, if that was not done already."""
        if self._closed:
            return
        self._closed = True
        at_s, fault_id = self._tools.clock.now(), self._undo.fault_id
        if self._best is None:
            self._emit(
                Observed(at_s=at_s, probe=f"effect {fault_id}", value=None, error=self._error)
            )
        else:
            best = settled(self._best, self._share)
            if best.affected and best.first_s is None:
                best = replace(best, first_s=self._done_s)
            self._emit(FaultEffect(at_s=at_s, fault_id=fault_id, effect=best))

    async def _ask(self) -> None:
        try:
            seen = await fault_class(self._undo.kind).effect(self._undo, self._tools)
        except ChaosKitError as error:
            self._error = str(error)
            return
        if self._best is None or _rank(seen) > _rank(self._best):
            self._best = seen

    def _is_proven(self) -> bool:
        best = self._best
        return best is not None and best.share >= ENOUGH and not best.measures.get("pending")


def _rank(effect: Effect) -> tuple[int, int, float, float]:
    """Return what the best effect has most of: due units, affected ones, none pending, age."""
    first_s = effect.first_s
    age = float("-inf") if first_s is None else -first_s
    return (effect.targeted, effect.affected, -effect.measures.get("pending", 0.0), age)
