"""One shard of the crowd: its participants, its two threads, its facts, its control socket."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from chaoskit.model import Mic
from chaoskit.services.crowd.control import remove_socket, serve_control
from chaoskit.services.crowd.ear_table import EarRow, EarTable
from chaoskit.services.crowd.facts_writer import FactsWriter
from chaoskit.services.crowd.judging import Judging
from chaoskit.services.crowd.media import Media
from chaoskit.services.crowd.mics import MicDesk, Microphone
from chaoskit.services.crowd.participant import Participant
from chaoskit.services.crowd.place import Surroundings
from chaoskit.services.crowd.playout import slot_at, slot_from
from chaoskit.services.crowd.sentinel import Sentinel, sentinel_mic
from chaoskit.wire import identity
from chaoskit.wire.crowd import Command, ShardPlan
from chaoskit.wire.facts import FACTS_VERSION, ShardStarted, ShardStopped

log = logging.getLogger(__name__)

GOODBYES_S = 1.0
"""How long leaving politely may take in all."""
SENTINEL_GRACE_SLOTS = 50
"""From so long after the shard's start on, the sentinel must be heard."""
PROGRESS_S = 0.5
LATE_S = 0.25
"""A loop of joins and signalling that is later than this is worth a line in the log."""
_LOOKS = 25
_SHORT_S = 0.02


class Shard:
    """Carries out a ShardPlan. Made and used inside a running event loop."""

    def __init__(self, plan: ShardPlan) -> None:
        """Prepare everything; nothing runs before `start`. Raises ValueError, OSError."""
        self._plan = plan
        origin_s = plan.origin_s
        start_slot = slot_at(time.monotonic(), origin_s)
        numbers = [p.k for p in plan.participants]
        if plan.sentinel:
            numbers.append(identity.SENTINEL_EAR + plan.index)
        self._table = EarTable(numbers, first_slot=max(0, start_slot))
        self._facts = FactsWriter(Path(plan.facts))
        mics = {
            p.k: Microphone(p.k, p.band, plan.script, origin_s=origin_s)
            for p in plan.participants
            if p.band is not None
        }
        self._desk = MicDesk(list(mics.values()), self._facts.write, origin_s=origin_s)
        self._media = Media(self._desk, origin_s=origin_s, descriptors=len(numbers) + 16)
        self._sentinel_ear, self._sentinel = self._make_sentinel(start_slot)
        playout_s = plan.playout_ms / 1e3
        self._judging = Judging(
            self._table,
            self._media,
            self._facts,
            shard=plan.shard,
            origin_s=origin_s,
            playout_s=playout_s,
            sentinel=self._sentinel_ear,
        )
        around = Surroundings(
            event=plan.event,
            seed=plan.seed,
            origin_s=origin_s,
            playout_s=playout_s,
            table=self._table,
            media=self._media,
            write=self._facts.write,
        )
        groups = {group.name: group for group in plan.groups}
        rows = {row.k: row for row in self._table.rows}
        self._participants: dict[int, Participant] = {}
        for one in plan.participants:
            if one.group not in groups:
                raise ValueError(f"participant {one.k} is in no group of this plan: {one.group!r}")
            self._participants[one.k] = Participant(
                one, groups[one.group], around, ear=rows[one.k], mic=mics.get(one.k)
            )
        self._playout_s = playout_s
        self._lives: list[asyncio.Task[None]] = []
        self._others: list[asyncio.Task[None]] = []
        self._control: asyncio.Server | None = None
        self._stop_asked = asyncio.Event()
        self._undo: dict[tuple[str, int], asyncio.TimerHandle] = {}

    @property
    def stop_asked(self) -> asyncio.Event:
        """Set when a command asked the shard to stop."""
        return self._stop_asked

    async def start(self) -> None:
        """Open the control socket, start the threads, and let everybody live."""
        plan = self._plan
        self._facts.write(
            ShardStarted(
                t=time.monotonic(),
                version=FACTS_VERSION,
                shard=plan.shard,
                pid=os.getpid(),
                origin_s=plan.origin_s,
                participants=[p.k for p in plan.participants],
                sentinel=identity.SENTINEL_EAR + plan.index if plan.sentinel else -1,
            )
        )
        self._facts.flush()
        self._control = await serve_control(Path(plan.control), self._carry_out)
        self._media.start()
        self._judging.start()
        if self._sentinel is not None:
            opening = self._sentinel.start(self._table, self._media, playout_s=self._playout_s)
            self._others.append(asyncio.create_task(opening, name="sentinel"))
        self._lives = [
            asyncio.create_task(one.live(), name=f"p{k}") for k, one in self._participants.items()
        ]

    async def watch_over(self) -> None:
        """Wait until the plan ends. Raises RuntimeError when a part of the shard failed."""
        end_s = self._plan.origin_s + self._plan.end_s
        while (left_s := end_s - time.monotonic()) > 0:
            self._check_parts()
            awake_s = time.monotonic() + min(left_s, PROGRESS_S)
            await asyncio.sleep(min(left_s, PROGRESS_S))
            if (late_s := time.monotonic() - awake_s) > LATE_S:
                log.warning("clients were late: %.0f ms", late_s * 1e3)

    async def finish(self) -> None:
        """Let everybody leave, judge what was heard, write the last fact. Once."""
        for one in self._participants.values():
            one.depart("end")
        if self._lives:
            await asyncio.wait(self._lives, timeout=GOODBYES_S)
        for task in self._lives + self._others:
            task.cancel()
        await asyncio.gather(*self._lives, *self._others, return_exceptions=True)
        if self._sentinel is not None and self._sentinel_ear is not None:
            self._sentinel_ear.vanish(slot_at(time.monotonic(), self._plan.origin_s) + 1)
            self._sentinel.stop()
        await self._wait_read()
        self._judging.finish()
        self._media.stop()
        self._facts.write(ShardStopped(t=time.monotonic(), shard=self._plan.shard))
        self._facts.close()
        if self._desk.skipped:
            log.warning("slots never sent, for the shard was late: %d", self._desk.skipped)

    async def close(self) -> None:
        """Close the control socket."""
        if self._control is not None:
            self._control.close()
            remove_socket(Path(self._plan.control))

    def _make_sentinel(self, start_slot: int) -> tuple[EarRow | None, Sentinel | None]:
        plan = self._plan
        if not plan.sentinel:
            return None, None
        ear, mic = self._table.rows[-1], sentinel_mic(plan.index, plan.origin_s)
        ear.appear(max(0, start_slot + SENTINEL_GRACE_SLOTS))
        self._desk.add_quiet(mic)
        host, _, port = plan.sentinel.rpartition(":")
        sentinel = Sentinel(
            link=(host, int(port)), index=plan.index, ear=ear, mic=mic, origin_s=plan.origin_s
        )
        return ear, sentinel

    def _check_parts(self) -> None:
        for part in (self._media, self._judging):
            if part.failure is not None:
                raise RuntimeError(f"the {part.name} thread died: {part.failure!r}")
        for life in self._lives:
            if life.done() and not life.cancelled() and life.exception() is not None:
                raise RuntimeError(f"{life.get_name()}: {life.exception()!r}") from life.exception()

    async def _wait_read(self) -> None:
        """Wait until the media thread has read what had arrived by now."""
        now_s = time.monotonic()
        for _ in range(_LOOKS):
            if self._media.progress_s >= now_s:
                return
            await asyncio.sleep(_SHORT_S)

    # --- commands --------------------------------------------------------------------------------

    async def _carry_out(self, command: Command) -> None:
        match command.cmd:
            case "ping":
                return
            case "stop":
                self._stop_asked.set()
                return
        chosen = self._chosen(command)
        match command.cmd:
            case "mute" | "unmute":
                muted = command.cmd == "mute"
                await asyncio.gather(*(one.set_muted(muted) for one in chosen))
                self._undo_after(command, "mute", lambda one: self._spawn_mute(one, not muted))
            case "leave":
                for one in chosen:
                    one.depart("command")
                self._undo_after(command, "leave", Participant.come_back)
            case "rejoin":
                self._cancel_undo("leave", chosen)
                for one in chosen:
                    one.come_back()
            case "mic":
                mic = Mic(command.mic)
                until_slot = slot_from(time.monotonic() + command.ttl_s, self._plan.origin_s)
                for one in chosen:
                    one.set_mic(mic, until_slot)
            case _:
                raise ValueError(f"unknown command {command.cmd!r}")

    def _chosen(self, command: Command) -> list[Participant]:
        strangers = [k for k in command.p if k not in self._participants]
        if strangers:
            raise ValueError(f"not in this shard: {strangers}")
        return [self._participants[k] for k in command.p]

    def _undo_after(self, command: Command, what: str, undo: Callable[[Participant], None]) -> None:
        """Undo `what` for each participant after the command's time to live; a newer one wins."""
        chosen = self._chosen(command)
        self._cancel_undo(what, chosen)
        if command.ttl_s <= 0:
            return
        loop = asyncio.get_running_loop()
        for one in chosen:
            timer = loop.call_later(command.ttl_s, undo, one)
            self._undo[what, one.plan.k] = timer

    def _cancel_undo(self, what: str, chosen: list[Participant]) -> None:
        for one in chosen:
            timer = self._undo.pop((what, one.plan.k), None)
            if timer is not None:
                timer.cancel()

    def _spawn_mute(self, one: Participant, muted: bool) -> None:
        task = asyncio.get_running_loop().create_task(one.set_muted(muted))
        self._others.append(task)
